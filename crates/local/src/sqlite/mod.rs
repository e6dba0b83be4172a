//! Queues with the semantics of SQS in a SQLite file.
//!
//! `sqlite:PATH` is the queue `main` of a file, `sqlite:PATH#NAME` another queue in it. Several processes may use a
//! file at once, on one machine and a local disk. A process may be killed at any moment. When a call succeeds, its
//! changes are on the disk (write-ahead log, `synchronous=FULL`).
//!
//! As in SQS: delivery is at least once; every delivery has a new receipt, and older receipts are invalid; a message
//! that has been received as often as the queue allows goes to the dead-letter queue instead of being received again. A
//! FIFO queue delivers the messages of a group in order, one at a time: the next message only after the previous one
//! was deleted or moved. One receive returns at most one message of a group.
//!
//! Beyond SQS: a receipt remains valid after the visibility timeout until the message is received again; a visibility
//! of more than twelve hours is cut to twelve hours; releasing a message takes the delivery off its receive count; the
//! dead-letter queue of a FIFO queue may be a standard one, and may be in another file. If the process dies while a
//! message moves between files, the message may be in both files. It is never in neither.
//!
//! | module          | owns                                                             |
//! |-----------------|------------------------------------------------------------------|
//! | `address`       | URLs                                                             |
//! | `settings`      | creating a queue                                                 |
//! | `file`          | recognising and opening the file, the meaning of SQLite's errors |
//! | `thread`        | the connection's thread, transactions, group commit              |
//! | `transaction`   | inside a transaction: sending, receiving, moving                 |
//! | `round`         | inside a transaction: going round the message groups             |
//! | `settle`        | inside a transaction: deleting, visibility                       |
//! | `survey`        | inside a transaction: depth, peeking, purging                    |
//! | `rows`          | queues and messages as the file holds them                       |
//! | `attributes`    | message attributes as the file holds them                        |
//! | `clock`         | the wall clock, which all processes share                        |
//! | `moves`         | messages that move between files                                 |
//! | `walk`          | walks: showing, moving back and deleting messages                |
//! | `redrive`       | where messages of a dead-letter queue are moved back to          |
//! | `bucket`        | a key-value bucket in a file of its own                          |
//! | `groups`        | counts of completion groups in a file of its own                 |
//! | `ledger`        | the ledger of `--once` in a file of its own                      |
//! | `budgets`       | accounts of budgets in a file of its own                         |

mod address;
mod attributes;
mod bucket;
mod budgets;
mod clock;
mod file;
mod groups;
mod ledger;
mod moves;
mod redrive;
mod round;
mod rows;
mod settings;
mod settle;
mod survey;
mod thread;
mod transaction;
mod walk;

#[cfg(test)]
mod tests;

pub use bucket::SqliteBucket;
pub use budgets::SqliteBudgets;
pub use groups::SqliteGroups;
pub use ledger::SqliteLedger;
pub use settings::{DeadLetter, PlannedQueue, QueueSettings};

use address::Address;
use async_trait::async_trait;
use clock::{Clock, from_ms};
use file::OpenFile;
use parking_lot::Mutex as SyncMutex;
use round::Place;
use rows::{QueueRow, Taken};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thread::Database;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use transaction::Transaction;
use wasmrun_runtime::model::message::{Message, OutgoingMessage};
use wasmrun_runtime::ports::queue::{
    Delivery, Depth, Groups, Queue, QueueAdmin, QueueAttributes, QueueError, Receipt, Redrive,
};
use wasmrun_runtime::ports::walk::{Walk, Walked};

/// Shortest interval at which a waiting receive checks for messages of other processes. A check costs some 20 µs.
pub const POLL_MIN: Duration = Duration::from_millis(50);
/// Longest interval, reached after some checks without a message.
pub const POLL_MAX: Duration = Duration::from_millis(250);
/// Maximum number of messages of one receive. Bounds the memory, as each message may be 1 MiB.
const MAX_RECEIVE: usize = 100;
/// Maximum number of messages sent in one transaction, so that other processes can write in between.
const MAX_SEND: usize = 500;
const MAX_PURGE: u32 = 10_000;
const MAX_PEEK: usize = 1000;

/// A queue in a SQLite file. Dropping it waits until the connection is closed.
#[derive(Debug)]
pub struct SqliteQueue {
    url: String,
    address: Address,
    clock: Clock,
    database: Database,
    /// Wakes the waiting receives of this process.
    arrivals: Notify,
    /// Queues in other files, opened when messages move to them.
    peers: Mutex<HashMap<String, Arc<SqliteQueue>>>,
    /// Where the next receive by group goes on.
    place: SyncMutex<Place>,
}

