//! Records each ended task in counters and histograms for Prometheus and OpenTelemetry.
//!
//! Tasks end on the guest threads, up to some hundred thousand a second. So each counter is held directly, and none is
//! looked up by its labels.

use crate::exemplars::{Exemplar, Exemplars};
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry, TextEncoder};
use std::collections::BTreeMap;
use std::time::Duration;
use wasmrun_runtime::model::limits::Limit;
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::model::usage::{TaskObserver, TaskRecord, Usage};

/// Buckets of the time in the queue, in seconds.
const QUEUED: &[f64] =
    &[0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];
/// Buckets of the time until an instance has started, in seconds. Tens of microseconds are normal.
const START: &[f64] = &[0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.01, 0.1, 1.0];
/// Buckets of the duration of a task, in seconds: from an empty task to hours.
const TASK: &[f64] = &[
    0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
    3600.0,
];
/// Buckets of fuel. A task uses about a billion units per second.
const FUEL: &[f64] = &[1e4, 1e5, 1e6, 1e7, 3e7, 1e8, 3e8, 1e9, 3e9, 1e10, 1e11, 1e12];
/// Buckets of memory, in bytes: from a page of Wasm to the largest memory.
const MEMORY: &[f64] = &[
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
    4_294_967_296.0,
];
const RECEIVES: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 50.0, 100.0];

/// Histogram of the duration of one phase of a task.
struct Time {
    name: &'static str,
    help: &'static str,
    bounds: &'static [f64],
    of: fn(&Usage) -> Duration,
}

const TIMES: [Time; 6] = [
    Time {
        name: "wasmrun_task_queued_seconds",
        help: "Time from the sending of the message to the start of its task, delays and earlier tries included.",
        bounds: QUEUED,
        of: |usage| usage.queued,
    },
    Time {
        name: "wasmrun_task_start_seconds",
        help: "Time from the start of a task until its instance exists.",
        bounds: START,
        of: |usage| usage.start,
    },
    Time {
        name: "wasmrun_task_compute_seconds",
        help: "Time that a task spent on a guest thread, after its instance existed.",
        bounds: TASK,
        of: |usage| usage.compute,
    },
    Time {
        name: "wasmrun_task_blocked_seconds",
        help: "Time that a task waited for the host: stores, queues, HTTP, clocks.",
        bounds: TASK,
        of: |usage| usage.blocked,
    },
    Time {
        name: "wasmrun_task_ready_seconds",
        help: "Time that a task waited for a guest thread while other tasks used it.",
        bounds: TASK,
        of: |usage| usage.ready,
    },
    Time {
        name: "wasmrun_task_duration_seconds",
        help: "Time from the start of a task to its end.",
        bounds: TASK,
        of: |usage| usage.wall,
    },
];

/// Label of the messages that no route matches.
const NO_ROUTE: &str = "-";
/// Classes of a response's status.
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Statuses of the responses that a service gives itself.
const ERRORS: [u16; 8] = [400, 405, 408, 413, 500, 501, 503, 504];

/// Metrics of tasks, shared by all threads.
pub struct Metrics {
    registry: Registry,
    outcomes: [IntCounter; OutcomeKind::ALL.len()],
    limits: [IntCounter; Limit::ALL.len()],
    /// Responses of a service, in the order of [`STATUSES`].
    responses: [IntCounter; STATUSES.len()],
    /// Responses that a service gave itself, in the order of [`ERRORS`].
    errors: [IntCounter; ERRORS.len()],
    /// Tasks of each route by outcome, in the order of [`OutcomeKind::ALL`]. Empty without routes.
    routes: BTreeMap<String, [IntCounter; OutcomeKind::ALL.len()]>,
    refusals: IntCounter,
    /// In the order of [`TIMES`].
    times: [Histogram; TIMES.len()],
    /// Traces of messages, in the order of [`TIMES`].
    exemplars: [Exemplars; TIMES.len()],
    fuel: Histogram,
    memory: Histogram,
    receives: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let outcomes = counters(&registry, "wasmrun_tasks_total", "Tasks that ended, by outcome.", "outcome");
        let limits = counters(
            &registry,
            "wasmrun_tasks_limited_total",
            "Tasks that a limit ended, by limit.",
            "limit",
        );
        let responses = counters(
            &registry,
            "wasmrun_responses_total",
            "Responses that the tasks of a service gave, by class of status.",
            "status",
        );
        let errors = counters(
            &registry,
            "wasmrun_error_responses_total",
            "Responses that a service gave itself, by status: to requests that got no task, or whose task gave no response.",
            "status",
        );
        let refusals = IntCounter::new(
            "wasmrun_refused_calls_total",
            "Calls of tasks that were refused because no grant allows them.",
        )
        .expect("a valid name");
        registry.register(Box::new(refusals.clone())).expect("a new name");
        Self {
            outcomes: OutcomeKind::ALL.map(|kind| outcomes.with_label_values(&[kind.as_str()])),
            limits: Limit::ALL.map(|limit| limits.with_label_values(&[limit.as_str()])),
            responses: STATUSES.map(|status| responses.with_label_values(&[status])),
            errors: ERRORS.map(|status| errors.with_label_values(&[&status.to_string()])),
            routes: BTreeMap::new(),
            refusals,
            times: TIMES.each_ref().map(|time| histogram(&registry, time.name, time.help, time.bounds)),
            exemplars: TIMES.each_ref().map(|time| Exemplars::new(time.bounds)),
            fuel: histogram(
                &registry,
                "wasmrun_task_fuel",
                "Fuel that a task consumed, in the engine's units.",
                FUEL,
            ),
            memory: histogram(
                &registry,
                "wasmrun_task_peak_memory_bytes",
                "Highest sum of the linear memories of a task.",
                MEMORY,
            ),
            receives: histogram(
                &registry,
                "wasmrun_task_receives",
                "Number of receives of a task's message, this one included; high values are messages that fail repeatedly.",
                RECEIVES,
            ),
            registry,
        }
    }
}

