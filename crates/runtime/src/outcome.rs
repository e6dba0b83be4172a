//! How a task ended, and what the worker does about it.
//!
//! `Outcome::classify` is the one place that reads traps.

use crate::host;
use crate::host_error::{HostError, HostErrorKind};
use crate::limiter::Limiter;
use crate::limits::Limit;
use crate::message::MAX_VISIBILITY;
use crate::text::OneLine;
use crate::turn::TurnTooLong;
use serde::Serialize;
use std::fmt;
use std::time::Duration;
use wasmtime::Trap;
use wasmtime::component::ResourceTableError;

/// A reason, a panic's text or an error: so many bytes of it are kept.
pub const MAX_REASON_BYTES: usize = 1024;

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest returned ok.
    Completed,
    /// The guest asks for another try.
    Retry {
        /// When; `None`: the worker's backoff decides.
        delay: Option<Duration>,
        /// The guest's words.
        reason: String,
    },
    /// The guest says that this message can never work, or no grant covers the object that it announces.
    Rejected {
        /// The guest's words, or ours.
        reason: String,
    },
    /// A limit ended the task.
    LimitExceeded {
        /// Which one.
        limit: Limit,
    },
    /// The wall-clock limit ended the task.
    TimedOut,
    /// The guest trapped, panicked, or exited without returning.
    Trapped {
        /// What happened.
        what: String,
    },
    /// A store, a queue or the host itself failed, not the guest.
    HostFailed {
        /// What failed.
        what: String,
    },
    /// The worker ended the task.
    Cancelled {
        /// Why.
        why: Cancel,
    },
}

/// Why the worker ended a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cancel {
    /// The worker stops and can't wait any longer: the message is released.
    Drain,
    /// The message's visibility lapsed: somebody else may have it by now, so it's left alone.
    Lapsed,
}

/// The kinds of [`Outcome`], for policies, counts and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeKind {
    /// [`Outcome::Completed`]
    Completed,
    /// [`Outcome::Retry`]
    Retry,
    /// [`Outcome::Rejected`]
    Rejected,
    /// [`Outcome::LimitExceeded`]
    LimitExceeded,
    /// [`Outcome::TimedOut`]
    TimedOut,
    /// [`Outcome::Trapped`]
    Trapped,
    /// [`Outcome::HostFailed`]
    HostFailed,
    /// [`Outcome::Cancelled`]
    Cancelled,
}

impl OutcomeKind {
    /// All of them, in the order of the documentation's table.
    pub const ALL: [Self; 8] = [
        Self::Completed,
        Self::Retry,
        Self::Rejected,
        Self::LimitExceeded,
        Self::TimedOut,
        Self::Trapped,
        Self::HostFailed,
        Self::Cancelled,
    ];

    /// The word that configuration, log and metric use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Retry => "retry",
            Self::Rejected => "rejected",
            Self::LimitExceeded => "limit-exceeded",
            Self::TimedOut => "timed-out",
            Self::Trapped => "trapped",
            Self::HostFailed => "host-failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for OutcomeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the task left behind when it ended, beside its result.
pub(crate) struct Remains<'a> {
    pub(crate) limiter: &'a Limiter,
    /// The last host error that no later call made good.
    pub(crate) host_error: Option<&'a HostError>,
    /// The end of what it wrote to its standard error: a panic's text.
    pub(crate) last_words: Option<String>,
}

impl Remains<'_> {
    /// What can't be reached.
    fn outage(&self) -> Option<&str> {
        let error = self.host_error?;
        matches!(error.kind, HostErrorKind::Unavailable { .. }).then_some(error.text.as_str())
    }
}

