//! What is measured, in memory that doesn't grow with the number of messages or the time.

use crate::plan::{LONGEST, Plan};
use crate::report::{Counts, Mean, Point, Report, Series, Spread};
use crate::time::{nanos, seconds};
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
    most_backlog: u64,
    most_running: usize,
    /// Length of a step of the series in nanoseconds.
    step: u64,
    /// Each value of the series times the seconds for which it was so; the last one is that of now, …
    points: Vec<Point>,
    /// … and ends at this time.
    point_ends: u64,
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
        self.sum += seconds(nanos);
    }

    fn spread(&self) -> Option<Spread> {
        let at = |quantile: f64| seconds(1_000 * self.histogram.value_at_quantile(quantile));
        let count = self.histogram.len();
        (count > 0).then(|| Spread {
            mean: self.sum / count as f64,
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: seconds(1_000 * self.histogram.max()),
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
            most_backlog: 0,
            most_running: 0,
            step: (nanos(duration) / (MAX_POINTS as u64 / 2)).max(1_000_000),
            points: Vec::new(),
            point_ends: 0,
        }
    }

    /// Records a message whose first task starts this time after the message arrived.
    pub(crate) fn first_started(&mut self, after: u64) {
        self.wait.add(after);
    }

    /// Records a message that is deleted this time after it arrived, as its task completed.
    pub(crate) fn completed(&mut self, after: u64) {
        self.counts.completed += 1;
        self.latency.add(after);
    }

    /// Records that nothing changed between two times. The first is the second one of the last call.
    pub(crate) fn pass(&mut self, from: u64, to: u64, backlog: u64) {
        self.most_backlog = self.most_backlog.max(backlog);
        self.most_running = self.most_running.max(self.running);
        let mut at = from;
        while at < to {
            if at >= self.point_ends {
                self.begin_point(at);
            }
            let end = self.point_ends.min(to);
            let time = seconds(end - at);
            if let Some(point) = self.points.last_mut() {
                point.backlog += backlog as f64 * time;
                point.concurrency += self.running as f64 * time;
                point.workers += self.workers as f64 * time;
            }
            at = end;
        }
    }

    /// Begins the point in which this time is.
    fn begin_point(&mut self, at: u64) {
        while at / self.step >= MAX_POINTS as u64 {
            self.halve();
        }
        let index = at / self.step;
        self.points.resize(index as usize + 1, Point::default());
        self.point_ends = (index + 1) * self.step;
    }

    /// Makes one point of each two.
    fn halve(&mut self) {
        self.points = self.points.chunks(2).map(sum).collect();
        self.step *= 2;
    }

    pub(crate) fn report(mut self, now: u64, left: u64, plan: &Plan) -> Report {
        let all = sum(&self.points);
        let step = seconds(self.step);
        let last = self.points.len().saturating_sub(1);
        for (index, point) in self.points.iter_mut().enumerate() {
            // The last step may not be over.
            let time = if index < last { step } else { seconds(now - index as u64 * self.step) };
            for value in [&mut point.backlog, &mut point.concurrency, &mut point.workers] {
                *value /= time;
            }
        }
        let simulated_seconds = seconds(now);
        let mean = |sum: f64, max: f64| Mean { mean: sum / simulated_seconds.max(1e-9), max };
        Report {
            seed: plan.seed,
            simulated_seconds,
            counts: self.counts,
            left,
            latency: self.latency.spread(),
            wait: self.wait.spread(),
            backlog: mean(all.backlog, self.most_backlog as f64),
            concurrency: mean(all.concurrency, self.most_running as f64),
            workers: mean(all.workers, self.most_workers as f64),
            task_seconds: all.concurrency,
            series: Series { step_seconds: step, points: self.points },
        }
    }
}

/// Returns the sums of all values.
fn sum(points: &[Point]) -> Point {
    let sum = |of: fn(&Point) -> f64| points.iter().map(of).sum();
    Point {
        backlog: sum(|point| point.backlog),
        concurrency: sum(|point| point.concurrency),
        workers: sum(|point| point.workers),
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
