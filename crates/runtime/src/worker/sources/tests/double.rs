//! Queues in memory that record their calls, and fail when they are told to.

use super::super::*;
use crate::model::message::OutgoingMessage;
use crate::model::usage::{TaskObserver, TaskRecord};
use crate::ports::memory::MemoryQueue;
use crate::ports::queue::{Delivery, QueueAttributes, Receipt};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use tokio_util::sync::CancellationToken;

const HOUR: Duration = Duration::from_secs(3600);

/// What all queues and tasks of a test record.
#[derive(Default)]
pub(super) struct Records {
    /// Messages that were received and whose task hasn't ended.
    ahead: AtomicUsize,
    pub(super) most_ahead: AtomicUsize,
    /// The queue of each task, in the order of their ends.
    pub(super) ended: Mutex<Vec<String>>,
    /// The IDs of deleted messages, by queue.
    pub(super) deleted: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl TaskObserver for Records {
    fn ended(&self, record: &TaskRecord<'_>) {
        self.ahead.fetch_sub(1, Ordering::Relaxed);
        self.ended.lock().push(record.queue.expect("there are several").to_owned());
    }
}

impl Records {
    pub(super) fn ended(&self) -> usize {
        self.ended.lock().len()
    }
}

/// A queue that records its calls, and refuses the receipts of other queues.
pub(super) struct Double {
    queue: MemoryQueue,
    records: Arc<Records>,
    /// The messages in flight, by receipt.
    in_flight: Mutex<BTreeMap<String, String>>,
    pub(super) receives: AtomicUsize,
    under_way: AtomicUsize,
    pub(super) most_under_way: AtomicUsize,
    pub(super) receives_fail: AtomicBool,
    pub(super) deletes_fail: AtomicBool,
}

impl Double {
    pub(super) fn new(name: &str, records: &Arc<Records>) -> Arc<Self> {
        Arc::new(Self {
            queue: MemoryQueue::new(name, HOUR),
            records: records.clone(),
            in_flight: Mutex::default(),
            receives: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
            receives_fail: AtomicBool::new(false),
            deletes_fail: AtomicBool::new(false),
        })
    }

    pub(super) async fn fill(&self, messages: usize) {
        self.fill_group(None, messages).await;
    }

    pub(super) async fn fill_group(&self, group: Option<&str>, messages: usize) {
        let group = group.map(str::to_owned);
        let message = OutgoingMessage { body: "x".into(), group, ..OutgoingMessage::default() };
        self.queue.send(&vec![message; messages]).await;
    }

    pub(super) fn fails(switch: &AtomicBool, fails: bool) {
        switch.store(fails, Ordering::Relaxed);
    }

    fn own(&self, receipts: &[Receipt]) -> Vec<Receipt> {
        let own = |receipt: &Receipt| {
            let own = receipt.0.strip_prefix(self.queue.url()).and_then(|rest| rest.strip_prefix(":/;=:"));
            Receipt(own.unwrap_or_else(|| panic!("{receipt} is of another queue")).to_owned())
        };
        receipts.iter().map(own).collect()
    }
}

#[async_trait]
impl Queue for Double {
    fn url(&self) -> &str {
        self.queue.url()
    }

    async fn attributes(&self) -> Result<QueueAttributes, QueueError> {
        self.queue.attributes().await
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        if self.receives_fail.load(Ordering::Relaxed) {
            return Err(QueueError::NotFound("gone".into()));
        }
        self.queue.depth().await
    }

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery>, QueueError> {
        self.receives.fetch_add(1, Ordering::Relaxed);
        if self.receives_fail.load(Ordering::Relaxed) {
            return Err(QueueError::NotFound("gone".into()));
        }
        let waits = usize::from(!wait.is_zero());
        let under_way = self.under_way.fetch_add(waits, Ordering::Relaxed) + waits;
        self.most_under_way.fetch_max(under_way, Ordering::Relaxed);
        let received = self.queue.receive(max, wait, stop).await;
        self.under_way.fetch_sub(waits, Ordering::Relaxed);
        let mut deliveries = received?;
        assert!(deliveries.len() <= if waits == 1 { 1 } else { max });
        let count = deliveries.len();
        let ahead = self.records.ahead.fetch_add(count, Ordering::Relaxed) + count;
        self.records.most_ahead.fetch_max(ahead, Ordering::Relaxed);
        for delivery in &mut deliveries {
            self.in_flight.lock().insert(delivery.receipt.0.clone(), delivery.message.id.clone());
            // A receipt may hold anything.
            delivery.receipt = Receipt(format!("{}:/;=:{}", self.url(), delivery.receipt));
        }
        Ok(deliveries)
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>> {
        let own = self.own(receipts);
        if self.deletes_fail.load(Ordering::Relaxed) {
            return vec![Err(QueueError::Unusable("access denied".into())); own.len()];
        }
        for receipt in &own {
            let id = self.in_flight.lock().remove(&receipt.0).expect("it is in flight");
            let mut deleted = self.records.deleted.lock();
            assert!(deleted.entry(self.url().to_owned()).or_default().insert(id), "deleted twice");
        }
        self.queue.delete(&own).await
    }

    async fn set_visibility(&self, messages: &[(Receipt, Duration)]) -> Vec<Result<(), QueueError>> {
        let (receipts, times): (Vec<_>, Vec<_>) = messages.iter().cloned().unzip();
        let own: Vec<_> = self.own(&receipts).into_iter().zip(times).collect();
        let released = own.iter().filter(|(_, time)| time.is_zero()).count();
        self.records.ahead.fetch_sub(released, Ordering::Relaxed);
        self.queue.set_visibility(&own).await
    }

    async fn send(&self, messages: &[OutgoingMessage]) -> Vec<Result<String, QueueError>> {
        self.queue.send(messages).await
    }
}
