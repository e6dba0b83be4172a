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
    let picture = String::from_utf8(world.read("fleet.svg")).expect("text");
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

#[test]
fn what_cannot_be_simulated_is_refused_in_a_sentence() {
    let world = World::new();
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
        (3, "--arrivals steady:1/s --service fixed:1s --svg no/such/folder.svg", "folder.svg"),
    ] {
        simulate(&world, arguments).fails_with(code, says);
    }
}
