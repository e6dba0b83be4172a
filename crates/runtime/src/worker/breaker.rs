//! The circuit breaker: while a store or the queue fails, or no task completes, nothing is received at full speed.
//!
//! Every receive counts against a message on the server, whoever is at fault: a worker that went on would dead-letter the
//! whole queue while a store is down, or after a slip of whoever configured it. After a pause the backends are checked, then
//! one message probes, then all is as before.

use super::attribution::Attribution;
use super::settle::Decision;
use crate::model::host_error::{HostError, HostErrorKind, Used};
use crate::model::outcome::Outcome;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// One failure is bad luck, and a message is retried for it; three in a row are an outage.
const THRESHOLD: u32 = 3;
/// Failed tasks in a row that open the breaker while none has completed yet: nothing has shown then that the component and
/// its grants are right.
const UNPROVEN: u32 = 8;
/// A blip costs a second.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How late the end of an outage is noticed, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Decides whether messages may be received.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Failed tasks in a row that open it; `None`: they never do.
    max_failed_tasks: Option<NonZeroU32>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    circuit: Circuit,
    /// Failures in a row, for each use of a backend; `None`: nobody knows of which.
    backend_failures: BTreeMap<Option<Used>, u32>,
    /// Tasks that failed since the last one completed.
    failed_tasks: u32,
    has_completed: bool,
    /// Why it's open, or was last.
    why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Circuit {
    /// All is well, or nearly.
    Closed,
    /// Nothing is received until then.
    Open { until: Instant, pause: Duration, cause: Cause },
    /// One message may probe the backends; does it?
    HalfOpen { probing: bool, pause: Duration, cause: Cause },
}

/// The one message that tests a half-open circuit. Dropped without [`Breaker::settled`], it says nothing: the next message
/// probes.
#[derive(Debug)]
pub(super) struct Probe(Arc<Breaker>);

/// What opened the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A store or a queue fails.
    Backend,
    /// No task completes.
    Tasks,
}

/// How a task ended, for the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// It says nothing: it was cancelled, or a backend failed, which the breaker knows already.
    None,
    /// It failed, and says nothing of the backends: it took too long.
    Failed,
    /// It had no complaint of the backends.
    Well {
        /// It called one.
        called: bool,
        /// It completed.
        completed: bool,
    },
}

impl Evidence {
    /// Of a task that ended so. `ran`: there was an instance; `called`: it called a backend.
    pub(super) fn of(outcome: &Outcome, attribution: Attribution, ran: bool, called: bool) -> Self {
        match outcome {
            // What is over before there is an instance, as S3's test event, says nothing.
            Outcome::Completed if !ran => Self::None,
            Outcome::HostFailed { .. } if attribution == Attribution::Message => Self::Failed,
            Outcome::HostFailed { .. } | Outcome::Cancelled { .. } => Self::None,
            Outcome::TimedOut => Self::Failed,
            outcome => Self::Well { called, completed: *outcome == Outcome::Completed },
        }
    }
}

/// What the settlement of a message changed.
enum Change {
    None,
    /// The circuit that was opened for this is closed.
    Recovered(Cause),
    /// The task of the message that probed failed like those before: the next message probes after this pause.
    StillFailing(Duration),
}

/// What the breaker says to a worker that wants to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Receive as many messages as can start.
    All,
    /// Receive one message, which probes.
    Probe,
    /// Wait until then, then check the backends, and tell the breaker.
    Check(Instant),
    /// Wait for the probe's end.
    Wait,
}

