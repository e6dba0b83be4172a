//! Traits of queues: the queue that the worker drains and those that tasks may send to.
//!
//! The semantics are those of SQS. Delivery is at least once. A received message is invisible until its visibility
//! timeout expires, and is then delivered again. Only the holder of its latest receipt can settle it.

use crate::model::message::{MAX_BATCH, Message, OutgoingMessage};
use crate::ports::walk::{Walk, Walked};
use async_trait::async_trait;
use std::fmt;
use std::ops::Add;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// A queue. All methods may be called concurrently.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Returns the name for logs: the queue's URL, without secrets.
    fn url(&self) -> &str;

    /// Returns how calls to this queue are batched.
    fn batch_policy(&self) -> BatchPolicy {
        BatchPolicy::default()
    }

    /// Returns the queue's settings.
    async fn attributes(&self) -> Result<QueueAttributes, QueueError>;

    /// Returns how many messages there are now.
    async fn depth(&self) -> Result<Depth, QueueError>;

    /// Receives at least one and at most `max` messages, or none if none arrive within `wait`. Without a wait, the queue
    /// may overlook a message.
    ///
    /// When `stop` is cancelled the call returns early with the messages that it has received: every message that was
    /// taken from the queue is in the answer. Callers must not drop the future, as its messages would stay invisible
    /// until their visibility timeout expires.
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery>, QueueError>;

    /// Receives like [`Queue::receive`], going round the message groups: a group with few messages comes before the
    /// backlog of another. Messages without a group are one group more. Messages that `groups` leaves out stay in the
    /// queue. Queues that can't choose by group do the same as [`Queue::receive`].
    async fn receive_by_group(
        &self,
        max: usize,
        wait: Duration,
        stop: &CancellationToken,
        groups: &Groups,
    ) -> Result<Vec<Delivery>, QueueError> {
        let _ = groups;
        self.receive(max, wait, stop).await
    }

    /// Deletes messages, each independently. The answers are in the order of `receipts`. Deleting a message twice is no
    /// error. The deletion is durable when the call returns.
    async fn delete(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>>;

    /// Makes each message visible again after its time, counted from now; zero means at once. The worker renews leases
    /// and retries messages with it. The answers are in the order of `messages`.
    async fn set_visibility(&self, messages: &[(Receipt, Duration)]) -> Vec<Result<(), QueueError>>;

    /// Releases each message after its time as if this delivery had not happened: the queue doesn't count the receive.
    /// Queues that can't do so do the same as [`Queue::set_visibility`].
    async fn release(&self, messages: &[(Receipt, Duration)]) -> Vec<Result<(), QueueError>> {
        self.set_visibility(messages).await
    }

    /// Returns whether a released message keeps its receive, which brings it nearer to the dead-letter queue.
    fn counts_releases(&self) -> bool {
        true
    }

    /// Returns whether a message is to be settled when its task has ended. Otherwise it ends with its task.
    fn settles(&self) -> bool {
        true
    }

    /// Sends messages, each independently, and returns their IDs in order. They are durable when the call returns.
    async fn send(&self, messages: &[OutgoingMessage]) -> Vec<Result<String, QueueError>>;
}

/// A choice of messages by their groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Groups whose messages stay in the queue. `-` stands for the messages without a group, too.
    pub except: Vec<String>,
}

/// How a busy worker batches its calls to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPolicy {
    /// Maximum number of messages that one receive returns.
    pub receive_batch: usize,
    /// How long a receive waits for further permits, so that it can bring more messages. It doesn't wait where tasks
    /// take longer than this on average.
    pub receiving_wait: Duration,
    /// Maximum number of settling calls in flight at once.
    pub settling_calls: usize,
    /// How long a settling call waits for further messages to fill its batch.
    pub settling_wait: Duration,
    /// Number of consecutive empty receives after which a reported depth of zero means that the queue is empty.
    pub empty_receives: u32,
}

impl Default for BatchPolicy {
    /// One settling call at a time, with the settlements that arrived during the previous call. One empty receive
    /// suffices, as the queue's depth is exact.
    fn default() -> Self {
        Self {
            receive_batch: MAX_BATCH,
            receiving_wait: Duration::ZERO,
            settling_calls: 1,
            settling_wait: Duration::ZERO,
            empty_receives: 1,
        }
    }
}

