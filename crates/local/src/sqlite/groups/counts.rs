//! Inside a transaction: counting the messages of completion groups.

use crate::sqlite::clock::to_ms;
use crate::sqlite::file::Fault;
use crate::sqlite::transaction::Transaction;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{OptionalExtension, Row, named_params, params};
use std::collections::BTreeMap;
use std::time::Duration;
use wasmrun_runtime::model::completion::{CompleteGroup, GroupId, Member};
use wasmrun_runtime::model::notification::End;
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::ports::groups::{Counted, DroppedGroup, LONGEST, Swept};

/// Maximum number of groups that one sweep drops or returns, as it blocks other writers.
const MOST_SWEPT: u32 = 100;
/// How long a worker may take from counting a group's last message to recording that the notification was sent. After
/// that, the worker has died.
const UNSENT_AFTER: Duration = Duration::from_secs(300);

/// A row of `completion`.
struct GroupRow {
    id: i64,
    group: GroupId,
    messages: u32,
    ended: u32,
    sent: bool,
}

const COLUMNS: &str = "id, key, name, messages, ended, sent";

impl GroupRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            group: GroupId { key: row.get(1)?, name: row.get(2)? },
            messages: row.get(3)?,
            ended: row.get(4)?,
            sent: row.get(5)?,
        })
    }

    /// Returns what is said of a group that is dropped, if that loses anything.
    fn dropped(self) -> Option<DroppedGroup> {
        let Self { group, messages, ended, sent, .. } = self;
        (!sent).then_some(DroppedGroup { group, ended, messages })
    }
}

/// A word that the columns hold.
struct Word<T>(T);

impl FromSql for Word<End> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        End::ALL.into_iter().find(|end| end.as_str() == text).map(Self).ok_or(FromSqlError::InvalidType)
    }
}

impl FromSql for Word<OutcomeKind> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        let kinds = OutcomeKind::ALL.into_iter();
        kinds.clone().find(|kind| kind.as_str() == text).map(Self).ok_or(FromSqlError::InvalidType)
    }
}

