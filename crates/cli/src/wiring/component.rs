//! Reads a component, opens its grants, and loads it. `routes` does so for all components of a worker.

use super::backends::{Backends, http_client, open_bucket, streams_bytes};
use super::protected::{FileUse, Protected, refuse_protected};
use crate::output::failure::Failure;
use crate::settings::engine::CompileSettings;
use crate::settings::grants::{HttpSetting, StoreSetting};
use crate::settings::read::{read_file, regular};
use crate::settings::registry::RegistrySettings;
use crate::settings::source::Source;
use crate::settings::task::TaskPlan;
use rustix::process::{Resource, getrlimit};
use std::future::pending;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use tracing::Instrument;
use wasmrun_registry::{Digest, Reference};
use wasmrun_runtime::engine::cache::Cache;
use wasmrun_runtime::engine::capacity::{Host, HostMemory};
use wasmrun_runtime::engine::compile::{Compiler, MAX_COMPONENT_BYTES};
use wasmrun_runtime::engine::threads::GuestThreads;
use wasmrun_runtime::model::key::KeySource;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::message::Message;
use wasmrun_runtime::ports::requests::Requests;
use wasmrun_runtime::task::component::{Component, Grantable, LoadOptions, Report};
use wasmrun_runtime::task::grant::{BucketGrant, Grants, StoreGrant};
use wasmrun_runtime::task::http::HttpGrant;
use wasmrun_runtime::task::routes::Routes;

/// Maximum size of precompiled code. Code is about three times as large as its component, and larger without
/// optimisation.
const MAX_CODE_BYTES: u64 = 1 << 30;
/// Bits of a file's mode that allow its group or others to write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// What a component is loaded for.
pub(crate) struct Placement {
    /// The concurrency limit, or fewer if the host's memory or file descriptors allow fewer.
    pub(crate) instances: NonZeroUsize,
    pub(crate) host: Host,
    pub(crate) protected: Vec<Protected>,
    /// The requests that its tasks answer; `None`: they handle messages.
    pub(crate) requests: Option<Arc<dyn Requests>>,
}

impl Placement {
    /// Returns the placement of a single task.
    pub(crate) fn of_one(requests: Option<Arc<dyn Requests>>) -> Self {
        Self { instances: NonZeroUsize::MIN, host: host(None), protected: Vec::new(), requests }
    }
}

/// A component that was read.
pub(crate) struct ReadComponent {
    pub(crate) bytes: Vec<u8>,
    /// Its path or URL: with the digest, if it comes from a registry.
    pub(crate) place: String,
    /// The artefact with its digest, if it comes from a registry.
    pinned: Option<Reference>,
    /// The digest of its bytes, once somebody has asked for it.
    digest: OnceLock<String>,
}

/// Reads the component from its file, or fetches it.
pub(crate) async fn read(
    source: &Source,
    engine: &CompileSettings,
    registry: &RegistrySettings,
    cache: Option<&Cache>,
    backends: &Backends,
) -> Result<ReadComponent, Failure> {
    registry.check(source)?;
    let (place, digest) = (source.to_string(), OnceLock::new());
    match source {
        Source::Object(_) | Source::Artefact(_) if engine.is_precompiled() => Err(Failure::usage(format!(
            "cannot use the component {source}: precompiled code is run as it is, and so only from a local file"
        ))),
        Source::Object(url) => {
            let bytes = backends.fetch(url, MAX_COMPONENT_BYTES).await?;
            Ok(ReadComponent { bytes, place, pinned: None, digest })
        }
        Source::Artefact(reference) => {
            let pulled = backends.pull(reference, registry, cache).await?;
            let pinned = reference.pinned(&pulled.digest);
            let (bytes, place) = (pulled.component, pinned.to_string());
            Ok(ReadComponent { bytes, place, pinned: Some(pinned), digest })
        }
        Source::File(path) => {
            let bytes = read_component(path, engine.is_precompiled())?;
            Ok(ReadComponent { bytes, place, pinned: None, digest })
        }
    }
}

impl ReadComponent {
    /// Returns the digest of its bytes.
    pub(crate) fn digest(&self) -> &str {
        self.digest.get_or_init(|| Digest::of(&self.bytes).to_string())
    }

