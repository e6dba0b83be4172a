//! The labels of queues with the same name.

use crate::harness::{World, get, guest};
use rustix::process::Signal;

#[test]
fn queues_whose_files_have_the_same_name_have_different_labels() {
    let world = World::new();
    for folder in ["a", "b"] {
        std::fs::create_dir(world.path(folder)).expect("a directory");
    }
    let queues = ["--queue", "sqlite:a/q.db", "--queue", "sqlite:b/q.db", "--queue", "sqlite:b/r.db"];
    let worker = world.wasmrun(["run", "--listen", "0"]).args(queues).arg(guest("empty")).start();
    worker.until_logged("\"ready\"");
    let metrics = get(worker.listens_on(), "/metrics").body;
    for sample in [
        "wasmrun_queue_failing{queue=\"a/q.db\"} 0",
        "wasmrun_queue_failing{queue=\"b/q.db\"} 0",
        "wasmrun_queue_failing{queue=\"r.db\"} 0",
        "wasmrun_queue_info{queue=\"a/q.db, b/q.db, r.db\"} 1",
    ] {
        assert!(metrics.contains(&format!("\n{sample}\n")), "no {sample} in {metrics}");
    }
    worker.signal(Signal::TERM);
    worker.finish().succeeded();
}
