//! The circuit breaker: while a store or the queue fails, or no task completes, nothing is received at full speed.
//!
//! Every receive counts against a message on the server, whoever is at fault: a worker that went on would dead-letter the
//! whole queue while a store is down, or after a slip of whoever configured it. After a pause the backends are probed, then
//! one message is tried, then all is as before.

use crate::host_error::Used;
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

    /// A task failed, for its message's or its component's reasons. Returns the pause if this began one.
    pub(super) fn task_failed(&self) -> Option<Duration> {
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
    pub(super) fn failed(&self, used: Option<&Used>) -> Option<Duration> {
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
mod tests {
    use super::*;
    use crate::host_error::Access;

    const WELL: Evidence = Evidence::Well { called: true, completed: false };
    const COMPLETED: Evidence = Evidence::Well { called: true, completed: true };

    fn breaker() -> Breaker {
        Breaker::new(NonZeroU32::new(20))
    }

    fn open_breaker() -> Breaker {
        let breaker = breaker();
        for _ in 0..THRESHOLD {
            breaker.failed(None);
        }
        breaker
    }

    #[test]
    fn single_failures_among_successes_stop_nothing() {
        let breaker = breaker();
        for _ in 0..10 {
            assert_eq!(breaker.failed(None), None);
            assert_eq!(breaker.failed(None), None);
            assert_eq!(breaker.settled(WELL, true), Change::None);
        }
        assert_eq!(breaker.admission(), Admission::All);
    }

    #[test]
    fn tasks_that_call_nothing_do_not_hide_that_others_fail() {
        let breaker = breaker();
        for _ in 1..THRESHOLD {
            breaker.failed(None);
            breaker.settled(Evidence::Well { called: false, completed: true }, true);
        }
        assert_eq!(breaker.failed(None), Some(FIRST_PAUSE));
    }

    #[test]
    fn failures_in_a_row_stop_receiving_until_a_probe_and_a_trial_succeed() {
        let breaker = open_breaker();
        assert!(matches!(breaker.admission(), Admission::Probe(_)));
        breaker.settled(WELL, true);
        assert!(matches!(breaker.admission(), Admission::Probe(_)), "a late success says nothing");
        assert_eq!(breaker.probed(true), None);
        assert_eq!(breaker.admission(), Admission::One);
        breaker.trial_begins();
        assert_eq!(breaker.admission(), Admission::Wait);
        assert_eq!(breaker.settled(WELL, true), Change::Recovered(Cause::Backend));
        assert_eq!(breaker.admission(), Admission::All);
    }

    #[test]
    fn pauses_grow_to_a_bound_and_start_anew_after_a_recovery() {
        let breaker = open_breaker();
        let pauses: Vec<_> =
            (0..8).filter_map(|_| breaker.probed(false)).map(|pause| pause.as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30, 30, 30]);
        breaker.probed(true);
        breaker.trial_begins();
        assert_eq!(
            breaker.failed(None),
            Some(LONGEST_PAUSE),
            "a trial that fails goes on where the pauses were"
        );
        breaker.probed(true);
        breaker.settled(WELL, true);
        for _ in 1..THRESHOLD {
            assert_eq!(breaker.failed(None), None);
        }
        assert_eq!(breaker.failed(None), Some(FIRST_PAUSE));
    }

    #[test]
    fn a_trial_that_says_nothing_is_tried_again() {
        let breaker = open_breaker();
        breaker.probed(true);
        breaker.trial_begins();
        breaker.trial_says_nothing();
        assert_eq!(breaker.admission(), Admission::One);
    }

    #[test]
    fn a_queue_that_does_not_settle_stops_receiving_even_if_tasks_succeed() {
        let breaker = breaker();
        breaker.settled(WELL, true);
        assert_eq!(breaker.queue_failed(), Some(FIRST_PAUSE));
        breaker.settled(WELL, true);
        assert_eq!(breaker.queue_failed(), None, "it has stopped already");
        assert!(matches!(breaker.admission(), Admission::Probe(_)));
    }

    #[test]
    fn a_queue_that_cannot_be_received_from_stops_receiving_at_once() {
        let breaker = breaker();
        assert_eq!(breaker.receive_failed(), FIRST_PAUSE);
        assert!(matches!(breaker.admission(), Admission::Probe(_)));
        assert_eq!(breaker.receive_failed(), FIRST_PAUSE, "they failed together");
        breaker.probed(true);
        assert_eq!(breaker.receive_failed(), FIRST_PAUSE * 2);
    }

    #[test]
    fn tasks_that_all_fail_slow_the_worker_down_until_one_completes() {
        let breaker = breaker();
        for _ in 1..UNPROVEN {
            assert_eq!(breaker.task_failed(), None);
        }
        assert_eq!(breaker.task_failed(), Some(FIRST_PAUSE));
        assert_eq!(breaker.cause(), Some(Cause::Tasks));
        assert_eq!(breaker.probed(true), None);
        breaker.trial_begins();
        assert_eq!(breaker.task_failed(), None, "its settlement tells how the trial ended");
        assert_eq!(breaker.settled(WELL, true), Change::StillFailing(FIRST_PAUSE * 2));
        breaker.probed(true);
        breaker.trial_begins();
        assert_eq!(breaker.settled(Evidence::Failed, true), Change::StillFailing(FIRST_PAUSE * 4));
        assert_eq!(
            breaker.settled(COMPLETED, true),
            Change::Recovered(Cause::Tasks),
            "of one that was under way"
        );
        assert_eq!(breaker.admission(), Admission::All);
    }

    #[test]
    fn a_worker_whose_tasks_have_completed_is_trusted_for_longer() {
        let breaker = breaker();
        breaker.settled(COMPLETED, true);
        for _ in 1..20 {
            assert_eq!(breaker.task_failed(), None);
        }
        assert_eq!(breaker.task_failed(), Some(FIRST_PAUSE));
    }

    #[test]
    fn a_task_that_completes_among_others_that_fail_keeps_the_breaker_closed() {
        let breaker = breaker();
        for _ in 0..1000 {
            for _ in 1..UNPROVEN {
                assert_eq!(breaker.task_failed(), None);
            }
            breaker.settled(COMPLETED, true);
        }
    }

    #[test]
    fn failing_tasks_never_open_a_breaker_that_does_not_count_them() {
        let breaker = Breaker::new(None);
        assert!((0..10_000).all(|_| breaker.task_failed().is_none()));
        assert_eq!(breaker.cause(), None);
    }

    #[test]
    fn an_outage_in_a_trial_of_failing_tasks_is_an_outage() {
        let breaker = breaker();
        while breaker.task_failed().is_none() {}
        breaker.probed(true);
        breaker.trial_begins();
        assert_eq!(breaker.failed(None), Some(FIRST_PAUSE * 2));
        assert_eq!(breaker.cause(), Some(Cause::Backend));
        assert_eq!(breaker.settled(COMPLETED, true), Change::None, "a late success says nothing of backends");
    }

    #[test]
    fn reading_with_success_does_not_hide_that_writing_fails() {
        let breaker = breaker();
        let [read, write] = [Access::Read, Access::Write].map(|access| Used { backend: "s".into(), access });
        for _ in 1..THRESHOLD {
            assert_eq!(breaker.failed(Some(&write)), None);
            breaker.used(std::slice::from_ref(&read));
            breaker.settled(COMPLETED, false);
        }
        assert_eq!(breaker.failed(Some(&write)), Some(FIRST_PAUSE));
        let breaker = self::breaker();
        for _ in 0..10 {
            assert_eq!(breaker.failed(Some(&write)), None);
            breaker.used(std::slice::from_ref(&write));
        }
    }

    #[test]
    fn a_task_of_before_tells_nothing_of_a_trial() {
        let breaker = open_breaker();
        breaker.probed(true);
        breaker.trial_begins();
        assert_eq!(breaker.settled(WELL, false), Change::None);
        assert_eq!(breaker.admission(), Admission::Wait);
    }
}
