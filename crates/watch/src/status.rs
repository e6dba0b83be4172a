//! Converts the status of a worker to JSON.
//!
//! Names are the same as in logs, summaries and usage files. Text from a guest is a string. Characters that a terminal
//! may obey are escaped in it even where JSON doesn't require that.

use crate::{About, health};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use wasmrun_runtime::model::text::tamed;
use wasmrun_runtime::model::usage::Usage;
use wasmrun_runtime::ports::queue::Depth;
use wasmrun_runtime::worker::scaler::Because;
use wasmrun_runtime::worker::{Counts, FailedTask, QueueStatus, RunningTask, Status, Summary};

/// Names of the components that a worker runs.
pub(crate) struct Components {
    /// The one that handles messages without a route, or `-`.
    pub(crate) default: Arc<str>,
    /// Each route with its component.
    pub(crate) of_routes: Vec<(Arc<str>, Arc<str>)>,
}

/// Returns the status as one line of JSON, with a newline.
pub(crate) fn json(about: &About, components: &Components, status: &Status, summary: &Summary) -> String {
    let value = value(about, components, status, summary);
    let line = format!("{value}\n");
    String::from_utf8_lossy(&tamed(line.as_bytes())).into_owned()
}

fn value(about: &About, components: &Components, status: &Status, summary: &Summary) -> Value {
    let instances = status.instances;
    json!({
        "version": about.version,
        "component": &*components.default,
        "routes": components.of_routes.iter().map(route).collect::<Vec<_>>(),
        "queue": about.queues.join(", "),
        "queues": status.queues.iter().map(queue).collect::<Vec<_>>(),
        "uptime_seconds": seconds(status.uptime),
        "alive": check(health::alive(status)),
        "ready": check(health::ready(status)),
        "instances": {
            "running": instances.running,
            "allowed": instances.allowed,
            "min": instances.min,
            "max": instances.max,
            "because": instances.because.map(Because::as_str),
        },
        "depth": status.depth.map(depth),
        "waited_seconds": status.waited.map(seconds),
        "waiting_for_backends": status.waiting,
        "held": status.held,
        "over_budget": {"keys": status.over_budget.keys, "named": status.over_budget.named},
        "has_dead_letter_queue": status.has_dead_letter_queue,
        "running": status.running.iter().map(running).collect::<Vec<_>>(),
        "failures": status.failures.iter().map(failed).collect::<Vec<_>>(),
        "counts": counts(&status.counts),
        "tasks": summary.tasks,
        "outcomes": numbers(&summary.outcomes),
        "limits": numbers(&summary.limits),
        "usage": usage(&summary.usage),
        "percentiles": summary
            .spreads
            .iter()
            .map(|(quantity, spread)| (quantity.as_str().to_owned(), json!(spread)))
            .collect::<Map<_, _>>(),
    })
}

/// Returns one of several queues.
fn queue(queue: &QueueStatus) -> Value {
    json!({
        "queue": queue.url,
        "priority": queue.priority.to_string(),
        "depth": queue.depth.map(depth),
        "failing": queue.failing,
    })
}

fn depth((depth, ago): (Depth, Duration)) -> Value {
    json!({
        "visible": depth.visible,
        "in_flight": depth.in_flight,
        "delayed": depth.delayed,
        "seconds_ago": seconds(ago),
    })
}

fn route((name, component): &(Arc<str>, Arc<str>)) -> Value {
    json!({"name": &**name, "component": &**component})
}

/// Returns a health check's result, with the reason if it failed.
fn check(health: Result<(), String>) -> Value {
    match health {
        Ok(()) => json!({"is": true}),
        Err(why) => json!({"is": false, "why": why}),
    }
}

fn running(task: &RunningTask) -> Value {
    let RunningTask { message_id, receive_count, age } = task;
    json!({"message_id": message_id, "receive_count": receive_count, "age_seconds": seconds(*age)})
}

