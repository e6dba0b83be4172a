//! All that people see: logs, progress, results.
//!
//! Logs go to standard error, results to standard output. Whatever a guest or a message says is escaped: nothing
//! that comes from outside can forge a line or move the cursor.

pub(crate) mod failure;
pub(crate) mod show;
pub(crate) mod version;

use self::failure::Failure;
use self::show::size;
use crate::settings::{LogFormat, LogSettings, Written, warn_of_unknown_variables};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::util::SubscriberInitExt;
use wasmrun_runtime::model::distribution::Quantity;
use wasmrun_runtime::model::outcome::OutcomeKind;
pub(crate) use wasmrun_runtime::model::text::tamed;
use wasmrun_runtime::model::text::{OneLine, escaped, is_unsafe};
use wasmrun_runtime::task::component::Report;
use wasmrun_runtime::worker::{Counts, Summary, Tally};

/// How often the progress is drawn.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// After so long without a task's end there is no estimate of when all are done.
const STALLED: Duration = Duration::from_secs(3);

/// Where people look.
#[derive(Clone)]
pub(crate) struct Output {
    format: LogFormat,
    bar: ProgressBar,
    set_filter: SetFilter,
}

/// Sets another filter for the log.
pub(crate) type SetFilter = Arc<dyn Fn(EnvFilter) + Send + Sync>;

/// What is logged if nobody says.
const LEVEL: &str = "info";

impl Output {
    /// Starts logging.
    pub(crate) fn start(log: &LogSettings) -> Result<Self, Failure> {
        let terminal = io::stderr().is_terminal();
        let format = log.format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
        let filter = filter(log.level.as_deref().unwrap_or(LEVEL))?;
        let bar = ProgressBar::hidden();
        // https://no-color.org: any value that isn't empty.
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let (subscriber, set_filter) = subscriber(format, filter, colours, Beside(bar.clone()));
        subscriber.try_init().map_err(|error| Failure::backend(format!("logs can't be written: {error}")))?;
        warn_of_unknown_variables();
        Ok(Self { format, bar, set_filter })
    }

    /// Makes ready to log at another level.
    pub(crate) fn level(&self, level: Option<&str>) -> Result<impl FnOnce() + use<>, Failure> {
        let (filter, set_filter) = (filter(level.unwrap_or(LEVEL))?, self.set_filter.clone());
        Ok(move || set_filter(filter))
    }

    /// Prints a line for people, whatever is in it.
    pub(crate) fn line(&self, line: impl fmt::Display) {
        self.print(&OneLine(&line.to_string()).to_string());
    }

    /// Prints a result: JSON, or lines of which each one is ours. What comes from outside belongs into [`Self::line`].
    pub(crate) fn print(&self, text: &str) {
        // That nobody reads it changes nothing.
        self.bar.suspend(|| {
            let _ = io::stdout().write_all(printable(&format!("{text}\n")).as_bytes());
        });
    }

    /// Prints how a task ended, and what it consumed.
    pub(crate) fn report(&self, report: &Report, as_json: bool) {
        let Report { outcome, usage, host_error, .. } = report;
        if as_json {
            let value = json!({"outcome": outcome.kind(), "reason": outcome.reason(), "host_error": host_error.as_ref().map(|error| &error.text), "usage": usage});
            return self.print(&value.to_string());
        }
        self.line(format_args!("outcome      {outcome}"));
        if let Some(error) = host_error {
            self.line(format_args!("host error   {}", error.text));
        }
        self.print(&format!(
            "fuel         {}\nCPU time     {:?}\nwall time    {:?}: {:?} to start, {:?} computing, {:?} waiting for the host\npeak memory  {}\nread         {}\nwritten      {}",
            usage.fuel,
            usage.cpu,
            usage.wall,
            usage.start,
            usage.compute,
            usage.blocked,
            size(usage.peak_memory_bytes),
            size(usage.bytes_read),
            size(usage.bytes_written),
        ));
    }

