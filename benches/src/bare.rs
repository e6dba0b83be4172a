//! The engine alone, as its own documentation would have one use it: what a task costs without wasmrun.
//!
//! Each run is a cycle: store, WASI context, instantiate, call, drop. What guards a task is switched on and off one by
//! one, to see what each costs. The stores are an object in memory and a place that takes what is written.

#[expect(unreachable_pub, reason = "the generated bindings re-export the handles")]
mod host;

use crate::bare::host::bindings::{Task, TaskPre};
use bytes::Bytes;
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime::{
    CallHook, Config, Enabled, Engine, PoolingAllocationConfig, Store, StoreLimits, StoreLimitsBuilder,
};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

/// Guests hand their threads back after so much fuel: about as often as the worker's do while others wait.
const FUEL_SLICE: u64 = 4_000_000;
/// The ticks after which they do without fuel: about as often.
const EPOCH: Duration = Duration::from_micros(500);

/// Where memories, tables and stacks come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// From the system, each time.
    OnDemand,
    /// From a pool with the engine's own settings, for so many instances.
    Pool(u32),
    /// From a pool that keeps the pages that a task touched, as the worker's does.
    KeptPool(u32),
}

/// What guards a task, beside the isolation that instances have anyway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guards {
    /// Bounds computing, and hands the thread back.
    pub fuel: bool,
    /// Hands the thread back.
    pub epochs: bool,
    /// Bounds memory.
    pub limiter: bool,
    /// Measures the thread's time and the time between turns, and watches how long calls of the host take.
    pub metering: bool,
}

/// What a task is about: the message's text, and the object that it announces.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// The text.
    pub body: String,
    /// The object, and the environment that goes with it.
    pub object: Option<Bytes>,
    /// The environment.
    pub env: Vec<(String, String)>,
}

/// An engine with one component.
pub struct Bare {
    pre: TaskPre<State>,
    guards: Guards,
    _ticker: Option<Ticker>,
}

impl Bare {
    /// Compiles and links a component.
    ///
    /// # Panics
    ///
    /// It can't be used.
    pub fn new(bytes: &[u8], memory: Memory, guards: Guards) -> Self {
        let mut config = Config::new();
        config.consume_fuel(guards.fuel).epoch_interruption(guards.epochs).async_stack_zeroing(true);
        if let Some(pool) = pool(memory) {
            config.allocation_strategy(pool);
        }
        let engine = Engine::new(&config).expect("an engine");
        let component = wasmtime::component::Component::new(&engine, bytes).expect("a component");
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI");
        Task::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).expect("our interfaces");
        let pre = linker.instantiate_pre(&component).and_then(TaskPre::new).expect("a fitting component");
        let ticker = guards.epochs.then(|| Ticker::start(engine));
        Self { pre, guards, _ticker: ticker }
    }

    /// Runs one task to its end.
    ///
    /// # Panics
    ///
    /// It doesn't complete.
    pub async fn run(&self, input: &Arc<Input>) {
        let mut store = self.store(input);
        let call = async {
            let instance = self.pre.instantiate_async(&mut store).await?;
            let message = store.data_mut().table.push(host::Message)?;
            instance.wasmrun_task_handler().call_handle(&mut store, message).await
        };
        let result = match self.guards.metering {
            true => metered(call).await,
            false => call.await,
        };
        result.expect("no trap").expect("a completed task");
    }

    fn store(&self, input: &Arc<Input>) -> Store<State> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.envs(&input.env);
        let state = State {
            input: input.clone(),
            wasi: wasi.build(),
            table: ResourceTable::new(),
            limits: StoreLimitsBuilder::new().memory_size(256 << 20).build(),
        };
        let mut store = Store::new(self.pre.engine(), state);
        if self.guards.limiter {
            store.limiter(|state| &mut state.limits);
        }
        if self.guards.fuel {
            store.set_fuel(u64::MAX / 2).expect("fuel");
            store.fuel_async_yield_interval(Some(FUEL_SLICE)).expect("fuel");
        }
        if self.guards.epochs {
            store.set_epoch_deadline(1);
            store.epoch_deadline_async_yield_and_update(1);
        }
        if self.guards.metering {
            let began = Instant::now();
            store.call_hook(move |_, event| {
                if matches!(event, CallHook::ReturningFromHost) {
                    black_box(began.elapsed() > EPOCH);
                }
                Ok(())
            });
        }
        store
    }
}

/// Of the pages that a task touched, what the worker's pool keeps: of stacks, memories and tables.
const KEPT_BYTES: (usize, usize, usize) = (32 << 10, 1 << 20, 64 << 10);

fn pool(memory: Memory) -> Option<PoolingAllocationConfig> {
    let (instances, keep) = match memory {
        Memory::OnDemand => return None,
        Memory::Pool(instances) => (instances, false),
        Memory::KeptPool(instances) => (instances, true),
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        // What components in Rust take, and some more.
        .total_core_instances(instances.saturating_mul(4))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(2))
        .total_stacks(instances);
    if keep {
        pool.async_stack_keep_resident(KEPT_BYTES.0);
        if PoolingAllocationConfig::is_pagemap_scan_available() {
            pool.pagemap_scan(Enabled::Yes)
                .linear_memory_keep_resident(KEPT_BYTES.1)
                .table_keep_resident(KEPT_BYTES.2);
        }
    }
    Some(pool)
}

struct State {
    input: Arc<Input>,
    wasi: WasiCtx,
    table: ResourceTable,
    limits: StoreLimits,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Adds up the time that the thread computes while it polls a future, and the time between.
async fn metered<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let (mut cpu, mut between, mut ended) = (Duration::ZERO, Duration::ZERO, Instant::now());
    let result = poll_fn(|context| {
        between += ended.elapsed();
        let before = thread_cpu();
        let poll = future.as_mut().poll(context);
        cpu += thread_cpu().saturating_sub(before);
        ended = Instant::now();
        poll
    })
    .await;
    black_box((cpu, between));
    result
}

fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Counts epochs, on a thread of its own until it is dropped.
struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: Engine) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(EPOCH);
                engine.increment_epoch();
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It can't panic.
            let _ = thread.join();
        }
    }
}