    /// Returns the name of this version of the component in logs, metrics and results: with a digest if it comes from a
    /// registry, or if others may follow.
    pub(crate) fn version_name(&self, plan: &TaskPlan) -> String {
        let name = &plan.component_name;
        match &self.pinned {
            Some(reference) => reference.versioned(name),
            None if plan.refreshed => format!("{name}@{}", self.digest()),
            None => name.clone(),
        }
    }
}

/// Loads the component of a route, or the default one, from its bytes.
pub(super) async fn load(
    (route, plan): (Option<&str>, &TaskPlan),
    read: &ReadComponent,
    compiler: &Compiler,
    grants: Grants,
    placement: &Placement,
    threads: Arc<GuestThreads>,
) -> Result<Component, Failure> {
    let options = LoadOptions {
        name: read.version_name(plan),
        grants,
        limits: limits(plan),
        instances: placement.instances,
        host: placement.host,
        threads,
        allocator: plan.engine.allocator(),
        raw_body: plan.raw_body,
        command: plan.command.clone(),
        requests: placement.requests.clone(),
        deterministic: plan.deterministic,
        sampling: plan.sampling,
        records_outputs: plan.records_outputs,
        refreshed: plan.refreshed,
    };
    let shown = plan.component.to_string();
    let component = Component::load(&read.bytes, compiler, options)
        .await
        .map_err(|error| Failure::component(&shown, &error))?;
    note_missing_grants(&component, &shown, route);
    Ok(component)
}

/// Starts the threads on which guests compute.
pub(crate) fn guest_threads(number: NonZeroUsize) -> Result<Arc<GuestThreads>, Failure> {
    let started = GuestThreads::start(number);
    started.map(Arc::new).map_err(|error| Failure::backend(format!("the system refuses threads: {error}")))
}

/// Runs the task of one message on the components' threads, and waits until the stores have cleaned up. `wrap` may wrap
/// the task, such as to observe its log. `key`: where the message's key is found, if messages have keys.
pub(crate) async fn run_task<F: Future<Output = Report> + Send + 'static>(
    routes: Routes,
    message: Arc<Message>,
    key: Option<&KeySource>,
    wrap: impl FnOnce(Pin<Box<dyn Future<Output = Report> + Send>>) -> F,
) -> Result<Report, Failure> {
    let span = routes.task_span(&message);
    let task = {
        let (key, routes) = (key.map(|source| routes.key(source, &message)), routes.clone());
        Box::pin(async move {
            let routed = routes.of(&message);
            routed.run(message.clone(), key.as_ref(), pending()).instrument(span).await
        })
    };
    let report = routes
        .threads()
        .handle()
        .spawn(wrap(task))
        .await
        .map_err(|error| Failure::backend(format!("the task was lost: {error}")))?;
    routes.clear_away().await;
    Ok(report)
}

/// Opens the queues, buckets and HTTP client that tasks are granted. Adds files that no guest may write to.
pub(super) async fn open_grants(
    plan: &TaskPlan,
    backends: &Backends,
    protected: &mut Vec<Protected>,
) -> Result<Grants, Failure> {
    let granted = &plan.grants;
    let mut grants = Grants {
        env: granted.env.clone(),
        config_values: granted.config_values.clone(),
        directories: granted.directories.clone(),
        ..Grants::default()
    };
    let role = |alias: &str| granted.roles.get(alias).map(String::as_str);
    for (alias, url) in &granted.sends {
        let opened = backends.open_queue_as(role(alias), url).await?;
        let used_for = FileUse::Queue("a queue");
        protected.extend(opened.file.clone().map(|path| Protected { used_for, path }));
        grants.queues.insert(alias.clone(), opened.backend);
    }
    for setting in &granted.buckets {
        let bucket = open_bucket(&setting.url, setting.mode.writes())?;
        let used_for = FileUse::Alone("a key-value bucket");
        protected.push(Protected { used_for, path: bucket.path().to_owned() });
        let grant =
            BucketGrant { alias: setting.alias.clone(), bucket: Arc::new(bucket), mode: setting.mode };
        grants.buckets.insert(setting.alias.clone(), grant);
    }
    if !granted.http.rules.is_empty() {
        let HttpSetting { rules, addresses } = granted.http.clone();
        grants.http = Some(HttpGrant { rules, addresses, client: http_client()? });
    }
    Ok(grants)
}

