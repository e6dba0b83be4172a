//! Whether the number of tasks at once finds itself, and how fast it follows a burst.
//!
//!     cargo xtask bench scale                              # writes docs/src/benchmarks/scale.md and scale.json
//!     cargo xtask bench scale -- --quick                   # seconds, to see that it works
//!
//! *Sweep*: tasks that compute and tasks that wait are worked off for a while with `--instances auto` and with each of
//! some fixed numbers, in turns; the ramp from one instance upwards is part of what `auto` achieves. *Burst*: many
//! messages arrive at an idle worker that may run between 0 and 64 tasks: once in this process, and once at the program on a
//! real server of SQS (fauxqs), whose resident memory is looked at before and after.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

mod burst;
mod on_sqs;
mod report;
mod sweep;

use tokio::runtime::Runtime;
use wasmrun_benches::guests;
use wasmrun_benches::run::{self, Size};

fn main() {
    let Some(size) = run::size("scale") else { return };
    let runtime = Runtime::new().expect("threads");
    let sweeps = sweep::WORKLOADS.map(|workload| sweep::measure(&runtime, workload, size));
    let burst = burst::measure(&runtime, size);
    let on_sqs = on_sqs::measure(&runtime, size);
    let is_whole = size == Size::Full && on_sqs.is_some();
    let report = report::Report { sweeps, burst, on_sqs };
    report.print();
    if is_whole {
        report.write(&guests::repository().join("docs/src/benchmarks")).expect("a report");
    }
}
