//! Messages that the worker holds so that fair shares have a choice: received, with a lease, and without a permit.
//!
//! A queue delivers its messages in its own order. With `--key` the worker receives more messages than it has permits
//! for, and [`Shares`] chooses which of them start. A held message keeps its lease, so holding alone never brings it
//! nearer to the dead-letter queue. What is held is bounded: in number and bytes, so that other workers and the memory
//! have their part, and in time.
//!
//! A held message is released for four reasons: it was held for ten minutes; the worker is stuck, as all keys that it
//! holds run as many tasks as they may; its key is parked (see [`budgets`](super::budgets)); or its lease can't last until
//! its task would end. On SQS a released message keeps its receive. There, the first three reasons apply only to messages
//! that were received at most half as often as the queue allows, which leaves the other half of their receives for errors.

use super::budgets::{BudgetOptions, Parking};
use super::holding::{self, Surplus};
use super::shares::{ShareOptions, Shares, Started};
use super::waiting::LeasedMessage;
use crate::model::key::{Key, KeySource};
use crate::model::message::{MAX_BATCH, MAX_MESSAGE_BYTES, Message};
use crate::model::usage::Usage;
use crate::ports::queue::Groups;
use parking_lot::{Mutex, MutexGuard};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Number of bytes of held messages from which no more are received.
const ENOUGH_BYTES: usize = 16 << 20;
/// Maximum number of bytes of held messages: one receive may exceed `ENOUGH_BYTES`.
pub const MOST_HELD_BYTES: usize = ENOUGH_BYTES + MAX_BATCH * MAX_MESSAGE_BYTES;

/// How messages are told apart by their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOptions {
    /// Where the key of a message is found.
    pub source: KeySource,
    /// How permits are shared among keys.
    pub shares: ShareOptions,
}

/// The messages that are held, by key.
pub(super) struct KeyedMessages {
    source: KeySource,
    state: Mutex<State>,
    /// Notified when a message may start.
    pub(super) startable: Notify,
    /// Notified when there is room for another message.
    pub(super) room: Notify,
    /// Notified when the store of budgets must be asked.
    pub(super) due: Notify,
    /// Notified when messages of parked keys must be released.
    pub(super) parks: Notify,
}

pub(super) struct State {
    pub(super) shares: Shares<LeasedMessage>,
    /// The budgets of keys, if there are any.
    pub(super) parking: Option<Parking>,
    pub(super) bytes: usize,
    closed: bool,
    /// When a message started last, or when the worker was last found stuck.
    started_at: Instant,
}

/// The right of one message to run a task of its key. When it is dropped, another message of the key may start.
pub(super) struct KeyPermit {
    keyed: Arc<KeyedMessages>,
    key: Key,
    estimate: Duration,
    used: Duration,
}

impl KeyPermit {
    /// Returns the key of the message.
    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// Records the time that a task of the message took.
    pub(super) fn used(&mut self, time: Duration) {
        self.used = self.used.saturating_add(time);
    }

    /// Adds what a task of the message has used to the account of the key, if the key has a budget.
    pub(super) fn charge(&self, usage: &Usage) {
        self.keyed.charge(&self.key, usage);
    }
}

impl Drop for KeyPermit {
    fn drop(&mut self) {
        self.keyed.lock().shares.ended(&self.key, self.estimate, self.used);
        self.keyed.startable.notify_waiters();
    }
}

impl KeyedMessages {
    /// Creates an empty hold.
    pub(super) fn new(options: KeyOptions, budgets: Option<BudgetOptions>) -> Arc<Self> {
        let state = State {
            shares: Shares::new(options.shares),
            parking: budgets.map(Parking::new),
            bytes: 0,
            closed: false,
            started_at: Instant::now(),
        };
        Arc::new(Self {
            source: options.source,
            state: Mutex::new(state),
            startable: Notify::new(),
            room: Notify::new(),
            due: Notify::new(),
            parks: Notify::new(),
        })
    }

