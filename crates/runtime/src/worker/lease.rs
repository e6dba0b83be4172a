//! Leases: keep a message invisible to other consumers while the worker has it.
//!
//! Each message has a lease from receipt to settlement. Leases that will expire soon are renewed in batches. A lease
//! that can't be renewed expires, and its task is cancelled (see `OnLeaseExpired`), since another consumer may have the
//! message. Once a lease is released, no renewal touches the message: [`Lease::release`] waits for a renewal that is
//! under way.

use super::control::NotCancelled;
use super::sources::Source;
use super::status::RunningTask;
use super::tally::Tally;
use crate::model::message::MAX_BATCH;
use crate::model::outcome::Action;
use crate::ports::queue::{Delivery, QueueError, Receipt};
use futures_util::future::join_all;
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, Notify};

/// Shortest interval between two rounds of renewals, for queues with a very short visibility timeout.
const SHORTEST_ROUND: Duration = Duration::from_millis(20);
/// Shortest time limit of a renewal call, however short the visibility timeout.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(250);
/// Longest interval between two rounds of renewals, for queues with a very long visibility timeout.
const LONGEST_ROUND: Duration = Duration::from_secs(10);

/// All leases of a worker.
pub(super) struct Leases {
    sources: Vec<Arc<Source>>,
    held: Mutex<HashMap<u64, Arc<Leased>>>,
    next: AtomicU64,
    tally: Arc<Tally>,
}

struct Leased {
    source: Arc<Source>,
    message_id: String,
    receive_count: u32,
    received_at: Instant,
    receipt: Receipt,
    /// The lease can't be extended beyond this time.
    ends_at: Instant,
    /// Set while the message waits for a backend or for a permit: no task runs for it.
    waits: AtomicBool,
    /// Locked while a renewal is under way.
    state: AsyncMutex<State>,
    expired: Notify,
    /// The action on the message, once an operator has cancelled it.
    cancelled: OnceLock<Action>,
    cancel: Notify,
}

struct State {
    visible_at: Instant,
    /// Whether the lease is neither released nor expired.
    ours: bool,
}

/// The lease of one message. If it is dropped without a release, the message becomes visible when its visibility ends.
pub(super) struct Lease {
    leases: Arc<Leases>,
    id: u64,
    held: Arc<Leased>,
}

impl Leases {
    /// Creates no leases yet, of messages of these queues.
    pub(super) fn new(sources: Vec<Arc<Source>>, tally: Arc<Tally>) -> Arc<Self> {
        Arc::new(Self { sources, held: Mutex::default(), next: AtomicU64::new(0), tally })
    }

    /// Begins the lease of a received message.
    pub(super) fn hold(self: &Arc<Self>, source: &Arc<Source>, delivery: &Delivery) -> Lease {
        let Source { longest, visibility_timeout, .. } = **source;
        // `longest` counts from receipt. `visible_at` is when the first visibility timeout after receipt ends.
        let longer = longest.saturating_sub(visibility_timeout);
        let shorter = visibility_timeout.saturating_sub(longest);
        let ends_at = delivery.visible_at.checked_sub(shorter).unwrap_or(delivery.visible_at) + longer;
        let held = Arc::new(Leased {
            source: source.clone(),
            message_id: delivery.message.id.clone(),
            receive_count: delivery.message.receive_count,
            received_at: Instant::now(),
            receipt: delivery.receipt.clone(),
            ends_at,
            waits: AtomicBool::new(false),
            state: AsyncMutex::new(State { visible_at: delivery.visible_at.min(ends_at), ours: true }),
            expired: Notify::new(),
            cancelled: OnceLock::new(),
            cancel: Notify::new(),
        });
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(id, held.clone());
        Lease { leases: self.clone(), id, held }
    }

    /// Renews leases until this future is dropped.
    pub(super) async fn keep_renewing(&self) {
        join_all(self.sources.iter().map(|source| self.keep_renewing_of(source))).await;
    }

