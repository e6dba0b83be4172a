//! What an empty task costs: through the whole worker on the in-memory queue, against a bare loop of the engine.
//!
//!     cargo xtask bench task
//!
//! All run the same component with the same kind of store: WASI context, limiter, fuel, instantiate, call, drop. The
//! worker adds what makes it a worker: receive, a hand-over between threads, a timeout, a lease, counts, settlement.
//! The bare loop runs twice: with the pool as the engine sets it up, and with a pool that keeps touched pages between
//! tasks, as the worker's does. The rounds are interleaved; CPU time is that of the process, on all threads.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use wasmrun_runtime::compile::Compiler;
use wasmrun_runtime::component::{Component, LoadOptions};
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::grant::Grants;
use wasmrun_runtime::limits::Limits;
use wasmrun_runtime::memory::MemoryQueue;
use wasmrun_runtime::message::{MAX_BATCH, OutgoingMessage};
use wasmrun_runtime::outcome::OutcomeKind;
use wasmrun_runtime::queue::Queue;
use wasmrun_runtime::worker::{Worker, WorkerOptions};
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceTable, ResourceType};
use wasmtime::{Config, Enabled, Engine, PoolingAllocationConfig, Store, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

const ROUNDS: usize = 10;
/// `cargo test` runs this once, to see that it works.
const TASKS: usize = 10_000;

fn main() {
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let (rounds, tasks) = if quick { (1, 100) } else { (ROUNDS, TASKS) };
    let bytes = std::fs::read(guest("empty.wasm")).expect("run `cargo xtask guests` first");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let (bare, tuned) = (Bare::new(&bytes, false), Bare::new(&bytes, true));
    let instances = NonZeroUsize::new(4).expect("not zero");
    let component = Arc::new(runtime.block_on(load(&bytes, instances)));

    let mut rows: Vec<[Cost; 3]> = Vec::new();
    for _ in 0..rounds {
        rows.push([
            measure(tasks, || runtime.block_on(bare.run(tasks))),
            measure(tasks, || runtime.block_on(tuned.run(tasks))),
            measure(tasks, || runtime.block_on(work(component.clone(), instances, tasks))),
        ]);
    }
    let median = |pick: &dyn Fn(&[Cost; 3]) -> f64| {
        let mut values: Vec<f64> = rows.iter().map(pick).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!("empty task, {rounds} rounds of {tasks} each, interleaved; medians of the rounds");
    println!("                                CPU us   wall us   worker's CPU against this");
    for (index, name) in ["bare engine", "bare engine, pages kept", "wasmrun worker"].into_iter().enumerate()
    {
        println!(
            "{name:<28} {:>9.1} {:>9.1} {:>8.2}",
            median(&|row| row[index].cpu_us),
            median(&|row| row[index].wall_us),
            median(&|row| row[2].cpu_us / row[index].cpu_us),
        );
    }
}

/// Microseconds for each task.
struct Cost {
    cpu_us: f64,
    wall_us: f64,
}

fn measure(tasks: usize, work: impl FnOnce()) -> Cost {
    let (cpu, wall) = (process_cpu(), Instant::now());
    work();
    let each = |duration: Duration| duration.as_secs_f64() * 1e6 / tasks as f64;
    Cost { cpu_us: each(process_cpu() - cpu), wall_us: each(wall.elapsed()) }
}

fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("nanoseconds"))
}

/// Where `cargo xtask` builds the guests.
fn guest(name: &str) -> PathBuf {
    match std::env::var_os("WASMRUN_GUESTS") {
        Some(directory) => PathBuf::from(directory).join(name),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/guests").join(name),
    }
}

async fn load(bytes: &[u8], instances: NonZeroUsize) -> Component {
    let options = LoadOptions {
        grants: Grants::default(),
        limits: Limits::default(),
        instances,
        threads: std::thread::available_parallelism().expect("cores"),
        allocator: Allocator::Pooling,
        raw_body: false,
        deterministic: false,
    };
    Component::load(bytes, &Compiler::in_process(), options).await.expect("a component")
}

