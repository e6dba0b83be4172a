//! The Wasmtime store of a task (not an object store) holds everything that the task can reach, and [`task_store`] is
//! the only function that builds it. Isolation is audited on this page: what isn't put in here doesn't exist for the guest.

use crate::engine::threads::ThreadLoad;
use crate::model::host_error::{Access, HostError, Used};
use crate::model::limits::{Limit, Limits};
use crate::model::message::Message;
use crate::model::outputs::{Output, Outputs};
use crate::model::task_trace::{CallRecorder, TaskTrace};
use crate::model::trace::{Sampling, Trace};
use crate::model::usage::Usage;
use crate::ports::object_store::{ObjectInfo, Transfer};
use crate::ports::requests::Requests;
use crate::task::calls::{CallResult, HostCalls};
use crate::task::command::{self, CommandOptions, Pipes};
use crate::task::deterministic::{self, RandomCount, VirtualClock};
use crate::task::grant::{AnnouncedObject, Grants};
use crate::task::holds::Holdings;
use crate::task::host::files::WrittenFiles;
use crate::task::host::{LimitHit, TaskHttp};
use crate::task::limiter::Limiter;
use crate::task::log::GuestLog;
use crate::task::stream::Streams;
use crate::task::time_slice::{self, TimeSlice};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

/// The configuration that all tasks of a component share.
#[derive(Clone)]
pub(crate) struct TaskConfig {
    pub(crate) grants: Arc<Grants>,
    pub(crate) limits: Limits,
    /// Counts of the tasks' calls to stores and queues.
    pub(crate) calls: Arc<HostCalls>,
    /// How the component is run, if it is a command.
    pub(crate) command: Option<Arc<CommandOptions>>,
    /// Where its tasks get their requests, if the component is a service.
    pub(crate) requests: Option<Arc<dyn Requests>>,
    /// Whether random numbers and clocks depend on the message alone.
    pub(crate) deterministic: bool,
    /// The share of new traces that is exported; `None`: no trace is.
    pub(crate) sampling: Option<Sampling>,
    /// Whether the report of a task lists the objects that it wrote.
    pub(crate) records_outputs: bool,
    /// Runtime on which stores and queues are called.
    pub(crate) io: Handle,
    /// Load of the guest threads that the tasks share.
    pub(crate) load: ThreadLoad,
}

#[cfg(test)]
impl TaskConfig {
    /// Returns the configuration of a task within these limits, without grants. Calls run on the current runtime.
    pub(crate) fn within(limits: Limits) -> Self {
        Self {
            grants: Arc::default(),
            limits,
            calls: Arc::default(),
            command: None,
            requests: None,
            deterministic: false,
            sampling: None,
            records_outputs: false,
            io: Handle::current(),
            load: ThreadLoad::default(),
        }
    }
}

/// The message of a task, and its objects.
#[derive(Debug)]
pub(crate) struct Delivered {
    /// The message, as the queue delivered it.
    pub(crate) message: Arc<Message>,
    /// Whether the guest sees the objects instead of the body.
    pub(crate) body_hidden: bool,
    /// The objects that the message announces.
    pub(crate) objects: Vec<AnnouncedObject>,
}

impl Delivered {
    /// Returns a message that announces no object.
    pub(crate) fn plain(message: Arc<Message>) -> Self {
        Self { message, body_hidden: false, objects: Vec::new() }
    }

    /// Returns the body as the guest sees it.
    pub(crate) fn body(&self) -> &str {
        if self.body_hidden { "" } else { &self.message.body }
    }
}

