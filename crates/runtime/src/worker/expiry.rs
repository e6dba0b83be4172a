//! Expiry: a message that was sent too long ago ends as [`Outcome::Expired`], without a task.
//!
//! The age is that at the receive, so that a message that waits in the worker doesn't expire meanwhile.

use super::Worker;
use super::waiting::LeasedMessage;
use crate::model::outcome::Outcome;
use crate::task::component::Report;
use crate::task::routes::Routed;
use std::time::{Duration, SystemTime};

/// Returns the outcome of a message that is older than `max_age` at its receive. `now` is the time of the receive. A
/// message whose sent time is in the future, by a clock that is ahead, has no age.
fn expired(sent_at: SystemTime, now: SystemTime, max_age: Duration) -> Option<Outcome> {
    let age = now.duration_since(sent_at).unwrap_or_default();
    let (seconds, most) = (age.as_secs_f64(), max_age.as_secs_f64());
    (age > max_age).then(|| Outcome::Expired {
        reason: format!("sent {seconds:.1} s before its receive, with a maximum age of {most} s"),
    })
}

impl Worker {
    /// Returns the report of a message that is too old to be handled, or `None` if its task may run.
    pub(super) fn expired(&self, leased: &LeasedMessage, routed: Routed<'_>) -> Option<Report> {
        let max_age = self.options.max_age?;
        let message = &leased.message;
        let received_at = SystemTime::now().checked_sub(leased.received_at.elapsed())?;
        let outcome = expired(message.sent_at, received_at, max_age)?;
        Some(routed.without_task(message, outcome, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_expires_after_its_maximum_age_and_not_before() {
        let now = SystemTime::now();
        let hour = Duration::from_secs(3600);
        let outcome = |age: Duration| expired(now - age, now, hour);
        assert_eq!((outcome(Duration::ZERO), outcome(hour)), (None, None));
        let reason = "sent 3601.0 s before its receive, with a maximum age of 3600 s".into();
        assert_eq!(outcome(hour + Duration::from_secs(1)), Some(Outcome::Expired { reason }));
    }

    #[test]
    fn clocks_that_differ_by_any_time_make_no_panic() {
        let now = SystemTime::now();
        for ahead in [1, 3600, 1 << 40] {
            assert_eq!(expired(now + Duration::from_secs(ahead), now, Duration::ZERO), None);
        }
        assert!(expired(SystemTime::UNIX_EPOCH, now, Duration::from_secs(u64::from(u32::MAX))).is_none());
        assert!(expired(SystemTime::UNIX_EPOCH, now, Duration::MAX).is_none());
    }
}
