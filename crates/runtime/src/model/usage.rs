//! Usage: how much a task consumed.

use crate::model::limits::Limit;
use crate::model::message::Message;
use crate::model::outcome::{Outcome, OutcomeKind};
use crate::model::task_trace::TaskTrace;
use crate::model::trace::{self, Trace};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// Resources that one task consumed: a field for each measurement. Durations are serialized as microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Fuel consumed.
    pub fuel: u64,
    /// CPU time of the thread while it ran the guest, including host calls that don't wait.
    #[serde(rename = "cpu_us", serialize_with = "as_micros")]
    pub cpu: Duration,
    /// Time from sending the message to the task's start. Includes delays and earlier tries.
    #[serde(rename = "queued_us", serialize_with = "as_micros")]
    pub queued: Duration,
    /// Time from the task's start until its instance existed.
    #[serde(rename = "start_us", serialize_with = "as_micros")]
    pub start: Duration,
    /// Time on a thread after the start.
    #[serde(rename = "compute_us", serialize_with = "as_micros")]
    pub compute: Duration,
    /// Time spent waiting for the host: stores, queues, HTTP, clocks.
    #[serde(rename = "blocked_us", serialize_with = "as_micros")]
    pub blocked: Duration,
    /// Time spent waiting for a thread while other tasks computed.
    #[serde(rename = "ready_us", serialize_with = "as_micros")]
    pub ready: Duration,
    /// Time from the task's start to its end: the sum of `start`, `compute`, `blocked` and `ready`.
    #[serde(rename = "wall_us", serialize_with = "as_micros")]
    pub wall: Duration,
    /// Peak of linear memory in bytes, all memories together.
    pub peak_memory_bytes: u64,
    /// Bytes written to the log, without those that were dropped.
    pub log_bytes: u64,
    /// Random bytes that the guest asked for.
    pub random_bytes: u64,
    /// Bytes read from all object stores and key-value buckets.
    pub bytes_read: u64,
    /// Bytes written to all object stores, key-value buckets and queues.
    pub bytes_written: u64,
    /// Calls to all object stores, key-value buckets and queues.
    pub calls: u64,
    /// Calls refused for lack of a grant.
    pub refusals: u64,
    /// Usage of each store, by alias.
    pub stores: BTreeMap<String, StoreUsage>,
    /// Usage of each queue, by alias.
    pub queues: BTreeMap<String, QueueUsage>,
    /// Usage of each key-value bucket, by alias.
    pub buckets: BTreeMap<String, BucketUsage>,
    /// Usage of HTTP.
    pub http: HttpUsage,
}

/// One task's usage of one object store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreUsage {
    /// Calls of any kind.
    pub calls: u64,
    /// Bytes of object content read.
    pub bytes_read: u64,
    /// Bytes of object content written.
    pub bytes_written: u64,
}

/// One task's usage of one key-value bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BucketUsage {
    /// Calls of any kind; each key of a batch counts.
    pub calls: u64,
    /// Bytes of values read.
    pub bytes_read: u64,
    /// Bytes of keys and values written.
    pub bytes_written: u64,
}

/// One task's usage of one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QueueUsage {
    /// Calls; a batch is one call.
    pub calls: u64,
    /// Bytes of messages with their attributes.
    pub bytes_written: u64,
    /// Messages sent; each message of a batch counts.
    pub messages: u64,
}

/// One task's usage of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HttpUsage {
    /// Requests, refused ones included.
    pub requests: u64,
    /// Bytes of requests, and of a service's response: heads and bodies.
    pub bytes_sent: u64,
    /// Bytes of responses, and of the request to a service: heads and bodies.
    pub bytes_received: u64,
    /// Status of a service's response, if it gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

fn as_micros<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

impl Usage {
    /// Adds another task's usage. Of the memory peaks it keeps the higher one. The usage of each store, queue and bucket isn't
    /// added.
    pub(crate) fn add(&mut self, other: &Self) {
        let own = std::mem::take(self);
        // Names each field, so that none is forgotten.
        *self = Self {
            fuel: own.fuel.saturating_add(other.fuel),
            cpu: own.cpu.saturating_add(other.cpu),
            queued: own.queued.saturating_add(other.queued),
            start: own.start.saturating_add(other.start),
            compute: own.compute.saturating_add(other.compute),
            blocked: own.blocked.saturating_add(other.blocked),
            ready: own.ready.saturating_add(other.ready),
            wall: own.wall.saturating_add(other.wall),
            peak_memory_bytes: own.peak_memory_bytes.max(other.peak_memory_bytes),
            log_bytes: own.log_bytes.saturating_add(other.log_bytes),
            random_bytes: own.random_bytes.saturating_add(other.random_bytes),
            bytes_read: own.bytes_read.saturating_add(other.bytes_read),
            bytes_written: own.bytes_written.saturating_add(other.bytes_written),
            calls: own.calls.saturating_add(other.calls),
            refusals: own.refusals.saturating_add(other.refusals),
            stores: own.stores,
            queues: own.queues,
            buckets: own.buckets,
            http: HttpUsage {
                requests: own.http.requests.saturating_add(other.http.requests),
                bytes_sent: own.http.bytes_sent.saturating_add(other.http.bytes_sent),
                bytes_received: own.http.bytes_received.saturating_add(other.http.bytes_received),
                status: own.http.status,
            },
        };
    }
}

