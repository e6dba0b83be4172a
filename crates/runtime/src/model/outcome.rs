//! Outcomes: how a task ended, and the worker's action on its message.

use crate::model::limits::Limit;
use crate::model::text::OneLine;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Maximum number of bytes that are kept of a reason, a panic's text or an error.
pub const MAX_REASON_BYTES: usize = 1024;

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest returned ok.
    Completed,
    /// The guest asks for another try.
    Retry {
        /// Delay before the next try; `None` leaves it to the worker's backoff.
        delay: Option<Duration>,
        /// The guest's reason.
        reason: String,
    },
    /// The guest says that this message can never work, or no grant covers the object that it announces.
    Rejected {
        /// The guest's reason, or the host's.
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
    /// The message was too old at its receive, so no task ran.
    Expired {
        /// Its age and its maximum age.
        reason: String,
    },
    /// With `--once`, a message with the same ID or key has completed before, so no task ran.
    Repeated,
    /// With `--once`, another task of the same ID or key is under way, so no task ran.
    Claimed {
        /// Delay before the message is delivered again.
        delay: Duration,
    },
}

/// Why the worker ended a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// The worker is shutting down and its time to drain is over: the message is released.
    Drain,
    /// The lease expired. Another worker may hold the message by now, so it's left alone.
    LeaseExpired,
    /// The client whose request the task answered has gone.
    ClientGone,
    /// An operator cancelled the task.
    Operator {
        /// The action on its message.
        then: Action,
    },
}

/// The kinds of [`Outcome`], for policies, counts and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// [`Outcome::Cancelled`], and [`Outcome::Claimed`]
    Cancelled,
    /// [`Outcome::Expired`]
    Expired,
    /// [`Outcome::Repeated`]
    Repeated,
}

impl OutcomeKind {
    /// All kinds, in the order of the table in the documentation.
    pub const ALL: [Self; 10] = [
        Self::Completed,
        Self::Retry,
        Self::Rejected,
        Self::LimitExceeded,
        Self::TimedOut,
        Self::Trapped,
        Self::HostFailed,
        Self::Cancelled,
        Self::Expired,
        Self::Repeated,
    ];

    /// Returns the name in configuration, logs and metrics.
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
            Self::Expired => "expired",
            Self::Repeated => "repeated",
        }
    }
}

impl fmt::Display for OutcomeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Outcome {
    /// Returns the kind of this outcome.
    pub fn kind(&self) -> OutcomeKind {
        match self {
            Self::Completed => OutcomeKind::Completed,
            Self::Retry { .. } => OutcomeKind::Retry,
            Self::Rejected { .. } => OutcomeKind::Rejected,
            Self::LimitExceeded { .. } => OutcomeKind::LimitExceeded,
            Self::TimedOut => OutcomeKind::TimedOut,
            Self::Trapped { .. } => OutcomeKind::Trapped,
            Self::HostFailed { .. } => OutcomeKind::HostFailed,
            Self::Cancelled { .. } | Self::Claimed { .. } => OutcomeKind::Cancelled,
            Self::Expired { .. } => OutcomeKind::Expired,
            Self::Repeated => OutcomeKind::Repeated,
        }
    }

    /// Returns the reason in words, if there is one. It may hold a guest's text: never write it as a raw line.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Completed | Self::TimedOut | Self::Repeated => None,
            Self::Retry { reason, .. } | Self::Rejected { reason } | Self::Expired { reason } => Some(reason),
            Self::LimitExceeded { limit } => Some(limit.as_str()),
            Self::Trapped { what } | Self::HostFailed { what } => Some(what),
            Self::Cancelled { why: Cancel::Drain } => Some("the worker stops"),
            Self::Cancelled { why: Cancel::LeaseExpired } => Some("the lease expired"),
            Self::Cancelled { why: Cancel::ClientGone } => Some("the client has gone"),
            Self::Cancelled { why: Cancel::Operator { .. } } => Some("an operator cancelled it"),
            Self::Claimed { .. } => Some("another task of the same ID is under way"),
        }
    }
}

/// Formats the outcome for people; control characters of a guest's reason are escaped.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind())?;
        match self.reason() {
            Some(reason) => write!(f, " ({})", OneLine(reason)),
            None => Ok(()),
        }
    }
}

/// Copies the first [`MAX_REASON_BYTES`] of a text. A guest's text may be large; the copy lets its memory be freed.
pub(crate) fn shorten(text: &str) -> String {
    match text.get(..text.floor_char_boundary(MAX_REASON_BYTES)) {
        Some(beginning) if beginning.len() < text.len() => format!("{beginning}…"),
        _ => text.to_owned(),
    }
}

/// The worker's action on a message whose task didn't complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The message becomes visible again after a backoff, or after the delay that the guest asked for. On the last
    /// receive that the queue allows it's dead-lettered instead, so that the dead letter holds the reason.
    Retry,
    /// The message goes to the dead-letter queue with the reason.
    DeadLetter,
    /// The message is deleted.
    Drop,
}

impl Action {
    /// Returns the name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::DeadLetter => "dead-letter",
            Self::Drop => "drop",
        }
    }
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
    /// For [`Outcome::Expired`].
    pub expired: Action,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            retry: Action::Retry,
            rejected: Action::DeadLetter,
            limit_exceeded: Action::Retry,
            timed_out: Action::Retry,
            trapped: Action::Retry,
            expired: Action::DeadLetter,
        }
    }
}

impl Policy {
    /// The policy of a worker that tries nothing twice.
    pub const DROP: Self = Self {
        retry: Action::Drop,
        rejected: Action::Drop,
        limit_exceeded: Action::Drop,
        timed_out: Action::Drop,
        trapped: Action::Drop,
        expired: Action::Drop,
    };

    /// Returns the policy of a worker without a dead-letter queue: messages to dead-letter are retried instead.
    #[must_use]
    pub fn without_dead_letters(self) -> Self {
        let keep = |action| if action == Action::DeadLetter { Action::Retry } else { action };
        Self {
            retry: keep(self.retry),
            rejected: keep(self.rejected),
            limit_exceeded: keep(self.limit_exceeded),
            timed_out: keep(self.timed_out),
            trapped: keep(self.trapped),
            expired: keep(self.expired),
        }
    }
}
