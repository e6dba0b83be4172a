//! Messages of many keys on one queue: fair shares and caps.

use crate::harness::{World, get, status, wait_until};
use serde_json::{Value, json};
use std::collections::HashMap;

const QUEUE: &str = "sqlite:jobs.db";

/// Runs a worker until the queue is empty. Returns the keys of the messages in the order in which their tasks ended.
fn keys_in_order(world: &World, options: &[&str]) -> Vec<String> {
    let messages = world.peek(QUEUE);
    let group_of: HashMap<_, _> =
        messages.iter().map(|message| (&message["id"], &message["group"])).collect();
    let worker = world.run("misbehave").args(["--instances", "1", "--until-empty", "--usage", "usage.jsonl"]);
    let output = worker.args(options).succeeds();
    output.has_outcomes(&json!({"completed": messages.len()}));
    let key_of = |record: &Value| group_of[&record["message_id"]].as_str().unwrap_or("-").to_owned();
    world.usage().iter().map(key_of).collect()
}

#[test]
fn keys_with_few_messages_end_long_before_the_backlog_of_another() {
    let last_small = |options: &[&str]| {
        let world = World::with_queue(&[]);
        world.send_of("--group", "big", ["ok"; 400]);
        for key in ["a", "b", "c", "d"] {
            world.send_of("--group", key, ["ok"; 5]);
        }
        let keys = keys_in_order(&world, options);
        keys.iter().rposition(|key| key != "big").expect("a small key")
    };
    assert_eq!(last_small(&[]), 419, "without keys, messages start in the order of the queue");
    let last = last_small(&["--key", "group"]);
    assert!(last < 200, "the last message of a small key ended after {last} others");
}

/// Fills both instances of a worker with tasks of one key that never end, if nothing bounds it, and shows that the task
/// of another key runs nevertheless.
fn another_key_passes(flag: &str, source: &str, backlog: usize) {
    let world = World::with_queue(&[]);
    world.send_of(flag, "greedy", vec!["sleep-forever"; backlog]);
    let worker = world.run("misbehave").args(["--instances", "2", "--stop-timeout", "100ms"]);
    let worker = worker.args(["--timeout", "10m", "--key", source, "--max-per-key", "1"]).start();
    wait_until("a task of the greedy key runs", || world.depth().in_flight > 0);
    world.send_of(flag, "modest", ["ok"]);
    worker.until_completed(1);
    let output = worker.stop();
    output.has_outcomes(&json!({"cancelled": 1, "completed": 1}));
    // All that was held is back, and no receive of it counts.
    assert_eq!(world.depth().total(), backlog as u64);
    let database = world.database();
    let most: u32 =
        database.query_row("SELECT max(receive_count) FROM message", [], |row| row.get(0)).expect("a number");
    assert_eq!(most, 0, "{output}");
}

#[test]
fn a_key_at_its_cap_lets_another_pass() {
    another_key_passes("--group", "group", 4);
    another_key_passes("--attribute", "attribute:tenant", 4);
}

#[test]
fn a_long_backlog_of_a_key_at_its_cap_lets_another_pass() {
    another_key_passes("--group", "group", 60);
    // The queue can't see attributes: the worker releases some messages to find the other key.
    another_key_passes("--attribute", "attribute:tenant", 60);
}

#[test]
fn a_key_whose_tasks_all_fail_does_not_keep_others_from_being_probes() {
    const SLOW: &str = "slowing down to one message at a time";
    const ENDS: [&str; 2] = ["task completed", "task did not complete"];
    let world = World::with_queue(&[]);
    // The round of groups begins with it.
    world.send_of("--group", "a-bad", ["reject no"; 30]);
    for key in ["b", "c", "d"] {
        world.send_of("--group", key, ["ok"]);
    }
    let options = ["--instances", "1", "--key", "group", "--max-consecutive-failures", "1"];
    let worker = world.run("misbehave").args(options).start();
    // The first task fails. The next key's message is the probe, whose task completes.
    worker.until_completed(3);
    // One more task of that key fails, and is the first of many probes that fail. Then a message of another key arrives.
    worker.until_logged_times(2, SLOW);
    worker.until_logged("still no task completes");
    world.send_of("--group", "e", ["ok"]);
    worker.until_completed(4);
    let output = worker.stop();
    let mut logs = output.logs();
    let at =
        |message: &str, nth| logs.iter().enumerate().filter(|(_, line)| line["message"] == message).nth(nth);
    let (third, failing) = (at("task completed", 2), at("still no task completes", 0));
    assert!(third.expect("completed").0 < failing.expect("it fails").0, "{output}");
    logs.retain(|line| ENDS.iter().any(|end| line["message"] == *end));
    let keys: Vec<_> = logs.iter().map(|line| line["key"].as_str().expect("a key")).collect();
    let at = |key: &str| keys.iter().position(|of| *of == key).expect("its task");
    assert_eq!((keys[0], at("b")), ("a-bad", 1), "{keys:?}");
    assert!(at("c").max(at("d")) < 5 && at("e") < 12, "the backlog is longer: {keys:?}");
}

