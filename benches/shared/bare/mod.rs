//! The engine alone, used as its documentation recommends: the cost of a task without wasmrun.
//!
//! Each run is a cycle: store, WASI context, instantiate, call, drop. The guards of a task are switched on one by one,
//! to measure the cost of each.

#[expect(unreachable_pub, reason = "the generated bindings re-export the handles")]
mod host;

use self::host::bindings::TaskPre;
use bytes::Bytes;
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::pin;
use std::time::{Duration, Instant};
use wasmrun_benches::system::thread_cpu;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{CallHook, Config, Engine, PoolingAllocationConfig, Store, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// Fuel after which a guest yields its thread: about as often as in the worker while others wait.
const FUEL_SLICE: u64 = 2_000_000;
/// Time after which a guest yields with epochs: about as often.
const EPOCH: Duration = Duration::from_micros(250);
/// Bytes of touched pages that the worker's pool keeps: of stacks and tables.
const KEPT: (usize, usize) = (32 << 10, 64 << 10);

/// The source of memories, tables and stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// From the system, each time.
    OnDemand,
    /// From a pool for this number of instances, with the engine's defaults.
    Pool(u32),
    /// From a pool that keeps touched pages of stacks and tables, as the worker's does.
    KeptPool(u32),
}

/// What guards a task, in addition to the isolation that instances have anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guards {
    /// Bounds computing, and yields the thread.
    pub(crate) fuel: bool,
    /// Yields the thread.
    pub(crate) epochs: bool,
    /// Bounds memory.
    pub(crate) limiter: bool,
    /// Measures CPU time and the time between polls, and how long host calls take.
    pub(crate) metering: bool,
}

impl Guards {
    /// No guard.
    pub(crate) const NONE: Self = Self { fuel: false, epochs: false, limiter: false, metering: false };
    /// The guards of a bare loop that is compared with the worker.
    pub(crate) const BASIC: Self = Self { fuel: true, limiter: true, ..Self::NONE };
}

/// The input of a task: the body of its message, and the object that the message announces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Input {
    /// The body.
    pub(crate) body: String,
    /// The object's content.
    pub(crate) object: Option<Bytes>,
}

/// An engine with one component.
pub(crate) struct Bare {
    pre: TaskPre<State>,
    guards: Guards,
}

impl Bare {
    /// Compiles and links a component.
    pub(crate) fn new(bytes: &[u8], memory: Memory, guards: Guards) -> Self {
        let mut config = Config::new();
        config.consume_fuel(guards.fuel).epoch_interruption(guards.epochs).async_stack_zeroing(true);
        if let Some(pool) = pool(memory) {
            config.allocation_strategy(pool);
        }
        let engine = Engine::new(&config).expect("an engine");
        let component = Component::new(&engine, bytes).expect("a component");
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI");
        host::add_to_linker(&mut linker, &component).expect("our interfaces");
        let pre = linker.instantiate_pre(&component).and_then(TaskPre::new).expect("a fitting component");
        if guards.epochs {
            let engine = engine.weak();
            std::thread::spawn(move || {
                while let Some(engine) = engine.upgrade() {
                    engine.increment_epoch();
                    drop(engine);
                    std::thread::sleep(EPOCH);
                }
            });
        }
        Self { pre, guards }
    }

    /// Runs one task to its end.
    pub(crate) async fn run(&self, input: &Input) {
        let mut store = self.store(input.clone());
        let call = async {
            let instance = self.pre.instantiate_async(&mut store).await?;
            let message = store.data_mut().table.push(host::Message)?;
            instance.wasmrun_task_handler().call_handle(&mut store, message).await
        };
        let result = if self.guards.metering { metered(call).await } else { call.await };
        result.expect("no trap").expect("a completed task");
    }

    fn store(&self, input: Input) -> Store<State> {
        let state = State::new(WasiCtx::builder().build(), input);
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

fn pool(memory: Memory) -> Option<PoolingAllocationConfig> {
    let (instances, keep) = match memory {
        Memory::OnDemand => return None,
        Memory::Pool(instances) => (instances, false),
        Memory::KeptPool(instances) => (instances, true),
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        // What components in Rust need, with some reserve.
        .total_core_instances(instances.saturating_mul(4))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(2))
        .total_stacks(instances);
    if keep {
        pool.async_stack_keep_resident(KEPT.0).table_keep_resident(KEPT.1);
    }
    Some(pool)
}

/// What a task has in its store.
pub(crate) struct State {
    input: Input,
    wasi: WasiCtx,
    table: ResourceTable,
    pub(crate) limits: StoreLimits,
}

impl State {
    /// With the worker's default limit of memory.
    pub(crate) fn new(wasi: WasiCtx, input: Input) -> Self {
        let limits = StoreLimitsBuilder::new().memory_size(256 << 20).build();
        Self { input, wasi, table: ResourceTable::new(), limits }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Adds up the CPU time of a future's polls, and the time between them.
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