impl Transaction<'_> {
    /// Reads from the file, to see that it can be read.
    pub(super) fn groups_answer(&self) -> Result<(), Fault> {
        self.total().map(drop)
    }

    /// Counts a message that has ended. At most `most` groups and messages are remembered.
    pub(super) fn count_member(&self, member: &Member, most: u64) -> Result<Counted, Fault> {
        let Member { group, messages, message_id, end, outcome } = member;
        let row = match self.completion(group)? {
            Some(row) => row,
            None => self.begin_completion(group, *messages)?,
        };
        let differs = row.messages != *messages;
        let mut known =
            self.sql.prepare_cached("SELECT 1 FROM member WHERE completion = ?1 AND message_id = ?2")?;
        let is_new = !known.exists(params![row.id, message_id])?;
        // A message beyond the group's number changes nothing.
        if row.sent || is_new && row.ended >= row.messages {
            return Ok(Counted { is_late: true, differs, ..Counted::default() });
        }
        if is_new || member.counts_anew() {
            let mut upsert = self.sql.prepare_cached(
                "INSERT INTO member (completion, message_id, how, outcome) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET how = excluded.how, outcome = excluded.outcome",
            )?;
            upsert.execute(params![row.id, message_id, end.as_str(), outcome.as_str()])?;
        }
        let mut ended = row.ended;
        if is_new {
            ended += 1;
            self.add_entries(&group.key, 1)?;
        }
        let mut update =
            self.sql.prepare_cached("UPDATE completion SET ended = ?2, counted_ms = ?3 WHERE id = ?1")?;
        update.execute(params![row.id, ended, self.now_ms])?;
        let complete = if ended == row.messages { Some(self.completed(&row)?) } else { None };
        Ok(Counted { complete, is_late: false, differs, dropped: self.make_room(row.id, most)? })
    }

    /// Records that the notification of a group was sent, and forgets its members.
    pub(super) fn group_sent(&self, group: &GroupId) -> Result<(), Fault> {
        let Some(row) = self.completion(group)? else { return Ok(()) };
        self.delete_members(&row)?;
        self.sql.prepare_cached("UPDATE completion SET sent = 1 WHERE id = ?1")?.execute([row.id])?;
        Ok(())
    }

    /// Drops old groups, and finds those of which nobody has sent the notification.
    pub(super) fn sweep_groups(&self) -> Result<Swept, Fault> {
        let before = |age: Duration| self.now_ms.saturating_sub(to_ms(age));
        let old = self.completions(
            &format!("SELECT {COLUMNS} FROM completion WHERE began_ms < ?1 ORDER BY began_ms LIMIT ?2"),
            before(LONGEST),
        )?;
        let mut dropped = Vec::new();
        for row in old {
            self.delete_completion(&row)?;
            dropped.extend(row.dropped());
        }
        let unsent = self.completions(
            &format!(
                "SELECT {COLUMNS} FROM completion
                 WHERE sent = 0 AND ended = messages AND counted_ms < ?1 ORDER BY counted_ms LIMIT ?2"
            ),
            before(UNSENT_AFTER),
        )?;
        let unsent = unsent.iter().map(|row| self.completed(row)).collect::<Result<_, _>>()?;
        Ok(Swept { unsent, dropped })
    }

    fn completion(&self, GroupId { key, name }: &GroupId) -> Result<Option<GroupRow>, Fault> {
        let select = format!("SELECT {COLUMNS} FROM completion WHERE key = ?1 AND name = ?2");
        let mut query = self.sql.prepare_cached(&select)?;
        Ok(query.query_row(params![key, name], GroupRow::read).optional()?)
    }

    fn completions(&self, select: &str, before_ms: i64) -> Result<Vec<GroupRow>, Fault> {
        let mut query = self.sql.prepare_cached(select)?;
        let rows = query.query_map(params![before_ms, MOST_SWEPT], GroupRow::read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn begin_completion(&self, group: &GroupId, messages: u32) -> Result<GroupRow, Fault> {
        let mut insert = self.sql.prepare_cached(
            "INSERT INTO completion (key, name, messages, began_ms, counted_ms)
             VALUES (:key, :name, :messages, :now, :now)",
        )?;
        let id = insert.insert(named_params! {
            ":key": group.key, ":name": group.name, ":messages": messages, ":now": self.now_ms,
        })?;
        self.add_entries(&group.key, 1)?;
        Ok(GroupRow { id, group: group.clone(), messages, ended: 0, sent: false })
    }

    fn completed(&self, row: &GroupRow) -> Result<CompleteGroup, Fault> {
        let mut query = self.sql.prepare_cached(
            "SELECT how, outcome, count(*) FROM member WHERE completion = ?1 GROUP BY how, outcome",
        )?;
        let mut rows = query.query([row.id])?;
        let (mut ends, mut outcomes) = (BTreeMap::new(), BTreeMap::new());
        while let Some(counted) = rows.next()? {
            let (Word(end), Word(outcome)): (Word<End>, Word<OutcomeKind>) =
                (counted.get(0)?, counted.get(1)?);
            let count: u32 = counted.get(2)?;
            *ends.entry(end).or_default() += u64::from(count);
            *outcomes.entry(outcome).or_default() += u64::from(count);
        }
        Ok(CompleteGroup { group: row.group.clone(), ends, outcomes })
    }

    /// Drops groups until there are few enough entries: first the oldest whose notification was sent, then the oldest of
    /// the key with the most entries, so that no key pushes out the groups of others. The group `but` stays: it has fewer
    /// than there may be.
    fn make_room(&self, but: i64, most: u64) -> Result<Vec<DroppedGroup>, Fault> {
        const LARGEST: &str = "key = (SELECT key FROM share ORDER BY entries DESC LIMIT 1)";
        let mut dropped = Vec::new();
        while self.total()? > most {
            let mut first = None;
            // The last: the key with the most entries has no other group.
            for which in ["sent = 1", LARGEST, "sent = 0"] {
                let select = format!(
                    "SELECT {COLUMNS} FROM completion WHERE {which} AND id != ?1 ORDER BY began_ms LIMIT 1"
                );
                first = self.sql.prepare_cached(&select)?.query_row([but], GroupRow::read).optional()?;
                if first.is_some() {
                    break;
                }
            }
            let Some(row) = first else { break };
            self.delete_completion(&row)?;
            dropped.extend(row.dropped());
        }
        Ok(dropped)
    }

    fn delete_completion(&self, row: &GroupRow) -> Result<(), Fault> {
        self.delete_members(row)?;
        self.sql.prepare_cached("DELETE FROM completion WHERE id = ?1")?.execute([row.id])?;
        self.add_entries(&row.group.key, -1)
    }

    fn delete_members(&self, row: &GroupRow) -> Result<(), Fault> {
        let deleted =
            self.sql.prepare_cached("DELETE FROM member WHERE completion = ?1")?.execute([row.id])?;
        self.add_entries(&row.group.key, -i64::try_from(deleted).unwrap_or(i64::MAX))
    }

    fn add_entries(&self, key: &str, number: i64) -> Result<(), Fault> {
        self.sql.prepare_cached("UPDATE total SET entries = entries + ?1")?.execute([number])?;
        let mut share = self.sql.prepare_cached(
            "INSERT INTO share (key, entries) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET entries = entries + excluded.entries",
        )?;
        share.execute(params![key, number])?;
        if number < 0 {
            let mut none = self.sql.prepare_cached("DELETE FROM share WHERE key = ?1 AND entries <= 0")?;
            none.execute([key])?;
        }
        Ok(())
    }

    fn total(&self) -> Result<u64, Fault> {
        let mut query = self.sql.prepare_cached("SELECT entries FROM total")?;
        let entries: i64 = query.query_row([], |row| row.get(0))?;
        Ok(u64::try_from(entries).unwrap_or_default())
    }
}
