//! Loading a component: all that would make each of its tasks fail is found here.

use super::inspect::Needs;
use super::{Component, Pool};
use crate::engine::capacity::{Host, TooSmall, capacity};
use crate::engine::compile::{Artefact, CompileError, Compiler};
use crate::engine::names;
use crate::engine::threads::GuestThreads;
use crate::engine::{self, Allocator, CodeOptions, Frames};
use crate::model::limits::{Limit, Limits};
use crate::model::message::Message;
use crate::model::outcome::shorten;
use crate::task::calls::HostCalls;
use crate::task::classify::{limit_before, limit_in};
use crate::task::grant::Grants;
use crate::task::host::{self, TaskPre};
use crate::task::limiter::Limiter;
use crate::task::metering::{BlockedTooLong, Metered, Times};
use crate::task::store::{self, TaskConfig, TaskState};
use parking_lot::RwLock;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use tokio::runtime::Handle;
use wasmtime::Engine;
use wasmtime::component::{Component as Code, Linker};

/// How to load a component.
pub struct LoadOptions {
    /// What its tasks may touch.
    pub grants: Grants,
    /// What a task may use.
    pub limits: Limits,
    /// The most tasks that run at once, as far as the host bears them.
    pub instances: NonZeroUsize,
    /// What they share.
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
        // What doesn't fit whatever becomes of it needn't be compiled.
        capacity(instances, &limits, &host, bytes.len() as u64)?;
        let code = CodeOptions { deterministic, portable: false };
        // Code of our own making has names that were looked at, or an author who is trusted.
        let frames =
            if compiler.is_trusting() || names::are_short(bytes) { Frames::Named } else { Frames::None };
        let on_demand = engine::on_demand(code, &limits, frames).map_err(engine_error)?;
        let artefact = compiler.artefact(&on_demand, code, bytes).await?;
        let component_bytes = artefact.len().max(bytes.len()) as u64;
        let capacity = capacity(instances, &limits, &host, component_bytes)?;
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
                        "cannot reserve the instance pool: each instance takes its memory from the system"
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
        let config = Arc::new(TaskConfig {
            grants: grants.clone(),
            limits,
            calls: calls.clone(),
            deterministic,
            io: Handle::current(),
            load: threads.load().clone(),
        });
        try_start(&threads, pre.clone(), config.clone()).await?;
        let was_cached = artefact.was_cached();
        Ok(Self {
            pre: RwLock::new(pre),
            config,
            pool,
            grants,
            calls,
            threads,
            allocator,
            needs,
            raw_body,
            was_cached,
            capacity,
        })
    }
}

/// Instantiates it once, within the limits of a task, without handling a message.
async fn try_start(
    threads: &GuestThreads,
    pre: TaskPre<TaskState>,
    config: Arc<TaskConfig>,
) -> Result<(), LoadError> {
    let message = Message::new("start", "");
    let started = threads.handle().spawn(async move {
        let limits = &config.limits;
        let mut store = store::task_store(pre.engine(), &config, &message)?;
        let started = {
            let (time_slice, mut times) = (store.data().time_slice.clone(), Times::default());
            let call = pin!(pre.instantiate_async(&mut store));
            let most_blocked = Some(limits.blocked_time()).filter(|&time| time < limits.timeout);
            tokio::time::timeout(limits.timeout, Metered::new(call, time_slice, &mut times, most_blocked))
                .await
        };
        store.data().log.finish();
        let limiter = &store.data().limiter;
        Ok(match started {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(error))) => Err(not_started(&error, limiter, limits)),
            Ok(Err(BlockedTooLong)) => Err(exceeded(Limit::BlockedTime)),
            Err(_) => Err(LoadError::Limits(format!(
                "the component takes longer than the timeout of {:?} to start: raise --timeout",
                limits.timeout
            ))),
        })
    });
    let result: wasmtime::Result<_> = started.await.map_err(|error| LoadError::Engine(error.to_string()))?;
    result.map_err(engine_error)?
}

/// Names the limit that ended a start. As with a task, what was refused before counts only if the error names no limit
/// itself: code may ask for more memory than there is and cope.
fn not_started(error: &wasmtime::Error, limiter: &Limiter, limits: &Limits) -> LoadError {
    LoadError::Limits(match limit_in(error).or_else(|| limit_before(error, limiter)) {
        Some(Limit::Fuel) => {
            format!("the component burns more fuel to start than its limit of {}: raise --fuel", limits.fuel)
        }
        Some(Limit::Memory) => format!(
            "the component needs at least {} of memory to start, and its limit is {}: raise --memory",
            shown(limiter.refused_memory().unwrap_or(limits.memory_bytes)),
            shown(limits.memory_bytes)
        ),
        Some(Limit::TableElements) => return too_few_table_elements(limits),
        Some(limit) => return exceeded(limit),
        None => return misfit(&shorten(&error.root_cause().to_string()), limits),
    })
}

