//! Workers in this process, and the queues that they work on.

use async_trait::async_trait;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wasmrun_runtime::model::message::{MAX_BATCH, MAX_VISIBILITY, OutgoingMessage};
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::ports::memory::MemoryQueue;
use wasmrun_runtime::ports::queue::{
    BatchPolicy, Delivery, Depth, Queue, QueueAttributes, QueueError, Receipt,
};
use wasmrun_runtime::task::component::Component;
use wasmrun_runtime::worker::scaler::Goal;
use wasmrun_runtime::worker::{ScaleOptions, Worker, WorkerOptions};

/// A fixed concurrency limit.
pub fn fixed(instances: NonZeroUsize) -> WorkerOptions {
    WorkerOptions { instances, ..WorkerOptions::default() }
}

/// A concurrency limit that the scaler sets, up to `most`, like `wasmrun run` by default.
pub fn auto(most: NonZeroUsize) -> WorkerOptions {
    let scale = ScaleOptions { min: 0, goal: Goal::AtOnce, scale_in_delay: Duration::from_secs(300) };
    WorkerOptions { scale: Some(scale), ..fixed(most) }
}

/// An empty queue in memory, whose leases don't expire during a benchmark.
pub fn queue() -> Arc<MemoryQueue> {
    Arc::new(MemoryQueue::new("work", MAX_VISIBILITY))
}

/// A message with this body.
pub fn message(body: impl Into<String>) -> OutgoingMessage {
    OutgoingMessage { body: body.into(), ..OutgoingMessage::default() }
}

/// Sends a message `count` times, or a few times more to fill the last batch.
pub async fn fill(queue: &dyn Queue, message: OutgoingMessage, count: usize) {
    let batch = vec![message; MAX_BATCH];
    for _ in 0..count.div_ceil(MAX_BATCH) {
        queue.send(&batch).await;
    }
}

/// A worker on a queue, with a dead-letter queue in memory.
pub async fn worker(queue: Arc<dyn Queue>, component: Arc<Component>, options: WorkerOptions) -> Arc<Worker> {
    let dead = Arc::new(MemoryQueue::new("dead", MAX_VISIBILITY));
    Arc::new(Worker::new(queue, Some(dead), component, options).await.expect("a worker"))
}

/// A worker that ends once it has run `tasks` tasks, which wait in its queue.
pub async fn with_tasks(tasks: usize, component: Arc<Component>, options: WorkerOptions) -> Arc<Worker> {
    let queue = queue();
    fill(&*queue, message("x"), tasks).await;
    worker(queue, component, WorkerOptions { until_empty: true, ..options }).await
}

/// Runs a worker [`with_tasks`] to its end.
pub async fn work_off(worker: Arc<Worker>, tasks: usize) {
    let summary = worker.run(CancellationToken::new(), CancellationToken::new()).await;
    assert_eq!(summary.outcome(OutcomeKind::Completed), tasks as u64);
}

/// Observes the calls of a queue for a benchmark.
#[async_trait]
pub trait Observe: Send + Sync + 'static {
    /// Changes the queue's batch policy.
    fn batch_policy(&self, of_queue: BatchPolicy) -> BatchPolicy {
        of_queue
    }

    /// Messages were received.
    async fn received(&self, _deliveries: &[Delivery]) {}

    /// Messages were deleted.
    async fn deleted(&self, receipts: &[Receipt]);
}

/// A queue whose calls are observed.
pub struct Observed<Q, O> {
    /// The queue itself.
    pub queue: Q,
    /// The observer.
    pub by: Arc<O>,
}

#[async_trait]
impl<Q: Queue, O: Observe> Queue for Observed<Q, O> {
    fn url(&self) -> &str {
        self.queue.url()
    }

    fn batch_policy(&self) -> BatchPolicy {
        self.by.batch_policy(self.queue.batch_policy())
    }

    async fn attributes(&self) -> Result<QueueAttributes, QueueError> {
        self.queue.attributes().await
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        self.queue.depth().await
    }

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery>, QueueError> {
        let deliveries = self.queue.receive(max, wait, stop).await?;
        self.by.received(&deliveries).await;
        Ok(deliveries)
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>> {
        let answers = self.queue.delete(receipts).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        self.by.deleted(receipts).await;
        answers
    }

    async fn set_visibility(&self, messages: &[(Receipt, Duration)]) -> Vec<Result<(), QueueError>> {
        self.queue.set_visibility(messages).await
    }

    async fn send(&self, messages: &[OutgoingMessage]) -> Vec<Result<String, QueueError>> {
        self.queue.send(messages).await
    }
}
