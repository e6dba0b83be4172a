//! The harness of the benchmarks: it starts them, measures in rounds, and reports.
//!
//! It is a library because the benchmarks' program has no test harness of Rust's that would run these unit tests, and one
//! without the engine, so that they compile quickly. A function panics if a file or this machine isn't as a benchmark needs
//! it.
//!
//! | module | owns |
//! |---|---|
//! | [`run`] | what the program is started for: figures, a test, or the work of a child process |
//! | [`rounds`] | measuring alternatives in alternating rounds; medians, ratios and percentiles |
//! | [`report`] | tables, the pages of the documentation, and their JSON files |
//! | [`plot`] | plots of the same figures |
//! | [`system`] | the machine, and what the system tells about processes |
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints its progress and its result"
)]

pub mod plot;
pub mod report;
pub mod rounds;
pub mod run;
pub mod system;

pub use plot::{Dot, Plot};
pub use report::{Report, WASMRUN};
pub use rounds::{Found, Samples, Way, cost, cost_by, interleaved, median, median_of, micros, number, with};
pub use run::{Arguments, Size, child};
use std::path::Path;
pub use system::{children_cpu, cores, cpu_of, output, process_cpu};

/// The repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}
