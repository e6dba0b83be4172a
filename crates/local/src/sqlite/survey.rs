//! Inside a transaction: queries and commands of users about a queue.

use super::file::Fault;
use super::rows::{MessageRow, QueueRow};
use super::transaction::Transaction;
use rusqlite::{named_params, params};
use wasmrun_runtime::model::message::Message;
use wasmrun_runtime::ports::queue::Depth;

impl Transaction<'_> {
    pub(super) fn depth(&self) -> Result<Depth, Fault> {
        let mut query = self.sql.prepare_cached(
            "SELECT
                (SELECT count(*) FROM message WHERE queue = :queue AND blocked IN (0, 1) AND visible_ms <= :now),
                (SELECT count(*) FROM message WHERE queue = :queue AND blocked IN (0, 1) AND visible_ms > :now
                    AND receipt IS NOT NULL),
                (SELECT count(*) FROM message WHERE queue = :queue AND blocked IN (0, 1) AND visible_ms > :now
                    AND receipt IS NULL)",
        )?;
        let queue = self.queue()?;
        let depth = query.query_row(named_params! {":queue": queue.id, ":now": self.now_ms}, |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            Ok(Depth { visible: count(0)?, in_flight: count(1)?, delayed: count(2)? })
        })?;
        Ok(depth)
    }

    /// Returns the messages that a receive would deliver, without those that it would move to the dead-letter queue.
    pub(super) fn peek(&self, max: usize) -> Result<Vec<Message>, Fault> {
        let queue = self.queue()?;
        let max_receives = queue.dead_letter.as_ref().map_or(u32::MAX, |(_, max)| *max);
        let sql = Self::next_sql().replace("ORDER BY", "AND message.receive_count < :max_receives ORDER BY");
        let mut query = self.sql.prepare_cached(&sql)?;
        let rows = query.query_map(
            named_params! {
                ":queue": queue.id, ":now": self.now_ms, ":max_receives": max_receives,
                ":max": i64::try_from(max).unwrap_or(i64::MAX),
            },
            MessageRow::read,
        )?;
        let messages = rows.map(|row| {
            row.map(|row| {
                let count = row.receive_count;
                row.into_message(count)
            })
        });
        Ok(messages.collect::<Result<_, _>>()?)
    }

    /// Returns the next visible messages with a sequence of at most `up_to`. They come after the message whose time of
    /// visibility and sequence are `after`.
    pub(super) fn page(&self, after: (i64, i64), up_to: i64, max: usize) -> Result<Vec<MessageRow>, Fault> {
        let mut query = self.sql.prepare_cached(&Self::page_sql())?;
        let rows = query.query_map(
            named_params! {
                ":queue": self.queue()?.id, ":now": self.now_ms, ":visible": after.0, ":after": after.1,
                ":up_to": up_to, ":max": i64::try_from(max).unwrap_or(i64::MAX),
            },
            MessageRow::read,
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(super) fn page_sql() -> String {
        Self::next_sql().replace(
            "ORDER BY",
            "AND (message.visible_ms, message.sequence) > (:visible, :after) AND message.sequence <= :up_to
             ORDER BY",
        )
    }

    /// Reports whether a message can (still) be received.
    pub(super) fn is_visible(&self, queue: &QueueRow, row: &MessageRow) -> Result<bool, Fault> {
        let mut query = self.sql.prepare_cached(
            "SELECT 1 FROM message WHERE sequence = ?1 AND queue = ?2 AND blocked = 0 AND visible_ms <= ?3",
        )?;
        Ok(query.exists(params![row.sequence, queue.id, self.now_ms])?)
    }

    /// Returns the highest sequence of the messages in the file. No message sent so far has a higher one.
    pub(super) fn last_sequence(&self) -> Result<i64, Fault> {
        let sql = "SELECT coalesce(max(sequence), 0) FROM message";
        Ok(self.sql.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// Deletes up to `max` messages up to a sequence, whatever their state. Returns the number of messages deleted.
    pub(super) fn purge(&self, up_to: i64, max: u32) -> Result<u64, Fault> {
        let mut delete = self.sql.prepare_cached(
            "DELETE FROM message WHERE sequence IN (
                SELECT sequence FROM message WHERE queue = ?1 AND sequence <= ?2 LIMIT ?3)",
        )?;
        Ok(delete.execute(params![self.queue()?.id, up_to, max])? as u64)
    }

    /// Returns the names of at most 20 queues in this file: those whose dead-letter queue is `dead_letter`, or any if
    /// it is `None`.
    pub(super) fn queue_names(&self, dead_letter: Option<&str>) -> Result<Vec<String>, Fault> {
        let mut query = self.sql.prepare_cached(
            "SELECT name FROM queue WHERE ?1 IS NULL OR dead_letter = ?1 ORDER BY name LIMIT 20",
        )?;
        let names = query.query_map([dead_letter], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }
}
