//! Walks over dead-letter queues: `queue list`, `show`, `redrive` and `drop`.

use crate::harness::{
    Amazon, Call, Command, Depth, Output, ScriptedSqs, World, field, guest, lock, partly, refusal, signed,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

const DEAD: &str = "sqlite:jobs.db#dead";

/// Returns the record that a worker writes, as JSON.
fn record(queue: &str, reason: &str) -> String {
    json!({"outcome": "rejected", "reason": reason, "receive_count": 1, "message_id": "m", "queue": queue,
           "component": "c.wasm"})
    .to_string()
}

/// A dead letter as `ReceiveMessage` returns it.
fn dead_letter(body: &str, record: &str) -> Value {
    json!({"Body": body, "MessageAttributes": {"wasmrun": {"DataType": "String", "StringValue": record}}})
}

/// Returns the fields that a walk printed as JSON lines.
fn printed(output: &Output, name: &str) -> Vec<String> {
    let lines = output.stdout.iter().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.map(|value| field(&value, name).to_owned()).collect()
}

#[test]
fn dead_letters_are_listed_shown_moved_and_dropped_by_what_the_worker_recorded() {
    let world = World::with_queue(&["--max-receives", "1"]);
    world.send(["reject the disk is full", "reject no image", "reject no image either", "panic"]);
    world.run("misbehave").arg("--until-empty").succeeds();
    let walk = |command: &str, options: &[&str]| world.wasmrun(["queue", command, DEAD]).args(options);

    let all = walk("list", &[]).succeeds();
    assert_eq!(all.stdout.len(), 5, "a header and four messages: {all}");
    let rejected = walk("list", &["--outcome", "rejected", "--json"]).succeeds();
    assert_eq!(rejected.stdout.len(), 3, "{rejected}");
    let full =
        walk("list", &["--reason", "disk", "--component", "misbehave.wasm", "--since", "1h", "--json"]);
    let full = full.succeeds();
    assert_eq!(printed(&full, "body"), ["reject the disk is full"]);
    let shown = walk("show", &[&printed(&full, "id")[0]]).succeeds();
    assert!(shown.stdout.iter().any(|line| line.starts_with("reason") && line.contains("disk")), "{shown}");
    for none in [["--component", "other.wasm"], ["--since", "2100-01-01T00:00:00Z"]] {
        assert_eq!(walk("list", &none).arg("--json").succeeds().stdout.len(), 0);
    }
    walk("show", &["no-such-id"]).fails_with(2, "no visible message with the ID no-such-id");
    assert!(
        world.dead_letters().iter().all(|message| message["receive_count"] == 0),
        "looking changes nothing"
    );

    let moved = walk("redrive", &["--reason", "disk", "--json"]).succeeds().json();
    assert_eq!((&moved["moved"], &moved["looked_at"]), (&json!(1), &json!(4)));
    assert_eq!(world.peek("sqlite:jobs.db")[0]["attributes"], json!({}));
    walk("drop", &[]).fails_with(2, "queue purge");
    assert_eq!(walk("drop", &["--reason", "no image", "--limit", "1"]).succeeds().stdout, ["deleted 1"]);
    assert_eq!((world.depth(), world.dead()), (Depth::visible(1), Depth::visible(2)));
}

#[test]
fn text_of_a_dead_letter_neither_forges_a_line_nor_moves_the_cursor() {
    let world = World::with_queue(&[]);
    world.send(["x"; 4]);
    let evil = "\u{1b}[2J\u{9b}31m\r\n\u{202e}id            forged\u{2028}";
    let long = "x".repeat(200_000);
    let texts = ["{".to_owned(), "[".repeat(100_000), record(evil, evil), record("q", &long)];
    let database = world.database();
    for (row, text) in texts.iter().enumerate() {
        let attributes = json!([{"name": "wasmrun", "text": text}, {"name": evil, "text": evil}]);
        let change = "UPDATE content SET body = ?1, attributes = ?2 WHERE sequence = (SELECT sequence FROM message ORDER BY sequence LIMIT 1 OFFSET ?3)";
        database.execute(change, (evil, attributes.to_string(), row as i64)).expect("changed");
    }
    drop(database);
    let listed = world.wasmrun(["queue", "list", "sqlite:jobs.db"]).succeeds();
    assert_eq!(listed.stdout.len(), 5, "{listed}");
    assert!(listed.stdout.iter().all(|line| line.len() < 1000), "a reason is cut");
    let as_json = world.wasmrun(["queue", "list", "sqlite:jobs.db", "--json"]).succeeds();
    let mut outputs = vec![listed, as_json];
    for id in printed(&outputs[1], "id") {
        outputs.push(world.wasmrun(["queue", "show", "sqlite:jobs.db", &id]).succeeds());
    }
    for output in outputs {
        let text = output.stdout.concat();
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\r', '\u{202e}', '\u{2028}']), "{output}");
    }
}

#[test]
fn three_of_five_thousand_dead_letters_on_sqs_are_moved_by_their_reason_and_the_rest_is_untouched() {
    let Some((world, amazon, queue)) = Amazon::with_jobs(30, 3) else { return };
    let dead = queue.replace("jobs", "dead");
    let reason = |n: usize| if n % 1700 == 5 { "the disk is full" } else { "no image" };
    let records = (0..5000).map(|n| (format!("body {n}"), record(&queue, reason(n))));
    amazon.send_all_with(&dead, "wasmrun", records);
    let walk = |command| {
        amazon.environment(world.wasmrun(["queue", command, &dead])).within(Duration::from_secs(300))
    };
    // This server can't list the source queues.
    let moved =
        walk("redrive").args(["--reason", "disk is full", "--to", &queue, "--json"]).succeeds().json();
    let expected = json!({"moved": 3, "left": 0, "reason": null, "selected": 3, "looked_at": 5000, "doubled": 0,
                          "hidden": 0, "end": "complete"});
    assert_eq!(moved, expected);
    assert_eq!((amazon.depth(&dead), amazon.depth(&queue)), ([4997, 0, 0], [3, 0, 0]));
    let mut bodies = amazon.receive(&queue);
    bodies.sort_by(|one, other| one.0.cmp(&other.0));
    let bodies: Vec<_> = bodies.iter().map(|(body, attributes)| (body.as_str(), attributes.len())).collect();
    assert_eq!(bodies, [("body 1705", 0), ("body 3405", 0), ("body 5", 0)]);
    walk("redrive").fails_with(3, "source queues cannot be listed");
    let refused = amazon.environment(world.wasmrun(["queue", "list", &queue]));
    refused.fails_with(2, "name the dead-letter queue instead, or add --allow-receives");
}

#[test]
fn sqs_says_which_queue_a_dead_letter_came_from_and_the_message_does_not() {
    let Some(amazon) = Amazon::moto() else { return };
    let queue = amazon.create_queue("jobs", 30, 3);
    let dead = queue.replace("jobs", "dead");
    let records = ["http://127.0.0.1:1/000000000000/evil", &queue].map(|claim| record(claim, "x"));
    amazon.send_all_with(&dead, "wasmrun", records.map(|record| ("body".to_owned(), record)).into_iter());
    let world = World::new();
    let moved = amazon.environment(world.wasmrun(["queue", "redrive", &dead])).succeeds();
    assert_eq!(moved.stdout[0], "moved 1 back", "{moved}");
    assert!(moved.stdout[1].contains("/evil, but this is not that queue's dead-letter queue"), "{moved}");
    assert_eq!((amazon.depth(&dead), amazon.depth(&queue)), ([1, 0, 0], [1, 0, 0]));
}

/// A walk over such a queue.
fn on(queue: &ScriptedSqs, world: &World, words: &[&str]) -> Command {
    let url = queue.url();
    signed(world.wasmrun(["queue", words[0], &url]).args(&words[1..]))
}

#[test]
fn a_walk_over_a_queue_that_fails_in_the_middle_leaves_nothing_hidden_and_loses_nothing() {
    let letters = || (0..25).map(|n| dead_letter(&n.to_string(), &record("q", "x")));
    let fails = |operation: &'static str, times: usize| {
        move |call: &Call<'_>| {
            let fails = call.operation == operation && call.before >= times;
            fails.then(|| match operation {
                "ReceiveMessage" => refusal(403, "AccessDenied"),
                _ => partly(call.input, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "InternalError", false),
            })
        }
    };
    let world = World::new();
    for (operation, times, words) in [
        ("ReceiveMessage", 1, &["list", "--json"][..]),
        ("DeleteMessageBatch", 0, &["drop", "--outcome", "rejected"]),
        ("SendMessageBatch", 0, &["redrive", "--to", "next"]),
    ] {
        let queue = ScriptedSqs::holding(30, letters(), fails(operation, times));
        let to = queue.url().replace("jobs", "next");
        let words: Vec<_> =
            words.iter().map(|word| if *word == "next" { to.as_str() } else { word }).collect();
        let output = on(&queue, &world, &words).ends();
        assert_eq!(output.status.code(), Some(3), "{output}");
        assert_eq!(queue.depth(), [25, 0], "{output}");
    }
}

