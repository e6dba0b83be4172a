//! Workers in this process, and the queues that they work on.

use super::sqs::endpoint;
use async_trait::async_trait;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wasmrun_aws::{Aws, SqsQueue};
use wasmrun_benches::micros;
use wasmrun_local::{QueueSettings, SqliteQueue};
use wasmrun_runtime::model::message::{MAX_BATCH, MAX_VISIBILITY, OutgoingMessage};
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::ports::memory::MemoryQueue;
use wasmrun_runtime::ports::queue::{
    BatchPolicy, Delivery, Depth, Queue, QueueAttributes, QueueError, Receipt,
};
use wasmrun_runtime::task::component::Component;
use wasmrun_runtime::worker::scaler::Goal;
use wasmrun_runtime::worker::{ScaleOptions, Summary, Worker, WorkerOptions};

/// A fixed concurrency limit.
pub(crate) fn fixed(instances: NonZeroUsize) -> WorkerOptions {
    WorkerOptions { instances, ..WorkerOptions::default() }
}

/// A concurrency limit that the scaler sets, up to `most`, like `wasmrun run` by default.
pub(crate) fn auto(most: NonZeroUsize) -> WorkerOptions {
    let scale = ScaleOptions { min: 0, goal: Goal::AtOnce, scale_in_delay: Duration::from_secs(300) };
    WorkerOptions { scale: Some(scale), ..fixed(most) }
}

/// An empty queue in memory, whose leases don't expire during a benchmark.
pub(crate) fn queue() -> Arc<MemoryQueue> {
    Arc::new(MemoryQueue::new("work", MAX_VISIBILITY))
}

/// A message with this body.
pub(crate) fn message(body: impl Into<String>) -> OutgoingMessage {
    OutgoingMessage { body: body.into(), ..OutgoingMessage::default() }
}

/// Sends a message `count` times, or a few times more to fill the last batch.
pub(crate) async fn fill(queue: &dyn Queue, message: OutgoingMessage, count: usize) {
    let batch = vec![message; MAX_BATCH];
    for _ in 0..count.div_ceil(MAX_BATCH) {
        queue.send(&batch).await;
    }
}

/// A worker on a queue, with a dead-letter queue in memory.
pub(crate) async fn worker(
    queue: Arc<dyn Queue>,
    component: Arc<Component>,
    options: WorkerOptions,
) -> Arc<Worker> {
    let dead = Arc::new(MemoryQueue::new("dead", MAX_VISIBILITY));
    Arc::new(Worker::new(queue, Some(dead), component, options).await.expect("a worker"))
}

/// A worker that ends once it has run `tasks` tasks, which wait in its queue.
pub(crate) async fn with_tasks(
    tasks: usize,
    component: Arc<Component>,
    options: WorkerOptions,
) -> Arc<Worker> {
    let queue = queue();
    fill(&*queue, message("x"), tasks).await;
    worker(queue, component, WorkerOptions { until_empty: true, ..options }).await
}

/// Runs a worker [`with_tasks`] to its end.
pub(crate) async fn work_off(worker: Arc<Worker>, tasks: usize) {
    let summary = worker.run(CancellationToken::new(), CancellationToken::new()).await;
    assert_eq!(summary.outcome(OutcomeKind::Completed), tasks as u64);
}

/// A worker that runs.
pub(crate) struct Running {
    pub(crate) worker: Arc<Worker>,
    stop: CancellationToken,
    running: JoinHandle<Summary>,
}

impl Running {
    pub(crate) fn start(io: &Runtime, worker: Arc<Worker>) -> Self {
        let stop = CancellationToken::new();
        // It doesn't wait for tasks when it stops.
        let running = io.spawn(worker.clone().run(stop.clone(), stop.clone()));
        Self { worker, stop, running }
    }

    /// Cancels what runs, and waits until it has ended.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.running.await.expect("a worker that ends");
    }
}

/// Runs a worker, which nothing stops, until `done` is ready.
pub(crate) async fn run_until(worker: Arc<Worker>, done: impl Future<Output = ()>) {
    let never = CancellationToken::new;
    tokio::select! {
        _ = worker.run(never(), never()) => unreachable!("nothing stops it"),
        () = done => {}
    }
}

/// Opens the empty queue of a child process: one of SQLite, or one on the [server](super::sqs) that the environment names.
pub(crate) async fn open(url: &str) -> Arc<dyn Queue> {
    if url.starts_with("sqlite:") {
        return Arc::new(SqliteQueue::create(url, &QueueSettings::default()).expect("a queue").0);
    }
    Arc::new(SqsQueue::open(url, &Aws::new(Some(endpoint())), None).await.expect("a queue"))
}

/// How long messages wait for their deletion.
pub(crate) struct Waits {
    /// IDs of messages by their receipts.
    ids: HashMap<String, String>,
    /// When the waits of these messages began.
    since: HashMap<String, SystemTime>,
    /// Messages that aren't deleted yet.
    left: usize,
    /// Milliseconds of each message.
    pub(crate) ms: Vec<f64>,
    /// Is notified once all messages are deleted.
    pub(crate) done: Arc<Notify>,
}

impl Waits {
    pub(crate) fn new(messages: usize) -> Self {
        let (ids, since) = (HashMap::new(), HashMap::new());
        Self { ids, since, left: messages, ms: Vec::new(), done: Arc::default() }
    }

    pub(crate) fn received(&mut self, deliveries: &[Delivery]) {
        self.ids.extend(deliveries.iter().map(|one| (one.receipt.0.clone(), one.message.id.clone())));
    }

    /// The wait of a message begins at this moment.
    pub(crate) fn since(&mut self, id: &str, moment: SystemTime) {
        self.since.insert(id.to_owned(), moment);
    }

    pub(crate) fn deleted(&mut self, receipts: &[Receipt], now: SystemTime) {
        for receipt in receipts {
            let id = self.ids.remove(&receipt.0).expect("a received message");
            let since = self.since.remove(&id).expect("the end of its task");
            self.ms.push(micros(now.duration_since(since).unwrap_or_default()) / 1e3);
        }
        self.left -= receipts.len();
        if self.left == 0 {
            self.done.notify_one();
        }
    }
}

/// Observes the calls of a queue for a benchmark.
#[async_trait]
pub(crate) trait Observe: Send + Sync + 'static {
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
pub(crate) struct Observed<O> {
    /// The queue itself.
    pub(crate) queue: Arc<dyn Queue>,
    /// The observer.
    pub(crate) by: Arc<O>,
}

#[async_trait]
impl<O: Observe> Queue for Observed<O> {
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
