//! What is measured, in memory that doesn't grow with the number of messages or the time.

use crate::plan::{LONGEST, Plan};
use crate::report::{Counts, Mean, Point, Report, Series, Spread};
use crate::work::nanos;
use hdrhistogram::Histogram;
use std::time::Duration;

/// Number of points of the series beyond which pairs of them become one.
const MAX_POINTS: usize = 1_440;

#[derive(Debug)]
pub(crate) struct Measure {
    pub(crate) counts: Counts,
    /// Tasks and workers that run now.
    pub(crate) running: usize,
    pub(crate) workers: usize,
    pub(crate) most_workers: usize,
    latency: Times,
    wait: Times,
    /// Sums over time: of messages that wait, of tasks, and of workers, in seconds.
    backlog_seconds: f64,
    task_seconds: f64,
    ready_seconds: f64,
    most_backlog: u64,
    most_running: usize,
    /// Length of a step of the series in nanoseconds.
    step: u64,
    points: Vec<Point>,
}

/// Times in microseconds, and their sum in seconds.
#[derive(Debug)]
struct Times {
    histogram: Histogram<u64>,
    sum: f64,
}

impl Times {
    fn new() -> Self {
        let longest = 4 * LONGEST.as_secs() * 1_000_000;
        let histogram = Histogram::new_with_bounds(1, longest, 3).expect("bounds that the library takes");
        Self { histogram, sum: 0.0 }
    }

    fn add(&mut self, nanos: u64) {
        self.histogram.saturating_record(nanos / 1_000);
        self.sum += nanos as f64 / 1e9;
    }

    fn spread(&self) -> Option<Spread> {
        let seconds = |micros: u64| micros as f64 / 1e6;
        let at = |quantile: f64| seconds(self.histogram.value_at_quantile(quantile));
        let count = self.histogram.len();
        (count > 0).then(|| Spread {
            mean: self.sum / count as f64,
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: seconds(self.histogram.max()),
        })
    }
}

impl Measure {
    pub(crate) fn new(duration: Duration) -> Self {
        Self {
            counts: Counts::default(),
            running: 0,
            workers: 0,
            most_workers: 0,
            latency: Times::new(),
            wait: Times::new(),
            backlog_seconds: 0.0,
            task_seconds: 0.0,
            ready_seconds: 0.0,
            most_backlog: 0,
            most_running: 0,
            step: (nanos(duration) / (MAX_POINTS as u64 / 2)).max(1_000_000),
            points: Vec::new(),
        }
    }

    /// Records a message whose task starts this time after the message arrived.
    pub(crate) fn started(&mut self, after: u64, receives: u32) {
        if receives == 1 {
            self.wait.add(after);
        }
    }

    /// Records a message that is deleted this time after it arrived, as its task completed.
    pub(crate) fn completed(&mut self, after: u64) {
        self.counts.completed += 1;
        self.latency.add(after);
    }

    /// Records that nothing changed between two times.
    pub(crate) fn pass(&mut self, from: u64, to: u64, backlog: u64) {
        self.most_backlog = self.most_backlog.max(backlog);
        self.most_running = self.most_running.max(self.running);
        let seconds = (to - from) as f64 / 1e9;
        self.backlog_seconds += backlog as f64 * seconds;
        self.task_seconds += self.running as f64 * seconds;
        self.ready_seconds += self.workers as f64 * seconds;
        let mut at = from;
        while at < to {
            let mut index = (at / self.step) as usize;
            while index >= MAX_POINTS {
                self.halve();
                index = (at / self.step) as usize;
            }
            if index >= self.points.len() {
                self.points.resize(index + 1, Point::default());
            }
            let end = ((at / self.step + 1) * self.step).min(to);
            let share = (end - at) as f64 / self.step as f64;
            let point = &mut self.points[index];
            point.backlog += backlog as f64 * share;
            point.concurrency += self.running as f64 * share;
            point.workers += self.workers as f64 * share;
            at = end;
        }
    }

    /// Makes one point of each two.
    fn halve(&mut self) {
        let merged = self.points.chunks(2).map(|pair| {
            let sum = |of: fn(&Point) -> f64| pair.iter().map(of).sum::<f64>() / 2.0;
            Point {
                backlog: sum(|point| point.backlog),
                concurrency: sum(|point| point.concurrency),
                workers: sum(|point| point.workers),
            }
        });
        self.points = merged.collect();
        self.step *= 2;
    }

    pub(crate) fn report(mut self, now: u64, left: u64, plan: &Plan) -> Report {
        let seconds = now as f64 / 1e9;
        // The last step may not be over.
        let part = (now % self.step) as f64 / self.step as f64;
        if let Some(last) = self.points.last_mut().filter(|_| part > 0.0) {
            for value in [&mut last.backlog, &mut last.concurrency, &mut last.workers] {
                *value /= part;
            }
        }
        let mean = |sum: f64, max: f64| Mean { mean: sum / seconds.max(1e-9), max };
        Report {
            seed: plan.seed,
            simulated_seconds: seconds,
            counts: self.counts,
            left,
            latency: self.latency.spread(),
            wait: self.wait.spread(),
            backlog: mean(self.backlog_seconds, self.most_backlog as f64),
            concurrency: mean(self.task_seconds, self.most_running as f64),
            workers: mean(self.ready_seconds, self.most_workers as f64),
            task_seconds: self.task_seconds,
            series: Series { step_seconds: self.step as f64 / 1e9, points: self.points },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_stays_small_and_keeps_its_sum() {
        let plan = crate::tests::plan();
        let mut measure = Measure::new(Duration::from_secs(1));
        let mut at = 0;
        for backlog in 0..10_000_u64 {
            measure.pass(at, at + 1_000_000_000, backlog % 7);
            at += 1_000_000_000;
        }
        let report = measure.report(at, 0, &plan);
        let Series { step_seconds, points } = report.series;
        assert!(points.len() <= MAX_POINTS && points.len() > MAX_POINTS / 3, "{}", points.len());
        let whole = 10_000.0 - (points.len() - 1) as f64 * step_seconds;
        let last = points.len() - 1;
        let sum: f64 = points[..last].iter().map(|point| point.backlog * step_seconds).sum::<f64>()
            + points[last].backlog * whole;
        let expected: f64 = (0..10_000).map(|second| f64::from(second % 7)).sum();
        assert!((sum - expected).abs() < 1.0, "{sum} {expected}");
        assert!((report.backlog.mean - expected / 10_000.0).abs() < 1e-9);
    }
}
