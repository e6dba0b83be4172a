//! The circuit breaker: pauses or slows receiving while a store or the queue fails, or while no task completes.
//!
//! SQS counts every receive against a message, whoever is to blame. A worker that went on would dead-letter the whole
//! queue while a store is down, or after a mistake in its configuration. An open circuit pauses receiving. After the
//! pause the worker checks the backends, and the circuit is half-open: one message probes. If the probe succeeds, the
//! circuit closes; if it fails, the next pause is longer.

use super::circuit::{Circuit, FIRST_PAUSE, State, longer};
use super::decision::{Attribution, Decision};
use crate::model::host_error::{HostError, HostErrorKind, Used};
use crate::model::outcome::{Cancel, Outcome};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

pub(super) use super::circuit::{Cause, Evidence};

/// Failures of a backend in a row that open the circuit. A single failure is bad luck, and its message is retried.
const THRESHOLD: u32 = 3;
/// Failed tasks in a row that open the circuit while no task has completed yet: until then nothing has shown that the
/// component and its grants are right.
const UNPROVEN: u32 = 8;
/// Probes in a row that meet no error but don't use the failing backend, after which the circuit closes: perhaps no message
/// needs it any more, and the others must not run one at a time for ever. If one message in five needs it, the circuit
/// closes too early once in a hundred times.
const MOST_IDLE_PROBES: u32 = 20;

/// Decides whether the worker may receive messages.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Failed tasks in a row that open the circuit; `None`: they never do.
    max_failed_tasks: Option<NonZeroU32>,
    state: Mutex<State>,
    changed: Notify,
}

/// The right of one message to test a half-open circuit. If it is dropped without [`Breaker::settled`], it proves
/// nothing, and the next message probes.
#[derive(Debug)]
pub(super) struct Probe(Arc<Breaker>);

/// The effect of a settlement on the circuit.
enum Change {
    None,
    /// The circuit closed, which was open for this cause.
    Recovered(Cause),
    /// The task of the probe failed like those before. The next message probes after this pause.
    StillFailing(Duration),
}

/// The breaker's answer to a poller that wants to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Receive as many messages as can start.
    All,
    /// Receive one message, which probes.
    Probe,
    /// Wait until this time, then check the backends and call [`Breaker::checked`].
    Check(Instant),
    /// Wait for the end of the probe.
    Wait,
}

impl Breaker {
    /// Creates a breaker with a closed circuit. `max_failed_tasks` failed tasks in a row open it; `None`: they never
    /// do.
    pub(super) fn new(max_failed_tasks: Option<NonZeroU32>) -> Self {
        let state = State {
            circuit: Circuit::Closed,
            backend_failures: BTreeMap::new(),
            failing: None,
            idle_probes: 0,
            waiting_after: Instant::now(),
            failed_tasks: 0,
            has_completed: false,
            why: String::new(),
        };
        Self { max_failed_tasks, state: Mutex::new(state), changed: Notify::new() }
    }

    pub(super) fn admission(&self) -> Admission {
        match self.lock().circuit {
            Circuit::Closed => Admission::All,
            Circuit::Open { until, .. } => Admission::Check(until),
            Circuit::HalfOpen { probing: false, .. } => Admission::Probe,
            Circuit::HalfOpen { probing: true, .. } => Admission::Wait,
        }
    }

    /// Returns what opened the circuit, or `None` if it is closed.
    pub(super) fn cause(&self) -> Option<Cause> {
        match self.lock().circuit {
            Circuit::Closed => None,
            Circuit::Open { cause, .. } | Circuit::HalfOpen { cause, .. } => Some(cause),
        }
    }

    /// Returns the current pause, or zero if the circuit is closed.
    pub(super) fn pause(&self) -> Duration {
        self.lock().pause()
    }

    /// Returns whether a task has completed since the worker began.
    pub(super) fn has_completed(&self) -> bool {
        self.lock().has_completed
    }

    /// Returns the number of failed tasks since the last one that completed.
    pub(super) fn failed_tasks(&self) -> u32 {
        self.lock().failed_tasks
    }

    /// Returns why the circuit is open, or was open last.
    pub(super) fn why(&self) -> String {
        self.lock().why.clone()
    }

    /// Lets the next message probe, if the circuit is half-open and no other message probes.
    pub(super) fn begin_probe(self: &Arc<Self>) -> Option<Probe> {
        match &mut self.lock().circuit {
            Circuit::HalfOpen { probing, .. } if !*probing => {
                *probing = true;
                Some(Probe(self.clone()))
            }
            _ => None,
        }
    }

