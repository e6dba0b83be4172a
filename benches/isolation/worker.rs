//! wasmrun: the real worker on the queue in memory.

use async_trait::async_trait;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wasmrun_benches::figures::{micros, process_cpu};
use wasmrun_benches::{guests, options};
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::message::{MAX_VISIBILITY, OutgoingMessage};
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::ports::memory::MemoryQueue;
use wasmrun_runtime::ports::queue::{Delivery, Depth, Queue, QueueAttributes, QueueError, Receipt};
use wasmrun_runtime::task::component::Component;
use wasmrun_runtime::task::grant::Grants;
use wasmrun_runtime::worker::{Summary, Tally, Worker, WorkerOptions};

use crate::ways::{Cycles, Task, Way, names};

/// So many at most, of which as many run as are of use, as it is by default.
const MOST: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");
/// How long it works before it's measured.
const SETTLING: Duration = Duration::from_millis(500);
/// What spins or waits does so for as long as it is wanted.
const LONG: Duration = Duration::from_secs(3600);
/// What completes does so within this time.
const PATIENCE: Duration = Duration::from_secs(300);

/// Makes a component ready whose tasks may go on for as long as they are wanted.
pub(crate) fn load(
    io: &Runtime,
    guest: &str,
    allocator: Allocator,
    instances: NonZeroUsize,
) -> Arc<Component> {
    let limits = Limits { fuel: u64::MAX / 2, timeout: LONG, ..Limits::default() };
    let component = guests::load(guest, allocator, instances, Grants::default(), limits);
    Arc::new(io.block_on(component))
}

/// A worker that works.
pub(crate) struct Running {
    queue: Arc<Observed>,
    abandon: CancellationToken,
    tally: Arc<Tally>,
    worker: JoinHandle<Summary>,
}

impl Running {
    pub(crate) fn start(io: &Runtime, component: &Arc<Component>, options: WorkerOptions) -> Self {
        let queue = Arc::new(Observed::new());
        let dead = Arc::new(MemoryQueue::new("dead", MAX_VISIBILITY));
        let worker = Worker::new(queue.clone(), Some(dead), component.clone(), options);
        let worker = io.block_on(worker).expect("a worker");
        let (tally, abandon) = (worker.tally(), CancellationToken::new());
        // Who tells it to stop doesn't wait for the tasks.
        let worker = io.spawn(Arc::new(worker).run(abandon.clone(), abandon.clone()));
        Self { queue, abandon, tally, worker }
    }

    /// Sends so many messages with this body.
    pub(crate) async fn send(&self, body: &str, count: usize) {
        let message = OutgoingMessage { body: body.into(), ..OutgoingMessage::default() };
        // All at once, so that the worker finds them all.
        for answer in self.queue.send(&vec![message; count]).await {
            answer.expect("the queue takes it");
        }
    }

    /// Sends so many messages, and waits until as many are settled.
    pub(crate) async fn process(&mut self, body: &str, count: usize) {
        let settled = self.queue.settled.load(Ordering::SeqCst);
        self.queue.awaited.store(settled + count, Ordering::SeqCst);
        self.send(body, count).await;
        let are_settled = self.queue.are_settled.notified();
        tokio::time::timeout(PATIENCE, are_settled).await.expect("tasks that complete");
    }

    /// How many messages are in the worker's hands.
    pub(crate) async fn in_flight(&self) -> usize {
        self.queue.depth().await.map_or(0, |depth| usize::try_from(depth.in_flight).unwrap_or(usize::MAX))
    }

    /// How many tasks have ended, however.
    pub(crate) fn ended(&self) -> u64 {
        self.tally.summary().tasks
    }

    /// One task, from the message that is sent to its settlement.
    pub(crate) async fn cycle(&mut self, task: Task) -> f64 {
        let began = Instant::now();
        self.process(task.command(), 1).await;
        micros(began.elapsed())
    }

