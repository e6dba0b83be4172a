//! The worker, in a process of its own, on a queue that is called at another pace than its own.

use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wasmrun_aws::{Aws, SqsQueue};
use wasmrun_benches::figures::{Samples, micros, process_cpu};
use wasmrun_benches::guests;
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::message::OutgoingMessage;
use wasmrun_runtime::model::outcome::{Action, Policy};
use wasmrun_runtime::model::usage::{TaskObserver, TaskRecord};
use wasmrun_runtime::ports::queue::{
    BatchPolicy, Delivery, Depth, Queue, QueueAttributes, QueueError, Receipt,
};
use wasmrun_runtime::task::grant::Grants;
use wasmrun_runtime::worker::{Worker, WorkerOptions};

/// The worker is there: messages may come.
pub(crate) const READY: &str = "ready";
/// Four full receives.
pub(crate) const INSTANCES: NonZeroUsize = NonZeroUsize::new(40).expect("not zero");
/// What a request takes within a region of Amazon's, and what the server on this machine doesn't.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(10);

/// How long calls wait to get full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    pub(crate) settling: Duration,
    pub(crate) receiving: Duration,
}

/// A queue of SQS that is as far away as Amazon's, and what is asked of it.
struct PacedQueue {
    queue: SqsQueue,
    waits: Waits,
    state: Mutex<State>,
    receives: AtomicUsize,
    deletes: AtomicUsize,
    /// So many are to be deleted yet.
    left: AtomicUsize,
    done: Notify,
}

#[derive(Default)]
struct State {
    /// The ids of the messages that were received, by their receipts.
    ids: HashMap<String, String>,
    /// When the tasks of these messages ended.
    ended: HashMap<String, Instant>,
    /// When the first receive brought something.
    began: Option<Instant>,
    /// From a task's end until its message was deleted.
    waited: Vec<f64>,
}

impl PacedQueue {
    fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        what(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Queue for PacedQueue {
    fn url(&self) -> &str {
        self.queue.url()
    }

    fn batch_policy(&self) -> BatchPolicy {
        let Waits { settling, receiving } = self.waits;
        BatchPolicy { settling_wait: settling, receiving_wait: receiving, ..self.queue.batch_policy() }
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
        let received = self.queue.receive(max, wait, stop).await?;
        self.receives.fetch_add(1, Ordering::Relaxed);
        self.with(|state| {
            state.began.get_or_insert_with(Instant::now);
            let ids = received.iter().map(|one| (one.receipt.0.clone(), one.message.id.clone()));
            state.ids.extend(ids);
        });
        tokio::time::sleep(ROUND_TRIP).await;
        Ok(received)
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>> {
        let answers = self.queue.delete(receipts).await;
        self.deletes.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(ROUND_TRIP).await;
        let now = Instant::now();
        self.with(|state| {
            for (receipt, answer) in receipts.iter().zip(&answers) {
                assert_eq!(answer, &Ok(()), "the server deletes");
                let id = state.ids.remove(&receipt.0).expect("it was received");
                let ended = state.ended.remove(&id).expect("its task ended");
                state.waited.push(micros(now - ended));
            }
        });
        if self.left.fetch_sub(receipts.len(), Ordering::Relaxed) == receipts.len() {
            self.done.notify_one();
        }
        answers
    }

    async fn set_visibility(&self, receipts: &[Receipt], after: Duration) -> Vec<Result<(), QueueError>> {
        self.queue.set_visibility(receipts, after).await
    }

    async fn send(&self, messages: &[OutgoingMessage]) -> Vec<Result<String, QueueError>> {
        self.queue.send(messages).await
    }
}

impl TaskObserver for PacedQueue {
    fn ended(&self, record: &TaskRecord<'_>) {
        self.with(|state| state.ended.insert(record.message_id.to_owned(), Instant::now()));
    }
}

/// Works until so many messages are deleted, and says what that took: CPU seconds without this process's start, and
/// seconds from the first receive's answer.
pub(crate) async fn work(url: &str, waits: Waits, messages: usize) -> Value {
    let endpoint = std::env::var("AWS_ENDPOINT_URL").expect("an endpoint");
    let queue = SqsQueue::open(url, &Aws::new(Some(endpoint)), None).await.expect("a queue");
    let BatchPolicy { settling_wait: settling, receiving_wait: receiving, .. } = queue.batch_policy();
    let as_it_is = waits == Waits { settling, receiving };
    let queue = Arc::new(PacedQueue {
        queue,
        waits,
        state: Mutex::default(),
        receives: AtomicUsize::new(0),
        deletes: AtomicUsize::new(0),
        left: AtomicUsize::new(messages),
        done: Notify::new(),
    });
    let component =
        guests::load("empty", Allocator::Pooling, INSTANCES, Grants::default(), Limits::default()).await;
    let options = WorkerOptions {
        instances: INSTANCES,
        policy: Policy { rejected: Action::Drop, ..Policy::default() },
        observers: vec![queue.clone()],
        ..WorkerOptions::default()
    };
    let worker = Worker::new(queue.clone(), None, Arc::new(component), options).await.expect("a worker");
    let cpu = process_cpu();
    ready();
    let never = CancellationToken::new;
    tokio::select! {
        _ = Arc::new(worker).run(never(), never()) => unreachable!("nobody stops it"),
        () = queue.done.notified() => {}
    }
    let (cpu, now) = (process_cpu() - cpu, Instant::now());
    queue.with(|state| {
        let waited = Samples::new(std::mem::take(&mut state.waited));
        json!({
            "as_it_is": as_it_is,
            "receives": queue.receives.load(Ordering::Relaxed),
            "deletes": queue.deletes.load(Ordering::Relaxed),
            "cpu_seconds": cpu.as_secs_f64(),
            "seconds": state.began.map_or(0.0, |began| (now - began).as_secs_f64()),
            "p50_ms": waited.percentile(50.0) / 1e3,
            "p99_ms": waited.percentile(99.0) / 1e3,
        })
    })
}

#[allow(clippy::print_stdout, reason = "the parent reads it")]
fn ready() {
    println!("{READY}");
}