fn exceeded(limit: Limit) -> LoadError {
    LoadError::Limits(format!("the component exceeds its limit of {limit} when it starts: raise --{limit}"))
}

/// Makes a component ready to be instantiated.
pub(super) fn link(engine: &Engine, component: &Code) -> Result<TaskPre<TaskState>, LoadError> {
    let mut linker = Linker::new(engine);
    host::add_to_linker(&mut linker).map_err(engine_error)?;
    let pre = linker.instantiate_pre(component).map_err(|error| LoadError::World(missing(&error)))?;
    let pre = TaskPre::new(pre).map_err(|error| LoadError::World(missing(&error)))?;
    component.initialize_copy_on_write_image().map_err(engine_error)?;
    Ok(pre)
}

/// The same component in a pool that is new.
pub(super) fn renew(
    before: &TaskPre<TaskState>,
    pool: Pool,
    limits: &Limits,
) -> Result<TaskPre<TaskState>, LoadError> {
    let component = before.instance_pre().component();
    let Some(needs) = component.resources_required() else {
        return Err(LoadError::Engine("the component doesn't say what it needs".into()));
    };
    let engine = engine::pooling(pool.code, pool.instances.get(), &needs, limits, pool.frames)
        .map_err(engine_error)?;
    let artefact = Artefact::of(component).map_err(engine_error)?;
    link(&engine, &artefact.load(&engine)?)
}

fn shown(bytes: usize) -> String {
    bytesize::ByteSize(bytes as u64).to_string()
}

fn too_few_table_elements(limits: &Limits) -> LoadError {
    LoadError::Limits(format!(
        "the component's tables need more elements to start than its limit of {}: raise --table-elements",
        limits.table_elements
    ))
}

/// Refuses a component that consists of more than a task may have, in words that name the flag.
fn check_numbers(component: &Code, limits: &Limits) -> Result<(), LoadError> {
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

pub(super) fn engine_error(error: wasmtime::Error) -> LoadError {
    LoadError::Engine(format!("{error:#}"))
}

/// Says what a component of another world lacks, before the linker says it in its own words.
pub(super) fn check_world(engine: &Engine, component: &Code) -> Result<(), LoadError> {
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
pub(super) fn missing(error: &wasmtime::Error) -> String {
    shorten(&format!("the component doesn't fit the world wasmrun:task/task@0.1.0: {error:#}"))
}

#[cfg(all(test, feature = "compiler"))]
mod tests {
    use super::*;
    use crate::engine::capacity::{HostMemory, MemorySource};

    fn host(bytes: u64) -> Host {
        Host { memory: Some(HostMemory { bytes, source: MemorySource::Cgroup }), ..Host::default() }
    }

    async fn load(bytes: &[u8], host: Host) -> LoadError {
        let options = LoadOptions {
            grants: Grants::default(),
            limits: Limits::default(),
            instances: NonZeroUsize::MIN,
            host,
            threads: NonZeroUsize::MIN,
            allocator: Allocator::OnDemand,
            raw_body: false,
            deterministic: false,
        };
        Component::load(bytes, &Compiler::in_process(), options).await.err().expect("an error")
    }

    #[tokio::test]
    async fn where_no_task_fits_nothing_is_compiled() {
        let error = load(b"no component", host(1 << 20)).await;
        assert!(matches!(error, LoadError::TooSmall(TooSmall::Memory { .. })), "{error}");
    }

    #[tokio::test]
    async fn the_code_that_a_component_becomes_leaves_room_for_fewer_tasks() {
        let functions =
            "(func (param i64) (result i64) (i64.mul (local.get 0) (local.get 0)))".repeat(20_000);
        let bytes = wat::parse_str(format!("(component (core module {functions}))")).expect("a component");
        // So many MiB that one task fits beside the file.
        let fits = |mib: &u64| {
            capacity(NonZeroUsize::MIN, &Limits::default(), &host(mib << 20), bytes.len() as u64).is_ok()
        };
        let mib = (1..).find(fits).expect("a number");
        let error = load(&bytes, host(mib << 20)).await;
        assert!(matches!(error, LoadError::TooSmall(TooSmall::Memory { .. })), "{error}");
    }
}
