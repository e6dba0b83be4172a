//! Completion groups: counts messages that have ended, and sends a notification when all of a group have.
//!
//! A message is counted before it is deleted, and the notification of its group is sent before that, too. So a crash may
//! repeat the notification, but never loses it: whoever counts a message of a complete group sends the notification
//! unless the store says that it was sent. A worker looks for notifications that nobody sent when it starts, and once a
//! minute.

use super::notify::Notifier;
use super::waiting::LeasedMessage;
use super::{Worker, on_io};
use crate::model::completion::{CompleteGroup, GroupSource, Member};
use crate::model::notification::End;
use crate::model::outcome::OutcomeKind;
use crate::ports::groups::{Counted, DroppedGroup, GroupStore, Swept};
use crate::ports::queue::QueueError;
use std::sync::Arc;
use std::time::Duration;

/// Interval at which a worker looks for groups that are too old, and for notifications that nobody sent.
const SWEEP: Duration = Duration::from_secs(60);

/// How completion groups are found and counted.
#[derive(Clone)]
pub struct GroupOptions {
    /// Where a message names its group.
    pub source: GroupSource,
    /// Counts the messages of groups.
    pub store: Arc<dyn GroupStore>,
}

impl Worker {
    /// Counts a message that has ended, if it names a group, and sends the notification of the group if it is complete.
    ///
    /// # Errors
    ///
    /// The store or the recipient fails.
    pub(super) async fn count_in_group(
        &self,
        notifier: &Notifier,
        leased: &LeasedMessage,
        (end, outcome): (End, OutcomeKind),
    ) -> Result<(), QueueError> {
        let Some(GroupOptions { source, store }) = &self.options.groups else { return Ok(()) };
        let message = &leased.message;
        let key = leased.key();
        let (group, messages) = match source.of(message, key) {
            None => return Ok(()),
            Some(Ok(group)) => group,
            Some(Err(why)) => {
                self.tally.counters.uncounted_messages.add(1);
                tracing::warn!(message_id = message.id, why, "a message was not counted in its group");
                return Ok(());
            }
        };
        let group_name = group.name.clone();
        let member = Member { group, messages, message_id: message.id.clone(), end, outcome };
        let counter = store.clone();
        let counted = on_io(&self.io, async move { counter.count(member).await }).await;
        let Counted { complete, is_late, differs, dropped } =
            counted.unwrap_or_else(|_| Err(QueueError::unanswered()))?;
        if differs {
            tracing::warn!(
                message_id = message.id,
                group = group_name,
                messages,
                "a message says another number of messages than the first of its group, whose number counts"
            );
        }
        if is_late {
            self.tally.counters.uncounted_messages.add(1);
            tracing::warn!(
                message_id = message.id,
                group = group_name,
                "a message was not counted: its group was complete before"
            );
        }
        self.dropped(&dropped);
        match complete {
            Some(group) => self.notify_of_group(notifier, store, group).await,
            None => Ok(()),
        }
    }

    /// Sends the notification of a complete group, and records that it was sent.
    async fn notify_of_group(
        &self,
        notifier: &Notifier,
        store: &Arc<dyn GroupStore>,
        complete: CompleteGroup,
    ) -> Result<(), QueueError> {
        let message = complete.to_message(&self.sources.urls(), notifier.recipient().fifo());
        notifier.send_once(message).await?;
        let (store, group) = (store.clone(), complete.group.clone());
        let sent = on_io(&self.io, async move { store.sent(group).await }).await;
        sent.unwrap_or_else(|_| Err(QueueError::unanswered()))?;
        self.tally.counters.complete_groups.add(1);
        tracing::info!(group = complete.group.name, "all messages of a group have ended");
        Ok(())
    }

    /// Drops groups that are too old, and sends notifications that nobody sent, until this future is dropped.
    pub(super) async fn sweep_groups(&self) {
        let (Some(notifier), Some(GroupOptions { store, .. })) = (&self.notifier, &self.options.groups)
        else {
            return std::future::pending().await;
        };
        loop {
            // A worker that ends soon sweeps, too.
            let swept = async {
                let sweeper = store.clone();
                let swept = on_io(&self.io, async move { sweeper.sweep().await }).await;
                let Swept { unsent, dropped } = swept.unwrap_or_else(|_| Err(QueueError::unanswered()))?;
                self.dropped(&dropped);
                for group in unsent {
                    self.notify_of_group(notifier, store, group).await?;
                }
                Ok::<_, QueueError>(())
            };
            if let Err(error) = swept.await {
                tracing::warn!(store = store.url(), %error, "cannot look for groups that are complete or too old");
            }
            tokio::time::sleep(SWEEP).await;
        }
    }

    /// Logs and counts groups that were dropped.
    fn dropped(&self, groups: &[DroppedGroup]) {
        for DroppedGroup { group, ended, messages } in groups {
            self.tally.counters.dropped_groups.add(1);
            tracing::warn!(
                group = group.name,
                ended,
                messages,
                "dropped a group that is not complete: it is too old, or there are too many"
            );
        }
    }
}
