//! The engine alone, as `wasmtime serve` uses it: an instance of the component from a pool for each request.

use crate::shared::{Input, bare::State};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};
use wasmrun_benches::{median_of, micros, process_cpu};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, PoolingAllocationConfig, Store};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};

/// Maximum numbers in a component: one in Python has 14 core instances and a table of several thousand functions.
const CORE_INSTANCES: u32 = 64;
const TABLES: u32 = 16;
const TABLE_ELEMENTS: usize = 100_000;
/// Bytes of standard output that are kept.
const OUTPUT_BYTES: usize = 1 << 20;

/// An engine with one program, and a thread that runs it.
pub(crate) struct Bare {
    pre: CommandPre<State>,
    runtime: Runtime,
}

impl Bare {
    /// Compiles and links a program.
    pub(crate) fn new(component: &Path) -> Self {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(2)
            .total_core_instances(2 * CORE_INSTANCES)
            .max_core_instances_per_component(CORE_INSTANCES)
            .total_memories(4)
            .total_tables(2 * TABLES)
            .max_tables_per_component(TABLES)
            .max_tables_per_module(TABLES)
            .table_elements(TABLE_ELEMENTS)
            .total_stacks(2);
        let mut config = Config::new();
        config.consume_fuel(true).async_stack_zeroing(true).allocation_strategy(pool);
        let engine = Engine::new(&config).expect("an engine");
        let component = Component::from_file(&engine, component).expect("a component");
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI");
        let pre = linker.instantiate_pre(&component).and_then(CommandPre::new).expect("a program");
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        Self { pre, runtime }
    }

    /// Runs tasks with one letter as input, and returns their medians.
    pub(crate) fn measure(&self, tasks: usize) -> Value {
        let rows: Vec<Value> = (0..tasks).map(|_| self.run()).collect();
        json!({ "start_us": median_of(&rows, "start_us"), "cpu_us": median_of(&rows, "cpu_us") })
    }

    /// Runs one task to its end: until the instance exists, and until nothing is left of it.
    fn run(&self) -> Value {
        let (cpu, began) = (process_cpu(), Instant::now());
        let stdout = MemoryOutputPipe::new(OUTPUT_BYTES);
        let wasi = WasiCtx::builder().stdin(MemoryInputPipe::new(&b"x"[..])).stdout(stdout.clone()).build();
        let mut store = Store::new(self.pre.engine(), State::new(wasi, Input::default()));
        store.limiter(|state| &mut state.limits);
        store.set_fuel(u64::MAX / 2).expect("fuel");
        store.fuel_async_yield_interval(Some(4_000_000)).expect("fuel");
        let start = self.runtime.block_on(async {
            let program = self.pre.instantiate_async(&mut store).await.expect("an instance");
            let start = began.elapsed();
            program.wasi_cli_run().call_run(&mut store).await.expect("no trap").expect("success");
            start
        });
        drop(store);
        let cpu = process_cpu() - cpu;
        assert_eq!(&stdout.contents()[..], b"X");
        json!({ "start_us": micros(start), "cpu_us": micros(cpu) })
    }
}