    /// Prints what a worker did: for people, or as a log line.
    pub(crate) fn summary(&self, summary: &Summary) {
        self.bar.finish_and_clear();
        let Summary { elapsed, tasks, outcomes, limits, counts, usage, spreads, .. } = summary;
        let Counts { dead_lettered, released, .. } = counts;
        let seconds = elapsed.as_secs_f64().max(1e-6);
        let per_second = *tasks as f64 / seconds;
        if self.format == LogFormat::Json {
            let [wall, queued, cpu, fuel, memory, bytes] = Quantity::ALL.map(|quantity| spreads.of(quantity));
            let limits: Vec<String> =
                limits.iter().map(|(limit, count)| format!("{limit}:{count}")).collect();
            tracing::info!(
                tasks,
                completed = summary.outcome(OutcomeKind::Completed),
                retry = summary.outcome(OutcomeKind::Retry),
                rejected = summary.outcome(OutcomeKind::Rejected),
                limit_exceeded = summary.outcome(OutcomeKind::LimitExceeded),
                timed_out = summary.outcome(OutcomeKind::TimedOut),
                trapped = summary.outcome(OutcomeKind::Trapped),
                host_failed = summary.outcome(OutcomeKind::HostFailed),
                cancelled = summary.outcome(OutcomeKind::Cancelled),
                limits = limits.join(" "),
                dead_lettered,
                released = released,
                seconds,
                per_second,
                fuel = usage.fuel,
                cpu_seconds = usage.cpu.as_secs_f64(),
                peak_memory_bytes = usage.peak_memory_bytes,
                bytes_read = usage.bytes_read,
                bytes_written = usage.bytes_written,
                refusals = usage.refusals,
                wall_us_p50 = wall.p50,
                wall_us_p95 = wall.p95,
                wall_us_p99 = wall.p99,
                wall_us_max = wall.max,
                queued_us_p50 = queued.p50,
                queued_us_p95 = queued.p95,
                queued_us_p99 = queued.p99,
                queued_us_max = queued.max,
                cpu_us_p50 = cpu.p50,
                cpu_us_p95 = cpu.p95,
                cpu_us_p99 = cpu.p99,
                cpu_us_max = cpu.max,
                fuel_p50 = fuel.p50,
                fuel_p95 = fuel.p95,
                fuel_p99 = fuel.p99,
                fuel_max = fuel.max,
                peak_memory_bytes_p50 = memory.p50,
                peak_memory_bytes_p95 = memory.p95,
                peak_memory_bytes_p99 = memory.p99,
                peak_memory_bytes_max = memory.max,
                bytes_p50 = bytes.p50,
                bytes_p95 = bytes.p95,
                bytes_p99 = bytes.p99,
                bytes_max = bytes.max,
                "summary"
            );
            return;
        }
        let mut text = format!("\ntasks          {tasks} in {seconds:.2} s: {per_second:.1} a second\n");
        for (index, (outcome, count)) in outcomes.iter().enumerate() {
            let _ = writeln!(text, "{:<15}{count} {outcome}", if index == 0 { "outcomes" } else { "" });
        }
        for (limit, count) in limits {
            let _ = writeln!(text, "{:<15}{count} ended by the limit of {limit}", "");
        }
        if *released > 0 {
            let _ = writeln!(text, "released       {released}");
        }
        if *dead_lettered > 0 {
            let _ = writeln!(text, "dead-lettered  {dead_lettered}");
        }
        if usage.refusals > 0 {
            let _ = writeln!(text, "refused        {} calls for want of a grant", usage.refusals);
        }
        let mean = |sum: f64| {
            if *tasks == 0 { 0.0 } else { sum / *tasks as f64 }
        };
        let _ = write!(
            text,
            "CPU time       {:.2} s, {:.2} ms a task\nfuel           {}, {} a task\npeak memory    {} (the largest task)\nread, written  {}, {}",
            usage.cpu.as_secs_f64(),
            mean(usage.cpu.as_secs_f64() * 1e3),
            show::count(usage.fuel),
            show::count(usage.fuel.checked_div(*tasks).unwrap_or_default()),
            size(usage.peak_memory_bytes),
            size(usage.bytes_read),
            size(usage.bytes_written),
        );
        if *tasks > 0 {
            let _ = write!(text, "\n\n{}", show::spreads(spreads, 15).trim_end());
        }
        self.print(&text);
    }
}

/// Without control characters but the lines' ends. As JSON escapes, which has none of them, so that it stays what it is.
fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_unsafe(c))
}

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
        let hint = match LogFormat::read(text) {
            Ok(_) => format!("; for the format write --log-format {text}"),
            Err(_) => String::new(),
        };
        Failure::usage(format!(
            "--log {text:?} is neither a level (error, warn, info, debug, trace, off) nor a filter such as info,guest=debug{hint}"
        ))
    };
    // Spans aren't ours: what is asked for by a span could be a talker's.
    let is_filter = |part: &str| part.contains('=') && !part.contains('[');
    let known = |part: &str| is_filter(part) || LevelFilter::from_str(part.trim()).is_ok();
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
        // Each place that has no credentials and no region warns of it, with its types: what follows from it is said once.
        filter = filter.add_directive("aws_config=error".parse().map_err(|_| wrong())?);
    }
    Ok(filter)
}

/// Draws how far a worker is, on a terminal, until it's dropped.
pub(crate) async fn progress(output: Output, tally: Arc<Tally>, total: u64) {
    if output.format == LogFormat::Json || !io::stderr().is_terminal() {
        return;
    }
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len} tasks  {msg}");
    output.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    output.bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
    let mut rounds = tokio::time::interval(PROGRESS_EVERY);
    let mut done = (0, Instant::now());
    loop {
        rounds.tick().await;
        let summary = tally.summary();
        let settled = summary.tasks.saturating_sub(summary.counts.released);
        output.bar.set_length(total.max(settled));
        output.bar.set_position(settled);
        if settled > done.0 {
            done = (settled, Instant::now());
        }
        let left = left(output.bar.eta(), total.saturating_sub(settled), done.1.elapsed());
        output.bar.set_message(match summary.counts {
            Counts { released: 0, dead_lettered: 0, .. } => left,
            Counts { released, dead_lettered, .. } => {
                format!("{left}  {released} released, {dead_lettered} dead-lettered")
            }
        });
    }
}

/// How long it may take. What waits for its next try tells nothing of that.
fn left(estimate: Duration, messages: u64, since_last: Duration) -> String {
    if messages == 0 || since_last > STALLED {
        return "waiting for messages in flight and retries".into();
    }
    format!("{} left", humantime::format_duration(Duration::from_secs(estimate.as_secs().max(1))))
}

/// Writes log lines above the progress bar.
struct Beside(ProgressBar);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_estimated_for_what_waits_for_its_next_try() {
        let seconds = Duration::from_secs;
        assert_eq!(left(Duration::ZERO, 3, seconds(0)), "1s left");
        assert_eq!(left(seconds(90), 3, seconds(1)), "1m 30s left");
        for (messages, since) in [(0, 0), (1, 4)] {
            assert!(!left(Duration::ZERO, messages, seconds(since)).contains("left"));
        }
    }

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