impl BatchPolicy {
    /// Returns how many messages a receive asks for at most.
    pub fn batch(&self) -> usize {
        self.receive_batch.clamp(1, MAX_BATCH)
    }

    /// Returns how many messages may be unsettled after their tasks ended, in addition to those of running tasks: two
    /// batches for each call.
    pub fn unsettled(&self) -> usize {
        2 * MAX_BATCH * self.settling_calls
    }
}

/// Manual operations on a queue: `wasmrun queue …`.
#[async_trait]
pub trait QueueAdmin: Queue {
    /// Returns the next messages that would be delivered, without receiving them: nothing changes, not even receive
    /// counts.
    async fn peek(&self, max: usize) -> Result<Vec<Message>, QueueError>;

    /// Returns whether a walk receives messages, which counts against them.
    fn walk_receives(&self) -> bool {
        false
    }

    /// Looks at each message once, and shows, moves or deletes those that the walk selects. Messages in flight stay;
    /// so do those to move whose source queue is unknown, or that the other queue refuses.
    ///
    /// # Errors
    ///
    /// Fails if the walk can't begin: [`QueueError::NotFound`] if there is no queue to move to,
    /// [`QueueError::Unusable`] if it is this queue itself. A later error is the result's end.
    async fn walk(&self, walk: &Walk<'_>) -> Result<Walked, QueueError>;

    /// Deletes all messages and returns their number.
    async fn purge(&self) -> Result<u64, QueueError>;
}

/// A received message and its receipt.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The delivered message.
    pub message: Message,
    /// The receipt with which this delivery is settled.
    pub receipt: Receipt,
    /// When the message becomes visible to others, unless its visibility is changed. Where the queue may have waited
    /// for the message, this is measured from the answer, less the time that the answer may have taken on its way.
    pub visible_at: Instant,
}

/// SQS's receipt handle: opaque, and valid until the message is delivered again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Receipt(pub String);

/// Settings of a queue that the worker uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueAttributes {
    /// How long a received message stays invisible.
    pub visibility_timeout: Duration,
    /// How long a message can stay invisible in all, counted from its receive.
    pub max_visibility: Option<Duration>,
    /// The queue for messages that were received too often.
    pub redrive: Option<Redrive>,
    /// Whether messages of one group are delivered in order, one at a time.
    pub fifo: bool,
}

/// A queue's redrive policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    /// The dead-letter queue's URL.
    pub dead_letter: String,
    /// Number of receives after which a message moves there.
    pub max_receives: u32,
}

/// Number of messages in a queue, by state. Some queues report it only approximately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Ready to be received.
    pub visible: u64,
    /// Received and not yet settled.
    pub in_flight: u64,
    /// Delayed, so not yet ready.
    pub delayed: u64,
}

impl Add for Depth {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            visible: self.visible.saturating_add(other.visible),
            in_flight: self.in_flight.saturating_add(other.in_flight),
            delayed: self.delayed.saturating_add(other.delayed),
        }
    }
}

impl Depth {
    /// Returns whether the queue holds no message in any state.
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// Returns the number of messages in all states.
    pub fn total(&self) -> u64 {
        self.visible.saturating_add(self.in_flight).saturating_add(self.delayed)
    }
}

/// Why a call to a queue failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The queue doesn't exist.
    #[error("{0}")]
    NotFound(String),
    /// The receipt is no longer valid: the message was delivered again, or is gone.
    #[error("the message is no longer held by this worker")]
    ReceiptExpired,
    /// The queue would refuse this message on every try.
    #[error("{0}")]
    InvalidMessage(String),
    /// The queue can't be reached or refuses work for now: a retry may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// The queue exists but can't be used: no permission, a corrupt file.
    #[error("{0}")]
    Unusable(String),
}

impl QueueError {
    /// Returns the error of an entry of a batch that the queue didn't answer.
    pub(crate) fn unanswered() -> Self {
        Self::Unavailable("no answer".into())
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_faulty_server_are_added_up() {
        let most = Depth { visible: u64::MAX, in_flight: 1, delayed: u64::MAX };
        assert_eq!(((most + most).total(), most.is_empty()), (u64::MAX, false));
        assert_eq!(Depth { visible: 1, in_flight: 2, delayed: 3 }.total(), 6);
    }
}
