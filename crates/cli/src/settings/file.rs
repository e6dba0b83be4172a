//! The configuration file.

use super::aws::AwsSettings;
use super::command::CommandTable;
use super::engine::EngineSettings;
use super::grants::table::with_grants;
use super::limit_flags::LimitSettings;
use super::log::LogSettings;
use super::queues::QueueSetting;
use super::read::{MAX_TOML_BYTES, read_stream, regular, toml_from};
use super::registry::RegistrySettings;
use super::route_table::{RouteTable, Unmatched};
use super::serve::ServeSettings;
use super::text::written;
use super::watch::{CollectorUrl, EmfNamespace, Listen, Percent, WatchSettings};
use super::worker::WorkerSettings;
use super::{budgets, outcome_actions, queues};
use crate::output::failure::Failure;
use bytesize::ByteSize;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

with_grants! {
    /// The configuration file: a field for each key and each table at its top.
    #[derive(Clone, Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
    pub(crate) struct ConfigFile {
        #[serde(deserialize_with = "written")]
        pub(crate) component: Option<PathBuf>,
        #[serde(deserialize_with = "queues::queues_of_file")]
        pub(crate) queue: Vec<QueueSetting>,
        pub(crate) raw_body: Option<bool>,
        pub(crate) deterministic: Option<bool>,
        #[serde(deserialize_with = "written")]
        pub(crate) usage: Option<PathBuf>,
        #[serde(deserialize_with = "written")]
        pub(crate) usage_size: Option<ByteSize>,
        #[serde(deserialize_with = "written")]
        pub(crate) status: Option<Listen>,
        #[serde(deserialize_with = "written")]
        pub(crate) emf: Option<EmfNamespace>,
        #[serde(deserialize_with = "written")]
        pub(crate) otlp: Option<CollectorUrl>,
        #[serde(deserialize_with = "written")]
        pub(crate) trace_sampling: Option<Percent>,
        #[serde(deserialize_with = "written")]
        pub(crate) service: Option<String>,
        #[serde(deserialize_with = "written")]
        pub(crate) unmatched: Option<Unmatched>,
        pub(crate) route: Vec<RouteTable>,
        #[serde(deserialize_with = "outcome_actions::actions_of_file")]
        pub(crate) on: BTreeMap<String, String>,
        pub(crate) weight: BTreeMap<String, u32>,
        #[serde(deserialize_with = "budgets::budgets_of_file")]
        pub(crate) budget: BTreeMap<String, String>,
        pub(crate) command: CommandTable,
        pub(crate) limits: LimitSettings,
        pub(crate) worker: WorkerSettings,
        pub(crate) serve: ServeSettings,
        pub(crate) engine: EngineSettings,
        pub(crate) aws: AwsSettings,
        pub(crate) registry: RegistrySettings,
        pub(crate) log: LogSettings,
    }
}

impl ConfigFile {
    /// Takes the settings of metrics, status and traces, which have no table of their own.
    pub(crate) fn watch(&mut self) -> WatchSettings {
        WatchSettings {
            status: self.status.take(),
            emf: self.emf.take(),
            otlp: self.otlp.take(),
            trace_sampling: self.trace_sampling.take(),
            service: self.service.take(),
        }
    }

    /// Reads the file at `path`. Without a path, returns an empty configuration.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, Failure> {
        Ok(Self::read_with_text(path)?.0)
    }

    /// Reads the file on a thread for blocking work, as reading a pipe may block. Returns its text as well.
    pub(crate) async fn read_aside(path: Option<PathBuf>) -> Result<(Self, String), Failure> {
        let reading = tokio::task::spawn_blocking(move || Self::read_with_text(path.as_deref()));
        reading
            .await
            .map_err(|error| Failure::backend(format!("the configuration cannot be read: {error}")))?
    }

    /// Reads a file that is read more than once, as [`ConfigFile::read_aside`] does. Refuses a pipe: what came out of it is
    /// gone.
    pub(crate) async fn read_again(path: Option<PathBuf>) -> Result<(Self, String), Failure> {
        if let Some(path) = &path {
            regular(path, &format!("the configuration {}", path.display()))?;
        }
        Self::read_aside(path).await
    }

    fn read_with_text(path: Option<&Path>) -> Result<(Self, String), Failure> {
        let Some(path) = path else { return Ok(Default::default()) };
        let shown = path.display();
        let text = read_stream(path, &format!("the configuration {shown}"), MAX_TOML_BYTES)?;
        Ok((Self::parse(&text, &shown)?, text))
    }

    /// Parses the text of a file. `shown` names the file in errors.
    pub(crate) fn parse(text: &str, shown: &dyn Display) -> Result<Self, Failure> {
        toml_from(text, &format!("the configuration {shown}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::grants::{GrantArgs, GrantTable};

    #[test]
    fn flags_win_over_the_file() {
        let mut file: ConfigFile =
            toml::from_str("[store]\nin = 'dir:x:ro'\nout = 'dir:y:rw'").expect("valid");
        let flags = GrantArgs { store: vec!["in=dir:z:rw".into()], ..GrantArgs::default() };
        let grants = flags.over(file.grants()).and_then(GrantTable::plan).expect("valid");
        assert_eq!(grants.stores.iter().map(|s| s.url.as_str()).collect::<Vec<_>>(), ["dir:z", "dir:y"]);
    }

    #[test]
    fn a_typo_in_the_file_is_named_with_its_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("wasmrun.toml");
        std::fs::write(&path, "queue = 'sqlite:x'\n\n[limits]\nfule = 5\n").expect("written");
        let error = ConfigFile::read(Some(&path)).expect_err("invalid").to_string();
        assert!(error.contains("line 4") && error.contains("fule"), "{error}");
    }
}
