//! The component: loaded once, ready to be instantiated for each message.

use crate::calls::HostCalls;
use crate::capacity::{Capacity, Host, TooSmall, capacity};
use crate::compile::{Artefact, CompileError, Compiler};
use crate::engine::{self, Allocator, CodeOptions, Frames};
use crate::event::{self, Decoded};
use crate::grant::Grants;
use crate::heap;
use crate::host::{self, MessageHandle, TaskPre};
use crate::limits::{Limit, Limits};
use crate::message::Message;
use crate::names;
use crate::outcome::{Cancel, Outcome, Remains, shorten};
use crate::state::{self, Delivered, TaskConfig, TaskState};
use crate::threads::GuestThreads;
use crate::turn::{BlockedTooLong, Timed, Times};
use crate::usage::Usage;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Instant, SystemTime};
use tokio::runtime::Handle;
use wasmtime::component::{Linker, types::ComponentItem};

/// A component that is ready to run tasks.
pub struct Component {
    start: RwLock<Start>,
    /// `None`: instances come from the system.
    pool: Option<Pool>,
    grants: Arc<Grants>,
    calls: Arc<HostCalls>,
    threads: GuestThreads,
    allocator: Allocator,
    needs: Needs,
    raw_body: bool,
    was_cached: bool,
    host: Host,
    capacity: Capacity,
}

/// What the tasks that start now begin with.
#[derive(Clone)]
struct Start {
    pre: TaskPre<TaskState>,
    config: Arc<TaskConfig>,
}

/// What a pool is made for.
#[derive(Clone, Copy)]
struct Pool {
    code: CodeOptions,
    instances: NonZeroUsize,
    frames: Frames,
}

/// Which of the granted interfaces a component imports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// It reads or writes objects.
    pub object_store: bool,
    /// It sends messages.
    pub queue: bool,
}

/// How to load a component.
pub struct LoadOptions {
    /// What its tasks may touch.
    pub grants: Grants,
    /// What a task may use.
    pub limits: Limits,
    /// The most tasks that run at once, as far as the host bears them.
    pub instances: NonZeroUsize,
    /// What they share. How much of it the component takes is found out.
    pub host: Host,
    /// The threads that guests compute on.
    pub threads: NonZeroUsize,
    /// Where instances come from.
    pub allocator: Allocator,
    /// Hand over the body of an event too, beside the objects that it announces.
    pub raw_body: bool,
    /// Random numbers and clocks depend on the message alone, and so does all that is computed.
    pub deterministic: bool,
}

/// Why a component can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It can't be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It isn't a component for wasmrun.
    #[error("{0}")]
    World(String),
    /// It can't start within the limits.
    #[error("{0}")]
    Limits(String),
    /// Beside it, the host doesn't bear one task.
    #[error(transparent)]
    TooSmall(#[from] TooSmall),
    /// The host's fault.
    #[error("the engine can't be started: {0}")]
    Engine(String),
}

/// What a task leaves behind.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// What it consumed.
    pub usage: Usage,
}

