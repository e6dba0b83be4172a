//! SIGHUP and SIGUSR1: a worker that reads its configuration again, and says how it is.

use crate::harness::{Answer, Depth, Process, Stub, World, field, wait_until};
use rustix::process::Signal;
use serde_json::json;

const READ: &str = "The configuration was read again.";
const DEBUG: &str = "\"level\":\"DEBUG\"";
const REFUSED: &str = "The configuration isn't taken up";

/// A worker with a configuration that a test changes.
fn configured(world: &World, worker: &str, limits: &str) -> Process {
    configure(world, worker, limits, "info");
    let process = world.run("misbehave").args(["--config", "wasmrun.toml"]).start();
    process.until_logged("\"Ready.\"");
    process
}

fn configure(world: &World, worker: &str, limits: &str, level: &str) {
    let text = format!("[worker]\n{worker}\n[limits]\n{limits}\n[log]\nlevel = '{level}'\n");
    world.write("wasmrun.toml", text);
}

#[test]
fn sighup_takes_up_limits_instances_and_level_without_losing_a_message() {
    let world = World::with_queue(&["--max-receives", "1"]);
    configure(&world, "instances = '1..4'", "timeout = '30s'", "info");
    let worker = world.run("misbehave").args(["--config", "wasmrun.toml"]).without_env("WASMRUN_LOG").start();
    worker.until_logged("\"Ready.\"");
    world.send(["sleep 20"; 60]);
    configure(&world, "instances = 2", "timeout = '1s'", "debug");
    assert_eq!(worker.logged(DEBUG), 0);
    worker.signal(Signal::HUP);
    worker.until_logged(READ);
    // Those that were there before, and one for which the new limit is too short.
    world.send(["sleep 5000"]);
    wait_until("all is done", || world.depth() == Depth::EMPTY);
    worker.signal(Signal::TERM);
    let output = worker.finish().succeeded();
    assert_eq!(output.summary()["outcomes"], json!({"completed": 60, "timed-out": 1}), "{output}");
    assert!(output.stderr.iter().any(|line| line.contains(DEBUG)), "{output}");
    assert_eq!(world.dead(), Depth::visible(1));
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
    // The poller may hold more slots than that until its long poll brings something.
    set(1, 1);
    world.send(["sleep 10"]);
    wait_until("it's done", || world.depth() == Depth::EMPTY);
    world.send(["sleep-forever"; 6]);
    wait_until("one runs", || world.depth().in_flight == 1);
    set(3, 3);
    wait_until("three run", || world.depth().in_flight == 3);
    set(9, 4);
    wait_until("four run", || world.depth().in_flight == 4);
    set(2, 2);
    assert_eq!(world.depth().in_flight, 4, "what runs goes on");
    worker.signal(Signal::TERM);
    worker.until_logged("A second signal stops at once");
    worker.signal(Signal::TERM);
    worker.finish().succeeded();
}

/// A worker of four small tasks at once, in a container that has room for one large one.
fn small(world: &World, worker: &str) -> Process {
    let agent = Stub::answering(|_| Answer::new(200, json!({"Limits": {"Memory": 2048}}).to_string()));
    configure(world, worker, SMALL, "info");
    let process = world
        .run("misbehave")
        .args(["--config", "wasmrun.toml"])
        .env("ECS_CONTAINER_METADATA_URI_V4", agent.endpoint())
        .start();
    process.until_logged("\"Ready.\"");
    assert_eq!(process.logs_with("\"Ready.\"")[0]["instances"], 4);
    process
}

const SMALL: &str = "memory = '16MiB'";
const LARGE: &str = "memory = '1GiB'";
const WAITS: &str = "these hold once no more do";