    /// Records the end of a task. `error` is its host error. `ran`: an instance was created.
    pub(super) fn task_ended(
        &self,
        outcome: &Outcome,
        attribution: Attribution,
        error: Option<&HostError>,
        ran: bool,
    ) {
        match (outcome, attribution) {
            // The component and its grants are right, whether or not the message can be settled.
            (Outcome::Completed, _) if ran => self.lock().has_completed = true,
            (Outcome::HostFailed { .. }, Attribution::Host) => {
                let not_granted = error.is_some_and(|error| error.kind == HostErrorKind::NotGranted);
                // An alias that isn't granted may be any text of the guest's. It isn't counted as a backend.
                let used = error.filter(|_| !not_granted).map(|error| &error.used);
                let what = outcome.reason().unwrap_or_default();
                let pause = self.backend_failed(used, what);
                if not_granted && let Some(pause) = pause {
                    let again_in_ms = millis(pause);
                    tracing::warn!(
                        what,
                        again_in_ms,
                        "paused receiving: a grant is missing; add it and restart"
                    );
                } else {
                    log_outage(pause, what);
                }
            }
            (Outcome::HostFailed { .. }, Attribution::Suspect { .. })
            | (Outcome::Completed | Outcome::Cancelled { .. } | Outcome::Claimed { .. }, _)
            | (Outcome::Expired { .. } | Outcome::Repeated, _) => {}
            _ => {
                if let Some(pause) = self.task_failed(outcome) {
                    tracing::error!(
                        why = self.why(),
                        again_in_ms = millis(pause),
                        "slowing down to one message at a time until a task completes (--max-consecutive-failures)"
                    );
                }
            }
        }
    }

    /// Returns what may be done with a message now.
    ///
    /// While no task completes, only the message that probes may be deleted or dead-lettered. Otherwise the queue would
    /// be emptied into the dead-letter queue. The other messages are released, to be tried again later. `first` is the
    /// shortest backoff.
    pub(super) fn hold_back(
        &self,
        decision: Decision,
        outcome: &Outcome,
        probes: bool,
        first: Duration,
    ) -> Decision {
        match decision {
            Decision::Delete | Decision::DeadLetter
                if !probes && !is_proven(outcome) && self.cause() == Some(Cause::Tasks) =>
            {
                Decision::Release(self.pause() + first)
            }
            // The message stays invisible for longer than the pause, so that another message probes, if there is one.
            Decision::Release(delay) if matches!(outcome, Outcome::HostFailed { .. }) => match self.pause() {
                Duration::ZERO => decision,
                pause => Decision::Release(delay.max(pause + first)),
            },
            decision => decision,
        }
    }

    /// Records a task that failed because of its message or its component. Returns the pause if this opened the
    /// circuit.
    fn task_failed(&self, outcome: &Outcome) -> Option<Duration> {
        self.update(|state| {
            state.failed_tasks = state.failed_tasks.saturating_add(1);
            let most = self.max_failed_tasks.map(NonZeroU32::get);
            let most = if state.has_completed { most } else { most.map(|most| most.min(UNPROVEN)) };
            if state.circuit != Circuit::Closed || most.is_none_or(|most| state.failed_tasks < most) {
                return None;
            }
            let since = if state.has_completed { "recently" } else { "since the worker began" };
            let why = format!("no task has completed {since}; the last outcome: {outcome}");
            Some(state.open(FIRST_PAUSE, Cause::Tasks, &why))
        })
    }

    /// Records that a task used these backends successfully, which ends their failures in a row.
    pub(super) fn used(&self, well: &[Used]) {
        let mut state = self.lock();
        if state.circuit == Circuit::Closed && !state.backend_failures.is_empty() {
            state.backend_failures.retain(|used, _| used.as_ref().is_none_or(|used| !well.contains(used)));
        }
    }

    /// Returns whether a task that meets no error shows that the backend works that opened the circuit: it used it `well`, or
    /// can't use it. Tasks of another route must not wait for it.
    pub(super) fn is_tested_by(&self, well: &[Used], may_use: impl Fn(&Used) -> bool) -> bool {
        self.lock().failing.as_ref().is_none_or(|failing| well.contains(failing) || !may_use(failing))
    }

    /// Returns whether messages that wait for what fails leave the probes to others: for one pause, if the last probe met no
    /// error and didn't use it. The next messages may not need it either, and one that does would pause them.
    pub(super) fn waiting_may_not_probe(&self) -> bool {
        let state = self.lock();
        state.idle_probes > 0 && Instant::now() < state.waiting_after
    }

