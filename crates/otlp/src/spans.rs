//! What a task, its calls and its settlement look like as spans.
//!
//! Names follow the same conventions as those of [`trigger`](crate::trigger). What they don't name begins with `wasmrun.`.

use crate::trigger::{Beginning, Queue, Trigger};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use opentelemetry_semantic_conventions::attribute::{
    ERROR_TYPE, FAAS_NAME, FAAS_VERSION, MESSAGING_DESTINATION_NAME, MESSAGING_OPERATION_NAME,
    MESSAGING_OPERATION_TYPE, SERVER_ADDRESS,
};
use std::borrow::Cow;
use std::time::{Duration, SystemTime};
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::model::task_trace::{HostCall, TaskTrace};
use wasmrun_runtime::model::trace::Trace;
use wasmrun_runtime::model::usage::{Settled, TaskRecord};

/// Returns the spans of a task: the task itself, its start, and its calls.
pub(crate) fn of_task(record: &TaskRecord<'_>, task: &TaskTrace, trigger: &Trigger) -> Vec<SpanData> {
    let TaskTrace { trace, before, calls, .. } = task;
    let usage = record.usage;
    let took = usage.wall.saturating_add(*before);
    let began = earlier(record.time, took);
    let Beginning { kind, name, mut attributes } = trigger.begin(record);
    attributes.extend(of_record(record, task));
    let mut status = Status::Unset;
    if record.outcome != OutcomeKind::Completed {
        attributes.push(KeyValue::new(ERROR_TYPE, record.outcome.as_str()));
        status = Status::error(record.reason.unwrap_or_default().to_owned());
    } else if let Some(failed @ 500..) = usage.http.status {
        attributes.push(KeyValue::new(ERROR_TYPE, failed.to_string()));
        status = Status::error("");
    }
    let whole = SpanData {
        span_context: context(trace, SpanId::from(trace.span_id())),
        parent_span_id: trace.parent_id().map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: trace.parent_id().is_some(),
        status,
        ..span(kind, name, (began, took), attributes)
    };
    // A task that ends before it gets an instance, as its message is refused, has no start.
    let start = (!usage.start.is_zero()).then(|| {
        let times = (later(began, *before), usage.start);
        child(trace, span(SpanKind::Internal, "instantiate", times, Vec::new()))
    });
    let calls = calls.iter().map(|call| child(trace, of_call(call, began)));
    [whole].into_iter().chain(start).chain(calls).collect()
}

/// Returns the attributes of a task's span that don't depend on what started the task.
fn of_record(record: &TaskRecord<'_>, task: &TaskTrace) -> Vec<KeyValue> {
    let usage = record.usage;
    let (component, version) = record.component.split_once('@').unwrap_or((record.component, ""));
    let mut attributes = vec![
        KeyValue::new(FAAS_NAME, component.to_owned()),
        KeyValue::new("wasmrun.receive_count", i64::from(record.receive_count)),
        KeyValue::new("wasmrun.outcome", record.outcome.as_str()),
        KeyValue::new("wasmrun.fuel", integer(usage.fuel)),
        KeyValue::new("wasmrun.cpu_us", integer(usage.cpu.as_micros() as u64)),
        KeyValue::new("wasmrun.queued_us", integer(usage.queued.as_micros() as u64)),
        KeyValue::new("wasmrun.peak_memory_bytes", integer(usage.peak_memory_bytes)),
    ];
    if let Some(key) = record.key {
        attributes.push(KeyValue::new("wasmrun.key", key.to_owned()));
    }
    if let Some(route) = record.route {
        attributes.push(KeyValue::new("wasmrun.route", route.to_owned()));
    }
    if !version.is_empty() {
        attributes.push(KeyValue::new(FAAS_VERSION, version.to_owned()));
    }
    if let Some(limit) = record.limit {
        attributes.push(KeyValue::new("wasmrun.limit", limit.as_str()));
    }
    if task.dropped_calls > 0 {
        attributes.push(KeyValue::new("wasmrun.dropped_calls", integer(task.dropped_calls)));
    }
    attributes
}

