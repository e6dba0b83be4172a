//! Prints a line for CloudWatch each minute in the Embedded Metric Format. The collector of the worker's output turns
//! the lines into metrics, so the worker calls no API.
//!
//! A worker doesn't know the number of workers, so each one reports `Workers` = 1, and CloudWatch adds these up. The
//! format:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use crate::queue_labels::queue_labels;
use hdrhistogram::Histogram;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Map, Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::model::usage::{TaskObserver, TaskRecord};
use wasmrun_runtime::worker::{Counts, Status};

/// Interval of the lines: the resolution of CloudWatch's standard metrics.
pub const EVERY: Duration = Duration::from_secs(60);
/// Most values of one metric that CloudWatch accepts in one line.
const MOST_VALUES: u64 = 100;
/// Longest dimension that CloudWatch accepts, in characters. It rejects a metric with a longer dimension and doesn't
/// shorten it.
const MOST_DIMENSION_CHARS: usize = 1024;
/// Longest recorded time in microseconds: 30 days. A longer time is recorded as this.
const HIGHEST_US: u64 = 30 * 24 * 3_600_000_000;
/// Significant digits of recorded times: the error is at most 1 %.
const DIGITS: u8 = 2;

/// Collects the metrics of the next line, with the namespace and dimensions that they have in CloudWatch.
#[derive(Debug)]
pub struct Emf {
    namespace: String,
    service: String,
    queue: String,
    interval: Mutex<Interval>,
}

/// Metrics since the last line.
#[derive(Debug)]
struct Interval {
    outcomes: [u64; OutcomeKind::ALL.len()],
    /// Total duration of all tasks.
    wall: Duration,
    /// Durations of tasks, in microseconds.
    task_us: Histogram<u64>,
    /// Times from the sending of a task's message to the end of the task, in microseconds.
    latency_us: Histogram<u64>,
    /// Counts at the last line.
    counts: Counts,
    /// Whether there was a line yet.
    has_line: bool,
}

impl Emf {
    /// Creates the collector. `queues` are the URLs of the queues; the `queue` dimension is only their names.
    pub fn new(namespace: String, service: &str, queues: &[&str]) -> Self {
        let names = queue_labels(queues.iter().copied());
        let histogram = || Histogram::new_with_bounds(1, HIGHEST_US, DIGITS).expect("the bounds are right");
        Self {
            namespace,
            service: dimension(service),
            queue: dimension(&names.join(", ")),
            interval: Mutex::new(Interval {
                outcomes: Default::default(),
                wall: Duration::ZERO,
                task_us: histogram(),
                latency_us: histogram(),
                counts: Counts::default(),
                has_line: false,
            }),
        }
    }

    /// Prints a line after each interval, until the future is dropped. The caller prints the last line.
    pub async fn report(&self, every: Duration, status: impl Fn() -> Status, mut print: impl FnMut(&str)) {
        let mut rounds = tokio::time::interval(every);
        rounds.tick().await;
        loop {
            rounds.tick().await;
            print(&self.line(&status(), SystemTime::now(), false));
        }
    }

    /// Returns the metrics since the last line as one line, without a newline. The metrics of the worker itself are
    /// left out of the last line, unless the last line is also the first.
    pub fn line(&self, status: &Status, now: SystemTime, is_last: bool) -> String {
        let mut metrics = Metrics::default();
        let instances = status.instances;
        let mut interval = self.interval();
        // The last line comes soon after the line before. If both had `Workers`, the sum over their minute would count
        // the worker twice.
        let is_first = !std::mem::replace(&mut interval.has_line, true);
        if !is_last || is_first {
            metrics.count("Workers", 1);
            metrics.count("InstancesRunning", instances.running as u64);
            metrics.count("InstancesAllowed", instances.allowed as u64);
            metrics.count("InstancesMax", instances.max.get() as u64);
        }
        interval.drain_into(&status.counts, &mut metrics);
        drop(interval);

        let Metrics { definitions, mut members } = metrics;
        let timestamp = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        members.insert("service".into(), json!(self.service));
        members.insert("queue".into(), json!(self.queue));
        members.insert(
            "_aws".into(),
            json!({
                "Timestamp": timestamp,
                "CloudWatchMetrics": [{
                    "Namespace": self.namespace,
                    "Dimensions": [["service", "queue"]],
                    "Metrics": definitions,
                }],
            }),
        );
        Value::Object(members).to_string()
    }

