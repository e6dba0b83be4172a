//! Decision: what becomes of a message after its task has ended.
//!
//! [`decide`] is a pure function of the outcome, the message's receives and the settings. It has no clock, no queue and
//! no engine: the worker calls it for each message, and `wasmrun simulate` for each message of virtual time.

use crate::model::message::MAX_VISIBILITY;
use crate::model::outcome::{Action, Cancel, Outcome, Policy};
use std::time::Duration;

/// The party to blame for a failed task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// The message, or the component: the policy for the outcome decides, and the receive counts.
    Message,
    /// Probably the message. The receive doesn't count yet, and the breaker doesn't record a failure.
    Suspect {
        /// Number of times that this has happened to the message.
        times: u32,
    },
    /// The host: every message would meet the error.
    Host,
}

/// The delay before a failed message is retried. It doubles with each receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Delay after the first receive.
    pub first: Duration,
    /// Upper bound of the delay.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(900) }
    }
}

impl Backoff {
    /// Returns a time between half of the full delay and all of it, so that messages that failed together aren't
    /// retried together. `chance` is a random number between 0 and 1.
    pub fn after(&self, receive_count: u32, chance: f64) -> Duration {
        let doublings = receive_count.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.longest).min(MAX_VISIBILITY);
        full.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

/// The decision about a message whose task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Delete it.
    Delete,
    /// Make it visible again after this delay. This receive counts.
    Retry(Duration),
    /// Make it visible again after this delay. This receive doesn't count, where the queue can do that: the task isn't
    /// to blame.
    Release(Duration),
    /// Send it to the dead-letter queue, then delete it.
    DeadLetter,
    /// Do nothing: the message is no longer ours.
    Leave,
}

/// The settings that a decision depends on, in addition to the outcome.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The action for each outcome.
    pub policy: Policy,
    /// The delay before a failed message is retried.
    pub backoff: Backoff,
    /// Number of receives after which the queue itself dead-letters a message.
    pub max_receives: Option<u32>,
    /// Whether there is a dead-letter queue.
    pub dead_letter: bool,
}

/// Decides what to do with a message. `chance` is a random number between 0 and 1, for the backoff.
pub fn decide(
    outcome: &Outcome,
    attribution: Attribution,
    receive_count: u32,
    rules: &Rules,
    chance: f64,
) -> Decision {
    let backoff = || rules.backoff.after(receive_count, chance);
    let (action, delay) = match outcome {
        Outcome::Completed | Outcome::Repeated => return Decision::Delete,
        Outcome::Claimed { delay } => return Decision::Release(*delay),
        Outcome::HostFailed { .. } => match attribution {
            Attribution::Message => (Action::Retry, None),
            Attribution::Suspect { times } => {
                let tries = receive_count.max(times.saturating_add(1));
                return Decision::Release(rules.backoff.after(tries, chance));
            }
            Attribution::Host => return Decision::Release(backoff()),
        },
        Outcome::Cancelled { why: Cancel::LeaseExpired } => return Decision::Leave,
        // Nobody waits for the response.
        Outcome::Cancelled { why: Cancel::ClientGone } => return Decision::Delete,
        Outcome::Cancelled { why: Cancel::Drain } => return Decision::Release(Duration::ZERO),
        Outcome::Cancelled { why: Cancel::Operator { then } } => (*then, None),
        Outcome::Retry { delay, .. } => (rules.policy.retry, *delay),
        Outcome::Rejected { .. } => (rules.policy.rejected, None),
        Outcome::LimitExceeded { .. } => (rules.policy.limit_exceeded, None),
        Outcome::TimedOut => (rules.policy.timed_out, None),
        Outcome::Trapped { .. } => (rules.policy.trapped, None),
        Outcome::Expired { .. } => (rules.policy.expired, None),
    };
    match action {
        Action::Drop => Decision::Delete,
        Action::DeadLetter => Decision::DeadLetter,
        // This is the last receive: the queue itself would dead-letter the message at its next receive, without a
        // reason.
        Action::Retry if rules.dead_letter && rules.max_receives.is_some_and(|max| receive_count >= max) => {
            Decision::DeadLetter
        }
        Action::Retry => Decision::Retry(delay.unwrap_or_else(backoff)),
    }
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
