//! What `run` and `invoke` share: from settings to a component that is ready to run.

use crate::output::failure::Failure;
use crate::settings::flags::TaskArgs;
use crate::settings::{self, EngineSettings, File, read_file};
use crate::wiring::backends::{Backends, OpenStore, streams_bytes};
use rustix::process::{Resource, getrlimit};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use wasmrun_aws::is_object;
use wasmrun_runtime::engine::cache::Cache;
use wasmrun_runtime::engine::capacity::{Host, HostMemory};
use wasmrun_runtime::engine::compile::{Compiler, MAX_COMPONENT_BYTES};
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::task::component::{Component, LoadOptions};
use wasmrun_runtime::task::grant::{Grants, StoreGrant};

/// Code takes three times what its component takes, and more without optimisation.
const MAX_CODE_BYTES: u64 = 1 << 30;
/// Of a file's mode.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// What a task is to be, validated, before anything is opened.
pub(crate) struct TaskPlan {
    pub(crate) component: PathBuf,
    config: Option<PathBuf>,
    stores: Vec<settings::StoreSetting>,
    sends: Vec<(String, String)>,
    /// By the alias of a grant.
    roles: BTreeMap<String, String>,
    env: Vec<(String, String)>,
    pub(crate) limits: Limits,
    pub(crate) engine: EngineSettings,
    raw_body: bool,
    deterministic: bool,
}

/// Paths that no guest may write to: who changes them changes what is run.
pub(crate) struct Protected {
    pub(crate) what: &'static str,
    pub(crate) path: PathBuf,
}

impl TaskPlan {
    /// Merges and validates the settings of tasks, of which bodies are fetched or not. Takes its parts out of `file`.
    pub(crate) fn new(
        component: Option<PathBuf>,
        args: TaskArgs,
        file: &mut File,
        fetches_bodies: bool,
    ) -> Result<Self, Failure> {
        let component = component.or_else(|| file.component.take()).ok_or_else(|| {
            Failure::usage(
                "no component: name a .wasm file or an object in S3, or set `component` in the configuration",
            )
        })?;
        let stores = settings::stores(&args.store, std::mem::take(&mut file.store))?;
        let sends = settings::sends(&args.send, std::mem::take(&mut file.send))?;
        let streams_bytes = stores.iter().map(|store| streams_bytes(&store.url)).max().unwrap_or_default();
        let limits = args.limits.resolve(std::mem::take(&mut file.limits), fetches_bodies)?;
        Ok(Self {
            component,
            config: args.config,
            roles: settings::roles(&args.assume_role, std::mem::take(&mut file.assume_role), |alias| {
                stores.iter().any(|store| store.alias == alias) || sends.contains_key(alias)
            })?,
            stores,
            sends: sends.into_iter().collect(),
            env: settings::environment(&args.env, std::mem::take(&mut file.env))?,
            limits: Limits { streams_bytes, ..limits },
            engine: args.engine.or(std::mem::take(&mut file.engine)),
            raw_body: args.raw_body.or(file.raw_body).unwrap_or(false),
            deterministic: args.deterministic.or(file.deterministic).unwrap_or(false),
        })
    }

    /// The component's file name, or the last part of its key.
    pub(crate) fn component_name(&self) -> String {
        let name = match object_url(&self.component) {
            Some(url) => url.split('?').next().and_then(|place| place.rsplit('/').next()).map(Into::into),
            None => self.component.file_name().map(|name| name.to_string_lossy().into_owned()),
        };
        name.unwrap_or_default()
    }

    /// Reads the component's file, or its object.
    pub(crate) async fn read(&self, backends: &Backends) -> Result<Vec<u8>, Failure> {
        match object_url(&self.component) {
            Some(url) if self.engine.is_precompiled() => Err(Failure::usage(format!(
                "cannot use the component {url}: precompiled code is run as it is, and so only from a local file"
            ))),
            Some(url) => backends.fetch(url, MAX_COMPONENT_BYTES).await,
            None => read_component(&self.component, self.engine.is_precompiled()),
        }
    }

