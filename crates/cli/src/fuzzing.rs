//! Functions of this crate that only the properties of `crates/properties` call.

use crate::output::failure::Failure;
use crate::output::log_lines::{self, LogFormat};
use crate::settings::file::ConfigFile;
use crate::settings::flags::{Cli, Command};
use crate::settings::queues::QueueSetting;
use crate::wiring::component;
use crate::wiring::worker::RunPlan;
use clap::Parser;
use parking_lot::Mutex;
use std::io::{self, Write};
use std::sync::Arc;
use tracing_subscriber::EnvFilter;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::text::tamed;

/// Merges and validates settings as `wasmrun run` does, without opening anything. Adds a queue if none is named. Returns
/// `None` if `arguments` aren't valid arguments of `wasmrun run`.
///
/// # Errors
///
/// Returns the sentence that the user would read.
pub fn settings(config: &str, arguments: &[&str]) -> Option<Result<Limits, String>> {
    let words = ["wasmrun", "run"].iter().chain(arguments);
    let Ok(Cli { command: Some(Command::Run(mut args)), .. }) = Cli::try_parse_from(words) else {
        return None;
    };
    let merged = (|| -> Result<Limits, Failure> {
        let file = ConfigFile::parse(config, &"wasmrun.toml")?;
        if args.queue.is_empty() && file.queue.is_empty() {
            args.queue.push(QueueSetting::of("q"));
        }
        let plan = RunPlan::new(*args, file, |_| None)?;
        log_lines::filter(plan.task.log.level.as_deref())?;
        Ok(component::limits(&plan.task))
    })();
    Some(merged.map_err(|failure| failure.to_string()))
}

/// Returns the log lines that the program would write for the events of `work`.
pub fn lines(json: bool, work: impl FnOnce()) -> Vec<u8> {
    let written = LogBuffer::default();
    let writer = written.clone();
    let format = if json { LogFormat::Json } else { LogFormat::Text };
    let (subscriber, _) =
        log_lines::subscriber(format, EnvFilter::new("trace"), false, move || writer.clone());
    tracing::subscriber::with_default(subscriber, work);
    let mut bytes = written.0.lock();
    std::mem::take(&mut bytes)
}

#[derive(Clone, Default)]
struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl Write for LogBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.0.lock();
        written.extend_from_slice(&tamed(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
