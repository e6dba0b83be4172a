//! Settlement: deletes a message or makes it visible again, after its task has ended.
//!
//! [`decide`] is a pure function that chooses what to do. [`settle_all`] is the one place that deletes and releases
//! messages. Each of its calls settles the batch that arrived during the previous call, so that a busy worker settles
//! in batches and an idle worker settles at once. A failed settlement is retried for as long as the message is ours.

use super::attribution::Attribution;
use super::breaker::{Breaker, Evidence, Probe};
use super::permits::Unsettled;
use super::tally::Tally;
use crate::model::message::{MAX_BATCH, MAX_VISIBILITY};
use crate::model::outcome::{Action, Cancel, Outcome, Policy};
use crate::model::trace::Trace;
use crate::model::usage::{Settled, TaskObserver};
use crate::ports::queue::{Queue, QueueError, Receipt};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

/// Shortest and longest pause before failed settlements are retried. The pause doubles with each failure.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The delay before a failed message is retried. It doubles with each receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Delay after the first receive.
    pub first: Duration,
    /// Upper bound of the delay.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(900) }
    }
}

impl Backoff {
    /// Returns a time between half of the full delay and all of it, so that messages that failed together aren't
    /// retried together. `chance` is a random number between 0 and 1.
    fn after(&self, receive_count: u32, chance: f64) -> Duration {
        let doublings = receive_count.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.longest).min(MAX_VISIBILITY);
        full.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

/// The decision about a message whose task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Delete it.
    Delete,
    /// Make it visible again after this delay. This receive counts.
    Retry(Duration),
    /// Make it visible again after this delay. This receive doesn't count, where the queue can do that: the task isn't
    /// to blame.
    Release(Duration),
    /// Send it to the dead-letter queue, then delete it.
    DeadLetter,
    /// Do nothing: the message is no longer ours.
    Leave,
}

/// The settings that a decision depends on, in addition to the outcome.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) policy: Policy,
    pub(super) backoff: Backoff,
    /// Number of receives after which the queue itself dead-letters a message.
    pub(super) max_receives: Option<u32>,
    /// Whether there is a dead-letter queue.
    pub(super) dead_letter: bool,
}

/// Decides what to do with a message. `chance` is a random number between 0 and 1, for the backoff.
pub(super) fn decide(
    outcome: &Outcome,
    attribution: Attribution,
    receive_count: u32,
    rules: &Rules,
    chance: f64,
) -> Decision {
    let backoff = || rules.backoff.after(receive_count, chance);
    let (action, delay) = match outcome {
        Outcome::Completed => return Decision::Delete,
        Outcome::HostFailed { .. } => match attribution {
            Attribution::Message => (Action::Retry, None),
            Attribution::Suspect { times } => {
                let tries = receive_count.max(times.saturating_add(1));
                return Decision::Release(rules.backoff.after(tries, chance));
            }
            Attribution::Host => return Decision::Release(backoff()),
        },
        Outcome::Cancelled { why: Cancel::LeaseExpired } => return Decision::Leave,
        Outcome::Cancelled { .. } => return Decision::Release(Duration::ZERO),
        Outcome::Retry { delay, .. } => (rules.policy.retry, *delay),
        Outcome::Rejected { .. } => (rules.policy.rejected, None),
        Outcome::LimitExceeded { .. } => (rules.policy.limit_exceeded, None),
        Outcome::TimedOut => (rules.policy.timed_out, None),
        Outcome::Trapped { .. } => (rules.policy.trapped, None),
    };
    match action {
        Action::Drop => Decision::Delete,
        Action::DeadLetter => Decision::DeadLetter,
        // This is the last receive: the queue itself would dead-letter the message at its next receive, without a
        // reason.
        Action::Retry if rules.dead_letter && rules.max_receives.is_some_and(|max| receive_count >= max) => {
            Decision::DeadLetter
        }
        Action::Retry => Decision::Retry(delay.unwrap_or_else(backoff)),
    }
}

