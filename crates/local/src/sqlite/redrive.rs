//! Routes of redriven messages: back to the queues that they came from, or to the queue that the user names. A message
//! that can't be moved stays, with a reason.

use super::SqliteQueue;
use super::address::{self, Address};
use super::rows::{MessageRow, Target};
use crate::paths::is_same_file;
use std::collections::HashMap;
use wasmrun_runtime::ports::queue::{Queue, QueueError};
use wasmrun_runtime::ports::walk::Found;

/// Decides where messages go, and caches its findings about other queues.
pub(super) struct Routes<'a> {
    queue: &'a SqliteQueue,
    /// The queue that the user named for all messages.
    to: Option<Target>,
    /// The queue for messages that don't say where they came from, or the reason why these stay.
    silent: Result<Target, String>,
    /// Findings by the URL that a message names as its origin: that queue, `None` if it doesn't exist, or the reason
    /// why the message stays.
    claims: HashMap<String, Result<Option<Target>, String>>,
    /// Whether a destination is a FIFO queue, or the reason why it can't be used.
    fifo: HashMap<Target, Result<bool, String>>,
}

impl<'a> Routes<'a> {
    pub(super) async fn new(queue: &'a SqliteQueue, to: Option<&str>) -> Result<Self, QueueError> {
        let to = match to {
            Some(url) => Some(named(queue, url).await?),
            None => None,
        };
        let silent = only_source(queue).await?;
        Ok(Self { queue, to, silent, claims: HashMap::new(), fifo: HashMap::new() })
    }

    /// Returns the queue that a message goes to. The inner error is the reason why it stays.
    pub(super) async fn find(
        &mut self,
        row: &MessageRow,
        found: &Found,
    ) -> Result<Result<Target, String>, QueueError> {
        let target = match &self.to {
            Some(target) => target.clone(),
            None => match self.origin(row, found).await? {
                Ok(origin) => origin,
                Err(reason) => return Ok(Err(format!("the message {} {reason}", row.id))),
            },
        };
        let url = target.url(&self.queue.address);
        let reason = match self.is_fifo(&target).await? {
            Ok(true) if row.group.is_none() => "it is FIFO, and the message has no message group".to_owned(),
            Ok(_) => return Ok(Ok(target)),
            Err(reason) => reason,
        };
        Ok(Err(format!("the message {} cannot be moved to {url}: {reason}", row.id)))
    }

    /// Returns the queue that a message came from, from the first of these sources that names one:
    ///
    /// 1. The file, which records the origin of a message that a receive moved.
    /// 2. The worker's record. The message stays if that queue has another dead-letter queue.
    /// 3. The only queue of this file that has this one as its dead-letter queue.
    async fn origin(
        &mut self,
        row: &MessageRow,
        found: &Found,
    ) -> Result<Result<Target, String>, QueueError> {
        if let Some(source) = &row.source {
            return Ok(Ok(Target::from_column(source.clone())));
        }
        let Some(dead) = &found.dead_letter else { return Ok(self.silent.clone()) };
        let claim = &dead.queue;
        if !self.claims.contains_key(claim) {
            let examined = examine(self.queue, claim).await?;
            self.claims.insert(claim.clone(), examined);
        }
        match self.claims.get(claim) {
            Some(Ok(Some(target))) => Ok(Ok(target.clone())),
            Some(Err(reason)) => Ok(Err(reason.clone())),
            // The queue's file may have been moved since.
            Some(Ok(None)) | None => Ok(self.silent.clone()),
        }
    }

    async fn is_fifo(&mut self, target: &Target) -> Result<Result<bool, String>, QueueError> {
        if let Some(known) = self.fifo.get(target) {
            return Ok(known.clone());
        }
        let fifo = match target {
            _ if target.url(&self.queue.address) == self.queue.url => Err("it is there already".to_owned()),
            // A queue that was deleted by hand is created anew.
            Target::Here(name) => {
                let name = name.clone();
                let row = self.queue.database.read(move |transaction| transaction.queue_named(&name)).await?;
                Ok(row.is_some_and(|row| row.fifo))
            }
            Target::Elsewhere(url) => match self.queue.peer(url).await {
                Ok(peer) => peer.attributes().await.map(|attributes| attributes.fifo),
                Err(error) => Err(error),
            }
            .map_err(|error| error.to_string()),
        };
        self.fifo.insert(target.clone(), fifo.clone());
        Ok(fifo)
    }
}

/// Returns the queue that the user names. It must exist and differ from `queue`.
async fn named(queue: &SqliteQueue, url: &str) -> Result<Target, QueueError> {
    let address = Address::existing(url)?;
    let is_here = is_same_file(&address.path, &queue.address.path);
    if is_here && address.name == queue.address.name {
        return Err(QueueError::Unusable(format!(
            "the messages of {} cannot be moved to that queue itself: name another one",
            queue.url
        )));
    }
    if !is_here {
        queue.peer(&address.url()).await?;
        return Ok(Target::Elsewhere(address.url()));
    }
    let name = address.name.clone();
    match queue.database.read(move |transaction| transaction.queue_named(&name)).await? {
        Some(_) => Ok(Target::Here(address.name)),
        None => Err(address::not_found(&address.url())),
    }
}

/// Returns the only queue of this file that has this one as its dead-letter queue.
async fn only_source(queue: &SqliteQueue) -> Result<Result<Target, String>, QueueError> {
    let name = &queue.address.name;
    let this = Target::Here(name.clone()).to_column();
    let sources = queue.database.read(move |transaction| transaction.queue_names(Some(&this))).await?;
    Ok(<[String; 1]>::try_from(sources).map(|[name]| Target::Here(name)).map_err(|sources| {
        let why = match sources.as_slice() {
            [] => format!("no queue of this file has {name} as its dead-letter queue"),
            several => {
                format!("several queues have {name} as their dead-letter queue: {}", several.join(", "))
            }
        };
        format!("does not say where it came from, and {why}")
    }))
}

/// Finds out whether the queue that a message names as its origin has this one as its dead-letter queue.
async fn examine(queue: &SqliteQueue, claim: &str) -> Result<Result<Option<Target>, String>, QueueError> {
    let Ok(claimed) = Address::existing(claim) else { return Ok(Ok(None)) };
    let url = claimed.url();
    let (target, dead_letter) = if is_same_file(&claimed.path, &queue.address.path) {
        let name = claimed.name.clone();
        let row = queue.database.read(move |transaction| transaction.queue_named(&name)).await?;
        let Some(row) = row else { return Ok(Ok(None)) };
        (Target::Here(claimed.name), row.dead_letter.map(|(target, _)| target.url(&queue.address)))
    } else {
        let attributes = match queue.peer(&url).await {
            Ok(peer) => peer.attributes().await,
            Err(error) => Err(error),
        };
        match attributes {
            Ok(attributes) => {
                (Target::Elsewhere(url.clone()), attributes.redrive.map(|redrive| redrive.dead_letter))
            }
            Err(QueueError::NotFound(_)) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(format!("says that it came from {url}: {error}"))),
        }
    };
    if dead_letter.as_ref() == Some(&queue.url) {
        return Ok(Ok(Some(target)));
    }
    Ok(Err(format!("says that it came from {url}, but this is not that queue's dead-letter queue")))
}
