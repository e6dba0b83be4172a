//! A file that a worker would use for two things, or by two names. SQLite would damage it.

use crate::harness::World;

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
        world.run_on(queue, "misbehave").args(other).fails_with(2, "one file");
    }
}

#[test]
fn only_queues_share_a_file() {
    let world = World::with_queue(&[]);
    std::os::unix::fs::symlink(world.path("."), world.path("here")).expect("a link");
    for options in [
        &["--usage", "jobs.db"][..],
        &["--usage", "here/jobs.db"],
        &["--usage", "once.db", "--once", "sqlite:once.db"],
        &["--usage", "next.db"],
    ] {
        world.run("misbehave").args(options).arg("--check").fails_with(2, "are one file");
        world.run("misbehave").args(options).fails_with(2, "are one file");
    }
    world.send(["the queue is still one"]);
}

#[test]
fn a_link_to_a_file_that_does_not_exist_yet_is_that_file() {
    let world = World::new();
    for (link, target) in [("absolute.db", world.path("new.db")), ("relative.db", "./new.db".into())] {
        std::os::unix::fs::symlink(target, world.path(link)).expect("a link");
        let by_link = world.run_on(&format!("sqlite:{link}"), "misbehave");
        by_link.args(["--usage", "new.db"]).fails_with(2, "are one file");
        let by_file = world.run_on("sqlite:new.db", "misbehave");
        by_file.args(["--usage", link]).fails_with(2, "are one file");
    }
    // A guest could create the file, if the link led into a store that it may write to.
    std::os::unix::fs::symlink("out/usage.jsonl", world.path("usage.jsonl")).expect("a link");
    world.run("misbehave").args(["--usage", "usage.jsonl"]).fails_with(2, "holds the usage file");
    assert!(!world.path("new.db").exists() && !world.path("jobs.db").exists());
}
