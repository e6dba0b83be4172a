//! Converts the state of a worker to Prometheus metric families, on each scrape. `calls` has those of tasks' calls.

mod calls;

pub(crate) use self::calls::of_calls;

use crate::queue_labels::queue_labels;
use crate::{About, health};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};
use wasmrun_runtime::task::component::{Component, Refreshes};
use wasmrun_runtime::worker::Status;
use wasmrun_runtime::worker::circuit::Cause;
use wasmrun_runtime::worker::scaler::Because;

/// Label names and values, and the value of the sample.
type Sample<'a> = (Vec<(&'static str, &'a str)>, f64);

/// Returns the families of a worker's current state and counters.
pub(crate) fn of_status(status: &Status) -> Vec<MetricFamily> {
    let mut families = gauges(status);
    families.extend(status.counts.named().map(|count| {
        let name = format!("wasmrun_{}_total", count.metric);
        family(&name, count.help, MetricType::COUNTER, vec![(Vec::new(), count.value as f64)])
    }));
    let circuit = Cause::ALL
        .map(|cause| (vec![("cause", cause.as_str())], f64::from(u8::from(status.circuit == Some(cause)))));
    families.push(family(
        "wasmrun_circuit_open",
        "1 while the circuit is open for this cause, otherwise 0. backend: a store or a queue fails, and nothing is received; tasks: no task completes, and one message at a time is received.",
        MetricType::GAUGE,
        circuit.into(),
    ));
    if let Some(because) = status.instances.because {
        let samples = Because::ALL.map(|by| (vec![("by", by.as_str())], f64::from(u8::from(by == because))));
        families.push(family(
            "wasmrun_instances_bound",
            "What sets the current concurrency limit: 1 for this cause, 0 for the others.",
            MetricType::GAUGE,
            samples.into(),
        ));
    }
    families.extend(of_queues(status));
    families
}

/// Returns the gauges of one sample each that a worker always has.
fn gauges(status: &Status) -> Vec<MetricFamily> {
    let instances = status.instances;
    vec![
        gauge(
            "wasmrun_instances_running",
            "Tasks that run now, those whose dead letters or notifications are being sent included.",
            instances.running as f64,
        ),
        gauge(
            "wasmrun_instances_allowed",
            "The current concurrency limit: the number of tasks that may run at the same time.",
            instances.allowed as f64,
        ),
        gauge(
            "wasmrun_instances_min",
            "The lowest concurrency limit that the scaler sets.",
            instances.min as f64,
        ),
        gauge(
            "wasmrun_instances_max",
            "The highest concurrency limit that the scaler sets.",
            instances.max.get() as f64,
        ),
        gauge(
            "wasmrun_ready",
            "What /readyz says: 0 while the circuit is open, while no task completes, while the queue fails or is silent, while an operator has paused the worker, or while it stops; otherwise 1.",
            f64::from(u8::from(health::ready(status).is_ok())),
        ),
        gauge(
            "wasmrun_dead_letter_queue",
            "1 if there is a dead-letter queue, with several queues one for each; 0 if there is none, and rejected messages are retried.",
            f64::from(u8::from(status.has_dead_letter_queue)),
        ),
        gauge(
            "wasmrun_waiting_messages",
            "Messages that the worker keeps, without a task, until a failing store or queue works again.",
            status.waiting as f64,
        ),
        gauge(
            "wasmrun_held_messages",
            "Messages that the worker holds, without a task, until --key or a free permit lets them start.",
            status.held as f64,
        ),
        gauge(
            "wasmrun_keys_over_budget",
            "Keys that this worker has seen and that have used up their budgets of --budget in the current periods.",
            status.over_budget.keys as f64,
        ),
        gauge(
            "wasmrun_consecutive_failures",
            "Tasks in a row that failed, host errors excluded. At --max-consecutive-failures the worker slows down to one message at a time.",
            f64::from(status.consecutive_failures),
        ),
    ]
}

/// Returns the families of the queues' depth and age, as far as they are known, and of which of several fail.
fn of_queues(status: &Status) -> Vec<MetricFamily> {
    let mut families = Vec::new();
    if let Some((depth, ago)) = status.depth {
        let states = [("visible", depth.visible), ("in-flight", depth.in_flight), ("delayed", depth.delayed)];
        let samples = states.map(|(state, count)| (vec![("state", state)], count as f64));
        families.push(family(
            "wasmrun_queue_messages",
            "Messages in the queues by state, as they last reported; SQS reports approximate numbers.",
            MetricType::GAUGE,
            samples.into(),
        ));
        families.push(gauge(
            "wasmrun_queue_messages_age_seconds",
            "Time since the queue last reported its number of messages.",
            ago.as_secs_f64(),
        ));
    }
    if let Some(waited) = status.waited {
        families.push(gauge(
            "wasmrun_queue_age_seconds",
            "Estimated age of the oldest visible message: the time that the last first-time message waited until this worker received it, plus the time since then while messages are visible; 0 after a receive that returned none.",
            waited.as_secs_f64(),
        ));
    }
    if !status.queues.is_empty() {
        let labels = queue_labels(status.queues.iter().map(|queue| queue.url.as_str()));
        let failing = status
            .queues
            .iter()
            .zip(labels)
            .map(|(queue, label)| (vec![("queue", label)], f64::from(u8::from(queue.failing.is_some()))));
        families.push(family(
            "wasmrun_queue_failing",
            "Of each of several queues, 1 while it fails and the worker receives from the others; otherwise 0.",
            MetricType::GAUGE,
            failing.collect(),
        ));
    }
    families
}

