//! Draws the progress of a worker on a terminal.

use super::Output;
use super::log_lines::LogFormat;
use indicatif::ProgressStyle;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmrun_runtime::worker::{Counts, Tally};

/// Interval between two draws of the progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Time without a finished task after which no remaining time is estimated.
const STALLED: Duration = Duration::from_secs(3);

impl Output {
    /// Removes the progress of a worker from the terminal.
    pub(crate) fn end_progress(&self) {
        self.bar.finish_and_clear();
    }
}

/// Draws the progress of a worker on a terminal until the future is dropped.
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

/// Formats the estimated remaining time. There is no estimate while messages only wait for their next receive.
fn left(estimate: Duration, messages: u64, since_last: Duration) -> String {
    if messages == 0 {
        return "checking that the queue is empty".into();
    }
    if since_last > STALLED {
        return "waiting for messages in flight and retries".into();
    }
    format!("{} left", humantime::format_duration(Duration::from_secs(estimate.as_secs().max(1))))
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
        assert!(left(Duration::ZERO, 0, seconds(9)).contains("empty"));
    }
}
