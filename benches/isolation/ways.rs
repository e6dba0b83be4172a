//! The ways to run a task, and the tasks that each of them runs.

use super::memory;
use serde_json::{Value, json};
use std::time::Instant;
use wasmrun_benches::{children_cpu, cost_by, micros, process_cpu, with};

/// What is run in each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Runs something `count` times. Returns how long each took, `each_us`, and the CPU time of this process and its children for
/// each, `cpu_us`.
pub(crate) fn timed(count: usize, mut cycle: impl FnMut()) -> Value {
    // Orphans that ended before aren't a cost of this.
    memory::reap_orphans();
    let mut each = Vec::with_capacity(count);
    let cost = cost_by(
        || process_cpu() + children_cpu(),
        count,
        || {
            for _ in 0..count {
                let began = Instant::now();
                cycle();
                each.push(micros(began.elapsed()));
            }
        },
    );
    with(cost, json!({"each_us": each}))
}

/// How long each of these tasks took, in microseconds.
pub(crate) fn each(timed: &Value) -> impl Iterator<Item = f64> {
    timed["each_us"].as_array().into_iter().flatten().filter_map(Value::as_f64)
}
