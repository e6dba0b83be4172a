//! What one task may use, at most. Every bound that can end a task has a name here, which the outcome, the log
//! line and the metric use.

use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// The bounds of one task. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Units of computing: about one for each Wasm instruction. The same component and message use the same amount
    /// on every machine.
    pub fuel: u64,
    /// All linear memories of the task together.
    pub memory_bytes: usize,
    /// The elements of all tables of the task together.
    pub table_elements: usize,
    /// From the moment when the task first computes, waiting for the host included.
    pub timeout: Duration,
    /// An object that is read or written as a whole; larger ones are streamed.
    pub object_bytes: usize,
    /// What the task may write to its log; what follows is dropped, and a note says so.
    pub log_bytes: usize,
    /// Readers, writers, stores and other handles that are open at once.
    pub handles: usize,
    /// Random bytes in one call.
    pub random_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Some ten seconds of computing on a current core: a 12-megapixel thumbnail takes a five-hundredth of it.
            fuel: 200_000_000_000,
            // A decoded 50-megapixel picture.
            memory_bytes: 256 << 20,
            // Ten times what large Rust and Go programs have.
            table_elements: 100_000,
            timeout: Duration::from_secs(30),
            // The whole object is held by the host while the call lasts, beside the task's own copy.
            object_bytes: 64 << 20,
            // Five hundred lines of a usual length.
            log_bytes: 64 << 10,
            // A writer of a directory holds three file descriptors, and tasks share those of the process.
            handles: 100,
            // A key or a seed is 32 bytes; a page is generous.
            random_bytes: 64 << 10,
        }
    }
}

impl Limits {
    /// Core instances, memories and tables of one task. A Rust component has about three instances, others five;
    /// each slot of the pool reserves address space.
    pub const INSTANCES: usize = 32;
    /// Memories in number.
    pub const MEMORIES: usize = 8;
    /// Tables in number.
    pub const TABLES: usize = 16;
    /// A task runs for a moment before it hands its thread to its neighbours: one or two milliseconds of computing.
    pub const FUEL_SLICE: u64 = 20_000_000;
    /// The most that one `reader.read` returns.
    pub const READ_BYTES: usize = 1 << 20;
    /// What the arguments of one host call may hold beyond a whole object: key, metadata, attributes.
    pub const CALL_OVERHEAD_BYTES: usize = 64 << 10;

    /// What the arguments of one host call may hold: a whole object or a batch of messages.
    pub fn call_bytes(&self) -> usize {
        self.object_bytes.max(10 << 20) + Self::CALL_OVERHEAD_BYTES
    }
}

/// The name of a limit that ended a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// [`Limits::fuel`]
    Fuel,
    /// [`Limits::memory_bytes`]
    Memory,
    /// [`Limits::table_elements`]
    Tables,
    /// [`Limits::INSTANCES`], [`Limits::MEMORIES`] or [`Limits::TABLES`]
    Instances,
    /// The Wasm stack
    Stack,
    /// [`Limits::handles`]
    Handles,
    /// [`Limits::call_bytes`]
    CallBytes,
    /// [`Limits::random_bytes`]
    RandomBytes,
}

impl Limit {
    /// The word that outcome, log and metric use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::Memory => "memory",
            Self::Tables => "tables",
            Self::Instances => "instances",
            Self::Stack => "stack",
            Self::Handles => "handles",
            Self::CallBytes => "call-bytes",
            Self::RandomBytes => "random-bytes",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
