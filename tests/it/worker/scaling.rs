//! How the number of concurrent tasks follows the load.

use crate::harness::{Depth, Output, World, wait_until};
use serde_json::Value;

/// The successive concurrency limits.
fn numbers(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["instances"].as_u64().expect("a number")).collect()
}

fn completed(output: &Output) -> u64 {
    output.summary()["outcomes"]["completed"].as_u64().unwrap_or_default()
}

#[test]
fn the_number_follows_a_burst_of_tasks_that_wait_and_falls_back_when_nothing_comes() {
    let world = World::with_queue(&[]);
    let worker = world
        .run("misbehave")
        .args(["--instances", "0..16", "--scale-in-delay", "1s", "--memory", "4MiB", "--log", "debug"])
        .start_ready();
    world.send(["sleep 500"; 100]);
    wait_until("it is back", || {
        let numbers = numbers(&worker.logs_with("\"changed the concurrency limit\""));
        numbers.contains(&16) && numbers.last() == Some(&1)
    });
    assert_eq!(world.depth(), Depth::EMPTY);
    let output = worker.stop();
    assert_eq!(completed(&output), 100, "{output}");
}

#[test]
fn a_worker_that_is_idle_again_gives_back_what_the_burst_took() {
    const MIB: u64 = 1 << 20;
    let world = World::with_queue(&[]);
    let worker = world
        .run("misbehave")
        .args(["--instances", "0..128", "--scale-in-delay", "1s", "--memory", "4MiB", "--log", "debug"])
        .start_ready();
    // The pool keeps some 70 KiB of each slot's stacks and tables for its next task.
    let burst = |times: usize| {
        world.send(["sleep 1000"; 400]);
        wait_until("it is idle again", || {
            let numbers = numbers(&worker.logs_with("\"changed the concurrency limit\""));
            numbers.iter().any(|&number| number > 96)
                && numbers.last() == Some(&1)
                && worker.logged("\"reclaimed idle memory\"") >= times
        });
        worker.vitals()
    };
    let first = burst(1).resident;
    worker.forget_peak();
    let second = burst(2);
    assert!(second.peak > first + 4 * MIB, "{second:?} after {first}");
    assert!(second.resident < first + 2 * MIB, "{second:?} after {first}");
    worker.stop();
}

#[test]
fn tasks_that_compute_settle_near_the_number_of_threads_by_themselves() {
    let world = World::with_queue(&[]);
    world.send(["busy 20"; 150]);
    let output = world
        .run("misbehave")
        .args(["--threads", "2", "--memory", "4MiB", "--log", "debug", "--until-empty"])
        .succeeds();
    assert_eq!(completed(&output), 150);
    let ready = &output.logs_of("ready")[0];
    assert!(ready["instances"].as_u64() > Some(50), "this machine bears many: {ready}");
    let changes = output.logs_of("changed the concurrency limit");
    let highest = numbers(&changes).into_iter().max().unwrap_or(1);
    // At most sixteen of more than fifty. Next to other tests, a task may seem to wait for something.
    assert!((2..=16).contains(&highest), "{changes:?}");
}

#[test]
fn a_target_latency_that_few_instances_meet_starts_no_more() {
    let world = World::with_queue(&[]);
    world.send(["sleep 50"; 100]);
    let output = world
        .run("misbehave")
        .args(["--instances", "1..64", "--target-latency", "1h", "--memory", "4MiB"])
        .args(["--log", "debug", "--until-empty"])
        .succeeds();
    assert_eq!(completed(&output), 100);
    let changes = output.logs_of("changed the concurrency limit");
    assert!(numbers(&changes).into_iter().all(|number| number <= 2), "{changes:?}");
}

#[test]
fn a_fixed_number_stays() {
    let world = World::with_queue(&[]);
    world.send(["sleep 20"; 50]);
    let output =
        world.run("misbehave").args(["--instances", "3", "--log", "debug", "--until-empty"]).succeeds();
    assert_eq!(output.logs_of("ready")[0]["instances"], 3);
    assert!(output.logs_of("changed the concurrency limit").is_empty());
}

#[test]
fn two_workers_share_a_queue_without_knowing_of_one_another() {
    // In memory, because on a disk a process that holds the lock for long keeps the other one waiting.
    let world = World::in_memory_with_queue(&["--max-receives", "1"]);
    let start = || world.run("misbehave").args(["--instances", "0..8", "--memory", "4MiB"]).start_ready();
    let workers = [start(), start()];
    world.send(["sleep 30"; 600]);
    world.wait_until_empty();
    let done = workers.map(|worker| completed(&worker.stop()));
    assert_eq!(done.iter().sum::<u64>(), 600);
    assert!(done.iter().all(|&tasks| tasks >= 100), "{done:?}");
}

#[test]
fn what_contradicts_itself_is_refused_in_one_sentence() {
    let world = World::with_queue(&[]);
    for (arguments, sentence) in [
        (&["--instances", "4", "--target-latency", "30s"][..], "--instances 4 is fixed"),
        (&["--instances", "9..2"], "the minimum is larger than the maximum"),
        (&["--instances", "many"], "expected a number above zero, MIN..MAX or auto"),
        (&["--target-latency", "0s"], "--target-latency"),
        (&["--scale-in-delay", "never"], "--scale-in-delay"),
    ] {
        let output = world.run("misbehave").args(arguments).arg("--check").ends().exited_with(2);
        assert!(output.to_string().contains(sentence), "{arguments:?}: {output}");
    }
}