async fn work(component: Arc<Component>, instances: NonZeroUsize, tasks: usize) {
    let queue = Arc::new(MemoryQueue::new("work", Duration::from_secs(30)));
    let dead = Arc::new(MemoryQueue::new("dead", Duration::from_secs(30)));
    let message = OutgoingMessage { body: "x".into(), ..OutgoingMessage::default() };
    for _ in 0..tasks.div_ceil(MAX_BATCH) {
        queue.send(&vec![message.clone(); MAX_BATCH]).await;
    }
    let options = WorkerOptions { instances, until_empty: true, ..WorkerOptions::default() };
    let worker = Worker::new(queue, Some(dead), component, options).await.expect("a worker");
    let summary = Arc::new(worker).run(CancellationToken::new(), CancellationToken::new()).await;
    assert_eq!(summary.outcome(OutcomeKind::Completed), tasks as u64);
}

/// The engine alone, as its own documentation would have one use it.
struct Bare {
    engine: Engine,
    pre: wasmtime::component::InstancePre<State>,
    handle: wasmtime::component::ComponentExportIndex,
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    limits: StoreLimits,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

struct Message;

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct RetryRequest {
    #[component(name = "delay-seconds")]
    delay_seconds: Option<u32>,
    reason: String,
}

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum Failure {
    #[component(name = "retry")]
    Retry(RetryRequest),
    #[component(name = "reject")]
    Reject(String),
}

impl Bare {
    fn new(bytes: &[u8], keep_pages: bool) -> Self {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_memories(10).total_tables(10).total_stacks(10).total_component_instances(10);
        if keep_pages {
            pool.async_stack_keep_resident(32 << 10);
            if PoolingAllocationConfig::is_pagemap_scan_available() {
                pool.pagemap_scan(Enabled::Yes);
                pool.linear_memory_keep_resident(1 << 20).table_keep_resident(64 << 10);
            }
        }
        let mut config = Config::new();
        config.consume_fuel(true).async_stack_zeroing(true).allocation_strategy(pool);
        let engine = Engine::new(&config).expect("an engine");
        let component = wasmtime::component::Component::new(&engine, bytes).expect("a component");
        let mut linker: Linker<State> = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI");
        linker
            .instance("wasmrun:task/message@0.1.0")
            .and_then(|mut instance| {
                instance.resource("message", ResourceType::host::<Message>(), |mut store, rep| {
                    store.data_mut().table.delete(Resource::<Message>::new_own(rep))?;
                    Ok(())
                })
            })
            .expect("the message");
        linker.define_unknown_imports_as_traps(&component).expect("the rest");
        let pre = linker.instantiate_pre(&component).expect("linked");
        let handler = component.get_export_index(None, "wasmrun:task/handler@0.1.0").expect("the handler");
        let handle = component.get_export_index(Some(&handler), "handle").expect("handle");
        Self { engine, pre, handle }
    }

    async fn run(&self, tasks: usize) {
        for _ in 0..tasks {
            let limits = StoreLimitsBuilder::new().memory_size(256 << 20).build();
            let wasi = WasiCtxBuilder::new().build();
            let mut store = Store::new(&self.engine, State { wasi, table: ResourceTable::new(), limits });
            store.limiter(|state| &mut state.limits);
            store.set_fuel(1_000_000_000).expect("fuel");
            store.fuel_async_yield_interval(Some(4_000_000)).expect("fuel");
            let instance = self.pre.instantiate_async(&mut store).await.expect("an instance");
            let handle = instance
                .get_typed_func::<(Resource<Message>,), (Result<(), Failure>,)>(&mut store, &self.handle)
                .expect("handle");
            let message = store.data_mut().table.push(Message).expect("a handle");
            let (result,) = handle.call_async(&mut store, (message,)).await.expect("no trap");
            assert!(result.is_ok());
        }
    }
}