impl Outcome {
    /// Reads the result of a call into a guest.
    pub(crate) fn classify(
        result: wasmtime::Result<Result<(), host::Failure>>,
        remains: &Remains<'_>,
    ) -> Self {
        match result {
            Ok(Ok(())) => Self::Completed,
            Ok(Err(host::Failure::Reject(reason))) => Self::Rejected { reason: shorten(&reason) },
            Ok(Err(host::Failure::Retry(request))) => {
                match (request.delay_seconds, remains.outage()) {
                    // The guest handed on what a store or a queue told it.
                    (None, Some(what)) => Self::HostFailed { what: what.into() },
                    (delay, _) => Self::Retry {
                        delay: delay.map(|seconds| Duration::from_secs(seconds.into()).min(MAX_VISIBILITY)),
                        reason: shorten(&request.reason),
                    },
                }
            }
            Err(error) => Self::from_error(&error, remains),
        }
    }

    /// The task's time is over, or the time that it may wait. If it waited for one call to a store or a queue for most
    /// of that time, the task isn't to blame.
    pub(crate) fn out_of_time(self, time: Duration, in_call: Option<Duration>) -> Self {
        match in_call {
            Some(waited) if waited >= time / 2 => {
                Self::HostFailed { what: format!("a store or a queue didn't answer for {waited:.1?}") }
            }
            _ => self,
        }
    }

    fn from_error(error: &wasmtime::Error, remains: &Remains<'_>) -> Self {
        if let Some(limit) = limit_in(error) {
            return Self::LimitExceeded { limit };
        }
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            return Self::HostFailed { what: "the pool of instances is full".into() };
        }
        if let Some(host::HostFault(what)) = error.downcast_ref() {
            return Self::HostFailed { what: what.clone() };
        }
        if let Some(limit) = limit_before(error, remains.limiter) {
            return Self::LimitExceeded { limit };
        }
        if let Some(what) = remains.outage() {
            return Self::HostFailed { what: what.into() };
        }
        if let Some(wasmtime_wasi::I32Exit(status)) = error.downcast_ref() {
            return Self::Trapped { what: format!("exited with status {status} without returning") };
        }
        let trap = error.downcast_ref::<Trap>();
        if trap.is_none() && error.is::<host::NotStarted>() {
            // The system refused memory: no fault of the message.
            return Self::HostFailed { what: shorten(&format!("{error:#}")) };
        }
        let what = match (trap, &remains.last_words) {
            // How a panic or an abort ends: why, it said before.
            (Some(trap @ Trap::UnreachableCodeReached), Some(last_words)) => format!("{trap}: {last_words}"),
            (Some(trap), _) => trap.to_string(),
            // Ours and wasmtime's own sentences: a list whose pointer lies, a handle that isn't one.
            (None, _) => error.root_cause().to_string(),
        };
        Self::Trapped { what: shorten(&what) }
    }

    /// Its kind.
    pub fn kind(&self) -> OutcomeKind {
        match self {
            Self::Completed => OutcomeKind::Completed,
            Self::Retry { .. } => OutcomeKind::Retry,
            Self::Rejected { .. } => OutcomeKind::Rejected,
            Self::LimitExceeded { .. } => OutcomeKind::LimitExceeded,
            Self::TimedOut => OutcomeKind::TimedOut,
            Self::Trapped { .. } => OutcomeKind::Trapped,
            Self::HostFailed { .. } => OutcomeKind::HostFailed,
            Self::Cancelled { .. } => OutcomeKind::Cancelled,
        }
    }

    /// The reason in words, where there is one. It may hold a guest's text: never write it as a raw line.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Completed | Self::TimedOut => None,
            Self::Retry { reason, .. } | Self::Rejected { reason } => Some(reason),
            Self::LimitExceeded { limit } => Some(limit.as_str()),
            Self::Trapped { what } | Self::HostFailed { what } => Some(what),
            Self::Cancelled { why: Cancel::Drain } => Some("the worker stops"),
            Self::Cancelled { why: Cancel::Lapsed } => Some("the message's visibility lapsed"),
        }
    }
}

/// For people; control characters of a guest's reason are escaped.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind())?;
        match self.reason() {
            Some(reason) => write!(f, " ({})", OneLine(reason)),
            None => Ok(()),
        }
    }
}

