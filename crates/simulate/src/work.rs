//! How a worker receives messages, runs their tasks and settles them.

use crate::queue::Message;
use crate::service;
use crate::slots::Key;
use crate::worker::{Settlement, State, calls};
use crate::world::{Event, World};
use std::time::Duration;
use wasmrun_runtime::model::message::MAX_BATCH;
use wasmrun_runtime::model::outcome::{Cancel, Outcome};
use wasmrun_runtime::worker::decision::{Attribution, Decision, decide};

/// A receive under way.
#[derive(Debug)]
pub(crate) struct Receive {
    worker: Key,
    asked: usize,
    began: u64,
    until: u64,
    by_first: bool,
    /// Whether its end is scheduled.
    ends: bool,
}

/// A task.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) worker: Key,
    message: Message,
    started: u64,
    /// Time that it waits after it has computed, in seconds.
    wait: f64,
    /// Time that it takes without waiting for a thread, in seconds.
    service: f64,
    fails: bool,
}

/// A settling call under way.
#[derive(Debug)]
pub(crate) struct Call {
    worker: Key,
    settlements: Vec<Settlement>,
}

impl World<'_> {
    /// Begins receives for the permits that are free.
    pub(crate) fn poll(&mut self, key: Key) {
        let (now, plan) = (self.now, self.plan);
        loop {
            let Some(worker) = self.workers.get_mut(key) else { return };
            let free = worker.free(self.max_unsettled);
            if worker.state != State::Running || free == 0 {
                return;
            }
            let by_first = std::mem::take(&mut worker.first_waits);
            if !by_first {
                if worker.helpers_waiting == 0 {
                    return;
                }
                worker.helpers_waiting -= 1;
            }
            let asked = free.min(plan.queue.batches.receive_batch.max(1)).min(MAX_BATCH);
            worker.receiving += asked;
            let wait = if by_first { plan.queue.long_poll } else { plan.queue.short_poll };
            let answered = now + self.latency;
            let until = answered + nanos(wait);
            let receive = Receive { worker: key, asked, began: now, until, by_first, ends: false };
            let receive = self.receives.insert(receive);
            self.measure.counts.receives += 1;
            self.calendar.add(answered, Event::Receive(receive));
        }
    }

    /// A receive looks for messages.
    pub(crate) fn receive(&mut self, key: Key) {
        let Some(receive) = self.receives.get(key) else { return self.offer() };
        let (worker, asked, until) = (receive.worker, receive.asked, receive.until);
        let takes = self.workers.get(worker).is_some_and(|worker| worker.state == State::Running);
        let mut taken = std::mem::take(&mut self.taken);
        taken.clear();
        while takes && taken.len() < asked {
            let Some(message) = self.queue.take() else { break };
            // The queue itself dead-letters a message that was received too often.
            if self.plan.queue.max_receives.is_some_and(|most| message.receives > most.get()) {
                self.queue.delete();
                self.measure.counts.dead_lettered += 1;
                continue;
            }
            taken.push(message);
        }
        if takes && taken.is_empty() && self.now < until {
            self.wait_for_messages(key);
            if let Some(receive) = self.receives.get_mut(key).filter(|receive| !receive.ends) {
                receive.ends = true;
                self.calendar.add(until, Event::PollEnds(key));
            }
        } else {
            self.received(key, &taken);
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

    /// A receive has its answer: tasks start.
    pub(crate) fn received(&mut self, key: Key, messages: &[Message]) {
        let Some(receive) = self.receives.remove(key) else { return };
        let Some(worker) = self.workers.get_mut(receive.worker) else { return };
        worker.receiving -= receive.asked;
        let is_full = messages.len() >= receive.asked;
        self.measure.counts.empty_receives += u64::from(messages.is_empty());
        worker.has_worked |= !messages.is_empty();
        if is_full && worker.helpers_asleep > 0 {
            worker.helpers_asleep -= 1;
            worker.helpers_waiting += 1;
        }
        match (receive.by_first, is_full) {
            (true, _) => worker.first_waits = true,
            (false, true) => worker.helpers_waiting += 1,
            (false, false) => worker.helpers_asleep += 1,
        }
        let mut wakes = false;
        if let Some(scaled) = &mut worker.scaling {
            scaled.received(messages.len(), receive.asked, Duration::from_nanos(self.now - receive.began));
            wakes = scaled.idle && scaled.woken;
        }
        for message in messages {
            self.start(receive.worker, *message);
        }
        self.schedule_processor(receive.worker);
        if wakes {
            self.schedule_decision(receive.worker, Duration::ZERO);
        }
        self.poll(receive.worker);
    }

    /// Wakes as many receives as can take the messages that became visible.
    pub(crate) fn offer(&mut self) {
        let mut left = self.queue.visible();
        while left > 0
            && let Some(key) = self.queue.waiting.pop_front()
        {
            let Some(receive) = self.receives.get(key) else { continue };
            left = left.saturating_sub(receive.asked as u64);
            self.calendar.add(self.now + self.latency / 2, Event::Receive(key));
        }
    }

    fn start(&mut self, key: Key, message: Message) {
        let times = service::draw(&self.plan.service, &mut self.service_rng);
        let fails = self.plan.failing > 0.0 && self.chance_rng.f64() < self.plan.failing;
        let Some(worker) = self.workers.get_mut(key) else { return };
        self.measure.started(self.now - message.arrived, message.receives);
        worker.advance(self.now);
        worker.running += 1;
        self.measure.running += 1;
        let service = times.compute / self.plan.worker.speed + times.wait;
        let task = self.tasks.insert(Task {
            worker: key,
            message,
            started: self.now,
            wait: times.wait,
            service,
            fails,
        });
        if times.compute > 0.0 {
            worker.processor.add(times.compute, task);
        } else {
            self.calendar.add(self.now + seconds(times.wait), Event::TaskEnds(task));
        }
    }

    /// Schedules the end of the next task that computes.
    fn schedule_processor(&mut self, key: Key) {
        let Some(worker) = self.workers.get_mut(key) else { return };
        worker.compute_stamp = worker.compute_stamp.wrapping_add(1);
        if let Some(end) = worker.processor.next_end() {
            self.calendar.add(end.max(self.now), Event::Computed(key, worker.compute_stamp));
        }
    }

    /// A task has computed: it waits, or it ends.
    pub(crate) fn computed(&mut self, key: Key, stamp: u32) {
        let Some(worker) = self.workers.get_mut(key).filter(|worker| worker.compute_stamp == stamp) else {
            return;
        };
        worker.advance(self.now);
        let mut ended = std::mem::take(&mut self.ended);
        while let Some(task) = worker.processor.ended() {
            match self.tasks.get(task) {
                Some(waits) if waits.wait > 0.0 => {
                    self.calendar.add(self.now + seconds(waits.wait), Event::TaskEnds(task));
                }
                _ => ended.push(task),
            }
        }
        self.schedule_processor(key);
        for task in ended.drain(..) {
            self.end(task);
        }
        self.ended = ended;
    }

    /// A task ends. Its message is settled.
    pub(crate) fn end(&mut self, key: Key) {
        let Some(task) = self.tasks.remove(key) else { return };
        let outcome = if task.fails {
            Outcome::Retry { delay: None, reason: String::new() }
        } else {
            Outcome::Completed
        };
        if let Some(scaled) = self.workers.get_mut(task.worker).and_then(|worker| worker.scaling.as_mut()) {
            scaled.ended(task.service);
        }
        self.settle(&task, &outcome);
        self.poll(task.worker);
    }

    /// Ends the tasks that still run when the stop timeout expires.
    pub(crate) fn cancel_tasks(&mut self, key: Key) {
        let running: Vec<Key> =
            self.tasks.iter().filter(|(_, task)| task.worker == key).map(|(task, _)| task).collect();
        if let Some(worker) = self.workers.get_mut(key) {
            worker.advance(self.now);
            worker.processor.clear();
        }
        for task in running {
            let Some(task) = self.tasks.remove(task) else { continue };
            self.measure.counts.cancelled += 1;
            self.measure.counts.wasted_seconds += (self.now - task.started) as f64 / 1e9;
            self.settle(&task, &Outcome::Cancelled { why: Cancel::Drain });
        }
    }

    fn settle(&mut self, task: &Task, outcome: &Outcome) {
        let chance = if *outcome == Outcome::Completed { 0.0 } else { self.chance_rng.f64() };
        let decision = decide(outcome, Attribution::Message, task.message.receives, &self.rules, chance);
        let Some(worker) = self.workers.get_mut(task.worker) else { return };
        worker.advance(self.now);
        worker.running -= 1;
        self.measure.running -= 1;
        worker.unsettled += 1;
        worker.settlements.push_back(Settlement { message: task.message, decision });
        self.settle_batches(task.worker, false);
    }

    /// Begins settling calls. `is_due`: the first batch needn't be full.
    pub(crate) fn settle_batches(&mut self, key: Key, is_due: bool) {
        let batches = self.plan.queue.batches;
        let Some(worker) = self.workers.get_mut(key) else { return };
        worker.settling_is_due &= !is_due;
        let mut may_be_small = is_due || batches.settling_wait.is_zero();
        while worker.settling_calls < batches.settling_calls.max(1) && !worker.settlements.is_empty() {
            if worker.settlements.len() < MAX_BATCH && !may_be_small {
                if !worker.settling_is_due {
                    worker.settling_is_due = true;
                    self.calendar.add(self.now + nanos(batches.settling_wait), Event::SettlingDue(key));
                }
                return;
            }
            may_be_small = batches.settling_wait.is_zero();
            worker.settling_calls += 1;
            let batch = worker.settlements.len().min(MAX_BATCH);
            let settlements: Vec<_> = worker.settlements.drain(..batch).collect();
            let number = calls(&settlements);
            self.measure.counts.settling_calls += number;
            let call = self.calls.insert(Call { worker: key, settlements });
            self.calendar.add(self.now + self.latency * number, Event::Settled(call));
        }
    }

    /// A settling call has its answer.
    pub(crate) fn settled(&mut self, key: Key) {
        let Some(call) = self.calls.remove(key) else { return };
        for Settlement { message, decision } in &call.settlements {
            match *decision {
                Decision::Delete => {
                    self.queue.delete();
                    self.measure.completed(self.now - message.arrived);
                }
                Decision::DeadLetter => {
                    self.queue.delete();
                    self.measure.counts.dead_lettered += 1;
                }
                Decision::Retry(delay) => {
                    self.measure.counts.retries += 1;
                    self.release(*message, delay);
                }
                Decision::Release(delay) => {
                    let uncounted = u32::from(!self.plan.queue.counts_releases);
                    let message = Message { receives: message.receives - uncounted, ..*message };
                    self.release(message, delay);
                }
                // No lease expires here: a worker renews them as long as it lives.
                Decision::Leave => {}
            }
        }
        if let Some(worker) = self.workers.get_mut(call.worker) {
            worker.settling_calls -= 1;
            worker.unsettled -= call.settlements.len();
        }
        self.settle_batches(call.worker, false);
        self.poll(call.worker);
        self.worked(call.worker);
    }

    fn release(&mut self, message: Message, delay: Duration) {
        let at = self.now + nanos(delay);
        self.queue.release(message, at);
        self.calendar.add(at, Event::Visible);
    }

    /// The scaler of a worker decides.
    pub(crate) fn decide(&mut self, key: Key, stamp: u32) {
        let visible = self.queue.visible();
        let Some(worker) = self.workers.get_mut(key) else { return };
        if worker.decide_stamp != stamp || worker.state != State::Running {
            return;
        }
        if let Some(next) = worker.decide(self.now, visible) {
            self.schedule_decision(key, next);
            self.poll(key);
        }
    }

    pub(crate) fn schedule_decision(&mut self, key: Key, after: Duration) {
        let Some(worker) = self.workers.get_mut(key) else { return };
        if let Some(scaled) = worker.scaling.as_mut().filter(|_| after.is_zero()) {
            scaled.woken = false;
        }
        worker.decide_stamp = worker.decide_stamp.wrapping_add(1);
        self.calendar.add(self.now + nanos(after), Event::Decide(key, worker.decide_stamp));
    }
}

/// Returns a time in nanoseconds.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// Returns a time in nanoseconds.
fn seconds(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}
