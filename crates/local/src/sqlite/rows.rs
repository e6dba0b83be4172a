//! Queues and messages as the file holds them.

use super::address::Address;
use super::attributes;
use super::clock::to_time;
use rusqlite::Row;
use std::time::Duration;
use wasmrun_runtime::model::message::Message;
use wasmrun_runtime::ports::queue::Receipt;
use wasmrun_runtime::ports::walk::Found;

/// A queue and its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueueRow {
    pub(super) id: i64,
    pub(super) visibility_timeout: Duration,
    pub(super) dead_letter: Option<(Target, u32)>,
    pub(super) fifo: bool,
}

/// The queue that messages are moved to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// A queue in the same file, by name.
    Here(String),
    /// A queue in another file, by URL.
    Elsewhere(String),
}

/// A message as the file holds it.
#[derive(Clone, Debug)]
pub(super) struct MessageRow {
    pub(super) sequence: i64,
    pub(super) id: String,
    pub(super) body: String,
    /// The attributes as JSON.
    pub(super) attributes: String,
    pub(super) group: Option<String>,
    pub(super) receive_count: u32,
    pub(super) sent_ms: i64,
    pub(super) source: Option<String>,
}

/// A message on its way to another file. It is hidden here until it is durable there.
#[derive(Clone, Debug)]
pub(super) struct Departure {
    pub(super) receipt: Receipt,
    pub(super) to: String,
    pub(super) message: MessageRow,
}

/// The result of a receive.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) messages: Vec<(Message, Receipt)>,
    pub(super) visibility: Duration,
    /// Messages that were received too often and whose dead-letter queue is in another file.
    pub(super) departures: Vec<Departure>,
}

impl Target {
    pub(super) fn from_column(text: String) -> Self {
        match text.strip_prefix('#') {
            Some(name) => Self::Here(name.to_owned()),
            None => Self::Elsewhere(text),
        }
    }

    pub(super) fn to_column(&self) -> String {
        match self {
            Self::Here(name) => format!("#{name}"),
            Self::Elsewhere(url) => url.clone(),
        }
    }

    pub(super) fn url(&self, from: &Address) -> String {
        match self {
            Self::Here(name) => from.sibling(name).url(),
            Self::Elsewhere(url) => url.clone(),
        }
    }
}

impl MessageRow {
    pub(super) const COLUMNS: &str = "message.sequence, message.id, content.body, content.attributes, message.message_group, \
                           message.receive_count, message.sent_ms, message.source";

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            sequence: row.get(0)?,
            id: row.get(1)?,
            body: row.get(2)?,
            attributes: row.get(3)?,
            group: row.get(4)?,
            receive_count: row.get(5)?,
            sent_ms: row.get(6)?,
            source: row.get(7)?,
        })
    }

    /// Returns the message as a walk over the queue with this address shows it.
    pub(super) fn found(&self, address: &Address) -> Found {
        let source = self.source.clone().map(|source| Target::from_column(source).url(address));
        Found::new(self.clone().into_message(self.receive_count), source)
    }

    /// Returns the message as a receive delivers it. A count of 0 means that it was never received.
    pub(super) fn into_message(self, receive_count: u32) -> Message {
        Message {
            attributes: attributes::decode(&self.attributes, &self.id),
            id: self.id,
            body: self.body,
            receive_count,
            sent_at: to_time(self.sent_ms),
            group: self.group,
            trace_header: None,
        }
    }
}

impl QueueRow {
    /// Returns a queue with SQS's defaults and without a dead-letter queue.
    pub(super) fn plain() -> Self {
        Self { id: 0, visibility_timeout: Duration::from_secs(30), dead_letter: None, fifo: false }
    }
}
