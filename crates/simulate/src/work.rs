//! How a worker runs the tasks of messages and settles these.

use crate::arena::Key;
use crate::queue::Message;
use crate::receive::Taken;
use crate::service;
use crate::time::{nanos, nanos_of, seconds};
use crate::worker::{Settlement, State, calls};
use crate::world::{Event, World};
use std::time::Duration;
use wasmrun_runtime::model::message::MAX_BATCH;
use wasmrun_runtime::model::outcome::{Cancel, Outcome};
use wasmrun_runtime::worker::decision::{Attribution, Decision, decide};

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
    /// Time that fair shares assume for it.
    estimate: Duration,
    fails: bool,
}

/// A settling call under way.
#[derive(Debug)]
pub(crate) struct Call {
    worker: Key,
    settlements: Vec<Settlement>,
}

impl World<'_> {
    /// Starts the task of a message.
    pub(crate) fn start(&mut self, key: Key, (message, estimate): Taken) {
        let service = self.plan.tenants.service(message.sender).unwrap_or(&self.plan.service);
        let times = service::draw(service, &mut self.service_rng);
        let fails = self.plan.failing > 0.0 && self.chance_rng.f64() < self.plan.failing;
        let Some(worker) = self.workers.get_mut(key) else { return };
        let first_after = (!message.was_tried).then(|| self.now - message.arrived);
        self.measure.started(self.senders.row(message.sender), first_after);
        worker.advance(self.now);
        worker.running += 1;
        let service = times.compute / self.plan.worker.speed + times.wait;
        let task = self.tasks.insert(Task {
            worker: key,
            message: Message { was_tried: true, ..message },
            started: self.now,
            wait: times.wait,
            service,
            estimate,
            fails,
        });
        if times.compute > 0.0 {
            worker.processor.add(times.compute, task);
        } else {
            self.calendar.add(self.now + nanos_of(times.wait), Event::TaskEnds(task));
        }
    }

    /// Schedules the end of the next task that computes.
    pub(crate) fn schedule_processor(&mut self, key: Key) {
        let Some(worker) = self.workers.get_mut(key) else { return };
        let end = worker.processor.next_end();
        let add = |end: u64| self.calendar.add(end.max(self.now), Event::Computed(key));
        worker.compute_event = end.map_or(0, add);
    }

    /// A task has computed: it waits, or it ends.
    pub(crate) fn computed(&mut self, key: Key) {
        let Some(worker) = self.workers.get_mut(key) else { return };
        worker.advance(self.now);
        let mut ended = std::mem::take(&mut self.ended);
        while let Some(task) = worker.processor.ended() {
            match self.tasks.get(task) {
                Some(waits) if waits.wait > 0.0 => {
                    self.calendar.add(self.now + nanos_of(waits.wait), Event::TaskEnds(task));
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
            self.measure.counts.wasted_seconds += seconds(self.now - task.started);
            self.settle(&task, &Outcome::Cancelled { why: Cancel::Drain });
        }
    }

    fn settle(&mut self, task: &Task, outcome: &Outcome) {
        let chance = if *outcome == Outcome::Completed { 0.0 } else { self.chance_rng.f64() };
        let decision = decide(outcome, Attribution::Message, task.message.receives, &self.rules, chance);
        let Some(worker) = self.workers.get_mut(task.worker) else { return };
        worker.advance(self.now);
        worker.running -= 1;
        worker.unsettled += 1;
        worker.settlements.push_back(Settlement { message: task.message, decision });
        let sender = task.message.sender;
        let time = task.service.min(seconds(self.now - task.started));
        self.measure.ended(self.senders.row(sender), time, self.now <= self.duration);
        if self.plan.tenants.keys.is_some() {
            self.key_ended(task.worker, sender, task.estimate, Duration::from_secs_f64(time));
        }
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
            let mut settlements = self.batches.pop().unwrap_or_default();
            settlements.extend(worker.settlements.drain(..batch));
            let (number, in_a_row) = calls(&settlements);
            self.measure.counts.settling_calls += number;
            let call = self.calls.insert(Call { worker: key, settlements });
            self.calendar.add(self.now + self.latency * in_a_row, Event::Settled(call));
        }
    }

    /// A settling call has its answer.
    pub(crate) fn settled(&mut self, key: Key) {
        let Some(mut call) = self.calls.remove(key) else { return };
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
        call.settlements.clear();
        self.batches.push(call.settlements);
        self.look_after_settling(call.worker);
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
    pub(crate) fn decide(&mut self, key: Key) {
        let visible = self.queue.visible();
        let Some(worker) = self.workers.get_mut(key).filter(|worker| worker.state == State::Running) else {
            return;
        };
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
        worker.decide_event = self.calendar.add(self.now + nanos(after), Event::Decide(key));
    }
}
