//! Running a program, and assertions on its output.

use super::process::Process;
use super::{PATIENCE, guest, scratch, wait_until};
use serde_json::Value;
use std::ffi::OsStr;
use std::net::TcpStream;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

/// A program that is ready to run in a world's directory.
pub(crate) struct Command {
    inner: std::process::Command,
    input: Option<Vec<u8>>,
    time: Duration,
}

/// Exit status and output of a program.
#[derive(Debug)]
pub(crate) struct Output {
    name: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Command {
    /// Creates a command with a clean environment. All tests share a cache of compiled components, so that each guest
    /// is compiled once.
    pub(crate) fn new(program: impl AsRef<OsStr>, directory: &Path) -> Self {
        let mut inner = std::process::Command::new(program);
        inner
            .current_dir(directory)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", directory)
            .env("WASMRUN_CACHE", scratch().join("cache"));
        Self { inner, input: None, time: PATIENCE }
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.inner.arg(argument);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.inner.args(arguments);
        self
    }

    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(key, value);
        self
    }

    pub(crate) fn without_env(mut self, key: &str) -> Self {
        self.inner.env_remove(key);
        self
    }

    /// Logs what tests read: how each task ended.
    pub(crate) fn logging_tasks(self) -> Self {
        self.env("WASMRUN_LOG", "info,wasmrun_runtime=debug")
    }

    /// Runs the guest `misbehave` with these stores, such as `dir:in:ro`, and the queue that it sends to.
    pub(crate) fn misbehaving(self, input: &str, output: &str) -> Self {
        self.arg(guest("misbehave"))
            .args(["--store", &format!("input={input}"), "--store", &format!("output={output}")])
            .args(["--send", "next=sqlite:next.db"])
    }

    /// Sets standard input.
    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Sets how long the program may run before the test fails.
    pub(crate) fn within(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    pub(crate) fn start(self) -> Process {
        Process::start(self.inner, self.input, self.time)
    }

    /// Starts a worker or a service and waits until it is ready.
    #[track_caller]
    pub(crate) fn start_ready(self) -> Process {
        let process = self.start();
        process.until_logged("\"ready\"");
        process
    }

    /// Starts a server for the rest of the test, and waits until it listens on this port.
    #[track_caller]
    pub(crate) fn start_server(self, port: u16) -> Process {
        let mut server = self.within(Duration::from_secs(3600)).start();
        wait_until("the server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(server.runs(), "the server has ended, and another one listens on its port");
        server
    }

    /// Runs the program until it exits, whatever its exit status.
    #[track_caller]
    pub(crate) fn ends(self) -> Output {
        self.start().finish()
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Output {
        self.ends().succeeded()
    }

    /// Runs a task, and returns the reason of its outcome, which must be this one: guests answer by a reason.
    #[track_caller]
    pub(crate) fn reason(self, outcome: &str) -> String {
        let (ended, reason) = self.ends().outcome();
        assert_eq!(ended, outcome, "{reason}");
        reason
    }

    /// Runs the program and asserts that it exits with `code` and prints one error that contains `text`, even if
    /// backtraces are enabled.
    #[track_caller]
    pub(crate) fn fails_with(self, code: i32, text: &str) -> Output {
        self.env("RUST_BACKTRACE", "full").ends().failed_with(code, text)
    }
}

impl Output {
    /// Asserts that there were as many tasks as messages, that all of them completed, and that nothing was dead-lettered.
    #[track_caller]
    pub(crate) fn each_ran_once(&self, messages: usize) {
        let summary = self.summary();
        assert_eq!(summary["tasks"], messages, "each ran once: {self}");
        assert_eq!(summary["outcomes"]["completed"], messages, "{self}");
        assert_eq!(summary["dead_lettered"], 0, "{self}");
    }

    pub(super) fn new(name: &str, status: ExitStatus, stdout: Vec<String>, stderr: Vec<String>) -> Self {
        let output = Self { name: name.to_owned(), status, stdout, stderr };
        // A guest's panic is fine: it is a value in a JSON log line.
        let panicked = |line: &&String| !line.starts_with('{') && line.contains("panicked at");
        if let Some(line) = output.stderr.iter().find(panicked) {
            panic!("{line}\n{output}");
        }
        output
    }

    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.status.code(), Some(0), "{self}");
        self
    }

    /// Asserts the exit code, and that standard error has exactly one line besides log lines, which contains `text`.
    #[track_caller]
    pub(crate) fn failed_with(self, code: i32, text: &str) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        let error = self.error();
        assert!(error.contains(text), "{error:?} does not say {text:?}");
        self
    }

