//! Leases: a message that a task works on stays invisible to others.
//!
//! From receipt to settlement each message has a lease. Those that get short are renewed in batches. A lease that
//! can't be renewed lapses, and its task is cancelled, since somebody else may have the message. Once a lease is
//! released no renewal touches the message: [`Lease::release`] waits for one that is under way.

use crate::message::{MAX_BATCH, MAX_VISIBILITY};
use crate::queue::{Delivery, Queue, QueueError, Receipt};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

/// Queues whose visibility timeout is very short are looked at as often as this.
const SHORTEST_ROUND: Duration = Duration::from_millis(20);
/// Queues whose visibility timeout is very long are looked at as often as this.
const LONGEST_ROUND: Duration = Duration::from_secs(10);

/// All leases of a worker.
pub(super) struct Leases {
    queue: Arc<dyn Queue>,
    visibility_timeout: Duration,
    /// From receipt.
    longest: Duration,
    held: Mutex<HashMap<u64, Arc<Held>>>,
    next: std::sync::atomic::AtomicU64,
}

struct Held {
    receipt: Receipt,
    /// The lease can't reach beyond this.
    ends_at: Instant,
    /// Locked while a renewal is under way.
    state: Arc<AsyncMutex<State>>,
    lapsed: CancellationToken,
}

struct State {
    visible_at: Instant,
    released: bool,
}

/// One message's lease. Dropping it without a release leaves the message alone: it becomes visible in time.
pub(super) struct Lease {
    leases: Arc<Leases>,
    id: u64,
    held: Arc<Held>,
}

impl Leases {
    pub(super) fn new(queue: Arc<dyn Queue>, visibility_timeout: Duration, longest: Duration) -> Arc<Self> {
        let longest = longest.min(MAX_VISIBILITY);
        Arc::new(Self { queue, visibility_timeout, longest, held: Mutex::default(), next: 0.into() })
    }

    /// Holds a message from its receipt on.
    pub(super) fn hold(self: &Arc<Self>, delivery: &Delivery) -> Lease {
        // From receipt; the delivery says when the first visibility timeout ends.
        let ends_at = delivery.visible_at + self.longest.saturating_sub(self.visibility_timeout);
        let state = State { visible_at: delivery.visible_at, released: false };
        let held = Arc::new(Held {
            receipt: delivery.receipt.clone(),
            ends_at,
            state: Arc::new(AsyncMutex::new(state)),
            lapsed: CancellationToken::new(),
        });
        let id = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.lock().insert(id, held.clone());
        Lease { leases: self.clone(), id, held }
    }

    /// Renews until it's dropped.
    pub(super) async fn keep_renewing(&self) {
        // A lease is renewed when a third of it is over, so that several rounds fit before it lapses.
        let round = (self.visibility_timeout / 8).clamp(SHORTEST_ROUND, LONGEST_ROUND);
        let mut rounds = tokio::time::interval(round);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            self.renew_due().await;
        }
    }

    async fn renew_due(&self) {
        let held: Vec<Arc<Held>> = self.lock().values().cloned().collect();
        let now = Instant::now();
        let mut due: Vec<(Arc<Held>, OwnedMutexGuard<State>)> = Vec::new();
        for held in held {
            // One that is locked is being released.
            let Ok(state) = held.state.clone().try_lock_owned() else {
                continue;
            };
            let left = state.visible_at.saturating_duration_since(now);
            if state.released || held.lapsed.is_cancelled() {
                continue;
            } else if left.is_zero() {
                held.lapsed.cancel();
            } else if left <= self.visibility_timeout * 2 / 3 && state.visible_at < held.ends_at {
                due.push((held, state));
            }
        }
        // Those near the end of their longest time get what is left of it, each on its own.
        let (mut due, ending): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|(held, _)| now + self.visibility_timeout <= held.ends_at);
        due.sort_by_key(|(_, state)| state.visible_at);
        while !due.is_empty() {
            let batch = due.drain(..due.len().min(MAX_BATCH)).collect();
            self.renew(batch, self.visibility_timeout).await;
        }
        for (held, state) in ending {
            let left = held.ends_at.saturating_duration_since(Instant::now());
            self.renew(vec![(held, state)], left).await;
        }
    }

    async fn renew(&self, mut batch: Vec<(Arc<Held>, OwnedMutexGuard<State>)>, visibility: Duration) {
        let now = Instant::now();
        let receipts: Vec<Receipt> = batch.iter().map(|(held, _)| held.receipt.clone()).collect();
        let answers = self.queue.set_visibility(&receipts, visibility).await;
        for ((held, state), answer) in batch.iter_mut().zip(answers) {
            match answer {
                Ok(()) => state.visible_at = now + visibility,
                Err(QueueError::ReceiptExpired) => held.lapsed.cancel(),
                Err(error) => {
                    let left = state.visible_at.saturating_duration_since(Instant::now());
                    tracing::warn!(%error, left_ms = left.as_millis() as u64, "A message's visibility wasn't extended.");
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Returns when the message may have gone to somebody else.
    pub(super) async fn lapsed(&self) {
        self.held.lapsed.cancelled().await;
    }

    /// Ends renewal. Tells until when the message is still ours; `None`: it lapsed.
    pub(super) async fn release(self) -> Option<Instant> {
        let mut state = self.held.state.lock().await;
        state.released = true;
        let ours = !self.held.lapsed.is_cancelled() && Instant::now() < state.visible_at;
        ours.then_some(state.visible_at)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.lock().remove(&self.id);
    }
}
