//! Loads a component, and detects everything that would make each of its tasks fail.

use super::fits::{check_file, read_file};
use super::inspect::Needs;
use super::parts::Parts;
use super::refresh::Refreshes;
use super::refusal::{LoadError, engine_error, exceeded, misfit, missing, not_started};
use super::rollout::Versions;
use super::{Component, Pool, Version};
use crate::engine::capacity::{Capacity, Host, capacity};
use crate::engine::compile::{Artefact, Compiler};
use crate::engine::names;
use crate::engine::threads::GuestThreads;
use crate::engine::{self, Allocator, CodeOptions, Frames};
use crate::model::limits::{Limit, Limits};
use crate::model::message::Message;
use crate::model::trace::Sampling;
use crate::ports::requests::Requests;
use crate::task::calls::HostCalls;
use crate::task::command::{COMMAND_BYTES, CommandOptions};
use crate::task::grant::Grants;
use crate::task::host;
use crate::task::metering::{BlockedTooLong, Metered, Times};
use crate::task::service::SERVICE_BYTES;
use crate::task::store::{self, Delivered, TaskConfig};
use crate::task::world::{Linked, World};
use crate::task::{by_key, directory};
use parking_lot::RwLock;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::runtime::Handle;
use wasmtime::component::{Component as Code, Linker};
use wasmtime::{Engine, ResourcesRequired};

/// Options for loading a component: a field for each choice of the caller.
pub struct LoadOptions {
    /// Name of the component in records of tasks and in dead letters.
    pub name: String,
    /// Grants of its tasks.
    pub grants: Grants,
    /// Limits of a task.
    pub limits: Limits,
    /// Maximum number of concurrent tasks; the host's capacity may allow fewer.
    pub instances: NonZeroUsize,
    /// Resources that the tasks share.
    pub host: Host,
    /// Threads on which guests compute. Components of one worker share them.
    pub threads: Arc<GuestThreads>,
    /// Where instances come from.
    pub allocator: Allocator,
    /// Pass the body of an event to the guest, in addition to the objects that it announces.
    pub raw_body: bool,
    /// How the component is run if it is a command.
    pub command: CommandOptions,
    /// Where the tasks get their HTTP requests, if the component is run as a service; `None`: they handle messages.
    pub requests: Option<Arc<dyn Requests>>,
    /// Random numbers and clocks depend only on the message, and so do all results.
    pub deterministic: bool,
    /// The share of new traces that is exported; `None`: no trace is. A task whose message has no trace starts one only if
    /// traces are exported.
    pub sampling: Option<Sampling>,
    /// Whether the report of a task lists the objects that it wrote.
    pub records_outputs: bool,
    /// Whether [`Component::refresh`] will be called: memory is reserved for the code of two versions.
    pub refreshed: bool,
}

impl LoadOptions {
    /// Creates options for a component that runs one task at a time, with the default limits and without grants.
    pub fn new(name: impl Into<String>, threads: Arc<GuestThreads>) -> Self {
        Self {
            name: name.into(),
            grants: Grants::default(),
            limits: Limits::default(),
            instances: NonZeroUsize::MIN,
            host: Host::default(),
            threads,
            allocator: Allocator::default(),
            raw_body: false,
            command: CommandOptions::default(),
            requests: None,
            deterministic: false,
            sampling: None,
            records_outputs: false,
            refreshed: false,
        }
    }
}

/// What all versions of a component have in common.
pub(super) struct Common {
    /// Name and number of instances are those of the first version.
    pub(super) options: LoadOptions,
    pub(super) calls: Arc<HostCalls>,
    /// Bytes of the code of other components in this process.
    pub(super) other_bytes: u64,
    pub(super) io: Handle,
}

/// A version, and what was found on the way to it.
pub(super) struct Loaded {
    pub(super) version: Version,
    pub(super) capacity: Capacity,
    was_cached: bool,
    code_bytes: u64,
}

