//! Keeps the worker's answers of the last five minutes.

use serde_json::Value;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Age at which a sample is dropped.
const KEPT: Duration = Duration::from_secs(300);
/// Time span over which the throughput is measured.
const RATE_OVER: Duration = Duration::from_secs(10);

/// Numbers of one answer.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    backlog: Option<u64>,
    allowed: u64,
    tasks: u64,
}

/// The last answer of the worker, and samples of the earlier answers.
#[derive(Debug, Default)]
pub(super) struct History {
    last: Value,
    samples: VecDeque<Sample>,
    /// Reason why the worker didn't answer the last request. `None` if it did.
    lost: Option<String>,
}

impl History {
    pub(super) fn add(&mut self, at: Instant, status: Value) {
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let sample = Sample {
            at,
            backlog: status["depth"]["visible"].as_u64(),
            allowed: number(&status["instances"]["allowed"]),
            tasks: number(&status["tasks"]),
        };
        // The number of tasks decreased: the worker restarted, or another worker has its address.
        if self.samples.back().is_some_and(|before| before.tasks > sample.tasks) {
            self.samples.clear();
        }
        self.samples.push_back(sample);
        while self.samples.front().is_some_and(|first| at.saturating_duration_since(first.at) > KEPT) {
            self.samples.pop_front();
        }
        self.last = status;
        self.lost = None;
    }

    /// Records that the worker didn't answer, and why.
    pub(super) fn lost(&mut self, why: String) {
        self.lost = Some(why);
    }

    pub(super) fn why_lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// Returns the last answer.
    pub(super) fn last(&self) -> &Value {
        &self.last
    }

    /// Returns the number of tasks per second, over the last seconds.
    pub(super) fn throughput(&self) -> Option<f64> {
        let last = self.samples.back()?;
        let lately = |sample: &&Sample| last.at.saturating_duration_since(sample.at) <= RATE_OVER;
        let first = self.samples.iter().find(lately)?;
        let seconds = last.at.saturating_duration_since(first.at).as_secs_f64();
        (seconds > 0.0).then(|| last.tasks.saturating_sub(first.tasks) as f64 / seconds)
    }

    /// Returns the points of the backlog: the age in seconds, as a negative number, and the number of visible messages.
    pub(super) fn backlog(&self) -> Vec<(f64, f64)> {
        self.line(|sample| sample.backlog.map(|backlog| backlog as f64))
    }

    /// Returns the points of the concurrency limit: the age in seconds, as a negative number, and the limit.
    pub(super) fn instances(&self) -> Vec<(f64, f64)> {
        self.line(|sample| Some(sample.allowed as f64))
    }

    fn line(&self, of: impl Fn(&Sample) -> Option<f64>) -> Vec<(f64, f64)> {
        let Some(last) = self.samples.back() else { return Vec::new() };
        let ago = |sample: &Sample| last.at.saturating_duration_since(sample.at).as_secs_f64();
        self.samples.iter().filter_map(|sample| Some((-ago(sample), of(sample)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_throughput_is_of_the_last_seconds_and_begins_anew_with_the_worker() {
        let (mut history, began) = (History::default(), Instant::now());
        assert_eq!(history.throughput(), None);
        for (second, tasks) in [(0, 0), (100, 500), (105, 1000), (110, 1500)] {
            history.add(began + Duration::from_secs(second), json!({"tasks": tasks}));
        }
        assert_eq!(history.throughput(), Some(100.0));
        history.add(began + Duration::from_secs(111), json!({"tasks": 3}));
        assert_eq!(history.throughput(), None);
        assert_eq!(history.instances().len(), 1);
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let (mut history, began) = (History::default(), Instant::now());
        for second in 0..1000 {
            history.add(began + Duration::from_secs(second), json!({"depth": {"visible": second}}));
        }
        let backlog = history.backlog();
        assert_eq!((backlog.len(), backlog[0]), (301, (-300.0, 699.0)));
    }
}
