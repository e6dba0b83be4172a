//! `wasi:logging`: log lines with a level and a context.

use super::invoke;
use crate::harness::{Output, World, field, guest};
use serde_json::Value;

/// The guest's lines.
fn lines(output: &Output) -> Vec<Value> {
    let mut logs = output.logs();
    logs.retain(|log| log["target"] == "guest");
    logs
}

fn texts(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| field(line, "text")).collect()
}

#[test]
fn a_message_is_a_line_with_its_level_and_context() {
    let world = World::new();
    for (level, seen) in [
        ("trace", "TRACE"),
        ("debug", "DEBUG"),
        ("info", "INFO"),
        ("warn", "WARN"),
        ("error", "ERROR"),
        ("critical", "ERROR"),
    ] {
        let message = format!("log {level} billing ERROR is only a word");
        let output = invoke(&world, &message).args(["--log", "info,guest=trace"]).succeeds();
        let line = &lines(&output)[0];
        assert_eq!(field(line, "level"), seen);
        assert_eq!(field(line, "context"), "billing");
        assert_eq!(field(line, "stream"), "log");
        assert_eq!(field(line, "text"), "ERROR is only a word");
        assert_eq!(field(line, "message_id"), "invoke");
    }
    assert!(lines(&invoke(&world, "log debug c hidden").succeeds()).is_empty());
}

#[test]
fn a_message_of_several_lines_becomes_lines_that_forge_none() {
    let world = World::new();
    let hostile = "log info a\\e[2J\u{202e} one\\n\\ntwo\\e[2J\\n2026-01-01T00:00:00Z ERROR forged";
    let output = invoke(&world, hostile).succeeds();
    let lines = lines(&output);
    assert_eq!(texts(&lines), ["one", "two\u{1b}[2J", "2026-01-01T00:00:00Z ERROR forged"]);
    assert!(lines.iter().all(|line| line["level"] == "INFO"), "{output}");
    for format in ["json", "text"] {
        let output = invoke(&world, hostile).args(["--log-format", format]).succeeds();
        for line in &output.stderr {
            assert!(!line.contains(['\u{1b}', '\u{202e}']), "{line:?}");
            assert!(!line.starts_with("2026-01-01T00:00:00Z"), "{line:?}");
        }
    }
}

#[test]
fn messages_share_the_bound_of_the_log_and_a_note_says_what_was_dropped() {
    let world = World::new();
    // One long line becomes several.
    let long = invoke(&world, "log-bytes 10 20000").succeeds();
    assert_eq!(texts(&lines(&long)).concat().len(), 20_000);
    assert!(texts(&lines(&long)).iter().all(|text| text.len() <= 8192));
    // A large message and a large context are cut.
    let large = invoke(&world, "log-bytes 30000000 1000000").args(["--log-size", "16KiB"]).succeeds();
    let kept = lines(&large);
    assert!(texts(&kept).concat().len() <= 16 << 10, "{}", texts(&kept).concat().len());
    assert!(kept.iter().all(|line| field(line, "context").len() <= 256));
    let notes = large.logs_of("dropped guest log lines beyond the log size limit");
    assert!(notes[0]["dropped_bytes"].as_u64().is_some_and(|bytes| bytes > 980_000), "{notes:?}");
    let usage = &large.json()["usage"];
    assert!(usage["log_bytes"].as_u64().is_some_and(|bytes| bytes > 0 && bytes <= 16 << 10), "{usage}");
    // Empty lines cost as well, so a million of them take no time.
    let empty = invoke(&world, "log-lines 1000000").args(["--log-size", "16KiB"]).succeeds();
    assert!(lines(&empty).is_empty());
}

/// As `wasmrun test` shows them.
#[test]
fn a_case_sees_messages_and_configuration_values() {
    let world = World::new();
    world.write("guest.toml", format!("component = {:?}\n", guest("interfaces")));
    world.write("cases/log/case.toml", "message = 'log warn billing paid'\n[expect]\nlog = ['paid']");
    let config = "message = 'config-get a'\n[config-value]\na = 'b'\n[expect]\noutcome = 'rejected'\nreason = 'Some(\"b\")'";
    world.write("cases/config/case.toml", config);
    world.wasmrun(["test"]).succeeds();
}
