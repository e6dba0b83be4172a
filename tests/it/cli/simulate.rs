//! `wasmrun simulate`: a fleet in virtual time.

use crate::harness::{Command, World};
use serde_json::Value;

fn simulate(world: &World, arguments: &str) -> Command {
    world.wasmrun(["simulate"]).args(arguments.split_whitespace())
}

#[track_caller]
fn result(command: Command) -> Value {
    serde_json::from_str(&command.arg("--json").succeeds().stdout.concat()).expect("JSON")
}

#[test]
fn the_result_is_a_table_json_and_a_picture_and_the_same_each_time() {
    let world = World::new();
    let arguments = "--arrivals poisson:20/s --duration 5m --service exponential:100ms --seed 7";
    let table = simulate(&world, arguments).succeeds();
    assert_eq!(simulate(&world, arguments).succeeds().stdout, table.stdout);
    let found = result(simulate(&world, arguments).args(["--svg", "fleet.svg"]));
    let arrived = found["arrived"].as_u64().expect("a number");
    assert!((5_500..6_500).contains(&arrived), "{found}");
    assert_eq!(found["completed"], found["arrived"]);
    assert!(table.stdout.contains(&format!("messages                {arrived}")), "{table}");
    let picture = world.text("fleet.svg");
    assert!(picture.starts_with("<svg ") && picture.trim_end().ends_with("</svg>"));
    assert!(!picture.contains("script") && !picture.contains("href"));
}

#[test]
fn the_usage_file_of_a_worker_is_simulated_again() {
    let world = World::with_queue(&[]);
    world.send(["sleep 100"; 40]);
    world
        .run("misbehave")
        .args(["--instances", "4", "--usage", "usage.jsonl", "--until-empty", "--memory", "4MiB"])
        .succeeds();
    let found = result(simulate(&world, "--usage usage.jsonl --queue sqlite --instances 4"));
    assert_eq!((&found["arrived"], &found["completed"]), (&40.into(), &40.into()));
    // Ten rounds of four tasks that wait a tenth of a second each.
    assert!(found["latency"]["max"].as_f64() >= Some(1.0), "{found}");
    assert_eq!(found["concurrency"]["max"], 4.0);
}

#[test]
fn a_sweep_compares_the_values_of_a_flag() {
    let world = World::new();
    let command =
        simulate(&world, "--arrivals burst:400 --service fixed:1s --cpu 0 --sweep instances=4,16,64");
    let found = result(command);
    let rows = found.as_array().expect("a list");
    let slowest: Vec<f64> = rows.iter().map(|row| row["latency"]["max"].as_f64().expect("seconds")).collect();
    assert_eq!(slowest.len(), 3, "{found}");
    assert!(slowest[0] > 2.0 * slowest[1] && slowest[1] > 2.0 * slowest[2], "{slowest:?}");
}

/// The p95 wait of a row of tenants in seconds.
fn waits(found: &Value, row: &str) -> f64 {
    let rows = found["tenants"].as_array().expect("rows of tenants");
    let row = rows.iter().find(|found| found["name"] == row).expect("a row");
    row["wait"]["p95"].as_f64().expect("seconds")
}

#[test]
fn a_sweep_compares_the_waits_of_tenants_with_and_without_fair_shares() {
    let world = World::new();
    let arguments = "--queue sqlite --instances 8 --service fixed:10ms --cpu 0 --tenant large=burst:5000 \
                     --tenant small:20=burst:20 --sweep key=off,group";
    let found = result(simulate(&world, arguments));
    let [off, group] = [0, 1].map(|index| waits(&found[index], "small"));
    assert!(off > 5.0 * group, "{off} {group}");
    assert_eq!(found[1]["tenants"][1]["keys"], 20);
    let table = simulate(&world, arguments).succeeds();
    let shown = table.stdout.concat();
    assert!(shown.contains("small (20)") && shown.contains("wait p50"), "{table}");
    // Weights and caps are compared in the same way.
    let capped = "--instances 8 --service fixed:100ms --cpu 0 --tenant large=burst:80 --key group";
    let found = result(simulate(&world, capped).args(["--sweep", "max-per-key=2,4"]));
    let most = [0, 1].map(|index| found[index]["tenants"][0]["most_tasks"].as_u64().expect("a number"));
    assert_eq!(most, [2, 4]);
    let found = result(simulate(&world, capped).args(["--weight", "large=3"]));
    assert_eq!((&found["completed"], &found["tenants"][0]["most_tasks"]), (&80.into(), &8.into()));
    let plain = result(simulate(&world, "--arrivals burst:80 --service fixed:100ms"));
    assert!(plain.get("tenants").is_none(), "{plain}");
}