impl Component {
    /// Compiles a component, or takes it from the cache, and makes it ready: links it, reserves the pool, and
    /// instantiates it once to see that it can start. `bytes` is the content of a `.wasm` file. Stores and queues of
    /// the grants are used on the runtime that this is called on.
    ///
    /// # Errors
    ///
    /// All that would make each task fail is found here.
    pub async fn load(bytes: &[u8], compiler: &Compiler, options: LoadOptions) -> Result<Self, LoadError> {
        let LoadOptions { grants, limits, instances, host, threads, allocator, raw_body, deterministic } =
            options;
        let code = CodeOptions { deterministic, portable: false };
        // Code of our own making has names that were looked at, or an author who is trusted.
        let frames =
            if compiler.is_trusting() || names::are_short(bytes) { Frames::Named } else { Frames::None };
        let on_demand = engine::on_demand(code, &limits, frames).map_err(engine_error)?;
        let artefact = compiler.artefact(&on_demand, code, bytes).await?;
        let host = Host { component_bytes: artefact.len().max(bytes.len()) as u64, ..host };
        let capacity = capacity(instances, &limits, &host)?;
        let (instances, limits) = (capacity.instances, Limits { files: capacity.files, ..limits });
        let component = artefact.load(&on_demand)?;
        check_world(&on_demand, &component)?;
        check_numbers(&component, &limits)?;
        let needs = Needs::of(&on_demand, &component);

        let pooled = match (allocator, component.resources_required()) {
            (Allocator::OnDemand, _) | (_, None) => None,
            (_, Some(needs)) => match engine::pooling(code, instances.get(), &needs, &limits, frames) {
                // It was loaded before: what doesn't fit now is what the pool was made for.
                Ok(engine) => match artefact.load(&engine) {
                    Ok(component) => Some((component, engine)),
                    Err(error) => return Err(misfit(&error.to_string(), &limits)),
                },
                Err(error) if allocator == Allocator::Pooling => return Err(engine_error(error)),
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(
                        error,
                        "The pool can't be reserved: each instance takes its memory from the system."
                    );
                    None
                }
            },
        };
        let allocator = if pooled.is_some() { Allocator::Pooling } else { Allocator::OnDemand };
        let (component, engine) = pooled.unwrap_or((component, on_demand));

        let pre = link(&engine, &component)?;
        let pool = (allocator == Allocator::Pooling).then_some(Pool { code, instances, frames });