#[test]
fn tasks_of_before_and_those_to_come_fit_together_whatever_the_limits_become() {
    let world = World::with_queue(&[]);
    let worker = small(&world, "instances = 4");
    let set = |limits: &str| {
        configure(&world, "instances = 4", limits, "info");
        worker.signal(Signal::HUP);
    };
    world.send(["sleep 10000"; 4]);
    wait_until("all of them run", || world.depth().in_flight == 4);

    // None fits.
    set("memory = '4GiB'");
    worker.until_logged(REFUSED);
    assert!(field(&worker.logs_with(REFUSED)[0], "error").contains("lower --memory"));

    // One fits. What is wrong doesn't keep it from that, and what comes later does.
    set(LARGE);
    worker.until_logged(WAITS);
    set("nonsense = 1");
    worker.until_logged_times(2, REFUSED);
    assert_eq!(worker.logged(READ), 0);
    set(SMALL);
    worker.until_logged(READ);
    assert_eq!(worker.logs_with(READ)[0]["instances"], 4, "no task was ever large");

    set(LARGE);
    worker.until_logged_times(2, READ);
    assert_eq!(worker.logs_with(READ)[1]["instances"], 1);

    // While a large one runs, there may be no more of the small ones either.
    set(SMALL);
    worker.until_logged_times(3, READ);
    assert_eq!(worker.logs_with(READ)[2]["instances"], 1);
    assert_eq!(worker.logged("More instances need a restart."), 1);

    worker.signal(Signal::TERM);
    let output = worker.finish().succeeded();
    let at = |text: &str, time: usize| {
        let mut lines = output.stderr.iter().enumerate().filter(|(_, line)| line.contains(text));
        lines.nth(time).expect("it was logged").0
    };
    assert!(at("\"Completed.\"", 2) < at(READ, 1), "three of four had to end: {output}");
    assert_eq!(output.summary()["outcomes"], json!({"completed": 4}));
}

#[test]
fn slots_in_which_nothing_runs_keep_no_limits_waiting() {
    let world = World::with_queue(&[]);
    // After the first start, the poller waits for the next one with all the slots in its hands.
    let worker = small(&world, "instances = 4\nrate = '1/h'");
    world.send(["ok", "ok"]);
    worker.until_logged("\"Completed.\"");
    configure(&world, "instances = 4\nrate = '1/h'", LARGE, "info");
    worker.signal(Signal::HUP);
    worker.until_logged(READ);
    assert_eq!(worker.logs_with(READ)[0]["instances"], 1);
    worker.signal(Signal::TERM);
    worker.finish().succeeded();
}

#[test]
fn a_configuration_that_is_wrong_changes_nothing() {
    let world = World::with_queue(&[]);
    let worker = configured(&world, "instances = 2", "timeout = '2s'");
    let wrong = [
        ("instances = 2\nnonsense = 1", "", "nonsense"),
        ("instances = 0", "", "expected a number above zero"),
        ("instances = 2", "timeout = '0s'", "--timeout 0s"),
        ("instances = 2", "stack = '256KiB'", "--stack can't be changed without a restart"),
        ("instances = 2", "memory = '64KiB'", "raise --memory"),
        ("instances = 2", "timeout = '13h'", "--max-visibility"),
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
    worker.signal(Signal::TERM);
    assert_eq!(worker.finish().succeeded().summary()["outcomes"]["completed"], 1);
}

#[test]
fn sighup_without_a_configuration_drains_as_when_the_terminal_goes_away() {
    let world = World::with_queue(&[]);
    let worker = world.run("misbehave").start();
    worker.until_logged("\"Ready.\"");
    worker.signal(Signal::HUP);
    worker.finish().succeeded();
}

#[test]
fn sigusr1_logs_what_the_worker_does() {
    let world = World::with_queue(&[]);
    let worker = world.run("misbehave").args(["--instances", "2", "--timeout", "10m"]).start();
    world.send(["sleep-forever"; 3]);
    wait_until("two run", || world.depth().in_flight == 2);
    worker.signal(Signal::USR1);
    worker.until_logged("\"Status.\"");
    let status = &worker.logs_with("\"Status.\"")[0];
    assert_eq!(
        (&status["running"], &status["instances"], &status["received"]),
        (&2.into(), &2.into(), &2.into())
    );
    assert_eq!(status["receiving"], "yes", "{status}");
    worker.kill();
}
