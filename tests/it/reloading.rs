//! SIGHUP and SIGUSR1: a worker that reads its configuration again, and says how it is.

use crate::harness::{Answer, Depth, Process, Stub, World, field, wait_until};
use rustix::process::Signal;
use serde_json::json;

const READ: &str = "The configuration was read again.";
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
    let worker = configured(&world, "instances = '1..4'", "timeout = '30s'");
    world.send(["sleep 20"; 60]);
    configure(&world, "instances = 2", "timeout = '1s'", "debug");
    worker.signal(Signal::HUP);
    worker.until_logged(READ);
    // Those that were there before, and one for which the new limit is too short.
    world.send(["sleep 5000"]);
    wait_until("all is done", || world.depth() == Depth::EMPTY);
    worker.until_logged_times(60, "\"Completed.\"");
    worker.signal(Signal::TERM);
    let output = worker.finish().succeeded();
    assert_eq!(output.summary()["outcomes"], json!({"completed": 60, "timed-out": 1}), "{output}");
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

#[test]
fn tasks_of_before_and_those_to_come_fit_together_whatever_the_limits_become() {
    let agent = Stub::answering(|_| Answer::new(200, json!({"Limits": {"Memory": 2048}}).to_string()));
    let world = World::with_queue(&[]);
    configure(&world, "instances = 4", "memory = '16MiB'", "info");
    let worker = world
        .run("misbehave")
        .args(["--config", "wasmrun.toml"])
        .env("ECS_CONTAINER_METADATA_URI_V4", agent.endpoint())
        .start();
    worker.until_logged("\"Ready.\"");
    assert_eq!(worker.logs_with("\"Ready.\"")[0]["instances"], 4);
    world.send(["sleep 10000"; 4]);
    wait_until("all of them run", || world.depth().in_flight == 4);

    configure(&world, "instances = 4", "memory = '4GiB'", "info");
    worker.signal(Signal::HUP);
    worker.until_logged(REFUSED);
    assert!(field(&worker.logs_with(REFUSED)[0], "error").contains("lower --memory"));

    // One fits. The others have to end first.
    configure(&world, "instances = 4", "memory = '1GiB'", "info");
    worker.signal(Signal::HUP);
    worker.until_logged(READ);
    assert_eq!(worker.logs_with(READ)[0]["instances"], 1);

    // While that one runs, the others are none too many for themselves, but for both.
    configure(&world, "instances = 4", "memory = '16MiB'", "info");
    worker.signal(Signal::HUP);
    worker.until_logged_times(2, READ);
    assert_eq!(worker.logs_with(READ)[1]["instances"], 1);
    assert_eq!(worker.logged("More instances need a restart."), 1);

    worker.signal(Signal::TERM);
    let output = worker.finish().succeeded();
    let read = output.stderr.iter().position(|line| line.contains(READ)).expect("it was read");
    let waits = |line: &String| line.contains("they hold once no more can");
    assert_eq!(output.stderr.iter().filter(|line| waits(line)).count(), 1, "{output}");
    let ended = output.stderr[..read].iter().filter(|line| line.contains("\"Completed.\"")).count();
    assert!(ended >= 3, "{output}");
    assert_eq!(output.summary()["outcomes"], json!({"completed": 4}));
}

#[test]
fn a_configuration_that_is_wrong_changes_nothing() {
    let world = World::with_queue(&[]);
    let worker = configured(&world, "instances = 2", "timeout = '2s'");
    let wrong = [
        ("instances = 2\nnonsense = 1", "", "nonsense"),
        ("instances = 0", "", "write a number above zero"),
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