impl Metrics {
    /// Counts the tasks of these routes, and those of messages that no route matches. No more are added later.
    pub fn with_routes(mut self, names: &[&str]) -> Self {
        if names.is_empty() {
            return self;
        }
        let options = Opts::new(
            "wasmrun_route_tasks_total",
            "Tasks that ended, by route and outcome; the route - is that of messages that no route matches.",
        );
        let tasks = IntCounterVec::new(options, &["route", "outcome"]).expect("valid names");
        self.registry.register(Box::new(tasks.clone())).expect("a new name");
        let of = |name: &str| OutcomeKind::ALL.map(|kind| tasks.with_label_values(&[name, kind.as_str()]));
        self.routes = names.iter().chain(&[NO_ROUTE]).map(|name| ((*name).to_owned(), of(name))).collect();
        self
    }

    /// Counts a response that a service gave itself.
    pub fn error_response(&self, status: u16) {
        if let Some(place) = ERRORS.iter().position(|&known| known == status) {
            self.errors[place].inc();
        }
    }

    /// Returns these metrics and `others`, as they are now.
    pub fn gather(&self, others: Vec<MetricFamily>) -> Gathered {
        let mut families = self.registry.gather();
        families.extend(others);
        let latest = self.exemplars.iter().map(Exemplars::latest);
        Gathered { families, exemplars: TIMES.iter().map(|time| time.name).zip(latest).collect() }
    }
}

/// All metrics of a worker at a moment.
#[derive(Debug)]
pub struct Gathered {
    /// The metrics, by name.
    pub families: Vec<MetricFamily>,
    /// Exemplars of histograms, by name: one for each bucket, that without a bound last.
    pub exemplars: BTreeMap<&'static str, Vec<Option<Exemplar>>>,
}

impl Gathered {
    /// Returns the metrics in Prometheus' text format, which has no exemplars.
    pub(crate) fn text(&self) -> String {
        // The encoder fails only for families without a sample, and there are none.
        TextEncoder::new().encode_to_string(&self.families).unwrap_or_default()
    }
}

impl TaskObserver for Metrics {
    fn ended(&self, record: &TaskRecord<'_>) {
        self.outcomes[record.outcome as usize].inc();
        if !self.routes.is_empty()
            && let Some(outcomes) = self.routes.get(record.route.unwrap_or(NO_ROUTE))
        {
            outcomes[record.outcome as usize].inc();
        }
        if let Some(limit) = record.limit {
            self.limits[limit as usize].inc();
        }
        let class = record.usage.http.status.map(|status| usize::from(status / 100));
        if let Some(responses) = class.and_then(|class| self.responses.get(class.checked_sub(1)?)) {
            responses.inc();
        }
        if record.usage.refusals > 0 {
            self.refusals.inc_by(record.usage.refusals);
        }
        for (time, histogram) in TIMES.iter().zip(&self.times) {
            histogram.observe((time.of)(record.usage).as_secs_f64());
        }
        if let Some(trace_id) = record.trace_id {
            for (time, exemplars) in TIMES.iter().zip(&self.exemplars) {
                exemplars.record((time.of)(record.usage).as_secs_f64(), trace_id, record.time);
            }
        }
        self.fuel.observe(record.usage.fuel as f64);
        self.memory.observe(record.usage.peak_memory_bytes as f64);
        self.receives.observe(record.receive_count.into());
    }
}

fn counters(registry: &Registry, name: &str, help: &str, label: &str) -> IntCounterVec {
    let counters = IntCounterVec::new(Opts::new(name, help), &[label]).expect("valid names");
    registry.register(Box::new(counters.clone())).expect("a new name");
    counters
}