#[test]
fn a_walk_that_is_interrupted_makes_its_messages_visible_again() {
    let letters = (0..40).map(|n| dead_letter(&n.to_string(), "{"));
    let ((ask, asked), (go, wait)) = (mpsc::channel(), mpsc::channel::<()>());
    let (ask, wait) = (Mutex::new(ask), Mutex::new(wait));
    // The third receive is answered only after the signal.
    let queue = ScriptedSqs::holding(30, letters, move |call| {
        if call.operation == "ReceiveMessage" && call.before == 2 {
            let _ = lock(&ask).send(());
            let _ = lock(&wait).recv();
        }
        None
    });
    let world = World::new();
    let walk = on(&queue, &world, &["drop", "--outcome", "rejected"]).start();
    asked.recv().expect("a third receive");
    walk.signal(Signal::INT);
    walk.until_logged("stopping: a second signal ends at once");
    go.send(()).expect("still running");
    let output = walk.finish().exited_with(130);
    assert_eq!(queue.depth(), [40, 0], "{output}");
    assert_eq!(queue.received(), 30, "each message once: {output}");
    assert!(queue.asked("ReceiveMessage").iter().all(|input| input["VisibilityTimeout"].as_u64() > Some(60)));
}

#[test]
fn the_task_of_a_dead_letter_runs_again_with_the_same_end() {
    let world = World::with_queue(&[]);
    world.send(["reject no image"]);
    world.run("misbehave").args(["--until-empty", "--deterministic", "--usage", "usage.jsonl"]).succeeds();
    let [record] = &world.usage()[..] else { panic!("one task") };
    let id = printed(&world.wasmrun(["queue", "list", DEAD, "--json"]).succeeds(), "id").remove(0);
    let replay = || world.wasmrun(["replay", DEAD, &id, "--deterministic"]).arg(guest("misbehave"));
    let replayed = replay().args(World::grants()).arg("--json").ends().exited_with(1);
    assert!(replayed.to_string().contains("as recorded: the same outcome and reason"), "{replayed}");
    let report = replayed.json();
    assert_eq!((&report["reason"], &report["usage"]["fuel"]), (&json!("no image"), &record["fuel"]));
    let differs = replay().args(World::grants()).args(["--fuel", "10"]).ends().exited_with(1);
    assert!(differs.to_string().contains("recorded: rejected (no image)"), "{differs}");
    world.wasmrun(["replay", DEAD, "no-such-id"]).arg(guest("misbehave")).fails_with(2, "no visible message");
    assert_eq!(world.dead(), Depth::visible(1), "it stays");
}

