//! wasmrun: the real worker on a queue in memory.

use crate::shared::{Observe, Observed, Running, guests, worker};
use async_trait::async_trait;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use wasmrun_benches::micros;
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::ports::queue::{Queue, Receipt};
use wasmrun_runtime::task::component::{Component, LoadOptions};
use wasmrun_runtime::worker::{Summary, WorkerOptions};

/// Tasks that spin or wait do so for as long as they are wanted.
const LONG: Duration = Duration::from_secs(3600);
/// Tasks that complete do so within this time.
const PATIENCE: Duration = Duration::from_secs(300);

/// Loads a component whose tasks may run for as long as they are wanted.
pub(crate) fn load(
    io: &Runtime,
    guest: &str,
    allocator: Allocator,
    instances: NonZeroUsize,
) -> Arc<Component> {
    let limits = Limits { fuel: u64::MAX / 2, timeout: LONG, ..Limits::default() };
    io.block_on(guests::load(LoadOptions { allocator, limits, ..guests::options(guest, instances) }))
}

/// A worker that runs, and whose settlements are counted.
pub(crate) struct Settling {
    queue: Arc<Observed<Settled>>,
    running: Running,
}

/// Tells when a number of messages is settled: once, as each time would wake a thread.
#[derive(Default)]
struct Settled {
    left: AtomicUsize,
    done: Notify,
}

#[async_trait]
impl Observe for Settled {
    async fn deleted(&self, receipts: &[Receipt]) {
        if self.left.fetch_sub(receipts.len(), Ordering::SeqCst) == receipts.len() {
            self.done.notify_one();
        }
    }
}

impl Settling {
    pub(crate) fn start(io: &Runtime, component: Arc<Component>, options: WorkerOptions) -> Self {
        let queue = Arc::new(Observed { queue: worker::queue(), by: Arc::default() });
        let worker = io.block_on(worker::worker(queue.clone(), component, options));
        Self { queue, running: Running::start(io, worker) }
    }

    /// Sends messages with this body, all at once, so that the worker finds them all.
    pub(crate) async fn send(&self, body: &str, count: usize) {
        for answer in self.queue.send(&vec![worker::message(body); count]).await {
            answer.expect("the queue takes it");
        }
    }

    /// Sends messages, and waits until all are settled.
    pub(crate) async fn process(&self, body: &str, count: usize) {
        self.queue.by.left.store(count, Ordering::SeqCst);
        self.send(body, count).await;
        let done = self.queue.by.done.notified();
        tokio::time::timeout(PATIENCE, done).await.expect("tasks that complete");
    }

    /// One task, from sending its message to its settlement, in microseconds.
    pub(crate) async fn cycle(&self, body: &str) -> f64 {
        let began = Instant::now();
        self.process(body, 1).await;
        micros(began.elapsed())
    }

    /// The number of messages that the worker holds.
    pub(crate) async fn in_flight(&self) -> usize {
        self.queue.depth().await.map_or(0, |depth| usize::try_from(depth.in_flight).unwrap_or(usize::MAX))
    }

    /// What it has done so far.
    pub(crate) fn summary(&self) -> Summary {
        self.running.worker.tally().summary()
    }

    /// Cancels what runs, and waits until it has ended.
    pub(crate) async fn end(self) {
        self.running.end().await;
    }
}
