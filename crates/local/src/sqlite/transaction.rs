//! What is done inside one transaction: the SQL, and nothing that waits.

use super::address::{self, Address};
use super::attributes;
use super::clock::{from_ms, to_ms, to_time};
use super::file::Fault;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use std::time::Duration;
use uuid::Uuid;
use wasmrun_runtime::message::{MAX_VISIBILITY, Message, OutgoingMessage};
use wasmrun_runtime::queue::{Depth, QueueError, Receipt};

/// SQS drops what is sent with the same deduplication id within five minutes.
const DEDUPLICATION_MS: i64 = 5 * 60 * 1000;
/// The clock is written down this often at most, so that it doesn't cost a page with every commit.
const CLOCK_GRANULARITY_MS: i64 = 1000;
/// So many messages move to another queue in one transaction at most: others wait meanwhile.
const MAX_MOVES: usize = 500;

/// A transaction on one queue.
pub(super) struct Transaction<'a> {
    pub(super) sql: &'a Connection,
    pub(super) address: &'a Address,
    pub(super) now_ms: i64,
}

/// A queue and its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueueRow {
    pub(super) id: i64,
    pub(super) visibility_timeout: Duration,
    pub(super) dead_letter: Option<(Target, u32)>,
    pub(super) fifo: bool,
}

/// Where messages are moved to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// A queue in the same file, by name.
    Here(String),
    /// A queue in another file, by URL.
    Elsewhere(String),
}

/// A message as the file holds it.
#[derive(Clone, Debug)]
pub(super) struct MessageRow {
    pub(super) sequence: i64,
    pub(super) id: String,
    pub(super) body: String,
    /// As JSON.
    pub(super) attributes: String,
    pub(super) group: Option<String>,
    pub(super) receive_count: u32,
    pub(super) sent_ms: i64,
    pub(super) source: Option<String>,
}

/// A message on its way to another file: hidden here until it is durable there.
#[derive(Clone, Debug)]
pub(super) struct Departure {
    pub(super) receipt: Receipt,
    pub(super) to: String,
    pub(super) message: MessageRow,
}

/// What a receive brought.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) messages: Vec<(Message, Receipt)>,
    pub(super) visibility: Duration,
    /// Received too often, and the dead-letter queue is in another file.
    pub(super) departures: Vec<Departure>,
}

impl Target {
    pub(super) fn from_column(text: String) -> Self {
        match text.strip_prefix('#') {
            Some(name) => Self::Here(name.to_owned()),
            None => Self::Elsewhere(text),
        }
    }

    pub(super) fn to_column(&self) -> String {
        match self {
            Self::Here(name) => format!("#{name}"),
            Self::Elsewhere(url) => url.clone(),
        }
    }

    pub(super) fn url(&self, from: &Address) -> String {
        match self {
            Self::Here(name) => from.sibling(name).url(),
            Self::Elsewhere(url) => url.clone(),
        }
    }
}

impl MessageRow {
    const COLUMNS: &str = "message.sequence, message.id, content.body, content.attributes, message.message_group, \
                           message.receive_count, message.sent_ms, message.source";

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            sequence: row.get(0)?,
            id: row.get(1)?,
            body: row.get(2)?,
            attributes: row.get(3)?,
            group: row.get(4)?,
            receive_count: row.get(5)?,
            sent_ms: row.get(6)?,
            source: row.get(7)?,
        })
    }

    /// As a receive delivers it: for the first time if the count is still 0.
    fn into_message(self, receive_count: u32) -> Message {
        Message {
            attributes: attributes::decode(&self.attributes, &self.id),
            id: self.id,
            body: self.body,
            receive_count,
            sent_at: to_time(self.sent_ms),
            group: self.group,
        }
    }
}

