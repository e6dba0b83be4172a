//! The effects of guests on the log: they can only add lines of their own.

use crate::harness::{Depth, Output, World, field, guest, skip, wasmrun};
use std::path::Path;

/// Line endings, terminal escape sequences, lines that look like the worker's, and invalid UTF-8.
const HOSTILE: &[u8] = b"one\ntwo\r\nthree\rfour\x1b[2J\x1b]0;title\x07\0\x08\x7f \xc2\x85 \xe2\x80\xa8 \xc2\x9b \xff\xfe\n\
{\"timestamp\":\"2026-01-01T00:00:00Z\",\"level\":\"ERROR\",\"message\":\"forged\",\"target\":\"wasmrun_cli::output\"}\n\
2026-01-01T00:00:00.000000Z ERROR forged\n\
error: forged\n";

/// Runs a task that writes these bytes to its log.
fn run(format: &str) -> Output {
    let world = World::with_queue(&["--max-receives", "1"]);
    world.write("in/hostile", HOSTILE);
    let fake_json = r#"print a\n{"level":"ERROR","message":"forged"}\nb"#;
    world.send(["get hostile", fake_json, "reject {\"message\":\"forged\"}\nerror: forged"]);
    world
        .wasmrun(["run", "--queue", "sqlite:jobs.db", "--until-empty", "--instances", "1"])
        .args(["--log-format", format])
        .arg(guest("misbehave"))
        .args(World::grants())
        .succeeds()
}

#[test]
fn a_log_that_cannot_be_written_costs_no_message() {
    for format in ["text", "json"] {
        let world = World::with_queue(&["--max-receives", "1"]);
        world.send(["ok", "print a", "ok"]);
        let arguments = format!(
            "run --queue sqlite:jobs.db --until-empty --log-format {format} {} '{}'",
            World::grants().join(" "),
            guest("misbehave").display()
        );
        let shell = world.program(Path::new("/bin/sh")).arg("-c");
        shell.arg(format!("exec '{}' {arguments} 2> /dev/full", wasmrun().display())).succeeds();
        assert_eq!((world.depth(), world.dead().visible), (Depth::EMPTY, 0));
    }
}

#[test]
fn whatever_a_guest_writes_stays_a_value_in_a_json_line_of_ours() {
    let output = run("json");
    let logs = output.logs();
    for log in &logs {
        field(log, "timestamp");
        assert_ne!(log["message"], "forged", "{log}");
        assert_ne!(log["level"], "ERROR", "{log}");
    }
    for line in &output.stderr {
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    let guests: Vec<_> = logs.iter().filter(|log| log["target"] == "guest").collect();
    let texts: Vec<_> = guests.iter().map(|log| field(log, "text")).collect();
    assert!(texts.iter().any(|text| text.ends_with("one")), "{texts:?}");
    assert!(texts.contains(&"two"), "{texts:?}");
    assert!(texts.iter().any(|text| text.starts_with("three\rfour\u{1b}[2J")), "{texts:?}");
    assert!(texts.contains(&"b"), "{texts:?}");
    for guest in guests {
        assert!(!field(guest, "message_id").is_empty());
    }
}

#[test]
fn whatever_a_guest_writes_is_escaped_in_readable_lines() {
    let output = run("text");
    let mut levels = 0;
    for line in output.stderr.iter() {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        // Each line starts with the time. A guest's text can't start a line, because it follows the worker's own.
        let (time, rest) = line.split_once(' ').unwrap_or_default();
        let level = rest.trim_start().split(' ').next().unwrap_or_default();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{line:?}");
        assert!(!time.starts_with("2026-01-01T00:00:00."), "{line:?}");
        assert!(["INFO", "WARN"].contains(&level), "{line:?}");
        levels += 1;
    }
    assert!(levels > 5, "{output}");
}

#[test]
fn a_guests_level_is_the_lines_level() {
    let world = World::new();
    let output = world
        .invoke("misbehave", r"print WARN mind\nERROR act\nDEBUG look\nnothing special")
        .args(["--log", "info"])
        .succeeds();
    let mut logs = output.logs();
    logs.retain(|log| log["target"] == "guest");
    let lines: Vec<_> = logs.iter().map(|log| (field(log, "level"), field(log, "text"))).collect();
    assert_eq!(lines, [("WARN", "mind"), ("ERROR", "act"), ("INFO", "nothing special")]);
}

#[test]
fn what_a_task_logs_is_bounded_and_a_note_says_so() {
    let world = World::new();
    let output = world.invoke("misbehave", "log-bytes 10000000").args(["--log-size", "20KiB"]).succeeds();
    let written: usize = output.stderr.iter().map(String::len).sum();
    assert!(written < 40 << 10, "{written}");
    let notes = output.logs_of("dropped guest log lines beyond the log size limit");
    assert_eq!(notes.len(), 1, "{output}");
    // The line ending is the one additional byte.
    assert_eq!(notes[0]["dropped_bytes"], 10_000_001 - (20 << 10));
}

#[test]
fn results_go_to_standard_output_and_logs_to_standard_error() {
    let world = World::new();
    let output = world.invoke("misbehave", "log 3 hello").succeeds();
    output.json();
    let guests = output.logs_of("Guest");
    assert_eq!(guests.len(), 3);
}

/// The output on a terminal: `script` runs the program in one and prints what it shows.
fn on_a_terminal(no_color: &str) -> Option<String> {
    let world = World::with_queue(&[]);
    world.send(["sleep 300"; 4]);
    let guest = guest("misbehave");
    let program = wasmrun().display().to_string();
    let grants = World::grants().join(" ");
    let line = format!("'{program}' run '{}' --queue sqlite:jobs.db --until-empty {grants}", guest.display());
    let script = world.program(Path::new("sh")).args(["-c", "command -v script"]).ends();
    if !script.status.success() {
        skip("there is no `script` to lend the program a terminal");
        return None;
    }
    let output = world
        .program(Path::new("script"))
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("NO_COLOR", no_color)
        .env("TERM", "xterm")
        .succeeds();
    Some(output.stdout.join("\n"))
}

#[test]
fn on_a_terminal_logs_are_readable_and_there_is_a_progress_bar() {
    let Some(shown) = on_a_terminal("") else { return };
    assert!(shown.contains("ready"), "{shown}");
    assert!(!shown.contains("{\"timestamp\""), "{shown}");
    assert!(shown.contains("/4 tasks"), "{shown}");
    assert!(shown.contains("4 in "), "the summary: {shown}");
    assert!(shown.contains("\x1b[32m"), "a green INFO: {shown:?}");
}

#[test]
fn on_a_terminal_nothing_is_coloured_if_no_color_says_so() {
    let Some(shown) = on_a_terminal("1") else { return };
    assert!(shown.contains("ready"), "{shown}");
    let colours = shown.match_indices("\x1b[").filter(|(at, _)| {
        let order = &shown[at + 2..];
        let end = order.find(|c: char| c.is_ascii_alphabetic());
        end.is_some_and(|end| order[end..].starts_with('m') && !matches!(&order[..end], "" | "0"))
    });
    assert_eq!(colours.count(), 0, "{shown:?}");
}
