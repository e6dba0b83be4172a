//! Prints logs, progress, results and errors.
//!
//! Logs go to standard error, results to standard output. Text from a guest or a message is escaped, so
//! that nothing from outside can forge a line or move the cursor.
//!
//! | module | owns |
//! |---|---|
//! | `log_lines` | formats and filters log lines |
//! | `progress` | draws the progress of a worker on a terminal |
//! | `results` | prints the result of a task and the summary of a worker |
//! | `files` | replaces files in one step |
//! | `failure` | the sentence of an error, and its exit code |
//! | `show` | formats numbers |
//! | `tree` | writes documents as JSON and YAML |
//! | `version` | prints the version and the build information |

pub(crate) mod failure;
pub(crate) mod files;
pub(crate) mod log_lines;
pub(crate) mod progress;
mod results;
pub(crate) mod show;
pub(crate) mod tree;
pub(crate) mod version;

use self::failure::Failure;
use self::log_lines::{AboveProgress, LogFormat, SetFilter, filter, subscriber};
use indicatif::ProgressBar;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use tracing_subscriber::util::SubscriberInitExt;
use wasmrun_runtime::model::text::{OneLine, escaped, is_unsafe};

/// Standard output and standard error, shared by the log, the results and the progress bar.
#[derive(Clone)]
pub(crate) struct Output {
    format: LogFormat,
    bar: ProgressBar,
    set_filter: SetFilter,
}

impl Output {
    /// Starts logging.
    pub(crate) fn start(level: Option<&str>, format: Option<LogFormat>) -> Result<Self, Failure> {
        let terminal = io::stderr().is_terminal();
        let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
        let filter = filter(level)?;
        let bar = ProgressBar::hidden();
        // https://no-color.org: any value that isn't empty.
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let (subscriber, set_filter) = subscriber(format, filter, colours, AboveProgress(bar.clone()));
        subscriber
            .try_init()
            .map_err(|error| Failure::backend(format!("logs cannot be written: {error}")))?;
        Ok(Self { format, bar, set_filter })
    }

    /// Parses a new log level and returns the function that applies it.
    pub(crate) fn level(&self, level: Option<&str>) -> Result<impl FnOnce() + use<>, Failure> {
        let (filter, set_filter) = (filter(level)?, self.set_filter.clone());
        Ok(move || set_filter(filter))
    }

    /// Prints a line for people, with any unsafe character escaped.
    pub(crate) fn line(&self, line: impl fmt::Display) {
        self.print(&OneLine(&line.to_string()).to_string());
    }

    /// Prints a line for people to standard error, where standard output is for something else.
    pub(crate) fn note(&self, line: impl fmt::Display) {
        let line = format!("{}\n", OneLine(&line.to_string()));
        // A failed write is ignored.
        self.bar.suspend(|| {
            let _ = io::stderr().write_all(line.as_bytes());
        });
    }

    /// Writes bytes from outside: as they are into a file or a pipe, and with unsafe characters escaped to a terminal.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        let is_terminal = io::stdout().is_terminal();
        let text = is_terminal.then(|| printable(&String::from_utf8_lossy(bytes)).into_owned());
        to_stdout(text.as_ref().map_or(bytes, |text| text.as_bytes()));
    }

    /// Prints a result: JSON, or lines that this program wrote. Text from outside must go through [`Self::line`].
    pub(crate) fn print(&self, text: &str) {
        self.bar.suspend(|| to_stdout(printable(&format!("{text}\n")).as_bytes()));
    }
}

/// The first error of a write to standard output.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Writes to standard output. If nobody reads it any more, nothing is lost; any other error is kept for the end.
pub(crate) fn to_stdout(bytes: &[u8]) {
    let mut stdout = io::stdout();
    if let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = LOST.set(error);
    }
}

/// Returns an error if a result could not be written to standard output.
pub(crate) fn written() -> Result<(), Failure> {
    match LOST.get() {
        None => Ok(()),
        Some(error) => Err(Failure::backend(format!("cannot write to standard output: {error}"))),
    }
}

/// Writes control characters, except line feeds, as JSON escapes. JSON stays valid with the same meaning.
fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_unsafe(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_printed_moves_no_cursor_and_json_stays_json() {
        let text = "a\n\u{1b}[2J\r\t\u{9b}\u{202e}ü";
        assert_eq!(printable(text), "a\n\\u001b[2J\\u000d\\u0009\\u009b\\u202eü");
        let value = json!({ "text": text });
        let printed = printable(&value.to_string()).into_owned();
        assert!(!printed.contains(is_unsafe), "{printed}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).expect("JSON"), value);
    }
}
