//! SIGHUP and SIGUSR1: a worker that reads its configuration again, and reports its state.

use crate::harness::{Depth, Process, World, field, wait_until};
use rustix::process::Signal;
use serde_json::json;

const READ: &str = "reloaded the configuration";
const DEBUG: &str = "\"level\":\"DEBUG\"";
const REFUSED: &str = "rejected the configuration";

/// Starts a worker with a configuration that a test changes.
fn configured(world: &World, worker: &str, limits: &str) -> Process {
    configure(world, worker, limits, "info");
    world.run("misbehave").args(["--config", "wasmrun.toml"]).start_ready()
}

fn configure(world: &World, worker: &str, limits: &str, level: &str) {
    let text = format!("[worker]\n{worker}\n[limits]\n{limits}\n[log]\nlevel = '{level}'\n");
    world.write("wasmrun.toml", text);
}

#[test]
fn sighup_takes_up_instances_and_level_without_losing_a_message() {
    let world = World::with_queue(&["--max-receives", "1"]);
    configure(&world, "instances = '1..4'", "timeout = '30s'", "info");
    let worker =
        world.run("misbehave").args(["--config", "wasmrun.toml"]).without_env("WASMRUN_LOG").start_ready();
    world.send(["sleep 20"; 60]);
    configure(&world, "instances = 2", "timeout = '1s'", "debug");
    assert_eq!(worker.logged(DEBUG), 0);
    worker.signal(Signal::HUP);
    worker.until_logged(READ);
    assert_eq!(worker.logs_with("need a restart")[0]["settings"], "limits.timeout");
    // Tasks that were running before, and one for which the new timeout would be too short.
    world.send(["sleep 2000"]);
    world.wait_until_empty();
    let output = worker.stop();
    output.has_outcomes(&json!({"completed": 61}));
    assert!(output.stderr.iter().any(|line| line.contains(DEBUG)), "{output}");
    assert_eq!(world.dead(), Depth::EMPTY);
}

#[test]
fn a_number_that_is_set_by_sighup_holds_as_far_as_the_pool_goes() {
    let world = World::with_queue(&[]);
    let worker = configured(&world, "instances = 4", "");
    let set = |instances: u32, holds: u32| {
        configure(&world, &format!("instances = {instances}"), "", "info");
        let before = worker.logged(READ);
        worker.signal(Signal::HUP);
        worker.until_logged_times(before + 1, READ);
        assert_eq!(worker.logs_with(READ)[before]["instances"], holds);
    };
    // The poller may hold more permits than that until its long poll returns.
    set(1, 1);
    world.send(["sleep 10"]);
    world.wait_until_empty();
    world.send(["sleep-forever"; 6]);
    wait_until("one runs", || world.depth().in_flight == 1);
    set(3, 3);
    wait_until("three run", || world.depth().in_flight == 3);
    set(9, 4);
    wait_until("four run", || world.depth().in_flight == 4);
    set(2, 2);
    assert_eq!(world.depth().in_flight, 4, "what runs goes on");
    worker.signal(Signal::TERM);
    worker.until_logged("a second signal stops at once");
    worker.stop();
}

#[test]
fn a_lower_limit_is_warned_of_only_where_one_is_asked_for() {
    let (lower, reloaded) =
        ("a lower concurrency limit than the configuration asks for", "reloaded the configuration");
    let world = World::with_queue(&[]);
    let worker = configured(&world, "stop-timeout = '2s'", "timeout = '2s'");
    worker.signal(Signal::HUP);
    worker.until_logged(reloaded);
    assert_eq!(worker.logged(lower), 0);
    configure(&world, "instances = 50000", "timeout = '2s'", "info");
    worker.signal(Signal::HUP);
    worker.until_logged_times(2, reloaded);
    assert_eq!(worker.logged(lower), 1);
    worker.stop();
}

#[test]
fn a_configuration_that_is_wrong_changes_nothing() {
    let world = World::with_queue(&[]);
    let worker = configured(&world, "instances = 2", "timeout = '2s'");
    let wrong = [
        ("instances = 2\nnonsense = 1", "", "nonsense"),
        ("instances = 0", "", "expected a number above zero"),
        ("instances = 2", "timeout = '0s'", "--timeout 0s"),
        // What is only used at the start.
        ("max-per-key = 1", "", "--max-per-key has no effect without keys"),
    ];
    for (at, (instances, limits, said)) in wrong.into_iter().enumerate() {
        configure(&world, instances, limits, "info");
        worker.signal(Signal::HUP);
        worker.until_logged_times(at + 1, REFUSED);
        let refused = worker.logs_with(REFUSED);
        assert!(field(&refused[at], "error").contains(said), "{said}: {}", refused[at]);
    }
    std::fs::remove_file(world.path("wasmrun.toml")).expect("removed");
    worker.signal(Signal::HUP);
    worker.until_logged_times(wrong.len() + 1, REFUSED);
    world.send(["ok", "sleep 10000"]);
    worker.until_logged("\"timed-out\"");
    assert_eq!(worker.stop().summary()["outcomes"]["completed"], 1);
}

#[test]
fn sigusr1_logs_what_the_worker_does() {
    let world = World::with_queue(&[]);
    let worker = world.run("misbehave").args(["--instances", "2", "--timeout", "10m"]).start();
    world.send(["sleep-forever"; 3]);
    wait_until("two run", || world.depth().in_flight == 2);
    worker.signal(Signal::USR1);
    worker.until_logged("\"status\"");
    let status = &worker.logs_with("\"status\"")[0];
    assert_eq!((&status["running"], &status["instances"]), (&2.into(), &2.into()));
    assert_eq!(status["receiving"], "yes", "{status}");
    let counts: Vec<&str> = status["counts"].as_str().expect("text").split(' ').collect();
    for count in ["received=2", "parked_messages=0", "settle_failures=0"] {
        assert!(counts.contains(&count), "{count} in {status}");
    }
    worker.kill();
}
