//! How a task ended, and what the worker does about it.

use crate::model::limits::Limit;
use crate::model::text::OneLine;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

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
    /// The lease expired: somebody else may have it by now, so it's left alone.
    LeaseExpired,
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

impl Outcome {
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
            Self::Cancelled { why: Cancel::LeaseExpired } => Some("the lease expired"),
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
