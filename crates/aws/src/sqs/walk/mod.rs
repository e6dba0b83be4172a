//! Walks over a queue of SQS, which shows a message only to its receiver.
//!
//! A walk receives messages with a visibility timeout that outlasts it, so that each message comes once. It holds the
//! receipt of every message until it has deleted the message. However the walk ends, it makes the messages that it
//! still holds visible again. Only a kill leaves them hidden, until their visibility timeout ends.

mod calls;
mod routes;
#[cfg(test)]
mod tests;

pub(super) use self::calls::Calls;
pub(super) use self::routes::Routes;

use super::convert;
use aws_sdk_sqs::types::Message as SqsMessage;
use futures_util::future::join_all;
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};
use wasmrun_runtime::model::message::MAX_BATCH;
use wasmrun_runtime::ports::queue::{QueueError, Receipt};
use wasmrun_runtime::ports::walk::{Found, Walk, WalkAction, WalkEnd, Walked};

/// Time for making messages visible again after the walk's own time.
const RELEASE_TIME: Duration = Duration::from_secs(60);
/// Number of empty receives in a row after which the queue has no more visible messages: a receive may miss some.
const EMPTY_RECEIVES: u32 = 2;
/// Number of concurrent calls that make messages visible again.
const RELEASE_CALLS: usize = 8;
/// Number of times in a row that no message could be made visible again, after which a walk gives up. The client tries
/// each call several times as well.
const RELEASE_FAILURES: u32 = 3;

/// A walk under way.
pub(super) struct Receiving<'a> {
    queue: &'a dyn Calls,
    walk: &'a Walk<'a>,
    /// Finds the queues to move to.
    routes: Option<Routes>,
    /// IDs of the messages received so far.
    seen: HashSet<String>,
    /// Receipts of the messages that the walk keeps invisible.
    held: HashSet<Receipt>,
    /// In a FIFO queue: the groups of which a message stayed. Those behind it stay as well.
    stuck: HashSet<String>,
    is_fifo: bool,
    walked: Walked,
}

/// A message that the filter selects.
struct Selected {
    found: Found,
    receipt: Receipt,
    /// The message as SQS delivered it, to be sent unchanged.
    original: SqsMessage,
}

impl Selected {
    fn group(&self) -> Option<&str> {
        self.found.message.group.as_deref()
    }
}

impl<'a> Receiving<'a> {
    pub(super) fn new(
        queue: &'a dyn Calls,
        walk: &'a Walk<'a>,
        routes: Option<Routes>,
        is_fifo: bool,
    ) -> Self {
        let (seen, held, stuck, walked) = (HashSet::new(), HashSet::new(), HashSet::new(), Walked::default());
        Self { queue, walk, routes, seen, held, stuck, is_fifo, walked }
    }

    pub(super) async fn run(mut self) -> Walked {
        let end = self.receive_all(Instant::now()).await.unwrap_or_else(WalkEnd::Failed);
        self.release().await;
        Walked { end, ..self.walked }
    }

    async fn receive_all(&mut self, began: Instant) -> Result<WalkEnd, QueueError> {
        let (bounds, stop) = (self.walk.bounds, self.walk.stop);
        let mut empty = 0;
        while empty < EMPTY_RECEIVES {
            let left = bounds.time.saturating_sub(began.elapsed());
            let room = bounds.messages.saturating_sub(self.seen.len()).min(MAX_BATCH);
            if self.walk.is_over(&self.walked) {
                return Ok(WalkEnd::Limit);
            }
            if stop.is_cancelled() {
                return Ok(WalkEnd::Stopped);
            }
            if room == 0 {
                return Ok(WalkEnd::Messages);
            }
            if left.is_zero() {
                return Ok(WalkEnd::Time);
            }
            // Never dropped: the messages of a receive that nobody awaits would stay hidden.
            let received = self.queue.receive(room, left + RELEASE_TIME).await?;
            let selected = self.selected(received);
            empty = if selected.is_none() { empty + 1 } else { 0 };
            // The messages of the last receive are held by now.
            if stop.is_cancelled() {
                return Ok(WalkEnd::Stopped);
            }
            self.act(selected.unwrap_or_default()).await?;
        }
        Ok(WalkEnd::Complete)
    }

    /// Holds the received messages, and returns those that the filter selects, up to the limit. Returns `None` if no
    /// message is new.
    fn selected(&mut self, received: Vec<SqsMessage>) -> Option<Vec<Selected>> {
        let mut selected = Vec::new();
        let seen_before = self.seen.len();
        for original in received {
            let Some(receipt) = original.receipt_handle.clone().map(Receipt) else { continue };
            self.held.insert(receipt.clone());
            // A standard queue may deliver a message twice.
            let is_new = self.seen.insert(original.message_id.clone().unwrap_or_default());
            if !is_new || self.walk.is_over(&self.walked) {
                continue;
            }
            self.walked.looked_at += 1;
            let found = convert::found(original.clone());
            if self.walk.filter.selects(&found) {
                self.walked.selected += 1;
                selected.push(Selected { found, receipt, original });
            }
        }
        (self.seen.len() > seen_before).then_some(selected)
    }