    /// Records the settlement of a message. `probe` is set if the message was the probe.
    pub(super) fn settled(&self, evidence: Evidence, probe: Option<Probe>) {
        let (called, completed) = match evidence {
            Evidence::Well { called, completed, .. } => (called, completed),
            Evidence::None | Evidence::Failed => (false, false),
        };
        let change = self.update(|state| {
            if completed {
                state.failed_tasks = 0;
            }
            match state.circuit {
                // A task that called no backend doesn't end a row of failures.
                Circuit::Closed if called => {
                    state.backend_failures.remove(&None);
                    Change::None
                }
                Circuit::Closed => Change::None,
                Circuit::Open { cause: Cause::Tasks, .. } | Circuit::HalfOpen { cause: Cause::Tasks, .. }
                    if completed =>
                {
                    state.close();
                    Change::Recovered(Cause::Tasks)
                }
                // A task that began before the outage may well succeed. That proves nothing.
                Circuit::Open { .. } => Change::None,
                Circuit::HalfOpen { .. } if probe.is_none() => Change::None,
                Circuit::HalfOpen { pause, cause, .. } => match (cause, evidence) {
                    // Dropping the probe lets another message probe.
                    (_, Evidence::None) | (Cause::Backend, Evidence::Failed) => Change::None,
                    (Cause::Backend, Evidence::Well { tests, .. }) => {
                        state.idle_probes += u32::from(!tests);
                        if !tests && state.idle_probes < MOST_IDLE_PROBES {
                            return Change::None;
                        }
                        state.close();
                        Change::Recovered(Cause::Backend)
                    }
                    (Cause::Tasks, Evidence::Failed | Evidence::Well { .. }) => {
                        Change::StillFailing(state.open_again(longer(pause), cause))
                    }
                },
            }
        });
        match change {
            Change::None => {}
            Change::Recovered(Cause::Backend) => {
                tracing::info!("resumed receiving: stores and queues work again")
            }
            Change::Recovered(Cause::Tasks) => {
                tracing::info!("resumed receiving at full speed: a task has completed");
            }
            Change::StillFailing(pause) => {
                tracing::warn!(again_in_ms = millis(pause), "still no task completes");
            }
        }
    }

    /// Records a task that failed because of a backend. `used` says which use failed. Returns the pause if this opened
    /// the circuit.
    fn backend_failed(&self, used: Option<&Used>, why: &str) -> Option<Duration> {
        self.update(|state| {
            let failures = state.backend_failures.entry(used.cloned()).or_default();
            *failures = failures.saturating_add(1);
            let is_bad_luck = *failures < THRESHOLD && state.circuit == Circuit::Closed;
            if is_bad_luck { None } else { state.open_for_backend(used, why) }
        })
    }

    /// Opens the circuit, as a queue doesn't settle or accept messages: no message can be finished, whatever the tasks
    /// do.
    pub(super) fn queue_failed(&self, what: &str) {
        log_outage(self.update(|state| state.open_for_backend(None, what)), what);
    }

    /// Opens the circuit, as receiving from the queue failed. Returns the pause.
    pub(super) fn receive_failed(&self, why: &str) -> Duration {
        // Receives that fail together count as one failure.
        self.update(|state| state.open_for_backend(None, why).unwrap_or_else(|| state.pause()))
    }

    /// Records a check of the backends. `failure` describes the first that still fails.
    pub(super) fn checked(&self, failure: Option<&str>) {
        let pause = self.update(|state| {
            let Circuit::Open { pause, cause, .. } = state.circuit else { return None };
            if let Some(error) = failure {
                return Some(state.open(longer(pause), Cause::Backend, error));
            }
            state.circuit = Circuit::HalfOpen { probing: false, pause, cause };
            state.waiting_after = Instant::now() + pause;
            None
        });
        if let Some(pause) = pause {
            tracing::warn!(
                error = failure,
                again_in_ms = millis(pause),
                "receiving is still paused: the backend still fails"
            );
        }
    }

    /// Waits for the next change of the breaker's state.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changed.notify_one();
        changed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.update(|state| {
            if let Circuit::HalfOpen { probing, .. } = &mut state.circuit {
                *probing = false;
            }
        });
    }
}

/// Returns whether an outcome can't come from a wrong component or a wrong setting of it.
fn is_proven(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Completed
            | Outcome::Expired { .. }
            | Outcome::Repeated
            | Outcome::Cancelled { why: Cancel::Operator { .. } }
    )
}

/// Logs the start of an outage, if `pause` says that one has started.
fn log_outage(pause: Option<Duration>, what: &str) {
    if let Some(pause) = pause {
        tracing::warn!(what, again_in_ms = millis(pause), "paused receiving: a store or a queue fails");
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