    /// Cancels what runs, and waits until that is over.
    pub(crate) async fn end(self) -> Summary {
        self.abandon.cancel();
        self.worker.await.expect("a worker that ends")
    }
}

/// The queue in memory, which says when so many messages are settled: once, as each time would wake a thread.
struct Observed {
    inner: MemoryQueue,
    settled: AtomicUsize,
    awaited: AtomicUsize,
    are_settled: Notify,
}

impl Observed {
    fn new() -> Self {
        let inner = MemoryQueue::new("work", MAX_VISIBILITY);
        Self {
            inner,
            settled: AtomicUsize::new(0),
            awaited: AtomicUsize::new(usize::MAX),
            are_settled: Notify::new(),
        }
    }
}

#[async_trait]
impl Queue for Observed {
    fn url(&self) -> &str {
        self.inner.url()
    }

    async fn attributes(&self) -> Result<QueueAttributes, QueueError> {
        self.inner.attributes().await
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        self.inner.depth().await
    }

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery>, QueueError> {
        self.inner.receive(max, wait, stop).await
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>> {
        let answers = self.inner.delete(receipts).await;
        let settled = self.settled.fetch_add(receipts.len(), Ordering::SeqCst) + receipts.len();
        // The worker settles with one call at a time.
        if settled >= self.awaited.load(Ordering::SeqCst) {
            self.awaited.store(usize::MAX, Ordering::SeqCst);
            self.are_settled.notify_one();
        }
        answers
    }

    async fn set_visibility(
        &self,
        receipts: &[Receipt],
        visibility: Duration,
    ) -> Vec<Result<(), QueueError>> {
        self.inner.set_visibility(receipts, visibility).await
    }

    async fn send(&self, messages: &[OutgoingMessage]) -> Vec<Result<String, QueueError>> {
        self.inner.send(messages).await
    }
}

/// The worker, with a component for each task.
pub(crate) struct Wasmrun<'a> {
    allocator: Allocator,
    io: &'a Runtime,
    empty: Running,
    hash: Running,
}

impl<'a> Wasmrun<'a> {
    pub(crate) fn new(allocator: Allocator, io: &'a Runtime) -> Self {
        let running = |task: Task| {
            let component = load(io, task.guest(), allocator, MOST);
            let mut running = Running::start(io, &component, options::auto(MOST));
            // So long that it finds out how many are of use.
            let began = Instant::now();
            while began.elapsed() < SETTLING {
                io.block_on(running.process(task.command(), MOST.get() * 8));
            }
            running
        };
        Self { allocator, io, empty: running(Task::Empty), hash: running(Task::Hash) }
    }

    /// Ends its workers, which must have completed all.
    pub(crate) fn end(self) {
        for running in [self.empty, self.hash] {
            let summary = self.io.block_on(running.end());
            assert_eq!(summary.outcome(OutcomeKind::Completed), summary.tasks);
        }
    }
}

impl Way for Wasmrun<'_> {
    fn name(&self) -> &'static str {
        match self.allocator {
            Allocator::OnDemand => names::WASMRUN_ON_DEMAND,
            Allocator::Auto | Allocator::Pooling => names::WASMRUN,
        }
    }

    fn weight(&self) -> usize {
        0
    }

    /// What a task computes is measured on more of them, all sent at once, as a worker that is worth its price is busy.
    fn cycles(&mut self, task: Task, count: usize) -> Cycles {
        // A thousand empty ones are over before the worker has found out how many at once are of use.
        let (running, burst) = match task {
            Task::Empty => (&mut self.empty, 10 * count),
            Task::Hash => (&mut self.hash, count),
        };
        self.io.block_on(async {
            let mut each = Vec::with_capacity(count);
            for _ in 0..count {
                each.push(running.cycle(task).await);
            }
            let cpu = process_cpu();
            running.process(task.command(), burst).await;
            let cpu = process_cpu() - cpu;
            Cycles { micros: each, cpu_us: micros(cpu) / burst as f64 }
        })
    }
}