fn histogram(registry: &Registry, name: &str, help: &str, bounds: &[f64]) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
    let histogram = Histogram::with_opts(options).expect("a valid name and ascending bounds");
    registry.register(Box::new(histogram.clone())).expect("a new name");
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmrun_runtime::model::message::Message;
    use wasmrun_runtime::model::outcome::Outcome;

    #[test]
    fn each_outcome_and_each_limit_has_a_place_of_its_own() {
        let metrics = Metrics::default();
        let (message, usage) = (Message::new("m", ""), Usage::default());
        for limit in Limit::ALL {
            metrics.ended(&TaskRecord::new(&message, "c", &Outcome::LimitExceeded { limit }, &usage));
        }
        metrics.ended(&TaskRecord::new(&message, "c", &Outcome::Completed, &usage));
        let text = metrics.gather(Vec::new()).text();
        for limit in Limit::ALL {
            let sample = format!("wasmrun_tasks_limited_total{{limit=\"{limit}\"}} 1\n");
            assert!(text.contains(&sample), "no {sample} in {text}");
        }
        for (outcome, count) in [("completed", 1), ("limit-exceeded", Limit::ALL.len()), ("trapped", 0)] {
            let sample = format!("wasmrun_tasks_total{{outcome=\"{outcome}\"}} {count}\n");
            assert!(text.contains(&sample), "no {sample} in {text}");
        }
    }

    #[test]
    fn tasks_are_counted_by_route_and_nothing_else_makes_a_label() {
        let metrics = Metrics::default().with_routes(&["photos"]);
        let (message, usage) = (Message::new("m", ""), Usage::default());
        let record = TaskRecord::new(&message, "c", &Outcome::Completed, &usage);
        for route in [Some("photos"), Some("photos"), None, Some("unknown")] {
            metrics.ended(&TaskRecord { route, ..record.clone() });
        }
        let text = metrics.gather(Vec::new()).text();
        for (route, count) in [("photos", 2), ("-", 1)] {
            let sample =
                format!("wasmrun_route_tasks_total{{outcome=\"completed\",route=\"{route}\"}} {count}\n");
            assert!(text.contains(&sample), "no {sample} in {text}");
        }
        assert!(!text.contains("unknown"), "{text}");
        let without = Metrics::default().with_routes(&[]).gather(Vec::new()).text();
        assert!(!without.contains("wasmrun_route"), "{without}");
    }

    #[test]
    fn a_response_is_counted_by_the_class_of_its_status() {
        let metrics = Metrics::default();
        let message = Message::new("m", "");
        for status in [200, 201, 404, 599, 600, 99] {
            let mut usage = Usage::default();
            usage.http.status = Some(status);
            metrics.ended(&TaskRecord::new(&message, "c", &Outcome::Completed, &usage));
        }
        let text = metrics.gather(Vec::new()).text();
        for (class, count) in [("1xx", 0), ("2xx", 2), ("4xx", 1), ("5xx", 1)] {
            let sample = format!("wasmrun_responses_total{{status=\"{class}\"}} {count}\n");
            assert!(text.contains(&sample), "no {sample} in {text}");
        }
    }

    #[test]
    fn a_response_of_the_service_itself_is_counted_by_its_status() {
        let metrics = Metrics::default();
        [503, 503, 408, 200].into_iter().for_each(|status| metrics.error_response(status));
        let text = metrics.gather(Vec::new()).text();
        for (status, count) in [(503, 2), (408, 1), (500, 0)] {
            let sample = format!("wasmrun_error_responses_total{{status=\"{status}\"}} {count}\n");
            assert!(text.contains(&sample), "no {sample} in {text}");
        }
    }

    #[test]
    fn what_a_task_consumed_is_in_the_right_bucket() {
        let metrics = Metrics::default();
        let usage = Usage {
            compute: Duration::from_millis(3),
            queued: Duration::from_secs(7200),
            peak_memory_bytes: 65_536,
            refusals: 2,
            ..Usage::default()
        };
        let message = Message { receive_count: 7, ..Message::new("m", "") };
        metrics.ended(&TaskRecord::new(&message, "c", &Outcome::Completed, &usage));
        let text = metrics.gather(Vec::new()).text();
        for sample in [
            "wasmrun_task_compute_seconds_bucket{le=\"0.001\"} 0\n",
            "wasmrun_task_compute_seconds_bucket{le=\"0.005\"} 1\n",
            "wasmrun_task_compute_seconds_sum 0.003\n",
            "wasmrun_task_queued_seconds_bucket{le=\"3600\"} 0\n",
            "wasmrun_task_queued_seconds_bucket{le=\"+Inf\"} 1\n",
            "wasmrun_task_peak_memory_bytes_bucket{le=\"65536\"} 1\n",
            "wasmrun_task_receives_bucket{le=\"5\"} 0\n",
            "wasmrun_task_receives_sum 7\n",
            "wasmrun_refused_calls_total 2\n",
        ] {
            assert!(text.contains(sample), "no {sample} in {text}");
        }
    }
}
