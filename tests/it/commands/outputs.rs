//! Objects on the standard output of commands: written as a whole or not at all.

use super::ended;
use crate::harness::{Command, World, large, wait_until};
use rustix::process::Signal;
use serde_json::json;
use std::fs;

/// One task of the guest `program` with these arguments, whose output is the object `result`.
fn program(world: &World, arguments: &str) -> Command {
    super::program(world, arguments, "x").args(["--output-object", "output:result"])
}

/// Asserts that no object exists, nor a part of one.
#[track_caller]
fn assert_nothing_written(world: &World, after: &str) {
    assert_eq!(world.keys("out"), [""; 0], "{after}");
    let parts = fs::read_dir(world.path("out/.wasmrun/tmp")).map(Iterator::count).unwrap_or_default();
    assert_eq!(parts, 0, "{after}");
}

#[test]
fn an_output_is_an_object_once_the_command_has_completed() {
    let world = World::new();
    for (arguments, bytes) in [
        ("ok", 0),
        ("print hello", 6),
        ("write 1", 1),
        ("write 3000000", 3_000_000),
        ("write-without-waiting 1000000", 1_000_000),
        ("write-and exit 500000 0", 500_000),
    ] {
        let report = program(&world, arguments).succeeds().json();
        assert_eq!(world.read("out/result").len(), bytes, "{arguments}");
        assert_eq!(report["usage"]["bytes_written"], bytes, "{arguments}");
        fs::remove_file(world.path("out/result")).expect("removed");
    }
    let filtered = world.invoke("program", "upper\nthe rest").args(["--output-object", "output:{id}.txt"]);
    filtered.succeeds();
    world
        .invoke("program", "the body")
        .args(["--arg", "splice", "--output-object", "output:spliced"])
        .succeeds();
    assert_eq!(world.read("out/spliced"), b"the body");
}

#[test]
fn a_command_that_does_not_complete_leaves_nothing() {
    let world = World::new();
    let limits = ["--fuel", "2000000000", "--timeout", "2s", "--write-size", "8MiB", "--memory", "16MiB"];
    for (arguments, outcome, reason) in [
        ("write-and exit 3000000 75", "retry", "exited with status 75"),
        ("write-and exit 3000000 65", "rejected", "exited with status 65"),
        ("write-and exit 3000000 1", "trapped", "exited with status 1"),
        ("write-and panic 3000000", "trapped", "half-way"),
        ("write-and spin 3000000", "limit-exceeded", "fuel"),
        ("write-and sleep 3000000", "timed-out", ""),
        ("write-on", "limit-exceeded", "write-size"),
        ("print-on", "limit-exceeded", "write-size"),
        ("write-without-waiting 100000000", "limit-exceeded", "write-size"),
        ("write-too-much", "trapped", "permitted"),
        ("zeroes", "trapped", "zeroes"),
        ("alloc", "limit-exceeded", "memory"),
    ] {
        let (ended, told) = ended(program(&world, arguments).args(limits));
        assert!(ended == outcome && told.contains(reason), "{arguments}: {ended} {told}");
        assert_nothing_written(&world, arguments);
    }
}

#[test]
fn a_worker_that_is_killed_during_the_output_leaves_no_object_and_the_next_one_writes_it() {
    let world = World::with_queue(&["--visibility-timeout", "1s"]);
    world.send(["x"]);
    let run = || world.run("program").args(["--output-object", "output:result"]);
    let worker = run().args(["--arg", "write-and", "--arg", "sleep", "--arg", "5000000"]).start();
    let partly = || {
        let parts = fs::read_dir(world.path("out/.wasmrun/tmp")).into_iter().flatten();
        parts.flatten().any(|part| part.metadata().is_ok_and(|part| part.len() > 1_000_000))
    };
    wait_until("some of the output is on the disk", partly);
    worker.signal(Signal::KILL);
    let _ = worker.finish();
    assert_eq!(world.keys("out"), [""; 0]);
    let output = run().args(["--arg", "write", "--arg", "5000000", "--until-empty"]).succeeds();
    output.has_outcomes(&json!({"completed": 1}));
    assert_eq!(world.read("out/result").len(), 5_000_000);
    assert_eq!(world.keys("out"), ["result"]);
}

#[test]
fn a_gibibyte_goes_through_a_command_of_sixteen_mebibytes() {
    const SIZE: u64 = 1 << 30;
    let arguments = ["--arg", "cat", "--output-object", "output:{key}.copy"];
    let summary = large::copied("program", &arguments, "out/large.copy", SIZE, 16);
    assert_eq!(summary["bytes_read"], SIZE);
}
