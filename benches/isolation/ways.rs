//! The ways to run a task, and the tasks that each of them runs.

use serde::{Deserialize, Serialize};
use std::time::Instant;
use wasmrun_benches::figures::{micros, process_cpu};
use wasmrun_benches::proc::children_cpu;

use crate::memory;

/// What the ways are called.
pub(crate) mod names {
    pub(crate) const FUNCTION: &str = "function call";
    pub(crate) const ALONE_ON_DEMAND: &str = "wasmtime alone, on demand";
    pub(crate) const ALONE_POOLING: &str = "wasmtime alone, pooling";
    pub(crate) const ALONE_KEEPING: &str = "wasmtime alone, pooling, pages kept";
    pub(crate) const WASMRUN_ON_DEMAND: &str = "wasmrun, on demand";
    pub(crate) const WASMRUN: &str = "wasmrun, pooling";
    pub(crate) const PROCESS: &str = "process";
    pub(crate) const BUBBLEWRAP: &str = "bubblewrap";
    pub(crate) const RUNC: &str = "runc";
    pub(crate) const PODMAN: &str = "podman run";
}

/// What is run, in each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Task {
    /// Does nothing.
    Empty,
    /// Fills a megabyte and hashes it with SHA-256, in software.
    Hash,
}

impl Task {
    pub(crate) const ALL: [Self; 2] = [Self::Empty, Self::Hash];

    /// What the programs and the guests are told.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Hash => "hash",
        }
    }

    /// The same, and then it waits for ever, with what it has in memory.
    pub(crate) fn held(self) -> &'static str {
        match self {
            Self::Empty => "hold-empty",
            Self::Hash => "hold-hash",
        }
    }

    /// The smallest guest that can do it.
    pub(crate) fn guest(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Hash => "workload",
        }
    }
}

/// A way to run a task.
pub(crate) trait Way {
    /// One of [`names`].
    fn name(&self) -> &'static str;

    /// From 0 to 3: the slower it is, the fewer times it is measured.
    fn weight(&self) -> usize;

    /// Runs so many tasks, one after the other, each from asking for it to its end.
    fn cycles(&mut self, task: Task, count: usize) -> Cycles;
}

/// What some tasks took.
#[derive(Debug, Default)]
pub(crate) struct Cycles {
    /// Each of them, in microseconds.
    pub(crate) micros: Vec<f64>,
    /// What this process and its children computed for each, in microseconds.
    pub(crate) cpu_us: f64,
}

/// Runs something so many times and measures each.
pub(crate) fn timed(count: usize, mut cycle: impl FnMut()) -> Cycles {
    // Those that were left before are others' cost.
    memory::reap_orphans();
    let cpu = process_cpu() + children_cpu();
    let each = (0..count)
        .map(|_| {
            let began = Instant::now();
            cycle();
            micros(began.elapsed())
        })
        .collect();
    let cpu = process_cpu() + children_cpu() - cpu;
    Cycles { micros: each, cpu_us: micros(cpu) / count as f64 }
}
