//! Merges the settings of tasks, which `run`, `serve`, `invoke` and `replay` share, into a plan.

use super::aws::AwsSettings;
use super::by_key;
use super::engine::EngineSettings;
use super::file::ConfigFile;
use super::flags::TaskArgs;
use super::grants::GrantPlan;
use super::limit_flags::LimitSettings;
use super::log::LogSettings;
use super::registry::RegistrySettings;
use super::route_table::{RouteTable, Unmatched};
use super::routes::{RoutesPlan, Shared};
use super::source::Source;
use super::worker::{KeySettings, WorkerSettings};
use crate::output::failure::Failure;
use std::path::PathBuf;
use wasmrun_runtime::model::key::KeySource;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::trace::Sampling;
use wasmrun_runtime::task::command::CommandOptions;

/// Settings of tasks, merged and validated before anything is opened.
//
// A field for each setting or group of settings.
#[derive(Clone)]
pub(crate) struct TaskPlan {
    /// Where the component is.
    pub(crate) component: Source,
    /// Its name, which no other component of the worker has.
    pub(crate) component_name: String,
    /// Whether other versions of the component may follow.
    pub(crate) refreshed: bool,
    /// Where the keys of messages are found.
    pub(crate) key: Option<KeySource>,
    /// Path of the configuration file.
    pub(crate) config: Option<PathBuf>,
    pub(crate) grants: GrantPlan,
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
    /// Messages whose tasks have settings of their own.
    pub(crate) routes: RoutesPlan,
}

/// Returns the worker's settings for a task that is run without one: only the source of its message's key, which a flag
/// or the configuration sets.
pub(crate) fn of_one_task(key: Option<KeySource>, file: &mut ConfigFile) -> WorkerSettings {
    let in_file = std::mem::take(&mut file.worker);
    let keys = KeySettings { key: key.or(in_file.keys.key), ..KeySettings::default() };
    WorkerSettings { keys, ..WorkerSettings::default() }
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
        let component = component.or_else(|| file.component.take());
        let component = component.as_deref().map(Source::of).transpose()?;
        let routes = std::mem::take(&mut file.route);
        let any = component.clone().map_or_else(|| without_default(&routes, file.unmatched), Ok)?;
        let grants = args.grants.over(file.grants())?.plan()?;
        by_key::check_source(&grants.stores, worker.keys.key.as_ref())?;
        let fetches_bodies = worker.delivery.body_store.is_some();
        let limit_settings = args.limits.or(std::mem::take(&mut file.limits));
        let limits = limit_settings.clone().resolve(LimitSettings::default(), fetches_bodies)?;
        let plan = Self {
            component: any,
            component_name: String::new(),
            refreshed: false,
            key: worker.keys.key.clone(),
            config: args.config,
            grants,
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
            routes: RoutesPlan::default(),
        };
        let (component, limits) = (component.as_ref(), &limit_settings);
        let shared = Shared { task: &plan, component, limits, fetches_bodies };
        let routes = RoutesPlan::new(routes, file.unmatched, &shared)?;
        let plan = Self { routes, ..plan };
        let all: Vec<Source> = plan.components().map(|(_, task)| task.component.clone()).collect();
        Ok(plan.with_each(|task| task.component_name = task.component.name_among(&all)))
    }

    /// Returns the plan of each component: of the default one, and of each route, with the route's name.
    pub(crate) fn components(&self) -> impl Iterator<Item = (Option<&str>, &Self)> {
        let default = (self.routes.unmatched == Unmatched::Default).then_some((None, self));
        let routes = self.routes.routes.iter().map(|route| (Some(&*route.name), &route.task));
        default.into_iter().chain(routes)
    }

    /// Changes the plan of each component.
    pub(crate) fn with_each(mut self, change: impl Fn(&mut Self)) -> Self {
        self.routes.routes.iter_mut().for_each(|route| change(&mut route.task));
        change(&mut self);
        self
    }

    /// Returns the name of the default component, which the worker goes by; `None`: it has none.
    pub(crate) fn name(&self) -> Option<String> {
        (self.routes.unmatched == Unmatched::Default).then(|| self.component.name())
    }

    /// Returns whether tasks of the default component have grants or other settings that routes don't share.
    pub(super) fn has_grants(&self) -> bool {
        self.grants != GrantPlan::default() || self.command != CommandOptions::default()
    }
}

/// Returns a component of a route, as there is no default one. It stands in for it where only its settings count.
fn without_default(routes: &[RouteTable], unmatched: Option<Unmatched>) -> Result<Source, Failure> {
    let of_route = routes.iter().find_map(|route| route.component.as_deref());
    match (of_route, unmatched) {
        (Some(component), Some(Unmatched::Reject)) => Source::of(component),
        (Some(_), _) => Err(Failure::usage(
            "no component for messages that no route matches: name one, or set `unmatched = \"reject\"` in the configuration",
        )),
        (None, _) => Err(Failure::usage(
            "no component: name a .wasm file, an object in S3 or an artefact in a registry, or set `component` in the configuration",
        )),
    }
}
