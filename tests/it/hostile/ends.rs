//! The expected and the actual end of a task.

use Ends::{Completed, Limit, Rejected, RejectedWith, Retry, TimedOut, Trapped};

/// Minimum number of renewals of a message whose task lasts for four seconds. The siege's visibility timeout is three
/// seconds, so the lease is renewed each second; the last renewal may come too late.
const RENEWALS: i64 = 2;

/// The expected end of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    Completed,
    /// Rejected for exactly this reason.
    Rejected(&'static str),
    /// Rejected with a reason that contains this text.
    RejectedWith(&'static str),
    /// Exceeded the limit of this name.
    Limit(&'static str),
    /// Timed out after at least four seconds.
    TimedOut,
    /// Trapped with a reason that contains this text.
    Trapped(&'static str),
    /// Asked for a retry for exactly this reason.
    Retry(&'static str),
}

/// A message and the expected end of its task.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) message: String,
    pub(super) ends: Ends,
}

pub(super) fn case(message: impl Into<String>, ends: Ends) -> Case {
    Case { message: message.into(), ends }
}

/// The end of a message's task, as the log and the queue show it.
#[derive(Debug)]
pub(super) struct Ended {
    /// The start of the message.
    pub(super) message: String,
    pub(super) outcome: String,
    pub(super) reason: Option<String>,
    pub(super) receives: i64,
    pub(super) renewals: i64,
}

impl Ended {
    /// Describes how the actual end differs from the expected one, if it does.
    pub(super) fn differs(&self, ends: &Ends) -> Option<String> {
        let (outcome, reason) = match ends {
            Completed => ("completed", None),
            Rejected(reason) | RejectedWith(reason) => ("rejected", Some(reason)),
            Limit(limit) => ("limit-exceeded", Some(limit)),
            TimedOut => ("timed-out", None),
            Trapped(what) => ("trapped", Some(what)),
            Retry(reason) => ("retry", Some(reason)),
        };
        let told = self.reason.as_deref();
        let as_told = match (ends, reason) {
            (Trapped(_) | RejectedWith(_), Some(what)) => told.is_some_and(|told| told.contains(what)),
            (_, reason) => told == reason.copied(),
        };
        // Received exactly once: the lease never expired, however busy the guests were.
        let is_right = self.outcome == outcome && as_told && self.receives == 1;
        let is_kept = *ends != TimedOut || self.is_renewed();
        (!is_right || !is_kept).then(|| format!("{ends:?} was to come, but there was {self:?}"))
    }

    /// Whether the lease was renewed for at least four seconds.
    pub(super) fn is_renewed(&self) -> bool {
        self.renewals >= RENEWALS
    }
}

/// All failures of a test, so that one run reports them together.
#[derive(Default)]
pub(super) struct Wrong(Vec<String>);

impl Wrong {
    pub(super) fn extend(&mut self, complaint: Option<String>) {
        self.0.extend(complaint);
    }
}

impl Drop for Wrong {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "{}", self.0.join("\n"));
        }
    }
}