fn failed(task: &FailedTask) -> Value {
    let FailedTask { message_id, receive_count, outcome, reason, ago } = task;
    json!({
        "message_id": message_id,
        "receive_count": receive_count,
        "outcome": outcome,
        "reason": reason,
        "seconds_ago": seconds(*ago),
    })
}

fn counts(counts: &Counts) -> Map<String, Value> {
    counts.named().map(|count| (count.name.to_owned(), json!(count.value))).collect()
}

/// Returns the total usage of all tasks, without the usage by alias.
fn usage(usage: &Usage) -> Value {
    let mut usage = json!(usage);
    if let Some(usage) = usage.as_object_mut() {
        usage.remove("stores");
        usage.remove("queues");
        usage.remove("buckets");
    }
    usage
}

fn numbers<'a>(numbers: impl IntoIterator<Item = (&'a (impl ToString + 'a), &'a u64)>) -> Map<String, Value> {
    numbers.into_iter().map(|(name, number)| (name.to_string(), json!(number))).collect()
}

/// Returns a time in seconds, rounded to milliseconds.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::tests::healthy;
    use std::time::SystemTime;
    use wasmrun_runtime::model::outcome::OutcomeKind;
    use wasmrun_runtime::worker::Priority;

    fn components() -> Components {
        Components { default: "c.wasm".into(), of_routes: vec![("r".into(), "d.wasm".into())] }
    }

    fn about() -> About {
        About {
            version: "0.0.0",
            queues: vec!["memory:q".into(), "memory:r".into()],
            started_at: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_a_guest_said_is_a_string_on_one_line_that_no_terminal_obeys() {
        let said = "\"}],\"ready\":{\"is\":true}\n\u{1b}[2J\u{9b}2J\u{202e}";
        let failure = FailedTask {
            message_id: "m".into(),
            receive_count: 3,
            outcome: OutcomeKind::Rejected,
            reason: Some(said.into()),
            ago: Duration::from_millis(1234),
        };
        let status = Status { failures: vec![failure], ..healthy() };
        let line = json(&about(), &components(), &status, &Summary::default());
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.trim_end().is_ascii() && !line.contains('\u{1b}'), "{line}");
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["failures"][0]["reason"], said);
        assert_eq!(value["failures"][0]["seconds_ago"], 1.234);
    }

    #[test]
    fn the_status_uses_the_names_of_flags_and_metrics() {
        let depth = Depth { visible: 3, in_flight: 2, delayed: 1 };
        let failing = QueueStatus {
            url: "memory:r".into(),
            priority: Priority::Strict,
            depth: None,
            failing: Some("gone".into()),
        };
        let depth = Some((depth, Duration::from_secs(2)));
        let mut status = Status { depth, queues: vec![failing], ..healthy() };
        status.instances.because = Some(Because::ScaleInDelay);
        let mut summary = Summary { tasks: 4, ..Summary::default() };
        summary.outcomes.insert(OutcomeKind::LimitExceeded, 4);
        let value = value(&about(), &components(), &status, &summary);
        assert_eq!(value["queue"], "memory:q, memory:r");
        let failing = json!({"queue": "memory:r", "priority": "strict", "depth": null, "failing": "gone"});
        assert_eq!(value["queues"], json!([failing]));
        assert_eq!(value["routes"], json!([{"name": "r", "component": "d.wasm"}]));
        assert_eq!(value["depth"], json!({"visible": 3, "in_flight": 2, "delayed": 1, "seconds_ago": 2.0}));
        assert_eq!(value["instances"]["because"], "scale-in-delay");
        assert_eq!((&value["outcomes"]["limit-exceeded"], &value["alive"]["is"]), (&json!(4), &json!(true)));
        assert_eq!(value["percentiles"]["wall_us"]["p99"], 0);
        assert_eq!(value["usage"]["fuel"], 0);
    }
}