        let threads = GuestThreads::start(threads).map_err(|error| LoadError::Engine(error.to_string()))?;
        let calls = Arc::new(HostCalls::of(&grants));
        let grants = Arc::new(grants);
        let config = TaskConfig {
            grants: grants.clone(),
            limits,
            calls: calls.clone(),
            deterministic,
            io: Handle::current(),
            load: threads.load().clone(),
        };
        let start = RwLock::new(Start { pre, config: Arc::new(config) });
        let was_cached = artefact.was_cached();
        let component = Self {
            start,
            pool,
            grants,
            calls,
            threads,
            allocator,
            needs,
            raw_body,
            was_cached,
            host,
            capacity,
        };
        component.try_start(component.start()).await?;
        Ok(component)
    }

    /// Instantiates it once, within the limits of a task, without handling a message.
    async fn try_start(&self, start: Start) -> Result<(), LoadError> {
        let Start { pre, config } = start;
        let limits = config.limits.clone();
        let message = Message {
            id: "start".into(),
            body: String::new(),
            attributes: Vec::new(),
            receive_count: 1,
            sent_at: SystemTime::now(),
            group: None,
            trace_header: None,
        };
        let trial = self.threads.handle().spawn(async move {
            let mut store = state::store(pre.engine(), &config, &message)?;
            let started =
                tokio::time::timeout(config.limits.timeout, pre.instantiate_async(&mut store)).await;
            let limiter = &store.data().limiter;
            let refused = (limiter.refused(), limiter.refused_memory());
            store.data().log.finish();
            match started {
                Ok(Ok(_)) => Ok(Ok(())),
                Ok(Err(error)) => Ok(Err((shorten(&error.root_cause().to_string()), refused))),
                Err(_) => Ok(Err(("it takes longer than the timeout".into(), (None, None)))),
            }
        });
        let result: wasmtime::Result<_> =
            trial.await.map_err(|error| LoadError::Engine(error.to_string()))?;
        match result.map_err(engine_error)? {
            Ok(()) => Ok(()),
            Err((_, (_, Some(needed)))) => Err(LoadError::Limits(format!(
                "the component needs at least {} of memory to start, and its limit is {}: raise --memory",
                bytesize::ByteSize(needed as u64),
                bytesize::ByteSize(limits.memory_bytes as u64)
            ))),
            Err((_, (Some(Limit::TableElements), None))) => Err(too_few_table_elements(&limits)),
            Err((error, _)) => Err(misfit(&error, &limits)),
        }
    }

    /// The limits of the tasks that start now.
    pub fn limits(&self) -> Limits {
        self.start().config.limits.clone()
    }

    /// Sets other limits for the tasks that start from now on.
    ///
    /// # Errors
    ///
    /// The component can't start within them, or they would need another engine. It's then as it was.
    pub async fn set_limits(&self, limits: Limits) -> Result<(), LoadError> {
        let Start { pre, config } = self.start();
        if let Some(limit) = config.limits.engine_difference(&limits) {
            return Err(LoadError::Limits(format!("--{limit} can't be changed without a restart")));
        }
        let config = Arc::new(TaskConfig { limits, ..TaskConfig::clone(&config) });
        self.try_start(Start { pre, config: config.clone() }).await?;
        self.start_mut().config = config;
        Ok(())
    }

    /// Gives the memory back that is kept for tasks to come, by taking another pool: the engine's has no other way. Tasks
    /// that run go on in the one before, which vanishes with the last of them.
    pub(crate) async fn rest(&self) {
        let Some(pool) = self.pool else { return };
        let Start { pre, config } = self.start();
        let renewed = tokio::task::spawn_blocking(move || renew(&pre, pool, &config.limits)).await;
        let before = match renewed.map_err(|error| LoadError::Engine(error.to_string())).flatten() {
            Ok(pre) => Some(std::mem::replace(&mut self.start_mut().pre, pre)),
            // Then it keeps the one that it has.
            Err(error) => {
                tracing::warn!(%error, "The pool's memory can't be given back.");
                None
            }
        };
        // The last who holds it unmaps it, which takes a while.
        let given_back = move || {
            drop(before);
            heap::trim();
        };
        let _ = tokio::task::spawn_blocking(given_back).await;
    }

    fn start(&self) -> Start {
        self.start.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn start_mut(&self) -> RwLockWriteGuard<'_, Start> {
        self.start.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What its tasks may touch.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Which of the granted interfaces it imports.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// What its tasks asked of stores and queues until now, in numbers.
    pub fn calls(&self) -> &HostCalls {
        &self.calls
    }

    /// Whether its code was in the cache, and so wasn't compiled now.
    pub fn was_cached(&self) -> bool {
        self.was_cached
    }

    /// How many of its tasks may run at once.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// What these share, and what the component takes of it.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Where its instances come from: never [`Allocator::Auto`].
    pub fn allocator(&self) -> Allocator {
        self.allocator
    }

    /// The threads that its tasks compute on.
    pub fn threads(&self) -> &GuestThreads {
        &self.threads
    }

    /// Runs the task of a message to its end, or until its time is over or `cancelled` says so. The guest computes
    /// on the thread that polls this: spawn it on [`Component::threads`]. Dropping it ends the task.
    pub async fn run(&self, message: Arc<Message>, cancelled: impl Future<Output = Cancel>) -> Report {
        match self.prepare(message) {
            Ok(delivered) => self.run_prepared(Arc::new(delivered), cancelled).await,
            Err(outcome) => Report { outcome, usage: Usage::default() },
        }
    }

    /// One task, from an empty store to its report.
    async fn run_prepared(
        &self,
        delivered: Arc<Delivered>,
        cancelled: impl Future<Output = Cancel>,
    ) -> Report {
        let began = Instant::now();
        let queued = SystemTime::now().duration_since(delivered.message.sent_at).unwrap_or_default();
        let Start { pre, config } = self.start();
        let limits = &config.limits;
        let mut store = match state::store(pre.engine(), &config, &delivered.message) {
            Ok(store) => store,
            Err(error) => {
                let outcome = Outcome::HostFailed { what: format!("no store: {error:#}") };
                return Report { outcome, usage: Usage { queued, ..Usage::default() } };
            }
        };

        let mut times = Times::default();
        let mut started = None;
        let result = {
            let turn = store.data().turn.clone();
            let call = async {
                let instance = match pre.instantiate_async(&mut store).await {
                    Ok(instance) => instance,
                    Err(error) => {
                        let has_run = store.get_fuel().is_ok_and(|left| left < limits.fuel);
                        return Err(host::not_started(error, has_run));
                    }
                };
                started = Some(began.elapsed());
                let message = store.data_mut().table.push(MessageHandle(delivered))?;
                instance.wasmrun_task_handler().call_handle(&mut store, message).await
            };
            let call = pin!(call);
            let most_blocked = Some(limits.blocked_time()).filter(|&time| time < limits.timeout);
            // A task that never waits ends before the timer is even set.
            tokio::select! {
                biased;
                result = Timed::new(call, turn, &mut times, most_blocked) => match result {
                    Ok(result) => Ok(result),
                    Err(BlockedTooLong) => Err(Outcome::LimitExceeded { limit: Limit::BlockedTime }),
                },
                why = cancelled => Err(Outcome::Cancelled { why }),
                () = tokio::time::sleep(limits.timeout) => Err(Outcome::TimedOut),
            }
        };

        let fuel_left = store.get_fuel().unwrap_or_default();
        let state = store.data_mut();
        state.log.finish();
        let in_call = state.unanswered();
        // The task is over: nobody asks any more whether that was too much.
        let _ = state.count_transfer();
        let outcome = match result {
            Ok(result) => {
                if let Err(error) = &result {
                    state.log.failed(error);
                }
                let TaskState { limiter, host_failure, log, .. } = &*state;
                let last_words = log.last_words();
                let host_failure = host_failure.as_ref().map(|failure| failure.what.as_str());
                Outcome::classify(result, &Remains { limiter, host_failure, last_words })
            }
            Err(outcome @ Outcome::TimedOut) => outcome.out_of_time(limits.timeout, in_call),
            Err(outcome @ Outcome::LimitExceeded { .. }) => {
                outcome.out_of_time(limits.blocked_time(), in_call)
            }
            Err(outcome) => outcome,
        };
        let mut usage = std::mem::take(&mut state.usage);
        usage.fuel = limits.fuel.saturating_sub(fuel_left);
        usage.peak_memory_bytes = state.limiter.memory_bytes() as u64;
        usage.log_bytes = state.log.bytes();
        usage.random_bytes = state.random.bytes();
        // Memory, handles and half-written objects are gone before the message is settled.
        drop(store);
        let Times { cpu, blocked, ready } = times;
        let wall = began.elapsed();
        let start = started.unwrap_or(wall);
        let compute = wall.saturating_sub(start).saturating_sub(blocked).saturating_sub(ready);
        let usage = Usage { cpu, queued, start, compute, blocked, ready, wall, ..usage };
        Report { outcome, usage }
    }

    /// Decodes what the message announces.
    fn prepare(&self, message: Arc<Message>) -> Result<Delivered, Outcome> {
        let mut body_hidden = false;
        let objects = match event::decode(&message.body) {
            Decoded::Plain => Vec::new(),
            Decoded::Unclear(reason) => {
                tracing::warn!(
                    message_id = message.id,
                    reason = shorten(&reason),
                    "The message looks like an event and is delivered as text."
                );
                Vec::new()
            }
            Decoded::Test => return Err(Outcome::Completed),
            Decoded::Objects(events) => {
                let objects = self.grants.announce(events).map_err(|url| {
                    tracing::warn!(
                        message_id = message.id,
                        object = shorten(&url),
                        "No readable grant holds the object."
                    );
                    Outcome::Rejected {
                        reason: "no grant: the message announces an object outside every readable store"
                            .into(),
                    }
                })?;
                body_hidden = !self.raw_body;
                objects
            }
        };
        Ok(Delivered { message, body_hidden, objects })
    }
}

