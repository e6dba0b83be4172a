//! Queues and stores that fail for a while. Every queue here allows a single receive. A host error isn't counted
//! against a message; if it were, the message would be in the dead-letter queue.

use crate::harness::{Depth, Disk, Output, Process, World, field, guest, keys, wait_until};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

const OBJECTS: usize = 40;
/// A queue in its own directory.
const IN_DIRECTORY: &str = "sqlite:queue/jobs.db";
const STOPPED: &str = "paused receiving: a store or a queue fails";
const RECOVERED: &str = "resumed receiving: stores and queues work again";

fn world() -> World {
    World::with_queue(&["--max-receives", "1"])
}

fn worker(world: &World) -> Process {
    // Slow enough that not all work is done before something fails.
    let options = ["--until-empty", "--instances", "2", "--backoff", "100ms..1s", "--rate", "20/s"];
    world.run("misbehave").args(options).start()
}

/// Content that differs for each object.
fn content(index: usize) -> String {
    format!("object {index}")
}

fn fill(world: &World) {
    for index in 0..OBJECTS {
        world.write(&format!("in/{index:02}"), content(index));
    }
}

/// Asserts that every object has its output and that no message is left.
fn assert_all_done(world: &World, output: &Output) {
    assert_outputs(&world.path("out"));
    assert_eq!(world.depth(), Depth::EMPTY);
    assert_eq!(world.dead(), Depth::EMPTY, "{output}");
}

fn assert_outputs(store: &Path) {
    assert_eq!(keys(store).len(), OBJECTS);
    for index in 0..OBJECTS {
        let text = fs::read_to_string(store.join(format!("{index:02}"))).expect("an output");
        let content = content(index);
        let expected = format!("{:x} {}\n", Sha256::digest(&content), content.len());
        assert_eq!(text, expected);
    }
}

/// Runs a worker to its end. The queue's database is locked until the worker reports that.
#[track_caller]
fn works_off_a_locked_queue(world: &World) -> Output {
    let worker = worker(world);
    worker.until_completed(1);
    let lock = world.lock("jobs.db");
    worker.until_logged("has been locked by another process");
    drop(lock);
    worker.finish().succeeded()
}

fn a_store_vanishes_and_comes_back(store: &str) {
    let world = world();
    fill(&world);
    world.announce();
    let worker = worker(&world);
    worker.until_completed(1);
    world.while_away(store, || {
        worker.until_logged(STOPPED);
        worker.until_logged("receiving is still paused");
    });
    let output = worker.finish().succeeded();
    assert_all_done(&world, &output);
    assert_eq!(output.logs_of(RECOVERED).len(), 1, "{output}");
    let summary = output.summary();
    assert!(summary["outcomes"]["host-failed"].as_u64() > Some(0));
    assert_eq!(summary["outcomes"]["completed"], OBJECTS);
}

#[test]
fn an_input_store_that_vanishes_and_comes_back_costs_time_only() {
    a_store_vanishes_and_comes_back("in");
}

#[test]
fn an_output_store_that_vanishes_and_comes_back_costs_time_only() {
    a_store_vanishes_and_comes_back("out");
}

#[test]
fn a_locked_database_costs_time_only() {
    let world = world();
    world.send((0..OBJECTS).map(|_| "sleep 50"));
    let output = works_off_a_locked_queue(&world);
    assert_eq!(world.depth(), Depth::EMPTY);
    assert_eq!(world.dead(), Depth::EMPTY, "{output}");
    output.each_ran_once(OBJECTS);
}

/// Once leases expire, other workers may receive the messages, which leads to duplicates but no loss.
#[test]
fn a_database_that_is_locked_for_longer_than_messages_are_held_loses_none() {
    let world = World::with_queue(&["--visibility-timeout", "1s"]);
    fill(&world);
    // Without this, all objects might be done before the database is locked.
    world.send(["sleep 3000"]);
    world.announce();
    let output = works_off_a_locked_queue(&world);
    assert_all_done(&world, &output);
}