    /// Opens the grants, and loads the component that these are the bytes of, for so many tasks at once as far as the host
    /// bears them.
    pub(crate) async fn load(
        self,
        backends: &Backends,
        bytes: Vec<u8>,
        instances: NonZeroUsize,
        host: Host,
        mut protected: Vec<Protected>,
    ) -> Result<Component, Failure> {
        let cache = open_cache(&self.engine)?;

        let mut grants = Grants { env: self.env, ..Grants::default() };
        if object_url(&self.component).is_none() {
            protected.push(Protected { what: "the component", path: self.component.clone() });
        }
        protected.push(Protected { what: "this program", path: program()? });
        protected.extend(self.config.map(|path| Protected { what: "the configuration", path }));
        if let Some(cache) = &cache {
            protected.push(Protected {
                what: "the cache of compiled components",
                path: cache.directory().to_owned(),
            });
        }
        for (alias, url) in self.sends {
            let role = self.roles.get(&alias).map(String::as_str);
            let opened = backends.open_queue_as(role, &url).await?;
            protected.extend(opened.file.clone().map(|path| Protected { what: "a queue", path }));
            grants.queues.insert(alias, opened.into_queue());
        }
        for setting in self.stores {
            let role = self.roles.get(&setting.alias).map(String::as_str);
            let opened = backends.open_store_as(role, &setting.url).await?;
            if setting.mode.writes() {
                refuse_protected(&setting.alias, &opened, &protected)?;
            }
            opened
                .store
                .probe(setting.mode.writes())
                .await
                .map_err(|error| Failure::store(&setting.url, &error))?;
            let grant = StoreGrant { alias: setting.alias.clone(), store: opened.store, mode: setting.mode };
            grants.stores.insert(setting.alias, grant);
        }

        let options = LoadOptions {
            grants,
            limits: self.limits,
            instances,
            host,
            threads: self.engine.threads()?,
            allocator: self.engine.allocator(),
            raw_body: self.raw_body,
            deterministic: self.deterministic,
        };
        let shown = self.component.display().to_string();
        let component = Component::load(&bytes, &compiler(&self.engine, cache)?, options)
            .await
            .map_err(|error| Failure::component(&shown, &error))?;
        check_grants(&component, &shown)?;
        Ok(component)
    }
}

/// What tasks share on this host.
pub(crate) fn host(ecs_bytes: Option<u64>) -> Host {
    Host {
        memory: HostMemory::find().map(|memory| memory.at_most(ecs_bytes)),
        // The soft limit was raised to it.
        files: getrlimit(Resource::Nofile).maximum,
    }
}

/// A component that imports an interface which it has no grant for can't do its work.
fn check_grants(component: &Component, shown: &str) -> Result<(), Failure> {
    let grants = component.grants();
    let needs = component.needs();
    if needs.object_store && grants.stores.is_empty() {
        return Err(Failure::usage(format!(
            "the component {shown} uses object stores, and none is granted: add --store ALIAS=URL:MODE"
        )));
    }
    if needs.queue && grants.queues.is_empty() {
        return Err(Failure::usage(format!(
            "the component {shown} sends messages, and no queue is granted: add --send ALIAS=URL"
        )));
    }
    Ok(())
}

fn refuse_protected(alias: &str, store: &OpenStore, protected: &[Protected]) -> Result<(), Failure> {
    match protected.iter().find(|protected| store.contains(&protected.path)) {
        None => Ok(()),
        Some(Protected { what, path }) => Err(Failure::usage(format!(
            "the store {alias} is writable and holds {what} ({}): move one of them, or grant the store as ro",
            path.display()
        ))),
    }
}

/// Where a component is, if that isn't a file.
pub(crate) fn object_url(component: &Path) -> Option<&str> {
    component.to_str().filter(|text| is_object(text))
}

/// The content of a component's file, if it isn't absurdly large; or that of its code, if only its owner can change it.
pub(crate) fn read_component(path: &Path, is_precompiled: bool) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| {
        Failure::usage(format!("cannot read the component {}: {error}", path.display()))
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(Failure::usage(format!("cannot read the component {}: it isn't a file", path.display())));
    }
    let most = if is_precompiled { MAX_CODE_BYTES } else { MAX_COMPONENT_BYTES };
    if metadata.len() > most {
        return Err(Failure::usage(format!(
            "cannot use the component {}: it's larger than {}",
            path.display(),
            bytesize::ByteSize(most)
        )));
    }
    if is_precompiled && metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(Failure::usage(format!(
            "cannot use the precompiled component {}: others can write to it, and it's run as it is: chmod go-w it",
            path.display()
        )));
    }
    // It may grow meanwhile.
    read_file(path, &format!("the component {}", path.display()), most)
}

/// The compiler that runs this program again as its child; or none, where the component is code already.
pub(crate) fn compiler(engine: &EngineSettings, cache: Option<Cache>) -> Result<Compiler, Failure> {
    if engine.is_precompiled() {
        return Ok(Compiler::precompiled());
    }
    Ok(Compiler::in_child(program()?, engine.compile_limits()?, cache))
}

fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::backend(format!("this program's own file can't be found: {error}")))
}

/// The cache that the settings name; without a home directory there is none.
pub(crate) fn open_cache(engine: &EngineSettings) -> Result<Option<Cache>, Failure> {
    if engine.is_precompiled() {
        return Ok(None);
    }
    if let Some(directory) = &engine.cache {
        if directory.as_os_str() == "off" {
            return Ok(None);
        }
        return Cache::open(directory).map(Some).map_err(Failure::Backend);
    }
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| {
            std::env::var_os("HOME")
                .filter(|home| !home.is_empty())
                .map(|home| PathBuf::from(home).join(".cache"))
        });
    let Some(base) = base else {
        tracing::warn!(
            "no home directory: the component is compiled at each start; name a directory with --cache"
        );
        return Ok(None);
    };
    match Cache::open(&base.join("wasmrun")) {
        Ok(cache) => Ok(Some(cache)),
        Err(error) => {
            // The user didn't ask for this directory; a read-only home is common in containers.
            tracing::warn!(
                error,
                "cannot use the cache: the component is compiled at each start; name a directory with --cache"
            );
            Ok(None)
        }
    }
}