/// Makes a component ready to be instantiated.
fn link(
    engine: &wasmtime::Engine,
    component: &wasmtime::component::Component,
) -> Result<TaskPre<TaskState>, LoadError> {
    let mut linker = Linker::new(engine);
    host::add_to_linker(&mut linker).map_err(engine_error)?;
    let pre = linker.instantiate_pre(component).map_err(|error| LoadError::World(missing(&error)))?;
    let pre = TaskPre::new(pre).map_err(|error| LoadError::World(missing(&error)))?;
    component.initialize_copy_on_write_image().map_err(engine_error)?;
    Ok(pre)
}

/// The same component in a pool that is new.
fn renew(before: &TaskPre<TaskState>, pool: Pool, limits: &Limits) -> Result<TaskPre<TaskState>, LoadError> {
    let component = before.instance_pre().component();
    let Some(needs) = component.resources_required() else {
        return Err(LoadError::Engine("the component doesn't say what it needs".into()));
    };
    let engine = engine::pooling(pool.code, pool.instances.get(), &needs, limits, pool.frames)
        .map_err(engine_error)?;
    let artefact = Artefact::of(component).map_err(engine_error)?;
    link(&engine, &artefact.load(&engine)?)
}

impl Needs {
    fn of(engine: &wasmtime::Engine, component: &wasmtime::component::Component) -> Self {
        let ty = component.component_type();
        let imports = |interface: &str| ty.imports(engine).any(|(name, _)| name.starts_with(interface));
        Self { object_store: imports("wasmrun:task/object-store@"), queue: imports("wasmrun:task/queue@") }
    }
}

