//! The time from the start of a worker to the end of its first task, with the example `thumbnail`.
//!
//!     cargo xtask bench start
//!
//! Each start is the real program on a `sqlite:` queue and `dir:` stores. The clock runs from before the program is spawned
//! until its log says that the task completed. A cold start compiles the component; a warm start finds it in the cache.

use serde_json::Value;
use std::path::Path;
use wasmrun_benches::program::{Process, dir_store, milliseconds, wasmrun};
use wasmrun_benches::rounds::Samples;
use wasmrun_benches::{guests, report, run, system};

fn main() {
    let Some(size) = run::size("start") else { return };
    let (cold, warm) = size.pick((1, 1), (3, 30));
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(directory.path().join("out")).expect("a directory");
    let start = |cache: &str| start(directory.path(), cache);
    let cold = (0..cold).map(|number| start(&format!("cold-{number}"))).collect();
    let warm = (0..warm).map(|_| start("cold-0")).collect();
    let headings = "| | median | p95 |";
    let fields = "what p50_ms:1 p95_ms:1";
    let rows =
        [row("cold: the component is compiled", cold), row("warm: the component is in the cache", warm)];
    report::print("From the start to the end of the first task, in milliseconds.", headings, fields, &rows);
}

fn row(what: &str, times: Samples) -> Value {
    let mut row = times.figures("ms");
    row["what"] = what.into();
    row
}

/// One message and one worker, in milliseconds.
fn start(directory: &Path, cache: &str) -> f64 {
    let input = dir_store("input", &guests::photographs(), "ro");
    let mut enqueue = wasmrun();
    enqueue.current_dir(directory).args(["enqueue", "--queue", "sqlite:jobs.db", "--prefix", "rocket"]);
    system::output(enqueue.args(["--store", input.trim_end_matches(":ro")])).expect("a message");
    let mut worker = wasmrun();
    worker
        .current_dir(directory)
        .arg("run")
        .arg(guests::path("thumbnail"))
        .args(["--queue", "sqlite:jobs.db", "--cache", cache, "--until-empty"])
        .args(["--log", "debug", "--log-format", "json"])
        .args(["--store", &input, "--store", &dir_store("output", &directory.join("out"), "rw")]);
    let began = jiff::Timestamp::now();
    let mut worker = Process::start(&mut worker);
    let completed = worker.time_of("task completed");
    worker.wait();
    milliseconds(began, completed)
}
