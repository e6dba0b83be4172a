//! The calls of a walk.

use super::super::{SqsQueue, convert};
use async_trait::async_trait;
use aws_sdk_sqs::types::Message as SqsMessage;
use std::time::Duration;
use wasmrun_runtime::ports::queue::{Queue, QueueError, Receipt};

/// How long a receive of a walk waits for messages. Waiting asks all of SQS's hosts.
const WAIT: Duration = Duration::from_secs(1);

/// What a walk needs of a queue.
#[async_trait]
pub(in super::super) trait Calls: Send + Sync {
    /// Receives at most `max` messages and hides them for `visibility`.
    async fn receive(&self, max: usize, visibility: Duration) -> Result<Vec<SqsMessage>, QueueError>;

    /// Sends messages of this queue to another queue, each independently, as they are but without the dead letter's
    /// record.
    async fn send(&self, url: &str, messages: &[SqsMessage]) -> Vec<Result<(), QueueError>>;

    /// Deletes messages, each independently.
    async fn delete(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>>;

    /// Makes messages visible again, each independently.
    async fn release(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>>;
}

#[async_trait]
impl Calls for SqsQueue {
    async fn receive(&self, max: usize, visibility: Duration) -> Result<Vec<SqsMessage>, QueueError> {
        self.receive_messages(max, WAIT, visibility).await
    }

    async fn send(&self, url: &str, messages: &[SqsMessage]) -> Vec<Result<(), QueueError>> {
        let entry = |index, message: &SqsMessage| convert::original_entry(index, message, url);
        let sent = self.send_to(url, messages, convert::original_bytes, entry).await;
        sent.into_iter().map(|sent| sent.map(drop)).collect()
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>> {
        Queue::delete(self, receipts).await
    }

    async fn release(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>> {
        let at_once: Vec<_> = receipts.iter().map(|receipt| (receipt.clone(), Duration::ZERO)).collect();
        self.set_visibility(&at_once).await
    }
}
