//! Walks: shows messages, moves them back to their source queues, or deletes them.
//!
//! A walk reads the messages page by page, in the order of their arrival. It changes no receive count, and doesn't look
//! at messages that arrive meanwhile. In a FIFO queue it also looks at the messages behind the first of their group.

use super::SqliteQueue;
use super::attributes;
use super::file::Fault;
use super::redrive::Routes;
use super::rows::{Departure, MessageRow, Target};
use super::transaction::Transaction;
use std::collections::HashSet;
use wasmrun_runtime::model::message::OUTCOME_ATTRIBUTE;
use wasmrun_runtime::ports::queue::{Queue, QueueError};
use wasmrun_runtime::ports::walk::{Found, Walk, WalkAction, WalkEnd, Walked};

/// Number of messages of a page. They are moved in one transaction, which blocks other writers. Each message may be
/// 1 MiB.
const PAGE: usize = 100;

/// A walk under way.
struct Progress<'a> {
    queue: &'a SqliteQueue,
    walk: &'a Walk<'a>,
    /// Finds the queues to move to.
    routes: Option<Routes<'a>>,
    /// In a FIFO queue: the groups of which a message stayed. Those behind it stay as well.
    stuck: HashSet<String>,
    is_fifo: bool,
    walked: Walked,
}

impl SqliteQueue {
    pub(super) async fn walk_pages(&self, walk: &Walk<'_>) -> Result<Walked, QueueError> {
        let routes = match walk.action {
            WalkAction::Redrive { to } => Some(Routes::new(self, to).await?),
            WalkAction::Look(_) | WalkAction::Drop => None,
        };
        let is_fifo = self.attributes().await?.fifo;
        let stuck = HashSet::new();
        let mut progress = Progress { queue: self, walk, routes, stuck, is_fifo, walked: Walked::default() };
        let end = progress.all_pages().await.unwrap_or_else(WalkEnd::Failed);
        Ok(Walked { end, ..progress.walked })
    }
}

impl Progress<'_> {
    async fn all_pages(&mut self) -> Result<WalkEnd, QueueError> {
        let database = &self.queue.database;
        let up_to = database.read(|transaction| transaction.last_sequence()).await?;
        let mut after = i64::MIN;
        loop {
            if self.walk.stop.is_cancelled() {
                return Ok(WalkEnd::Stopped);
            }
            let rows = database.read(move |transaction| transaction.page(after, up_to, PAGE)).await?;
            let Some(last) = rows.last() else { return Ok(WalkEnd::Complete) };
            after = last.sequence;
            let selected = self.selected(rows);
            match self.walk.action {
                WalkAction::Look(show) => selected.iter().for_each(|(_, found)| show(found)),
                WalkAction::Redrive { .. } => self.redrive(selected).await?,
                WalkAction::Drop => self.delete(selected).await?,
            }
            if self.walk.is_over(&self.walked) {
                return Ok(WalkEnd::Limit);
            }
        }
    }

    /// Returns the messages of a page that the filter selects, up to the limit.
    fn selected(&mut self, rows: Vec<MessageRow>) -> Vec<(MessageRow, Found)> {
        let mut selected = Vec::new();
        for row in rows {
            if self.walk.is_over(&self.walked) {
                break;
            }
            self.walked.looked_at += 1;
            let found = row.found(&self.queue.address);
            if self.walk.filter.selects(&found) {
                self.walked.selected += 1;
                selected.push((row, found));
            }
        }
        selected
    }

    async fn redrive(&mut self, selected: Vec<(MessageRow, Found)>) -> Result<(), QueueError> {
        let Some(routes) = &mut self.routes else { return Ok(()) };
        let mut plan = Vec::new();
        for (row, found) in selected {
            if row.group.as_ref().is_some_and(|group| self.stuck.contains(group)) {
                self.walked.leave(|| format!("the message {} is behind one of its group that stays", row.id));
                continue;
            }
            match routes.find(&row, &found).await? {
                Ok(target) => plan.push((row, target)),
                Err(reason) => {
                    self.walked.leave(|| reason);
                    self.stuck.extend(row.group.filter(|_| self.is_fifo));
                }
            }
        }
        let planned = plan.len() as u64;
        let moving = move |transaction: &Transaction<'_>| carry_out(transaction, &plan);
        let (at_once, departures) = self.queue.database.write(moving).await?;
        self.leave_received(planned.saturating_sub(at_once + departures.len() as u64));
        self.walked.done += at_once;
        self.walked.done += self.queue.depart(departures).await?;
        Ok(())
    }

    async fn delete(&mut self, selected: Vec<(MessageRow, Found)>) -> Result<(), QueueError> {
        let sequences: Vec<_> = selected.iter().map(|(row, _)| row.sequence).collect();
        let planned = sequences.len() as u64;
        let deleting = move |transaction: &Transaction<'_>| transaction.delete_at_rest(&sequences);
        let deleted = self.queue.database.write(deleting).await?;
        self.leave_received(planned.saturating_sub(deleted));
        self.walked.done += deleted;
        Ok(())
    }

    /// Records messages that a worker received after the walk looked at them.
    fn leave_received(&mut self, count: u64) {
        for _ in 0..count {
            self.walked.leave(|| "a worker received the message meanwhile".into());
        }
    }
}

/// Moves the planned messages, except those that were received since the plan was made.
fn carry_out(
    transaction: &Transaction<'_>,
    plan: &[(MessageRow, Target)],
) -> Result<(u64, Vec<Departure>), Fault> {
    let queue = transaction.queue()?;
    // All are checked first: a message that leaves for another file is hidden, and would hide those behind it.
    let at_rest = plan.iter().map(|(row, _)| transaction.is_at_rest(row.sequence));
    let at_rest = at_rest.collect::<Result<Vec<_>, _>>()?;
    let mut moved = 0;
    let mut departures = Vec::new();
    for ((row, target), _) in plan.iter().zip(at_rest).filter(|(_, at_rest)| *at_rest) {
        let row = MessageRow {
            attributes: attributes::without(&row.attributes, OUTCOME_ATTRIBUTE, &row.id),
            // As in SQS, the message starts again.
            sent_ms: transaction.now_ms,
            ..row.clone()
        };
        match transaction.relocate(&queue, row, target, None)? {
            Some(departure) => departures.push(departure),
            None => moved += 1,
        }
    }
    Ok((moved, departures))
}
