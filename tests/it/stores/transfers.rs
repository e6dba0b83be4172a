//! Calls that transfer much data. They count however they end, and a slow call isn't a failure of the store.

use crate::harness::World;
use std::fs::File;

/// A world whose store has a sparse object, which is far too large to be copied in time.
fn world() -> World {
    let world = World::with_queue(&["--max-receives", "2"]);
    world.write("in/huge", []);
    let huge = File::options().write(true).open(world.path("in/huge")).expect("a file");
    huge.set_len(1 << 40).expect("a sparse file");
    world
}

#[test]
fn a_copy_that_gets_on_but_not_to_its_end_is_the_tasks_own_and_counts() {
    let world = world();
    world.send(["copy huge copied", "ok"]);
    let worker =
        world.run("misbehave").args(["--until-empty", "--timeout", "600ms", "--backoff", "100ms..200ms"]);
    let output =
        worker.args(["--read-size", "1TiB", "--write-size", "1TiB", "--usage", "usage.jsonl"]).succeeds();
    let outcomes = &output.summary()["outcomes"];
    assert_eq!((&outcomes["timed-out"], &outcomes["completed"]), (&2.into(), &1.into()), "{output}");
    assert!(outcomes["host-failed"].is_null(), "{output}");
    assert_eq!(world.dead().visible, 1, "it was received twice: {output}");
    for record in world.usage().iter().filter(|record| record["outcome"] == "timed-out") {
        let (read, written) = (record["bytes_read"].as_u64(), record["bytes_written"].as_u64());
        assert!(read > Some(0) && read == written, "{record}");
    }
    assert_eq!(world.keys("out"), Vec::<String>::new());
}

#[test]
fn a_copy_beyond_what_may_be_read_ends_there() {
    let world = world();
    world.send(["copy huge copied"]);
    let worker = world.run("misbehave").args(["--until-empty", "--on", "limit-exceeded=drop"]);
    let output = worker.args(["--read-size", "8MiB", "--usage", "usage.jsonl"]).succeeds();
    assert_eq!(output.summary()["limits"]["read-size"], 1, "{output}");
    let [record] = &world.usage()[..] else { panic!("one task: {output}") };
    assert_eq!(record["bytes_read"], 8 << 20, "{record}");
}