    /// Renews the leases of one queue's messages.
    async fn keep_renewing_of(&self, source: &Source) {
        // A lease is renewed when a third of it is over, so that several rounds fit before it expires.
        let round = (source.visibility_timeout / 8).clamp(SHORTEST_ROUND, LONGEST_ROUND);
        let mut rounds = tokio::time::interval(round);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            self.renew_due(source).await;
        }
    }

    async fn renew_due(&self, source: &Source) {
        let of_source = |held: &&Arc<Leased>| held.source.index == source.index;
        let held: Vec<Arc<Leased>> = self.lock().values().filter(of_source).cloned().collect();
        let now = Instant::now();
        let mut due = Vec::new();
        for held in &held {
            // A locked lease is being released.
            let Ok(mut state) = held.state.try_lock() else { continue };
            let left = state.visible_at.saturating_duration_since(now);
            if !state.ours {
                continue;
            } else if left.is_zero() {
                held.expire(&mut state);
            } else if left <= source.visibility_timeout * 2 / 3 && state.visible_at < held.ends_at {
                due.push((&**held, state));
            }
        }
        due.sort_by_key(|(_, state)| state.visible_at);
        // All calls are concurrent: a call that hangs must not let other leases expire.
        let mut renewals = Vec::new();
        while !due.is_empty() {
            let batch = due.drain(..due.len().min(MAX_BATCH)).collect();
            renewals.push(self.renew(source, batch, now));
        }
        join_all(renewals).await;
    }

    /// Renews leases that have not ended `now`: a timeout of zero would release the message.
    async fn renew(&self, source: &Source, batch: Vec<(&Leased, AsyncMutexGuard<'_, State>)>, now: Instant) {
        // A lease near the end of its longest time is renewed for the rest of it.
        let visible_at = |held: &Leased| held.ends_at.min(now + source.visibility_timeout);
        let renewed = batch
            .iter()
            .map(|(held, _)| (held.receipt.clone(), visible_at(held).saturating_duration_since(now)));
        let renewed: Vec<(Receipt, Duration)> = renewed.collect();
        // The time limit leaves time for another try before the leases expire.
        let patience = (source.visibility_timeout / 4).max(SHORTEST_PATIENCE);
        let call = source.queue.set_visibility(&renewed);
        let answers = tokio::time::timeout(patience, call).await.unwrap_or_else(|_| {
            let late = QueueError::Unavailable("the queue does not answer in time".into());
            vec![Err(late); renewed.len()]
        });
        for ((held, mut state), answer) in batch.into_iter().zip(answers) {
            match answer {
                Ok(()) => {
                    self.tally.counters.renewals.add(1);
                    state.visible_at = visible_at(held);
                }
                Err(QueueError::ReceiptExpired) => held.expire(&mut state),
                Err(error) => {
                    self.tally.counters.failed_renewals.add(1);
                    let left = state.visible_at.saturating_duration_since(Instant::now());
                    let left_ms = left.as_millis() as u64;
                    tracing::warn!(%error, left_ms, "cannot renew the lease of a message");
                }
            }
        }
    }

    /// Cancels a message. Returns whether a task runs for it.
    pub(super) fn cancel(&self, message_id: &str, then: Action) -> Result<bool, NotCancelled> {
        let held = self.lock();
        let mut of_message = held.values().filter(|held| held.message_id == message_id).peekable();
        if of_message.peek().is_none() {
            return Err(NotCancelled::NotHeld);
        }
        if then == Action::DeadLetter && of_message.clone().any(|held| held.source.dead_letter.is_none()) {
            return Err(NotCancelled::NoDeadLetterQueue);
        }
        let mut runs = false;
        for held in of_message {
            let before = *held.cancelled.get_or_init(|| then);
            if before != then {
                return Err(NotCancelled::Already(before));
            }
            held.cancel.notify_one();
            runs |= held.runs();
        }
        Ok(runs)
    }

    /// Returns whether any task runs.
    pub(super) fn any_runs(&self) -> bool {
        self.lock().values().any(|held| held.runs())
    }

    /// Returns the number of messages with a running task.
    pub(super) fn count_running(&self) -> usize {
        self.lock().values().filter(|held| held.runs()).count()
    }

    /// Returns the number of messages with a running task, and the `most` oldest of them.
    pub(super) fn running(&self, most: usize) -> (usize, Vec<RunningTask>) {
        let mut held: Vec<Arc<Leased>> = self.lock().values().filter(|held| held.runs()).cloned().collect();
        let count = held.len();
        held.sort_by_key(|held| held.received_at);
        let named = held.iter().take(most).map(|held| RunningTask {
            message_id: held.message_id.clone(),
            receive_count: held.receive_count,
            age: held.received_at.elapsed(),
        });
        (count, named.collect())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Leased>>> {
        self.held.lock()
    }
}

impl Leased {
    fn runs(&self) -> bool {
        !self.waits.load(Ordering::Relaxed)
    }

    fn expire(&self, state: &mut State) {
        state.ours = false;
        self.expired.notify_one();
    }
}

impl Lease {
    /// Waits until the lease expires. Only one caller at a time may wait.
    pub(super) async fn expired(&self) {
        self.held.expired.notified().await;
    }

    /// Waits until an operator cancels the message. Only one caller at a time may wait.
    pub(super) async fn cancelled(&self) -> Action {
        loop {
            match self.is_cancelled() {
                Some(then) => return then,
                None => self.held.cancel.notified().await,
            }
        }
    }

    /// Returns the action on the message if an operator has cancelled it.
    pub(super) fn is_cancelled(&self) -> Option<Action> {
        self.held.cancelled.get().copied()
    }

    /// Returns whether the message is still ours, and whether its lease can be extended to last for `time`.
    pub(super) fn lasts(&self, time: Duration) -> bool {
        let now = Instant::now();
        // During a renewal the lease counts as ours: the renewal will show whether it is.
        let is_ours = self.held.state.try_lock().map_or(true, |state| state.ours && now < state.visible_at);
        is_ours && now + time < self.held.ends_at
    }

    /// Sets whether the message waits for a backend or for a permit.
    pub(super) fn waits(&self, waits: bool) {
        self.held.waits.store(waits, Ordering::Relaxed);
    }

    /// Ends the renewal of the lease. Returns until when the message is still ours, or `None` if the lease has expired.
    pub(super) async fn release(self) -> Option<Instant> {
        let mut state = self.held.state.lock().await;
        let ours = std::mem::replace(&mut state.ours, false);
        (ours && Instant::now() < state.visible_at).then_some(state.visible_at)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::{MAX_VISIBILITY, OutgoingMessage};
    use crate::ports::memory::MemoryQueue;
    use crate::ports::queue::Queue;
    use tokio_util::sync::CancellationToken;

    const SHORT: Duration = Duration::from_millis(500);

    async fn leased(longest: Duration) -> (Arc<MemoryQueue>, Arc<Leases>, Lease) {
        let queue = Arc::new(MemoryQueue::new("q", SHORT));
        queue.send(&[OutgoingMessage { body: "x".into(), ..OutgoingMessage::default() }]).await;
        let received = queue.receive(1, Duration::ZERO, &CancellationToken::new()).await;
        let delivery = received.expect("received").remove(0);
        let source = Source::of_test(queue.clone(), SHORT, longest);
        let leases = Leases::new(vec![source.clone()], Arc::default());
        let lease = leases.hold(&source, &delivery);
        (queue, leases, lease)
    }

    #[tokio::test]
    async fn a_held_message_stays_invisible_far_beyond_its_visibility_timeout() {
        let (queue, leases, lease) = leased(MAX_VISIBILITY).await;
        let never = CancellationToken::new();
        let again = queue.receive(1, SHORT * 4, &never);
        tokio::select! {
            () = leases.keep_renewing() => unreachable!("it never ends"),
            () = lease.expired() => panic!("it expired"),
            again = again => assert!(again.expect("received").is_empty()),
        }
        assert!(lease.release().await.is_some());
    }

    #[tokio::test]
    async fn a_lease_expires_at_its_longest_time() {
        let (queue, leases, lease) = leased(SHORT * 2).await;
        tokio::select! {
            () = leases.keep_renewing() => unreachable!("it never ends"),
            () = lease.expired() => {}
        }
        assert!(lease.release().await.is_none());
        let again = queue.receive(1, SHORT * 10, &CancellationToken::new()).await.expect("received");
        assert_eq!(again[0].message.receive_count, 2);
    }

    #[tokio::test]
    async fn a_lease_of_a_message_that_somebody_else_received_expires() {
        let (queue, leases, lease) = leased(MAX_VISIBILITY).await;
        queue.set_visibility(&[(lease.held.receipt.clone(), Duration::ZERO)]).await;
        queue.receive(1, SHORT, &CancellationToken::new()).await.expect("received");
        tokio::select! {
            () = leases.keep_renewing() => unreachable!("it never ends"),
            () = lease.expired() => {}
        }
    }

    #[tokio::test]
    async fn no_renewal_touches_a_message_after_its_release() {
        let (queue, leases, lease) = leased(MAX_VISIBILITY).await;
        assert!(lease.release().await.is_some());
        let never = CancellationToken::new();
        tokio::select! {
            () = leases.keep_renewing() => unreachable!("it never ends"),
            again = queue.receive(1, SHORT * 10, &never) => {
                assert_eq!(again.expect("received").len(), 1);
            }
        }
    }
}