#[test]
fn the_number_of_held_messages_is_in_status_and_metrics() {
    let world = World::with_queue(&[]);
    world.send_of("--group", "greedy", ["sleep-forever"; 4]);
    let worker = world.run("misbehave").args(["--key", "group", "--max-per-key", "1", "--timeout", "10m"]);
    let worker = worker.args(["--stop-timeout", "100ms", "--status", "0"]).start();
    let address = worker.listens_on();
    wait_until("three messages are held", || status(address)["held"] == 3);
    assert!(get(address, "/metrics").body.contains("\nwasmrun_held_messages 3\n"));
    worker.stop();
}

#[test]
fn usage_and_costs_are_split_by_key() {
    const HOSTILE: &str = "\r\ntasks 1000000\u{202e}\u{9b}2J";
    let world = World::with_queue(&["--max-receives", "1"]);
    world.send_of("--attribute", "acme", ["ok", "ok", "reject no"]);
    world.send_of("--attribute", "zoo", ["ok"; 5]);
    world.send_of("--attribute", HOSTILE, ["reject no"]);
    world.send(["ok"]);
    let worker = world.run("misbehave").args(["--instances", "2", "--until-empty", "--usage", "usage.jsonl"]);
    let output = worker.args(["--key", "attribute:tenant"]).succeeds();
    let logged = |key: &str| output.logs().iter().filter(|line| line["key"] == key).count();
    assert_eq!((logged("acme"), logged("zoo"), logged("-")), (3, 5, 1), "{output}");

    let report = world.wasmrun(["report", "usage.jsonl", "--by", "key", "--json"]).succeeds().json();
    let keys = report["by_key"]["keys"].as_array().expect("keys");
    let of =
        |key: &str| keys.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("{key:?}: {report}"));
    assert_eq!(of("acme")["outcomes"], json!({"completed": 2, "rejected": 1}));
    assert_eq!(of("zoo")["outcomes"], json!({"completed": 5}));
    assert_eq!((&of("-")["tasks"], &of(HOSTILE)["tasks"]), (&json!(1), &json!(1)));
    assert_eq!((keys.len(), &report["by_key"]["others"]["tasks"]), (4, &json!(0)));
    for name in ["fuel", "cpu_us", "wall_us"] {
        let sum: u64 = keys.iter().filter_map(|row| row["usage"][name].as_u64()).sum();
        assert_eq!(report["usage"][name], sum, "{name}");
        assert!(sum > 0, "{name} shows nothing");
    }
    for way in report["costs"]["ways"].as_array().expect("ways") {
        let (name, total) = (way["name"].as_str().expect("a name"), way["total"].as_f64().expect("a cost"));
        let sum: f64 = keys.iter().filter_map(|row| row["costs"][name].as_f64()).sum();
        assert!(total > 0.0 && (sum - total).abs() <= total * 1e-9, "{name}: {sum} is not {total}");
    }
    let listed = |key: &str| {
        let list = world.wasmrun(["queue", "list", "sqlite:jobs.db#dead", "--key", key, "--json"]).succeeds();
        list.stdout.iter().filter(|line| line.contains("reject no")).count()
    };
    assert_eq!([listed("acme"), listed(HOSTILE), listed("zoo"), listed("acm")], [1, 1, 0, 0]);
    let text = world.wasmrun(["report", "usage.jsonl", "--by", "key"]).succeeds();
    let forged = |line: &&String| line.starts_with("tasks") || line.contains(|c: char| c.is_control());
    assert_eq!(text.stdout.iter().filter(forged).count(), 1, "{text}");
    let row = text.stdout.iter().find(|line| line.ends_with("  zoo")).expect("a row");
    assert_eq!(row.split_whitespace().next(), Some("5"), "{text}");
    // Without keys, usage lines have none.
    world.send(["ok"]);
    world.run("misbehave").args(["--until-empty", "--usage", "plain.jsonl"]).succeeds();
    assert!(!String::from_utf8_lossy(&world.read("plain.jsonl")).contains("\"key\""));
}

#[test]
fn settings_of_keys_that_do_not_fit_are_refused() {
    let world = World::with_queue(&[]);
    let run = || world.run("misbehave");
    let refused = run().args(["--key", "tenant"]).ends().exited_with(2);
    assert!(refused.to_string().contains("attribute:NAME"), "{refused}");
    run().args(["--max-per-key", "2"]).fails_with(2, "--max-per-key");
    run().args(["--weight", "acme=2"]).fails_with(2, "--weight");
    run().args(["--key", "group", "--weight", "acme=0"]).fails_with(2, "--weight acme=0");
    run().args(["--key", "group", "--timeout", "10m", "--max-visibility", "15m"]).fails_with(2, "--key");
    world.write("wasmrun.toml", "[worker]\nkey = 'body:/tenant'\nmax-per-key = 3\n[weight]\nacme = 2\n");
    run().args(["--config", "wasmrun.toml", "--check"]).succeeds();
}
