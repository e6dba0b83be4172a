//! Watching: waits at each empty queue of several for its next message, while the others are received from.
//!
//! An empty queue has one receive under way that waits for one message. So a message starts as soon as it could with a
//! single queue, a receive of a lower queue never waits for a higher one, and an idle worker has one call under way for each
//! queue. What such a receive returns was not asked for with a permit. The message is held with its lease until the next
//! permit is free, and then starts before any other. At most one message of each queue is held.
//!
//! Receives of SQS can't be ended, so a message may arrive when all permits are in use again. Held for [`LONGEST_HELD`], it
//! is released, so that another worker can have it.

use super::turns::Turn;
use super::{Fails, Priority, Source, Sources};
use crate::ports::queue::{Delivery, Groups, QueueError};
use crate::worker::breaker::Admission;
use crate::worker::receive::{Ask, LONG_POLL, Polling, SHORT_POLL};
use crate::worker::waiting::LeasedMessage;
use crate::worker::{InProgress, Worker};
use parking_lot::Mutex;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long a message is held without a permit. Afterwards another worker may have it.
const LONGEST_HELD: Duration = Duration::from_secs(30);

/// What the watches of all queues share with those who ask for messages.
#[derive(Default)]
pub(super) struct Watches {
    held: Mutex<Held>,
    /// Number of calls that ask for messages now.
    asking: AtomicUsize,
    /// Number of calls that have asked for messages.
    asked: AtomicU64,
    /// Notified when a message is held or taken, and when a queue becomes empty or has messages again.
    changed: Notify,
    /// Notified when messages are chosen in another way, so that all watches must begin anew.
    anew: Notify,
}

#[derive(Default)]
struct Held {
    /// In the order of their arrival.
    messages: Vec<LeasedMessage>,
    closed: bool,
}

/// Counts a call that asks for messages, until it is dropped.
struct Asking<'a>(&'a Watches);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Watches {
    fn asks(&self) -> Asking<'_> {
        self.asking.fetch_add(1, Ordering::Relaxed);
        self.asked.fetch_add(1, Ordering::Relaxed);
        Asking(self)
    }

    /// Returns whether anybody asks for messages now, or has since `before` had asked.
    fn is_asked_since(&self, before: u64) -> bool {
        self.asking.load(Ordering::Relaxed) > 0 || self.asked.load(Ordering::Relaxed) != before
    }

    fn holds(&self, source: &Source) -> bool {
        self.held.lock().messages.iter().any(|leased| leased.source.index == source.index)
    }
}

impl Sources {
    /// Lets the watches choose messages anew: the groups that they leave out may have changed.
    pub(in crate::worker) fn watch_anew(&self) {
        self.watches.anew.notify_waiters();
    }

    /// Returns the number of messages that are held without a permit.
    pub(in crate::worker) fn held(&self) -> usize {
        self.watches.held.lock().messages.len()
    }

    /// Takes all messages that are held. None is held from now on.
    pub(in crate::worker) fn close(&self) -> Vec<LeasedMessage> {
        let mut held = self.watches.held.lock();
        held.closed = true;
        std::mem::take(&mut held.messages)
    }

    /// Holds messages. Returns them if the worker has ended.
    fn hold(&self, messages: Vec<LeasedMessage>) -> Vec<LeasedMessage> {
        let mut held = self.watches.held.lock();
        if held.closed {
            return messages;
        }
        messages.iter().for_each(|leased| leased.lease.waits(true));
        held.messages.extend(messages);
        Vec::new()
    }

    /// Takes at most `most` held messages: those of strict queues first, and otherwise in the order of their arrival.
    fn take(&self, most: usize) -> Vec<LeasedMessage> {
        let mut held = self.watches.held.lock();
        if held.messages.is_empty() {
            return Vec::new();
        }
        held.messages.sort_by_key(|leased| match leased.source.priority {
            Priority::Strict => leased.source.index,
            Priority::Weight(_) => usize::MAX,
        });
        let most = most.min(held.messages.len());
        let taken = held.messages.drain(..most).inspect(|leased| leased.lease.waits(false)).collect();
        drop(held);
        self.watches.changed.notify_waiters();
        taken
    }