    /// Adds received messages. Returns those that can't be held, as the worker stops.
    /// `key_of` returns the key of an object that a message announces, by the object's URL.
    pub(super) fn add(
        &self,
        messages: Vec<LeasedMessage>,
        key_of: impl Fn(&Message, &str) -> Option<String>,
    ) -> Vec<LeasedMessage> {
        let with_key = |leased: LeasedMessage| {
            let message = &leased.message;
            (self.source.key(message, |url| key_of(message, url)), leased)
        };
        self.hold(messages.into_iter().map(with_key).collect())
    }

    /// Holds messages again whose tasks didn't start. Returns those that can't be held, as the worker stops.
    pub(super) fn hold_again(&self, messages: Vec<LeasedMessage>) -> Vec<LeasedMessage> {
        let with_key = |mut leased: LeasedMessage| {
            let key = leased.key_permit.take().map_or_else(Key::none, |permit| permit.key.clone());
            (key, leased)
        };
        self.hold(messages.into_iter().map(with_key).collect())
    }

    fn hold(&self, messages: Vec<(Key, LeasedMessage)>) -> Vec<LeasedMessage> {
        let mut state = self.lock();
        if state.closed {
            return messages.into_iter().map(|(_, leased)| leased).collect();
        }
        let mut is_due = false;
        for (key, leased) in messages {
            leased.lease.waits(true);
            state.bytes += leased.message.bytes();
            let State { shares, parking, .. } = &mut *state;
            match parking {
                Some(parking) => is_due |= parking.hold(&key, leased, shares),
                None => shares.add(&key, leased),
            }
        }
        drop(state);
        self.startable.notify_waiters();
        if is_due {
            self.due.notify_one();
            self.parks.notify_one();
        }
        Vec::new()
    }

    /// Waits up to `wait` for messages that may start, and takes at most `most`. `probes`: the message is a probe. These go
    /// round the keys: a task that fails may be short, but the next probe may only follow 30 s later.
    pub(super) async fn next(
        self: &Arc<Self>,
        most: usize,
        probes: bool,
        wait: Duration,
        stop: &CancellationToken,
    ) -> Vec<LeasedMessage> {
        let until = tokio::time::Instant::now() + wait;
        loop {
            // Listens before it looks, so that no message is missed.
            let mut startable = pin!(self.startable.notified());
            startable.as_mut().enable();
            let messages = if probes { self.take_in_turn() } else { self.take(most) };
            if !messages.is_empty() {
                return messages;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return Vec::new(),
                () = startable => {}
                () = tokio::time::sleep_until(until) => return Vec::new(),
            }
        }
    }

    /// Takes at most `most` messages that may start now.
    pub(super) fn take(self: &Arc<Self>, most: usize) -> Vec<LeasedMessage> {
        self.take_by(|shares, most_running| {
            std::iter::from_fn(|| shares.start_within(most_running)).take(most).collect()
        })
    }

    /// Takes the message of the key whose turn it is, if there is one.
    fn take_in_turn(self: &Arc<Self>) -> Vec<LeasedMessage> {
        self.take_by(|shares, most_running| shares.start_in_turn(most_running).into_iter().collect())
    }

    /// Takes the messages that `start` chooses, within the number of tasks that each key may run.
    fn take_by(
        self: &Arc<Self>,
        start: impl FnOnce(&mut Shares<LeasedMessage>, &dyn Fn(&Key) -> usize) -> Vec<Started<LeasedMessage>>,
    ) -> Vec<LeasedMessage> {
        let mut state = self.lock();
        let State { shares, parking, .. } = &mut *state;
        let started = match parking {
            Some(parking) => {
                parking.begin_periods();
                start(shares, &|key| parking.most_running(key))
            }
            None => start(shares, &|_| usize::MAX),
        };
        if started.is_empty() {
            return Vec::new();
        }
        state.started_at = Instant::now();
        state.bytes -= bytes(started.iter().map(|started| &started.item));
        drop(state);
        self.room.notify_one();
        let permitted = |Started { key, item, estimate }: Started<LeasedMessage>| {
            item.lease.waits(false);
            let permit = KeyPermit { keyed: self.clone(), key, estimate, used: Duration::ZERO };
            LeasedMessage { key_permit: Some(permit), ..item }
        };
        started.into_iter().map(permitted).collect()
    }