impl SqliteQueue {
    /// Opens a queue that exists.
    ///
    /// # Errors
    ///
    /// [`QueueError::NotFound`] if the file doesn't exist or has no such queue. [`QueueError::Unusable`] if the URL is
    /// not a queue's URL, or if the file is damaged, not a database, another application's or made by another version
    /// of wasmrun.
    pub fn open(url: &str) -> Result<Self, QueueError> {
        Self::open_with(url, Clock::System)
    }

    /// Opens a queue, and creates the queue and its file if they don't exist. The file's directory must exist. The
    /// second value says whether the queue is new.
    ///
    /// # Errors
    ///
    /// Those of [`SqliteQueue::open`], and [`QueueError::Unusable`] if the settings are invalid or differ from those of
    /// an existing queue.
    pub fn create(url: &str, settings: &QueueSettings) -> Result<(Self, bool), QueueError> {
        Self::create_with(url, settings, Clock::System)
    }

    /// Returns the queue that [`SqliteQueue::create`] would create with the default settings, or `None` if the queue
    /// exists. Changes nothing.
    ///
    /// # Errors
    ///
    /// Those of [`SqliteQueue::create`], as far as they can be known without creating anything.
    pub fn planned(url: &str) -> Result<Option<PlannedQueue>, QueueError> {
        let address = Address::to_create(url)?;
        let plan = PlannedQueue::new(&address)?;
        if !address.path.exists() {
            address.may_be_created()?;
            return Ok(Some(plan));
        }
        match Self::open(url) {
            Ok(_) => Ok(None),
            Err(QueueError::NotFound(_)) => Ok(Some(plan)),
            Err(error) => Err(error),
        }
    }

    /// Returns the file's path, absolute and without symbolic links. The file's log lies next to it.
    pub fn path(&self) -> &Path {
        &self.address.path
    }

    fn open_with(url: &str, clock: Clock) -> Result<Self, QueueError> {
        let address = Address::existing(url)?;
        let mut file = OpenFile::open(&address)?;
        settings::must_have(&mut file, &address, &clock)?;
        Self::start(address, clock, file)
    }

    fn create_with(url: &str, settings: &QueueSettings, clock: Clock) -> Result<(Self, bool), QueueError> {
        let address = Address::to_create(url)?;
        let wanted = settings.resolve(&address)?;
        let mut file = OpenFile::open_or_create(&address, &clock)?;
        let created = wanted.apply(&mut file, &address, &clock)?;
        Ok((Self::start(address, clock, file)?, created))
    }

    fn start(address: Address, clock: Clock, file: OpenFile) -> Result<Self, QueueError> {
        let database = Database::start(address.clone(), clock.clone(), Some(file))?;
        let url = address.url();
        Ok(Self {
            url,
            address,
            clock,
            database,
            arrivals: Notify::new(),
            peers: Mutex::default(),
            place: SyncMutex::default(),
        })
    }

    /// Receives the messages that are visible now, and moves away those that were received too often.
    async fn take(&self, max: usize, groups: Option<&Groups>) -> Result<Vec<Delivery>, QueueError> {
        let asked = Instant::now();
        let taken = match groups {
            None => self.database.write(move |transaction| transaction.take(max)).await?,
            Some(groups) => {
                let (groups, place) = (groups.clone(), self.place.lock().clone());
                let take = move |transaction: &Transaction<'_>| {
                    transaction.take_by_group(max, &groups, place.clone())
                };
                let (taken, place) = self.database.write(take).await?;
                *self.place.lock() = place;
                taken
            }
        };
        let Taken { messages, visibility, departures } = taken;
        // These messages stay in this queue for now. The error must not hide the messages that were received.
        if let Err(error) = self.depart(departures).await {
            tracing::warn!(queue = self.url, %error, "cannot move messages to the dead-letter queue");
        }
        let deliver = |(message, receipt)| Delivery { message, receipt, visible_at: asked + visibility };
        Ok(messages.into_iter().map(deliver).collect())
    }

    /// Receives at most `max` messages, or none if none arrive within `wait`.
    async fn receive_of(
        &self,
        max: usize,
        wait: Duration,
        stop: &CancellationToken,
        groups: Option<&Groups>,
    ) -> Result<Vec<Delivery>, QueueError> {
        let max = max.min(MAX_RECEIVE);
        let began = Instant::now();
        let mut pause = POLL_MIN;
        let mut lap_began = began;
        while max > 0 && !stop.is_cancelled() {
            // Listens before it checks for messages, so that a message that arrives after the check isn't missed.
            let mut arrival = std::pin::pin!(self.arrivals.notified());
            arrival.as_mut().enable();
            let mut next = self.database.read(|transaction| transaction.next_visible()).await?;
            if next == Some(Duration::ZERO) {
                let deliveries = self.take(max, groups).await?;
                if !deliveries.is_empty() {
                    return Ok(deliveries);
                }
                if groups.is_some() {
                    if !self.place.lock().visited_all {
                        continue;
                    }
                    // What is visible is left out, or was just taken. It may be due again at any time.
                    next = None;
                }
            }
            // A lap of many groups takes long. No more than a tenth of the time is spent on laps without a message.
            let rest = if groups.is_some() { lap_began.elapsed() * 9 } else { Duration::ZERO };
            let left = wait.saturating_sub(began.elapsed());
            if left.is_zero() {
                break;
            }
            let nap = pause.min(next.unwrap_or(POLL_MAX).max(from_ms(1))).max(rest).min(left);
            tokio::select! {
                () = tokio::time::sleep(nap) => pause = (pause * 2).min(POLL_MAX),
                () = arrival => {}
                () = stop.cancelled() => {}
            }
            lap_began = Instant::now();
        }
        Ok(Vec::new())
    }

    /// Settles all receipts in one transaction.
    async fn settle<T: Clone + Send + 'static>(
        &self,
        entries: &[T],
        settle: impl Fn(&Transaction<'_>, &QueueRow, &T) -> Result<Result<(), QueueError>, file::Fault>
        + Send
        + 'static,
    ) -> Vec<Result<(), QueueError>> {
        let owned = entries.to_vec();
        let outcome = self.database.write(move |transaction| {
            let queue = transaction.queue()?;
            owned.iter().map(|entry| settle(transaction, &queue, entry)).collect::<Result<Vec<_>, _>>()
        });
        let outcome = outcome.await;
        // A deletion may also make messages visible: the next ones of a group.
        self.arrivals.notify_waiters();
        outcome.unwrap_or_else(|error| vec![Err(error); entries.len()])
    }
}

