//! The ways to run a task, and the tasks that each of them runs.

use serde::Serialize;
use std::time::Instant;
use wasmrun_benches::rounds::micros;
use wasmrun_benches::system::{children_cpu, process_cpu};

use crate::memory;

/// What is run in each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Task {
    /// Does nothing.
    Empty,
    /// Fills a megabyte and hashes it with SHA-256, in software.
    Hash,
}

impl Task {
    pub(crate) const ALL: [Self; 2] = [Self::Empty, Self::Hash];

    /// The command of the native program and of the guest `workload`.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Hash => "hash",
        }
    }

    /// The same, after which the task waits without end, with what it has in memory.
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

/// A way whose figures are published by others and not measured here. The page names the source.
pub(crate) const MICROVM: &str = "microVM (published)";

/// A way to run a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Function,
    /// The engine without wasmrun, …
    AloneOnDemand,
    AlonePooling,
    /// … with a pool that keeps touched pages of stacks and tables.
    AloneKept,
    WasmrunOnDemand,
    Wasmrun,
    Process,
    Bubblewrap,
    Runc,
    Podman,
}

impl Way {
    /// Each way, its name, and the program of its sandbox.
    const NAMES: [(Self, &str, Option<&str>); 10] = [
        (Self::Function, "function call", None),
        (Self::AloneOnDemand, "wasmtime alone, on demand", None),
        (Self::AlonePooling, "wasmtime alone, pooling", None),
        (Self::AloneKept, "wasmtime alone, pooling, pages kept", None),
        (Self::WasmrunOnDemand, "wasmrun, on demand", None),
        (Self::Wasmrun, "wasmrun, pooling", None),
        (Self::Process, "process", None),
        (Self::Bubblewrap, "bubblewrap", Some("bwrap")),
        (Self::Runc, "runc", Some("runc")),
        (Self::Podman, "podman run", Some("podman")),
    ];

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::NAMES.into_iter().map(|(way, ..)| way)
    }

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES[self as usize].1
    }

    /// The program of a sandbox.
    pub(crate) fn sandbox(self) -> Option<&'static str> {
        Self::NAMES[self as usize].2
    }
}

/// What some tasks took.
#[derive(Debug, Default)]
pub(crate) struct Cycles {
    /// Microseconds of each.
    pub(crate) micros: Vec<f64>,
    /// CPU time of this process and its children for each, in microseconds.
    pub(crate) cpu: f64,
}

/// Runs something `count` times and measures each.
pub(crate) fn timed(count: usize, mut cycle: impl FnMut()) -> Cycles {
    // Orphans that ended before aren't a cost of this.
    memory::reap_orphans();
    let cpu = process_cpu() + children_cpu();
    let timed = |_| {
        let began = Instant::now();
        cycle();
        micros(began.elapsed())
    };
    let each = (0..count).map(timed).collect();
    let cpu = process_cpu() + children_cpu() - cpu;
    Cycles { micros: each, cpu: micros(cpu) / count as f64 }
}
