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

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Replaces the filter of the log.
pub(crate) type SetFilter = Arc<dyn Fn(EnvFilter) + Send + Sync>;

/// Returns the subscriber that writes events as lines of JSON or text, and the function that replaces its filter.
pub(crate) fn subscriber<W>(
    format: LogFormat,
    filter: EnvFilter,
    colours: bool,
    writer: W,
) -> (Box<dyn Subscriber + Send + Sync>, SetFilter)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // A line that can't be written is lost. The subscriber would say so on standard error, and panic if that is broken.
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).log_internal_errors(false);
    match format {
        LogFormat::Text => {
            let fields = debug_fn(|writer, field, value| {
                let mut value = format!("{value:?}");
                // An unquoted value with these characters could be mistaken for other fields.
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
    // Reloading fails only when the subscriber, and with it the log, is gone.
    Arc::new(move |filter| drop(reload(filter)))
}

/// Prefixes of the targets of crates that log requests in full, credentials included, at low levels. Whatever filter
/// the user sets, these crates log warnings and errors at most.
const TALKERS: [&str; 4] = ["aws_", "h2", "hyper", "rustls"];

/// Default log level.
const LEVEL: &str = "info";

/// Parses a level or a filter by target; `None` is the default level. Any other word is refused, as it would silence the
/// whole log.
pub(crate) fn filter(level: Option<&str>) -> Result<EnvFilter, Failure> {
    let text = level.unwrap_or(LEVEL);
    let wrong = || {
        let hint = match LogFormat::from_str(text, false) {
            Ok(_) => format!("; for the format write --log-format {text}"),
            Err(_) => String::new(),
        };
        Failure::usage(format!(
            "--log {text:?} is neither a level (error, warn, info, debug, trace, off) nor a filter such as info,guest=debug{hint}"
        ))
    };
    // Filters by span are refused: this program has no spans, so the span could be of a crate in `TALKERS`.
    let is_filter = |part: &str| part.contains('=') && !part.contains('[');
    let known = |part: &str| is_filter(part) || part.trim().parse::<LevelFilter>().is_ok();
    // The filter's own parser (tracing-subscriber 0.3.23) panics on characters of more than one byte.
    // It takes an empty text as the level `error`.
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
        // Each source without credentials or region logs a warning that names Rust types. The program reports the
        // resulting error once.
        filter = filter.add_directive("aws_config=error".parse().map_err(|_| wrong())?);
    }
    Ok(filter)
}

/// Writes log lines above the progress bar.
pub(super) struct AboveProgress(pub(super) ProgressBar);

impl<'a> MakeWriter<'a> for AboveProgress {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self(self.0.clone())
    }
}

impl Write for AboveProgress {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write_all(&tamed(bytes)))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