/// The settlement of one message: an operation for [`settle_all`] to carry out.
pub(super) struct Settlement {
    pub(super) message_id: String,
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
}

/// Where settlements are carried out, and where the results are recorded.
#[derive(Clone, Copy)]
pub(super) struct Settling<'a> {
    pub(super) queue: &'a dyn Queue,
    pub(super) breaker: &'a Breaker,
    pub(super) tally: &'a Tally,
    /// Told of the settlements whose traces are exported.
    pub(super) observers: &'a [Arc<dyn TaskObserver>],
    /// Ends all retries when it is cancelled.
    pub(super) give_up: &'a CancellationToken,
}

/// Carries out settlements until all senders are dropped. The queue's batch policy sets the number of concurrent calls.
pub(super) async fn settle_all(settling: Settling<'_>, receiver: mpsc::UnboundedReceiver<Settlement>) {
    let calls = settling.queue.batch_policy().settling_calls.max(1);
    let receiver = Mutex::new(receiver);
    join_all((0..calls).map(|_| settle_on(settling, &receiver))).await;
}

/// Makes one call after the other, each with a batch of the settlements that arrived meanwhile.
async fn settle_on(settling: Settling<'_>, receiver: &Mutex<mpsc::UnboundedReceiver<Settlement>>) {
    let Settling { queue, give_up, .. } = settling;
    let wait = queue.batch_policy().settling_wait;
    let mut open: Vec<Settlement> = Vec::new();
    let mut pause = PAUSES.0;
    loop {
        if open.len() < MAX_BATCH && !next_batch(receiver, &mut open, wait).await {
            return;
        }
        // A call applies one operation to all its messages. The first open settlement decides which.
        let operation = open[0].operation;
        let (mut batch, mut rest): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|settlement| settlement.operation == operation);
        rest.extend(batch.split_off(batch.len().min(MAX_BATCH)));
        open = rest;
        let unsettled = batch.len() + open.len();
        let left_open = tokio::select! {
            // `biased`: an answer that has arrived is handled even if `give_up` is cancelled.
            biased;
            left_open = settle_batch(settling, operation, batch) => left_open,
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

/// Settles a batch with one call. Returns the settlements to retry.
async fn settle_batch(
    Settling { queue, breaker, tally, observers, .. }: Settling<'_>,
    operation: Operation,
    batch: Vec<Settlement>,
) -> Vec<Settlement> {
    let began = Instant::now();
    let receipts: Vec<Receipt> = batch.iter().map(|settlement| settlement.receipt.clone()).collect();
    let answers = match operation {
        Operation::Delete => queue.delete(&receipts).await,
        Operation::Retry(delay) => queue.set_visibility(&receipts, delay).await,
        Operation::Release(delay) => queue.release(&receipts, delay).await,
    };
    let mut answers = answers.into_iter();
    batch
        .into_iter()
        .filter_map(|mut settlement| {
            let answer = answers.next().unwrap_or_else(|| Err(QueueError::unanswered()));
            if let Some(trace) = &settlement.trace {
                let error = answer.as_ref().err().map(ToString::to_string);
                let settled = Settled {
                    trace,
                    message_id: &settlement.message_id,
                    operation: operation.as_str(),
                    took: began.elapsed(),
                    error: error.as_deref(),
                };
                observers.iter().for_each(|observer| observer.settled(&settled));
            }
            match answer {
                Ok(()) => {
                    breaker.settled(settlement.evidence, settlement.probe.take());
                    None
                }
                Err(error @ QueueError::ReceiptExpired) => {
                    tracing::warn!(message_id = settlement.message_id, ?operation, %error, "settled too late: the message is delivered again");
                    None
                }
                Err(error) => {
                    tally.counters.settle_failures.add(1);
                    breaker.queue_failed("the queue does not settle messages");
                    let ours = Instant::now() < settlement.ours_until;
                    tracing::warn!(message_id = settlement.message_id, ?operation, %error, retried = ours, "cannot settle a message");
                    ours.then_some(settlement)
                }
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
