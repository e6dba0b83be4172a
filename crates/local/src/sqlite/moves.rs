//! Messages that leave the queue for another: back to where they came from, or to another file.
//!
//! Between files there is no common transaction. A message is hidden here, written there, and deleted here once it
//! is durable there: a crash in between leaves it in both queues.

use super::address::{self, Address};
use super::attributes;
use super::rows::{Departure, MessageRow, Target};
use super::transaction::Transaction;
use super::{SqliteQueue, file::Fault};
use std::collections::HashMap;
use std::sync::Arc;
use wasmrun_runtime::message::{AttributeValue, OUTCOME_ATTRIBUTE};
use wasmrun_runtime::queue::{Queue, QueueError, Receipt};

/// So many messages move in one transaction: others wait meanwhile.
const CHUNK: usize = 200;

/// Where the messages of a chunk go, by sequence.
type Plan = HashMap<i64, Target>;

impl SqliteQueue {
    /// Moves messages to queues in other files and deletes them here; returns how many.
    pub(super) async fn depart(&self, departures: Vec<Departure>) -> Result<u64, QueueError> {
        let mut by_destination: HashMap<String, (Vec<MessageRow>, Vec<Receipt>)> = HashMap::new();
        for departure in departures {
            let (rows, receipts) = by_destination.entry(departure.to).or_default();
            rows.push(departure.message);
            receipts.push(departure.receipt);
        }
        let mut departed = 0;
        for (url, (rows, receipts)) in by_destination {
            self.peer(&url).await?.accept(rows).await?;
            for deleted in self.delete(&receipts).await {
                deleted?;
                departed += 1;
            }
        }
        Ok(departed)
    }

    async fn accept(&self, rows: Vec<MessageRow>) -> Result<(), QueueError> {
        let insert = move |transaction: &Transaction<'_>| {
            let queue = transaction.queue()?;
            rows.iter().try_for_each(|row| transaction.insert(&queue, row))
        };
        self.database.write(insert).await?;
        self.arrivals.notify_waiters();
        Ok(())
    }

    /// A queue in another file.
    async fn peer(&self, url: &str) -> Result<Arc<Self>, QueueError> {
        let mut peers = self.peers.lock().await;
        if let Some(peer) = peers.get(url) {
            return Ok(Arc::clone(peer));
        }
        let (clock, owned) = (self.clock.clone(), url.to_owned());
        let opened = tokio::task::spawn_blocking(move || Self::open_with(&owned, clock)).await;
        let peer = Arc::new(
            opened.map_err(|error| QueueError::Unavailable(format!("cannot open {url}: {error}")))??,
        );
        peers.insert(url.to_owned(), Arc::clone(&peer));
        Ok(peer)
    }

    /// Moves all visible messages that are there now back to where they came from.
    pub(super) async fn redrive_all(&self) -> Result<u64, QueueError> {
        let up_to = self.database.read(|transaction| transaction.last_sequence()).await?;
        let mut claims = HashMap::new();
        let mut moved = 0;
        loop {
            let look =
                move |transaction: &Transaction<'_>| transaction.next(&transaction.queue()?, CHUNK, up_to);
            let rows = self.database.read(look).await?;
            if rows.is_empty() {
                return Ok(moved);
            }
            let mut plan = Plan::new();
            for row in rows {
                plan.insert(row.sequence, self.origin(&row, &mut claims).await?);
            }
            let (at_once, departures) =
                self.database.write(move |transaction| redrive_chunk(transaction, &plan, up_to)).await?;
            moved += at_once + self.depart(departures).await?;
        }
    }

    /// Where a message came from: the file says so if it was moved by a receive; the worker says so in the attribute
    /// that it adds (`"queue"`), which is believed only if that queue indeed has this one as its dead-letter queue;
    /// otherwise it is the one queue of this file that does.
    async fn origin(
        &self,
        row: &MessageRow,
        claims: &mut HashMap<String, Option<Target>>,
    ) -> Result<Target, QueueError> {
        if let Some(source) = &row.source {
            return Ok(Target::from_column(source.clone()));
        }
        if let Some(claim) = claimed_origin(row) {
            if !claims.contains_key(&claim) {
                let believed = self.believe(&claim).await?;
                claims.insert(claim.clone(), believed);
            }
            if let Some(Some(target)) = claims.get(&claim) {
                return Ok(target.clone());
            }
        }
        let this = Target::Here(self.address.name.clone()).to_column();
        let sources = self.database.read(move |transaction| transaction.queue_names(Some(&this))).await?;
        match <[String; 1]>::try_from(sources) {
            Ok([name]) => Ok(Target::Here(name)),
            Err(sources) if sources.is_empty() => Err(QueueError::Unusable(format!(
                "the message {} in {} doesn't say where it came from, and no queue of this file has {} as its \
                 dead-letter queue",
                row.id, self.url, self.address.name
            ))),
            Err(sources) => Err(QueueError::Unusable(format!(
                "the message {} in {} doesn't say where it came from, and several queues have this as their \
                 dead-letter queue: {}",
                row.id,
                self.url,
                sources.join(", ")
            ))),
        }
    }

    async fn believe(&self, claim: &str) -> Result<Option<Target>, QueueError> {
        let Ok(claimed) = Address::existing(claim) else { return Ok(None) };
        let this = Target::Here(self.address.name.clone());
        if claimed.path == self.address.path {
            let name = claimed.name.clone();
            let row = self.database.read(move |transaction| transaction.queue_named(&name)).await?;
            let believed = row.and_then(|row| row.dead_letter).is_some_and(|(target, _)| target == this);
            return Ok(believed.then_some(Target::Here(claimed.name)));
        }
        let Ok(peer) = self.peer(&claimed.url()).await else { return Ok(None) };
        let believed =
            peer.attributes().await?.redrive.is_some_and(|redrive| redrive.dead_letter == self.url);
        Ok(believed.then(|| Target::Elsewhere(claimed.url())))
    }
}

fn claimed_origin(row: &MessageRow) -> Option<String> {
    let attributes = attributes::decode(&row.attributes, &row.id);
    let outcome = attributes.into_iter().find(|attribute| attribute.name == OUTCOME_ATTRIBUTE)?;
    let AttributeValue::Text(json) = outcome.value else { return None };
    let outcome: serde_json::Value = serde_json::from_str(&json).ok()?;
    outcome.get("queue")?.as_str().filter(|queue| address::is_url(queue)).map(str::to_owned)
}

/// Moves those of the next messages that the plan knows: others may have come, and some been received meanwhile.
fn redrive_chunk(
    transaction: &Transaction<'_>,
    plan: &Plan,
    up_to: i64,
) -> Result<(u64, Vec<Departure>), Fault> {
    let queue = transaction.queue()?;
    let mut moved = 0;
    let mut departures = Vec::new();
    for mut row in transaction.next(&queue, CHUNK, up_to)? {
        let Some(target) = plan.get(&row.sequence) else { continue };
        row.attributes = attributes::without(&row.attributes, OUTCOME_ATTRIBUTE, &row.id);
        match transaction.relocate(&queue, row, target, None)? {
            Some(departure) => departures.push(departure),
            None => moved += 1,
        }
    }
    Ok((moved, departures))
}
