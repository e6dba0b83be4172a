//! Reading the configuration again while the worker works: limits, instances and the log's level. What else has changed
//! there needs a restart.

use crate::args::RunArgs;
use crate::failure::Failure;
use crate::output::Output;
use crate::settings::File;
use crate::task::TaskPlan;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wasmrun_runtime::component::Component;
use wasmrun_runtime::limits::Limits;
use wasmrun_runtime::worker::{Sizing, Worker};

/// All that is needed for it.
pub(crate) struct Reload {
    /// As typed: flags win over the file, then as now.
    pub(crate) args: RunArgs,
    pub(crate) output: Output,
    pub(crate) worker: Arc<Worker>,
    pub(crate) component: Arc<Component>,
    /// The configuration file that the worker began with.
    pub(crate) text: String,
}

/// What is taken up, beside the limits: keys of the configuration file.
const TAKEN_UP: [&str; 5] = [
    "worker.instances",
    "worker.target-latency",
    "worker.backlog-per-instance",
    "worker.keep-warm",
    "log.level",
];
/// Belongs to the body store, which stays.
const LIMIT_THAT_STAYS: &str = "limits.body-size";

impl Reload {
    /// Reads it. The number of instances and the log's level hold at once; returns what sets the limits, which may have to
    /// wait for tasks to end. `None` if anything is wrong, and nothing is changed.
    pub(crate) async fn read(&self) -> Option<impl Future<Output = ()> + Send + '_> {
        let taken_up = self.take_up().await;
        if let Err(failure) = &taken_up {
            let error = failure.to_string();
            tracing::error!(error, "The configuration isn't taken up: what was read before stands.");
        }
        taken_up.ok()
    }

    async fn take_up(&self) -> Result<impl Future<Output = ()> + Send + '_, Failure> {
        let args = self.args.clone();
        let (mut file, text) = File::read_aside(args.task.config.clone()).await?;
        let level = args.task.log.clone().or(std::mem::take(&mut file.log)).level;
        let worker = args.worker.or(std::mem::take(&mut file.worker));
        let plan = TaskPlan::new(args.component, args.task, &mut file, worker.body_store.is_some())?;
        // What belongs to stores stays with them.
        let Limits { body_bytes, streams_bytes, files, .. } = self.component.limits();
        let limits = Limits { body_bytes, streams_bytes, files, ..plan.limits };
        let capacity = self.component.capacity_for(worker.instances()?, &limits);
        let most = capacity.map_err(|error| Failure::usage(error.to_string()))?.instances;
        let sizing = Sizing { most, scale: worker.scale()? };
        let set_level = self.output.level(level.as_deref())?;
        let reloaded = self.worker.reload(limits, sizing).map_err(Failure::usage)?;
        set_level();
        let left = need_restart(&self.text, &text);
        if !left.is_empty() {
            tracing::warn!(
                settings = left.join(" "),
                "left changed settings as they were: they need a restart"
            );
        }
        Ok(async move {
            let taken_up = reloaded.await;
            if taken_up.most < most {
                tracing::warn!(asked = most, instances = taken_up.most, "More instances need a restart.");
            }
            tracing::info!(instances = taken_up.most, "The configuration was read again.");
        })
    }
}

/// The settings that differ and that a restart alone takes up, as `section.key`.
fn need_restart(before: &str, now: &str) -> Vec<String> {
    let (before, now) = (settings_of(before), settings_of(now));
    let is_taken_up =
        |name: &str| TAKEN_UP.contains(&name) || (name.starts_with("limits.") && name != LIMIT_THAT_STAYS);
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    names
        .into_iter()
        .filter(|name| before.get(*name) != now.get(*name) && !is_taken_up(name))
        .cloned()
        .collect()
}

/// By their names.
fn settings_of(text: &str) -> BTreeMap<String, toml::Value> {
    let mut settings = BTreeMap::new();
    for (name, value) in text.parse::<toml::Table>().unwrap_or_default() {
        match value {
            toml::Value::Table(section) => {
                settings.extend(section.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            value => {
                settings.insert(name, value);
            }
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_restart_is_named_by_section_and_key() {
        let before = "queue = 'a'\n[limits]\nfuel = 5\nbody-size = '2MiB'\n[worker]\ninstances = 1\nrate = '1/s'\n[store]\nin = 'dir:a:ro'";
        assert!(need_restart(before, before).is_empty());
        let now = "queue = 'b'\n[limits]\nfuel = 6\nbody-size = '3MiB'\n[worker]\ninstances = 2\n[store]\nin = 'dir:b:ro'\nnew = 'dir:c:ro'\n[log]\nlevel = 'debug'\nformat = 'text'";
        let named = ["limits.body-size", "log.format", "queue", "store.in", "store.new", "worker.rate"];
        assert_eq!(need_restart(before, now), named);
    }
}
