//! Settlement: deletes a message or makes it visible again, after its task has ended.
//!
//! [`decide`](super::decision::decide) chooses what to do. [`settle_all`] is the one place that deletes and releases
//! messages. Each of its calls settles the batch that arrived during the previous call, so that a busy worker settles
//! in batches and an idle worker settles at once. A failed settlement is retried for as long as the message is ours.

use super::breaker::{Breaker, Evidence, Probe};
use super::permits::Unsettled;
use super::sources::{Fails, Source};
use super::tally::Tally;
use crate::model::message::MAX_BATCH;
use crate::model::trace::Trace;
use crate::model::usage::{Settled, TaskObserver};
use crate::ports::queue::{Queue, QueueError, Receipt};
use futures_util::future::join_all;
use std::mem::discriminant;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

/// Shortest and longest pause before failed settlements are retried. The pause doubles with each failure.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The settlement of one message: an operation for [`settle_all`] to carry out.
pub(super) struct Settlement {
    pub(super) message_id: String,
    /// The queue that it is from.
    pub(super) source: Arc<Source>,
    pub(super) receipt: Receipt,
    pub(super) operation: Operation,
    /// When the lease ends. Until then the message is ours, and a failed operation is retried.
    pub(super) ours_until: Instant,
    /// Evidence about the backends from the end of the task, for the circuit breaker.
    pub(super) evidence: Evidence,
    /// Set if the message probes the backends for the circuit breaker.
    pub(super) probe: Option<Probe>,
    /// The task's trace, if it is exported.
    pub(super) trace: Option<Box<Trace>>,
    /// Counts the message as unsettled until this is dropped.
    pub(super) _unsettled: Unsettled,
}

/// An operation on a message in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Delete,
    Retry(Duration),
    Release(Duration),
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Retry(_) => "retry",
            Self::Release(_) => "release",
        }
    }

    /// Returns the time until the message is visible again. A deletion has none.
    fn delay(self) -> Duration {
        match self {
            Self::Delete => Duration::ZERO,
            Self::Retry(delay) | Self::Release(delay) => delay,
        }
    }
}

/// Where settlements are carried out, and where the results are recorded.
#[derive(Clone, Copy)]
pub(super) struct Settling<'a> {
    pub(super) source: &'a Source,
    pub(super) breaker: &'a Breaker,
    pub(super) tally: &'a Tally,
    /// Told of the settlements whose traces are exported.
    pub(super) observers: &'a [Arc<dyn TaskObserver>],
    /// Ends all retries when it is cancelled.
    pub(super) give_up: &'a CancellationToken,
}

/// Carries out the settlements of one queue's messages until all senders are dropped. The queue's batch policy sets the
/// number of concurrent calls.
pub(super) async fn settle_all(settling: Settling<'_>, receiver: mpsc::UnboundedReceiver<Settlement>) {
    let calls = settling.source.queue.batch_policy().settling_calls.max(1);
    let receiver = Mutex::new(receiver);
    join_all((0..calls).map(|_| settle_on(settling, &receiver))).await;
}

/// Makes one call after the other, each with a batch of the settlements that arrived meanwhile.
async fn settle_on(settling: Settling<'_>, receiver: &Mutex<mpsc::UnboundedReceiver<Settlement>>) {
    let Settling { source, give_up, .. } = settling;
    let wait = source.queue.batch_policy().settling_wait;
    let mut open: Vec<Settlement> = Vec::new();
    let mut pause = PAUSES.0;
    loop {
        if open.len() < MAX_BATCH && !next_batch(receiver, &mut open, wait).await {
            return;
        }
        // A call applies one kind of operation to all its messages. The first open settlement decides which.
        let kind = discriminant(&open[0].operation);
        let (mut batch, mut rest): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|settlement| discriminant(&settlement.operation) == kind);
        rest.extend(batch.split_off(batch.len().min(MAX_BATCH)));
        open = rest;
        let unsettled = batch.len() + open.len();
        let left_open = tokio::select! {
            // `biased`: an answer that has arrived is handled even if `give_up` is cancelled.
            biased;
            left_open = settle_batch(settling, batch) => left_open,
            () = give_up.cancelled() => {
                tracing::warn!(messages = unsettled, "gave up settling: messages become visible again when their leases expire");
                return;
            }
        };
        if left_open.is_empty() {
            pause = PAUSES.0;
        } else if give_up.is_cancelled() {
            tracing::warn!(
                messages = left_open.len(),
                "cannot settle: messages become visible again when their leases expire"
            );
        } else {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = give_up.cancelled() => {}
            }
            pause = (pause * 2).min(PAUSES.1);
            open.extend(left_open);
        }
    }
}