    async fn act(&mut self, selected: Vec<Selected>) -> Result<(), QueueError> {
        match self.walk.action {
            WalkAction::Look(show) => {
                selected.iter().for_each(|selected| show(&selected.found));
                Ok(())
            }
            WalkAction::Drop => {
                let receipts: Vec<_> = selected.into_iter().map(|selected| selected.receipt).collect();
                self.delete(&receipts, |walked, error| walked.leave(|| error.to_string())).await
            }
            WalkAction::Redrive { .. } => self.redrive(selected).await,
        }
    }

    /// Deletes messages. `refused` records one that the queue doesn't delete.
    async fn delete(
        &mut self,
        receipts: &[Receipt],
        refused: fn(&mut Walked, &QueueError),
    ) -> Result<(), QueueError> {
        let mut failure = None;
        for (receipt, answer) in receipts.iter().zip(self.queue.delete(receipts).await) {
            match answer {
                Ok(()) => {
                    self.held.remove(receipt);
                    self.walked.done += 1;
                }
                Err(error) => {
                    refused(&mut self.walked, &error);
                    failure = failure.or(lasting(error));
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Sends messages to their queues, and then deletes those that were sent. Of each group of a FIFO queue, a message is
    /// sent when the one before it has arrived: each entry of a batch may fail alone.
    async fn redrive(&mut self, mut selected: Vec<Selected>) -> Result<(), QueueError> {
        while !selected.is_empty() {
            let mut groups = HashSet::new();
            let (first, behind) = selected.into_iter().partition(|selected| {
                let group = selected.group().filter(|_| self.is_fifo);
                group.is_none_or(|group| groups.insert(group.to_owned()))
            });
            if let Err(error) = self.redrive_at_once(first).await {
                self.leave_all(behind.len());
                return Err(error);
            }
            selected = behind;
        }
        Ok(())
    }

    /// Sends messages of which no two are of one group of a FIFO queue.
    async fn redrive_at_once(&mut self, selected: Vec<Selected>) -> Result<(), QueueError> {
        let Some(routes) = &self.routes else { return Ok(()) };
        let mut by_target: BTreeMap<String, Vec<Selected>> = BTreeMap::new();
        for selected in selected {
            if selected.group().is_some_and(|group| self.stuck.contains(group)) {
                let id = &selected.found.message.id;
                self.walked.leave(|| format!("the message {id} is behind one of its group that stays"));
                continue;
            }
            match routes.find(&selected.found) {
                Ok(url) => by_target.entry(url.to_owned()).or_default().push(selected),
                Err(reason) => {
                    self.walked.leave(|| reason);
                    self.stuck.extend(selected.found.message.group.filter(|_| self.is_fifo));
                }
            }
        }
        let mut targets = by_target.into_iter();
        while let Some((url, selected)) = targets.next() {
            if let Err(error) = self.send_and_delete(&url, selected).await {
                self.leave_all(targets.map(|(_, selected)| selected.len()).sum());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Counts messages that stay because the walk ends.
    fn leave_all(&mut self, number: usize) {
        (0..number).for_each(|_| self.walked.leave(|| "the walk ended before it came to the message".into()));
    }

    async fn send_and_delete(&mut self, url: &str, selected: Vec<Selected>) -> Result<(), QueueError> {
        let group = |selected: &Selected| selected.group().filter(|_| self.is_fifo).map(str::to_owned);
        let (held, originals): (Vec<_>, Vec<_>) = selected
            .into_iter()
            .map(|selected| ((group(&selected), selected.receipt), selected.original))
            .unzip();
        let (mut sent, mut failure) = (Vec::new(), None);
        for ((group, receipt), answer) in held.into_iter().zip(self.queue.send(url, &originals).await) {
            match answer {
                Ok(()) => sent.push(receipt),
                Err(error) => {
                    self.stuck.extend(group);
                    self.walked.leave(|| format!("the queue {url} doesn't take a message: {error}"));
                    failure = failure.or(lasting(error));
                }
            }
        }
        // Also after a failure: what was sent mustn't stay here.
        let deleted = self.delete(&sent, |walked, _| walked.doubled += 1).await;
        failure.map_or(deleted, Err)
    }

    /// Makes the messages that the walk still holds visible again. Gives up when the queue fails altogether: more calls
    /// would only take more time.
    async fn release(&mut self) {
        let mut held: Vec<_> = self.held.drain().collect();
        let mut failures = 0;
        while !held.is_empty() && failures < RELEASE_FAILURES {
            let batches = held.split_off(held.len().saturating_sub(MAX_BATCH * RELEASE_CALLS));
            let calls = batches.chunks(MAX_BATCH).map(|batch| self.queue.release(batch));
            let answers = join_all(calls).await.into_iter().flatten();
            let failed = batches.iter().zip(answers).filter(|(_, answer)| is_hidden(answer));
            let before = held.len();
            held.extend(failed.map(|(receipt, _)| receipt.clone()));
            failures = if held.len() == before + batches.len() { failures + 1 } else { 0 };
        }
        self.walked.hidden = held.len() as u64;
    }
}

/// Returns whether a message is still invisible after a call that was to make it visible. With an expired receipt it is
/// visible, or somebody else has received it.
fn is_hidden(answer: &Result<(), QueueError>) -> bool {
    !matches!(answer, Ok(()) | Err(QueueError::ReceiptExpired))
}

/// Returns the error if it isn't one of the message alone, so that the walk can't go on.
fn lasting(error: QueueError) -> Option<QueueError> {
    let is_of_message = matches!(error, QueueError::ReceiptExpired | QueueError::InvalidMessage(_));
    (!is_of_message).then_some(error)
}
