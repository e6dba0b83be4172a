//! Manual operations on a queue of SQS.

use super::SqsQueue;
use super::answer::queue_error;
use super::walk::{Calls, Receiving, Routes};
use crate::failure::Failure;
use async_trait::async_trait;
use wasmrun_runtime::model::message::Message;
use wasmrun_runtime::ports::queue::{Queue, QueueAdmin, QueueError};
use wasmrun_runtime::ports::walk::{Walk, WalkAction, Walked};

#[async_trait]
impl QueueAdmin for SqsQueue {
    /// Always fails: SQS shows a message only to its receiver.
    async fn peek(&self, _max: usize) -> Result<Vec<Message>, QueueError> {
        let text = "SQS shows messages only by receiving them, and each receive counts: use `wasmrun queue list`, which makes them visible again";
        Err(QueueError::Unusable(text.into()))
    }

    fn walk_receives(&self) -> bool {
        true
    }

    async fn walk(&self, walk: &Walk<'_>) -> Result<Walked, QueueError> {
        let routes = match walk.action {
            WalkAction::Redrive { to: Some(to) } => Some(Routes::to(self, to).await?),
            WalkAction::Redrive { to: None } => Some(Routes::to_sources(self).await?),
            WalkAction::Look(_) | WalkAction::Drop => None,
        };
        Ok(Receiving::new(self as &dyn Calls, walk, routes, self.fifo).run().await)
    }

    /// Deletes all messages. The count is the depth that SQS reported before.
    async fn purge(&self) -> Result<u64, QueueError> {
        let before = self.depth().await?;
        let request = self.client.purge_queue().queue_url(&self.url);
        let answer = request.send().await;
        answer.map(|_| before.total()).map_err(|error| queue_error(Failure::from(error)))
    }
}
