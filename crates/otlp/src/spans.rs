//! What a task, its calls and its settlement look like as spans.
//!
//! Names follow OpenTelemetry's semantic conventions for messaging and FaaS, in the version of the crate
//! `opentelemetry-semantic-conventions` (1.42.0): <https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>.
//! What they don't name begins with `wasmrun.`.

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use opentelemetry_semantic_conventions::attribute::{
    ERROR_TYPE, FAAS_NAME, FAAS_TRIGGER, FAAS_VERSION, MESSAGING_DESTINATION_NAME,
    MESSAGING_MESSAGE_BODY_SIZE, MESSAGING_MESSAGE_ID, MESSAGING_OPERATION_NAME, MESSAGING_OPERATION_TYPE,
    MESSAGING_SYSTEM, SERVER_ADDRESS,
};
use std::borrow::Cow;
use std::time::{Duration, SystemTime};
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::model::trace::{HostCall, TaskTrace, Trace};
use wasmrun_runtime::model::usage::{Settled, TaskRecord};

/// The queue that messages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Queue {
    system: &'static str,
    name: String,
}

impl Queue {
    /// Takes the name out of a queue's URL: its last segment.
    pub(crate) fn of(url: &str) -> Self {
        match url.strip_prefix("sqlite:") {
            Some(path) => Self { system: "sqlite", name: last(path) },
            None => Self { system: "aws_sqs", name: last(url) },
        }
    }
}

fn last(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

/// Returns the spans of a task: the task itself, its start, and its calls.
pub(crate) fn of_task(record: &TaskRecord<'_>, task: &TaskTrace, queue: &Queue) -> Vec<SpanData> {
    let TaskTrace { trace, calls, dropped_calls } = task;
    let usage = record.usage;
    let began = before(record.time, usage.wall);
    let (component, version) = record.component.split_once('@').unwrap_or((record.component, ""));
    let mut attributes = of_message(queue, record.message_id, "process", "process");
    attributes.extend([
        KeyValue::new(MESSAGING_MESSAGE_BODY_SIZE, integer(record.body.len() as u64)),
        KeyValue::new(FAAS_TRIGGER, "pubsub"),
        KeyValue::new(FAAS_NAME, component.to_owned()),
        KeyValue::new("wasmrun.receive_count", i64::from(record.receive_count)),
        KeyValue::new("wasmrun.outcome", record.outcome.as_str()),
        KeyValue::new("wasmrun.fuel", integer(usage.fuel)),
        KeyValue::new("wasmrun.cpu_us", integer(usage.cpu.as_micros() as u64)),
        KeyValue::new("wasmrun.queued_us", integer(usage.queued.as_micros() as u64)),
        KeyValue::new("wasmrun.peak_memory_bytes", integer(usage.peak_memory_bytes)),
    ]);
    if !version.is_empty() {
        attributes.push(KeyValue::new(FAAS_VERSION, version.to_owned()));
    }
    if let Some(limit) = record.limit {
        attributes.push(KeyValue::new("wasmrun.limit", limit.as_str()));
    }
    if *dropped_calls > 0 {
        attributes.push(KeyValue::new("wasmrun.dropped_calls", integer(*dropped_calls)));
    }
    let mut status = Status::Unset;
    if record.outcome != OutcomeKind::Completed {
        attributes.push(KeyValue::new(ERROR_TYPE, record.outcome.as_str()));
        status = Status::error(record.reason.unwrap_or_default().to_owned());
    }
    let whole = SpanData {
        span_context: context(trace, SpanId::from(trace.span_id())),
        parent_span_id: trace.parent_id().map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: trace.parent_id().is_some(),
        status,
        ..span(SpanKind::Consumer, format!("process {}", queue.name), (began, usage.wall), attributes)
    };
    let start = child(trace, span(SpanKind::Internal, "instantiate", (began, usage.start), Vec::new()));
    let calls = calls.iter().map(|call| child(trace, of_call(call, began)));
    [whole, start].into_iter().chain(calls).collect()
}

/// Returns the span of a settlement, which ended now.
pub(crate) fn of_settlement(settled: &Settled<'_>, queue: &Queue) -> SpanData {
    let began = before(SystemTime::now(), settled.took);
    let mut attributes = of_message(queue, settled.message_id, "settle", settled.operation);
    let mut status = Status::Unset;
    if let Some(error) = settled.error {
        attributes.push(KeyValue::new(ERROR_TYPE, "not-settled"));
        status = Status::error(error.to_owned());
    }
    let name = format!("{} {}", settled.operation, queue.name);
    let span = span(SpanKind::Client, name, (began, settled.took), attributes);
    child(settled.trace, SpanData { status, ..span })
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
    let mut status = Status::Unset;
    if call.result != "ok" {
        attributes.push(KeyValue::new(ERROR_TYPE, call.result));
        status = Status::error("");
    }
    let began = task_began.checked_add(call.began).unwrap_or(task_began);
    let name = format!("{} {}", call.name, call.target);
    SpanData { status, ..span(kind, name, (began, call.took), attributes) }
}

fn of_message(queue: &Queue, id: &str, kind: &'static str, name: &'static str) -> Vec<KeyValue> {
    vec![
        KeyValue::new(MESSAGING_SYSTEM, queue.system),
        KeyValue::new(MESSAGING_DESTINATION_NAME, queue.name.clone()),
        KeyValue::new(MESSAGING_OPERATION_TYPE, kind),
        KeyValue::new(MESSAGING_OPERATION_NAME, name),
        KeyValue::new(MESSAGING_MESSAGE_ID, id.to_owned()),
    ]
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
        end_time: began.checked_add(took).unwrap_or(began),
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

fn before(time: SystemTime, duration: Duration) -> SystemTime {
    time.checked_sub(duration).unwrap_or(time)
}

fn integer(number: u64) -> Value {
    Value::I64(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_named_by_the_last_segment_of_its_url() {
        let of = |url: &str| {
            let Queue { system, name } = Queue::of(url);
            format!("{system} {name}")
        };
        assert_eq!(of("https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo"), "aws_sqs jobs.fifo");
        assert_eq!(of("jobs"), "aws_sqs jobs");
        assert_eq!(of("sqlite:/var/lib/jobs.db#dead"), "sqlite jobs.db#dead");
        assert_eq!(of("sqlite:"), "sqlite ");
    }
}
