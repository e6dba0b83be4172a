//! Components of Spin's SQS trigger.

use super::said;
use crate::harness::{Command, World, event, guest};
use serde_json::json;

/// One task of the guest `spin`, which does what its message says.
fn spin(world: &World, message: &str) -> Command {
    world.invoke("spin", message)
}

#[test]
fn what_the_handler_answers_is_the_outcome_and_its_error_the_reason() {
    let world = World::new();
    let limits = ["--memory", "16MiB", "--fuel", "200000000", "--timeout", "1s"];
    for (message, outcome, reason) in [
        ("delete", "completed", ""),
        ("leave", "retry", "the handler left the message in the queue"),
        ("fail no picture", "retry", "no picture"),
        ("fail ", "retry", "the handler failed without a reason"),
        ("spin", "limit-exceeded", "fuel"),
        ("alloc", "limit-exceeded", "memory"),
        ("sleep", "timed-out", ""),
    ] {
        let ended = spin(&world, message).args(limits).ends().outcome();
        assert_eq!(ended, (outcome.into(), reason.into()), "{message}");
    }
    for (message, says) in [("panic at once", "at once"), ("exit", "exited with status")] {
        let (outcome, reason) = spin(&world, message).ends().outcome();
        assert!(outcome == "trapped" && reason.contains(says), "{outcome}: {reason}");
    }
}

#[test]
fn the_handler_is_given_the_id_the_attributes_and_what_the_queue_says() {
    let world = World::new();
    let of = |message: &str| {
        let command = spin(&world, message).args(["--message-id", "seven"]);
        said(command.args(["--sent-at", "2026-11-28T00:00:00Z", "--attribute", "tenant=a=b"]))
    };
    assert_eq!(of("id"), "seven");
    assert_eq!(
        of("attributes"),
        "ApproximateReceiveCount:-=1 SentTimestamp:-=1795824000000 tenant:String=a=b"
    );
    let environment = spin(&world, "environment").env("AWS_SECRET_ACCESS_KEY", "SECRET");
    assert_eq!(said(environment.args(["--env", "GIVEN=1"])), r#"["GIVEN"] 0"#);
}

/// Spin has no announced objects: an event, even one that wasmrun can't decode or has no grant for, is text.
#[test]
fn the_body_is_always_what_was_sent() {
    let world = World::new();
    for event in [
        event("elsewhere", &[json!({"key": "a", "size": 5})]).to_string(),
        json!({"Records": [{"eventSource": "aws:s3"}]}).to_string(),
        json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}).to_string(),
    ] {
        assert_eq!(said(spin(&world, &event)), format!("body of {} bytes", event.len()));
    }
}

#[test]
fn a_worker_settles_its_messages_by_the_answers_of_the_handler() {
    let world = World::with_queue(&["--max-receives", "2"]);
    world.send(["delete", "leave", "fail no picture", "panic at once"]);
    let output = world.run("spin").args(["--until-empty", "--backoff", "1ms..1ms"]).succeeds();
    output.has_outcomes(&json!({"completed": 1, "retry": 4, "trapped": 2}));
    let reasons = world.dead_reasons();
    assert_eq!(reasons.len(), 3);
    assert_eq!(reasons[0], "no picture");
    assert_eq!(reasons[1], "the handler left the message in the queue");
    assert!(reasons[2].contains("at once"), "{reasons:?}");
}

#[test]
fn what_a_handler_says_is_bounded_and_stays_in_its_line_of_the_log() {
    let world = World::new();
    let reason = said(spin(&world, "fail-at-length 900000"));
    assert!(reason.len() <= 1100, "{}", reason.len());
    let ended = spin(&world, "fail-at-length 2000000").args(["--memory", "16MiB"]).ends().outcome();
    assert!(ended.1.len() <= 1100, "{}", ended.1.len());
    let output = spin(&world, "print first\n{\"level\":\"forged\"}").succeeds();
    assert_eq!(output.logs_of("Guest").len(), 2, "{output}");
    assert!(output.logs().iter().all(|line| line["level"] != "forged"), "{output}");
}

#[test]
fn inspect_names_the_world_and_flags_of_commands_are_refused() {
    let world = World::new();
    let inspected = world.wasmrun(["inspect", "--json"]).arg(guest("spin")).succeeds().json();
    assert_eq!(inspected["world"], "fermyon:spin-sqs/spin-sqs@2.0.0", "{inspected}");
    let needs = inspected["needs"].as_object().expect("an object");
    assert!(
        needs.contains_key("store") && needs.values().all(|is_needed| *is_needed == false),
        "{inspected}"
    );
    spin(&world, "delete").args(["--arg", "x"]).fails_with(2, "are for commands");
}

#[test]
fn what_spin_offers_besides_is_refused_by_name() {
    let world = World::new();
    let handler = r#"(import "handler" (func $f)) (export "handle-queue-message" (func $f))"#;
    for (import, says) in [
        ("fermyon:spin/key-value@2.0.0", "--keyvalue"),
        ("fermyon:spin/variables@2.0.0", "--config-value"),
        ("fermyon:spin/sqlite@2.0.0", "of Spin"),
        ("fermyon:spin-sqs/sqs-types@1.0.0", "offers version 2.0.0"),
        ("spin:postgres/postgres@3.0.0", "of Spin"),
    ] {
        let text = format!(r#"(component (import "{import}" (instance (export "f" (func)))) {handler})"#);
        world.write("other.wasm", wat::parse_str(&text).expect("a component"));
        let output = world.wasmrun(["invoke", "--message", "x", "other.wasm"]).fails_with(2, import);
        assert!(output.error().contains(says), "{says} in {output}");
    }
}

/// A function of the right name and another type is no handler.
#[test]
fn a_handler_of_another_type_is_refused_at_the_start() {
    let world = World::new();
    let text = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))
        (export "handle-queue-message" (func $f)))"#;
    world.write("other.wasm", wat::parse_str(text).expect("a component"));
    let output = world.wasmrun(["invoke", "--message", "x", "other.wasm"]).ends().exited_with(2);
    assert!(output.error().contains("handle-queue-message"), "{output}");
}