impl Breaker {
    /// A closed one, which so many failed tasks in a row open; `None`: they never do.
    pub(super) fn new(max_failed_tasks: Option<NonZeroU32>) -> Self {
        let state = State {
            circuit: Circuit::Closed,
            backend_failures: BTreeMap::new(),
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

    /// What opened it; `None`: it's closed.
    pub(super) fn cause(&self) -> Option<Cause> {
        match self.lock().circuit {
            Circuit::Closed => None,
            Circuit::Open { cause, .. } | Circuit::HalfOpen { cause, .. } => Some(cause),
        }
    }

    /// How long nothing is received; zero: it's closed.
    pub(super) fn pause(&self) -> Duration {
        self.lock().pause()
    }

    /// Whether a task has completed yet.
    pub(super) fn has_completed(&self) -> bool {
        self.lock().has_completed
    }

    /// Tasks that failed since the last one completed.
    pub(super) fn failed_tasks(&self) -> u32 {
        self.lock().failed_tasks
    }

    /// Why it's open, or was last.
    pub(super) fn why(&self) -> String {
        self.lock().why.clone()
    }

    /// The next message probes, if the circuit is half-open and no other message does.
    pub(super) fn begin_probe(self: &Arc<Self>) -> Option<Probe> {
        match &mut self.lock().circuit {
            Circuit::HalfOpen { probing, .. } if !*probing => {
                *probing = true;
                Some(Probe(self.clone()))
            }
            _ => None,
        }
    }

    /// A task ended so; `error` is what it complained of. `ran`: there was an instance.
    pub(super) fn task_ended(
        &self,
        outcome: &Outcome,
        attribution: Attribution,
        error: Option<&HostError>,
        ran: bool,
    ) {
        match (outcome, attribution) {
            // Component and grants fit, whether its message can be settled or not.
            (Outcome::Completed, _) if ran => self.lock().has_completed = true,
            (Outcome::HostFailed { .. }, Attribution::Host) => {
                let not_granted = error.is_some_and(|error| error.kind == HostErrorKind::NotGranted);
                // An alias that isn't granted may be anything that a guest says.
                let used = error.filter(|_| !not_granted).map(|error| &error.used);
                let what = outcome.reason().unwrap_or_default();
                let pause = self.backend_failed(used, what);
                if not_granted && let Some(pause) = pause {
                    let again_in_ms = millis(pause);
                    tracing::warn!(what, again_in_ms, "pausing: a grant is missing; add it and restart");
                } else {
                    log_outage(pause, what);
                }
            }
            (Outcome::HostFailed { .. }, Attribution::Suspect { .. })
            | (Outcome::Completed | Outcome::Cancelled { .. }, _) => {}
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

    /// What may be done to a message now: while no task completes, only the one that probes ends its message, or the queue
    /// would be emptied into the dead letters; the others wait until there is no doubt any more. `first`: the shortest backoff.
    pub(super) fn hold_back(
        &self,
        decision: Decision,
        outcome: &Outcome,
        probes: bool,
        first: Duration,
    ) -> Decision {
        match decision {
            Decision::Delete | Decision::DeadLetter
                if !probes && *outcome != Outcome::Completed && self.cause() == Some(Cause::Tasks) =>
            {
                Decision::Release(self.pause() + first)
            }
            // Another message is to probe, if there is one.
            Decision::Release(delay) if matches!(outcome, Outcome::HostFailed { .. }) => match self.pause() {
                Duration::ZERO => decision,
                pause => Decision::Release(delay.max(pause + first)),
            },
            decision => decision,
        }
    }

    /// A task failed, for its message's or its component's reasons. Returns the pause if this began one.
    fn task_failed(&self, outcome: &Outcome) -> Option<Duration> {
        self.update(|state| {
            state.failed_tasks = state.failed_tasks.saturating_add(1);
            let most = self.max_failed_tasks.map(NonZeroU32::get);
            let most = if state.has_completed { most } else { most.map(|most| most.min(UNPROVEN)) };
            if state.circuit != Circuit::Closed || most.is_none_or(|most| state.failed_tasks < most) {
                return None;
            }
            let since = if state.has_completed { "lately" } else { "since the worker began" };
            let why = format!("no task has completed {since}; the last outcome: {outcome}");
            Some(state.open(FIRST_PAUSE, Cause::Tasks, &why))
        })
    }

    /// A task used backends with success: what failed of that is over.
    pub(super) fn used(&self, well: &[Used]) {
        let mut state = self.lock();
        if state.circuit == Circuit::Closed && !state.backend_failures.is_empty() {
            state.backend_failures.retain(|used, _| used.as_ref().is_none_or(|used| !well.contains(used)));
        }
    }

    /// A message was settled; `probe`: it was the one that probes.
    pub(super) fn settled(&self, evidence: Evidence, probe: Option<Probe>) {
        let (called, completed) = match evidence {
            Evidence::Well { called, completed } => (called, completed),
            Evidence::None | Evidence::Failed => (false, false),
        };
        let change = self.update(|state| {
            if completed {
                state.failed_tasks = 0;
            }
            match state.circuit {
                // Tasks that call no backend don't say whether those fail now and then.
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
                // Tasks that were under way when the outage began may well succeed.
                Circuit::Open { .. } => Change::None,
                Circuit::HalfOpen { .. } if probe.is_none() => Change::None,
                Circuit::HalfOpen { pause, cause, .. } => match (cause, evidence) {
                    // Dropping the probe lets another message probe.
                    (_, Evidence::None) | (Cause::Backend, Evidence::Failed) => Change::None,
                    (Cause::Backend, Evidence::Well { .. }) => {
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

    /// A task failed because of a backend, as it used it like this. Returns the pause if this began one.
    fn backend_failed(&self, used: Option<&Used>, why: &str) -> Option<Duration> {
        self.update(|state| {
            let failures = state.backend_failures.entry(used.cloned()).or_default();
            *failures = failures.saturating_add(1);
            let is_bad_luck = *failures < THRESHOLD && state.circuit == Circuit::Closed;
            if is_bad_luck { None } else { state.open_for_backend(why) }
        })
    }

    /// A queue doesn't settle or take messages: whatever tasks say, nothing can be finished.
    pub(super) fn queue_failed(&self, what: &str) {
        log_outage(self.update(|state| state.open_for_backend(what)), what);
    }

    /// The queue can't be received from: there is nothing to wait for. Returns the pause.
    pub(super) fn receive_failed(&self, why: &str) -> Duration {
        // Several receives that fail together are one failure.
        self.update(|state| state.open_for_backend(why).unwrap_or_else(|| state.pause()))
    }

    /// The backends were checked; `failure` says what still fails.
    pub(super) fn checked(&self, failure: Option<&str>) {
        let pause = self.update(|state| {
            let Circuit::Open { pause, cause, .. } = state.circuit else { return None };
            if let Some(error) = failure {
                return Some(state.open(longer(pause), Cause::Backend, error));
            }
            state.circuit = Circuit::HalfOpen { probing: false, pause, cause };
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

    /// Waits for the next change.
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

impl State {
    fn pause(&self) -> Duration {
        match self.circuit {
            Circuit::Closed => Duration::ZERO,
            Circuit::Open { pause, .. } | Circuit::HalfOpen { pause, .. } => pause,
        }
    }

    /// Opens the circuit as a backend fails. Returns the pause; `None`: it was open already.
    fn open_for_backend(&mut self, why: &str) -> Option<Duration> {
        let pause = match self.circuit {
            Circuit::Closed => FIRST_PAUSE,
            Circuit::HalfOpen { pause, .. } => longer(pause),
            Circuit::Open { .. } => return None,
        };
        Some(self.open(pause, Cause::Backend, why))
    }

    fn open(&mut self, pause: Duration, cause: Cause, why: &str) -> Duration {
        why.clone_into(&mut self.why);
        self.open_again(pause, cause)
    }

    /// For the same reason as before.
    fn open_again(&mut self, pause: Duration, cause: Cause) -> Duration {
        self.circuit = Circuit::Open { until: Instant::now() + pause, pause, cause };
        pause
    }

    fn close(&mut self) {
        self.circuit = Circuit::Closed;
        self.backend_failures.clear();
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

/// Says that an outage has begun, if one has.
fn log_outage(pause: Option<Duration>, what: &str) {
    if let Some(pause) = pause {
        tracing::warn!(what, again_in_ms = millis(pause), "paused receiving: a store or a queue fails");
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