impl Component {
    /// Compiles a component or takes its code from the cache, links it, reserves the pool, and instantiates it once to
    /// check that it can start. `bytes` is the content of a `.wasm` file. Stores and queues of the grants are used on
    /// the runtime on which this is called.
    ///
    /// # Errors
    ///
    /// Everything that would make each task fail.
    pub async fn load(bytes: &[u8], compiler: &Compiler, options: LoadOptions) -> Result<Self, LoadError> {
        let calls = Arc::new(HostCalls::of(&options.grants));
        let common = Common { options, calls, other_bytes: 0, io: Handle::current() };
        let LoadOptions { name, instances, .. } = &common.options;
        let Loaded { version, capacity, was_cached, code_bytes } =
            Version::load(name.clone(), bytes, compiler, &common, *instances).await?;
        let versions = RwLock::new(Versions { current: Arc::new(version), candidate: None });
        Ok(Self {
            versions,
            refreshes: Refreshes::default(),
            common,
            was_cached,
            capacity,
            code_bytes,
            has_completed: AtomicBool::new(false),
        })
    }
}

impl Version {
    pub(super) async fn load(
        name: String,
        bytes: &[u8],
        compiler: &Compiler,
        common: &Common,
        instances: NonZeroUsize,
    ) -> Result<Loaded, LoadError> {
        let LoadOptions { host, deterministic, .. } = common.options;
        let versions = if common.options.refreshed { 2 } else { 1 };
        let fitting = |limits: &Limits, code_bytes: usize| {
            let code_bytes = common.other_bytes.saturating_add(versions * code_bytes as u64);
            capacity(instances, limits, &host, code_bytes)
        };
        // A component that doesn't fit in any case needn't be compiled.
        let limits = common.limits_of_file(bytes, compiler)?;
        fitting(&limits, bytes.len())?;
        let code = CodeOptions { deterministic, portable: false };
        // The author of precompiled code is trusted; other components have their names checked.
        let frames =
            if compiler.is_trusting() || names::are_short(bytes) { Frames::Named } else { Frames::None };
        let on_demand = engine::on_demand(code, &limits, frames).map_err(engine_error)?;
        let artefact = compiler.artefact(&on_demand, code, bytes).await?;
        let code_bytes = artefact.len().max(bytes.len());
        fitting(&limits, code_bytes)?;
        let component = artefact.load(&on_demand)?;
        let ty = component.component_type();
        let world = common.check_exports(ty.exports(&on_demand).map(|(name, _)| name), None)?;
        common.check_grants(world).map_err(LoadError::World)?;
        let needs = Needs::of_code(&on_demand, &component);
        let limits = common.limits_of_code(world, &needs, limits);
        let capacity = fitting(&limits, code_bytes)?;
        let limits = Limits { files: capacity.files, ..limits };
        // The parts of precompiled code aren't read from its file.
        if let Some(ResourcesRequired { num_memories, num_tables, .. }) = component.resources_required() {
            let (memories, tables) = (num_memories.into(), num_tables.into());
            Parts { memories, tables, ..Parts::default() }.check(&limits)?;
        }

        let pool = Pool { code, instances: capacity.instances, frames };
        let pooled = pooled(common.options.allocator, &component, &artefact, pool, &limits)?;
        let pool = pooled.is_some().then_some(pool);
        let (component, engine) = pooled.unwrap_or((component, on_demand));

        let pre = link(&engine, &component, world)?;
        let config = Arc::new(common.task_config(world, limits));
        try_start(&common.options.threads, pre.clone(), config.clone()).await?;
        let version = Self { name: name.into(), pre, config, pool, needs, tally: Arc::default() };
        let code_bytes = versions * code_bytes as u64;
        Ok(Loaded { version, capacity, was_cached: artefact.was_cached(), code_bytes })
    }
}

