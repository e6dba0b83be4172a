//! `report`: the contents of usage files, whoever wrote them.

use crate::harness::{World, field};
use serde_json::{Value, json};

/// Data that `wasmrun report` may have, in KiB: less than a hundred thousand keys would take.
const LIMIT_KIB: u32 = 32768;

fn record(number: u64) -> Value {
    json!({
        "time": format!("2026-11-24T15:{:02}:{:02}.000001Z", number / 60 % 60, number % 60),
        "message_id": format!("message-{number}"), "receive_count": 1, "component": "thumbnail.wasm",
        "outcome": if number.is_multiple_of(10) { "limit-exceeded" } else { "completed" },
        "limit": if number.is_multiple_of(10) { json!("fuel") } else { json!(null) }, "reason": null,
        "fuel": 1000 * number, "cpu_us": 100 * number, "queued_us": 5, "start_us": 1, "compute_us": 100 * number,
        "blocked_us": 7, "ready_us": 0, "wall_us": 100 * number + 8, "peak_memory_bytes": 65536 * number,
        "log_bytes": 0, "random_bytes": 0, "bytes_read": 3 * number, "bytes_written": number, "calls": 2,
        "refusals": 0, "stores": {"input": {"calls": 2, "bytes_read": 3 * number, "bytes_written": number}},
        "queues": {},
    })
}

/// A world with records of ninety seconds.
fn world() -> World {
    let world = World::new();
    let lines: String = (1..=90).map(|number| format!("{}\n", record(number))).collect();
    world.write("usage.jsonl", lines);
    world
}

