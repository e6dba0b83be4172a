//! `run --usage FILE`: a complete line for each task, even if the worker crashes, other workers share the file, or the
//! disk is full.

use crate::harness::{Command, Depth, Disk, Output, Process, World, field, guest, wait_until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const FILE: &str = "usage.jsonl";
const FAILS: &str = "cannot write the usage file";
const WORKS: &str = "wrote the usage file again";

/// The records in a file, each of which must be complete.
#[track_caller]
fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "a torn line: {text}");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// All records, including those of the rotated files.
#[track_caller]
fn all_records(world: &World) -> Vec<Value> {
    let old = (1..=4).rev().map(|number| world.path(&format!("{FILE}.{number}")));
    old.chain([world.path(FILE)]).filter(|path| path.exists()).flat_map(|path| records(&path)).collect()
}

fn sum(records: &[Value], name: &str) -> u64 {
    records.iter().map(|record| record[name].as_u64().expect("a number")).sum()
}

fn largest(records: &[Value], name: &str) -> u64 {
    records.iter().map(|record| record[name].as_u64().expect("a number")).max().expect("one")
}

fn count(records: &[Value], name: &str, value: &str) -> usize {
    records.iter().filter(|record| record[name] == value).count()
}

fn worker(world: &World) -> Command {
    world.run("misbehave").args(["--usage", FILE, "--until-empty", "--backoff", "1ms..1ms"])
}