/// Returns the families of the components' versions.
pub(crate) fn of_versions<'a>(components: impl Iterator<Item = &'a Arc<Component>>) -> Vec<MetricFamily> {
    let components: Vec<&Arc<Component>> = components.collect();
    let refreshes = components.iter().flat_map(|component| {
        let Refreshes { done, refused, reverted, failed } = component.refreshes();
        [("done", done), ("refused", refused), ("reverted", reverted), ("failed", failed)]
            .map(|(result, count)| (vec![("result", result)], count.load(Ordering::Relaxed) as f64))
    });
    let versions: Vec<_> = components.iter().flat_map(|component| component.versions()).collect();
    let tasks = versions.iter().flat_map(|(name, counts)| {
        [("completed", counts.completed), ("failed", counts.failed)]
            .map(|(result, count)| (vec![("component", &**name), ("result", result)], count as f64))
    });
    vec![
        family(
            "wasmrun_component_refreshes_total",
            "New versions of the component, by result; failed: a check for a new version failed.",
            MetricType::COUNTER,
            summed(refreshes.collect()),
        ),
        family(
            "wasmrun_component_tasks_total",
            "Tasks that ended, host errors and cancellations excluded, by version of the component and result: completed or failed.",
            MetricType::COUNTER,
            summed(tasks.collect()),
        ),
    ]
}

/// Returns the families that describe the program. `were_cached`: of each component, whether its code was in the cache.
pub(crate) fn of_program(about: &About, component: &str, were_cached: &[bool]) -> Vec<MetricFamily> {
    let [hits, misses] =
        [true, false].map(|found| were_cached.iter().filter(|hit| **hit == found).count() as f64);
    let started = about.started_at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let mut queue_names = queue_labels(about.queues.iter().map(String::as_str));
    queue_names.sort_unstable();
    // One sample, so that other metrics can be joined to it.
    let queue_names = queue_names.join(", ");
    vec![
        family(
            "wasmrun_build_info",
            "Always 1; the labels are the version of the program and the component that it runs.",
            MetricType::GAUGE,
            vec![(vec![("version", about.version), ("component", component)], 1.0)],
        ),
        family(
            "wasmrun_queue_info",
            "Always 1; the label is the name of the queue from which the worker receives, or the names of all of them.",
            MetricType::GAUGE,
            vec![(vec![("queue", queue_names.as_str())], 1.0)],
        ),
        family(
            "wasmrun_compile_cache_requests_total",
            "Lookups of the component's compiled code in the cache, at the start; miss: it was compiled.",
            MetricType::COUNTER,
            vec![(vec![("result", "hit")], hits), (vec![("result", "miss")], misses)],
        ),
        gauge(
            "process_start_time_seconds",
            "Start time of the process, in seconds since the Unix epoch.",
            started.as_secs_f64(),
        ),
    ]
}

/// Adds up samples with the same labels, in the order of the first ones.
fn summed(samples: Vec<Sample<'_>>) -> Vec<Sample<'_>> {
    let mut sums: Vec<Sample<'_>> = Vec::new();
    let mut places = HashMap::new();
    for (labels, value) in samples {
        let place = *places.entry(labels.clone()).or_insert(sums.len());
        match sums.get_mut(place) {
            Some((_, sum)) => *sum += value,
            None => sums.push((labels, value)),
        }
    }
    sums
}

fn gauge(name: &str, help: &str, value: f64) -> MetricFamily {
    family(name, help, MetricType::GAUGE, vec![(Vec::new(), value)])
}

fn family(name: &str, help: &str, kind: MetricType, samples: Vec<Sample<'_>>) -> MetricFamily {
    let metrics = samples.into_iter().map(|(labels, value)| {
        let labels = labels.into_iter().map(|(name, value)| {
            let mut label = LabelPair::default();
            label.set_name(name.to_owned());
            label.set_value(value.to_owned());
            label
        });
        let mut metric = Metric::from_label(labels.collect());
        if kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        metric
    });
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics.collect());
    family
}

#[cfg(test)]
mod tests;
