//! How tasks fail, and the effect on their messages.

use crate::harness::{Depth, Output, World, event, field, why};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

const BACKOFF: &str = "200ms..1s";

/// What a message makes the guest do, the outcome, the reason, and the number of receives.
const FAILURES: [(&str, &str, Option<&str>, u64); 8] = [
    ("loop", "limit-exceeded", Some("fuel"), 3),
    ("alloc", "limit-exceeded", Some("memory"), 3),
    ("recurse", "limit-exceeded", Some("stack"), 3),
    ("sleep-forever", "timed-out", None, 3),
    ("panic at once", "trapped", Some("at once"), 3),
    ("exit 3", "trapped", Some("exited with status 1 without returning"), 3),
    ("retry when it is there", "retry", Some("when it is there"), 3),
    ("reject it is no picture", "rejected", Some("it is no picture"), 1),
];

#[test]
fn each_failure_has_its_outcome_is_retried_and_dead_lettered_with_the_reason_while_others_complete() {
    let world = World::with_queue(&["--max-receives", "3"]);
    let bodies = FAILURES.iter().flat_map(|failure| ["ok", "ok", failure.0, "ok", "ok"]);
    world.send(bodies);
    let ids: HashMap<String, String> = world.messages().into_iter().collect();

    let output = world
        .run("misbehave")
        .args(["--until-empty", "--instances", "4", "--backoff", BACKOFF])
        .args(["--fuel", "100000000", "--memory", "16MiB", "--timeout", "1s"])
        .succeeds();

    assert_eq!(world.depth(), Depth::EMPTY);
    let dead = world.dead_letters();
    assert_eq!(dead.len(), FAILURES.len());
    for (body, outcome, reason, receives) in FAILURES {
        let letter = dead.iter().find(|letter| letter["body"] == body);
        let letter = letter.unwrap_or_else(|| panic!("{body} isn't there: {dead:?}"));
        let why = why(letter);
        let id = field(&why, "message_id");
        assert_eq!(ids[id], body);
        // The reason may contain more than the guest's own words.
        let told = why["reason"].as_str();
        assert!(told.unwrap_or_default().contains(reason.unwrap_or_default()), "{body}: {why}");
        assert_eq!(told.is_some(), reason.is_some(), "{body}: {why}");
        let queue = format!("sqlite:{}", world.path("jobs.db").display());
        let expected = json!({"queue": queue, "outcome": outcome, "reason": told, "receive_count": receives,
                              "message_id": id, "component": "misbehave.wasm",
                              "sent_at": field(&why, "sent_at")});
        assert_eq!(why, expected, "{body}");
        assert_waits(&output, id, receives);
    }

    // The other tasks complete once each, unaffected by the failures.
    let completed = output.logs_of("task completed");
    assert_eq!(completed.len(), 4 * FAILURES.len());
    for log in completed {
        assert_eq!(ids[field(&log, "message_id")], "ok");
        assert_eq!(log["receive_count"], 1);
    }
    let outcomes = json!({"completed": 32, "limit-exceeded": 9, "timed-out": 3, "trapped": 6, "retry": 3, "rejected": 1});
    let summary = output.summary();
    assert_eq!(summary["outcomes"], outcomes);
    assert_eq!(summary["limits"], json!({"fuel": 3, "memory": 3, "stack": 3}));
    assert_eq!(summary["dead_lettered"], FAILURES.len());
}

/// Asserts that each retry comes after the backoff that follows the previous try: at least half of 200 ms, then of 400
/// ms.
fn assert_waits(output: &Output, id: &str, receives: u64) {
    let mut tries = output.logs_of("task did not complete");
    tries.retain(|log| log["message_id"] == id);
    let counts: Vec<_> = tries.iter().map(|log| log["receive_count"].as_u64()).collect();
    assert_eq!(counts, (1..=receives).map(Some).collect::<Vec<_>>());
    let times: Vec<SystemTime> = tries.iter().map(time).collect();
    for (pair, backoff) in times.windows(2).zip([100, 200]) {
        let waited = pair[1].duration_since(pair[0]).expect("in order");
        assert!(waited >= Duration::from_millis(backoff), "{waited:?}");
    }
}

fn time(log: &Value) -> SystemTime {
    let text = field(log, "timestamp");
    humantime::parse_rfc3339(text).expect("a time")
}

#[test]
fn a_guest_chooses_when_it_is_tried_again() {
    let world = World::with_queue(&["--max-receives", "2"]);
    world.send(["retry 2 later"]);
    let output = world.run("misbehave").args(["--until-empty", "--backoff", "1ms..1ms"]).succeeds();
    let tries: Vec<_> = output.logs_of("task did not complete").iter().map(time).collect();
    assert_eq!(tries.len(), 2);
    let waited = tries[1].duration_since(tries[0]).expect("in order");
    assert!(waited >= Duration::from_millis(1900), "{waited:?}");
}

