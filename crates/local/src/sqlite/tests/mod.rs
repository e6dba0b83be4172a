//! Tests set their clock by hand, so none sleeps until a visibility timeout is over.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod abandoned;
mod bucket;
mod budgets;
mod delivery;
mod fifo;
mod files;
mod groups;
mod moves;
mod round;
mod walks;

use super::clock::Clock;
use super::*;
use std::sync::atomic::{AtomicI64, Ordering};
use tempfile::TempDir;
use wasmrun_runtime::ports::walk::{Filter, WalkAction, WalkBounds};

const NOW: Duration = Duration::ZERO;

/// A directory for queue files, and a clock.
struct World {
    dir: TempDir,
    time: Arc<AtomicI64>,
}

impl World {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), time: Arc::new(AtomicI64::new(1_700_000_000_000)) }
    }

    fn clock(&self) -> Clock {
        Clock::Manual(Arc::clone(&self.time))
    }

    fn url(&self, file: &str) -> String {
        format!("sqlite:{}/{file}", self.dir.path().display())
    }

    fn create(&self, file: &str, settings: &QueueSettings) -> SqliteQueue {
        SqliteQueue::create_with(&self.url(file), settings, self.clock()).unwrap().0
    }

    fn open(&self, file: &str) -> SqliteQueue {
        SqliteQueue::open_with(&self.url(file), self.clock()).unwrap()
    }

    /// Creates a standard queue with the default settings.
    fn queue(&self) -> SqliteQueue {
        self.create("jobs.db", &QueueSettings::default())
    }

    fn fifo(&self) -> SqliteQueue {
        self.create("fifo.db", &QueueSettings { fifo: Some(true), ..QueueSettings::default() })
    }

    /// Sets the clock forward, or back if `seconds` is negative.
    fn pass(&self, seconds: i64) {
        self.time.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

fn text(body: &str) -> OutgoingMessage {
    OutgoingMessage { body: body.into(), ..OutgoingMessage::default() }
}

fn of_group(group: &str, body: &str) -> OutgoingMessage {
    OutgoingMessage { group: Some(group.into()), ..text(body) }
}

async fn send(queue: &SqliteQueue, message: OutgoingMessage) -> String {
    queue.send(&[message]).await.remove(0).unwrap()
}

/// Receives the messages that are visible now.
async fn receive(queue: &SqliteQueue, max: usize) -> Vec<Delivery> {
    queue.receive(max, NOW, &CancellationToken::new()).await.unwrap()
}

async fn receive_one(queue: &SqliteQueue) -> Delivery {
    let mut deliveries = receive(queue, 1).await;
    assert_eq!(deliveries.len(), 1, "a message is there");
    deliveries.remove(0)
}

async fn delete(queue: &SqliteQueue, delivery: &Delivery) -> Result<(), QueueError> {
    queue.delete(std::slice::from_ref(&delivery.receipt)).await.remove(0)
}

async fn set_visibility(queue: &SqliteQueue, delivery: &Delivery, seconds: u64) -> Result<(), QueueError> {
    queue.set_visibility(&[(delivery.receipt.clone(), Duration::from_secs(seconds))]).await.remove(0)
}

async fn walk(queue: &SqliteQueue, filter: &Filter, action: WalkAction<'_>) -> Result<Walked, QueueError> {
    walk_some(queue, filter, action, None).await
}

async fn walk_some(
    queue: &SqliteQueue,
    filter: &Filter,
    action: WalkAction<'_>,
    limit: Option<u64>,
) -> Result<Walked, QueueError> {
    let bounds = WalkBounds { messages: 0, time: Duration::ZERO };
    queue.walk(&Walk { filter, action, limit, bounds, stop: &CancellationToken::new() }).await
}

fn bodies(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.message.body.as_str()).collect()
}
