//! How many tasks at once the worker of a benchmark runs.

use std::num::NonZeroUsize;
use std::time::Duration;
use wasmrun_runtime::worker::scaler::Goal;
use wasmrun_runtime::worker::{ScaleOptions, WorkerOptions};

/// So many.
pub fn fixed(instances: NonZeroUsize) -> WorkerOptions {
    WorkerOptions { instances, ..WorkerOptions::default() }
}

/// As many as are of use, up to so many: what `wasmrun run` does by default.
pub fn auto(most: NonZeroUsize) -> WorkerOptions {
    let scale = ScaleOptions { min: 0, goal: Goal::AtOnce, scale_in_delay: Duration::from_secs(300) };
    WorkerOptions { scale: Some(scale), ..fixed(most) }
}