    /// The error message that the program printed.
    #[track_caller]
    pub(crate) fn error(&self) -> &str {
        let (logs, others): (Vec<&String>, Vec<&String>) = self
            .stderr
            .iter()
            .partition(|line| serde_json::from_str::<Value>(line).is_ok_and(|log| log.is_object()));
        assert_eq!(others.len(), 1, "one sentence beside {logs:?}: {self}");
        others[0].strip_prefix("error: ").unwrap_or_else(|| panic!("no error: {self}"))
    }

    #[track_caller]
    pub(crate) fn exited_with(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    /// Asserts how many tasks of a worker ended with each outcome, such as `{"completed": 2}`.
    #[track_caller]
    pub(crate) fn has_outcomes(&self, expected: &Value) {
        assert_eq!(self.summary()["outcomes"], *expected, "{self}");
    }

    /// Parses standard output, which must be one JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.stdout.len(), 1, "{self}");
        serde_json::from_str(&self.stdout[0]).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// Outcome and reason of the task that `wasmrun invoke --json` ran. The reason is empty if there is none.
    #[track_caller]
    pub(crate) fn outcome(&self) -> (String, String) {
        let report = self.json();
        let text = |name: &str| report[name].as_str().unwrap_or_default().to_owned();
        (text("outcome"), text("reason"))
    }

    /// Parses standard error, where each line must be a JSON object.
    #[track_caller]
    pub(crate) fn logs(&self) -> Vec<Value> {
        let parse = |line: &String| {
            let value = serde_json::from_str(line).ok().filter(Value::is_object);
            value.unwrap_or_else(|| panic!("{line:?} is no log line: {self}"))
        };
        self.stderr.iter().map(parse).collect()
    }

    /// The log lines of a program that was killed, whose last line may be truncated.
    pub(crate) fn whole_logs(&self) -> impl Iterator<Item = Value> {
        self.stderr.iter().filter_map(|line| serde_json::from_str(line).ok())
    }

    /// The log lines with this message.
    #[track_caller]
    pub(crate) fn logs_of(&self, message: &str) -> Vec<Value> {
        let mut logs = self.logs();
        logs.retain(|log| log["message"] == message);
        logs
    }

    /// The worker's summary, with its counts of outcomes and limits as objects.
    #[track_caller]
    pub(crate) fn summary(&self) -> Value {
        let mut summaries = self.logs_of("summary");
        assert_eq!(summaries.len(), 1, "{self}");
        let mut summary = summaries.remove(0);
        let outcomes: serde_json::Map<String, Value> = OUTCOMES
            .iter()
            .map(|outcome| ((*outcome).to_owned(), summary[outcome.replace('-', "_")].clone()))
            .filter(|(_, count)| count.as_u64().expect("a count") > 0)
            .collect();
        summary["outcomes"] = Value::Object(outcomes);
        let limits: serde_json::Map<String, Value> = field(&summary, "limits")
            .split_whitespace()
            .map(|limit| limit.split_once(':').expect("a count"))
            .map(|(limit, count)| (limit.to_owned(), count.parse::<u64>().expect("a count").into()))
            .collect();
        summary["limits"] = Value::Object(limits);
        summary
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, status, stdout, stderr } = self;
        let (stdout, stderr) = (stdout.join("\n"), stderr.join("\n"));
        write!(f, "{name}\n{status}\n-- standard output\n{stdout}\n-- standard error\n{stderr}")
    }
}

/// The outcomes that a summary counts, each in its own field.
const OUTCOMES: [&str; 10] = [
    "completed",
    "retry",
    "rejected",
    "limit-exceeded",
    "timed-out",
    "trapped",
    "host-failed",
    "cancelled",
    "expired",
    "repeated",
];

/// The worker's explanation in a dead letter, as `wasmrun queue peek` prints it.
#[track_caller]
pub(crate) fn why(letter: &Value) -> Value {
    serde_json::from_str(field(&letter["attributes"], "wasmrun")).expect("JSON")
}

/// A field that holds a string.
#[track_caller]
pub(crate) fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} isn't a text in {value}"))
}