/// The limit that an error speaks of, if it does.
pub(crate) fn limit_in(error: &wasmtime::Error) -> Option<Limit> {
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return Some(Limit::Fuel),
        Some(Trap::StackOverflow) => return Some(Limit::Stack),
        _ => {}
    }
    if let Some(host::LimitHit(limit)) = error.downcast_ref() {
        return Some(*limit);
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return Some(Limit::Handles);
    }
    // Errors of wasmtime 48 that have no public type.
    let text = error.root_cause().to_string();
    if text.contains("fuel allocated for hostcalls") {
        Some(Limit::CallSize)
    } else if text.starts_with("requested len ") {
        Some(Limit::RandomSize)
    } else if text.contains("store handle limit exceeded") {
        Some(Limit::Handles)
    } else {
        None
    }
}

/// The limit that the guest ran into before it failed with an error that speaks of none. It may have coped with the refusal:
/// then it would have completed, and what was ended for another reason doesn't count.
pub(crate) fn limit_before(error: &wasmtime::Error, limiter: &Limiter) -> Option<Limit> {
    if error.is::<TurnTooLong>() { None } else { limiter.refused() }
}

/// What is kept of a text: its beginning, in memory of its own. A guest's text may be large, and goes with the guest.
pub(crate) fn shorten(text: &str) -> String {
    match text.get(..text.floor_char_boundary(MAX_REASON_BYTES)) {
        Some(beginning) if beginning.len() < text.len() => format!("{beginning}…"),
        _ => text.to_owned(),
    }
}

/// What the worker does with a message whose task didn't complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It becomes visible again after a backoff (or the delay that the guest asked for); on the last receive that the
    /// queue allows it's dead-lettered instead, so that the reason goes with it.
    Retry,
    /// It goes to the dead-letter queue with the reason.
    DeadLetter,
    /// It's deleted.
    Drop,
}

/// The action for each kind of outcome that a user can set one for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// For [`Outcome::Retry`].
    pub retry: Action,
    /// For [`Outcome::Rejected`].
    pub rejected: Action,
    /// For [`Outcome::LimitExceeded`].
    pub limit_exceeded: Action,
    /// For [`Outcome::TimedOut`].
    pub timed_out: Action,
    /// For [`Outcome::Trapped`].
    pub trapped: Action,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            retry: Action::Retry,
            rejected: Action::DeadLetter,
            limit_exceeded: Action::Retry,
            timed_out: Action::Retry,
            trapped: Action::Retry,
        }
    }
}

impl Policy {
    /// Returns the policy of a worker without a dead-letter queue: what would be dead-lettered is tried again.
    #[must_use]
    pub fn without_dead_letters(self) -> Self {
        let keep = |action| if action == Action::DeadLetter { Action::Retry } else { action };
        Self {
            retry: keep(self.retry),
            rejected: keep(self.rejected),
            limit_exceeded: keep(self.limit_exceeded),
            timed_out: keep(self.timed_out),
            trapped: keep(self.trapped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn what_is_kept_of_a_large_reason_takes_no_more_than_that() {
        for text in ["x".repeat(10 << 20), "ü".repeat(5 << 20), "€".repeat(341) + "ab€", "short".into()]
        {
            let failure = host::Failure::Reject(text.clone());
            let remains =
                Remains { limiter: &Limiter::new(&Limits::default()), host_error: None, last_words: None };
            let Outcome::Rejected { reason } = Outcome::classify(Ok(Err(failure)), &remains) else {
                panic!("a rejection");
            };
            assert!(reason.capacity() <= 2 * MAX_REASON_BYTES, "{}", reason.capacity());
            let beginning = reason.strip_suffix('…').unwrap_or(&reason);
            assert!(text.starts_with(beginning) && beginning.len() + 3 >= text.len().min(MAX_REASON_BYTES));
        }
    }
}