/// Record of a task that has ended. Its serialization is a line of the usage file, with a field for each key.
#[derive(Clone, Debug, Serialize)]
pub struct TaskRecord<'a> {
    /// When the task ended.
    #[serde(serialize_with = "as_rfc3339")]
    pub time: SystemTime,
    /// The queue's ID of the message.
    pub message_id: &'a str,
    /// Number of deliveries of the message, including this one.
    pub receive_count: u32,
    /// ID of the task's trace, if the trace is recorded; usage files don't have it.
    #[serde(skip)]
    pub trace_id: Option<u128>,
    /// The text of the message, which usage files don't have.
    #[serde(skip)]
    pub body: &'a str,
    /// URL of the message's queue, if the worker has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<&'a str>,
    /// Name of the component in dead letters.
    pub component: &'a str,
    /// Key of the message, if the worker tells messages apart by key. The sender chooses it: never write it as a raw line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// Name of the route that the message took, if there are routes and one matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'a str>,
    /// How the task ended.
    pub outcome: OutcomeKind,
    /// The limit that ended the task.
    pub limit: Option<Limit>,
    /// The reason in words. It may hold a guest's text: never write it as a raw line.
    pub reason: Option<&'a str>,
    /// The task's trace, if traces are exported.
    #[serde(skip)]
    pub trace: Option<&'a TaskTrace>,
    /// The resources that the task consumed.
    #[serde(flatten)]
    pub usage: &'a Usage,
}

impl<'a> TaskRecord<'a> {
    /// Creates the record of a task that ends now.
    pub fn new(message: &'a Message, component: &'a str, outcome: &'a Outcome, usage: &'a Usage) -> Self {
        let limit = match outcome {
            Outcome::LimitExceeded { limit } => Some(*limit),
            _ => None,
        };
        Self {
            time: SystemTime::now(),
            message_id: &message.id,
            receive_count: message.receive_count,
            trace_id: trace::recorded(message),
            body: &message.body,
            queue: None,
            component,
            key: None,
            route: None,
            outcome: outcome.kind(),
            limit,
            reason: outcome.reason(),
            trace: None,
            usage,
        }
    }

    /// Adds the task's trace, if traces are exported.
    pub(crate) fn with_trace(self, trace: Option<&'a TaskTrace>) -> Self {
        let exported = trace.filter(|task| task.is_exported(self.outcome)).map(|task| task.trace.id());
        Self { trace_id: exported.or(self.trace_id), trace, ..self }
    }
}

/// Observes the end of each task.
pub trait TaskObserver: Send + Sync {
    /// Called when a task has ended, on a guest thread: an implementation must not block.
    fn ended(&self, record: &TaskRecord<'_>);

    /// Called when the message of a task with an exported trace was settled or dead-lettered, or couldn't be.
    fn settled(&self, _settled: &Settled<'_>) {}
}

/// A call to a queue that followed from the end of a task. It has ended now, and may have failed.
#[derive(Clone, Copy, Debug)]
pub struct Settled<'a> {
    /// The task's trace.
    pub trace: &'a Trace,
    /// The queue's ID of the message.
    pub message_id: &'a str,
    /// URL of the queue that was called: of the message's, of the dead-letter queue, or of the recipient of notifications.
    pub queue: &'a str,
    /// What was done: `delete`, `retry`, `release`, `dead-letter` or `notify`.
    pub operation: &'static str,
    /// How long the call took.
    pub took: Duration,
    /// Why it failed.
    pub error: Option<&'a str>,
}

fn as_rfc3339<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    match jiff::Timestamp::try_from(*time) {
        Ok(time) => serializer.collect_str(&format_args!("{time:.6}")),
        Err(error) => Err(serde::ser::Error::custom(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_object_with_the_limit_by_name_and_times_in_microseconds() {
        let mut usage = Usage { fuel: 7, wall: Duration::from_millis(3), ..Usage::default() };
        usage.stores.insert("input".into(), StoreUsage { calls: 2, bytes_read: 10, bytes_written: 0 });
        let outcome = Outcome::LimitExceeded { limit: Limit::TableElements };
        let message = Message { receive_count: 2, ..Message::new("id", "secret") };
        let mut record = TaskRecord::new(&message, "c.wasm", &outcome, &usage);
        record.time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_500_000);
        let line = serde_json::to_value(&record).expect("JSON");
        assert_eq!(line["time"], "1970-01-01T00:00:01.500000Z");
        assert_eq!(line["limit"], "table-elements");
        assert_eq!((&line["fuel"], &line["wall_us"]), (&7.into(), &3000.into()));
        assert_eq!(line["stores"]["input"]["bytes_read"], 10);
        assert_eq!((&line["outcome"], &line["receive_count"]), (&"limit-exceeded".into(), &2.into()));
        assert!(!line.to_string().contains("secret"), "{line}");
    }

    #[test]
    fn a_record_has_a_key_only_if_there_are_keys_and_no_key_breaks_the_line() {
        let (message, usage) = (Message::new("id", ""), Usage::default());
        let record = TaskRecord::new(&message, "c.wasm", &Outcome::Completed, &usage);
        assert!(serde_json::to_value(&record).expect("JSON").get("key").is_none());
        let key = "a\n\u{1b}\"}";
        let line = serde_json::to_string(&TaskRecord { key: Some(key), ..record }).expect("JSON");
        assert!(!line.contains(['\n', '\u{1b}']), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).expect("JSON")["key"], key);
    }
}
