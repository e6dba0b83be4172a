//! A model for a test of behaviour: read this one first, and copy it.
//!
//! A test takes a [`World`] (a directory with stores and queues), puts messages and objects into it, runs the real
//! program there, and asserts what a user can see: exit code, queues, stores, and the JSON of log and reports. It
//! compares names (outcomes, limits, flags), not sentences, which may change. A test never sleeps: it waits for a
//! condition with `wait_until`. [`harness`](crate::harness) lists what else most tests need.

use crate::harness::{Depth, World};
use serde_json::json;

/// The name says what is shown; `cargo xtask test a_limit_that_is_lowered` runs this test.
#[test]
fn a_limit_that_is_lowered_ends_the_task_that_exceeds_it_and_no_other() {
    // Creates `in/`, `out/` and the queue `sqlite:jobs.db`, which moves a message to its dead-letter queue after two
    // receives.
    let world = World::with_queue(&["--max-receives", "2"]);
    world.write("in/song.txt", "la la la");
    // The guest `misbehave` (tests/guests) does what a message says. Its `lib.rs` lists the commands.
    world.send(["get song.txt", "alloc", "put note.txt done"]);

    // `run` grants the stores `input` and `output` to the guest. `--until-empty` makes the worker exit once the queue
    // is empty, so that the test has nothing to wait for. Settings that don't matter to the test keep their defaults,
    // or are short.
    let worker = world.run("misbehave").args(["--until-empty", "--backoff", "1ms..1ms"]);
    let output = worker.args(["--memory", "16MiB"]).succeeds();

    // The counts: the failed task was tried twice.
    output.has_outcomes(&json!({"completed": 2, "limit-exceeded": 2}));
    assert_eq!(output.summary()["limits"], json!({"memory": 2}));
    // The results: a file, and a dead letter that names the limit.
    assert_eq!(world.keys("out"), ["note.txt"]);
    assert_eq!((world.depth(), world.dead()), (Depth::EMPTY, Depth::visible(1)));
    let letter = &world.dead_letters()[0];
    assert_eq!(letter["body"], "alloc");

    // Invalid settings are refused before any task starts, with one sentence and an exit code that says whose fault it
    // is (2: the caller's).
    world.run("misbehave").args(["--memory", "64KiB"]).fails_with(2, "--memory");
}