/// Waits for the first settlement, if none is open, and then up to `wait` for more to fill the batch. Returns `false`
/// when none is open and no sender is left.
async fn next_batch(
    receiver: &Mutex<mpsc::UnboundedReceiver<Settlement>>,
    open: &mut Vec<Settlement>,
    wait: Duration,
) -> bool {
    // The other calls wait here meanwhile, so that batches fill before more calls are made.
    let mut receiver = if open.is_empty() {
        receiver.lock().await
    } else {
        // If another call holds the receiver, the open settlements are settled without waiting for more.
        let Ok(receiver) = receiver.try_lock() else { return true };
        receiver
    };
    if open.is_empty() {
        let Some(first) = receiver.recv().await else { return false };
        open.push(first);
    }
    let until = tokio::time::Instant::now() + wait;
    while open.len() < MAX_BATCH {
        if let Ok(next) = receiver.try_recv() {
            open.push(next);
        } else if wait.is_zero() {
            break;
        } else {
            match tokio::time::timeout_at(until, receiver.recv()).await {
                Ok(Some(next)) => open.push(next),
                // No sender is left, or `wait` is over.
                Ok(None) | Err(_) => break,
            }
        }
    }
    true
}

/// Carries out one kind of operation on a batch, each message with its own delay.
async fn call(queue: &dyn Queue, batch: &[Settlement]) -> Vec<Result<(), QueueError>> {
    let entries = batch.iter().map(|settlement| (settlement.receipt.clone(), settlement.operation.delay()));
    match batch[0].operation {
        Operation::Delete => queue.delete(&entries.map(|(receipt, _)| receipt).collect::<Vec<_>>()).await,
        Operation::Retry(_) => queue.set_visibility(&entries.collect::<Vec<_>>()).await,
        Operation::Release(_) => queue.release(&entries.collect::<Vec<_>>()).await,
    }
}

/// Settles a batch of one kind of operation with one call. Returns the settlements to retry.
async fn settle_batch(
    Settling { source, breaker, tally, observers, .. }: Settling<'_>,
    batch: Vec<Settlement>,
) -> Vec<Settlement> {
    let (queue, began) = (&source.queue, Instant::now());
    let mut answers = call(&**queue, &batch).await.into_iter();
    batch
        .into_iter()
        .filter_map(|mut settlement| {
            let operation = settlement.operation;
            let answer = answers.next().unwrap_or_else(|| Err(QueueError::unanswered()));
            if let Some(trace) = &settlement.trace {
                let (message_id, queue, took) = (&settlement.message_id, queue.url(), began.elapsed());
                let operation = operation.as_str();
                let call = Settled { trace, message_id, queue, operation, took, error: None };
                observe_call(observers, call, &answer);
            }
            match answer {
                Ok(()) => {
                    if operation == Operation::Delete {
                        source.succeeded(Fails::Settling);
                    }
                    breaker.settled(settlement.evidence, settlement.probe.take());
                    None
                }
                Err(error @ QueueError::ReceiptExpired) => {
                    tracing::warn!(message_id = settlement.message_id, ?operation, %error, "settled too late: the message is delivered again");
                    None
                }
                Err(error) => {
                    tally.counters.settle_failures.add(1);
                    source.failed(breaker, Fails::Settling, "the queue does not settle messages");
                    let ours = Instant::now() < settlement.ours_until;
                    tracing::warn!(message_id = settlement.message_id, ?operation, %error, retried = ours, "cannot settle a message");
                    ours.then_some(settlement)
                }
            }
        })
        .collect()
}

/// Reports a call of a queue with this answer to the observers.
pub(super) fn observe_call<T>(
    observers: &[Arc<dyn TaskObserver>],
    call: Settled<'_>,
    answer: &Result<T, QueueError>,
) {
    let error = answer.as_ref().err().map(ToString::to_string);
    let call = Settled { error: error.as_deref(), ..call };
    observers.iter().for_each(|observer| observer.settled(&call));
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
