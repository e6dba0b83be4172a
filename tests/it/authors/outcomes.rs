//! The outcomes of the projects of `wasmrun new`: languages × kinds × outcomes. The builds are those of `templates`.
//!
//! | outcome | object | message | command |
//! |---|---|---|---|
//! | completed, rejected | the template's own cases, and an object that is missing | the template's own cases | the same |
//! | retry | the store is granted for reading only | lines are added that ask for it | exit code 1 means `retry` |
//! | limit-exceeded | a part of the fuel that the task takes | the same | the same |
//! | trapped | - | lines are added that fail | exit code 1 has no meaning |

use crate::harness::{World, field, repository};
use serde_json::Value;
use std::fs;

/// A language of `wasmrun new`, and how a guest in it retries and traps.
pub(super) struct Language {
    /// Value of `--lang`.
    pub(super) name: &'static str,
    /// Name in the book.
    title: &'static str,
    /// Source of the kind `message`.
    source: &'static str,
    /// Line of the source after which lines are added: the message `retry` is retried, and `trap` traps.
    after: &'static str,
    added: &'static str,
    /// Part of the reason with which such a task traps.
    reason: &'static str,
    /// A percentage of the fuel of a whole task that suffices to start one, and no more.
    limit: u64,
}

pub(super) const RUST: Language = Language {
    name: "rust",
    title: "Rust",
    source: "src/lib.rs",
    after: "fn handle(message: Message) -> Result<(), Failure> {\n",
    added: r#"
    match &*message.body() {
        "retry" => return Err(Failure::retry("not yet")),
        "trap" => panic!("no picture"),
        _ => {}
    }
"#,
    reason: "no picture",
    limit: 50,
};
pub(super) const PYTHON: Language = Language {
    name: "python",
    title: "Python",
    source: "app.py",
    after: "def handle(self, message: Message) -> None:\n",
    added: r#"
        if message.body() == "retry":
            from wasmrun_guest import retry
            raise retry("not yet")
        if message.body() == "trap":
            raise KeyError("no picture")
"#,
    reason: "KeyError: 'no picture'",
    limit: 50,
};
pub(super) const JAVASCRIPT: Language = Language {
    name: "javascript",
    title: "JavaScript",
    source: "guest.js",
    after: "function shout(message) {\n",
    added: r#"
  // As an async function does.
  if (message.body() === "retry") return Promise.reject({ tag: "retry", val: { reason: "not yet" } });
  if (message.body() === "trap") throw new TypeError("no picture");
"#,
    reason: "TypeError: no picture",
    limit: 50,
};
pub(super) const TYPESCRIPT: Language = Language {
    name: "typescript",
    title: "TypeScript",
    source: "guest.ts",
    after: "function shout(message: Message): void {\n",
    added: r#"
  if (message.body() === "retry") throw { tag: "retry", val: { reason: "not yet" } };
  if (message.body() === "trap") throw new TypeError("no picture");
"#,
    reason: "TypeError: no picture",
    limit: 50,
};
pub(super) const GO: Language = Language {
    name: "go",
    title: "Go",
    source: "export_wasmrun_task_handler/handler.go",
    after: "func Handle(message *Message) wit.Result[wit.Unit, Failure] {\n",
    added: r#"
	switch message.Body() {
	case "retry":
		return retry("not yet")
	case "trap":
		panic("no picture")
	}
"#,
    reason: "panic: no picture",
    // The runtime starts with 770,000 of 820,000 to 970,000.
    limit: 97,
};
pub(super) const C: Language = Language {
    name: "c",
    title: "C",
    source: "shout.c",
    after: "handle(exports_wasmrun_task_handler_own_message_t message, failure_t *failure) {\n",
    added: r#"
    guest_string_t sent;
    wasmrun_task_message_method_message_body(wasmrun_task_message_borrow_message(message), &sent);
    if (sent.len == 5 && memcmp(sent.ptr, "retry", 5) == 0) {
        failure->tag = EXPORTS_WASMRUN_TASK_HANDLER_FAILURE_RETRY;
        failure->val.retry.delay_seconds.is_some = false;
        guest_string_dup(&failure->val.retry.reason, "not yet");
        return false;
    }
    if (sent.len == 4 && memcmp(sent.ptr, "trap", 4) == 0) __builtin_trap();
"#,
    reason: "unreachable",
    limit: 50,
};

/// The outcomes, in the order of the book's columns.
const OUTCOMES: [&str; 5] = ["completed", "retry", "rejected", "limit-exceeded", "trapped"];
/// A text that the templates reject, and one that they don't.
const NOT_TEXT: (&str, &[u8]) = ("given/input/latin-1.txt", b"caf\xe9");
const TEXT: (&str, &[u8]) = ("given/input/hello.txt", b"hello, world\n");