/// Returns the span of a settlement, a dead letter or a notification, which ended now.
pub(crate) fn of_settlement(settled: &Settled<'_>) -> SpanData {
    let Settled { trace, message_id, queue, operation, took, error } = *settled;
    let queue = Queue::of(queue);
    let (span_kind, kind) = match operation {
        "dead-letter" | "notify" => (SpanKind::Producer, "send"),
        _ => (SpanKind::Client, "settle"),
    };
    let mut attributes = queue.operation(message_id, kind, operation);
    let mut status = Status::Unset;
    if let Some(error) = error {
        attributes.push(KeyValue::new(ERROR_TYPE, if kind == "send" { "not-sent" } else { "not-settled" }));
        status = Status::error(error.to_owned());
    }
    let times = (earlier(SystemTime::now(), took), took);
    let span = span(span_kind, format!("{operation} {}", queue.name), times, attributes);
    child(trace, SpanData { status, ..span })
}

/// Returns the span of a call, which is no child of its task yet.
fn of_call(call: &HostCall, task_began: SystemTime) -> SpanData {
    let mut attributes = vec![KeyValue::new("wasmrun.call", format!("{} {}", call.kind, call.name))];
    let kind = if call.kind == "queue" { SpanKind::Producer } else { SpanKind::Client };
    match call.kind {
        "queue" => attributes.extend([
            KeyValue::new(MESSAGING_OPERATION_TYPE, "send"),
            KeyValue::new(MESSAGING_OPERATION_NAME, call.name),
            KeyValue::new(MESSAGING_DESTINATION_NAME, call.target.clone()),
        ]),
        "http" => attributes.push(KeyValue::new(SERVER_ADDRESS, call.target.clone())),
        _ => {}
    }
    if call.pieces > 1 {
        attributes.push(KeyValue::new("wasmrun.pieces", integer(call.pieces)));
    }
    let mut status = Status::Unset;
    if call.result != "ok" {
        attributes.push(KeyValue::new(ERROR_TYPE, call.result));
        status = Status::error("");
    }
    let name = format!("{} {}", call.name, call.target);
    let times = (later(task_began, call.began), call.took);
    SpanData { status, ..span(kind, name, times, attributes) }
}

/// Returns a span without a place in a trace.
fn span(
    kind: SpanKind,
    name: impl Into<Cow<'static, str>>,
    (began, took): (SystemTime, Duration),
    attributes: Vec<KeyValue>,
) -> SpanData {
    SpanData {
        span_context: SpanContext::empty_context(),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: kind,
        name: name.into(),
        start_time: began,
        end_time: later(began, took),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: scope(),
    }
}

/// Makes a span a child of its task's.
fn child(trace: &Trace, span: SpanData) -> SpanData {
    SpanData {
        span_context: context(trace, RandomIdGenerator::default().new_span_id()),
        parent_span_id: SpanId::from(trace.span_id()),
        ..span
    }
}

/// Whatever is exported counts as sampled: what isn't, the SDK drops.
fn context(trace: &Trace, span: SpanId) -> SpanContext {
    let id = TraceId::from(trace.id());
    SpanContext::new(id, span, TraceFlags::SAMPLED, false, TraceState::default())
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("wasmrun")
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(opentelemetry_semantic_conventions::SCHEMA_URL)
        .build()
}

fn earlier(time: SystemTime, duration: Duration) -> SystemTime {
    time.checked_sub(duration).unwrap_or(time)
}

fn later(time: SystemTime, duration: Duration) -> SystemTime {
    time.checked_add(duration).unwrap_or(time)
}

fn integer(number: u64) -> Value {
    Value::I64(i64::try_from(number).unwrap_or(i64::MAX))
}
