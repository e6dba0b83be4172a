//! Flags of `new`, `test` and `dev`.

use super::tasks::{RunArgs, TaskArgs, UsageArgs};
use crate::settings::engine::EngineSettings;
use crate::settings::log::LogSettings;
use crate::settings::queues::QueueSetting;
use crate::settings::watch::WatchSettings;
use crate::settings::worker::WorkerSettings;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Create the project of a guest, with test cases
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The project builds and passes `wasmrun test` as it is; one in Rust needs --sdk \
for that, as the SDK is not published yet. Its README.md says what it needs.

Examples:
  wasmrun new shout --lang python
  wasmrun new forward --lang javascript --kind message
  wasmrun new scale --lang rust --sdk wasmrun/crates/guest
  wasmrun new filter --lang go --kind command

Exit codes: 0 success, 2 wrong usage, or the directory exists, 3 a file can't be written.")]
pub(crate) struct NewArgs {
    /// Name of the project, and of its directory
    pub(crate) name: String,
    /// Language of the guest
    #[arg(long, value_name = "LANGUAGE")]
    pub(crate) lang: Language,
    /// What the guest does: object writes an object for each object that a message announces, message sends each message
    /// on, command is a program with main that reads the announced object and writes another
    #[arg(long, value_name = "KIND", default_value = "object")]
    pub(crate) kind: Kind,
    /// Rust: take the SDK from this directory, crates/guest in a clone of wasmrun, instead of its published version
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) sdk: Option<PathBuf>,
}

/// Language of a new project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    Rust,
    Python,
    Javascript,
    Typescript,
    C,
    Go,
}

/// What the guest of a new project does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Object,
    Message,
    Command,
}

/// Run the test cases of a guest
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
A case is a directory cases/NAME with a file case.toml. The task of a case has its stores and queues \
in memory, and results that depend on the case alone. guest.toml names the component.

Examples:
  wasmrun test
  wasmrun test --update
  wasmrun test --case blank --component other.wasm
  wasmrun test --junit results.xml --json

Exit codes: 0 all cases pass, 1 a case fails, 2 wrong usage, component or project.")]
pub(crate) struct TestArgs {
    #[command(flatten)]
    pub(crate) cases: CaseArgs,
    /// Write what was seen into cases that fail or have no max-fuel yet
    #[arg(long)]
    pub(crate) update: bool,
    /// Print the results as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the results to this file as JUnit's XML
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
}

/// Build a guest after each change, and run its test cases or a queue
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
guest.toml names the command that builds the component, and the files to watch. With --queue, a worker \
takes the place of the cases, with the flags and the configuration file of `wasmrun run`. After each \
build, it lets running tasks finish and runs the new component. If a build fails, the previous \
component keeps running.

Examples:
  wasmrun dev
  wasmrun dev thumbnail --case blank
  wasmrun dev thumbnail --queue sqlite:jobs.db \\
      --store input=dir:in:ro --store output=dir:out:rw
  wasmrun dev --queue sqlite:jobs.db --config wasmrun.toml

Exit codes: 0 stopped by a signal, 2 wrong usage or project, 3 the host can't be used.")]
pub(crate) struct DevArgs {
    /// Directory of the project [default: the current one]
    pub(crate) directory: Option<PathBuf>,
    /// Component: a .wasm file [default: `component` in guest.toml]
    #[arg(long, value_name = "FILE.wasm")]
    pub(crate) component: Option<PathBuf>,
    /// Run only the cases whose names contain this text
    #[arg(long, value_name = "NAME")]
    pub(crate) case: Option<String>,
    /// Run a worker on this queue instead of the cases: sqlite:PATH or sqlite:PATH#NAME, or an SQS queue's URL, ARN or
    /// name
    #[arg(long, value_name = "URL", conflicts_with = "case")]
    pub(crate) queue: Option<String>,
    /// Action for an outcome (retry, rejected, limit-exceeded, timed-out, trapped, expired): retry, dead-letter or
    /// drop
    #[arg(long, value_name = "OUTCOME=ACTION")]
    pub(crate) on: Vec<String>,
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    #[command(flatten)]
    pub(crate) worker: WorkerSettings,
}

impl DevArgs {
    /// Returns what the cases are run with.
    pub(crate) fn cases(&self) -> CaseArgs {
        CaseArgs {
            directory: self.directory.clone(),
            component: self.component.clone(),
            case: self.case.clone(),
            engine: self.task.engine.clone(),
            log: self.task.log.clone(),
        }
    }

    /// Returns what a worker is run with, if a queue is named. The component isn't among it.
    pub(crate) fn live(&self) -> Option<RunArgs> {
        Some(RunArgs {
            component: None,
            queue: vec![QueueSetting::of(self.queue.clone()?)],
            on: self.on.clone(),
            weight: Vec::new(),
            budget: Vec::new(),
            usage: UsageArgs::default(),
            check: false,
            task: self.task.clone(),
            worker: self.worker.clone(),
            watch: WatchSettings::default(),
        })
    }
}

/// What `test` and `dev` share.
#[derive(Clone, Debug, Args)]
pub(crate) struct CaseArgs {
    /// Directory of the project [default: the current one]
    pub(crate) directory: Option<PathBuf>,
    /// Component: a .wasm file [default: `component` in guest.toml]
    #[arg(long, value_name = "FILE.wasm")]
    pub(crate) component: Option<PathBuf>,
    /// Run only the cases whose names contain this text
    #[arg(long, value_name = "NAME")]
    pub(crate) case: Option<String>,
    #[command(flatten)]
    pub(crate) engine: EngineSettings,
    #[command(flatten)]
    pub(crate) log: LogSettings,
}

impl CaseArgs {
    /// Returns the directory of the project.
    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.clone().unwrap_or_else(|| ".".into())
    }
}
