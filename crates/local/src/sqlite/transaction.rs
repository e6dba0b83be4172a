//! Inside a transaction: sending, receiving and moving messages. This module has the SQL, and nothing that waits.

use super::address::{self, Address};
use super::attributes;
use super::clock::{from_ms, to_ms};
use super::file::Fault;
use super::round::{GROUP_INDEX, Place};
use super::rows::{Departure, MessageRow, QueueRow, Taken, Target};
use rusqlite::{Connection, OptionalExtension, named_params, params};
use std::time::Duration;
use uuid::Uuid;
use wasmrun_runtime::model::message::OutgoingMessage;
use wasmrun_runtime::ports::queue::{Groups, QueueError, Receipt};

/// As in SQS, a message is dropped if one with the same deduplication id was sent in the last five minutes.
const DEDUPLICATION_MS: i64 = 5 * 60 * 1000;
/// Minimum interval between updates of the stored clock, so that they don't cost a page with every commit.
const CLOCK_GRANULARITY_MS: i64 = 1000;
/// Maximum number of messages moved to another queue in one transaction, which blocks other writers.
const MAX_MOVES: usize = 500;

/// A transaction on one queue.
pub(super) struct Transaction<'a> {
    pub(super) sql: &'a Connection,
    pub(super) address: &'a Address,
    pub(super) now_ms: i64,
}

