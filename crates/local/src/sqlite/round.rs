//! Inside a transaction: the next messages of each group, going round the groups.
//!
//! No statement reads through the messages of a long queue: one index leads from one group to the next, and another one to
//! the visible messages of a group.

use super::file::Fault;
use super::rows::{MessageRow, QueueRow};
use super::transaction::Transaction;
use rusqlite::{OptionalExtension, params};
use wasmrun_runtime::ports::queue::Groups;

/// Maximum number of groups that one transaction visits, which blocks other writers.
const MOST_VISITED: usize = 100;
/// The name of the messages without a group in [`Groups`].
const UNGROUPED: &str = "-";

pub(super) const GROUP_AFTER: &str =
    "SELECT message_group FROM message WHERE queue = ?1 AND message_group > ?2
     ORDER BY message_group LIMIT 1";

/// The first receive by group makes this index: queues from which nobody receives so need not keep it up to date.
/// A program that doesn't know the index keeps it up to date as well.
pub(super) const GROUP_INDEX: &str = "CREATE INDEX IF NOT EXISTS message_next_in_group
     ON message (queue, message_group, visible_ms) WHERE blocked = 0";

/// The group is NULL for the messages without one. Reads no message that is in flight or delayed, of which one group may
/// have many.
pub(super) const VISIBLE_IN_GROUP: &str = "SELECT sequence FROM message INDEXED BY message_next_in_group
     WHERE queue = ?1 AND message_group IS ?4 AND blocked = 0 AND visible_ms <= ?2
     ORDER BY visible_ms, sequence LIMIT ?3";

/// The place of a receive in the round of all groups. The empty name stands for the messages without a group, which
/// come first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The group that was visited last.
    pub(super) group: String,
    /// The lap that visits all groups in search of a message, and isn't over yet.
    lap: Option<Lap>,
    /// Whether the last transaction ended a lap, and so all groups were visited.
    pub(super) visited_all: bool,
}

/// One lap of the round, which takes several transactions if there are many groups.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lap {
    /// The group that was visited last when it began.
    start: String,
    /// Whether it has gone on with the first group, after the last.
    is_second: bool,
}

impl Transaction<'_> {
    /// Returns at most `max` messages that would be delivered next, as many of each group as of the others, and moves
    /// the place on.
    pub(super) fn next_by_group(
        &self,
        queue: &QueueRow,
        max: usize,
        groups: &Groups,
        place: &mut Place,
    ) -> Result<Vec<MessageRow>, Fault> {
        let mut found: Vec<Vec<i64>> = Vec::new();
        let Place { mut group, lap, .. } = std::mem::take(place);
        let mut lap = lap.unwrap_or_else(|| Lap { start: group.clone(), is_second: false });
        for _ in 0..MOST_VISITED {
            let next = self.group_after(queue, &group)?;
            // After the last group, the round goes on with the first. It is over at the group at which it began, or, if
            // that is gone, at the next one or after the last group.
            let is_end = next.is_none();
            group = next.unwrap_or_default();
            place.visited_all = lap.is_second && is_end || (lap.is_second || is_end) && group >= lap.start;
            lap.is_second |= is_end;
            if group == lap.start || !place.visited_all {
                let visible = self.visible_in(queue, &group, max, groups)?;
                found.extend((!visible.is_empty()).then_some(visible));
            }
            if place.visited_all || found.len() == max {
                break;
            }
        }
        if place.visited_all {
            place.group = lap.start;
        } else {
            place.group = group;
            // Where a message is found, the next lap begins.
            place.lap = found.is_empty().then_some(lap);
        }
        // One message of each group, then a second one of each, and so on.
        let longest = found.iter().map(Vec::len).max().unwrap_or_default();
        let sequences = (0..longest).flat_map(|index| found.iter().filter_map(move |group| group.get(index)));
        sequences.take(max).map(|sequence| self.message(*sequence)).collect()
    }

    /// Returns the name of the group that follows; `None` after the last.
    fn group_after(&self, queue: &QueueRow, group: &str) -> Result<Option<String>, Fault> {
        let mut query = self.sql.prepare_cached(GROUP_AFTER)?;
        Ok(query.query_row(params![queue.id, group], |row| row.get(0)).optional()?)
    }

    /// Returns the first messages of a group that can be delivered.
    fn visible_in(
        &self,
        queue: &QueueRow,
        group: &str,
        max: usize,
        groups: &Groups,
    ) -> Result<Vec<i64>, Fault> {
        let name = if group.is_empty() { UNGROUPED } else { group };
        if groups.except.iter().any(|left_out| left_out == name) {
            return Ok(Vec::new());
        }
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let group = (!group.is_empty()).then_some(group);
        let mut query = self.sql.prepare_cached(VISIBLE_IN_GROUP)?;
        let rows = query.query_map(params![queue.id, self.now_ms, max, group], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn message(&self, sequence: i64) -> Result<MessageRow, Fault> {
        let mut query = self.sql.prepare_cached(&format!(
            "SELECT {} FROM message JOIN content USING (sequence) WHERE message.sequence = ?1",
            MessageRow::COLUMNS
        ))?;
        Ok(query.query_row([sequence], MessageRow::read)?)
    }
}
