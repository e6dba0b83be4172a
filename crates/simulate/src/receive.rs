//! How a worker receives messages, and how a receive that waits learns of them.

use crate::arena::Key;
use crate::plan::Notice;
use crate::queue::{Message, Round};
use crate::time::nanos;
use crate::worker::State;
use crate::world::{Event, World};
use std::time::Duration;
use wasmrun_runtime::worker::{LONG_POLL, SHORT_POLL};

/// A receive under way.
#[derive(Debug)]
pub(crate) struct Receive {
    pub(crate) worker: Key,
    pub(crate) asked: usize,
    began: u64,
    pub(crate) until: u64,
    pub(crate) by: By,
    /// Whether it has looked for messages, found none, and waits.
    pub(crate) waits: bool,
    /// Whether it is among the receives that wait: it isn't while it is about to look.
    pub(crate) is_listed: bool,
    looks: Looks,
    /// Which senders' messages it takes, where the queue sees senders.
    pub(crate) round: Round,
}

/// Who receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The first poller.
    First,
    /// Another poller.
    Helper,
    /// With keys: what receives messages ahead of free permits. The pollers then take from those that are held.
    Ahead,
}

/// A message that a receive took, and the time that its task is assumed to take, if keys share the permits.
pub(crate) type Taken = (Message, Duration);

/// When a receive looks for messages, where the queue doesn't answer at once: at intervals that double.
#[derive(Clone, Copy, Debug)]
struct Looks {
    last: u64,
    interval: u64,
    longest: u64,
}

impl Looks {
    /// Looks at all times before `now`, and returns the next one.
    fn next(&mut self, now: u64) -> u64 {
        while self.last + self.interval < now {
            self.last += self.interval;
            self.interval = (2 * self.interval).min(self.longest);
        }
        self.last + self.interval
    }

    /// Looks now, and waits the whole interval again.
    fn restart(&mut self, now: u64) {
        self.next(now);
        self.last = now;
    }
}