    fn interval(&self) -> MutexGuard<'_, Interval> {
        self.interval.lock()
    }
}

impl TaskObserver for Emf {
    fn ended(&self, record: &TaskRecord<'_>) {
        let (wall, latency) = (record.usage.wall, record.usage.queued.saturating_add(record.usage.wall));
        let mut interval = self.interval();
        interval.outcomes[record.outcome as usize] += 1;
        interval.wall = interval.wall.saturating_add(wall);
        interval.task_us.saturating_record(micros(wall));
        interval.latency_us.saturating_record(micros(latency));
    }
}

impl Interval {
    /// Adds all metrics to a line, and resets them.
    fn drain_into(&mut self, counts: &Counts, metrics: &mut Metrics) {
        let tasks: u64 = self.outcomes.iter().sum();
        metrics.count("Tasks", tasks);
        for (kind, count) in OutcomeKind::ALL.into_iter().zip(&mut self.outcomes) {
            metrics.count(name(kind), std::mem::take(count));
        }
        metrics.count("MessagesReceived", counts.received.saturating_sub(self.counts.received));
        metrics.count("MessagesDeadLettered", counts.dead_lettered.saturating_sub(self.counts.dead_lettered));
        metrics.count("LeasesExpired", counts.leases_expired.saturating_sub(self.counts.leases_expired));
        self.counts = *counts;
        if tasks > 0 {
            let mean = self.wall.as_secs_f64() * 1e3 / tasks as f64;
            metrics.add("ServiceTime", "Milliseconds", json!(mean));
            metrics.add("TaskTime", "Milliseconds", json!(values(&self.task_us)));
            metrics.add("Latency", "Milliseconds", json!(values(&self.latency_us)));
        }
        self.wall = Duration::ZERO;
        self.task_us.reset();
        self.latency_us.reset();
    }
}

/// Returns at most 100 values in milliseconds, with the distribution of all recorded ones, so that CloudWatch's
/// percentiles of them are those of all tasks.
fn values(histogram: &Histogram<u64>) -> Vec<f64> {
    let count = histogram.len().min(MOST_VALUES);
    let at = |index: u64| histogram.value_at_quantile((index as f64 + 0.5) / count as f64);
    (0..count).map(|index| at(index).min(histogram.max()) as f64 / 1e3).collect()
}

/// Definitions and values of a line's metrics.
#[derive(Default)]
struct Metrics {
    definitions: Vec<Value>,
    members: Map<String, Value>,
}

impl Metrics {
    fn add(&mut self, name: &str, unit: &str, value: Value) {
        self.definitions.push(json!({"Name": name, "Unit": unit}));
        self.members.insert(name.into(), value);
    }

    fn count(&mut self, name: &str, count: u64) {
        self.add(name, "Count", json!(count));
    }
}

fn name(kind: OutcomeKind) -> &'static str {
    match kind {
        OutcomeKind::Completed => "TasksCompleted",
        OutcomeKind::Retry => "TasksRetry",
        OutcomeKind::Rejected => "TasksRejected",
        OutcomeKind::LimitExceeded => "TasksLimitExceeded",
        OutcomeKind::TimedOut => "TasksTimedOut",
        OutcomeKind::Trapped => "TasksTrapped",
        OutcomeKind::HostFailed => "TasksHostFailed",
        OutcomeKind::Cancelled => "TasksCancelled",
        OutcomeKind::Expired => "TasksExpired",
        OutcomeKind::Repeated => "TasksRepeated",
    }
}