#[test]
fn messages_that_are_too_old_expire_without_a_task() {
    let world = World::with_queue(&[]);
    world.send(["ok", "get cup"]);
    let old =
        "UPDATE message SET sent_ms = sent_ms - 7200000 WHERE sequence = (SELECT max(sequence) FROM message)";
    world.database().execute(old, []).expect("changed");
    let run = |options: &[&str]| world.run("misbehave").arg("--until-empty").args(options).succeeds();
    let summary = run(&["--max-age", "1h", "--usage", "usage.jsonl"]).summary();
    assert_eq!(summary["outcomes"], json!({"completed": 1, "expired": 1}));
    assert!(world.usage().iter().any(|record| record["outcome"] == "expired"));
    let dead = world.wasmrun(["queue", "list", DEAD, "--outcome", "expired", "--json"]).succeeds();
    assert_eq!(printed(&dead, "body"), ["get cup"]);
    // A message that is moved back starts again.
    world.wasmrun(["queue", "redrive", DEAD]).succeeds();
    world.write("in/cup", "1");
    run(&["--max-age", "1h"]).has_outcomes(&json!({"completed": 1}));

    world.send(["get cup"]);
    world.database().execute(old, []).expect("changed");
    let dropped = world.run("misbehave").arg("--until-empty").env("WASMRUN_MAX_AGE", "1h");
    let dropped = dropped.args(["--on", "expired=drop"]).succeeds().summary();
    assert_eq!((&dropped["outcomes"], world.dead()), (&json!({"expired": 1}), Depth::EMPTY));
    world.run("misbehave").args(["--on", "expired=retry"]).fails_with(2, "stays too old");
}
