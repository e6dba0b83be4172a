//! Invalid values for every flag, and values of the wrong kind for every configuration key: one sentence in the user's
//! words, and never one about the types of our code.

use crate::harness::{Output, World, repository};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

/// Names that our code and its libraries use.
const OURS: [&str; 29] = [
    "enum",
    "untagged",
    "usize",
    "u16",
    "u32",
    "u64",
    "i64",
    "i128",
    "u128",
    "f64",
    "nonzero",
    "non-zero",
    "NonZero",
    "struct",
    "a map",
    "a sequence",
    "a string",
    "a boolean",
    "floating point",
    "invalid type",
    "invalid value: ",
    "variant",
    "field",
    "digit found",
    "ByteSize",
    "target type",
    "Err(",
    "Some(",
    "exit status",
];

/// Asserts that a program that refuses to work prints one sentence in the user's words. Returns that sentence.
#[track_caller]
fn sentence(output: &Output) -> Option<String> {
    let code = output.status.code();
    assert!(matches!(code, Some(0..=3)), "{output}");
    let errors: Vec<&String> = output.stderr.iter().filter(|line| line.starts_with("error: ")).collect();
    if code == Some(0) {
        assert!(errors.is_empty(), "{output}");
        return None;
    }
    let all = output.stderr.join("\n");
    for word in OURS {
        assert!(!all.contains(word), "{word:?} is a word of our code: {output}");
    }
    // `health` and `top` say on standard output that a worker isn't there.
    assert!(errors.len() <= 1, "{output}");
    errors.first().map(|error| (*error).clone())
}

/// The flags of a command that take a value, with the names of their values.
fn flags(world: &World, command: &[&str]) -> Vec<(String, String)> {
    let help = world.wasmrun(command.iter().copied()).arg("--help").succeeds();
    let flag = |line: &String| {
        let (_, rest) = line.trim_start().starts_with('-').then(|| line.split_once("--"))??;
        let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        let value = rest[name.len()..].split_once('<')?.1.split_once('>')?.0;
        Some((name, value.to_owned()))
    };
    let found: Vec<_> = help.stdout.iter().filter_map(flag).collect();
    assert!(!found.is_empty() || ["queue", "health"].contains(&command[0]), "{help}");
    found
}

/// Each command with the other arguments that it needs, none of which name anything usable.
const COMMANDS: [(&[&str], &[&str]); 13] = [
    (&["run"], &["--check", "--queue", "sqlite:jobs.db", "missing.wasm"]),
    (&["invoke"], &["missing.wasm"]),
    (&["policy"], &[]),
    (&["enqueue"], &[]),
    (&["queue", "create"], &["sqlite:new.db"]),
    (&["queue", "peek"], &["sqlite:jobs.db"]),
    (&["queue", "list"], &["sqlite:jobs.db"]),
    (&["queue", "redrive"], &["sqlite:jobs.db"]),
    (&["inspect"], &["missing.wasm"]),
    (&["compile"], &["missing.wasm"]),
    (&["report"], &["missing.jsonl"]),
    (&["health"], &["1"]),
    (&["top"], &["1"]),
];

#[test]
fn a_flag_is_never_refused_in_the_words_of_our_code() {
    let world = World::with_queue(&[]);
    let values: [&[u8]; 11] = [
        b"",
        b"-1",
        b"0",
        b"1.5",
        b"nonsense",
        b"99999999999999999999999",
        b"10XB",
        b"-5s",
        "\u{fc}".as_bytes(),
        b"a=b",
        b"\xff",
    ];
    let mut tried = 0;
    for (command, rest) in COMMANDS {
        for (flag, _) in flags(&world, command) {
            for value in values {
                let mut setting = format!("--{flag}=").into_bytes();
                setting.extend(value);
                let run = world.wasmrun(command.iter().copied()).arg(OsStr::from_bytes(&setting)).args(rest);
                sentence(&run.ends());
                tried += 1;
            }
        }
    }
    assert!(tried > 1000, "{tried}");
}

