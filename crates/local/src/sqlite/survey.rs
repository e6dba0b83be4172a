//! Inside a transaction: queries and commands of users about a queue.

use super::file::Fault;
use super::rows::MessageRow;
use super::transaction::Transaction;
use rusqlite::{named_params, params};
use wasmrun_runtime::model::message::Message;
use wasmrun_runtime::ports::queue::Depth;

/// Holds for a message that nobody has received and that isn't delayed. In a FIFO queue, this includes the messages
/// behind such a message in its group.
const AT_REST: &str = "message.visible_ms <= :now AND (message.blocked = 0 OR (
    SELECT first.visible_ms FROM message AS first
    WHERE first.queue = message.queue AND first.message_group = message.message_group
    ORDER BY first.sequence LIMIT 1) <= :now)";

impl Transaction<'_> {
    pub(super) fn depth(&self) -> Result<Depth, Fault> {
        let mut query = self.sql.prepare_cached(
            "SELECT
                (SELECT count(*) FROM message WHERE queue = :queue AND blocked IN (0, 1) AND visible_ms <= :now),
                count(receipt), count(*) - count(receipt)
             FROM message WHERE queue = :queue AND blocked IN (0, 1) AND visible_ms > :now",
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

    /// Returns the next messages at rest with a sequence of more than `after` and at most `up_to`.
    pub(super) fn page(&self, after: i64, up_to: i64, max: usize) -> Result<Vec<MessageRow>, Fault> {
        let mut query = self.sql.prepare_cached(&Self::page_sql())?;
        let rows = query.query_map(
            named_params! {
                ":queue": self.queue()?.id, ":now": self.now_ms, ":after": after, ":up_to": up_to,
                ":max": i64::try_from(max).unwrap_or(i64::MAX),
            },
            MessageRow::read,
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The `+` keeps the query on the order of the sequences: an index would have to be sorted for each page.
    pub(super) fn page_sql() -> String {
        format!(
            "SELECT {} FROM message JOIN content USING (sequence)
             WHERE message.sequence > :after AND message.sequence <= :up_to AND +message.queue = :queue
                AND {AT_REST}
             ORDER BY message.sequence LIMIT :max",
            MessageRow::COLUMNS
        )
    }

    /// Reports whether a message of this queue is (still) at rest.
    pub(super) fn is_at_rest(&self, sequence: i64) -> Result<bool, Fault> {
        let sql =
            format!("SELECT 1 FROM message WHERE sequence = :sequence AND queue = :queue AND {AT_REST}");
        let mut query = self.sql.prepare_cached(&sql)?;
        let queue = self.queue()?.id;
        Ok(query.exists(named_params! {":sequence": sequence, ":queue": queue, ":now": self.now_ms})?)
    }

    /// Deletes those of these messages that are at rest. Returns the number of messages deleted.
    pub(super) fn delete_at_rest(&self, sequences: &[i64]) -> Result<u64, Fault> {
        let mut delete = self.sql.prepare_cached("DELETE FROM message WHERE sequence = ?1")?;
        let mut deleted = 0;
        for sequence in sequences {
            if self.is_at_rest(*sequence)? {
                deleted += delete.execute([sequence])? as u64;
            }
        }
        Ok(deleted)
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
