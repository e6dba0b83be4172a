//! Components of `wasi:messaging`: what they see, what they answer and what they send.

use super::{drafts, said};
use crate::harness::{World, event, field, guest};
use serde_json::json;

#[test]
fn what_the_handler_answers_is_the_outcome() {
    let world = World::new();
    let limits = ["--memory", "16MiB", "--fuel", "200000000", "--timeout", "1s"];
    for (message, outcome, reason) in [
        ("ok", "completed", ""),
        ("fail no picture", "retry", "no picture"),
        ("fail", "retry", "the handler failed without a reason"),
        ("fail-timeout", "retry", "timeout"),
        ("fail-connection", "retry", "connection: gone"),
        ("fail-permission", "retry", "permission denied: no"),
        ("spin", "limit-exceeded", "fuel"),
        ("sleep", "timed-out", ""),
    ] {
        let ended = drafts(&world, message).args(limits).ends().outcome();
        assert_eq!(ended, (outcome.into(), reason.into()), "{message}");
    }
    let (outcome, reason) = drafts(&world, "panic").ends().outcome();
    assert!(outcome == "trapped" && reason.contains("at once"), "{outcome}: {reason}");
}

#[test]
fn a_message_has_its_body_its_content_type_and_its_attributes_that_are_text() {
    let world = World::new();
    assert_eq!(said(drafts(&world, "message")), "None None None");
    let attributes = ["--attribute", "content-type=text/x", "--attribute", "tenant=a=b"];
    let seen = said(drafts(&world, "message").args(attributes));
    assert_eq!(seen, r#"None Some("text/x") Some([("tenant", "a=b")])"#);
    // An event is text, also one that announces an object outside every store.
    let event = event("elsewhere", &[json!({"key": "a", "size": 5})]).to_string();
    assert!(said(drafts(&world, &event)).starts_with("unknown: {\"Records\""));
}

#[test]
fn a_topic_is_the_alias_of_a_granted_queue() {
    let world = World::new();
    let report = drafts(&world, "send next hello there\nsend-typed next").succeeds().json();
    let sent = world.peek("sqlite:next.db");
    let mut bodies: Vec<_> = sent.iter().map(|message| field(message, "body").to_owned()).collect();
    bodies.sort();
    assert_eq!(bodies, ["hello there", "typed"]);
    let typed = sent.iter().find(|message| message["body"] == "typed").expect("sent");
    assert_eq!(typed["attributes"], json!({"a": "3", "content-type": "text/x"}), "{typed}");
    assert_eq!(report["usage"]["queues"]["next"]["messages"], 2, "{report}");
}

#[test]
fn what_no_queue_takes_is_an_error_and_nothing_is_sent() {
    let world = World::new();
    for (message, says) in [
        ("send-said elsewhere hello", "denied: no grant names this topic"),
        ("send-said next", "the body is empty"),
        ("send-said sqlite:next.db hello", "denied: no grant names this topic"),
        ("send-twice next", "connection: the client is disconnected"),
        ("send-binary next", "the data is not UTF-8"),
        ("send-large next 1048577", "1048577 bytes"),
        ("name-length 100000", "denied: no grant names this topic"),
        ("request next", "request-reply is not offered"),
        ("reply", "request-reply is not offered"),
    ] {
        let reason = said(drafts(&world, message));
        assert!(reason.starts_with(says) || reason.contains(says), "{message}: {reason}");
    }
    assert_eq!(world.peek("sqlite:next.db"), Vec::<serde_json::Value>::new());
    let report = drafts(&world, "send-said elsewhere hello").ends().json();
    assert_eq!(report["usage"]["refusals"], 1, "{report}");
    let ended = drafts(&world, "send-on next").args(["--sent-messages", "3"]).ends().outcome();
    assert_eq!(ended, ("limit-exceeded".into(), "sent-messages".into()));
    assert_eq!(world.peek("sqlite:next.db").len(), 3);
}

#[test]
fn a_worker_settles_its_messages_by_the_answers_of_the_handler() {
    let world = World::with_queue(&["--max-receives", "2"]);
    world.send(["ok", "fail no picture", "panic"]);
    let output = world.run("drafts").args(["--until-empty", "--backoff", "1ms..1ms"]).succeeds();
    output.has_outcomes(&json!({"completed": 1, "retry": 2, "trapped": 2}));
    let reasons = world.dead_reasons();
    assert_eq!((reasons.len(), &*reasons[0]), (2, "no picture"));
}

#[test]
fn inspect_names_the_world_and_the_grants() {
    let world = World::new();
    let inspected = world.wasmrun(["inspect", "--json"]).arg(guest("drafts")).succeeds().json();
    assert_eq!(inspected["world"], "wasi:messaging/messaging-core@0.2.0-draft", "{inspected}");
    assert_eq!((&inspected["needs"]["store"], &inspected["needs"]["send"]), (&json!(true), &json!(true)));
    drafts(&world, "ok").args(["--arg", "x"]).fails_with(2, "are for commands");
}

#[test]
fn other_drafts_are_refused_by_name() {
    let world = World::new();
    let handler = r#"(instance $h) (export "wasi:messaging/incoming-handler@0.2.0-draft" (instance $h))"#;
    for import in ["wasi:messaging/consumer@0.2.0-draft", "wasi:blobstore/container@0.2.0-draft2"] {
        let text = format!(r#"(component (import "{import}" (instance (export "f" (func)))) {handler})"#);
        world.write("other.wasm", wat::parse_str(&text).expect("a component"));
        world.wasmrun(["invoke", "--message", "x", "other.wasm"]).fails_with(2, import);
    }
}
