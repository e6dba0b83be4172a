//! The engine: which parts of Wasm exist for a guest, and where its memories come from.

#[cfg_attr(not(feature = "compiler"), expect(dead_code, reason = "nothing is compiled"))]
pub mod cache;
pub mod capacity;
pub mod compile;
pub(crate) mod heap;
pub(crate) mod names;
pub mod threads;

use crate::model::limits::{Limits, MEMORY_KEPT_BYTES, TABLE_KEPT_BYTES};
use std::num::NonZeroUsize;
use wasmtime::{Config, Enabled, OperatorCost, PoolingAllocationConfig, ResourcesRequired};

/// Of each stack, what stays with the pool between tasks.
const STACK_KEPT_BYTES: usize = 32 << 10;
/// The engine's version.
pub const WASMTIME: &str = wasmtime_environ::VERSION;

/// Where memories, tables and stacks of instances come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allocator {
    /// From the pool if this host can reserve it, else from the system.
    #[default]
    Auto,
    /// From a pool that is reserved once: an instance costs microseconds. It reserves about 6 GiB of address space
    /// for each memory, which small hosts and address-space limits refuse.
    Pooling,
    /// From the system, each time.
    OnDemand,
}

/// What a user decides of the code that components are compiled to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeOptions {
    /// Numbers that aren't numbers have one form, and relaxed SIMD one result: the same on every machine, at the price
    /// of some instructions with floating point.
    pub deterministic: bool,
    /// For every CPU of this architecture, and not for this one alone: slower where it would have more to offer.
    pub portable: bool,
}

/// The settings that compiled code depends on. The child that compiles and the worker that runs share them.
fn config(code: CodeOptions) -> Config {
    let mut config = Config::new();
    #[cfg(feature = "compiler")]
    config.cranelift_nan_canonicalization(code.deterministic);
    config
        .relaxed_simd_deterministic(code.deterministic)
        // Bounds computing, and ends time slices.
        .consume_fuel(true)
        .operator_cost(operator_cost())
        // A stack is reused by the next task: nothing of the previous one may be left on it.
        .async_stack_zeroing(true)
        .memory_init_cow(true)
        // What no guest needs yet is code that no guest can attack.
        .wasm_component_model_async(false)
        .concurrency_support(false)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .gc_support(false)
        .wasm_threads(false)
        .shared_memory(false)
        .wasm_memory64(false)
        .wasm_backtrace_max_frames(None);
    config
}

/// Whether a trap is told with the functions that it was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frames {
    /// The innermost twenty.
    Named,
    /// Their names are too long.
    None,
}

impl Frames {
    fn most(self) -> Option<NonZeroUsize> {
        match self {
            Self::Named => NonZeroUsize::new(20),
            Self::None => None,
        }
    }
}

/// The engine's own costs (one for an instruction, one for each byte of a bulk operation), but for what takes much
/// longer than its fuel would say: a growth is a call to the system, or to the limiter that refuses it.
fn operator_cost() -> OperatorCost {
    let mut cost = OperatorCost::new();
    cost.MemoryGrow = u8::MAX;
    cost.TableGrow = u8::MAX;
    cost
}

/// An engine that loads code to look at it.
pub(crate) fn looking(code: CodeOptions) -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config(code))
}

/// An engine that compiles.
#[cfg(feature = "compiler")]
pub(crate) fn compiling(code: CodeOptions) -> wasmtime::Result<wasmtime::Engine> {
    let mut config = config(code);
    if code.portable {
        // Named, it's not looked at which CPU this is.
        config.target(&format!("{}-unknown-linux-gnu", std::env::consts::ARCH))?;
    }
    wasmtime::Engine::new(&config)
}

/// An engine whose instances come from the system, where the pool can't be had.
pub(crate) fn on_demand(
    code: CodeOptions,
    limits: &Limits,
    frames: Frames,
) -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&running(code, limits, frames))
}

/// The settings of an engine that runs tasks.
fn running(code: CodeOptions, limits: &Limits, frames: Frames) -> Config {
    let mut config = config(code);
    config
        .wasm_backtrace_max_frames(frames.most())
        .max_wasm_stack(limits.stack_bytes)
        .async_stack_size(limits.stack_bytes.saturating_add(Limits::HOST_STACK_BYTES));
    config
}

/// An engine with a pool for so many instances of one component at once.
pub(crate) fn pooling(
    code: CodeOptions,
    instances: usize,
    needs: &ResourcesRequired,
    limits: &Limits,
    frames: Frames,
) -> wasmtime::Result<wasmtime::Engine> {
    let of_one = |each: u32, most: usize| (each as usize).clamp(1, most.max(1));
    let slots = |each: u32, most: usize| {
        // One more task than instances: the next may start while the last is torn down.
        count((instances + 1).saturating_mul(of_one(each, most)))
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots(1, 1))
        .total_core_instances(slots(u32::MAX, limits.core_instances))
        .total_memories(slots(needs.num_memories, limits.memories))
        .total_tables(slots(needs.num_tables, limits.tables))
        .total_stacks(slots(1, 1))
        .table_elements(limits.table_elements)
        .max_memories_per_module(count(limits.memories))
        .max_tables_per_module(count(limits.tables))
        .max_core_instances_per_component(count(limits.core_instances))
        .max_memories_per_component(count(limits.memories))
        .max_tables_per_component(count(limits.tables))
        .max_core_instance_size(Limits::INSTANCE_BYTES)
        .max_component_instance_size(Limits::INSTANCE_BYTES)
        .max_unused_warm_slots(slots(1, 1))
        // The top of a stack is zeroed by hand: nearly all tasks use no more of it, and giving pages back and
        // faulting them in again costs more, the more so with several threads.
        .async_stack_keep_resident(STACK_KEPT_BYTES);

    // Likewise for the pages that a task wrote, where the system (Linux 6.7) tells which they were.
    let mut scanning = pool.clone();
    scanning
        .pagemap_scan(Enabled::Yes)
        .linear_memory_keep_resident(MEMORY_KEPT_BYTES / of_one(needs.num_memories, limits.memories))
        .table_keep_resident(TABLE_KEPT_BYTES / of_one(needs.num_tables, limits.tables));
    let engine = |pool| {
        let mut config = running(code, limits, frames);
        config.allocation_strategy(pool);
        wasmtime::Engine::new(&config)
    };
    engine(scanning).or_else(|_| engine(pool))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Tells code apart that was compiled by other versions, for other settings or other CPUs.
#[cfg(feature = "compiler")]
pub(crate) fn compatibility(engine: &wasmtime::Engine) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    use std::hash::{Hash, Hasher};

    struct Sha(Sha256);
    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut hasher = Sha(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.finalize().into()
}
