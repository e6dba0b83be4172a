//! A worker: its permits, its pollers, its scaler and its settling calls.

use crate::hold::Hold;
use crate::plan::Plan;
use crate::processor::Processor;
use crate::queue::Message;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::Duration;
use wasmrun_runtime::worker::decision::Decision;
use wasmrun_runtime::worker::scaler::{
    ASK_EVERY, BUSY, Goal, IDLE, LONGEST_REQUEST, Scaler, Scaling, Snapshot,
};
use wasmrun_runtime::worker::{MOST_POLLERS, ScaleOptions, Sizing};

/// Whether a worker receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Starting,
    Running,
    Stopping,
}

/// A worker: a field for each thing that its events change.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) state: State,
    /// Number of deploys before it was launched.
    pub(crate) version: u64,
    pub(crate) launched_at: u64,
    /// Whether it has received a message.
    pub(crate) has_worked: bool,
    /// The concurrency limit, and the permits that tasks and receives hold.
    pub(crate) limit: usize,
    pub(crate) running: usize,
    pub(crate) receiving: usize,
    /// Messages whose task has ended and that aren't settled.
    pub(crate) unsettled: usize,
    /// Whether the first poller waits for a permit, and the number of helpers that do, and that sleep.
    pub(crate) first_waits: bool,
    pub(crate) helpers_waiting: usize,
    pub(crate) helpers_asleep: usize,
    pub(crate) processor: Processor,
    /// Numbers of the events of the processor and the scaler that were scheduled last, 0 for none: older ones are void.
    pub(crate) compute_event: u64,
    pub(crate) decide_event: u64,
    pub(crate) scaling: Option<Scaled>,
    /// The messages that it holds for fair shares; `None` without keys.
    pub(crate) hold: Option<Box<Hold>>,
    /// Settlements that wait for a call, and the calls under way.
    pub(crate) settlements: VecDeque<Settlement>,
    pub(crate) settling_calls: usize,
    /// Whether an event is scheduled that begins a call though its batch isn't full.
    pub(crate) settling_is_due: bool,
    /// Time in nanoseconds for which tasks held permits, since the last snapshot, and when it was right.
    occupied: f64,
    at: u64,
}

/// The scaler of a worker, and what it will see.
#[derive(Debug)]
pub(crate) struct Scaled {
    scaler: Scaler,
    asks_depth: bool,
    depth: Option<u64>,
    ask_at: u64,
    decided_at: u64,
    window: Snapshot,
    /// Time that the tasks that ended in the window took without waiting for a thread, in seconds.
    service: f64,
    /// Whether the wait for the next decision can be cut short, and whether it was asked for.
    pub(crate) idle: bool,
    pub(crate) woken: bool,
}

/// A message whose task has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settlement {
    pub(crate) message: Message,
    pub(crate) decision: Decision,
}

impl Worker {
    pub(crate) fn new(plan: &Plan, version: u64, now: u64) -> Self {
        let model = plan.worker;
        let Sizing { most, scale } = model.sizing;
        let scaling = scale.map(|scale| Scaled::new(most, model.threads, scale, now));
        let batch = plan.queue.batches.batch();
        Self {
            state: State::Starting,
            version,
            launched_at: now,
            has_worked: false,
            // The concurrency limit starts at its minimum.
            limit: scale.map_or(most.get(), |scale| scale.min.clamp(1, most.get())),
            running: 0,
            receiving: 0,
            unsettled: 0,
            first_waits: true,
            helpers_waiting: 0,
            helpers_asleep: most.get().div_ceil(batch).min(MOST_POLLERS) - 1,
            processor: Processor::new(model.threads.get(), model.speed, now),
            compute_event: 0,
            decide_event: 0,
            scaling,
            hold: plan.tenants.keys.as_ref().map(|keys| Box::new(Hold::new(keys, now))),
            settlements: VecDeque::new(),
            settling_calls: 0,
            settling_is_due: false,
            occupied: 0.0,
            at: now,
        }
    }

