//! The circuit breaker: while a store or the queue fails, nothing is received.
//!
//! Every receive counts against a message on the server, whoever is at fault: a worker that went on would
//! dead-letter the whole queue while a store is down. After a pause the backends are probed, then one message is
//! tried, then all is as before.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// One failure is bad luck, and a message is retried for it; three in a row are an outage.
const THRESHOLD: u32 = 3;
/// A blip costs a second.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How late the end of an outage is noticed, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Decides whether messages may be received.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// All is well, or nearly: so many failures in a row.
    Closed { failures: u32 },
    /// Nothing is received until then.
    Open { until: Instant, pause: Duration },
    /// One message may be received; is it?
    Trial { under_way: bool, pause: Duration },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
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
    pub(super) fn admission(&self) -> Admission {
        match *self.lock() {
            State::Closed { .. } => Admission::All,
            State::Open { until, .. } => Admission::Probe(until),
            State::Trial { under_way: false, .. } => Admission::One,
            State::Trial { under_way: true, .. } => Admission::Wait,
        }
    }

    /// The one message of a trial was received.
    pub(super) fn trial_begins(&self) {
        if let State::Trial { under_way, .. } = &mut *self.lock() {
            *under_way = true;
        }
    }

    /// A task ended in a way that says nothing of the backends.
    pub(super) fn trial_says_nothing(&self) {
        self.update(|state| match state {
            State::Trial { pause, .. } => State::Trial { under_way: false, pause },
            other => other,
        });
    }

    /// A message was settled whose task had no complaint of the backends. A task that called none of them says
    /// nothing of whether they fail now and then. Tells whether this ended an outage.
    pub(super) fn succeeded(&self, called: bool) -> bool {
        let mut ended = false;
        self.update(|state| match state {
            // Tasks that were under way when the outage began may well succeed.
            State::Open { .. } => state,
            State::Closed { .. } if !called => state,
            State::Closed { .. } => State::default(),
            State::Trial { .. } => {
                ended = true;
                State::default()
            }
        });
        ended
    }

    /// A task failed because of a backend. Returns the pause if this began one.
    pub(super) fn failed(&self) -> Option<Duration> {
        let mut begun = None;
        self.update(|state| match state {
            State::Closed { failures } if failures + 1 < THRESHOLD => {
                State::Closed { failures: failures + 1 }
            }
            State::Closed { .. } => open(FIRST_PAUSE, &mut begun),
            State::Trial { pause, .. } => open((pause * 2).min(LONGEST_PAUSE), &mut begun),
            State::Open { .. } => state,
        });
        begun
    }

    /// A queue doesn't settle or take messages: whatever tasks say, nothing can be finished. Returns the pause if
    /// this began one.
    pub(super) fn queue_failed(&self) -> Option<Duration> {
        let mut begun = None;
        self.update(|state| match state {
            State::Closed { .. } => open(FIRST_PAUSE, &mut begun),
            State::Trial { pause, .. } => open((pause * 2).min(LONGEST_PAUSE), &mut begun),
            State::Open { .. } => state,
        });
        begun
    }

    /// The queue can't be received from: there is nothing to wait for. Returns the pause.
    pub(super) fn receive_failed(&self) -> Duration {
        let mut begun = None;
        self.update(|state| match state {
            State::Closed { .. } => open(FIRST_PAUSE, &mut begun),
            // Several receives that fail together are one failure.
            State::Open { pause, .. } => {
                begun = Some(pause);
                state
            }
            State::Trial { pause, .. } => open((pause * 2).min(LONGEST_PAUSE), &mut begun),
        });
        begun.unwrap_or(FIRST_PAUSE)
    }

    /// The backends were probed. Returns the next pause if they still fail.
    pub(super) fn probed(&self, well: bool) -> Option<Duration> {
        let mut begun = None;
        self.update(|state| match state {
            State::Open { pause, .. } if well => State::Trial { under_way: false, pause },
            State::Open { pause, .. } => open((pause * 2).min(LONGEST_PAUSE), &mut begun),
            other => other,
        });
        begun
    }

    /// Waits for the next change.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn update(&self, change: impl FnOnce(State) -> State) {
        let mut state = self.lock();
        *state = change(*state);
        drop(state);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(pause: Duration, begun: &mut Option<Duration>) -> State {
    *begun = Some(pause);
    State::Open { until: Instant::now() + pause, pause }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_breaker() -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..THRESHOLD {
            breaker.failed();
        }
        breaker
    }

    #[test]
    fn single_failures_among_successes_stop_nothing() {
        let breaker = Breaker::default();
        for _ in 0..10 {
            assert_eq!(breaker.failed(), None);
            assert_eq!(breaker.failed(), None);
            assert!(!breaker.succeeded(true));
        }
        assert_eq!(breaker.admission(), Admission::All);
    }

    #[test]
    fn tasks_that_call_nothing_do_not_hide_that_others_fail() {
        let breaker = Breaker::default();
        for _ in 1..THRESHOLD {
            breaker.failed();
            breaker.succeeded(false);
        }
        assert_eq!(breaker.failed(), Some(FIRST_PAUSE));
    }

    #[test]
    fn failures_in_a_row_stop_receiving_until_a_probe_and_a_trial_succeed() {
        let breaker = open_breaker();
        assert!(matches!(breaker.admission(), Admission::Probe(_)));
        breaker.succeeded(true);
        assert!(matches!(breaker.admission(), Admission::Probe(_)), "a late success says nothing");
        assert_eq!(breaker.probed(true), None);
        assert_eq!(breaker.admission(), Admission::One);
        breaker.trial_begins();
        assert_eq!(breaker.admission(), Admission::Wait);
        assert!(breaker.succeeded(true));
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
        assert_eq!(breaker.failed(), Some(LONGEST_PAUSE), "a trial that fails goes on where the pauses were");
        breaker.probed(true);
        breaker.succeeded(true);
        for _ in 1..THRESHOLD {
            assert_eq!(breaker.failed(), None);
        }
        assert_eq!(breaker.failed(), Some(FIRST_PAUSE));
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
        let breaker = Breaker::default();
        breaker.succeeded(true);
        assert_eq!(breaker.queue_failed(), Some(FIRST_PAUSE));
        breaker.succeeded(true);
        assert_eq!(breaker.queue_failed(), None, "it has stopped already");
        assert!(matches!(breaker.admission(), Admission::Probe(_)));
    }

    #[test]
    fn a_queue_that_cannot_be_received_from_stops_receiving_at_once() {
        let breaker = Breaker::default();
        assert_eq!(breaker.receive_failed(), FIRST_PAUSE);
        assert!(matches!(breaker.admission(), Admission::Probe(_)));
        assert_eq!(breaker.receive_failed(), FIRST_PAUSE, "they failed together");
        breaker.probed(true);
        assert_eq!(breaker.receive_failed(), FIRST_PAUSE * 2);
    }
}