#[async_trait]
impl Queue for SqliteQueue {
    fn url(&self) -> &str {
        &self.url
    }

    async fn attributes(&self) -> Result<QueueAttributes, QueueError> {
        let queue = self.database.read(|transaction| transaction.queue()).await?;
        let redrive = queue
            .dead_letter
            .map(|(target, max_receives)| Redrive { dead_letter: target.url(&self.address), max_receives });
        Ok(QueueAttributes {
            visibility_timeout: queue.visibility_timeout,
            max_visibility: None,
            redrive,
            fifo: queue.fifo,
        })
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        self.database.read(|transaction| transaction.depth()).await
    }

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery>, QueueError> {
        self.receive_of(max, wait, stop, None).await
    }

    async fn receive_by_group(
        &self,
        max: usize,
        wait: Duration,
        stop: &CancellationToken,
        groups: &Groups,
    ) -> Result<Vec<Delivery>, QueueError> {
        self.receive_of(max, wait, stop, Some(groups)).await
    }

    fn counts_releases(&self) -> bool {
        false
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>> {
        self.settle(receipts, |transaction, queue, receipt| transaction.delete(queue, receipt)).await
    }

    async fn set_visibility(&self, messages: &[(Receipt, Duration)]) -> Vec<Result<(), QueueError>> {
        self.settle(messages, |transaction, queue, (receipt, visibility)| {
            transaction.set_visibility(queue, receipt, *visibility)
        })
        .await
    }

    async fn release(&self, messages: &[(Receipt, Duration)]) -> Vec<Result<(), QueueError>> {
        self.settle(messages, |transaction, queue, (receipt, visibility)| {
            transaction.release(queue, receipt, *visibility)
        })
        .await
    }

    async fn send(&self, messages: &[OutgoingMessage]) -> Vec<Result<String, QueueError>> {
        let mut answers = Vec::with_capacity(messages.len());
        for chunk in messages.chunks(MAX_SEND) {
            let owned = chunk.to_vec();
            let sent = self.database.write(move |transaction| {
                let each = owned.iter().map(|message| match message.validate() {
                    Ok(()) => transaction.send(message),
                    Err(refusal) => Ok(Err(QueueError::InvalidMessage(refusal))),
                });
                each.collect::<Result<Vec<_>, _>>()
            });
            answers.extend(sent.await.unwrap_or_else(|error| vec![Err(error); chunk.len()]));
            self.arrivals.notify_waiters();
        }
        answers
    }
}

#[async_trait]
impl QueueAdmin for SqliteQueue {
    async fn peek(&self, max: usize) -> Result<Vec<Message>, QueueError> {
        let max = max.min(MAX_PEEK);
        self.database.read(move |transaction| transaction.peek(max)).await
    }

    async fn walk(&self, walk: &Walk<'_>) -> Result<Walked, QueueError> {
        self.walk_pages(walk).await
    }

    async fn purge(&self) -> Result<u64, QueueError> {
        let up_to = self.database.read(|transaction| transaction.last_sequence()).await?;
        let mut purged = 0;
        loop {
            match self.database.write(move |transaction| transaction.purge(up_to, MAX_PURGE)).await? {
                0 => return Ok(purged),
                some => purged += some,
            }
        }
    }
}