impl World<'_> {
    /// Begins receives for the permits that are free.
    pub(crate) fn poll(&mut self, key: Key) {
        let queue = &self.plan.queue;
        loop {
            let Some(worker) = self.workers.get_mut(key) else { return };
            let free = worker.free(self.max_unsettled);
            if worker.state != State::Running || free == 0 {
                return;
            }
            let by = if std::mem::take(&mut worker.first_waits) {
                By::First
            } else if worker.helpers_waiting > 0 {
                worker.helpers_waiting -= 1;
                By::Helper
            } else {
                return;
            };
            let asked = free.min(queue.batches.batch());
            worker.receiving += asked;
            let holds = worker.hold.is_some();
            // Waiting for held messages takes no call, and queues don't bound it.
            let (long, short) =
                if holds { (LONG_POLL, SHORT_POLL) } else { (queue.long_poll, queue.short_poll) };
            let wait = if by == By::First { long } else { short };
            if holds {
                let receive = self.begin_receive(key, by, asked, 0, wait, Round::default());
                self.calendar.add(self.now, Event::Take(receive));
            } else {
                self.call_queue(key, by, asked, wait, Round::default());
            }
        }
    }

    /// Begins a call that receives messages from the queue.
    pub(crate) fn call_queue(
        &mut self,
        worker: Key,
        by: By,
        asked: usize,
        wait: Duration,
        round: Round,
    ) -> Key {
        let receive = self.begin_receive(worker, by, asked, self.latency, wait, round);
        self.measure.counts.receives += 1;
        self.calendar.add(self.now + self.latency, Event::Receive(receive));
        receive
    }

    fn begin_receive(
        &mut self,
        worker: Key,
        by: By,
        asked: usize,
        latency: u64,
        wait: Duration,
        round: Round,
    ) -> Key {
        let answered = self.now + latency;
        let until = answered + nanos(wait);
        let (shortest, longest) = match self.plan.queue.notice {
            Notice::AtOnce => (u64::MAX / 2, u64::MAX / 2),
            Notice::Looks { shortest, longest } => (nanos(shortest), nanos(longest)),
        };
        let looks = Looks { last: answered, interval: shortest, longest };
        let (waits, is_listed) = (false, false);
        let began = self.now;
        self.receives.insert(Receive { worker, asked, began, until, by, waits, is_listed, looks, round })
    }

    /// A receive looks for messages.
    pub(crate) fn receive(&mut self, key: Key) {
        let Some(receive) = self.receives.get_mut(key) else { return self.offer() };
        let (worker, asked, until) = (receive.worker, receive.asked, receive.until);
        let takes = self.workers.get(worker).is_some_and(|worker| worker.state == State::Running);
        let mut taken = std::mem::take(&mut self.taken);
        taken.clear();
        while takes && taken.len() < asked {
            let Some(message) = self.queue.take(&mut receive.round) else { break };
            // The queue itself dead-letters a message that was received too often.
            if self.plan.queue.max_receives.is_some_and(|most| message.receives > most.get()) {
                self.queue.delete();
                self.measure.counts.dead_lettered += 1;
                continue;
            }
            taken.push((message, Duration::ZERO));
        }
        if takes && taken.is_empty() && self.now < until {
            if !std::mem::replace(&mut receive.waits, true) {
                // It looks a last time when its wait is over.
                self.calendar.add(until, Event::PollEnds(key));
            }
            if !std::mem::replace(&mut receive.is_listed, true) {
                self.wait_for_messages(key);
            }
        } else {
            if receive.by == By::Ahead {
                self.received_ahead(key, &taken);
            } else {
                self.received(key, &taken);
            }
            if !takes {
                self.offer();
            }
        }
        self.taken = taken;
    }

    fn wait_for_messages(&mut self, key: Key) {
        let waiting = &mut self.queue.waiting;
        // Receives that have ended are still among them.
        if waiting.len() > 2 * self.receives.len() {
            waiting.retain(|key| self.receives.get(*key).is_some());
        }
        waiting.push_back(key);
    }

    /// A poller has its answer: tasks start.
    pub(crate) fn received(&mut self, key: Key, messages: &[Taken]) {
        let Some(receive) = self.receives.remove(key) else { return };
        let Some(worker) = self.workers.get_mut(receive.worker) else { return };
        worker.receiving -= receive.asked;
        let is_full = messages.len() >= receive.asked;
        // With keys, this wasn't a call.
        self.measure.counts.empty_receives += u64::from(messages.is_empty() && worker.hold.is_none());
        worker.has_worked |= !messages.is_empty();
        if is_full && worker.helpers_asleep > 0 {
            worker.helpers_asleep -= 1;
            worker.helpers_waiting += 1;
        }
        match (receive.by == By::First, is_full) {
            (true, _) => worker.first_waits = true,
            (false, true) => worker.helpers_waiting += 1,
            (false, false) => worker.helpers_asleep += 1,
        }
        let mut wakes = false;
        if let Some(scaled) = &mut worker.scaling {
            scaled.received(messages.len(), receive.asked, Duration::from_nanos(self.now - receive.began));
            wakes = scaled.idle && scaled.woken;
        }
        for taken in messages {
            self.start(receive.worker, *taken);
        }
        self.schedule_processor(receive.worker);
        if wakes {
            self.schedule_decision(receive.worker, Duration::ZERO);
        }
        self.poll(receive.worker);
    }

    /// Messages were sent: as many receives notice as can take them.
    pub(crate) fn offer(&mut self) {
        if self.plan.queue.notice == Notice::AtOnce {
            return self.answer(self.latency / 2);
        }
        let now = self.now;
        let looks = |key: Key| {
            let receive = self.receives.get_mut(key)?;
            Some((receive.looks.next(now).min(receive.until), key))
        };
        // The first to look takes the messages.
        let mut waiting: Vec<_> = self.queue.waiting.drain(..).filter_map(looks).collect();
        waiting.sort_unstable();
        let mut left = self.queue.on_offer();
        for (at, key) in waiting {
            let Some(receive) = self.receives.get_mut(key).filter(|_| left > 0) else {
                self.queue.waiting.push_back(key);
                continue;
            };
            receive.is_listed = false;
            left = left.saturating_sub(receive.asked as u64);
            self.calendar.add(at + self.latency, Event::Receive(key));
        }
    }

    /// Messages became visible at a time that the queue told: receives waited for it.
    pub(crate) fn came_back(&mut self) {
        match self.plan.queue.notice {
            Notice::AtOnce => self.answer(self.latency / 2),
            Notice::Looks { .. } => self.answer(self.latency),
        }
    }

    /// Ends as many receives as can take the messages that are visible, after the time that the answer takes.
    fn answer(&mut self, after: u64) {
        let mut left = self.queue.on_offer();
        while left > 0
            && let Some(key) = self.queue.waiting.pop_front()
        {
            let Some(receive) = self.receives.get_mut(key) else { continue };
            receive.is_listed = false;
            left = left.saturating_sub(receive.asked as u64);
            self.calendar.add(self.now + after, Event::Receive(key));
        }
    }

    /// A worker has settled: its receives look at once, as that may have made messages visible.
    pub(crate) fn look_after_settling(&mut self, worker: Key) {
        if self.plan.queue.notice == Notice::AtOnce {
            return;
        }
        let are_visible = self.queue.visible() > 0;
        let holds = self.plan.tenants.keys.is_some();
        for (key, receive) in self.receives.iter_mut().filter(|(_, receive)| receive.worker == worker) {
            if receive.waits && (!holds || receive.by == By::Ahead) {
                receive.looks.restart(self.now);
                if are_visible {
                    self.calendar.add(self.now + self.latency, Event::Receive(key));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receive_looks_at_intervals_that_double_until_the_longest() {
        let mut looks = Looks { last: 1000, interval: 50, longest: 250 };
        let mut now = 1000;
        let mut times = Vec::new();
        for _ in 0..5 {
            now = looks.next(now + 1);
            times.push(now);
        }
        assert_eq!(times, [1050, 1150, 1350, 1600, 1850]);
        looks.restart(1900);
        assert_eq!(looks.next(1901), 2150);
    }
}
