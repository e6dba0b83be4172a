//! Trait of the recipient of notifications: a queue, or what takes messages over HTTP.

use crate::model::message::OutgoingMessage;
use crate::ports::queue::{Queue, QueueError};
use async_trait::async_trait;
use std::sync::Arc;

/// Takes the notifications of a worker. All methods may be called concurrently.
#[async_trait]
pub trait Recipient: Send + Sync + 'static {
    /// Returns the name for logs: a URL, without secrets.
    fn url(&self) -> &str;

    /// Returns whether notifications need a message group and a deduplication ID, as in a FIFO queue.
    fn fifo(&self) -> bool {
        false
    }

    /// Returns the maximum number of calls in flight at once.
    fn calls(&self) -> usize;

    /// Checks with one cheap call, if there is one, that notifications can be sent.
    async fn check(&self) -> Result<(), QueueError>;

    /// Sends at most [`MAX_BATCH`](crate::model::message::MAX_BATCH) notifications, each independently, and returns the
    /// answers in their order. A notification whose answer is `Ok` isn't lost.
    async fn send(&self, notifications: &[OutgoingMessage]) -> Vec<Result<(), QueueError>>;
}

/// Maximum number of calls in flight to a queue of SQS: with ten notifications each, thousands a second.
const MOST_CALLS: usize = 4;

/// A queue that takes notifications.
pub struct QueueRecipient {
    queue: Arc<dyn Queue>,
    fifo: bool,
}

impl QueueRecipient {
    /// Asks the queue for its settings.
    ///
    /// # Errors
    ///
    /// The queue can't be used.
    pub async fn new(queue: Arc<dyn Queue>) -> Result<Self, QueueError> {
        let fifo = queue.attributes().await?.fifo;
        Ok(Self { queue, fifo })
    }
}

#[async_trait]
impl Recipient for QueueRecipient {
    fn url(&self) -> &str {
        self.queue.url()
    }

    fn fifo(&self) -> bool {
        self.fifo
    }

    fn calls(&self) -> usize {
        self.queue.batch_policy().settling_calls.clamp(1, MOST_CALLS)
    }

    async fn check(&self) -> Result<(), QueueError> {
        self.queue.attributes().await.map(drop)
    }

    async fn send(&self, notifications: &[OutgoingMessage]) -> Vec<Result<(), QueueError>> {
        self.queue.send(notifications).await.into_iter().map(|answer| answer.map(drop)).collect()
    }
}