impl Common {
    /// Checks what a component's file shows before it is compiled. Returns the limits, tightened to what the component can
    /// have.
    fn limits_of_file(&self, bytes: &[u8], compiler: &Compiler) -> Result<Limits, LoadError> {
        let limits = self.options.limits.clone();
        let outline = if compiler.is_trusting() { None } else { read_file(bytes)? };
        let Some(outline) = outline else { return Ok(limits) };
        check_file(&outline)?;
        self.check_exports(outline.exports.iter().map(|(name, _)| *name), outline.author)?;
        let Some(parts) = outline.parts else { return Ok(limits) };
        parts.check(&limits)?;
        Ok(parts.tighten(limits))
    }

    /// Checks the options and grants that have an effect only in some worlds, or only together.
    fn check_grants(&self, world: World) -> Result<(), String> {
        let LoadOptions { command, grants, .. } = &self.options;
        match world {
            World::Command => command.check(grants)?,
            World::Task | World::SpinSqs | World::Messaging | World::Service => {
                command.check_unused(world)?
            }
        }
        directory::check(grants)?;
        by_key::check(grants)
    }

    /// Returns the limits with the bytes that the host holds for each task of a component with this world and these needs.
    fn limits_of_code(&self, world: World, needs: &Needs, limits: Limits) -> Limits {
        let command_bytes = match world {
            World::Command => COMMAND_BYTES,
            World::Service => SERVICE_BYTES,
            World::Task | World::SpinSqs | World::Messaging => 0,
        };
        let has_values = needs.values || !self.options.grants.directories.is_empty();
        let values_bytes = if has_values { Limits::VALUES_BYTES } else { 0 };
        Limits { command_bytes, values_bytes, has_http: needs.http, ..limits }
    }

    fn task_config(&self, world: World, limits: Limits) -> TaskConfig {
        let options = &self.options;
        TaskConfig {
            grants: Arc::new(options.grants.clone()),
            limits,
            calls: self.calls.clone(),
            command: (world == World::Command).then(|| Arc::new(options.command.clone())),
            requests: options.requests.clone(),
            deterministic: options.deterministic,
            sampling: options.sampling,
            records_outputs: options.records_outputs,
            io: self.io.clone(),
            load: options.threads.load().clone(),
        }
    }
}

/// Loads the code into an engine with an instance pool. Returns `None` without a pool, if `allocator` allows that.
fn pooled(
    allocator: Allocator,
    component: &Code,
    artefact: &Artefact,
    pool: Pool,
    limits: &Limits,
) -> Result<Option<(Code, Engine)>, LoadError> {
    let needs = component.resources_required().filter(|_| allocator != Allocator::OnDemand);
    let Some(needs) = needs else { return Ok(None) };
    let engine = match pool.engine(&needs, limits) {
        Ok(engine) => engine,
        Err(error) if allocator == Allocator::Pooling => return Err(engine_error(error)),
        Err(error) => {
            let error = format!("{error:#}");
            tracing::warn!(
                error,
                "cannot reserve the instance pool: each instance takes its memory from the system"
            );
            return Ok(None);
        }
    };
    // The code was loaded before, so a failure now means that the component exceeds the pool's limits.
    let component = artefact.load(&engine).map_err(|error| misfit(&error.to_string(), limits))?;
    Ok(Some((component, engine)))
}

impl Pool {
    /// Creates an engine with the pool, for a component that needs this.
    fn engine(self, needs: &ResourcesRequired, limits: &Limits) -> wasmtime::Result<Engine> {
        engine::pooling(self.code, self.instances.get(), needs, limits, self.frames)
    }
}