#[test]
fn a_value_that_is_no_value_of_its_flag_is_refused_with_the_flag() {
    let world = World::with_queue(&[]);
    let wrong: &[(&[&str], &[&str])] = &[
        (&["SIZE"], &["", "-1", "much", "10XB", "1.5.5MiB"]),
        (&["DURATION"], &["", "-5s", "soon", "5", "99999999999999999999s", "200years"]),
        (&["N", "MB"], &["", "-1", "1.5", "x", "99999999999999999999999"]),
        (&["BOOL"], &["maybe", "2"]),
        (&["N/TIME"], &["", "5", "0/s", "5/y"]),
        (&["N|MIN..MAX|auto"], &["", "0", "-1", "1.5", "4..2", "many"]),
        (&["FIRST..LONGEST"], &["", "1s", "2s..1s", "1..2"]),
        (&["VCPU,GB"], &["", "x", "1", "1,x"]),
        (&["FORMAT", "ALLOCATOR", "ACTION"], &["", "nonsense"]),
        (&["TIME"], &["", "yesterday"]),
        (&["[ADDRESS:]PORT"], &["", "x", "-1", "65536", "localhost:1"]),
        (&["NAMESPACE"], &["", "AWS/SQS", "a,b"]),
        (&["LEVEL"], &["", "loud", "json"]),
    ];
    let mut tried = 0;
    for (command, rest) in COMMANDS {
        for (flag, kind) in flags(&world, command) {
            // A log level is read only if nothing else is missing; `policy` doesn't log.
            let is_read = kind != "LEVEL" || ["run", "inspect"].contains(&command[0]);
            let wrong = wrong.iter().find(|(kinds, _)| is_read && kinds.contains(&kind.as_str()));
            for value in wrong.map(|(_, values)| *values).unwrap_or_default() {
                let setting = format!("--{flag}={value}");
                let output = world.wasmrun(command.iter().copied()).arg(&setting).args(rest).ends();
                let error = sentence(&output.exited_with(2)).expect("a sentence");
                assert!(error.contains(&format!("--{flag}")), "{setting}: {error}");
                // The error quotes the value at most once.
                let quoted = error.matches(&format!("{value:?}")).count()
                    + error.matches(&format!("'{value}'")).count();
                assert!(value.is_empty() || quoted <= 1, "{setting}: {error}");
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

#[test]
fn an_argument_that_is_not_utf8_is_named() {
    let world = World::with_queue(&[]);
    let not_utf8 = OsStr::from_bytes(b"sqlite:\xff");
    world
        .wasmrun(["run", "x.wasm", "--queue"])
        .arg(not_utf8)
        .fails_with(2, "the value of --queue is not UTF-8");
    let glued = OsStr::from_bytes(b"--queue=\xff");
    world.wasmrun(["run", "x.wasm"]).arg(glued).fails_with(2, "the value of --queue is not UTF-8");
    let run = world.wasmrun(["run", "x.wasm"]).env("WASMRUN_QUEUE", not_utf8);
    run.fails_with(2, "the variable WASMRUN_QUEUE is not UTF-8");
}

#[test]
fn too_little_memory_or_time_to_compile_is_said_of_the_setting() {
    let world = World::new();
    for memory in ["0", "64KiB", "1MiB", "16MiB"] {
        let invoke = world.invoke("empty", "x").args(["--cache", "off", "--compile-memory", memory]);
        invoke.fails_with(2, "is too small: at least 64 MiB");
    }
    world.invoke("empty", "x").args(["--compile-time", "0s"]).fails_with(2, "--compile-time 0s is too short");
    world.invoke("empty", "x").args(["--cache", "off", "--compile-memory", "64MiB"]).succeeds();
}

#[test]
fn a_size_is_shown_as_exactly_as_its_bound() {
    let world = World::new();
    let memory = world.invoke("empty", "x").args(["--memory", "4294967297"]);
    memory.fails_with(2, "--memory 4294967297 bytes is too large: at most 4 GiB");
}

/// One value of each TOML type.
const VALUES: [&str; 12] = [
    "true",
    "0",
    "-3",
    "1.5",
    "'nonsense'",
    "''",
    "[]",
    "[1]",
    "{ a = 1 }",
    "1979-05-27",
    "99999999999999999999",
    "1e400",
];

const SECTIONS: [&str; 13] = [
    "",
    "store",
    "send",
    "assume-role",
    "env",
    "config-value",
    "keyvalue",
    "on",
    "command",
    "limits",
    "worker",
    "engine",
    "aws",
];

/// The keys that a section may have, as the program itself lists them. Arbitrary keys for sections whose keys the user
/// chooses.
fn keys(world: &World, section: &str) -> Vec<String> {
    let head = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
    world.write("wasmrun.toml", format!("{head}qqqqqqqqqqqqqqqqqqqq = 'x'\n"));
    let run = world.wasmrun(["run", "--check", "--config", "wasmrun.toml", "missing.wasm"]).ends();
    let said = run.exited_with(2);
    match said.error().split_once("the keys here are ") {
        Some((_, keys)) => keys.split(", ").map(str::to_owned).collect(),
        None => vec!["a".into()],
    }
}

#[test]
fn a_key_with_a_value_of_the_wrong_kind_is_named_with_its_line() {
    let world = World::with_queue(&[]);
    let mut tried = 0;
    for section in SECTIONS.into_iter().chain(["log"]) {
        for key in keys(&world, section) {
            for value in VALUES {
                let head = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
                let content = format!("\n{head}{key} = {value}\n");
                let line = 2 + head.lines().count();
                world.write("wasmrun.toml", &content);
                let run = world.wasmrun(["run", "--check", "--config", "wasmrun.toml"]);
                let run = if key == "component" { run } else { run.arg("missing.wasm") };
                let run = if key == "queue" { run } else { run.args(["--queue", "sqlite:jobs.db"]) };
                let output = run.ends();
                let error = sentence(&output).unwrap_or_else(|| panic!("{content}: {output}"));
                let is_placed = error.contains("wasmrun.toml") && error.contains(&format!("line {line}"));
                let is_flag = error.contains(&format!("--{key} ")) || error.contains(&format!("--{key}="));
                let is_taken = error.contains("missing.wasm");
                // An error about a queue or a file names that value.
                let text = value.trim_matches('\'');
                let is_named =
                    (!text.is_empty() && error.contains(text)) || error.contains(&format!(" key {key} "));
                assert!(is_placed || is_flag || is_taken || is_named || value == "''", "{content}: {error}");
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "{tried}");
}

#[test]
fn what_a_table_of_the_file_holds_is_checked_where_it_stands() {
    let world = World::with_queue(&[]);
    for (content, line, says) in [
        ("\n[on]\ntimeout = 'drop'\n", "line 3", "unknown outcome \"timeout\""),
        ("[on]\ntrapped = 'ignore'\n", "line 2", "unknown action \"ignore\""),
        ("[store]\ninput = 'dir:in'\n", "line 2", "no mode"),
        ("[store]\nInput = 'dir:in:ro'\n", "line 2", "alias \"Input\""),
        ("[assume-role]\ninput = 'thumbs'\n", "line 2", "is no role"),
        ("[worker]\ninstances = -3\n", "line 2", "expected a number above zero, MIN..MAX or auto"),
        ("[limits]\nfule = 5\n", "line 2", "did you mean fuel?"),
        ("emf = 'AWS/x'\n", "line 1", "a namespace does not begin with AWS/"),
        ("[env]\nA = 5\n", "line 2", "or true for the worker's own value"),
        ("limits = 5\n", "line 1", "expected a table"),
    ] {
        world.write("wasmrun.toml", content);
        let run = world.wasmrun(["run", "--config", "wasmrun.toml", "--queue", "sqlite:jobs.db", "x.wasm"]);
        let output = run.fails_with(2, line);
        assert!(output.error().contains(says), "{says}: {output}");
    }
}

#[test]
fn a_table_of_prices_is_refused_in_the_same_words() {
    let world = World::new();
    let shipped = fs::read_to_string(repository().join("crates/cli/src/prices.toml")).expect("the table");
    let lines: Vec<&str> = shipped.lines().collect();
    let mut tried = 0;
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        let Some((key, _)) = line.split_once(" = ") else { continue };
        for value in VALUES {
            let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            changed[at] = format!("{key} = {value}");
            world.write("prices.toml", changed.join("\n"));
            sentence(&world.wasmrun(["report", "missing.jsonl", "--prices", "prices.toml"]).ends());
            tried += 1;
        }
    }
    assert!(tried > 50, "{tried}");
}
