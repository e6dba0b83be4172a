//! The Wasm engine: which Wasm features guests may use, and where the memory of instances comes from.

#[cfg_attr(not(feature = "compiler"), expect(dead_code, reason = "nothing is compiled"))]
pub mod cache;
pub mod capacity;
pub mod compile;
pub mod heap;
pub(crate) mod names;
pub mod threads;

use crate::model::limits::{Limits, TABLE_KEPT_BYTES};
use std::num::NonZeroUsize;
use wasmtime::{Config, Enabled, OperatorCost, PoolingAllocationConfig, ResourcesRequired};

/// Bytes of each stack that stay resident in the pool between tasks.
const STACK_KEPT_BYTES: usize = 32 << 10;
/// The engine's version.
pub const WASMTIME: &str = wasmtime_environ::VERSION;

/// Where the memories, tables and stacks of instances come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allocator {
    /// From the pool if this host can reserve it, otherwise from the system.
    #[default]
    Auto,
    /// From a pool that is reserved once: an instance costs microseconds. It reserves about 6 GiB of address space for
    /// each memory, which small hosts and address-space limits refuse.
    Pooling,
    /// From the system for each instance.
    OnDemand,
}

/// The user's options for compiled code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeOptions {
    /// Canonical NaNs and deterministic relaxed SIMD: the same results on every machine, at the price of some
    /// additional floating-point instructions.
    pub deterministic: bool,
    /// Runs on every CPU of this architecture instead of only on this machine's. The code is slower where this CPU has
    /// further instructions.
    pub portable: bool,
}

/// Returns the settings that compiled code depends on. The compiling child and the running worker share them.
fn config(code: CodeOptions) -> Config {
    let mut config = Config::new();
    #[cfg(feature = "compiler")]
    config.cranelift_nan_canonicalization(code.deterministic);
    config
        .relaxed_simd_deterministic(code.deterministic)
        // Bounds computing and ends time slices.
        .consume_fuel(true)
        .operator_cost(operator_cost())
        // The next task reuses the stack, so nothing of the previous task may be left on it.
        .async_stack_zeroing(true)
        .memory_init_cow(true)
        // A guest with async functions can make the host panic: see `task::async_tests`.
        .wasm_component_model_async(false)
        .concurrency_support(false)
        // Features that no guest needs yet are disabled, which reduces the attack surface.
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

/// Whether a trap's text contains the names of the functions that it occurred in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frames {
    /// The innermost twenty frames are named.
    Named,
    /// No frame is named, as the component's names are too long.
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

/// Returns the engine's default costs (one for an instruction, one for each byte of a bulk operation), but higher ones
/// for growths. A growth is a system call, or a call to the limiter that refuses it, and takes much longer than its
/// fuel suggests.
fn operator_cost() -> OperatorCost {
    let mut cost = OperatorCost::new();
    cost.MemoryGrow = u8::MAX;
    cost.TableGrow = u8::MAX;
    cost
}

/// Creates an engine that loads code only to inspect it.
pub(crate) fn looking(code: CodeOptions) -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config(code))
}

/// Creates an engine that compiles.
#[cfg(feature = "compiler")]
pub(crate) fn compiling(code: CodeOptions) -> wasmtime::Result<wasmtime::Engine> {
    let mut config = config(code);
    if code.portable {
        // With an explicit target the engine doesn't detect this machine's CPU.
        config.target(&format!("{}-unknown-linux-gnu", std::env::consts::ARCH))?;
    }
    wasmtime::Engine::new(&config)
}

/// Creates an engine whose instances come from the system, for hosts that can't reserve the pool.
pub(crate) fn on_demand(
    code: CodeOptions,
    limits: &Limits,
    frames: Frames,
) -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&running(code, limits, frames))
}

/// Returns the settings of an engine that runs tasks.
fn running(code: CodeOptions, limits: &Limits, frames: Frames) -> Config {
    let mut config = config(code);
    config
        .wasm_backtrace_max_frames(frames.most())
        .max_wasm_stack(limits.stack_bytes)
        .async_stack_size(limits.stack_bytes.saturating_add(Limits::HOST_STACK_BYTES));
    config
}

/// Creates an engine that runs tasks with component-model-async, to show what it doesn't isolate.
#[cfg(all(test, feature = "compiler"))]
pub(crate) fn with_async(limits: &Limits) -> wasmtime::Result<wasmtime::Engine> {
    let mut config = running(CodeOptions::default(), limits, Frames::Named);
    config.wasm_component_model_async(true).concurrency_support(true);
    wasmtime::Engine::new(&config)
}

/// Creates an engine with a pool for `instances` concurrent instances of one component.
pub(crate) fn pooling(
    code: CodeOptions,
    instances: usize,
    needs: &ResourcesRequired,
    limits: &Limits,
    frames: Frames,
) -> wasmtime::Result<wasmtime::Engine> {
    let mut config = running(code, limits, frames);
    config.allocation_strategy(pool(instances, needs, limits));
    wasmtime::Engine::new(&config)
}

/// Returns the settings of the pool.
fn pool(instances: usize, needs: &ResourcesRequired, limits: &Limits) -> PoolingAllocationConfig {
    let of_one = |each: u32, most: usize| (each as usize).clamp(1, most.max(1));
    let slots = |each: u32, most: usize| {
        // One slot more than instances: the next task may start while the last one is torn down.
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
        // The top of a stack is zeroed in place, as nearly all tasks use no more of it. Releasing pages and faulting
        // them in again costs more, even more so with several threads. The same for the start of each table.
        .async_stack_keep_resident(STACK_KEPT_BYTES)
        .table_keep_resident(TABLE_KEPT_BYTES / of_one(needs.num_tables, limits.tables))
        // The pages of memories are released, although keeping them would be cheaper. To find those that a task wrote,
        // this version of the engine asks the kernel only for pages that are present. It would leave a page that is
        // swapped out, or is being moved, as the task left it (bytecodealliance/wasmtime#14357).
        .pagemap_scan(Enabled::No);
    pool
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Returns a hash of the engine's version, settings and CPU. Code that was compiled under another hash isn't reused.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Such pages can't be made to occur in a test, so this one looks at the setting.
    #[test]
    fn no_page_is_left_as_it_is_because_the_kernel_does_not_report_it_as_present() {
        let needs = ResourcesRequired {
            num_memories: 1,
            max_initial_memory_size: None,
            num_tables: 1,
            max_initial_table_size: None,
        };
        let pool = format!("{:?}", pool(4, &needs, &Limits::default()));
        assert!(pool.contains("pagemap_scan: No"), "{pool}");
    }
}