#[test]
fn the_user_decides_what_follows_from_an_outcome() {
    let world = World::with_queue(&["--max-receives", "2"]);
    world.send(["panic now", "reject it", "retry it", "sleep-forever"]);
    let output = world
        .run("misbehave")
        .args(["--until-empty", "--backoff", "1ms..1ms", "--timeout", "300ms"])
        .args(["--on", "trapped=drop", "--on", "rejected=retry"])
        .args(["--on", "retry=dead-letter", "--on", "timed-out=drop"])
        .succeeds();
    output.has_outcomes(&json!({"trapped": 1, "rejected": 2, "retry": 1, "timed-out": 1}));
    let mut dead: Vec<_> = world
        .peek("sqlite:jobs.db#dead")
        .iter()
        .map(|letter| (field(letter, "body").to_owned(), why(letter)["receive_count"].clone()))
        .collect();
    dead.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(dead, [("reject it".into(), json!(2)), ("retry it".into(), json!(1))]);
}

#[test]
fn without_a_dead_letter_queue_rejected_messages_may_be_dropped_but_not_dead_lettered() {
    let world = World::with_queue(&["--dead-letter", "none"]);
    let run = || world.run("misbehave").arg("--until-empty");
    run()
        .args(["--on", "trapped=dead-letter"])
        .fails_with(2, "--on trapped=dead-letter needs a dead-letter queue");
    world.write("wasmrun.toml", "[on]\nrejected = 'dead-letter'\n");
    run().args(["--config", "wasmrun.toml"]).fails_with(2, "--dead-letter URL");
    world.send(["reject it", "ok"]);
    let output = run().args(["--on", "rejected=drop"]).succeeds();
    output.has_outcomes(&json!({"completed": 1, "rejected": 1}));
    assert!(!output.to_string().contains("no dead-letter queue"), "nothing is kept: {output}");
    assert_eq!(world.depth(), Depth::EMPTY);
}

#[test]
fn a_dead_letter_queue_of_its_own_file_is_used_when_it_is_named() {
    let world = World::with_queue(&["--dead-letter", "none"]);
    world.create_queue("sqlite:dead.db", &[]);
    world.send(["reject it"]);
    world.run("misbehave").args(["--until-empty", "--dead-letter", "sqlite:dead.db"]).succeeds();
    let dead = world.peek("sqlite:dead.db");
    assert_eq!(dead.len(), 1);
    assert_eq!(why(&dead[0])["reason"], "it");
}

#[test]
fn an_event_outside_every_grant_is_rejected_and_a_test_event_runs_nothing() {
    let world = World::new();
    let outside = event("elsewhere", &[json!({"key": "secret"})]);
    let (outcome, reason) = world.outcome(&outside.to_string());
    assert_eq!(outcome, "rejected");
    assert!(reason.starts_with("no grant"), "{reason}");
    assert!(!reason.contains("elsewhere"), "{reason}");

    let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"});
    let report = world.invoke("misbehave", &test.to_string()).succeeds().json();
    assert_eq!(report["usage"]["fuel"], 0);
}

#[test]
fn invoke_prints_outcome_and_usage_and_tells_by_its_exit_code_whether_the_task_completed() {
    let world = World::new();
    let report = world.invoke("misbehave", "put key text").succeeds().json();
    assert_eq!(report["outcome"], "completed");
    assert_eq!(report["reason"], Value::Null);
    assert_eq!(report["usage"]["bytes_written"], 4);
    for number in ["fuel", "peak_memory_bytes", "wall_us", "cpu_us"] {
        assert!(report["usage"][number].as_u64() > Some(0), "{number} in {report}");
    }
    assert_eq!(world.read("out/key"), b"text");

    let report = world.invoke("misbehave", "reject no").ends().exited_with(1).json();
    assert_eq!((&report["outcome"], &report["reason"]), (&json!("rejected"), &json!("no")));

    let text = world
        .wasmrun(["invoke", "--message", "reject no"])
        .arg(crate::harness::guest("misbehave"))
        .args(World::grants())
        .ends()
        .exited_with(1);
    assert!(text.stdout[0].contains("rejected (no)"), "{text}");
}

/// The worker decodes nothing that the user doesn't see.
#[test]
fn the_message_of_invoke_is_a_text_a_file_or_standard_input() {
    let world = World::new();
    world.write("message.txt", "reject from a file");
    assert_eq!(world.outcome("@message.txt").1, "from a file");
    let input = world.invoke("misbehave", "-").input("reject from standard input");
    assert_eq!(input.ends().exited_with(1).json()["reason"], "from standard input");
}
