//! With keys, a worker receives ahead of free permits, holds the messages, and starts those that fair shares choose.
//!
//! What a message waits for is as in the worker's own modules `keyed` and `fill`, with their bounds from [`holding`].
//! Leases don't end here, and messages have no size.

use crate::arena::{Arena, Key};
use crate::queue::{Message, Round};
use crate::receive::{By, Taken};
use crate::tenants::Sender;
use crate::time::nanos;
use crate::worker::{Settlement, State, Worker};
use crate::world::{Event, World};
use std::time::Duration;
use wasmrun_runtime::model::key::KeySource;
use wasmrun_runtime::worker::decision::Decision;
use wasmrun_runtime::worker::holding::{self, RELEASED_FOR, Surplus, may_release, most_ahead};
use wasmrun_runtime::worker::shares::{Shares, Started};
use wasmrun_runtime::worker::{KeyOptions, SHORT_POLL};

/// The messages that a worker holds.
#[derive(Debug)]
pub(crate) struct Hold {
    shares: Shares<HeldMessage>,
    /// The receive from the queue that is under way.
    ahead: Option<Key>,
    /// Pollers that wait for a message that may start.
    waiting: Vec<Key>,
    /// When a message started last, or when the worker was last found stuck.
    started_at: u64,
    /// When it next looks for messages to release.
    checks_at: u64,
    /// Whether an event is scheduled that looks for room again.
    fill_is_due: bool,
    /// The sender whose message was received last.
    last: Sender,
}

#[derive(Debug)]
struct HeldMessage {
    message: Message,
    received_at: u64,
}

impl Hold {
    pub(crate) fn new(keys: &KeyOptions, now: u64) -> Self {
        Self {
            shares: Shares::new(keys.shares.clone()),
            ahead: None,
            waiting: Vec::new(),
            started_at: now,
            checks_at: now,
            fill_is_due: false,
            last: Sender::NONE,
        }
    }

    /// Returns whether it holds no message.
    pub(crate) fn is_empty(&self) -> bool {
        self.shares.waiting() == 0
    }

    /// Takes the messages that must be released.
    fn surplus(
        &mut self,
        now: u64,
        limit: usize,
        has_permits: bool,
        max_receives: Option<u32>,
    ) -> Vec<HeldMessage> {
        let room = holding::room(limit, self.shares.waiting());
        let since_start = Duration::from_nanos(now - self.started_at);
        let is_stuck = holding::is_stuck(has_permits, room, since_start, self.shares.can_start());
        if is_stuck {
            self.started_at = now;
        }
        let mut rule = Surplus::new(is_stuck);
        self.shares.take_out(|held, before, count| {
            let held_for = Duration::from_nanos(now - held.received_at);
            rule.has(may_release(held.message.receives, max_receives), held_for, before, count)
        })
    }
}

fn hold_of(workers: &mut Arena<Worker>, key: Key) -> Option<&mut Hold> {
    workers.get_mut(key)?.hold.as_deref_mut()
}

