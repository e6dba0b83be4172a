//! A file of queues with two names, which SQLite would damage.

use crate::harness::{World, guest};

#[test]
fn a_worker_that_would_use_a_file_by_two_names_is_refused() {
    let world = World::with_queue(&[]);
    let jobs = world.path("jobs.db");
    std::os::unix::fs::symlink(&jobs, world.path("link.db")).expect("a link");
    std::fs::hard_link(&jobs, world.path("hard.db")).expect("a link");
    for (queue, other) in [
        ("sqlite:jobs.db", ["--queue", "sqlite:hard.db"]),
        ("sqlite:jobs.db", ["--queue", "sqlite:hard.db#dead"]),
        ("sqlite:link.db", ["--queue", "sqlite:hard.db"]),
        ("sqlite:jobs.db", ["--notify", "sqlite:hard.db#dead"]),
        ("sqlite:jobs.db", ["--dead-letter", "sqlite:hard.db#dead"]),
        ("sqlite:jobs.db", ["--send", "own=sqlite:hard.db"]),
    ] {
        let run = world.wasmrun(["run", "--queue", queue]).arg(guest("misbehave")).args(World::grants());
        run.args(other).fails_with(2, "one file");
    }
}
