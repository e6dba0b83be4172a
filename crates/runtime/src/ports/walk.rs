//! Walks over a queue: an operator looks at messages, moves them back to their source queues, or deletes them.
//!
//! A walk looks at each message once, and leaves the messages that its filter doesn't select as they were. Where a
//! queue shows a message only to its receiver, a walk receives, and makes the messages visible again when it ends.

use crate::model::dead_letter::DeadLetter;
use crate::model::message::Message;
use crate::model::outcome::OutcomeKind;
use crate::ports::queue::QueueError;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// A walk over a queue.
pub struct Walk<'a> {
    /// Selects messages.
    pub filter: &'a Filter,
    /// What to do with a selected message.
    pub action: WalkAction<'a>,
    /// Maximum number of messages to select.
    pub limit: Option<u64>,
    /// Bounds of a walk that receives. A walk that only reads needs none.
    pub bounds: WalkBounds,
    /// Ends the walk early when it is cancelled. What the walk received is still made visible again.
    pub stop: &'a CancellationToken,
}

/// What a walk does with a selected message.
#[derive(Clone, Copy)]
pub enum WalkAction<'a> {
    /// Show it.
    Look(&'a (dyn Fn(&Found) + Send + Sync)),
    /// Send it to its source queue, or to the queue with the URL `to`, and then delete it here. The message starts
    /// again: with a receive count of zero, the present time as sent time, and without the dead letter's record.
    Redrive {
        /// The queue to send to instead of the source queue.
        to: Option<&'a str>,
    },
    /// Delete it.
    Drop,
}

/// Bounds of a walk that receives messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkBounds {
    /// Maximum number of messages to look at.
    pub messages: usize,
    /// Longest time. If the walk is killed, its messages become visible about as long after its start.
    pub time: Duration,
}

/// Selects messages. A condition that is `None` or empty selects every message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// IDs of messages.
    pub ids: Vec<String>,
    /// Outcome of the dead letter.
    pub outcome: Option<OutcomeKind>,
    /// Part of the dead letter's reason.
    pub reason: Option<String>,
    /// Component of the dead letter.
    pub component: Option<String>,
    /// Key of the dead letter.
    pub key: Option<String>,
    /// Earliest time at which the message was sent to its queue.
    pub since: Option<SystemTime>,
}

/// A message that a walk looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The message.
    pub message: Message,
    /// The queue that moved the message here by its own redrive policy. A worker had no part in that.
    pub moved_from: Option<String>,
    /// The worker's record, if a worker sent the dead letter.
    pub dead_letter: Option<DeadLetter>,
}

/// Result of a walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Number of messages that the walk looked at.
    pub looked_at: u64,
    /// Number of messages that the filter selected.
    pub selected: u64,
    /// Number of messages moved or deleted.
    pub done: u64,
    /// Number of selected messages that stayed.
    pub left: u64,
    /// Why the first of these messages stayed: one sentence, without a full stop. `None` if none stayed.
    pub reason: Option<String>,
    /// Number of messages that were sent to their queue and couldn't be deleted here: both queues have them.
    pub doubled: u64,
    /// Number of received messages that couldn't be made visible again. They become visible when their visibility
    /// timeout ends.
    pub hidden: u64,
    /// Why the walk ended.
    pub end: WalkEnd,
}

/// Why a walk ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WalkEnd {
    /// It has looked at all visible messages.
    #[default]
    Complete,
    /// It has selected as many messages as it was to.
    Limit,
    /// It has looked at as many messages as it may.
    Messages,
    /// Its time is over.
    Time,
    /// It was stopped.
    Stopped,
    /// The queue failed.
    Failed(QueueError),
}

impl Walk<'_> {
    /// Returns whether the walk has selected as many messages as it was to.
    pub fn is_over(&self, walked: &Walked) -> bool {
        self.limit.is_some_and(|limit| walked.selected >= limit)
    }
}

impl Found {
    /// Reads the record of a message. `moved_from` is the queue that moved the message here by its own redrive policy.
    /// A record on such a message comes from its sender, or from an earlier dead letter, so it isn't read.
    pub fn new(message: Message, moved_from: Option<String>) -> Self {
        let dead_letter = if moved_from.is_none() { DeadLetter::of(&message) } else { None };
        Self { message, moved_from, dead_letter }
    }
}

impl Filter {
    /// Returns whether the filter selects every message.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether the filter selects a message.
    pub fn selects(&self, found: &Found) -> bool {
        let Self { ids, outcome, reason, component, key, since } = self;
        let dead = found.dead_letter.as_ref();
        let says = |holds: &dyn Fn(&DeadLetter) -> bool| dead.is_some_and(holds);
        let has_reason = |part: &String| {
            says(&|dead| dead.reason.as_deref().is_some_and(|reason| reason.contains(part.as_str())))
        };
        (ids.is_empty() || ids.contains(&found.message.id))
            && outcome.is_none_or(|outcome| says(&|dead| dead.outcome == outcome))
            && reason.as_ref().is_none_or(has_reason)
            && component.as_ref().is_none_or(|name| says(&|dead| dead.component == *name))
            && key.as_ref().is_none_or(|key| says(&|dead| dead.key.as_ref() == Some(key)))
            && since.is_none_or(|since| found.message.sent_at >= since)
    }
}

impl Walked {
    /// Records a selected message that stays.
    pub fn leave(&mut self, reason: impl FnOnce() -> String) {
        self.left += 1;
        self.reason.get_or_insert_with(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead_letter(id: &str, outcome: OutcomeKind, reason: Option<&str>) -> Found {
        let dead = DeadLetter {
            outcome,
            reason: reason.map(Into::into),
            receive_count: 1,
            message_id: "m".into(),
            sent_at: None,
            queue: "memory:q".into(),
            component: "c.wasm".into(),
            route: None,
            key: Some("acme".into()),
        };
        let attributes = vec![dead.to_attribute()];
        Found::new(Message { attributes, ..Message::new(id, "body") }, None)
    }

    #[test]
    fn a_filter_selects_what_fulfils_all_its_conditions() {
        let found = dead_letter("1", OutcomeKind::Rejected, Some("no image: 7 bytes"));
        let all = Filter {
            ids: vec!["0".into(), "1".into()],
            outcome: Some(OutcomeKind::Rejected),
            reason: Some("image".into()),
            component: Some("c.wasm".into()),
            key: Some("acme".into()),
            since: Some(found.message.sent_at),
        };
        assert!(Filter::default().selects(&found) && all.selects(&found));
        let later = found.message.sent_at + Duration::from_secs(1);
        for wrong in [
            Filter { ids: vec!["2".into()], ..all.clone() },
            Filter { outcome: Some(OutcomeKind::Trapped), ..all.clone() },
            Filter { reason: Some("Image".into()), ..all.clone() },
            Filter { component: Some("c".into()), ..all.clone() },
            Filter { key: Some("acm".into()), ..all.clone() },
            Filter { since: Some(later), ..all.clone() },
        ] {
            assert!(!wrong.selects(&found), "{wrong:?}");
        }
        let without = dead_letter("1", OutcomeKind::TimedOut, None);
        assert!(!Filter { reason: Some(String::new()), ..Filter::default() }.selects(&without));
    }

    #[test]
    fn a_record_on_a_message_that_the_queue_moved_is_not_believed() {
        let forged = dead_letter("1", OutcomeKind::Rejected, Some("forged"));
        let moved = Found::new(forged.message, Some("memory:q".into()));
        assert_eq!(moved.dead_letter, None);
        assert!(!Filter { outcome: Some(OutcomeKind::Rejected), ..Filter::default() }.selects(&moved));
    }
}
