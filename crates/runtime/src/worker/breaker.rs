//! The circuit breaker: while a store or the queue fails, or no task completes, nothing is received at full speed.
//!
//! Every receive counts against a message on the server, whoever is at fault: a worker that went on would dead-letter the
//! whole queue while a store is down, or after a slip of whoever configured it. After a pause the backends are probed, then
//! one message is tried, then all is as before.

use super::attribution::Attribution;
use super::settle::Decision;
use crate::host_error::{HostError, HostErrorKind, Used};
use crate::outcome::Outcome;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Circuit {
    /// All is well, or nearly.
    Closed,
    /// Nothing is received until then.
    Open { until: Instant, pause: Duration, cause: Cause },
    /// One message may be received; is it?
    Trial { under_way: bool, pause: Duration, cause: Cause },
}

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that anybody must know.
    None,
    /// All is well again that this had opened it for.
    Recovered(Cause),
    /// The one task that was tried failed like those before it: the next is tried after this pause.
    StillFailing(Duration),
}

/// What the breaker says to a worker that wants to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// As many as can start.
    All,
    /// One, to see whether it works again.
    One,
    /// Wait until then, then probe the backends, and report.
    Probe(Instant),
    /// Wait for the trial's end.
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
        };
        Self { max_failed_tasks, state: Mutex::new(state), changed: Notify::new() }
    }

    pub(super) fn admission(&self) -> Admission {
        match self.lock().circuit {
            Circuit::Closed => Admission::All,
            Circuit::Open { until, .. } => Admission::Probe(until),
            Circuit::Trial { under_way: false, .. } => Admission::One,
            Circuit::Trial { under_way: true, .. } => Admission::Wait,
        }
    }

    /// What opened it; `None`: it's closed.
    pub(super) fn cause(&self) -> Option<Cause> {
        match self.lock().circuit {
            Circuit::Closed => None,
            Circuit::Open { cause, .. } | Circuit::Trial { cause, .. } => Some(cause),
        }
    }

    /// How long nothing is received; zero: it's closed.
    pub(super) fn pause(&self) -> Duration {
        match self.lock().circuit {
            Circuit::Closed => Duration::ZERO,
            Circuit::Open { pause, .. } | Circuit::Trial { pause, .. } => pause,
        }
    }

    /// Whether a task has completed yet.
    pub(super) fn has_completed(&self) -> bool {
        self.lock().has_completed
    }

    /// Tasks that failed since the last one completed.
    pub(super) fn failed_tasks(&self) -> u32 {
        self.lock().failed_tasks
    }

    /// The one message of a trial was received.
    pub(super) fn trial_begins(&self) {
        if let Circuit::Trial { under_way, .. } = &mut self.lock().circuit {
            *under_way = true;
        }
    }

    /// A task ended in a way that says nothing.
    pub(super) fn trial_says_nothing(&self) {
        self.update(|state, _| {
            if let Circuit::Trial { under_way, .. } = &mut state.circuit {
                *under_way = false;
            }
        });
    }

    /// Hears how a task ended, and what it complained of. Returns the pause if this began one, and its cause.
    pub(super) fn hear(
        &self,
        outcome: &Outcome,
        attribution: Attribution,
        error: Option<&HostError>,
    ) -> Option<(Duration, Cause)> {
        match (outcome, attribution) {
            (Outcome::HostFailed { .. }, Attribution::Host) => {
                // An alias that isn't granted may be anything that a guest says.
                let used =
                    error.filter(|error| error.kind != HostErrorKind::NotGranted).map(|error| &error.used);
                self.failed(used).map(|pause| (pause, Cause::Backend))
            }
            (Outcome::HostFailed { .. }, Attribution::Suspect { .. })
            | (Outcome::Completed | Outcome::Cancelled { .. }, _) => None,
            _ => self.task_failed().map(|pause| (pause, Cause::Tasks)),
        }
    }

    /// What may be done to a message now: while no task completes, only the one that is tried ends its message, or the queue
    /// would be emptied into the dead letters; the others wait until there is no doubt any more. `first`: the shortest backoff.
    pub(super) fn hold_back(
        &self,
        decision: Decision,
        outcome: &Outcome,
        is_trial: bool,
        first: Duration,
    ) -> Decision {
        match decision {
            Decision::Delete | Decision::DeadLetter
                if !is_trial && *outcome != Outcome::Completed && self.cause() == Some(Cause::Tasks) =>
            {
                Decision::Uncount(self.pause() + first)
            }
            // The trial is for another message, if there is one.
            Decision::Uncount(delay) if matches!(outcome, Outcome::HostFailed { .. }) => match self.pause() {
                Duration::ZERO => decision,
                pause => Decision::Uncount(delay.max(pause + first)),
            },
            decision => decision,
        }
    }

    /// A task failed, for its message's or its component's reasons. Returns the pause if this began one.
    fn task_failed(&self) -> Option<Duration> {
        self.update(|state, begun| {
            state.failed_tasks = state.failed_tasks.saturating_add(1);
            let most = self.max_failed_tasks.map(NonZeroU32::get);
            let most = if state.has_completed { most } else { most.map(|most| most.min(UNPROVEN)) };
            if state.circuit == Circuit::Closed && most.is_some_and(|most| state.failed_tasks >= most) {
                *begun = Some(state.open(FIRST_PAUSE, Cause::Tasks));
            }
        })
    }

    /// A task used backends with success: what failed of that is over.
    pub(super) fn used(&self, well: &[Used]) {
        let mut state = self.lock();
        if state.circuit == Circuit::Closed && !state.backend_failures.is_empty() {
            state.backend_failures.retain(|used, _| used.as_ref().is_none_or(|used| !well.contains(used)));
        }
    }

    /// A message was settled: of the trial, or of another task.
    pub(super) fn settled(&self, evidence: Evidence, is_trial: bool) -> Change {
        let mut change = Change::None;
        self.update(|state, _| {
            let (called, completed) = match evidence {
                Evidence::Well { called, completed } => (called, completed),
                Evidence::None | Evidence::Failed => (false, false),
            };
            if completed {
                (state.failed_tasks, state.has_completed) = (0, true);
            }
            match state.circuit {
                // Tasks that call no backend don't say whether those fail now and then.
                Circuit::Closed if called => {
                    state.backend_failures.remove(&None);
                }
                Circuit::Closed => {}
                Circuit::Open { cause: Cause::Tasks, .. } | Circuit::Trial { cause: Cause::Tasks, .. }
                    if completed =>
                {
                    state.close();
                    change = Change::Recovered(Cause::Tasks);
                }
                // Tasks that were under way when the outage began may well succeed.
                Circuit::Open { .. } => {}
                Circuit::Trial { .. } if !is_trial => {}
                Circuit::Trial { pause, cause, .. } => match (cause, evidence) {
                    (_, Evidence::None) | (Cause::Backend, Evidence::Failed) => {
                        state.circuit = Circuit::Trial { under_way: false, pause, cause };
                    }
                    (Cause::Backend, Evidence::Well { .. }) => {
                        state.close();
                        change = Change::Recovered(cause);
                    }
                    (Cause::Tasks, Evidence::Failed | Evidence::Well { .. }) => {
                        change = Change::StillFailing(state.open(longer(pause), cause));
                    }
                },
            }
        });
        change
    }

    /// A task failed because of a backend, as it used it like this. Returns the pause if this began one.
    fn failed(&self, used: Option<&Used>) -> Option<Duration> {
        self.update(|state, begun| {
            let failures = state.backend_failures.entry(used.cloned()).or_default();
            *failures = failures.saturating_add(1);
            match state.circuit {
                Circuit::Closed if *failures < THRESHOLD => {}
                Circuit::Closed => *begun = Some(state.open(FIRST_PAUSE, Cause::Backend)),
                Circuit::Trial { pause, .. } => *begun = Some(state.open(longer(pause), Cause::Backend)),
                Circuit::Open { .. } => {}
            }
        })
    }

    /// A queue doesn't settle or take messages: whatever tasks say, nothing can be finished. Returns the pause if
    /// this began one.
    pub(super) fn queue_failed(&self) -> Option<Duration> {
        self.update(|state, begun| match state.circuit {
            Circuit::Closed => *begun = Some(state.open(FIRST_PAUSE, Cause::Backend)),
            Circuit::Trial { pause, .. } => *begun = Some(state.open(longer(pause), Cause::Backend)),
            Circuit::Open { .. } => {}
        })
    }

    /// The queue can't be received from: there is nothing to wait for. Returns the pause.
    pub(super) fn receive_failed(&self) -> Duration {
        let begun = self.update(|state, begun| {
            *begun = Some(match state.circuit {
                Circuit::Closed => state.open(FIRST_PAUSE, Cause::Backend),
                // Several receives that fail together are one failure.
                Circuit::Open { pause, .. } => pause,
                Circuit::Trial { pause, .. } => state.open(longer(pause), Cause::Backend),
            });
        });
        begun.unwrap_or(FIRST_PAUSE)
    }

    /// The backends were probed. Returns the next pause if they still fail.
    pub(super) fn probed(&self, well: bool) -> Option<Duration> {
        self.update(|state, begun| {
            let Circuit::Open { pause, cause, .. } = state.circuit else { return };
            if well {
                state.circuit = Circuit::Trial { under_way: false, pause, cause };
            } else {
                *begun = Some(state.open(longer(pause), Cause::Backend));
            }
        })
    }

    /// Waits for the next change.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns the pause that the change began, if it did.
    fn update(&self, change: impl FnOnce(&mut State, &mut Option<Duration>)) -> Option<Duration> {
        let mut begun = None;
        change(&mut self.lock(), &mut begun);
        self.changed.notify_one();
        begun
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn open(&mut self, pause: Duration, cause: Cause) -> Duration {
        self.circuit = Circuit::Open { until: Instant::now() + pause, pause, cause };
        pause
    }

    fn close(&mut self) {
        self.circuit = Circuit::Closed;
        self.backend_failures.clear();
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