/// A case whose message announces an object that there is not.
const MISSING: &str = r#"
message = '{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"texts"},"object":{"key":"missing.txt"}}}]}'
[store]
input = "s3://texts:ro"
"#;

impl Language {
    /// Adds lines to the source of the kind `message` that retry one message and trap at another.
    pub(super) fn add_outcomes(&self, world: &World, project: &str) {
        let path = format!("{project}/{}", self.source);
        let source = world.text(&path);
        assert_eq!(source.matches(self.after).count(), 1, "{source}");
        world.write(&path, source.replace(self.after, &format!("{}{}", self.after, self.added)));
    }

    /// Checks that the book has the row of this language.
    pub(super) fn is_in_the_book(&self) {
        let book = fs::read_to_string(repository().join("docs/src/guides/guests.md")).expect("the page");
        let header = format!("| | {} |", OUTCOMES.map(|outcome| format!("`{outcome}`")).join(" | "));
        let row = format!("| {} | ✓ | ✓ | ✓ | `fuel` | `{}` |", self.title, self.reason);
        let mut rows = book.lines().skip_while(|line| *line != header);
        assert!(rows.any(|line| line == row), "the book has no table {header} with the row {row}");
    }

    /// Checks that each outcome is seen of a project whose own cases pass.
    pub(super) fn has_each_outcome(&self, world: &World, project: &str, kind: &str) {
        let of_template = results(world, project, "");
        let hello = of_template.iter().find(|case| case["name"] == "hello").expect("a case");
        assert_eq!(hello["outcome"], "completed");
        assert!(of_template.iter().any(|case| case["outcome"] == "rejected"), "{of_template:?}");
        let fuel = hello["usage"]["fuel"].as_u64().expect("a number") * self.limit / 100;
        let limits = format!("[limits]\nfuel = {fuel}\n");
        let (limits, message) = (limits.as_str(), "message = 'hello'\n");
        let check = |outcome: &str, reason: &str, case: &str, given: &[(&str, &[u8])]| {
            let case = format!("{case}[expect]\noutcome = '{outcome}'\n");
            world.write(&format!("{project}/cases/{outcome}/case.toml"), case);
            for (path, content) in given {
                world.write(&format!("{project}/cases/{outcome}/{path}"), content);
            }
            let seen = results(world, project, outcome).remove(0);
            assert_eq!((field(&seen, "outcome"), &seen["passed"]), (outcome, &Value::Bool(true)), "{seen}");
            assert!(field(&seen, "reason").contains(reason), "{reason:?} isn't in the reason of {seen}");
        };
        // An array of JavaScript with an element for each byte takes six times the fuel, and 30 MiB. In Go, the
        // allocator may not run while the host returns an object, and the heap may not grow over the memory of the
        // WASI adapter.
        let large = [TEXT.1.repeat(160_000).as_slice(), b"\xe9"].concat();
        let (enough, given) = ("[limits]\nfuel = 1000000000\n", ("given/input/large.txt", large.as_slice()));
        match kind {
            "object" => {
                check("limit-exceeded", "fuel", limits, &[TEXT]);
                check("retry", "hello.txt in store output: ", "[store]\noutput = 'ro'\n", &[TEXT]);
                check("rejected", "missing.txt in store input: ", MISSING, &[]);
                check("rejected", "not UTF-8 text", enough, &[given]);
            }
            "message" => {
                check("limit-exceeded", "fuel", &format!("{message}{limits}"), &[]);
                check("trapped", self.reason, "message = 'trap'\n", &[]);
                check("retry", "not yet", "message = 'retry'\n", &[]);
            }
            _ => {
                check("limit-exceeded", "fuel", limits, &[TEXT]);
                check("rejected", "not UTF-8 text", enough, &[given]);
                let (rejected, says) = ("exit-code = { 1 = \"rejected\" }", "not UTF-8 text");
                let retried = rejected.replace("rejected", "retry");
                change(world, project, rejected, &retried);
                check("retry", says, "", &[NOT_TEXT]);
                change(world, project, &retried, "");
                check("trapped", says, "", &[NOT_TEXT]);
            }
        }
    }
}

/// Changes the file of a project.
#[track_caller]
fn change(world: &World, project: &str, from: &str, to: &str) {
    let path = format!("{project}/guest.toml");
    let file = world.text(&path);
    assert!(file.contains(from), "{file}");
    world.write(&path, file.replace(from, to));
}

/// The results of the cases whose names contain a text.
#[track_caller]
fn results(world: &World, project: &str, case: &str) -> Vec<Value> {
    let mut results = world.wasmrun(["test", project, "--json", "--case", case]).succeeds().json();
    match results["cases"].take() {
        Value::Array(cases) => cases,
        other => panic!("{other} is no list of results"),
    }
}