#[test]
fn the_lines_of_all_tasks_sum_up_to_the_summary_and_to_the_report() {
    let world = World::with_queue(&["--max-receives", "2"]);
    world.write("in/object", "content");
    world.announce();
    let bodies =
        ["ok", "reject no", "panic", "loop", "get object", "send 3", "put key value", "delete @input object"];
    world.send(bodies.iter().cycle().take(40));
    let output = worker(&world).args(["--fuel", "100000000", "--instances", "3"]).succeeds();
    let (summary, records) = (output.summary(), records(&world.path(FILE)));

    assert_eq!(summary["tasks"], records.len(), "{output}");
    for (outcome, tasks) in summary["outcomes"].as_object().expect("counts") {
        assert_eq!(tasks, count(&records, "outcome", outcome), "{outcome}");
    }
    assert_eq!(summary["limits"]["fuel"], count(&records, "limit", "fuel"));
    for name in ["fuel", "bytes_read", "bytes_written", "refusals"] {
        assert_eq!(summary[name], sum(&records, name), "{name}");
        assert!(summary[name].as_u64() > Some(0), "{name} shows nothing");
    }
    for name in ["wall_us", "queued_us", "cpu_us", "fuel", "peak_memory_bytes"] {
        assert_eq!(summary[format!("{name}_max")], largest(&records, name), "{name}");
        let [p50, p95, p99, max] =
            ["p50", "p95", "p99", "max"].map(|p| summary[format!("{name}_{p}")].as_u64().expect("a number"));
        assert!(0 < p50 && p50 <= p95 && p95 <= p99 && p99 <= max, "{name}: {p50} {p95} {p99} {max}");
    }
    for record in &records {
        let time = |name: &str| record[name].as_u64().expect("a number");
        let parts = ["start_us", "compute_us", "blocked_us", "ready_us"].map(time).iter().sum::<u64>();
        assert!(parts.abs_diff(time("wall_us")) <= 4, "the parts of {record}");
    }

    let report = world.wasmrun(["report", "--json", FILE]).succeeds().json();
    assert_eq!(report["tasks"], summary["tasks"]);
    assert_eq!(report["outcomes"], summary["outcomes"]);
    assert_eq!(report["limits"], summary["limits"]);
    assert_eq!(report["usage"]["fuel"], summary["fuel"]);
    assert_eq!(report["spreads"]["wall_us"]["p95"], summary["wall_us_p95"]);
    assert_eq!(report["queues"]["next"]["messages"], 5 * 3);
    assert_eq!(fs::metadata(world.path(FILE)).expect("there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn each_kill_tears_at_most_the_last_line_and_the_next_worker_begins_a_new_one() {
    const KILLS: usize = 12;
    let world = World::with_queue(&["--visibility-timeout", "1s", "--max-receives", "1000"]);
    let long = "x".repeat(900);
    // Leaves some messages for the last worker, however late the kills come.
    for _ in 0..3 {
        world
            .send((0..3000).map(|index| if index % 3 == 0 { format!("reject {long}") } else { "ok".into() }));
    }
    let written = || fs::metadata(world.path(FILE)).map_or(0, |metadata| metadata.len());
    let mut torn = 0;
    for _ in 0..KILLS {
        let before = written();
        let worker = worker(&world).args(["--instances", "4", "--on", "rejected=drop"]).start();
        wait_until("lines are written", || written() > before);
        std::thread::sleep(std::time::Duration::from_micros(fastrand::u64(..40_000)));
        worker.kill();
        torn += usize::from(!world.read(FILE).ends_with(b"\n"));
    }
    let last = worker(&world).args(["--on", "rejected=drop"]).succeeds().summary();

    let text = world.text(FILE);
    assert!(text.ends_with("}\n"), "the last worker left a torn line");
    let whole = text.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count();
    assert_eq!(text.lines().count() - whole, torn, "lines that are no records");
    assert!(text.lines().all(|line| line.starts_with('{')), "a line begins with something else");
    let report = world.wasmrun(["report", "--json", FILE]).succeeds().json();
    assert_eq!((&report["tasks"], &report["bad_lines"]["count"]), (&whole.into(), &torn.into()));
    assert!(last["tasks"].as_u64().is_some_and(|tasks| tasks > 0 && tasks < whole as u64), "{last}");
}

#[test]
fn rotation_keeps_every_line_until_four_old_files_are_full() {
    let world = World::with_queue(&[]);
    let run = || worker(&world).args(["--usage-size", "64KiB"]).succeeds();
    world.send(["ok"; 500]);
    run();
    let ids = |records: &[Value]| -> BTreeSet<String> {
        records.iter().map(|record| field(record, "message_id").to_owned()).collect()
    };
    let records = all_records(&world);
    assert_eq!((records.len(), ids(&records).len()), (500, 500));
    assert!(world.path("usage.jsonl.3").exists(), "nothing was rotated");
    let report = world.wasmrun(["report", "--json", FILE, "usage.jsonl.1", "usage.jsonl.2", "usage.jsonl.3"]);
    assert_eq!(report.succeeds().json()["tasks"], 500);

    world.send(["ok"; 500]);
    run();
    let kept = all_records(&world);
    assert!((500..1000).contains(&kept.len()), "{} lines", kept.len());
    assert_eq!(ids(&kept).len(), kept.len());
    assert!(!world.path("usage.jsonl.5").exists());
    for file in [FILE, "usage.jsonl.1", "usage.jsonl.2", "usage.jsonl.3", "usage.jsonl.4"] {
        assert!(fs::metadata(world.path(file)).expect("there").len() <= 64 << 10, "{file}");
    }
}

#[test]
fn workers_that_share_a_file_lose_no_line_when_one_of_them_rotates_it() {
    let world = World::with_queue(&[]);
    world.send(["ok"; 480]);
    let start = || worker(&world).args(["--usage-size", "64KiB", "--instances", "2"]).start();
    let workers = [start(), start(), start()];
    let tasks =
        workers.map(|worker| worker.finish().succeeded().summary()["tasks"].as_u64().expect("a count"));
    let records = all_records(&world);
    assert_eq!(records.len() as u64, tasks.iter().sum::<u64>(), "{tasks:?}");
    assert!(world.path("usage.jsonl.2").exists(), "nothing was rotated");
}

#[test]
fn a_full_disk_stops_no_task_and_loses_no_line() {
    const MESSAGES: usize = 100;
    let world = World::with_queue(&[]);
    world.create_dir("usage");
    let arguments = ["--queue", "sqlite:jobs.db", "--usage", "usage/usage.jsonl"];
    let Some((disk, worker)) = Disk::start_on(&world, "usage", 1 << 20, &arguments) else {
        return;
    };
    let filler = disk.fill(&worker);
    world.send(["ok"; MESSAGES]);
    worker.until_completed(MESSAGES);
    world.wait_until_empty();
    worker.until_logged(FAILS);
    fs::remove_file(filler).expect("removed");
    worker.until_logged(WORKS);
    let file = disk.path(&worker).join("usage.jsonl");
    // While they are being written, the last one may be incomplete.
    let lines = || fs::read_to_string(&file).unwrap_or_default().matches('\n').count();
    wait_until("all lines are written", || lines() == MESSAGES);
    assert_eq!(records(&file).len(), MESSAGES);
    let output = worker.stop();
    assert_eq!(warnings(&output, FAILS), 1, "{output}");
    assert_eq!(warnings(&output, "lost lines of usage"), 0, "{output}");
}

fn warnings(output: &Output, text: &str) -> usize {
    output.stderr.iter().filter(|line| line.contains(text)).count()
}

fn in_directory(world: &World) -> Process {
    world.create_dir("usage");
    world.run("misbehave").args(["--usage", "usage/usage.jsonl"]).start_ready()
}

#[test]
fn a_directory_that_vanishes_and_comes_back_loses_no_line() {
    let world = World::with_queue(&[]);
    let worker = in_directory(&world);
    world.while_away("usage", || {
        world.send(["ok"; 20]);
        worker.until_logged(FAILS);
    });
    worker.until_logged(WORKS);
    let output = worker.stop();
    assert_eq!(records(&world.path("usage/usage.jsonl")).len(), 20, "{output}");
}

#[test]
fn a_worker_whose_usage_file_is_gone_ends_all_the_same_and_says_what_is_lost() {
    let world = World::with_queue(&[]);
    let worker = in_directory(&world);
    fs::remove_dir_all(world.path("usage")).expect("removed");
    world.send(["ok"; 20]);
    worker.until_completed(20);
    worker.until_logged(FAILS);
    let output = worker.stop();
    let lost = output.logs().into_iter().find(|log| !log["dropped"].is_null());
    assert_eq!(lost.expect("said")["dropped"], 20, "{output}");
    assert_eq!(output.summary()["tasks"], 20);
}

#[test]
fn a_line_that_a_crash_tore_spoils_no_other() {
    let world = World::with_queue(&[]);
    world.write(FILE, "{\"time\":\"2026-");
    world.send(["ok"; 3]);
    worker(&world).succeeds();
    let text = world.text(FILE);
    assert_eq!(text.lines().count(), 4, "{text}");
    let report = world.wasmrun(["report", "--json", FILE]).succeeds().json();
    assert_eq!((&report["tasks"], &report["bad_lines"]["count"]), (&3.into(), &1.into()));
    assert_eq!(report["bad_lines"]["first"]["line"], 1);
}

#[test]
fn no_guest_may_write_to_the_usage_file() {
    let world = World::with_queue(&[]);
    let refused = |file: &str| {
        let run = world.run("misbehave").args(["--usage", file, "--until-empty"]);
        run.fails_with(2, "the store output is writable and holds the usage file");
        assert!(!world.path(file).exists(), "{file} was created");
    };
    refused("out/usage.jsonl");
    world.create_dir("out/deep");
    refused("out/deep/usage.jsonl");
    std::os::unix::fs::symlink(world.path("out"), world.path("link")).expect("a link");
    refused("link/usage.jsonl");
    // A read-only store is safe.
    world.run("misbehave").args(["--usage", "in/usage.jsonl", "--until-empty"]).succeeds();
}

#[test]
fn what_is_no_place_for_a_usage_file_is_refused_before_any_work() {
    let world = World::with_queue(&[]);
    world.send(["ok"]);
    for (file, said) in [
        ("missing/usage.jsonl", "No such file or directory"),
        ("in", "Is a directory"),
        ("/dev/null", "it is not a plain file"),
    ] {
        let output = world.run("misbehave").args(["--usage", file, "--until-empty"]).ends();
        let code = output.status.code();
        assert_eq!(code, Some(3), "{output}");
        let error = output.error();
        assert!(error.contains("cannot use the usage file") && error.contains(said), "{error}");
        world.run("misbehave").args(["--usage", file, "--check"]).fails_with(3, said);
    }
    let output = world.run("misbehave").args(["--usage", "new.jsonl", "--check"]).succeeds();
    assert!(!world.path("new.jsonl").exists(), "{output}");
    let small = worker(&world).args(["--usage-size", "1KiB"]);
    small.fails_with(2, "--usage-size 1 KiB is too small: at least 64 KiB");
    assert_eq!(world.depth(), Depth::visible(1));
}

#[test]
fn the_usage_file_can_be_named_in_the_configuration_and_by_a_variable() {
    let world = World::with_queue(&[]);
    world.write("wasmrun.toml", "usage = 'configured.jsonl'\nusage-size = '1MiB'\n");
    let run = || world.run("misbehave").args(["--config", "wasmrun.toml", "--until-empty"]);
    world.send(["ok"]);
    run().succeeds();
    assert_eq!(records(&world.path("configured.jsonl")).len(), 1);
    world.send(["ok"]);
    run().env("WASMRUN_USAGE", "variable.jsonl").succeeds();
    assert_eq!(records(&world.path("variable.jsonl")).len(), 1);
    assert_eq!(records(&world.path("configured.jsonl")).len(), 1);
    // `invoke` reads the same configuration, and ignores the usage file.
    world
        .wasmrun(["invoke", "--message", "ok", "--config", "wasmrun.toml"])
        .arg(guest("misbehave"))
        .args(World::grants())
        .succeeds();
}

#[test]
fn a_hostile_reason_is_a_value_in_its_line() {
    let world = World::with_queue(&[]);
    world.send(["reject a\u{9b}2J\u{7f}\n{\"time\":\"forged\"}\u{2028}\u{202e}"]);
    worker(&world).succeeds();
    let text = world.text(FILE);
    assert!(
        !text.trim_end().contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{202e}')),
        "{text:?}"
    );
    let records = records(&world.path(FILE));
    assert_eq!(records.len(), 1);
    assert!(field(&records[0], "reason").contains("\n{\"time\":\"forged\"}"));
}