/// A line of a usage file: a task of a second with this key that ended at this second.
pub(crate) fn recorded(key: &str, second: u32) -> String {
    let time = format!("2026-11-01T00:{:02}:{:02}Z", second / 60, second % 60);
    let record = serde_json::json!({
        "time": time, "message_id": second.to_string(), "receive_count": 1, "key": key, "outcome": "completed",
        "fuel": 0, "cpu_us": 0, "wall_us": 1_000_000, "peak_memory_bytes": 0, "bytes_read": 0, "bytes_written": 0,
        "blocked_us": 1_000_000,
    });
    format!("{record}\n")
}

#[test]
fn the_tenants_of_a_usage_file_are_its_keys() {
    let world = World::new();
    let large = (0..100).map(|_| recorded("large", 1));
    let small = (2..12).map(|second| recorded("small\u{1b}", second));
    world.write("usage.jsonl", large.chain(small).chain([recorded("-", 20)]).collect::<String>());
    let arguments = "--usage usage.jsonl --queue sqlite --instances 4";
    let found = result(simulate(&world, arguments).args(["--sweep", "key=off,group"]));
    for index in [0, 1] {
        let rows = found[index]["tenants"].as_array().expect("rows").iter();
        let rows: Vec<_> = rows.map(|row| (row["name"].as_str(), row["arrived"].as_u64())).collect();
        assert_eq!(rows, [(Some("-"), Some(1)), (Some("large"), Some(100)), (Some("small\u{1b}"), Some(10))]);
        assert_eq!(found[index]["completed"], 111);
    }
    let [off, group] = [0, 1].map(|index| waits(&found[index], "small\u{1b}"));
    assert!(off > 5.0 * group, "{off} {group}");
    let table = simulate(&world, arguments).args(["--key", "group"]).succeeds();
    assert!(!table.stdout.concat().contains('\u{1b}'), "{table}");
    // Without --key, the file is simulated as before.
    let plain = result(simulate(&world, arguments));
    assert!(plain.get("tenants").is_none() && plain["arrived"] == 111, "{plain}");
    world.write("many.jsonl", (0..10_002).map(|number| recorded(&number.to_string(), 1)).collect::<String>());
    simulate(&world, "--usage many.jsonl --key group").fails_with(2, "more than 10000 keys");
    simulate(&world, "--usage many.jsonl").succeeds();
}

#[test]
fn what_cannot_be_simulated_is_refused_in_a_sentence() {
    let world = World::new();
    world.write("keyless.jsonl", recorded("-", 1));
    world.write("no.jsonl", "no record\n");
    world.write("huge.jsonl", format!("{{\"time\":\"{}\"}}\n", "9".repeat(1 << 20)));
    for (code, arguments, says) in [
        (2, "", "--arrivals"),
        (2, "--usage nothing.jsonl", "nothing.jsonl"),
        (2, "--usage no.jsonl", "no.jsonl"),
        (2, "--usage huge.jsonl", "huge.jsonl"),
        (3, "--usage /dev/zero", "no usage file"),
        (2, "--arrivals steady:1e12/s --service fixed:1s", "rate"),
        (2, "--arrivals burst:1000000000000 --service fixed:1s", "messages"),
        (2, "--arrivals burst:1@2h --service fixed:1s", "burst"),
        (2, "--arrivals steady:1/s --service fixed:1s --sweep nosuch=1,2", "--nosuch"),
        (2, "--arrivals steady:1/s --service fixed:1s --sweep seed=x", "seed"),
        (2, "--arrivals steady:1/s --service fixed:1s --workers 1..5", "--autoscaling"),
        (2, "--arrivals steady:1/s --service fixed:1s --key group", "--tenant"),
        (2, "--usage keyless.jsonl --key group", "--tenant"),
        (2, "--tenant a=burst:5 --service fixed:1s --max-per-key 2", "--max-per-key"),
        (2, "--tenant a=burst:5 --service fixed:1s --weight a=2", "--weight"),
        (2, "--tenant a=burst:5 --service fixed:1s --key group --weight b=2", "no tenant"),
        (2, "--tenant a=burst:5 --service fixed:1s --key group --weight a=0", "from 1 to 1000"),
        (2, "--tenant a=burst:5", "--service"),
        (2, "--tenant a=burst:5 --tenant a=burst:5 --service fixed:1s", "two tenants"),
        (2, "--tenant a:9999=burst:5 --tenant b:2=burst:5 --service fixed:1s", "10000 tenants"),
        (2, "--tenant a=burst:999999999 --service fixed:1s", "with tenants"),
        (2, "--tenant a=poisson:1e308/s --service fixed:1s", "rate"),
        (3, "--arrivals steady:1/s --service fixed:1s --svg no/such/folder.svg", "folder.svg"),
    ] {
        simulate(&world, arguments).fails_with(code, says);
    }
    // The parser of flags adds a hint to these.
    for (arguments, says) in [
        ("--tenant a=burst:5 --service fixed:1s --key groups", "expected off, group"),
        ("--tenant a=fixed:1s --service fixed:1s", "expected NAME[:N]=WHEN"),
    ] {
        let output = simulate(&world, arguments).ends().exited_with(2);
        assert!(output.to_string().contains(says), "{output}");
    }
}
