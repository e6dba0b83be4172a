//! Messages that move to a queue in another file.
//!
//! Two files have no common transaction. A message is hidden here, written there, and deleted here once it is durable
//! there. A crash in between leaves the message in both queues.

use super::SqliteQueue;
use super::rows::{Departure, MessageRow};
use super::transaction::Transaction;
use std::collections::HashMap;
use std::sync::Arc;
use wasmrun_runtime::ports::queue::{Queue, QueueError, Receipt};

impl SqliteQueue {
    /// Moves messages to queues in other files and deletes them here. Returns the number of messages moved.
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

    /// Returns a queue in another file, and opens it if need be.
    pub(super) async fn peer(&self, url: &str) -> Result<Arc<Self>, QueueError> {
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
}
