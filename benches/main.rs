//! The benchmarks, as one program: `cargo xtask bench NAME` measures one of them, and each is a test that measures a little.
//!
//! | module | compares or measures |
//! |---|---|
//! | [`container`] | a container's start to the end of its first task, with that of a plain process |
//! | [`images`] | thumbnails in the worker, with sharp (Node) and Pillow (Python) |
//! | [`isolation`] | a task in wasmrun, with processes, sandboxes and containers |
//! | [`languages`] | the same program in each language of guests |
//! | [`queue`] | an empty task on a server of SQS, with other consumers |
//! | [`scale`] | the concurrency limit that the scaler finds, with fixed limits |
//! | [`serve`] | a request in `wasmrun serve`, with `wasmtime serve` |
//! | [`simulate`] | the simulator, with a worker on the same trace |
//! | [`soak`] | memory, descriptors, threads and speed of a worker over a million tasks |
//! | [`start`] | the time from a worker's start to the end of its first task |
//! | [`task`] | the CPU time of an empty task, with a bare loop of the engine |
//! | [`tenants`] | the waits of small tenants, with fair shares and without |
//! | [`watch`] | what metrics, status and traces cost |
//!
//! [`shared`] has what several of them use. The library of this package (`src/`) starts, measures and reports.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints its progress and its result"
)]

mod container;
mod images;
mod isolation;
mod languages;
mod queue;
mod scale;
mod serve;
mod shared;
mod simulate;
mod soak;
mod start;
mod task;
mod tenants;
mod watch;

use std::process::ExitCode;
use wasmrun_benches::run::{self, Benchmark, Child};

const BENCHMARKS: [Benchmark; 13] = [
    ("container", container::measure),
    ("images", images::measure),
    ("isolation", isolation::measure),
    ("languages", languages::measure),
    ("queue", queue::measure),
    ("scale", scale::measure),
    ("serve", serve::measure),
    ("simulate", simulate::measure),
    ("soak", soak::measure),
    ("start", start::measure),
    ("task", task::measure),
    ("tenants", tenants::measure),
    ("watch", watch::measure),
];

const CHILDREN: [Child; 6] = [
    (isolation::density::HOLD, isolation::density::hold),
    (isolation::limits::THUMBNAILS, isolation::limits::thumbnails),
    (queue::sdk::BARE, queue::sdk::bare_loop),
    (queue::paced::PACED, queue::paced::work),
    (simulate::worker::WORKER, simulate::worker::work),
    (tenants::WORKER, tenants::work),
];

fn main() -> ExitCode {
    run::main(&BENCHMARKS, &CHILDREN)
}
