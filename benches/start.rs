//! The time from the start of a worker to the end of its first task, with the example `thumbnail`.
//!
//!     cargo xtask bench start
//!
//! Each start is the real program on a `sqlite:` queue and `dir:` stores. The clock runs from before the program is spawned
//! until its log says that the task completed. A cold start compiles the component; a warm start finds it in the cache.

use crate::shared::{Process, dir_store, enqueue, guests, milliseconds, sqlite, wasmrun};
use serde_json::json;
use std::path::Path;
use wasmrun_benches::{Arguments, Samples, report, with};

pub(crate) fn measure(arguments: &Arguments) {
    let (cold, warm) = arguments.size.pick((1, 1), (3, 30));
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(directory.path().join("out")).expect("a directory");
    let start = |cache: &str| start(directory.path(), cache);
    let cold: Samples = (0..cold).map(|number| start(&format!("cold-{number}"))).collect();
    let warm: Samples = (0..warm).map(|_| start("cold-0")).collect();
    let rows = [
        with(cold.figures("ms"), json!({"what": "cold: the component is compiled"})),
        with(warm.figures("ms"), json!({"what": "warm: the component is in the cache"})),
    ];
    let title = "From the start to the end of the first task, in milliseconds.";
    report::print(title, "= what | median = p50_ms:1 | p95 = p95_ms:1", rows);
}

/// One message and one worker, in milliseconds.
fn start(directory: &Path, cache: &str) -> f64 {
    let queue = sqlite(&directory.join("jobs.db"));
    enqueue(wasmrun(), &queue, &guests::photographs(), &["--prefix", "rocket"]);
    let mut worker = wasmrun();
    worker
        .current_dir(directory)
        .arg("run")
        .arg(guests::path("thumbnail"))
        .args(["--queue", &queue, "--cache", cache, "--until-empty"])
        .args(["--log", "debug", "--log-format", "json"])
        .args(["--store", &dir_store("input", &guests::photographs(), "ro")])
        .args(["--store", &dir_store("output", &directory.join("out"), "rw")]);
    let began = jiff::Timestamp::now();
    let mut worker = Process::start(&mut worker);
    let completed = worker.time_of("task completed");
    worker.wait();
    milliseconds(began, completed)
}
