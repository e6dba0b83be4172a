//! How a task must end, and how it ended.

use Ends::{Completed, Limit, Rejected, RejectedWith, Retry, TimedOut, Trapped};

/// So often at least the visibility of what lasts for four seconds is renewed: each second, as the siege's visibility
/// timeout is three, but for the last time, which may come too late.
const RENEWALS: i64 = 2;

/// How a task ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    Completed,
    /// For this reason.
    Rejected(&'static str),
    /// With this in the reason.
    RejectedWith(&'static str),
    /// It ran into the limit of this name.
    Limit(&'static str),
    /// After four seconds at least.
    TimedOut,
    /// With this in what is said of it.
    Trapped(&'static str),
    /// It asks for another try, for this reason.
    Retry(&'static str),
}

/// A message, and how its task must end.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) message: String,
    pub(super) ends: Ends,
}

pub(super) fn case(message: impl Into<String>, ends: Ends) -> Case {
    Case { message: message.into(), ends }
}

/// What the log and the queue tell of one message's task.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its beginning.
    pub(super) message: String,
    pub(super) outcome: String,
    pub(super) reason: Option<String>,
    pub(super) receives: i64,
    pub(super) renewals: i64,
}

impl Ended {
    /// What is wrong with that.
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
        // Once: it was never thought lost, however busy the guests were.
        let is_right = self.outcome == outcome && as_told && self.receives == 1;
        let is_kept = *ends != TimedOut || self.is_renewed();
        (!is_right || !is_kept).then(|| format!("{ends:?} was to come, but there was {self:?}"))
    }

    /// Whether it was held as long as it lasted: for four seconds at least.
    pub(super) fn is_renewed(&self) -> bool {
        self.renewals >= RENEWALS
    }
}

/// All that is wrong, so that one run tells it all.
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
