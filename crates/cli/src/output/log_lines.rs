//! Formats and filters log lines.

use super::failure::Failure;
use clap::ValueEnum;
use indicatif::ProgressBar;
use std::io::{self, Write};
use std::sync::Arc;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;
use wasmrun_runtime::model::text::{OneLine, tamed};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Sets another filter for the log.
pub(crate) type SetFilter = Arc<dyn Fn(EnvFilter) + Send + Sync>;

/// What turns events into lines: of JSON, or readable ones. And what sets another filter for them.
pub(crate) fn subscriber<W>(
    format: LogFormat,
    filter: EnvFilter,
    colours: bool,
    writer: W,
) -> (Box<dyn Subscriber + Send + Sync>, SetFilter)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match format {
        LogFormat::Text => {
            let fields = debug_fn(|writer, field, value| {
                let mut value = format!("{value:?}");
                // What isn't quoted could pass for other fields.
                if field.name() != "message" && !value.starts_with('"') && value.contains([' ', '=', '"']) {
                    value = format!("{value:?}");
                }
                match field.name() {
                    "message" => write!(writer, "{}", OneLine(&value)),
                    name => write!(writer, "{name}={}", OneLine(&value)),
                }
            });
            let lines = lines
                .with_ansi(colours)
                .with_target(false)
                .fmt_fields(fields.delimited(" "))
                .with_filter_reloading();
            let filter = lines.reload_handle();
            (Box::new(lines.finish()), set(move |new| filter.reload(new)))
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_span_list(false).with_filter_reloading();
            let filter = lines.reload_handle();
            (Box::new(lines.finish()), set(move |new| filter.reload(new)))
        }
    }
}

fn set<E>(reload: impl Fn(EnvFilter) -> Result<(), E> + Send + Sync + 'static) -> SetFilter {
    // It fails when the subscriber is gone, and with it the log.
    Arc::new(move |filter| drop(reload(filter)))
}

/// Crates that tell of requests in all their details, credentials included, if they are let: the beginnings of their
/// targets. Whatever is asked for, they only warn.
const TALKERS: [&str; 4] = ["aws_", "h2", "hyper", "rustls"];

/// A level, or a filter by target: a word that is neither would silence everything.
pub(crate) fn filter(text: &str) -> Result<EnvFilter, Failure> {
    let wrong = || {
        let hint = match LogFormat::from_str(text, false) {
            Ok(_) => format!("; for the format write --log-format {text}"),
            Err(_) => String::new(),
        };
        Failure::usage(format!(
            "--log {text:?} is neither a level (error, warn, info, debug, trace, off) nor a filter such as info,guest=debug{hint}"
        ))
    };
    // Spans aren't ours: what is asked for by a span could be a talker's.
    let is_filter = |part: &str| part.contains('=') && !part.contains('[');
    let known = |part: &str| is_filter(part) || part.trim().parse::<LevelFilter>().is_ok();
    // The filter's own parser (tracing-subscriber 0.3.23) panics with letters that take more than a byte.
    // Nothing would be a level too: that of errors.
    if text.trim().is_empty() || !text.is_ascii() || !text.split(',').all(known) {
        return Err(wrong());
    }
    let is_talker = |part: &&str| TALKERS.iter().any(|talker| part.trim().starts_with(talker));
    let ours: Vec<&str> = text.split(',').filter(|part| !is_talker(part)).collect();
    let mut filter = EnvFilter::try_new(ours.join(",")).map_err(|_| wrong())?;
    if !text.trim().eq_ignore_ascii_case("off") {
        for talker in TALKERS {
            filter = filter.add_directive(format!("{talker}=warn").parse().map_err(|_| wrong())?);
        }
        // Each place that has no credentials and no region warns of it, with its types: what follows from it is said
        // once.
        filter = filter.add_directive("aws_config=error".parse().map_err(|_| wrong())?);
    }
    Ok(filter)
}

/// Writes log lines above the progress bar.
pub(super) struct Beside(pub(super) ProgressBar);

impl<'a> MakeWriter<'a> for Beside {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self(self.0.clone())
    }
}

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write_all(&tamed(bytes)))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
