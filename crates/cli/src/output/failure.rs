//! Exit codes, and the error sentence that goes with each.
//!
//! | code | when |
//! |---|---|
//! | 0 | success |
//! | 1 | the task failed (`invoke`, `replay`), a case failed (`test`), the worker isn't alive (`health`), or it refuses (`cancel`) |
//! | 2 | wrong usage, configuration or component |
//! | 3 | a queue, a store or the host can't be used |
//! | 4 | `run --until-empty` ended though no task completes |
//! | 130 | the command was stopped before it had a result |

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use wasmrun_runtime::engine::compile::CompileError;
use wasmrun_runtime::model::text::{OneLine, without_passwords};
use wasmrun_runtime::ports::object_store::StoreError;
use wasmrun_runtime::ports::queue::QueueError;
use wasmrun_runtime::task::component::LoadError;
use wasmrun_runtime::worker::StartError;

/// The task of `invoke` or a case of `test` failed.
pub(crate) const EXIT_TASK_FAILED: u8 = 1;
/// The worker that `health` asked isn't alive.
pub(crate) const EXIT_UNHEALTHY: u8 = 1;
/// The worker refuses what an operator asks.
pub(crate) const EXIT_REFUSED: u8 = 1;

/// The command was stopped before it had a result. Shells use this code for a program that SIGINT ended.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// The reason why a command can't do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit code 2.
    Usage(String),
    /// Exit code 3.
    Backend(String),
    /// Exit code 4.
    Stalled(String),
}

impl Failure {
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    pub(crate) fn backend(text: impl Into<String>) -> Self {
        Self::Backend(text.into())
    }

    /// Describes a queue that can't be used.
    pub(crate) fn queue(url: &str, error: &QueueError) -> Self {
        match error {
            QueueError::InvalidMessage(reason) => {
                Self::Usage(format!("the queue {url} does not take the message: {reason}"))
            }
            error => Self::Backend(format!("cannot use the queue {url}: {error}")),
        }
    }

    /// Describes a store that can't be used.
    pub(crate) fn store(url: &str, error: &StoreError) -> Self {
        Self::Backend(format!("cannot use the store {url}: {error}"))
    }

    /// Describes a component that can't be used.
    pub(crate) fn component(path: &str, error: &LoadError) -> Self {
        let text = format!("cannot use the component {path}: {error}");
        match error {
            LoadError::Engine(_) | LoadError::Compile(CompileError::Host(_)) => Self::Backend(text),
            LoadError::TooSmall(error) => Self::Usage(error.to_string()),
            _ => Self::Usage(text),
        }
    }

    /// Names the route that a failure is about; `None`: the default component.
    pub(crate) fn of_route(self, route: Option<&str>) -> Self {
        let Some(name) = route else { return self };
        let named = |text| format!("in the route {name}: {text}");
        match self {
            Self::Usage(text) => Self::Usage(named(text)),
            Self::Backend(text) => Self::Backend(named(text)),
            Self::Stalled(text) => Self::Stalled(named(text)),
        }
    }

    /// Prints the sentence, and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        // A failed write is ignored.
        let _ = writeln!(io::stderr(), "error: {self}");
        ExitCode::from(match self {
            Self::Usage(_) => 2,
            Self::Backend(_) => 3,
            Self::Stalled(_) => 4,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(text) | Self::Backend(text) | Self::Stalled(text)) = self;
        // An error is one line, but a path or a name in a component may contain any character. The user's arguments
        // may contain a password.
        OneLine(&without_passwords(text)).fmt(f)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Settings(_) => Self::Usage(error.to_string()),
            StartError::Queue { .. } => Self::Backend(error.to_string()),
        }
    }
}
