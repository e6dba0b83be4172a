//! Health: whether one of several queues works. A queue that fails is asked for one message at a time, after pauses, and the
//! others go on.
//!
//! With a single queue, the circuit breaker looks after this: while its only queue fails, a worker has nothing else to do.

use crate::worker::circuit::{FIRST_PAUSE, LONGEST_PAUSE, longer};
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Time after which a failed dead letter says nothing any more: there may be none left to send.
const LONGEST_WITHOUT_DEAD_LETTER: Duration = LONGEST_PAUSE.saturating_mul(2);

/// What a queue doesn't do. Of several failures the last in this order counts, as success at another shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::worker) enum Fails {
    /// Deliver messages.
    Receiving,
    /// Delete them or make them visible again. Only a deleted message shows that it works again: a queue may deny one and
    /// allow the other.
    Settling,
    /// Have their dead letters taken by its dead-letter queue.
    DeadLettering,
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
    failed_at: Instant,
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
        let fails = failure.as_ref().map_or(fails, |before| before.fails.max(fails));
        *failure = Some(Failure { fails, why: why.to_owned(), pause, until: now + pause, failed_at: now });
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
            Some(Failure { pause, until, .. }) => {
                *until = Instant::now() + *pause;
                false
            }
        }
    }

    /// Records that a message was deleted or a dead letter sent. Returns whether the queue failed before and works again.
    pub(super) fn succeeded(&self, url: &str, at: Fails) -> bool {
        let is_over = |failure: &mut Failure| match failure.fails {
            Fails::Receiving => false,
            fails if fails == at => true,
            Fails::Settling => false,
            Fails::DeadLettering => failure.failed_at.elapsed() >= LONGEST_WITHOUT_DEAD_LETTER,
        };
        let works_again = self.0.lock().take_if(is_over).is_some();
        if works_again {
            resumed(url);
        }
        works_again
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
        for at in [Fails::Settling, Fails::DeadLettering] {
            assert!(!health.succeeded(URL, at), "that a message was settled proves nothing");
        }
        assert!(health.received(URL) && health.why().is_none() && health.pause().is_zero());
    }

    #[test]
    fn a_queue_that_settles_nothing_works_again_only_with_a_deleted_message() {
        let health = Health::default();
        health.failed(URL, Fails::Settling, "access denied");
        assert!(!health.received(URL) && health.why().is_some());
        assert!(!health.pause().is_zero(), "each message waits for a pause");
        assert!(!health.succeeded(URL, Fails::DeadLettering) && health.why().is_some());
        assert!(health.succeeded(URL, Fails::Settling) && health.why().is_none());
        assert!(health.received(URL));
    }

    #[test]
    fn a_failed_dead_letter_counts_until_one_is_sent_or_it_is_long_ago() {
        let health = Health::default();
        health.failed(URL, Fails::DeadLettering, "access denied");
        assert!(!health.received(URL) && !health.succeeded(URL, Fails::Settling));
        assert!(health.succeeded(URL, Fails::DeadLettering) && health.why().is_none());
        health.failed(URL, Fails::DeadLettering, "access denied");
        over(&health);
        health.failed(URL, Fails::Settling, "access denied");
        assert!(!health.succeeded(URL, Fails::Settling), "the dead-letter queue is still to be tried");
        if let Some(failure) = &mut *health.0.lock() {
            failure.failed_at =
                Instant::now().checked_sub(LONGEST_WITHOUT_DEAD_LETTER).expect("a minute ago");
        }
        assert!(health.succeeded(URL, Fails::Settling), "another worker may have sent it");
        assert!(health.why().is_none());
    }

    /// Ends the pause.
    fn over(health: &Health) {
        if let Some(failure) = &mut *health.0.lock() {
            failure.until = Instant::now();
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let health = Health::default();
        health.failed(URL, Fails::Receiving, "gone");
        for _ in 0..10 {
            over(&health);
            health.failed(URL, Fails::Receiving, "gone");
        }
        let pause = health.0.lock().as_ref().map(|failure| failure.pause);
        assert_eq!(pause, Some(LONGEST_PAUSE));
    }
}