    /// Takes the messages that must be released. `limit` is the concurrency limit, and `has_permits` says whether
    /// fewer tasks run. A task may take `timeout`.
    pub(super) fn surplus(&self, limit: usize, has_permits: bool, timeout: Duration) -> Vec<LeasedMessage> {
        let mut state = self.lock();
        let (room, can_start) = (state.room(limit), state.can_start());
        let is_stuck = holding::is_stuck(has_permits, room, state.started_at.elapsed(), can_start);
        if is_stuck {
            state.started_at = Instant::now();
        }
        let mut rule = Surplus::new(is_stuck);
        let surplus = state.shares.take_out(|leased, before, count| {
            rule.has(leased.may_release(), leased.received_at.elapsed(), before, count)
                || !leased.lease.lasts(timeout)
        });
        state.bytes -= bytes(&surplus);
        surplus
    }

    /// Returns the number of messages for which there is room, if at most `limit` tasks run at once.
    pub(super) fn room(&self, limit: usize) -> usize {
        self.lock().room(limit)
    }

    /// Returns the choice of groups for the next receive, if the keys are groups, which the queue can see. A key that
    /// fills the room of others stays in the queue: one with as many held messages as there is room left. However many
    /// keys there are, there is room for another. So do parked keys.
    pub(super) fn groups(&self, limit: usize) -> Option<Groups> {
        if !self.chooses_groups() {
            return None;
        }
        let state = self.lock();
        let crowded = state.shares.crowded(state.room(limit));
        let parked = state.parking.iter().flat_map(Parking::keys);
        Some(Groups { except: crowded.chain(parked).map(|key| key.as_str().to_owned()).collect() })
    }

    /// Returns whether the keys are groups, which the queue can see.
    pub(super) fn chooses_groups(&self) -> bool {
        self.source == KeySource::Group
    }

    /// Waits until a held message has started, or returns at once if one has since the last call.
    pub(super) async fn started(&self) {
        self.room.notified().await;
    }

    /// Returns the number of messages that are held.
    pub(super) fn len(&self) -> usize {
        self.lock().held()
    }

    /// Returns whether no message is held.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes all messages. None can be added from now on.
    pub(super) fn close(&self) -> Vec<LeasedMessage> {
        let mut state = self.lock();
        state.closed = true;
        state.bytes = 0;
        let mut all = state.shares.take_out(|_, _, _| true);
        all.extend(state.parking.iter_mut().flat_map(Parking::take).map(|(_, leased)| leased));
        all
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn room(&self, limit: usize) -> usize {
        if self.closed || self.bytes >= ENOUGH_BYTES {
            return 0;
        }
        holding::room(limit, self.held())
    }

    /// Returns the number of messages that are held.
    fn held(&self) -> usize {
        self.shares.waiting() + self.parking.as_ref().map_or(0, Parking::len)
    }

    /// Returns whether a held message may start once a permit is free. Those of keys of which the store of budgets must be
    /// asked may, soon: while it doesn't answer, no message is released for it.
    fn can_start(&self) -> bool {
        let most = |key: &Key| match self.parking.as_ref().map(|parking| parking.most_running(key)) {
            None | Some(0) => usize::MAX,
            Some(most) => most,
        };
        self.shares.can_start_within(&most)
    }
}

pub(super) fn bytes<'a>(messages: impl IntoIterator<Item = &'a LeasedMessage>) -> usize {
    messages.into_iter().map(|leased| Message::bytes(&leased.message)).sum()
}

#[cfg(test)]
#[path = "keyed_tests.rs"]
pub(super) mod tests;
