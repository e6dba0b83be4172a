//! What a task consumed.

use crate::model::limits::Limit;
use crate::model::outcome::{Outcome, OutcomeKind};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// What one task consumed. Durations are serialized as microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Units of computing.
    pub fuel: u64,
    /// Of the thread while it ran the guest, host calls that don't wait included.
    #[serde(rename = "cpu_us", serialize_with = "as_micros")]
    pub cpu: Duration,
    /// From the moment the message was sent until the task began: in the queue, delays and earlier tries included.
    #[serde(rename = "queued_us", serialize_with = "as_micros")]
    pub queued: Duration,
    /// From the task's begin until its instance was there.
    #[serde(rename = "start_us", serialize_with = "as_micros")]
    pub start: Duration,
    /// On a thread, from then to the end.
    #[serde(rename = "compute_us", serialize_with = "as_micros")]
    pub compute: Duration,
    /// Waiting for the host: stores, queues, clocks.
    #[serde(rename = "blocked_us", serialize_with = "as_micros")]
    pub blocked: Duration,
    /// Waiting for a thread while neighbours computed.
    #[serde(rename = "ready_us", serialize_with = "as_micros")]
    pub ready: Duration,
    /// From the task's begin to its end: the sum of the four before.
    #[serde(rename = "wall_us", serialize_with = "as_micros")]
    pub wall: Duration,
    /// All linear memories together.
    pub peak_memory_bytes: u64,
    /// Written to the log, what was dropped not included.
    pub log_bytes: u64,
    /// Random bytes that the guest asked for.
    pub random_bytes: u64,
    /// From all object stores.
    pub bytes_read: u64,
    /// To all object stores and queues.
    pub bytes_written: u64,
    /// To all object stores and queues.
    pub calls: u64,
    /// Calls that were refused for want of a grant.
    pub refusals: u64,
    /// By alias.
    pub stores: BTreeMap<String, StoreUsage>,
    /// By alias.
    pub queues: BTreeMap<String, QueueUsage>,
}

/// What a task did with one object store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreUsage {
    /// Of any kind.
    pub calls: u64,
    /// Content of objects.
    pub bytes_read: u64,
    /// Content of objects.
    pub bytes_written: u64,
}

/// What a task did with one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QueueUsage {
    /// A batch is one.
    pub calls: u64,
    /// Messages with their attributes.
    pub bytes_written: u64,
    /// Each one of a batch.
    pub messages: u64,
}

fn as_micros<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

impl Usage {
    /// Adds another task's usage; of the peaks the higher one stays. What was done with each store and queue isn't kept
    /// apart.
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, number) in [
            (&mut self.fuel, other.fuel),
            (&mut self.log_bytes, other.log_bytes),
            (&mut self.random_bytes, other.random_bytes),
            (&mut self.bytes_read, other.bytes_read),
            (&mut self.bytes_written, other.bytes_written),
            (&mut self.calls, other.calls),
            (&mut self.refusals, other.refusals),
        ] {
            *sum = sum.saturating_add(number);
        }
        for (sum, time) in [
            (&mut self.cpu, other.cpu),
            (&mut self.queued, other.queued),
            (&mut self.start, other.start),
            (&mut self.compute, other.compute),
            (&mut self.blocked, other.blocked),
            (&mut self.ready, other.ready),
            (&mut self.wall, other.wall),
        ] {
            *sum = sum.saturating_add(time);
        }
        self.peak_memory_bytes = self.peak_memory_bytes.max(other.peak_memory_bytes);
    }
}

/// What is kept of a task once it has ended: how, and what it consumed. Serialized, a line of the usage file.
#[derive(Clone, Debug, Serialize)]
pub struct TaskRecord<'a> {
    /// When it ended.
    #[serde(serialize_with = "as_rfc3339")]
    pub time: SystemTime,
    /// The queue's id of the message.
    pub message_id: &'a str,
    /// How often the message has been delivered, this time included.
    pub receive_count: u32,
    /// What the component is called in dead letters.
    pub component: &'a str,
    /// How it ended.
    pub outcome: OutcomeKind,
    /// The limit that ended it.
    pub limit: Option<Limit>,
    /// The reason in words. It may hold a guest's text: never write it as a raw line.
    pub reason: Option<&'a str>,
    /// What it consumed.
    #[serde(flatten)]
    pub usage: &'a Usage,
}

impl<'a> TaskRecord<'a> {
    /// The record of a task that ends now.
    pub fn new(
        message_id: &'a str,
        receive_count: u32,
        component: &'a str,
        outcome: &'a Outcome,
        usage: &'a Usage,
    ) -> Self {
        let limit = match outcome {
            Outcome::LimitExceeded { limit } => Some(*limit),
            _ => None,
        };
        let (time, reason) = (SystemTime::now(), outcome.reason());
        Self { time, message_id, receive_count, component, outcome: outcome.kind(), limit, reason, usage }
    }
}

/// Told of each task's end.
pub trait TaskObserver: Send + Sync {
    /// A task has ended. It's called on a thread on which guests compute: it mustn't wait for anything.
    fn ended(&self, record: &TaskRecord<'_>);
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
        let mut record = TaskRecord::new("id", 2, "c.wasm", &outcome, &usage);
        record.time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_500_000);
        let line = serde_json::to_value(&record).expect("JSON");
        assert_eq!(line["time"], "1970-01-01T00:00:01.500000Z");
        assert_eq!(line["limit"], "table-elements");
        assert_eq!((&line["fuel"], &line["wall_us"]), (&7.into(), &3000.into()));
        assert_eq!(line["stores"]["input"]["bytes_read"], 10);
        assert_eq!(line["outcome"], "limit-exceeded");
    }
}