impl Transaction<'_> {
    /// Returns the queue, or an error if it doesn't exist (any more).
    pub(super) fn queue(&self) -> Result<QueueRow, Fault> {
        self.queue_named(&self.address.name)?.ok_or_else(|| address::not_found(&self.address.url()).into())
    }

    pub(super) fn queue_named(&self, name: &str) -> Result<Option<QueueRow>, Fault> {
        let mut query = self.sql.prepare_cached(
            "SELECT id, visibility_timeout_ms, fifo, dead_letter, max_receives FROM queue WHERE name = ?1",
        )?;
        let row = query.query_row([name], |row| {
            let dead_letter = row.get::<_, Option<String>>(3)?.map(Target::from_column);
            Ok(QueueRow {
                id: row.get(0)?,
                visibility_timeout: from_ms(row.get(1)?),
                fifo: row.get(2)?,
                dead_letter: dead_letter.zip(row.get(4)?),
            })
        });
        Ok(row.optional()?)
    }

    pub(super) fn create_queue(&self, name: &str, row: &QueueRow) -> Result<(), Fault> {
        let mut insert = self.sql.prepare_cached(
            "INSERT INTO queue (name, visibility_timeout_ms, dead_letter, max_receives, fifo, created_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        let (dead_letter, max_receives) =
            row.dead_letter.as_ref().map(|(to, max)| (to.to_column(), max)).unzip();
        let visibility_ms = to_ms(row.visibility_timeout);
        insert.execute(params![name, visibility_ms, dead_letter, max_receives, row.fifo, self.now_ms])?;
        Ok(())
    }

    /// If the system's clock was set back, sets the times of visibility and deduplication back by as much, so that no
    /// message stays invisible for longer than intended.
    pub(super) fn follow_clock(&self) -> Result<(), Fault> {
        let seen_ms = self.clock_seen()?;
        let back_ms = seen_ms - self.now_ms;
        if back_ms > CLOCK_GRANULARITY_MS {
            tracing::warn!(back_ms, file = %self.address.path.display(), "the system clock was set back");
            self.sql.execute("UPDATE message SET visible_ms = visible_ms - ?1", [back_ms])?;
            self.sql.execute("UPDATE deduplication SET sent_ms = sent_ms - ?1", [back_ms])?;
        }
        if back_ms.abs() > CLOCK_GRANULARITY_MS {
            self.sql.prepare_cached("UPDATE clock SET seen_ms = ?1")?.execute([self.now_ms])?;
        }
        Ok(())
    }

    fn clock_seen(&self) -> Result<i64, Fault> {
        Ok(self.sql.prepare_cached("SELECT seen_ms FROM clock")?.query_row([], |row| row.get(0))?)
    }

    /// Returns the time until a message can be received. Zero means now, and `None` that no message is known to become
    /// visible.
    pub(super) fn next_visible(&self) -> Result<Option<Duration>, Fault> {
        if self.clock_seen()? - self.now_ms > CLOCK_GRANULARITY_MS {
            return Ok(Some(Duration::ZERO));
        }
        let mut query = self
            .sql
            .prepare_cached("SELECT min(visible_ms) FROM message WHERE queue = ?1 AND blocked = 0")?;
        let next: Option<i64> = query.query_row([self.queue()?.id], |row| row.get(0))?;
        Ok(next.map(|visible_ms| from_ms(visible_ms - self.now_ms)))
    }

    /// Returns the next messages of the queue, in the order in which they became visible.
    fn next(&self, queue: &QueueRow, max: usize) -> Result<Vec<MessageRow>, Fault> {
        let mut query = self.sql.prepare_cached(&Self::next_sql())?;
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let rows = query.query_map(
            named_params! {":queue": queue.id, ":now": self.now_ms, ":max": max},
            MessageRow::read,
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(super) fn next_sql() -> String {
        format!(
            "SELECT {} FROM message JOIN content USING (sequence)
             WHERE message.queue = :queue AND message.blocked = 0 AND message.visible_ms <= :now
             ORDER BY message.visible_ms, message.sequence LIMIT :max",
            MessageRow::COLUMNS
        )
    }

    /// Receives up to `max` messages, and moves those that were received too often to the dead-letter queue.
    pub(super) fn take(&self, max: usize) -> Result<Taken, Fault> {
        self.take_of(max, |queue, missing| self.next(queue, missing))
    }

    /// Receives like [`Transaction::take`], going round the groups.
    pub(super) fn take_by_group(
        &self,
        max: usize,
        groups: &Groups,
        mut place: Place,
    ) -> Result<(Taken, Place), Fault> {
        self.sql.prepare_cached(GROUP_INDEX)?.execute([])?;
        let next = |queue: &QueueRow, missing| self.next_by_group(queue, missing, groups, &mut place);
        let taken = self.take_of(max, next)?;
        Ok((taken, place))
    }

    /// Receives the messages that `next` finds.
    fn take_of(
        &self,
        max: usize,
        mut next: impl FnMut(&QueueRow, usize) -> Result<Vec<MessageRow>, Fault>,
    ) -> Result<Taken, Fault> {
        let queue = self.queue()?;
        let mut taken = Taken { visibility: queue.visibility_timeout, ..Taken::default() };
        let mut moved = 0;
        loop {
            let missing = max - taken.messages.len();
            let moved_before = moved;
            for row in next(&queue, missing)? {
                match &queue.dead_letter {
                    Some((target, max_receives)) if row.receive_count >= *max_receives => {
                        moved += 1;
                        taken.departures.extend(self.relocate(
                            &queue,
                            row,
                            target,
                            Some(&self.address.name),
                        )?);
                    }
                    _ => {
                        let receipt = self.hide(&row, queue.visibility_timeout, 1)?;
                        let count = row.receive_count.saturating_add(1);
                        taken.messages.push((row.into_message(count), receipt));
                    }
                }
            }
            if moved == moved_before || moved >= MAX_MOVES || taken.messages.len() == max {
                return Ok(taken);
            }
        }
    }

    /// Makes a message invisible, with a new receipt that makes older ones invalid.
    fn hide(&self, row: &MessageRow, visibility: Duration, receives: u32) -> Result<Receipt, Fault> {
        let nonce = Uuid::new_v4().simple().to_string();
        let mut update = self.sql.prepare_cached(
            "UPDATE message SET visible_ms = :visible, receipt = :receipt, receive_count = receive_count + :receives,
                first_received_ms = coalesce(first_received_ms, :now), last_received_ms = :now
             WHERE sequence = :sequence",
        )?;
        // A message that stayed visible would be taken twice by one receive.
        let visible_ms = self.now_ms + to_ms(visibility).max(1);
        update.execute(named_params! {
            ":visible": visible_ms, ":receipt": nonce, ":receives": receives, ":now": self.now_ms,
            ":sequence": row.sequence,
        })?;
        Ok(Receipt(format!("{}-{nonce}", row.sequence)))
    }

    /// Moves a message to another queue. Within the file this happens at once. For another file, the message is hidden
    /// and returned, to be written there and then deleted here.
    pub(super) fn relocate(
        &self,
        queue: &QueueRow,
        mut row: MessageRow,
        target: &Target,
        source: Option<&str>,
    ) -> Result<Option<Departure>, Fault> {
        match target {
            Target::Here(name) => {
                let destination = self.queue_or_create(name)?;
                row.source = source.map(|name| Target::Here(name.to_owned()).to_column());
                self.insert(&destination, &row)?;
                self.sql
                    .prepare_cached("DELETE FROM message WHERE sequence = ?1")?
                    .execute([row.sequence])?;
                Ok(None)
            }
            Target::Elsewhere(url) => {
                let receipt = self.hide(&row, queue.visibility_timeout.max(Duration::from_secs(30)), 0)?;
                row.source = source.map(|name| self.address.sibling(name).url());
                Ok(Some(Departure { receipt, to: url.clone(), message: row }))
            }
        }
    }

    /// Returns a queue. A dead-letter queue that was deleted by hand is created anew, so that no message is lost.
    fn queue_or_create(&self, name: &str) -> Result<QueueRow, Fault> {
        if self.queue_named(name)?.is_none() {
            self.create_queue(name, &QueueRow::plain())?;
        }
        self.queue_named(name)?.ok_or_else(|| address::not_found(&self.address.sibling(name).url()).into())
    }

    /// Inserts a message that comes from another queue. Its receive count starts at zero.
    pub(super) fn insert(&self, queue: &QueueRow, row: &MessageRow) -> Result<(), Fault> {
        self.insert_visible_at(queue, row, self.now_ms)
    }

    fn insert_visible_at(&self, queue: &QueueRow, row: &MessageRow, visible_ms: i64) -> Result<(), Fault> {
        if queue.fifo && row.group.is_none() {
            return Err(QueueError::Unusable(format!(
                "the message {} has no message group, so it cannot be moved to a FIFO queue",
                row.id
            ))
            .into());
        }
        let mut message = self.sql.prepare_cached(
            "INSERT INTO message (queue, id, message_group, visible_ms, sent_ms, source, blocked)
             VALUES (:queue, :id, :group, :visible, :sent, :source, :fifo AND EXISTS (
                SELECT 1 FROM message WHERE queue = :queue AND message_group = :group))",
        )?;
        message.execute(named_params! {
            ":queue": queue.id, ":id": row.id, ":group": row.group, ":visible": visible_ms, ":sent": row.sent_ms,
            ":source": row.source, ":fifo": queue.fifo,
        })?;
        let mut content = self
            .sql
            .prepare_cached("INSERT INTO content (sequence, body, attributes) VALUES (?1, ?2, ?3)")?;
        content.execute(params![self.sql.last_insert_rowid(), row.body, row.attributes])?;
        Ok(())
    }

    /// Sends one message. The inner error is an error of the message itself.
    pub(super) fn send(&self, message: &OutgoingMessage) -> Result<Result<String, QueueError>, Fault> {
        let queue = self.queue()?;
        if let Err(refusal) = message.fits(queue.fifo) {
            return Ok(Err(QueueError::InvalidMessage(refusal.into())));
        }
        let id = Uuid::new_v4().to_string();
        if let Some(deduplication_id) = &message.deduplication_id
            && let Some(earlier) = self.deduplicate(&queue, deduplication_id, &id)?
        {
            return Ok(Ok(earlier));
        }
        let row = MessageRow {
            sequence: 0,
            id: id.clone(),
            body: message.body.clone(),
            attributes: attributes::encode(&message.attributes),
            group: message.group.clone(),
            receive_count: 0,
            sent_ms: self.now_ms,
            source: None,
        };
        let delay_ms = to_ms(message.delay.unwrap_or_default());
        self.insert_visible_at(&queue, &row, self.now_ms + delay_ms)?;
        Ok(Ok(id))
    }

    /// Returns the id of the message that was sent with this deduplication id within five minutes. If there is none,
    /// records `id` for the deduplication id.
    fn deduplicate(
        &self,
        queue: &QueueRow,
        deduplication_id: &str,
        id: &str,
    ) -> Result<Option<String>, Fault> {
        let expired = self.now_ms - DEDUPLICATION_MS;
        self.sql.prepare_cached("DELETE FROM deduplication WHERE sent_ms <= ?1")?.execute([expired])?;
        let mut note = self.sql.prepare_cached(
            "INSERT INTO deduplication (queue, id, message_id, sent_ms) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
        )?;
        if note.execute(params![queue.id, deduplication_id, id, self.now_ms])? == 1 {
            return Ok(None);
        }
        let mut query =
            self.sql.prepare_cached("SELECT message_id FROM deduplication WHERE queue = ?1 AND id = ?2")?;
        Ok(Some(query.query_row(params![queue.id, deduplication_id], |row| row.get(0))?))
    }
}
