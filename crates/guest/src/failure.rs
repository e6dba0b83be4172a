//! Failures of a message, and how errors become failures.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::bindings::exports::wasmrun::task::handler as raw;
use crate::{object_store, queue};

/// The longest delay that the host accepts.
const MAX_DELAY: Duration = Duration::from_secs(43_200);

/// Why a message wasn't completed. Decides whether the message is tried again.
///
/// `?` turns this crate's errors and [`io::Error`] into a failure. If a store or queue is unavailable or denies access,
/// the message is tried again: the operator can correct a grant. Every other error rejects it. For an error of another
/// type, say which it is: `.map_err(Failure::reject)?` or `.map_err(Failure::retry)?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A later try may succeed.
    Retry {
        /// The reason for the logs and the dead-letter queue.
        reason: String,
        /// How long to wait before the next try. `None` leaves this to the worker's backoff.
        after: Option<Duration>,
    },
    /// No try can succeed. The message goes to the dead-letter queue with the reason.
    Reject {
        /// The reason for the logs and the dead-letter queue.
        reason: String,
    },
}

impl Failure {
    /// Asks for another try of the message.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wasmrun_guest::Failure;
    ///
    /// let failure = Failure::retry("the rates of today aren't there yet").after(Duration::from_secs(600));
    /// ```
    pub fn retry(reason: impl fmt::Display) -> Self {
        Failure::Retry { reason: reason.to_string(), after: None }
    }

    /// Rejects the message: it can never be completed.
    pub fn reject(reason: impl fmt::Display) -> Self {
        Failure::Reject { reason: reason.to_string() }
    }

    /// Sets how long to wait before the next try, in whole seconds, rounded up, and at most twelve hours. Does nothing
    /// for a rejection.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        if let Failure::Retry { after, .. } = &mut self {
            *after = Some(delay);
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Retry { reason, .. } => write!(f, "to be tried again: {reason}"),
            Failure::Reject { reason } => write!(f, "rejected: {reason}"),
        }
    }
}

impl Error for Failure {}

impl From<Failure> for raw::Failure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Retry { reason, after } => {
                let delay_seconds = after.map(|delay| whole_seconds(delay, MAX_DELAY));
                raw::Failure::Retry(raw::RetryRequest { delay_seconds, reason })
            }
            Failure::Reject { reason } => raw::Failure::Reject(reason),
        }
    }
}

/// Rounds up, so that no message arrives earlier than the guest asked for, within what the host accepts.
pub(crate) fn whole_seconds(delay: Duration, max: Duration) -> u32 {
    let delay = delay.min(max);
    let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
    seconds as u32
}

impl From<object_store::Error> for Failure {
    fn from(error: object_store::Error) -> Self {
        match error.kind() {
            object_store::ErrorKind::Unavailable | object_store::ErrorKind::AccessDenied => {
                Failure::retry(error)
            }
            _ => Failure::reject(error),
        }
    }
}

impl From<queue::Error> for Failure {
    fn from(error: queue::Error) -> Self {
        match error.kind() {
            queue::ErrorKind::Unavailable | queue::ErrorKind::AccessDenied => Failure::retry(error),
            _ => Failure::reject(error),
        }
    }
}

/// Keeps an error of a [`Reader`](crate::Reader) or [`Writer`](crate::Writer) that passed through [`io::Read`] or
/// [`io::Write`] as it was.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.downcast::<object_store::Error>() {
            Ok(error) => error.into(),
            Err(error) => Failure::reject(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object_store::ErrorKind;

    #[test]
    fn what_may_be_otherwise_later_is_tried_again_and_everything_else_is_rejected() {
        let error = |kind| object_store::Error::new("read", "input", Some("a/b.txt"), kind);
        assert_eq!(
            Failure::from(error(ErrorKind::Unavailable)),
            Failure::retry("cannot read a/b.txt in store input: the store is unavailable for now")
        );
        assert_eq!(
            Failure::from(error(ErrorKind::NotFound)),
            Failure::reject("cannot read a/b.txt in store input: there is no such object")
        );
        assert_eq!(
            Failure::from(error(ErrorKind::AccessDenied)),
            Failure::retry("cannot read a/b.txt in store input: it is not granted, or the store refuses it")
        );
        let no_grant = object_store::Error::new("open", "input", None, ErrorKind::AccessDenied);
        assert_eq!(
            Failure::from(no_grant),
            Failure::retry("cannot open store input: the task has no such grant")
        );
        let of_queue = |kind| Failure::from(queue::Error::new("send to", "next", kind));
        assert_eq!(
            of_queue(queue::ErrorKind::Unavailable),
            Failure::retry("cannot send to queue next: the queue is unavailable for now")
        );
        assert_eq!(
            of_queue(queue::ErrorKind::AccessDenied),
            Failure::retry("cannot send to queue next: the task has no such grant")
        );
        assert_eq!(
            of_queue(queue::ErrorKind::InvalidMessage("it is empty".into())),
            Failure::reject("cannot send to queue next: the message is invalid: it is empty")
        );
    }

    #[test]
    fn an_error_of_a_store_survives_std_io() {
        let error = object_store::Error::new("read", "input", Some("a"), ErrorKind::Unavailable);
        let through_io = Failure::from(io::Error::from(error.clone()));
        assert_eq!(through_io, Failure::from(error));
        assert_eq!(Failure::from(io::Error::other("odd")), Failure::reject("odd"));
    }

    #[test]
    fn a_delay_is_rounded_up_and_bounded() {
        let asked = |delay| match Failure::retry("later").after(delay).into() {
            raw::Failure::Retry(request) => request.delay_seconds,
            raw::Failure::Reject(_) => None,
        };
        assert_eq!(asked(Duration::ZERO), Some(0));
        assert_eq!(asked(Duration::from_millis(1)), Some(1));
        assert_eq!(asked(Duration::from_secs(7)), Some(7));
        assert_eq!(asked(Duration::MAX), Some(43_200));
    }

    #[test]
    fn only_a_retry_has_a_delay() {
        let minute = Duration::from_secs(60);
        assert_eq!(
            Failure::retry("later").after(minute),
            Failure::Retry { reason: "later".into(), after: Some(minute) }
        );
        assert_eq!(Failure::reject("never").after(minute), Failure::reject("never"));
    }
}
