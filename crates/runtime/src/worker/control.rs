//! Control: an operator pauses and resumes the worker, and cancels messages that it holds.
//!
//! A paused worker receives no message and starts no task. Running tasks go on, and the leases of all messages that the
//! worker holds are renewed. A message that arrives from a receive that was under way is held, or released. The pause
//! isn't remembered: a worker that starts again receives.

use super::Worker;
use super::waiting::LeasedMessage;
use crate::model::outcome::{Action, Cancel, Outcome};
use crate::task::component::Report;
use crate::task::routes::Routed;
use tokio::sync::watch;

/// Whether the worker is paused.
#[derive(Default)]
pub(super) struct Pause(watch::Sender<bool>);

impl Pause {
    pub(super) fn is_on(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the worker is paused.
    pub(super) async fn began(&self) {
        self.becomes(true).await;
    }

    /// Waits until the worker isn't paused.
    pub(super) async fn ended(&self) {
        self.becomes(false).await;
    }

    async fn becomes(&self, on: bool) {
        // The sender lives as long as `self`.
        let _ = self.0.subscribe().wait_for(|is_on| *is_on == on).await;
    }
}

/// Why a message can't be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCancelled {
    /// The worker doesn't hold the message: it was settled, waits in the queue, or another worker holds it.
    #[error("this worker does not hold the message")]
    NotHeld,
    /// The message is to be dead-lettered, and its queue has no dead-letter queue.
    #[error("there is no dead-letter queue")]
    NoDeadLetterQueue,
    /// It was cancelled before, with another action, which holds.
    #[error("it was cancelled before, with another action")]
    Already(Action),
}

impl Worker {
    /// Stops receiving messages and starting tasks until [`Worker::resume`] is called. Returns the number of tasks that
    /// still run.
    pub fn pause(&self) -> usize {
        if !self.pause.0.send_replace(true) {
            tracing::warn!("paused by an operator: no message is received and no task starts");
        }
        self.leases.count_running()
    }

    /// Receives messages again. Returns whether the worker was paused.
    pub fn resume(&self) -> bool {
        let was_paused = self.pause.0.send_replace(false);
        if was_paused {
            tracing::info!("resumed by an operator");
        }
        was_paused
    }

    /// Cancels a message that the worker holds, by the queue's ID: ends its task, or keeps it from starting. Its outcome
    /// is then `cancelled`, and `then` says what becomes of it. If its task ends by itself first, its own outcome counts.
    /// Returns whether a task runs for it. Otherwise it ends when its task would start, unless it is released before.
    ///
    /// # Errors
    ///
    /// Says why the message can't be cancelled. Nothing has changed then.
    pub fn cancel(&self, message_id: &str, then: Action) -> Result<bool, NotCancelled> {
        let runs = self.leases.cancel(message_id, then)?;
        tracing::warn!(message_id, then = then.as_str(), runs, "cancelled by an operator");
        Ok(runs)
    }
}

/// Returns the report of a message that was cancelled while it waited in the worker; `None`: its task may start.
pub(super) fn cancelled(leased: &LeasedMessage, routed: Routed<'_>) -> Option<Report> {
    let then = leased.lease.is_cancelled()?;
    let outcome = Outcome::Cancelled { why: Cancel::Operator { then } };
    Some(routed.without_task(&leased.message, outcome, None))
}