/// Opens the stores that tasks are granted, and checks that they can be used.
pub(super) async fn open_stores(
    plan: &TaskPlan,
    backends: &Backends,
    protected: &[Protected],
    grants: &mut Grants,
) -> Result<(), Failure> {
    for setting in &plan.grants.stores {
        let role = plan.grants.roles.get(&setting.alias).map(String::as_str);
        let opened = backends.open_store_as(role, &setting.url, &setting.scope).await?;
        if setting.mode.writes() {
            refuse_protected(&setting.alias, &opened, protected)?;
        }
        opened
            .backend
            .probe(setting.mode.writes())
            .await
            .map_err(|error| Failure::store(&setting.url, &error))?;
        let StoreSetting { alias, mode, scope, .. } = setting.clone();
        let grant = StoreGrant { alias, store: opened.backend, mode, scope };
        grants.stores.insert(setting.alias.clone(), grant);
    }
    Ok(())
}

/// Returns the limits of a task, including the bytes that the readers and writers of its stores may hold.
pub(crate) fn limits(plan: &TaskPlan) -> Limits {
    let streams_bytes =
        plan.grants.stores.iter().map(|store| streams_bytes(&store.url)).max().unwrap_or_default();
    Limits { streams_bytes, ..plan.limits.clone() }
}

/// Returns the resources of this host that tasks share.
pub(crate) fn host(ecs_bytes: Option<u64>) -> Host {
    Host {
        memory: HostMemory::find().map(|memory| memory.at_most(ecs_bytes)),
        // The soft limit was raised to the hard limit at the start.
        files: getrlimit(Resource::Nofile).maximum,
    }
}

/// Notes the interfaces that a component imports without a grant for them. They aren't refused, as many toolchains import
/// all of a world, used or not: a call without a grant is refused.
fn note_missing_grants(component: &Component, shown: &str, route: Option<&str>) {
    let grants = component.grants();
    for (grantable, interfaces) in &component.needs().grants {
        let has_grant = match grantable {
            Grantable::Store => !grants.stores.is_empty(),
            Grantable::Queue => !grants.queues.is_empty(),
            Grantable::Bucket => !grants.buckets.is_empty(),
            Grantable::ConfigValue => !grants.config_values.is_empty(),
            Grantable::Http => grants.http.is_some(),
        };
        if has_grant {
            continue;
        }
        let interfaces = interfaces.join(", ");
        // Flags are settings of the default component alone.
        let (flag, key) = match route {
            None => (Some(grant_flag(*grantable)), None),
            Some(_) => (None, Some(grant_key(*grantable))),
        };
        // Configuration is read without rights: there is just none.
        let calls = if *grantable == Grantable::ConfigValue { "find no value" } else { "are refused" };
        tracing::warn!(
            component = shown,
            route,
            interfaces,
            flag,
            key,
            "an imported interface has no grant, and its calls {calls}"
        );
    }
}

/// Returns the flag that grants something.
pub(crate) fn grant_flag(grantable: Grantable) -> &'static str {
    match grantable {
        Grantable::Store => "--store ALIAS=URL:MODE",
        Grantable::Queue => "--send ALIAS=URL",
        Grantable::Bucket => "--keyvalue ALIAS=sqlite:FILE:MODE",
        Grantable::ConfigValue => "--config-value KEY=VALUE",
        Grantable::Http => "--allow-http HOST",
    }
}

/// Returns the key of a route that grants something.
fn grant_key(grantable: Grantable) -> &'static str {
    match grantable {
        Grantable::Store => "store.ALIAS = \"URL:MODE\"",
        Grantable::Queue => "send.ALIAS = \"URL\"",
        Grantable::Bucket => "keyvalue.ALIAS = \"sqlite:FILE:MODE\"",
        Grantable::ConfigValue => "config-value.KEY = \"VALUE\"",
        Grantable::Http => "allow-http = [\"HOST\"]",
    }
}

/// Reads a component's file, up to a maximum size. Refuses precompiled code that others than its owner can write to.
pub(crate) fn read_component(path: &Path, is_precompiled: bool) -> Result<Vec<u8>, Failure> {
    let what = format!("the component {}", path.display());
    if is_precompiled && regular(path, &what)?.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(Failure::usage(format!(
            "cannot use the precompiled component {}: others can write to it, and it is run as it is: chmod go-w it",
            path.display()
        )));
    }
    let most = if is_precompiled { MAX_CODE_BYTES } else { MAX_COMPONENT_BYTES };
    read_file(path, &what, most)
}