#[test]
fn a_report_tells_totals_outcomes_over_time_the_heaviest_tasks_and_costs() {
    let output = world().wasmrun(["report", "usage.jsonl", "--top", "2"]).succeeds();
    let text = output.stdout.join("\n");
    for said in [
        "tasks          90, from 2026-11-24 15:00:01 to 2026-11-24 15:01:30 UTC, 89.0 s",
        "outcomes       81 completed",
        "9 limit-exceeded",
        "limits hit     9 fuel",
        "CPU time       410 ms",
        "stores         input: 180 calls, 12.0 KiB read, 4.0 KiB written",
        "outcomes over time, each line 5s",
        "2026-11-24 15:01:30           1          0               1",
        "heaviest tasks by CPU time\n      9.00 ms  message-90, receive 1  thumbnail.wasm  limit-exceeded (fuel)\n",
        "heaviest tasks by memory",
        "a Fargate task for each message",
        "in USD: prices of us-east-1, Linux on x86-64, on demand, as of 2026-05",
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
    assert!(!text.contains("message-88"), "more than the two heaviest:\n{text}");
}

#[test]
fn files_without_a_record_are_an_error() {
    let world = World::new();
    for (name, content) in [("empty.jsonl", ""), ("blank.jsonl", "\n  \n")] {
        world.write(name, content);
        world
            .wasmrun(["report", name])
            .fails_with(2, &format!("there is no record of a task: {name} is empty"));
    }
    let both = world.wasmrun(["report", "empty.jsonl", "blank.jsonl", "--json"]);
    both.fails_with(2, "empty.jsonl and blank.jsonl");
    world.wasmrun(["report", "-"]).input("").fails_with(2, "there is no record of a task");
    // One record is enough.
    world.write("usage.jsonl", format!("{}\n", record(1)));
    world.wasmrun(["report", "empty.jsonl", "usage.jsonl"]).succeeds();
}

#[test]
fn a_report_for_machines_says_the_same() {
    let report = world().wasmrun(["report", "usage.jsonl", "--json"]).succeeds().json();
    assert_eq!(report["tasks"], 90);
    assert_eq!(report["bad_lines"], json!({"count": 0, "first": null}));
    assert_eq!(report["outcomes"], json!({"completed": 81, "limit-exceeded": 9}));
    assert_eq!(report["usage"]["cpu_us"], 100 * 4095);
    assert_eq!(report["spreads"]["bytes"]["max"], 360);
    assert_eq!(report["over_time"]["seconds"], 5);
    let tasks: u64 = report["over_time"]["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["tasks"].as_u64().expect("a count"))
        .sum();
    assert_eq!(tasks, 90);
    assert_eq!(report["heaviest"]["cpu_us"].as_array().map(Vec::len), Some(5));
    let ways = report["costs"]["ways"].as_array().expect("ways");
    let names: Vec<&str> = ways.iter().map(|way| field(way, "name")).collect();
    assert_eq!(names, ["fargate-tasks", "fargate-service", "lambda"]);
    // One minute of a quarter of a vCPU and half a GB.
    let million = ways[0]["per_million"].as_f64().expect("a number");
    assert!((205.0..207.0).contains(&million), "{million}");
}

#[test]
fn a_torn_and_hostile_file_is_read_to_its_end() {
    let world = World::new();
    let mut absurd = record(2);
    absurd["wall_us"] = json!(u64::MAX);
    let mut negative = record(2);
    negative["cpu_us"] = json!(-5);
    let mut hostile = record(3);
    for name in ["message_id", "component", "outcome", "limit", "reason"] {
        hostile[name] = json!("\u{1b}[2J\u{9b}2J\r\ntasks 1000000\u{202e}");
    }
    let mut future = record(4);
    future["new"] = json!([{"of": "the future"}]);
    let huge = "y".repeat(10 << 20);
    let good = record(1);
    let lines = format!(
        "{good}\n{{\"time\":\"20\u{1b}[2J\n\n{absurd}\n{negative}\n{huge}\n{hostile}\n{future}\n\u{0}\u{0}\n{good}"
    );
    world.write("usage.jsonl", [lines.as_bytes(), b"\n\xff\xfe\n{\"to"].concat());
    let output = world.wasmrun(["report", "usage.jsonl"]).succeeds();
    let text = output.stdout.join("\n");
    assert!(text.starts_with("tasks          4, from"), "{text}");
    assert!(
        text.contains("skipped        7 lines that are no records; the first is line 2 of usage.jsonl: "),
        "{text}"
    );
    assert!(text.contains("1 other"), "{text}");
    let forged = |line: &&String| line.starts_with("tasks") || line.contains(|c: char| c.is_control());
    assert_eq!(output.stdout.iter().filter(forged).count(), 1, "{text:?}");
    let report = world.wasmrun(["report", "usage.jsonl", "--json"]).succeeds().json();
    assert_eq!(report["bad_lines"]["count"], 7);
}

#[test]
fn a_file_without_a_record_is_no_usage_file() {
    let world = World::new();
    world.write("notes.txt", "some\nnotes\n");
    world
        .wasmrun(["report", "notes.txt"])
        .fails_with(2, "there is no record of a task: line 1 of notes.txt: ");
    world.wasmrun(["report", "missing"]).fails_with(2, "cannot read the usage file missing: ");
    world.wasmrun(["report", "in"]).fails_with(3, "cannot read in: ");
}

#[test]
fn several_files_and_standard_input_are_added_up() {
    let world = world();
    world.write("other", format!("{}\n", record(1000)));
    let report = world
        .wasmrun(["report", "usage.jsonl", "-", "other", "--json"])
        .input(format!("{}\n{}", record(1), record(2)))
        .succeeds()
        .json();
    assert_eq!(report["tasks"], 93);
    assert_eq!(report["heaviest"]["cpu_us"][0]["message_id"], "message-1000");
}

#[test]
fn a_hundred_thousand_hostile_keys_take_bounded_memory_and_hide_no_large_key() {
    const KEYS: u64 = 100_000;
    let world = World::new();
    let mut lines = String::new();
    for number in 0..KEYS {
        let mut hostile = record(1);
        hostile["key"] = json!(format!("\u{1b}[2J\r\n{}{number}", "\u{202e}".repeat(80)));
        lines += &format!("{hostile}\n");
        if number.is_multiple_of(1000) {
            let mut large = record(1000);
            large["key"] = json!("large");
            lines += &format!("{large}\n");
        }
    }
    world.write("usage.jsonl", lines);
    let report = |option: &str| {
        // Each of these keys would take half a KiB.
        let limited = world.wasmrun_after(&format!("ulimit -d {LIMIT_KIB}"));
        limited.args(["report", "usage.jsonl", "--by", "key", option]).succeeds()
    };
    let by_key = &report("--json").json()["by_key"];
    assert_eq!((&by_key["keys"][0]["key"], &by_key["keys"][0]["tasks"]), (&json!("large"), &json!(100)));
    assert_eq!((by_key["keys"].as_array().map(Vec::len), &by_key["exact"]), (Some(20), &json!(false)));
    assert_eq!(by_key["others"]["tasks"], KEYS - 19);
    let text = report("--top=3");
    assert!(!text.stdout.iter().any(|line| line.contains(|c: char| c.is_control())), "{text}");
    assert!(text.to_string().contains("(others)"), "{text}");
}

#[test]
fn records_without_a_key_have_the_key_of_none() {
    let report = world().wasmrun(["report", "usage.jsonl", "--by", "key", "--json"]).succeeds().json();
    let keys = report["by_key"]["keys"].as_array().expect("keys");
    assert_eq!((keys.len(), &keys[0]["key"], &keys[0]["tasks"]), (1, &json!("-"), &json!(90)));
    assert_eq!(keys[0]["usage"], report["usage"]);
    let plain = world().wasmrun(["report", "usage.jsonl", "--json"]).succeeds().json();
    assert!(plain.get("by_key").is_none(), "{plain}");
}

#[test]
fn prices_can_be_replaced() {
    let world = world();
    let shipped = include_str!("../../../crates/cli/src/prices.toml");
    let mine = shipped
        .replace("us-east-1", "moon-1")
        .replace("USD", "gold")
        .replace("0.04048", "0.0")
        .replace("0.004445", "3600.0")
        .replace("2026-05", "2020-01-31");
    world.write("moon.toml", mine);
    let costs = |arguments: &[&str]| {
        let report = world.wasmrun(["report", "usage.jsonl", "--json"]).args(arguments).succeeds().json();
        report["costs"].clone()
    };
    let here = costs(&["--prices", "moon.toml"]);
    assert_eq!(
        (&here["region"], &here["currency"], &here["date"]),
        (&"moon-1".into(), &"gold".into(), &"2020-01-31".into())
    );
    // Ninety messages, each with a minute of half a GB, at 1 gold for each GB-second.
    assert_eq!(here["ways"][0]["total"], 90.0 * 60.0 * 0.5);
    let larger = costs(&["--prices", "moon.toml", "--fargate-size", "1,4", "--lambda-size", "1024"]);
    assert_eq!(larger["ways"][0]["total"], 90.0 * 60.0 * 4.0);
    assert!(field(&larger["ways"][2], "assumptions").starts_with("1024 MB, as you say"), "{larger}");

    world.write("wrong.toml", shipped.replace("price = 0.20", "price = -1"));
    let report = ["report", "usage.jsonl", "--prices", "wrong.toml"];
    world.wasmrun(report).fails_with(2, "in the prices wrong.toml: lambda.million-requests is -1");
    world.write("typo.toml", shipped.replace("vcpu-hour", "vcpu-hours"));
    world
        .wasmrun(["report", "usage.jsonl", "--prices", "typo.toml"])
        .fails_with(2, "in the prices typo.toml, line ");
    let sizes = ["report", "usage.jsonl", "--fargate-size", "1,9"];
    world.wasmrun(sizes).fails_with(2, "with 1 vCPU there may be 2, 3, 4, 5, 6, 7, 8 GB");
}