impl Transaction<'_> {
    /// The queue, or that it isn't there (any more).
    pub(super) fn queue(&self) -> Result<QueueRow, Fault> {
        self.queue_named(&self.address.name)?
            .ok_or_else(|| address::not_found(&self.address.url()).into())
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
        let (dead_letter, max_receives) = row
            .dead_letter
            .as_ref()
            .map(|(to, max)| (to.to_column(), max))
            .unzip();
        let visibility_ms = to_ms(row.visibility_timeout);
        insert.execute(params![
            name,
            visibility_ms,
            dead_letter,
            max_receives,
            row.fifo,
            self.now_ms
        ])?;
        Ok(())
    }

    /// If the system's clock was set back, sets all times of the file back with it, so that nothing stays invisible
    /// for longer than it was told to.
    pub(super) fn follow_clock(&self) -> Result<(), Fault> {
        let seen_ms = self.clock_seen()?;
        let back_ms = seen_ms - self.now_ms;
        if back_ms > CLOCK_GRANULARITY_MS {
            tracing::warn!(back_ms, file = %self.address.path.display(), "The system's clock was set back");
            self.sql
                .execute("UPDATE message SET visible_ms = visible_ms - ?1", [back_ms])?;
            self.sql
                .execute("UPDATE deduplication SET sent_ms = sent_ms - ?1", [back_ms])?;
        }
        if back_ms.abs() > CLOCK_GRANULARITY_MS {
            self.sql
                .prepare_cached("UPDATE clock SET seen_ms = ?1")?
                .execute([self.now_ms])?;
        }
        Ok(())
    }

    fn clock_seen(&self) -> Result<i64, Fault> {
        Ok(self
            .sql
            .prepare_cached("SELECT seen_ms FROM clock")?
            .query_row([], |row| row.get(0))?)
    }

    /// How long until there is something to receive: zero is now, `None` is never, as far as one can see.
    pub(super) fn next_visible(&self) -> Result<Option<Duration>, Fault> {
        if self.clock_seen()? - self.now_ms > CLOCK_GRANULARITY_MS {
            return Ok(Some(Duration::ZERO));
        }
        let mut query = self.sql.prepare_cached(
            "SELECT min(visible_ms) FROM message WHERE queue = ?1 AND blocked = 0",
        )?;
        let next: Option<i64> = query.query_row([self.queue()?.id], |row| row.get(0))?;
        Ok(next.map(|visible_ms| from_ms(visible_ms - self.now_ms)))
    }

    /// The next messages of the queue, in the order in which they became visible.
    pub(super) fn next(
        &self,
        queue: &QueueRow,
        max: usize,
        max_sequence: i64,
    ) -> Result<Vec<MessageRow>, Fault> {
        let mut query = self.sql.prepare_cached(&Self::next_sql())?;
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let rows = query.query_map(
            named_params! {":queue": queue.id, ":now": self.now_ms, ":sequence": max_sequence, ":max": max},
            MessageRow::read,
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(super) fn next_sql() -> String {
        format!(
            "SELECT {} FROM message JOIN content USING (sequence)
             WHERE message.queue = :queue AND message.blocked = 0 AND message.visible_ms <= :now
               AND message.sequence <= :sequence
             ORDER BY message.visible_ms, message.sequence LIMIT :max",
            MessageRow::COLUMNS
        )
    }

    /// Takes up to `max` messages, and moves those to the dead-letter queue that were received too often.
    pub(super) fn take(&self, max: usize) -> Result<Taken, Fault> {
        let queue = self.queue()?;
        let mut taken = Taken {
            visibility: queue.visibility_timeout,
            ..Taken::default()
        };
        let mut moved = 0;
        loop {
            let missing = max - taken.messages.len();
            let moved_before = moved;
            for row in self.next(&queue, missing, i64::MAX)? {
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
    fn hide(
        &self,
        row: &MessageRow,
        visibility: Duration,
        receives: u32,
    ) -> Result<Receipt, Fault> {
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

    /// Moves a message to another queue: at once within the file; otherwise it is hidden and handed out, to be
    /// written there and then deleted here.
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
                let receipt = self.hide(
                    &row,
                    queue.visibility_timeout.max(Duration::from_secs(30)),
                    0,
                )?;
                row.source = source.map(|name| self.address.sibling(name).url());
                Ok(Some(Departure {
                    receipt,
                    to: url.clone(),
                    message: row,
                }))
            }
        }
    }

    /// A dead-letter queue that was deleted by hand is created anew rather than losing messages.
    fn queue_or_create(&self, name: &str) -> Result<QueueRow, Fault> {
        if self.queue_named(name)?.is_none() {
            self.create_queue(name, &QueueRow::plain())?;
        }
        self.queue_named(name)?
            .ok_or_else(|| address::not_found(&self.address.sibling(name).url()).into())
    }

    /// Writes a message that comes from elsewhere: not yet received here.
    pub(super) fn insert(&self, queue: &QueueRow, row: &MessageRow) -> Result<(), Fault> {
        self.insert_visible_at(queue, row, self.now_ms)
    }

    fn insert_visible_at(
        &self,
        queue: &QueueRow,
        row: &MessageRow,
        visible_ms: i64,
    ) -> Result<(), Fault> {
        if queue.fifo && row.group.is_none() {
            return Err(QueueError::Unusable(format!(
                "the message {} has no message group, so it can't be moved to a FIFO queue",
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
        let mut content = self.sql.prepare_cached(
            "INSERT INTO content (sequence, body, attributes) VALUES (?1, ?2, ?3)",
        )?;
        content.execute(params![
            self.sql.last_insert_rowid(),
            row.body,
            row.attributes
        ])?;
        Ok(())
    }

    /// Sends one message; the inner error is the message's own fault.
    pub(super) fn send(
        &self,
        message: &OutgoingMessage,
    ) -> Result<Result<String, QueueError>, Fault> {
        let queue = self.queue()?;
        if let Err(refusal) = accepted_by(&queue, message) {
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

    /// The id of the message that was sent with this deduplication id within five minutes; otherwise notes `id`.
    fn deduplicate(
        &self,
        queue: &QueueRow,
        deduplication_id: &str,
        id: &str,
    ) -> Result<Option<String>, Fault> {
        let expired = self.now_ms - DEDUPLICATION_MS;
        self.sql
            .prepare_cached("DELETE FROM deduplication WHERE sent_ms <= ?1")?
            .execute([expired])?;
        let mut note = self.sql.prepare_cached(
            "INSERT INTO deduplication (queue, id, message_id, sent_ms) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
        )?;
        if note.execute(params![queue.id, deduplication_id, id, self.now_ms])? == 1 {
            return Ok(None);
        }
        let mut query = self
            .sql
            .prepare_cached("SELECT message_id FROM deduplication WHERE queue = ?1 AND id = ?2")?;
        Ok(Some(
            query.query_row(params![queue.id, deduplication_id], |row| row.get(0))?,
        ))
    }

    pub(super) fn delete(
        &self,
        queue: &QueueRow,
        receipt: &Receipt,
    ) -> Result<Result<(), QueueError>, Fault> {
        let Some((sequence, nonce)) = parse(receipt) else {
            return Ok(Err(QueueError::ReceiptExpired));
        };
        let mut delete = self.sql.prepare_cached(
            "DELETE FROM message WHERE sequence = ?1 AND queue = ?2 AND receipt = ?3",
        )?;
        if delete.execute(params![sequence, queue.id, nonce])? == 1 {
            return Ok(Ok(()));
        }
        let mut query = self
            .sql
            .prepare_cached("SELECT 1 FROM message WHERE sequence = ?1 AND queue = ?2")?;
        let held_by_another = query.exists(params![sequence, queue.id])?;
        Ok(if held_by_another {
            Err(QueueError::ReceiptExpired)
        } else {
            Ok(())
        })
    }

    pub(super) fn set_visibility(
        &self,
        queue: &QueueRow,
        receipt: &Receipt,
        visibility: Duration,
    ) -> Result<Result<(), QueueError>, Fault> {
        self.update_visibility(
            "UPDATE message SET visible_ms = ?1 WHERE sequence = ?2 AND queue = ?3 AND receipt = ?4",
            queue,
            receipt,
            visibility,
        )
    }

    /// The receipt is spent with it, so that a second call doesn't uncount another delivery.
    pub(super) fn uncount(
        &self,
        queue: &QueueRow,
        receipt: &Receipt,
        visibility: Duration,
    ) -> Result<Result<(), QueueError>, Fault> {
        self.update_visibility(
            "UPDATE message SET visible_ms = ?1, receipt = NULL, receive_count = max(receive_count - 1, 0)
             WHERE sequence = ?2 AND queue = ?3 AND receipt = ?4",
            queue,
            receipt,
            visibility,
        )
    }

    fn update_visibility(
        &self,
        sql: &str,
        queue: &QueueRow,
        receipt: &Receipt,
        visibility: Duration,
    ) -> Result<Result<(), QueueError>, Fault> {
        let Some((sequence, nonce)) = parse(receipt) else {
            return Ok(Err(QueueError::ReceiptExpired));
        };
        let visible_ms = self.now_ms + to_ms(visibility.min(MAX_VISIBILITY));
        let changed = self
            .sql
            .prepare_cached(sql)?
            .execute(params![visible_ms, sequence, queue.id, nonce])?;
        Ok(if changed == 1 {
            Ok(())
        } else {
            Err(QueueError::ReceiptExpired)
        })
    }

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
        let depth = query.query_row(
            named_params! {":queue": queue.id, ":now": self.now_ms},
            |row| {
                let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
                Ok(Depth {
                    visible: count(0)?,
                    in_flight: count(1)?,
                    delayed: count(2)?,
                })
            },
        )?;
        Ok(depth)
    }

    /// What a receive would deliver: not what it would move to the dead-letter queue.
    pub(super) fn peek(&self, max: usize) -> Result<Vec<Message>, Fault> {
        let queue = self.queue()?;
        let max_receives = queue.dead_letter.as_ref().map_or(u32::MAX, |(_, max)| *max);
        let sql = Self::next_sql().replace(
            "ORDER BY",
            "AND message.receive_count < :max_receives ORDER BY",
        );
        let mut query = self.sql.prepare_cached(&sql)?;
        let rows = query.query_map(
            named_params! {
                ":queue": queue.id, ":now": self.now_ms, ":sequence": i64::MAX, ":max_receives": max_receives,
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

    /// Every message sent so far has at most this sequence.
    pub(super) fn last_sequence(&self) -> Result<i64, Fault> {
        let sql = "SELECT coalesce(max(sequence), 0) FROM message";
        Ok(self
            .sql
            .prepare_cached(sql)?
            .query_row([], |row| row.get(0))?)
    }

    /// Deletes up to `max` messages up to a sequence, whatever their state; returns how many.
    pub(super) fn purge(&self, up_to: i64, max: u32) -> Result<u64, Fault> {
        let mut delete = self.sql.prepare_cached(
            "DELETE FROM message WHERE sequence IN (
                SELECT sequence FROM message WHERE queue = ?1 AND sequence <= ?2 LIMIT ?3)",
        )?;
        Ok(delete.execute(params![self.queue()?.id, up_to, max])? as u64)
    }

    /// The names of the queues in this file, those whose dead-letter queue is `dead_letter`, or all.
    pub(super) fn queue_names(&self, dead_letter: Option<&str>) -> Result<Vec<String>, Fault> {
        let mut query = self.sql.prepare_cached(
            "SELECT name FROM queue WHERE ?1 IS NULL OR dead_letter = ?1 ORDER BY name LIMIT 20",
        )?;
        let names = query.query_map([dead_letter], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }
}

impl QueueRow {
    /// SQS's defaults, and no dead-letter queue.
    pub(super) fn plain() -> Self {
        Self {
            id: 0,
            visibility_timeout: Duration::from_secs(30),
            dead_letter: None,
            fifo: false,
        }
    }
}

/// The rules that differ between standard and FIFO queues, as SQS has them.
fn accepted_by(queue: &QueueRow, message: &OutgoingMessage) -> Result<(), &'static str> {
    if queue.fifo && message.group.is_none() {
        return Err("the queue is FIFO, so the message needs a message group");
    }
    if queue.fifo && message.delay.is_some_and(|delay| !delay.is_zero()) {
        return Err("the queue is FIFO, so a single message can't be delayed");
    }
    if !queue.fifo && message.deduplication_id.is_some() {
        return Err("the queue isn't FIFO, so a deduplication id has no meaning");
    }
    Ok(())
}

/// A receipt is `SEQUENCE-NONCE`.
fn parse(receipt: &Receipt) -> Option<(i64, &str)> {
    let (sequence, nonce) = receipt.0.split_once('-')?;
    Some((sequence.parse().ok()?, nonce))
}