/// Converts a text to a valid dimension of CloudWatch: printable ASCII, and not blank.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html>
fn dimension(text: &str) -> String {
    let printable = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '_' };
    let shown: String =
        text.trim_start_matches(':').chars().take(MOST_DIMENSION_CHARS).map(printable).collect();
    if shown.trim().is_empty() { "unknown".into() } else { shown }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::tests::healthy;
    use wasmrun_runtime::model::message::Message;
    use wasmrun_runtime::model::outcome::Outcome;
    use wasmrun_runtime::model::usage::Usage;

    fn emf() -> Emf {
        Emf::new(
            "Thumbs".into(),
            "thumbnail",
            &["https://sqs.eu-west-1.amazonaws.com/123456789012/uploads", "sqlite:slow.db"],
        )
    }

    fn line(emf: &Emf, status: &Status) -> Value {
        let line = emf.line(status, UNIX_EPOCH + Duration::from_millis(1_565_375_354_953), false);
        assert!(!line.contains('\n'));
        serde_json::from_str(&line).expect("JSON")
    }

    fn ended(emf: &Emf, outcome: &Outcome, wall_ms: u64) {
        let usage = Usage {
            queued: Duration::from_millis(1000),
            wall: Duration::from_millis(wall_ms),
            ..Usage::default()
        };
        emf.ended(&TaskRecord::new(&Message::new("m", ""), "c", outcome, &usage));
    }

    #[test]
    fn each_metric_that_is_defined_has_a_number_or_up_to_a_hundred() {
        let emf = emf();
        (0..1000).for_each(|index| ended(&emf, &Outcome::Completed, index));
        let line = line(&emf, &healthy());
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(
            (&directive["Namespace"], &line["service"], &line["queue"]),
            (&json!("Thumbs"), &json!("thumbnail"), &json!("uploads, slow.db"))
        );
        assert_eq!(line["_aws"]["Timestamp"], 1_565_375_354_953_u64);
        let definitions = directive["Metrics"].as_array().expect("a list");
        assert!(definitions.len() <= 100);
        for definition in definitions {
            let value = &line[definition["Name"].as_str().expect("a name")];
            let many = value
                .as_array()
                .is_some_and(|v| (1..=100).contains(&v.len()) && v.iter().all(Value::is_number));
            assert!(value.is_number() || many, "{definition}: {value}");
        }
        assert_eq!(line.as_object().expect("an object").len(), definitions.len() + 3);
        assert_eq!(line["TaskTime"].as_array().expect("values").len(), 100);
    }

    #[test]
    fn percentiles_of_the_values_are_those_of_all_tasks() {
        let emf = emf();
        (0..1000).for_each(|index| ended(&emf, &Outcome::Completed, index));
        let line = line(&emf, &healthy());
        let values: Vec<f64> =
            line["TaskTime"].as_array().expect("values").iter().filter_map(Value::as_f64).collect();
        for (index, value) in values.iter().enumerate() {
            let exact = index as f64 * 10.0 + 4.5;
            assert!((value - exact).abs() <= exact / 50.0 + 1.0, "{value} for {exact}");
        }
        let mean = line["ServiceTime"].as_f64().expect("a number");
        assert!((mean - 499.5).abs() < 0.01, "{mean}");
        let latency = line["Latency"][50].as_f64().expect("a number");
        assert!((1480.0..1530.0).contains(&latency), "{latency}");
    }

    #[test]
    fn a_line_tells_what_happened_since_the_last_one() {
        let emf = emf();
        let counted = |received, leases_expired| Status {
            counts: Counts { received, leases_expired, ..Counts::default() },
            ..healthy()
        };
        ended(&emf, &Outcome::TimedOut, 5);
        let first = line(&emf, &counted(7, 1));
        let count = |line: &Value, name: &str| line[name].as_u64().expect("a count");
        assert_eq!(
            (count(&first, "Tasks"), count(&first, "TasksTimedOut"), count(&first, "MessagesReceived")),
            (1, 1, 7)
        );
        assert_eq!(first["TaskTime"].as_array().map(Vec::len), Some(1));
        let second = line(&emf, &counted(9, 1));
        assert_eq!(
            (count(&second, "Tasks"), count(&second, "MessagesReceived"), count(&second, "LeasesExpired")),
            (0, 2, 0)
        );
        assert_eq!((count(&second, "Workers"), &second["ServiceTime"]), (1, &Value::Null));
        let defined = second["_aws"]["CloudWatchMetrics"][0]["Metrics"].to_string();
        assert!(!defined.contains("ServiceTime"), "what is not there is not defined");
    }

    #[tokio::test]
    async fn there_is_a_line_for_each_time() {
        let emf = emf();
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let print = |line: &str| sender.send(line.to_owned()).expect("somebody reads it");
        let third = async {
            for _ in 0..2 {
                receiver.recv().await;
            }
            receiver.recv().await.expect("a line")
        };
        tokio::select! {
            () = emf.report(Duration::from_millis(1), healthy, print) => unreachable!("it never ends"),
            line = third => assert!(line.contains("\"Workers\":1"), "{line}"),
        }
    }

    #[test]
    fn a_dimension_has_printable_characters_and_is_not_empty() {
        assert_eq!([dimension(""), dimension("ä\nb"), dimension(" ")], ["unknown", "__b", "unknown"]);
    }
}
