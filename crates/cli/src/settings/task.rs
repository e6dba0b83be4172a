//! Merges the settings of tasks, which `run` and `invoke` share, into a plan.

use super::aws::AwsSettings;
use super::by_key;
use super::config_values::config_values;
use super::engine::EngineSettings;
use super::environment::environment;
use super::file::ConfigFile;
use super::flags::TaskArgs;
use super::grants::{self, HttpSetting, StoreSetting};
use super::log::LogSettings;
use super::registry::RegistrySettings;
use super::source::Source;
use super::worker::WorkerSettings;
use crate::output::failure::Failure;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use wasmrun_runtime::model::key::KeySource;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::trace::Sampling;
use wasmrun_runtime::task::command::CommandOptions;
use wasmrun_runtime::task::directory::Directory;

/// Settings of tasks, merged and validated before anything is opened.
#[derive(Clone)]
pub(crate) struct TaskPlan {
    /// Where the component is.
    pub(crate) component: Source,
    /// Whether other versions of the component may follow.
    pub(crate) refreshed: bool,
    /// Where the keys of messages are found.
    pub(crate) key: Option<KeySource>,
    /// Path of the configuration file.
    pub(crate) config: Option<PathBuf>,
    pub(crate) stores: Vec<StoreSetting>,
    pub(crate) directories: Vec<Arc<Directory>>,
    /// Alias and URL of each queue to send to.
    pub(crate) sends: Vec<(String, String)>,
    /// Grants of key-value buckets.
    pub(crate) buckets: Vec<StoreSetting>,
    /// ARN of each assumed role, by the alias of its grant.
    pub(crate) roles: BTreeMap<String, String>,
    pub(crate) http: HttpSetting,
    pub(crate) env: Vec<(String, String)>,
    /// Values of `wasi:config`.
    pub(crate) config_values: BTreeMap<String, String>,
    pub(crate) limits: Limits,
    pub(crate) engine: EngineSettings,
    pub(crate) raw_body: bool,
    pub(crate) command: CommandOptions,
    pub(crate) deterministic: bool,
    /// The share of new traces that is exported; `None`: no trace is.
    pub(crate) sampling: Option<Sampling>,
    /// Whether the objects that a task writes are recorded, for notifications.
    pub(crate) records_outputs: bool,
    pub(crate) aws: AwsSettings,
    pub(crate) registry: RegistrySettings,
    pub(crate) log: LogSettings,
}

/// Returns the worker's settings for a task that is run without one: only the source of its message's key, which a flag
/// or the configuration sets.
pub(crate) fn of_one_task(key: Option<KeySource>, file: &mut ConfigFile) -> WorkerSettings {
    let in_file = std::mem::take(&mut file.worker);
    WorkerSettings { key: key.or(in_file.key), ..WorkerSettings::default() }
}

impl TaskPlan {
    /// Merges and validates the settings of tasks, and takes them out of `file`. `worker`: the settings of their worker.
    /// If it has a body store, bodies may be larger than a message.
    pub(crate) fn new(
        component: Option<PathBuf>,
        args: TaskArgs,
        file: &mut ConfigFile,
        worker: &WorkerSettings,
    ) -> Result<Self, Failure> {
        let component = component.or_else(|| file.component.take()).ok_or_else(|| {
            Failure::usage(
                "no component: name a .wasm file, an object in S3 or an artefact in a registry, or set `component` in the configuration",
            )
        })?;
        let component = Source::of(&component)?;
        let stores = grants::stores(&args.store, std::mem::take(&mut file.store))?;
        by_key::check_source(&stores, worker.key.as_ref())?;
        let sends = grants::sends(&args.send, std::mem::take(&mut file.send))?;
        let http = HttpSetting {
            rules: std::mem::take(&mut file.allow_http),
            addresses: std::mem::take(&mut file.allow_http_address),
        };
        let http = grants::http(&args.allow_http, &args.allow_http_address, http)?;
        let limits = args.limits.resolve(std::mem::take(&mut file.limits), worker.body_store.is_some())?;
        Ok(Self {
            component,
            refreshed: false,
            key: worker.key.clone(),
            config: args.config,
            roles: grants::roles(&args.assume_role, std::mem::take(&mut file.assume_role), |alias| {
                stores.iter().any(|store| store.alias == alias) || sends.contains_key(alias)
            })?,
            stores,
            directories: grants::directories(&args.dir, std::mem::take(&mut file.dir))?,
            sends: sends.into_iter().collect(),
            buckets: grants::buckets(&args.keyvalue, std::mem::take(&mut file.keyvalue))?,
            http,
            env: environment(&args.env, std::mem::take(&mut file.env))?,
            config_values: config_values(&args.config_value, std::mem::take(&mut file.config_value))?,
            limits,
            engine: args.engine.or(std::mem::take(&mut file.engine)),
            command: args.command.resolve(std::mem::take(&mut file.command))?,
            raw_body: args.raw_body.or(file.raw_body).unwrap_or(false),
            deterministic: args.deterministic.or(file.deterministic).unwrap_or(false),
            sampling: None,
            records_outputs: false,
            aws: args.aws.or(std::mem::take(&mut file.aws)),
            registry: args.registry.or(std::mem::take(&mut file.registry)),
            log: args.log.or(std::mem::take(&mut file.log)),
        })
    }
}
