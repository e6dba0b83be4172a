//! Trait of the stores that count the messages of completion groups.

use crate::model::completion::{CompleteGroup, GroupId, Member};
use crate::ports::queue::QueueError;
use async_trait::async_trait;
use std::time::Duration;

/// How long a group is remembered: no message of SQS lives longer. A group that isn't complete by then is dropped.
pub const LONGEST: Duration = Duration::from_secs(14 * 24 * 3600);
/// Maximum number of groups and messages that a store remembers, together. Beyond it, groups are dropped: the oldest whose
/// notification was sent, then the oldest of the key with the most entries.
pub const MOST_ENTRIES: u64 = 1_000_000;

/// Counts the messages of completion groups. Several workers may use a store at once, and each call takes effect as a
/// whole or not at all. It is durable when it returns `Ok`.
#[async_trait]
pub trait GroupStore: Send + Sync + 'static {
    /// Returns the name for logs: a URL, without secrets.
    fn url(&self) -> &str;

    /// Checks with one cheap call that messages can be counted.
    async fn check(&self) -> Result<(), QueueError>;

    /// Counts a message that has ended. The same message counts once, as it ended last; one that is [`Repeated`] counts as
    /// it did before. The number of messages is that of the group's first message.
    ///
    /// [`Repeated`]: crate::model::outcome::OutcomeKind::Repeated
    async fn count(&self, member: Member) -> Result<Counted, QueueError>;

    /// Records that the notification of a complete group was sent: its messages no longer count.
    async fn sent(&self, group: GroupId) -> Result<(), QueueError>;

    /// Drops groups that are older than [`LONGEST`], and returns groups of which no worker has sent the notification.
    async fn sweep(&self) -> Result<Swept, QueueError>;
}

/// The result of counting a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The group, if all of its messages have ended, no notification is recorded, and the message is one of those that
    /// count: the last, or one that is delivered again.
    pub complete: Option<CompleteGroup>,
    /// Whether the message doesn't count, as its group is complete without it or its notification is recorded.
    pub is_late: bool,
    /// Whether the message says another number of messages than the first message of its group.
    pub differs: bool,
    /// Groups that were dropped to make room.
    pub dropped: Vec<DroppedGroup>,
}

/// The result of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Complete groups whose notification isn't recorded though it was due minutes ago.
    pub unsent: Vec<CompleteGroup>,
    /// Groups that were dropped as they were too old.
    pub dropped: Vec<DroppedGroup>,
}

/// A group that was dropped before it was complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedGroup {
    /// The group.
    pub group: GroupId,
    /// Number of its messages that had ended.
    pub ended: u32,
    /// Number of its messages.
    pub messages: u32,
}