/// The state of one task. It is dropped with the task.
//
// Its many fields are all that the host functions share: one page shows what a task has.
pub(crate) struct TaskState {
    pub(crate) config: Arc<TaskConfig>,
    pub(crate) delivered: Arc<Delivered>,
    pub(crate) limiter: Limiter,
    /// What is counted of HTTP requests, and the permits of their connections. Dropped before `table`, which holds the
    /// requests under way: a request that waits for a permit gets none of those that end before it.
    pub(crate) http: TaskHttp,
    /// All handles that the guest holds.
    pub(crate) table: ResourceTable,
    pub(crate) usage: Usage,
    pub(crate) log: GuestLog,
    /// The last host error, if no call with the same use of the same backend has succeeded since.
    pub(crate) host_error: Option<HostError>,
    /// The backends that the task used successfully, and for what.
    pub(crate) well: Vec<Used>,
    /// Start of the current call to a backend, if there is one, and what it uses.
    pub(crate) in_call: Option<(Instant, Used)>,
    /// The transfer of the current call.
    pub(crate) under_way: Option<UnderWay>,
    /// Whether the current call out of the guest is a host call, and not a call to one of the engine's helpers: see
    /// [`time_slice::bound_time_slices`].
    pub(crate) host_called: bool,
    /// The task's time slice on its thread.
    pub(crate) time_slice: Arc<TimeSlice>,
    /// Memory and files that the open handles hold together.
    pub(crate) held: Holdings,
    /// Counts the random bytes that the guest was given.
    pub(crate) random: RandomCount,
    /// Clock of the guest's timers; `None`: real time.
    pub(crate) clock: Option<VirtualClock>,
    /// Trace that the message belongs to. The messages that the task sends belong to it too.
    pub(crate) trace: Option<Trace>,
    /// The calls of the task, if traces are exported.
    pub(crate) recorder: Option<Arc<Mutex<CallRecorder>>>,
    /// When the last call to a store, a queue or a bucket began that isn't recorded yet.
    pub(crate) called_at: Option<Instant>,
    /// The streams that are connected to objects.
    pub(crate) streams: Streams,
    /// Standard input and output of a command.
    pub(crate) pipes: Option<Pipes>,
    /// Files that the guest has written, and directories that it has made.
    pub(crate) files: WrittenFiles,
    /// Objects that the guest has written; `None`: they aren't recorded.
    pub(crate) outputs: Option<Box<Outputs>>,
    wasi: WasiCtx,
}

/// A transfer that isn't counted yet.
pub(crate) struct UnderWay {
    pub(crate) transfer: Arc<Transfer>,
    /// Alias of the store that is read.
    pub(crate) from: String,
    /// Alias of the store that is written, if any.
    pub(crate) to: Option<String>,
}

/// A call to a backend that hasn't ended.
pub(crate) struct Unanswered {
    /// How long the backend has given no sign of life.
    pub(crate) waited: Duration,
    pub(crate) used: Used,
}

/// Builds the store of one task, with its limits and its grants.
pub(crate) fn task_store(
    engine: &Engine,
    config: &Arc<TaskConfig>,
    delivered: &Arc<Delivered>,
) -> wasmtime::Result<Store<TaskState>> {
    let message = &*delivered.message;
    let limits = &config.limits;
    let log = GuestLog::new(&message.id, limits.log_bytes);
    let random = RandomCount::default();
    let (wasi, pipes, clock) = wasi_context(config, delivered, &log, &random);
    let recorder = config.sampling.map(|_| Arc::new(Mutex::new(CallRecorder::new())));
    let http = TaskHttp::new(config, &log, recorder.clone());
    let mut table = ResourceTable::new();
    table.set_max_capacity(limits.handles);

    let mut store = Store::new(
        engine,
        TaskState {
            config: config.clone(),
            delivered: delivered.clone(),
            limiter: Limiter::new(limits),
            http,
            table,
            usage: Usage::default(),
            log,
            host_error: None,
            well: Vec::new(),
            in_call: None,
            under_way: None,
            host_called: false,
            time_slice: TimeSlice::new(config.load.clone()),
            held: Holdings::new(limits.held()),
            random,
            clock,
            trace: Trace::of_task(message, config.sampling),
            recorder,
            called_at: None,
            streams: Streams::new(&config.io),
            pipes,
            files: WrittenFiles::default(),
            outputs: config.records_outputs.then(Box::default),
            wasi,
        },
    );
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(limits.call_bytes());
    // The component's own tables are limited too. A handle that is lent counts twice there.
    store.set_max_component_handles(limits.handles.saturating_mul(2));
    store.set_fuel(limits.fuel)?;
    store.fuel_async_yield_interval(Some(Limits::FUEL_SLICE))?;
    time_slice::bound_time_slices(&mut store);
    Ok(store)
}

