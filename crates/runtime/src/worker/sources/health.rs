//! Health: whether one of several queues works. A queue that fails is asked for one message at a time, after pauses, and the
//! others go on.
//!
//! With a single queue, the circuit breaker looks after this: while its only queue fails, a worker has nothing else to do.

use crate::worker::circuit::{FIRST_PAUSE, longer};
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// What a queue doesn't do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Fails {
    /// Deliver messages.
    Receiving,
    /// End them: it settles none, or its dead-letter queue takes none. Only a settled message shows that it works again.
    Settling,
}

/// Whether a queue works.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Option<Failure>>);

#[derive(Debug)]
struct Failure {
    fails: Fails,
    why: String,
    /// The pause before the next try. It doubles with each failure.
    pause: Duration,
    until: Instant,
}

impl Health {
    /// Records a failure of the queue with this URL.
    pub(super) fn failed(&self, url: &str, fails: Fails, why: &str) {
        let mut failure = self.0.lock();
        let now = Instant::now();
        let pause = match &*failure {
            // Calls that fail together count as one failure.
            Some(before) if now < before.until => return,
            Some(before) => longer(before.pause),
            None => FIRST_PAUSE,
        };
        let again_in_ms = pause.as_millis() as u64;
        if failure.is_none() {
            tracing::warn!(queue = url, why, again_in_ms, "paused receiving from a queue: it fails");
        } else {
            tracing::debug!(queue = url, why, again_in_ms, "a queue still fails");
        }
        // Receiving or not, only a settled message shows that the queue settles messages again.
        let fails = match &*failure {
            Some(Failure { fails: Fails::Settling, .. }) => Fails::Settling,
            _ => fails,
        };
        *failure = Some(Failure { fails, why: why.to_owned(), pause, until: now + pause });
    }

    /// Records a receive that was answered. Returns whether the queue works.
    pub(super) fn received(&self, url: &str) -> bool {
        let mut failure = self.0.lock();
        match &mut *failure {
            None => true,
            Some(Failure { fails: Fails::Receiving, .. }) => {
                *failure = None;
                resumed(url);
                true
            }
            // The next message is received after another pause.
            Some(Failure { fails: Fails::Settling, pause, until, .. }) => {
                *until = Instant::now() + *pause;
                false
            }
        }
    }

    /// Records a message that was settled. Returns whether the queue failed before.
    pub(super) fn settled(&self, url: &str) -> bool {
        let failed = self.0.lock().take_if(|failure| failure.fails == Fails::Settling).is_some();
        if failed {
            resumed(url);
        }
        failed
    }

    /// Returns how long the queue is left alone from now on.
    pub(super) fn pause(&self) -> Duration {
        let failure = self.0.lock();
        failure.as_ref().map_or(Duration::ZERO, |it| it.until.saturating_duration_since(Instant::now()))
    }

    /// Returns why the queue fails, if it does.
    pub(super) fn why(&self) -> Option<String> {
        self.0.lock().as_ref().map(|failure| failure.why.clone())
    }
}

fn resumed(url: &str) {
    tracing::info!(queue = url, "resumed receiving from a queue: it works again");
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "memory:q";

    #[test]
    fn a_queue_that_cannot_be_received_from_works_again_with_the_next_answer() {
        let health = Health::default();
        assert!(health.received(URL) && health.pause().is_zero() && health.why().is_none());
        health.failed(URL, Fails::Receiving, "gone");
        health.failed(URL, Fails::Receiving, "another call of that time");
        assert_eq!(health.why().as_deref(), Some("gone"));
        assert!(health.pause() > Duration::ZERO && health.pause() <= FIRST_PAUSE);
        assert!(!health.settled(URL), "that a message was settled proves nothing");
        assert!(health.received(URL) && health.why().is_none() && health.pause().is_zero());
    }

    #[test]
    fn a_queue_that_settles_nothing_works_again_only_with_a_settled_message() {
        let health = Health::default();
        health.failed(URL, Fails::Settling, "access denied");
        assert!(!health.received(URL) && health.why().is_some());
        assert!(!health.pause().is_zero(), "each message waits for a pause");
        assert!(health.settled(URL) && health.why().is_none());
        assert!(health.received(URL));
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let health = Health::default();
        health.failed(URL, Fails::Receiving, "gone");
        for _ in 0..10 {
            let mut failure = health.0.lock();
            if let Some(failure) = &mut *failure {
                failure.until = Instant::now();
            }
            drop(failure);
            health.failed(URL, Fails::Receiving, "gone");
        }
        let pause = health.0.lock().as_ref().map(|failure| failure.pause);
        assert_eq!(pause, Some(crate::worker::circuit::LONGEST_PAUSE));
    }
}