fn too_few_table_elements(limits: &Limits) -> LoadError {
    LoadError::Limits(format!(
        "the component's tables need more elements to start than its limit of {}: raise --table-elements",
        limits.table_elements
    ))
}

/// Refuses a component that consists of more than a task may have, in words that name the flag.
fn check_numbers(component: &wasmtime::component::Component, limits: &Limits) -> Result<(), LoadError> {
    let Some(needs) = component.resources_required() else { return Ok(()) };
    for (number, most, limit) in [
        (needs.num_memories, limits.memories, Limit::Memories),
        (needs.num_tables, limits.tables, Limit::Tables),
    ] {
        if number as usize > most {
            return Err(LoadError::Limits(format!(
                "the component has {number} {limit}, and its limit is {most}: raise --{limit}"
            )));
        }
    }
    Ok(())
}

/// Why a component that is well-formed can't start, from the engine's words.
fn misfit(error: &str, limits: &Limits) -> LoadError {
    // "... count too high at 17" of wasmtime's stores, "transitively contains 17 core module instances" of its pool.
    if error.contains("instance count too high") || error.contains("core module instances") {
        LoadError::Limits(format!(
            "the component has more core instances than its limit of {}: raise --core-instances",
            limits.core_instances
        ))
    } else if error.contains("table does not fit") {
        too_few_table_elements(limits)
    } else {
        LoadError::Limits(format!("the component can't start: {error}"))
    }
}

fn engine_error(error: wasmtime::Error) -> LoadError {
    LoadError::Engine(format!("{error:#}"))
}

/// Says what a component of another world lacks, before the linker says it in its own words.
fn check_world(
    engine: &wasmtime::Engine,
    component: &wasmtime::component::Component,
) -> Result<(), LoadError> {
    const HANDLER: &str = "wasmrun:task/handler@";
    let ty = component.component_type();
    let exports: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
    if exports.iter().any(|name| name.starts_with(HANDLER)) {
        return Ok(());
    }
    let instead = if exports.iter().any(|name| name.starts_with("wasi:cli/run@")) {
        ": it is a command (a program with main)"
    } else if exports.iter().any(|name| name.starts_with("wasi:http/")) {
        ": it is an HTTP handler"
    } else {
        ""
    };
    Err(LoadError::World(format!(
        "the component doesn't export wasmrun:task/handler@0.1.0{instead}. Build it as a library (crate-type cdylib) against the world wasmrun:task/task"
    )))
}

/// What the linker misses, in one sentence.
fn missing(error: &wasmtime::Error) -> String {
    shorten(&format!("the component doesn't fit the world wasmrun:task/task@0.1.0: {error:#}"))
}