/// Builds the WASI context of one task. It starts with nothing: no arguments, no input, and no files, as `host::files` takes
/// the place of WASI's file system. The environment holds the granted keys only, and of a command the message. Returns the
/// streams of a command and the clock of a deterministic task, too.
fn wasi_context(
    config: &TaskConfig,
    delivered: &Delivered,
    log: &GuestLog,
    random: &RandomCount,
) -> (WasiCtx, Option<Pipes>, Option<VirtualClock>) {
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdout(log.stream("stdout"))
        .stderr(log.stream("stderr"))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(config.limits.random_bytes);
    let pipes = match config.command.as_deref() {
        None => {
            wasi.envs(&config.grants.env);
            None
        }
        // A command has no other way to its message than its arguments, its variables and standard input.
        Some(options) => {
            let pipes = Pipes::default();
            wasi.arg(command::NAME).args(&options.args);
            wasi.envs(&command::variables(&config.grants.env, delivered));
            if options.reads_object(delivered) {
                wasi.stdin(pipes.input.clone());
            } else {
                wasi.stdin(MemoryInputPipe::new(Bytes::copy_from_slice(delivered.body().as_bytes())));
            }
            if options.output.is_some() {
                wasi.stdout(pipes.output.clone());
            }
            Some(pipes)
        }
    };
    let clock = if config.deterministic {
        Some(deterministic::seeded(&mut wasi, &delivered.message, random))
    } else {
        deterministic::system(&mut wasi, random);
        None
    };
    (wasi.build(), pipes, clock)
}

impl TaskState {
    /// Returns the call that is being waited for.
    pub(crate) fn unanswered(&self) -> Option<Unanswered> {
        let Some((since, used)) = &self.in_call else { return self.streams.unanswered() };
        let (waited, used) = (since.elapsed(), used.clone());
        let Some(UnderWay { transfer, to, .. }) = &self.under_way else {
            return Some(Unanswered { waited, used });
        };
        let used = match (to, transfer.access()) {
            (Some(to), access @ Access::Write) => Used { backend: to.clone(), access },
            _ => used,
        };
        Some(Unanswered { waited: waited.min(transfer.idle()), used })
    }

    /// Records an object that the guest has written, if outputs are recorded. Returns the object's metadata.
    pub(crate) fn wrote(&mut self, alias: &str, info: ObjectInfo) -> ObjectInfo {
        if let Some(outputs) = &mut self.outputs {
            let ObjectInfo { key, size, etag, version, .. } = info.clone();
            outputs.wrote(Output { store: alias.to_owned(), key, size, etag, version });
        }
        info
    }

    /// Records an object that the guest has deleted, if outputs are recorded.
    pub(crate) fn deleted(&mut self, alias: &str, key: &str) {
        if let Some(outputs) = &mut self.outputs {
            outputs.deleted(alias, key);
        }
    }

    /// Records the last call for the task's trace, if traces are exported.
    pub(crate) fn record_call(
        &mut self,
        kind: &'static str,
        name: &'static str,
        target: &str,
        result: CallResult,
    ) {
        if let (Some(recorder), Some(since)) = (&self.recorder, self.called_at.take()) {
            recorder.lock().record((since, Instant::now()), kind, name, target, result.as_str());
        }
    }

    /// Returns the task's trace with its calls, if traces are exported.
    pub(crate) fn task_trace(&self) -> Option<TaskTrace> {
        Some(self.recorder.as_ref()?.lock().take(self.trace.clone()?))
    }

    /// Marks a host call. Each host function of wasmrun begins with this.
    pub(crate) fn called(&mut self) -> &mut Self {
        self.host_called = true;
        self
    }

    /// Fails if the guest has asked for more random bytes than its limit, which ends it.
    pub(crate) fn check_random(&self) -> wasmtime::Result<()> {
        if self.random.bytes() > self.config.limits.random_bytes {
            return Err(LimitHit(Limit::RandomSize).into());
        }
        Ok(())
    }
}

impl WasiView for TaskState {
    /// Marks a host call. Each host function of WASI begins with this.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.host_called = true;
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
