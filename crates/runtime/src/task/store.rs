//! Everything that one task can reach is in one store, and [`store`] is the one place that builds it. Isolation is
//! audited on this page: what isn't put in here doesn't exist for the guest.

use crate::engine::threads::ThreadLoad;
use crate::model::host_error::{HostError, Used};
use crate::model::limits::{Limit, Limits};
use crate::model::message::Message;
use crate::model::trace::Trace;
use crate::model::usage::Usage;
use crate::ports::object_store::{Held, Transfer};
use crate::task::calls::HostCalls;
use crate::task::deterministic::{self, RandomCount, VirtualClock};
use crate::task::grant::{AnnouncedObject, Grants};
use crate::task::host::LimitHit;
use crate::task::limiter::Limiter;
use crate::task::log::GuestLog;
use crate::task::time_slice::{self, TimeSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

/// What is the same for the tasks of a component.
#[derive(Clone)]
pub(crate) struct TaskConfig {
    pub(crate) grants: Arc<Grants>,
    pub(crate) limits: Limits,
    /// What tasks asked of stores and queues, in numbers.
    pub(crate) calls: Arc<HostCalls>,
    /// Random numbers and clocks depend on the message alone.
    pub(crate) deterministic: bool,
    /// Where stores and queues live.
    pub(crate) io: Handle,
    /// What tasks ask of the threads that they share.
    pub(crate) load: ThreadLoad,
}

/// What a task is about.
#[derive(Debug)]
pub(crate) struct Delivered {
    /// As the queue delivered it.
    pub(crate) message: Arc<Message>,
    /// The guest sees the objects instead of the body.
    pub(crate) body_hidden: bool,
    /// The objects that it announces.
    pub(crate) objects: Vec<AnnouncedObject>,
}

/// The state of one task, gone with it.
pub(crate) struct TaskState {
    pub(crate) config: Arc<TaskConfig>,
    pub(crate) limiter: Limiter,
    /// Every handle that the guest holds.
    pub(crate) table: ResourceTable,
    pub(crate) usage: Usage,
    pub(crate) log: GuestLog,
    /// The last host error, if no call for the same has succeeded since.
    pub(crate) host_error: Option<HostError>,
    /// What it used with success.
    pub(crate) well: Vec<Used>,
    /// A call to a store or a queue is under way.
    pub(crate) in_call_since: Option<Instant>,
    /// What that call moves.
    pub(crate) under_way: Option<UnderWay>,
    /// The guest has called the host, and not one of the engine's helpers: see [`time_slice::bound_time_slices`].
    pub(crate) host_called: bool,
    /// Whose time slice it is on the thread.
    pub(crate) time_slice: Arc<TimeSlice>,
    /// What the open readers and writers may hold together.
    pub(crate) held: Held,
    /// What the guest was given of random numbers.
    pub(crate) random: RandomCount,
    /// What its timers run on; `None`: real time.
    pub(crate) clock: Option<VirtualClock>,
    /// The request that the message belongs to: what the task sends belongs to it too.
    pub(crate) trace: Option<Trace>,
    wasi: WasiCtx,
}

/// A transfer that isn't counted yet.
pub(crate) struct UnderWay {
    pub(crate) transfer: Arc<Transfer>,
    /// The alias of the store that is read.
    pub(crate) from: String,
    /// The alias of the store that is written, if one is.
    pub(crate) to: Option<String>,
}

/// Builds the store of one task: its limits, and what it was granted.
pub(crate) fn task_store(
    engine: &Engine,
    config: &Arc<TaskConfig>,
    message: &Message,
) -> wasmtime::Result<Store<TaskState>> {
    let limits = &config.limits;
    let log = GuestLog::new(&message.id, limits.log_bytes);

    // WASI starts with nothing: no files, no arguments, no input. The environment holds the granted keys only.
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdout(log.stream("stdout"))
        .stderr(log.stream("stderr"))
        .envs(&config.grants.env)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(limits.random_bytes);
    let random = RandomCount::default();
    let clock = if config.deterministic {
        Some(deterministic::seeded(&mut wasi, message, &random))
    } else {
        deterministic::system(&mut wasi, &random);
        None
    };

    let mut table = ResourceTable::new();
    table.set_max_capacity(limits.handles);

    let mut store = Store::new(
        engine,
        TaskState {
            config: config.clone(),
            limiter: Limiter::new(limits),
            table,
            usage: Usage::default(),
            log,
            host_error: None,
            well: Vec::new(),
            in_call_since: None,
            under_way: None,
            host_called: false,
            time_slice: TimeSlice::new(config.load.clone()),
            held: Held::default(),
            random,
            clock,
            trace: Trace::of(message),
            wasi: wasi.build(),
        },
    );
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(limits.call_bytes());
    // Of the component's own tables, too: a handle that is lent counts twice there.
    store.set_max_component_handles(limits.handles.saturating_mul(2));
    store.set_fuel(limits.fuel)?;
    store.fuel_async_yield_interval(Some(Limits::FUEL_SLICE))?;
    time_slice::bound_time_slices(&mut store);
    Ok(store)
}

impl TaskState {
    /// For how long the store or the queue that is called has given no sign of life.
    pub(crate) fn unanswered(&self) -> Option<Duration> {
        let waited = self.in_call_since?.elapsed();
        Some(self.under_way.as_ref().map_or(waited, |under_way| waited.min(under_way.transfer.idle())))
    }

    /// What each host function of ours begins with.
    pub(crate) fn called(&mut self) -> &mut Self {
        self.host_called = true;
        self
    }

    /// Ends a guest that has asked for more random bytes than it may.
    pub(crate) fn check_random(&self) -> wasmtime::Result<()> {
        if self.random.bytes() > self.config.limits.random_bytes {
            return Err(LimitHit(Limit::RandomSize).into());
        }
        Ok(())
    }
}

impl WasiView for TaskState {
    /// What each host function of WASI begins with.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.host_called = true;
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