#[test]
fn a_queue_whose_directory_vanishes_and_comes_back_costs_time_only() {
    let world = world_with_queue_directory();
    world.send_to(IN_DIRECTORY, &[], ["sleep 100"; OBJECTS]);
    let worker = world.run_on(IN_DIRECTORY, "misbehave").args(["--until-empty", "--instances", "2"]).start();
    worker.until_completed(1);
    // If both tasks end first, the worker finds that it can't settle, and receives nothing before it can.
    world.while_away("queue", || {
        wait_until("it is noticed", || {
            worker.logged("\"cannot receive from the queue\"") + worker.logged("\"cannot settle a message\"")
                > 0
        });
    });
    let output = worker.finish().succeeded();
    assert_eq!(world.depth_of(IN_DIRECTORY), Depth::EMPTY);
    assert_eq!(world.depth_of("sqlite:queue/jobs.db#dead"), Depth::EMPTY, "{output}");
    output.each_ran_once(OBJECTS);
}

#[test]
fn a_dead_letter_queue_that_is_locked_loses_no_letter() {
    let world = World::with_queue(&["--dead-letter", "none"]);
    world.create_queue("sqlite:dead.db", &[]);
    world.send(["reject one", "ok", "reject two", "ok"]);
    let lock = world.lock("dead.db");
    let worker = world
        .run("misbehave")
        .args(["--until-empty", "--backoff", "100ms..1s", "--dead-letter", "sqlite:dead.db"])
        .start();
    worker.until_logged("cannot dead-letter the message");
    drop(lock);
    let output = worker.finish().succeeded();
    let mut dead: Vec<_> =
        world.peek("sqlite:dead.db").iter().map(|letter| field(letter, "body").to_owned()).collect();
    dead.sort();
    assert_eq!(dead, ["reject one", "reject two"], "{output}");
    assert_eq!(world.depth(), Depth::EMPTY);
}

fn world_with_queue_directory() -> World {
    let world = World::new();
    world.create_dir("queue");
    world.create_queue(IN_DIRECTORY, &["--max-receives", "1"]);
    world
}

#[test]
fn a_full_disk_under_a_store_costs_time_only() {
    let world = world_with_queue_directory();
    fill(&world);
    let Some((disk, worker)) = Disk::start_on(&world, "out", 1 << 20, &["--queue", IN_DIRECTORY]) else {
        return;
    };
    let filler = disk.fill(&worker);
    world.wasmrun(["enqueue", "--queue", IN_DIRECTORY, "--store", "input=dir:in"]).succeeds();
    worker.until_logged(STOPPED);
    worker.until_logged("receiving is still paused");
    fs::remove_file(filler).expect("removed");
    worker.until_completed(OBJECTS);
    assert_outputs(&disk.path(&worker));
    wait_until("the queue is empty", || world.depth_of(IN_DIRECTORY) == Depth::EMPTY);
    let output = worker.stop();
    assert!(output.to_string().contains("no space left on device"), "{output}");
    assert_eq!(world.depth_of("sqlite:queue/jobs.db#dead"), Depth::EMPTY);
    assert_eq!(output.logs_of(RECOVERED).len(), 1, "{output}");
}

#[test]
fn a_full_disk_under_the_queue_costs_time_only() {
    const MESSAGES: usize = 300;
    let world = world_with_queue_directory();
    world.send_to(IN_DIRECTORY, &[], ["sleep 20"; MESSAGES]);
    let arguments = ["--queue", IN_DIRECTORY, "--until-empty"];
    let Some((disk, worker)) = Disk::start_on(&world, "queue", 8 << 20, &arguments) else {
        return;
    };
    worker.until_completed(1);
    let filler = disk.fill(&worker);
    worker.until_logged("the disk is full");
    fs::remove_file(filler).expect("removed");
    // The worker exits only when the queue is empty; its own counts show how the messages ended.
    let output = worker.finish().succeeded();
    output.each_ran_once(MESSAGES);
}

/// An error of the system is not the message's fault.
#[test]
fn a_host_without_memory_for_another_instance_blames_no_message() {
    let world = world();
    world.send(["sleep 200"; 12]);
    // Enough address space for the memory of one instance, but not of four.
    let output = world
        .wasmrun_after("ulimit -v 9000000")
        .args(["run", "--queue", "sqlite:jobs.db", "--until-empty", "--instances", "4"])
        .args(["--backoff", "50ms..500ms"])
        .arg(guest("misbehave"))
        .args(World::grants())
        .succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], 12, "{output}");
    assert_eq!(world.dead(), Depth::EMPTY, "{output}");
}