/// The names of what a component imports and exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interfaces {
    /// In its own order.
    pub imports: Vec<String>,
    /// In its own order.
    pub exports: Vec<String>,
    /// Which grants it needs.
    pub needs: Needs,
    /// Whether it can run here; if not, why.
    pub fits: Result<(), String>,
    /// Its memories at the start, in bytes, where that is known without starting it.
    pub initial_memory_bytes: Option<u64>,
}

/// Compiles a component into a file that [`Compiler::precompiled`] takes.
///
/// # Errors
///
/// It can't be compiled, or isn't a component for wasmrun.
#[cfg(feature = "compiler")]
pub async fn precompile(bytes: &[u8], compiler: &Compiler, code: CodeOptions) -> Result<Vec<u8>, LoadError> {
    let artefact = compiler.artefact(&engine::compiling(code).map_err(engine_error)?, code, bytes).await?;
    let engine = engine::looking(code).map_err(engine_error)?;
    check_world(&engine, &artefact.load(&engine)?)?;
    Ok(artefact.pack(code))
}

/// Looks at a component without running it.
///
/// # Errors
///
/// It can't be compiled.
pub async fn inspect(bytes: &[u8], compiler: &Compiler) -> Result<Interfaces, LoadError> {
    let code = compiler.options_of(bytes);
    let engine = engine::looking(code).map_err(engine_error)?;
    let component = compiler.artefact(&engine, code, bytes).await?.load(&engine)?;
    let ty = component.component_type();
    let mut linker = Linker::new(&engine);
    host::add_to_linker(&mut linker).map_err(engine_error)?;
    let fits = check_world(&engine, &component).map_err(|error| error.to_string()).and_then(|()| {
        linker.instantiate_pre(&component).and_then(TaskPre::new).map(|_| ()).map_err(|error| missing(&error))
    });
    let name = |name: &str, item: &ComponentItem| match item {
        ComponentItem::ComponentInstance(_) => name.to_owned(),
        ComponentItem::ComponentFunc(_) => format!("{name} (a function)"),
        _ => format!("{name} (a type)"),
    };
    Ok(Interfaces {
        imports: ty.imports(&engine).map(|(n, item)| name(n, &item.ty)).collect(),
        exports: ty.exports(&engine).map(|(n, item)| name(n, &item.ty)).collect(),
        needs: Needs::of(&engine, &component),
        fits,
        initial_memory_bytes: component
            .resources_required()
            .and_then(|needs| needs.max_initial_memory_size)
            .map(|pages| pages.saturating_mul(64 << 10)),
    })
}

#[cfg(all(test, feature = "compiler"))]
mod tests {
    use super::*;
    use crate::capacity::{HostMemory, MemorySource};

    const HOST: HostMemory = HostMemory { bytes: 1 << 20, source: MemorySource::Cgroup };

    /// A component of one module with so many functions, and what is kept for it where nothing fits.
    async fn kept_for(functions: usize) -> (u64, u64) {
        let function =
            "(func (param i64) (result i64) (i64.mul (local.get 0) (local.get 0)))".repeat(functions);
        let bytes = wat::parse_str(format!("(component (core module {function}))")).expect("a component");
        let options = LoadOptions {
            grants: Grants::default(),
            limits: Limits::default(),
            instances: NonZeroUsize::MIN,
            host: Host { memory: Some(HOST), ..Host::default() },
            threads: NonZeroUsize::MIN,
            allocator: Allocator::OnDemand,
            raw_body: false,
            deterministic: false,
        };
        match Component::load(&bytes, &Compiler::in_process(), options).await {
            Err(LoadError::TooSmall(TooSmall::Memory { kept_bytes, .. })) => (bytes.len() as u64, kept_bytes),
            other => panic!("{:?}", other.err()),
        }
    }

    #[tokio::test]
    async fn the_code_that_a_component_becomes_leaves_room_for_fewer_tasks() {
        let ((small, little), (large, much)) = (kept_for(1).await, kept_for(20_000).await);
        assert!(much - little > 8 * (large - small), "of {small} and {large} bytes: {little} and {much}");
    }
}
