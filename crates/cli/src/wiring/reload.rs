//! Reloads the configuration of a running worker: the concurrency limit, the scaler's options and the log level. Other
//! changes need a restart.

use crate::output::Output;
use crate::output::failure::Failure;
use crate::settings::file::ConfigFile;
use crate::wiring::worker::WorkArgs;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use wasmrun_runtime::worker::Worker;

/// Reloads the configuration of a worker.
pub(crate) struct Reload {
    /// The arguments of the command, which win over the file on each reload.
    pub(crate) args: WorkArgs,
    pub(crate) output: Output,
    pub(crate) worker: Arc<Worker>,
    /// Text of the configuration file at the worker's start.
    pub(crate) text: String,
}

/// Keys of the configuration file that are reloaded.
const RELOADED: [&str; 5] = [
    "worker.instances",
    "worker.target-latency",
    "worker.backlog-per-instance",
    "worker.scale-in-delay",
    "log.level",
];

impl Reload {
    /// Reads the file and applies its settings. If the file is wrong, logs an error and changes nothing.
    pub(crate) async fn read(&self) {
        if let Err(failure) = self.apply().await {
            let error = failure.to_string();
            tracing::error!(error, "rejected the configuration: settings are unchanged");
        }
    }

    async fn apply(&self) -> Result<(), Failure> {
        let (file, text) = ConfigFile::read_again(self.args.config().map(Path::to_owned)).await?;
        // Settings that need a restart are checked as well, so that the restart doesn't fail.
        let plan = self.args.clone().plan(file)?;
        let asked = plan.sizing;
        let set_level = self.output.level(plan.task.log.level.as_deref())?;
        let sizing = self.worker.resize(asked);
        set_level();
        let left = need_restart(&self.text, &text);
        if !left.is_empty() {
            tracing::warn!(
                settings = left.join(" "),
                "left changed settings as they were: they need a restart"
            );
        }
        // By default it asks for more than any host has.
        if sizing.most < asked.most && plan.worker.names_instances() {
            tracing::warn!(
                asked = asked.most,
                instances = sizing.most,
                "set a lower concurrency limit than the configuration asks for: only a restart may allow more"
            );
        }
        tracing::info!(instances = sizing.most, "reloaded the configuration");
        Ok(())
    }
}

/// Returns the settings that differ and need a restart, as `section.key`.
fn need_restart(before: &str, now: &str) -> Vec<String> {
    let (before, now) = (settings_of(before), settings_of(now));
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    names
        .into_iter()
        .filter(|name| before.get(*name) != now.get(*name) && !RELOADED.contains(&name.as_str()))
        .cloned()
        .collect()
}

/// Returns the settings of a file by name, as `section.key`.
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
        let named = [
            "limits.body-size",
            "limits.fuel",
            "log.format",
            "queue",
            "store.in",
            "store.new",
            "worker.rate",
        ];
        assert_eq!(need_restart(before, now), named);
    }
}
