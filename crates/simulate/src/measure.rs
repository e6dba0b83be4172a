//! What is measured, in memory that doesn't grow with the number of messages or the time.

use crate::plan::{LONGEST, Plan};
use crate::report::{Counts, Mean, Point, Report, Series, Spread, TenantRow};
use crate::tenants::Tenants;
use crate::time::{nanos, seconds};
use hdrhistogram::Histogram;
use wasmrun_runtime::model::key::Key;

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
    /// With tenants: first messages without a key, then the rows of the plan.
    rows: Vec<Row>,
    most_backlog: u64,
    most_running: usize,
    /// Length of a step of the series in nanoseconds.
    step: u64,
    /// Each value of the series times the nanoseconds for which it was so; the last one is that of now, …
    points: Vec<Point>,
    /// … and ends at this time.
    point_ends: u64,
}

/// What is measured of a row of tenants.
#[derive(Debug)]
struct Row {
    arrived: u64,
    running: u64,
    most_running: u64,
    wait: Times,
    /// Time of the tasks that ended while messages arrive, in seconds.
    task_seconds: f64,
}

/// Times in microseconds, and their sum in nanoseconds.
#[derive(Debug)]
struct Times {
    histogram: Histogram<u64>,
    sum: u128,
}

impl Times {
    fn new(digits: u8) -> Self {
        let longest = 4 * LONGEST.as_secs() * 1_000_000;
        let histogram =
            Histogram::new_with_bounds(1, longest, digits).expect("bounds that the library takes");
        Self { histogram, sum: 0 }
    }

    fn add(&mut self, nanos: u64) {
        self.histogram.saturating_record(nanos / 1_000);
        self.sum += u128::from(nanos);
    }

    fn spread(&self) -> Option<Spread> {
        let at = |quantile: f64| seconds(1_000 * self.histogram.value_at_quantile(quantile));
        let count = self.histogram.len();
        (count > 0).then(|| Spread {
            mean: self.sum as f64 / count as f64 / 1e9,
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: seconds(1_000 * self.histogram.max()),
        })
    }
}

impl Measure {
    pub(crate) fn new(plan: &Plan) -> Self {
        let rows = if plan.tenants.all.is_empty() { 0 } else { plan.tenants.rows.len() + 1 };
        Self {
            counts: Counts::default(),
            running: 0,
            workers: 0,
            most_workers: 0,
            latency: Times::new(3),
            wait: Times::new(3),
            rows: (0..rows).map(|_| Row::new()).collect(),
            most_backlog: 0,
            most_running: 0,
            step: (nanos(plan.duration) / (MAX_POINTS as u64 / 2)).max(1_000_000),
            points: Vec::new(),
            point_ends: 0,
        }
    }

    /// Records messages that arrived.
    pub(crate) fn arrived(&mut self, row: usize, count: u64) {
        self.counts.arrived += count;
        if let Some(row) = self.rows.get_mut(row) {
            row.arrived += count;
        }
    }

    /// Records the start of a task. If it is the first one of its message, that arrived this time before.
    pub(crate) fn started(&mut self, row: usize, first_after: Option<u64>) {
        self.running += 1;
        if let Some(after) = first_after {
            self.wait.add(after);
        }
        if let Some(row) = self.rows.get_mut(row) {
            row.running += 1;
            row.most_running = row.most_running.max(row.running);
            if let Some(after) = first_after {
                row.wait.add(after);
            }
        }
    }

    /// Records the end of a task that took this time in seconds. `is_in_time`: messages still arrive.
    pub(crate) fn ended(&mut self, row: usize, task_seconds: f64, is_in_time: bool) {
        self.running -= 1;
        if let Some(row) = self.rows.get_mut(row) {
            row.running -= 1;
            row.task_seconds += if is_in_time { task_seconds } else { 0.0 };
        }
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
            let time = (end - at) as f64;
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
        let step = self.step as f64;
        let last = self.points.len().saturating_sub(1);
        for (index, point) in self.points.iter_mut().enumerate() {
            // The last step may not be over.
            let time = if index < last { step } else { (now - index as u64 * self.step) as f64 };
            for value in [&mut point.backlog, &mut point.concurrency, &mut point.workers] {
                *value /= time;
            }
        }
        let simulated_seconds = seconds(now);
        let tenants = tenant_rows(&self.rows, &plan.tenants);
        let mean = |sum: f64, max: f64| Mean { mean: sum / now.max(1) as f64, max };
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
            task_seconds: all.concurrency / 1e9,
            tenants,
            series: Series { step_seconds: seconds(self.step), points: self.points },
        }
    }
}

impl Row {
    fn new() -> Self {
        Self { arrived: 0, running: 0, most_running: 0, wait: Times::new(2), task_seconds: 0.0 }
    }
}

/// Returns the rows of tenants in the report: those of the plan, after messages without a key if there are any.
fn tenant_rows(rows: &[Row], tenants: &Tenants) -> Vec<TenantRow> {
    let all: f64 = rows.iter().map(|row| row.task_seconds).sum();
    let mut keys = vec![0; tenants.rows.len()];
    tenants.all.iter().for_each(|tenant| keys[tenant.row] += 1);
    let without_key = (Key::none().as_str().to_owned(), 1);
    let names = std::iter::once(without_key).chain(tenants.rows.iter().cloned().zip(keys));
    let rows = names.zip(rows).map(|((name, keys), row)| TenantRow {
        name,
        keys,
        arrived: row.arrived,
        wait: row.wait.spread(),
        task_share: if all > 0.0 { row.task_seconds / all } else { 0.0 },
        most_tasks: row.most_running,
    });
    rows.enumerate().filter(|(index, row)| *index > 0 || row.arrived > 0).map(|(_, row)| row).collect()
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
    use std::time::Duration;

    #[test]
    fn the_series_stays_small_and_keeps_its_sum() {
        let plan = crate::tests::plan();
        let mut measure = Measure::new(&Plan { duration: Duration::from_secs(1), ..plan.clone() });
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