impl World<'_> {
    /// Receives messages ahead, as many as there is room for.
    pub(crate) fn fill(&mut self, key: Key) {
        let Some(keys) = &self.plan.tenants.keys else { return };
        let Some(worker) = self.workers.get(key).filter(|worker| worker.state == State::Running) else {
            return;
        };
        let limit = worker.limit;
        if worker.hold.as_ref().is_none_or(|hold| hold.ahead.is_some()) {
            return;
        }
        self.release_surplus(key);
        let Some(hold) = hold_of(&mut self.workers, key) else { return };
        let chooses_groups = keys.source == KeySource::Group;
        let room = holding::room(limit, hold.shares.waiting());
        let most = most_ahead(room, chooses_groups, self.plan.queue.batches.batch());
        if most == 0 {
            if !std::mem::replace(&mut hold.fill_is_due, true) {
                self.calendar.add(self.now + nanos(SHORT_POLL), Event::Fill(key));
            }
            return;
        }
        let mut round = Round { last: hold.last, except: Vec::new() };
        if chooses_groups {
            round.except = hold.shares.crowded(room).filter_map(|key| self.senders.of(key)).collect();
            round.except.sort_unstable();
        }
        let ahead = self.call_queue(key, By::Ahead, most, self.plan.queue.long_poll, round);
        if let Some(hold) = hold_of(&mut self.workers, key) {
            hold.ahead = Some(ahead);
        }
    }

    /// Releases the messages that a worker holds for too long, or in the way of others, if it is time to look for them.
    fn release_surplus(&mut self, key: Key) {
        let (now, queue) = (self.now, self.plan.queue);
        let Some(worker) = self.workers.get_mut(key) else { return };
        let (limit, has_permits) = (worker.limit, worker.running < worker.limit);
        let Some(hold) = worker.hold.as_mut().filter(|hold| now >= hold.checks_at) else { return };
        hold.checks_at = now + nanos(SHORT_POLL);
        let max_receives = queue.max_receives.filter(|_| queue.counts_releases).map(|most| most.get());
        let surplus = hold.surplus(now, limit, has_permits, max_receives);
        self.release_held(key, surplus, RELEASED_FOR);
    }

    /// It is time to look for room again.
    pub(crate) fn fill_is_due(&mut self, key: Key) {
        if let Some(hold) = hold_of(&mut self.workers, key) {
            hold.fill_is_due = false;
            self.fill(key);
        }
    }

    /// A receive from the queue has its answer: the messages are held.
    pub(crate) fn received_ahead(&mut self, key: Key, messages: &[Taken]) {
        let Some(receive) = self.receives.remove(key) else { return };
        let Some(worker) = self.workers.get_mut(receive.worker) else { return };
        self.measure.counts.empty_receives += u64::from(messages.is_empty());
        worker.has_worked |= !messages.is_empty();
        let Some(hold) = &mut worker.hold else { return };
        hold.ahead = None;
        hold.last = receive.round.last;
        for (message, _) in messages {
            let key = self.senders.key(message.sender);
            hold.shares.add(key, HeldMessage { message: *message, received_at: self.now });
        }
        self.held += messages.len() as u64;
        self.wake_pollers(receive.worker);
        self.fill(receive.worker);
    }

    /// A poller looks for held messages that may start.
    pub(crate) fn take(&mut self, key: Key) {
        let now = self.now;
        let Some(receive) = self.receives.get_mut(key) else { return };
        let worker = self.workers.get_mut(receive.worker).filter(|worker| worker.state == State::Running);
        let mut hold = worker.and_then(|worker| worker.hold.as_deref_mut());
        let mut taken = std::mem::take(&mut self.taken);
        taken.clear();
        if let Some(hold) = &mut hold {
            let started = std::iter::from_fn(|| hold.shares.start()).take(receive.asked);
            taken.extend(started.map(|Started { item, estimate, .. }| (item.message, estimate)));
        }
        match hold {
            Some(hold) if taken.is_empty() && now < receive.until => {
                if !std::mem::replace(&mut receive.waits, true) {
                    self.calendar.add(receive.until, Event::Take(key));
                }
                if !std::mem::replace(&mut receive.is_listed, true) {
                    hold.waiting.push(key);
                }
            }
            hold => {
                let worker = receive.worker;
                let has_started = !taken.is_empty();
                if let Some(hold) = hold.filter(|_| has_started) {
                    hold.started_at = now;
                }
                self.held -= taken.len() as u64;
                self.received(key, &taken);
                if has_started {
                    self.made_room(worker);
                }
            }
        }
        self.taken = taken;
    }

    /// HeldMessage messages have started: there is room for others.
    fn made_room(&mut self, key: Key) {
        let Some(hold) = self.workers.get(key).and_then(|worker| worker.hold.as_ref()) else { return };
        let Some(ahead) = hold.ahead else { return self.fill(key) };
        let Some(receive) = self.receives.get_mut(ahead) else { return };
        // A key that was left out may have room again.
        if !receive.round.except.is_empty() && receive.until > self.now {
            receive.until = self.now;
            if receive.waits {
                self.calendar.add(self.now, Event::PollEnds(ahead));
            }
        }
    }

    /// The task of a message has ended, which took this time: another message of its key may start.
    pub(crate) fn key_ended(&mut self, key: Key, sender: Sender, estimate: Duration, time: Duration) {
        if let Some(hold) = hold_of(&mut self.workers, key) {
            hold.shares.ended(self.senders.key(sender), estimate, time);
            self.wake_pollers(key);
        }
    }

    /// Lets the pollers that wait look for messages again.
    fn wake_pollers(&mut self, key: Key) {
        let Some(hold) = hold_of(&mut self.workers, key) else { return };
        for waiting in hold.waiting.drain(..) {
            if let Some(receive) = self.receives.get_mut(waiting) {
                receive.is_listed = false;
                self.calendar.add(self.now, Event::Take(waiting));
            }
        }
    }

    /// A worker stops: it releases the messages that it holds.
    pub(crate) fn release_all_held(&mut self, key: Key) {
        if let Some(hold) = hold_of(&mut self.workers, key) {
            let all = hold.shares.take_out(|_, _, _| true);
            self.release_held(key, all, Duration::ZERO);
        }
    }

    fn release_held(&mut self, key: Key, messages: Vec<HeldMessage>, delay: Duration) {
        let Some(worker) = self.workers.get_mut(key).filter(|_| !messages.is_empty()) else { return };
        self.held -= messages.len() as u64;
        worker.unsettled += messages.len();
        let decision = Decision::Release(delay);
        worker
            .settlements
            .extend(messages.into_iter().map(|HeldMessage { message, .. }| Settlement { message, decision }));
        self.settle_batches(key, false);
    }
}