    /// Takes the held messages of a queue that are to be released.
    fn overdue(&self, source: &Source, timeout: Duration) -> Vec<LeasedMessage> {
        let is_overdue = |leased: &mut LeasedMessage| {
            leased.source.index == source.index && (leased.may_release() || !leased.lease.lasts(timeout))
        };
        self.watches.held.lock().messages.extract_if(.., is_overdue).collect()
    }

    /// Waits until the queue is empty, so that it must be watched.
    async fn becomes_empty(&self, source: &Source) {
        loop {
            let mut changed = pin!(self.watches.changed.notified());
            changed.as_mut().enable();
            if self.turns.lock().has_no_turn(source.index) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until no message of the queue is held.
    async fn holds_none(&self, source: &Source) {
        loop {
            let mut changed = pin!(self.watches.changed.notified());
            changed.as_mut().enable();
            if !self.watches.holds(source) {
                return;
            }
            changed.await;
        }
    }

    /// Records that a queue may have messages, of which `messages` were received without a turn.
    fn has_messages(&self, source: &Source, messages: usize) {
        self.turns.lock().has_messages(source.index, messages);
        self.watches.changed.notify_waiters();
    }

    /// Records the number of messages of a turn; `None`: it failed.
    fn had_turn(&self, turn: Turn, messages: Option<usize>) {
        self.turns.lock().received(turn, messages.unwrap_or(0));
        if messages.is_none_or(|messages| messages == 0) {
            self.watches.changed.notify_waiters();
        }
    }
}

impl Worker {
    /// Asks several queues for messages in their turns, and waits if all of them are empty. Messages that are held come
    /// first. Returns at least one message, or none if none arrive in time.
    pub(in crate::worker) async fn in_turn(&self, ask: Ask<'_>) -> Vec<LeasedMessage> {
        let sources = &self.sources;
        let _asking = sources.watches.asks();
        let until = tokio::time::Instant::now() + ask.wait;
        while !ask.stop.is_cancelled() {
            // Listens before it looks, so that no message is missed.
            let mut changed = pin!(sources.watches.changed.notified());
            changed.as_mut().enable();
            let held = sources.take(ask.most);
            if !held.is_empty() {
                return held;
            }
            let turn = sources.turns.lock().next(ask.most);
            if let Some(turn) = turn {
                let messages = self.take_turn(turn, &ask).await;
                if !messages.is_empty() {
                    return messages;
                }
                continue;
            }
            tokio::select! {
                biased;
                () = ask.stop.cancelled() => break,
                () = changed => {}
                () = tokio::time::sleep_until(until) => break,
            }
        }
        Vec::new()
    }

    /// Receives from the queue whose turn it is, without waiting for messages.
    async fn take_turn(&self, turn: Turn, ask: &Ask<'_>) -> Vec<LeasedMessage> {
        let source = &self.sources.all[turn.index];
        // A queue that settles no message may well deliver some. Only its watch receives from it.
        let messages = if source.why_failing().is_some() {
            None
        } else {
            let received = source.receive(turn.most, Duration::ZERO, ask.stop, ask.groups).await;
            self.received_from(source, received)
        };
        self.sources.had_turn(turn, messages.as_ref().map(Vec::len));
        messages.unwrap_or_default()
    }

    /// Records the result of a receive of one of several queues, and begins the leases of its messages. Returns `None` if it
    /// failed.
    fn received_from(
        &self,
        source: &Arc<Source>,
        received: Result<Vec<Delivery>, QueueError>,
    ) -> Option<Vec<LeasedMessage>> {
        match received {
            Ok(deliveries) => {
                self.count_received(deliveries.len());
                if !deliveries.is_empty() {
                    source.reset_empty();
                }
                Some(deliveries.into_iter().map(|delivery| self.lease(source, delivery)).collect())
            }
            Err(error) => {
                self.tally.counters.failed_receives.add(1);
                let what = format!("it cannot be received from: {error}");
                source.failed(&self.breaker, Fails::Receiving, &what);
                None
            }
        }
    }

    /// Watches one of several queues whenever it is empty, until the worker stops.
    pub(in crate::worker) async fn watch(&self, source: &Arc<Source>, polling: &Polling<'_>) {
        let mut ended = pin!(polling.over.cancelled());
        loop {
            let ready = async {
                self.sources.becomes_empty(source).await;
                tokio::time::sleep(source.pause()).await;
                self.pause.ended().await;
                // While a backend fails, no message is taken from workers that it may not fail.
                while matches!(self.breaker.admission(), Admission::Check(_)) {
                    tokio::time::sleep(SHORT_POLL).await;
                }
            };
            tokio::select! {
                biased;
                () = &mut ended => return,
                () = ready => {}
            }
            if self.watch_once(source, polling).await {
                let held = async {
                    while tokio::time::timeout(LONGEST_HELD, self.sources.holds_none(source)).await.is_err() {
                        self.release_overdue(source, polling.in_progress).await;
                    }
                };
                tokio::select! {
                    biased;
                    () = &mut ended => return,
                    () = held => {}
                }
            }
        }
    }

    /// Waits once for a message of an empty queue. Returns whether it is held now.
    async fn watch_once(&self, source: &Arc<Source>, polling: &Polling<'_>) -> bool {
        let sources = &self.sources;
        let asked = sources.watches.asked.load(Ordering::Relaxed);
        let wait = if self.options.until_empty { SHORT_POLL } else { LONG_POLL };
        let groups = self.keyed.as_ref().and_then(|keyed| keyed.groups(self.permits.limit()));
        let leaves_out = groups.as_ref().is_some_and(|groups| !groups.except.is_empty());
        // A receive must not be dropped. It returns early when this is cancelled.
        let stop = polling.over.child_token();
        let mut receive = pin!(source.receive(1, wait, &stop, groups.as_ref()));
        let received = loop {
            tokio::select! {
                biased;
                received = &mut receive => break received,
                () = polling.in_progress.abandon.cancelled() => return false,
                () = self.pause.began(), if !stop.is_cancelled() => stop.cancel(),
                () = sources.watches.anew.notified(), if leaves_out && !stop.is_cancelled() => stop.cancel(),
            }
        };
        let Some(messages) = self.received_from(source, received) else { return false };
        // A receive that was ended may not have reached the queue.
        let works = match &source.health {
            Some(health) if !stop.is_cancelled() => health.received(source.url()),
            _ => source.why_failing().is_none(),
        };
        if messages.is_empty() {
            if stop.is_cancelled() || !sources.watches.is_asked_since(asked) {
                // It isn't watched any longer, so the next call asks it.
                if works {
                    sources.has_messages(source, 0);
                }
            } else {
                source.waited(0);
            }
            return false;
        }
        let count = messages.len();
        // A paused worker starts none.
        let unwanted = if self.pause.is_on() { messages } else { sources.hold(messages) };
        let is_held = unwanted.is_empty();
        self.release(unwanted, polling.in_progress).await;
        if works {
            sources.has_messages(source, count);
        } else {
            sources.watches.changed.notify_waiters();
        }
        is_held
    }

    /// Releases the held message of a queue for which no permit is free, unless that would bring it near to the
    /// dead-letter queue.
    async fn release_overdue(&self, source: &Source, in_progress: &InProgress) {
        let overdue = self.sources.overdue(source, self.routes.timeout());
        if !overdue.is_empty() {
            tracing::debug!(queue = source.url(), "released a held message: it could not start in time");
            self.release(overdue, in_progress).await;
        }
    }
}

impl Source {
    /// Receives at most `most` messages, of these groups if any are given.
    pub(in crate::worker) async fn receive(
        &self,
        most: usize,
        wait: Duration,
        stop: &CancellationToken,
        groups: Option<&Groups>,
    ) -> Result<Vec<Delivery>, QueueError> {
        match groups {
            Some(groups) => self.queue.receive_by_group(most, wait, stop, groups).await,
            None => self.queue.receive(most, wait, stop).await,
        }
    }
}