/// Instantiates the component once, within the limits of a task, without handling a message.
async fn try_start(threads: &GuestThreads, pre: Linked, config: Arc<TaskConfig>) -> Result<(), LoadError> {
    let delivered = Arc::new(Delivered::plain(Arc::new(Message::new("start", ""))));
    let started = threads.handle().spawn(async move {
        let limits = &config.limits;
        let mut store = store::task_store(pre.engine(), &config, &delivered)?;
        let started = {
            let (time_slice, mut times) = (store.data().time_slice.clone(), Times::default());
            let call = pin!(pre.instantiate(&mut store));
            let most_blocked = limits.blocked_bound();
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

/// Prepares a component for instantiation.
pub(super) fn link(engine: &Engine, component: &Code, world: World) -> Result<Linked, LoadError> {
    let mut linker = Linker::new(engine);
    host::add_to_linker(&mut linker).map_err(engine_error)?;
    let pre = linker.instantiate_pre(component).and_then(|pre| Linked::new(world, pre));
    let pre = pre.map_err(|error| LoadError::World(missing(world, &error)))?;
    // The kernel refuses to seal the image's pages while it moves them, although it waits a little.
    let image = || component.initialize_copy_on_write_image();
    image().or_else(|_| image()).or_else(|_| image()).map_err(engine_error)?;
    Ok(pre)
}

/// Links the same component in a new pool.
pub(super) fn renew(before: &Linked, pool: Pool, limits: &Limits) -> Result<Linked, LoadError> {
    let component = before.component();
    let Some(needs) = component.resources_required() else {
        return Err(LoadError::Engine("the component does not say what it needs".into()));
    };
    let engine = pool.engine(&needs, limits).map_err(engine_error)?;
    let artefact = Artefact::of(component).map_err(engine_error)?;
    link(&engine, &artefact.load(&engine)?, before.world())
}

#[cfg(all(test, feature = "compiler"))]
mod tests {
    use super::*;
    use crate::engine::capacity::{HostMemory, MemorySource, TooSmall};

    fn host(bytes: u64) -> Host {
        Host { memory: Some(HostMemory { bytes, source: MemorySource::Cgroup }), ..Host::default() }
    }

    async fn load(bytes: &[u8], host: Host) -> LoadError {
        let threads = Arc::new(GuestThreads::start(NonZeroUsize::MIN).expect("a thread"));
        let options =
            LoadOptions { host, allocator: Allocator::OnDemand, ..LoadOptions::new("component", threads) };
        Component::load(bytes, &Compiler::in_process(), options).await.err().expect("an error")
    }

    #[tokio::test]
    async fn where_no_task_fits_nothing_is_compiled() {
        let error = load(b"no component", host(1 << 20)).await;
        assert!(matches!(error, LoadError::TooSmall(TooSmall::Memory { .. })), "{error}");
    }

    #[tokio::test]
    async fn what_imports_what_is_not_offered_is_refused_before_it_is_compiled() {
        // The body doesn't validate, so compiling would fail with another error.
        let text = r#"(component
            (import "wasi:http/incoming-handler@0.2.0" (instance (export "f" (func))))
            (core module (func (result i32)))
            (instance $handler)
            (export "wasmrun:task/handler@0.1.0" (instance $handler)))"#;
        let error = load(&wat::parse_str(text).expect("a component"), Host::default()).await;
        assert!(
            matches!(&error, LoadError::World(text) if text.contains("wasi:http/incoming-handler@0.2.0")),
            "{error}"
        );
    }

    #[tokio::test]
    async fn the_code_that_a_component_becomes_leaves_room_for_fewer_tasks() {
        let functions =
            "(func (param i64) (result i64) (i64.mul (local.get 0) (local.get 0)))".repeat(20_000);
        let handler = r#"(instance $h) (export "wasmrun:task/handler@0.1.0" (instance $h))"#;
        let text = format!("(component (core module {functions}) {handler})");
        let bytes = wat::parse_str(text).expect("a component");
        // Sizes of memory in MiB on which one task fits in addition to the file.
        let parts = read_file(&bytes).expect("no module").and_then(|outline| outline.parts).expect("counted");
        let limits = parts.tighten(Limits::default());
        let fits =
            |mib: &u64| capacity(NonZeroUsize::MIN, &limits, &host(mib << 20), bytes.len() as u64).is_ok();
        let mib = (1..).find(fits).expect("a number");
        let error = load(&bytes, host(mib << 20)).await;
        assert!(matches!(error, LoadError::TooSmall(TooSmall::Memory { .. })), "{error}");
    }
}