    /// Number of permits that are free. None is while more than `max_unsettled` messages are to be settled.
    pub(crate) fn free(&self, max_unsettled: usize) -> usize {
        let taken = self.running + self.receiving;
        if self.unsettled > max_unsettled { 0 } else { self.limit.saturating_sub(taken) }
    }

    /// Counts the time until `now`. Called before the number of tasks changes.
    pub(crate) fn advance(&mut self, now: u64) {
        self.occupied += self.running as f64 * now.saturating_sub(self.at) as f64;
        self.at = now;
        self.processor.advance(now);
    }

    /// Returns whether it works on nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.running == 0 && self.unsettled == 0 && self.hold.as_ref().is_none_or(|hold| hold.is_empty())
    }

    /// Lets the scaler decide, and sets the limit. Returns the time until the next decision.
    pub(crate) fn decide(&mut self, now: u64, visible: u64) -> Option<Duration> {
        self.advance(now);
        let scaled = self.scaling.as_mut()?;
        let (computed, waited) = self.processor.take_load();
        let occupied = Duration::from_nanos(std::mem::take(&mut self.occupied) as u64);
        if scaled.asks_depth && now >= scaled.ask_at {
            scaled.depth = Some(visible);
            scaled.ask_at = now + ASK_EVERY.as_nanos() as u64;
        }
        let window = std::mem::take(&mut scaled.window);
        let target = scaled.scaler.decide(&Snapshot {
            elapsed: Duration::from_nanos(now - scaled.decided_at),
            waiting: scaled.depth,
            running: self.running,
            occupied: window.occupied + occupied,
            computed: Duration::from_secs_f64(computed),
            waited: Duration::from_secs_f64(waited),
            service: Duration::from_secs_f64(std::mem::take(&mut scaled.service)),
            ..window
        });
        scaled.decided_at = now;
        self.limit = target.instances.get();
        scaled.idle = self.running == 0;
        if scaled.idle && std::mem::take(&mut scaled.woken) {
            return Some(Duration::ZERO);
        }
        Some(if scaled.idle { IDLE } else { BUSY })
    }
}

impl Scaled {
    fn new(most: NonZeroUsize, threads: NonZeroUsize, scale: ScaleOptions, now: u64) -> Self {
        let ScaleOptions { min, goal, scale_in_delay } = scale;
        Self {
            scaler: Scaler::new(Scaling { min, max: most, threads, goal, scale_in_delay }),
            asks_depth: goal != Goal::AtOnce,
            depth: None,
            ask_at: now,
            decided_at: now,
            window: Snapshot::default(),
            service: 0.0,
            idle: true,
            woken: false,
        }
    }

    /// Sets the time of the first decision.
    pub(crate) fn begin(&mut self, now: u64) {
        self.decided_at = now;
        self.ask_at = now;
    }

    /// Records a receive like the worker's statistics window.
    pub(crate) fn received(&mut self, count: usize, asked: usize, time: Duration) {
        if count == 0 {
            self.window.empty_receives += 1;
            return;
        }
        self.window.occupied +=
            time.min(LONGEST_REQUEST).saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        if count >= asked {
            self.window.of_full_receives += count as u64;
            self.woken = true;
        }
    }

    /// Records the end of a task.
    pub(crate) fn ended(&mut self, service: f64) {
        self.window.ended += 1;
        self.service += service;
    }
}

/// Number of calls for a batch: one for each kind of operation in it, and one for each dead letter that is sent before.
/// The second number is that of calls of which each waits for the one before: dead letters are sent at the same time.
pub(crate) fn calls(batch: &[Settlement]) -> (u64, u64) {
    let kind = |decision: &Decision| match decision {
        Decision::Delete | Decision::DeadLetter => 0,
        Decision::Retry(_) => 1,
        Decision::Release(_) => 2,
        Decision::Leave => 3,
    };
    let kinds = (0..3).filter(|wanted| batch.iter().any(|one| kind(&one.decision) == *wanted)).count() as u64;
    let sends = batch.iter().filter(|one| one.decision == Decision::DeadLetter).count() as u64;
    (kinds + sends, kinds + sends.min(1))
}
