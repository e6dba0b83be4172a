//! The queue that the worker drains and the queues that tasks may send to, as the runtime sees them.
//!
//! The semantics are those of SQS: delivery is at least once; a received message is invisible until its visibility
//! runs out, and is then delivered again; whoever holds its latest receipt settles it.

use crate::model::message::{MAX_BATCH, Message, OutgoingMessage};
use async_trait::async_trait;
use std::fmt;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// A queue. Every call may be made from several tasks at once.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// What to call it in logs: its URL, without secrets.
    fn url(&self) -> &str;

    /// How it likes to be called.
    fn batch_policy(&self) -> BatchPolicy {
        BatchPolicy::default()
    }

    /// The queue's settings.
    async fn attributes(&self) -> Result<QueueAttributes, QueueError>;

    /// How many messages there are now.
    async fn depth(&self) -> Result<Depth, QueueError>;

    /// Receives at least one and at most `max` messages, or none if there are none for `wait`.
    ///
    /// When `stop` is cancelled it returns early, with what it has received: a message that was taken from the
    /// queue is always in the answer. Callers don't drop the future of this call, as that would hide its messages
    /// until their visibility runs out.
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery>, QueueError>;

    /// Deletes messages, each on its own: the answers are in the order of `receipts`. Deleting twice is no error.
    /// When it returns, the deletion is durable.
    async fn delete(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>>;

    /// Makes messages visible again after `visibility`, counted from now: zero is at once. Used to keep a message
    /// as well as to give it back. The answers are in the order of `receipts`.
    async fn set_visibility(&self, receipts: &[Receipt], visibility: Duration)
    -> Vec<Result<(), QueueError>>;

    /// Gives messages back after `visibility` as if this delivery had not happened, where the queue can do that:
    /// the receive isn't counted. Otherwise the same as [`Queue::set_visibility`].
    async fn release(&self, receipts: &[Receipt], visibility: Duration) -> Vec<Result<(), QueueError>> {
        self.set_visibility(receipts, visibility).await
    }

    /// Sends messages, each on its own, and returns their ids in order. When it returns, they are durable.
    async fn send(&self, messages: &[OutgoingMessage]) -> Vec<Result<String, QueueError>>;
}

/// How a queue likes to be called by a worker that has much to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPolicy {
    /// So many messages one receive brings at most.
    pub receive_batch: usize,
    /// A receive waits for so long for more tasks to end, so that it may bring more, where tasks are that short.
    pub receiving_wait: Duration,
    /// So many calls that settle messages may be under way at once.
    pub settling_calls: usize,
    /// A call that settles waits for so long for more messages, unless it's full.
    pub settling_wait: Duration,
    /// The queue is empty if it says so after so many receives in a row brought nothing.
    pub empty_receives: u32,
}

impl Default for BatchPolicy {
    /// One call after the other, each with what has gathered meanwhile; a queue that tells what is true.
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
    /// Messages whose tasks have ended and that aren't settled yet, beyond those that run: two batches for each call.
    pub(crate) fn unsettled(&self) -> usize {
        2 * MAX_BATCH * self.settling_calls
    }
}

/// What people do to a queue by hand: `wasmrun queue …`.
#[async_trait]
pub trait QueueAdmin: Queue {
    /// The next messages that would be delivered, without receiving them: nothing changes, receive counts included.
    async fn peek(&self, max: usize) -> Result<Vec<Message>, QueueError>;

    /// Moves the messages of this dead-letter queue back to the queues that they came from, or all to the queue with
    /// the URL `to`, with a fresh receive count and without the `wasmrun` attribute. Messages that somebody holds
    /// stay; so do those that don't tell where they came from, or that the other queue can't take.
    ///
    /// # Errors
    ///
    /// [`QueueError::NotFound`] if there is no queue `to`, [`QueueError::Unusable`] if it is this queue itself.
    async fn redrive(&self, to: Option<&str>) -> Result<Redriven, QueueError>;

    /// Deletes all messages. Returns how many.
    async fn purge(&self) -> Result<u64, QueueError>;
}

/// What became of the messages of a dead-letter queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redriven {
    /// So many are in another queue now.
    pub moved: u64,
    /// So many could be received but stayed. In a FIFO queue, those behind them in their group aren't counted.
    pub left: u64,
    /// Why the first of those stayed: one sentence, without a full stop. `None` if none stayed.
    pub reason: Option<String>,
}

/// A message in the hands of the worker.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What was delivered.
    pub message: Message,
    /// Settles this delivery.
    pub receipt: Receipt,
    /// When the message becomes visible to others, unless its visibility is set anew. Where the queue may have
    /// waited for the message, that is measured from its answer, less what that may have taken on its way.
    pub visible_at: Instant,
}

/// SQS's receipt handle: opaque, and valid until the message is delivered again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Receipt(pub String);

/// The settings of a queue that concern the worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueAttributes {
    /// How long a received message stays invisible.
    pub visibility_timeout: Duration,
    /// How long a message can stay invisible in all, counted from its receipt.
    pub max_visibility: Option<Duration>,
    /// Where messages go that were received too often.
    pub redrive: Option<Redrive>,
    /// Messages of one group are delivered in order, one at a time.
    pub fifo: bool,
}

/// A queue's redrive policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    /// The dead-letter queue's URL.
    pub dead_letter: String,
    /// After so many receives a message goes there.
    pub max_receives: u32,
}

/// The number of messages in a queue, by state; approximate where the queue says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Ready to be received.
    pub visible: u64,
    /// Received and not yet settled.
    pub in_flight: u64,
    /// Not yet ready.
    pub delayed: u64,
}

impl Depth {
    /// Nothing is left, whatever its state.
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// All messages, whatever their state.
    pub fn total(&self) -> u64 {
        self.visible + self.in_flight + self.delayed
    }
}

/// Why a call to a queue failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The queue doesn't exist.
    #[error("{0}")]
    NotFound(String),
    /// The receipt isn't valid any more: the message was delivered again, or is gone.
    #[error("the message is no longer held by this worker")]
    ReceiptExpired,
    /// The queue would refuse this message each time.
    #[error("{0}")]
    InvalidMessage(String),
    /// The queue can't be reached or refuses work for now: another try may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// The queue exists, but can't be used: no permission, a corrupt file.
    #[error("{0}")]
    Unusable(String),
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
