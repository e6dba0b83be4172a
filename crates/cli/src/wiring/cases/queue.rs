//! A queue that keeps what is sent to it.

use async_trait::async_trait;
use parking_lot::Mutex;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wasmrun_runtime::model::message::OutgoingMessage;
use wasmrun_runtime::ports::queue::{Delivery, Depth, Queue, QueueAttributes, QueueError, Receipt};

/// A standard queue that keeps the messages that a task sends, and delivers none.
pub(super) struct SentQueue {
    url: String,
    sent: Mutex<Vec<OutgoingMessage>>,
}

impl SentQueue {
    pub(super) fn new(url: String) -> Self {
        Self { url, sent: Mutex::default() }
    }

    /// Returns the messages in the order in which they were sent.
    pub(super) fn sent(&self) -> Vec<OutgoingMessage> {
        self.sent.lock().clone()
    }
}

#[async_trait]
impl Queue for SentQueue {
    fn url(&self) -> &str {
        &self.url
    }

    async fn attributes(&self) -> Result<QueueAttributes, QueueError> {
        Ok(QueueAttributes::default())
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        Ok(Depth { visible: self.sent.lock().len() as u64, ..Depth::default() })
    }

    async fn receive(
        &self,
        _: usize,
        _: Duration,
        _: &CancellationToken,
    ) -> Result<Vec<Delivery>, QueueError> {
        Ok(Vec::new())
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>> {
        vec![Err(QueueError::ReceiptExpired); receipts.len()]
    }

    async fn set_visibility(&self, messages: &[(Receipt, Duration)]) -> Vec<Result<(), QueueError>> {
        vec![Err(QueueError::ReceiptExpired); messages.len()]
    }

    async fn send(&self, messages: &[OutgoingMessage]) -> Vec<Result<String, QueueError>> {
        let mut sent = self.sent.lock();
        let mut send = |message: &OutgoingMessage| {
            message.validate().map_err(QueueError::InvalidMessage)?;
            message.fits(false).map_err(|why| QueueError::InvalidMessage(why.into()))?;
            sent.push(message.clone());
            // The same in each run.
            Ok(format!("sent-{}", sent.len()))
        };
        messages.iter().map(&mut send).collect()
    }
}
