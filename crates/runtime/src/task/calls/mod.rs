//! Counts the tasks' calls to stores, queues and key-value buckets and their HTTP requests, with the results.
//!
//! The calls of all tasks of a component are counted together, in a table of fixed size for each alias, so that guests
//! can't make the counts grow.

mod words;

pub use self::words::{BucketCall, CallResult, StoreCall};

use crate::ports::keyvalue::KeyValueError;
use crate::ports::object_store::StoreError;
use crate::ports::queue::QueueError;
use crate::task::grant::Grants;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

const BUCKET_CALLS: usize = BucketCall::ALL.len();
const STORE_CALLS: usize = StoreCall::ALL.len();
const RESULTS: usize = CallResult::ALL.len();

/// Counts of the calls to all granted stores, queues and buckets, and of HTTP requests.
#[derive(Debug, Default)]
pub struct HostCalls {
    stores: BTreeMap<String, StoreCounts>,
    queues: BTreeMap<String, QueueCounts>,
    buckets: BTreeMap<String, BucketCounts>,
    http: Option<HttpCounts>,
}

/// Counts of the calls to one store.
#[derive(Debug, Default)]
pub struct StoreCounts {
    calls: [[AtomicU64; RESULTS]; STORE_CALLS],
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    /// The key of the object that was read last; empty if none was.
    last_read: Mutex<String>,
}

/// Counts of the calls to one key-value bucket.
#[derive(Debug, Default)]
pub struct BucketCounts {
    calls: [[AtomicU64; RESULTS]; BUCKET_CALLS],
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
}

/// Counts of the messages sent to one queue.
#[derive(Debug, Default)]
pub struct QueueCounts {
    messages: [AtomicU64; RESULTS],
    bytes: AtomicU64,
}

/// Counts of HTTP requests.
#[derive(Debug, Default)]
pub struct HttpCounts {
    requests: [AtomicU64; RESULTS],
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
}

impl HostCalls {
    pub(crate) fn of(grants: &Grants) -> Self {
        Self {
            stores: grants.stores.keys().map(|alias| (alias.clone(), StoreCounts::default())).collect(),
            queues: grants.queues.keys().map(|alias| (alias.clone(), QueueCounts::default())).collect(),
            buckets: grants.buckets.keys().map(|alias| (alias.clone(), BucketCounts::default())).collect(),
            http: grants.http.as_ref().map(|_| HttpCounts::default()),
        }
    }

    /// Iterates over the stores with their aliases.
    pub fn stores(&self) -> impl Iterator<Item = (&str, &StoreCounts)> {
        self.stores.iter().map(|(alias, counts)| (alias.as_str(), counts))
    }

    /// Iterates over the queues with their aliases.
    pub fn queues(&self) -> impl Iterator<Item = (&str, &QueueCounts)> {
        self.queues.iter().map(|(alias, counts)| (alias.as_str(), counts))
    }

    /// Iterates over the key-value buckets with their aliases.
    pub fn buckets(&self) -> impl Iterator<Item = (&str, &BucketCounts)> {
        self.buckets.iter().map(|(alias, counts)| (alias.as_str(), counts))
    }

    pub(crate) fn bucket_answered<T>(
        &self,
        bucket: &str,
        call: BucketCall,
        answer: &Result<T, KeyValueError>,
    ) -> CallResult {
        let result = CallResult::of_bucket(answer);
        if let Some(counts) = self.buckets.get(bucket) {
            add(&counts.calls[call as usize][result as usize], 1);
        }
        result
    }

    pub(crate) fn bucket_read(&self, bucket: &str, bytes: u64) {
        if let Some(counts) = self.buckets.get(bucket) {
            add(&counts.bytes_read, bytes);
        }
    }

    pub(crate) fn bucket_written(&self, bucket: &str, bytes: u64) {
        if let Some(counts) = self.buckets.get(bucket) {
            add(&counts.bytes_written, bytes);
        }
    }

    /// Returns the counts of HTTP requests, if there is a grant for them.
    pub fn http(&self) -> Option<&HttpCounts> {
        self.http.as_ref()
    }

    /// Records the result of an HTTP request.
    pub(crate) fn requested(&self, result: CallResult) {
        if let Some(counts) = &self.http {
            add(&counts.requests[result as usize], 1);
        }
    }

    pub(crate) fn http_sent(&self, bytes: u64) {
        if let Some(counts) = &self.http {
            add(&counts.bytes_sent, bytes);
        }
    }

    pub(crate) fn http_received(&self, bytes: u64) {
        if let Some(counts) = &self.http {
            add(&counts.bytes_received, bytes);
        }
    }

    pub(crate) fn answered<T>(
        &self,
        store: &str,
        call: StoreCall,
        answer: &Result<T, StoreError>,
    ) -> CallResult {
        let result = CallResult::of_store(answer);
        if let Some(counts) = self.stores.get(store) {
            add(&counts.calls[call as usize][result as usize], 1);
        }
        result
    }

    /// Records that an object's content was opened for reading.
    pub(crate) fn has_read(&self, store: &str, key: &str) {
        if let Some(counts) = self.stores.get(store) {
            key.clone_into(&mut counts.last_read.lock());
        }
    }

    /// Returns the key of the object that was read last in this store.
    pub(crate) fn last_read(&self, store: &str) -> Option<String> {
        let counts = self.stores.get(store)?;
        let key = counts.last_read.lock().clone();
        (!key.is_empty()).then_some(key)
    }

    pub(crate) fn read(&self, store: &str, bytes: u64) {
        if let Some(counts) = self.stores.get(store) {
            add(&counts.bytes_read, bytes);
        }
    }

    pub(crate) fn written(&self, store: &str, bytes: u64) {
        if let Some(counts) = self.stores.get(store) {
            add(&counts.bytes_written, bytes);
        }
    }

    /// Records the result of sending a message.
    pub(crate) fn sent<T>(&self, queue: &str, answer: &Result<T, QueueError>) -> CallResult {
        let result = CallResult::of_queue(answer);
        if let Some(counts) = self.queues.get(queue) {
            add(&counts.messages[result as usize], 1);
        }
        result
    }

    pub(crate) fn sent_bytes(&self, queue: &str, bytes: u64) {
        if let Some(counts) = self.queues.get(queue) {
            add(&counts.bytes, bytes);
        }
    }
}

impl StoreCounts {
    /// Returns the number of calls of this kind with this result. Calls that a task didn't wait for aren't counted.
    pub fn calls(&self, call: StoreCall, result: CallResult) -> u64 {
        self.calls[call as usize][result as usize].load(Ordering::Relaxed)
    }

    /// Returns the bytes of object content read.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Returns the bytes of object content written, including that of objects that were never completed.
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written.load(Ordering::Relaxed)
    }
}

impl BucketCounts {
    /// Returns the number of calls of this kind with this result; a batch is one call.
    pub fn calls(&self, call: BucketCall, result: CallResult) -> u64 {
        self.calls[call as usize][result as usize].load(Ordering::Relaxed)
    }

    /// Returns the bytes of values read.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Returns the bytes of keys and values written, whatever the result.
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written.load(Ordering::Relaxed)
    }
}

impl QueueCounts {
    /// Returns the number of messages with this result; each message of a batch counts.
    pub fn messages(&self, result: CallResult) -> u64 {
        self.messages[result as usize].load(Ordering::Relaxed)
    }

    /// Returns the bytes of messages with their attributes, whatever the result.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl HttpCounts {
    /// Returns the number of requests with this result: `ok` for any response, `access-denied` for a request without a
    /// grant or to a refused address, `invalid` for one that can't be sent, and `unavailable` without a response.
    pub fn requests(&self, result: CallResult) -> u64 {
        self.requests[result as usize].load(Ordering::Relaxed)
    }

    /// Returns the bytes of requests, heads and bodies.
    pub fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Ordering::Relaxed)
    }

    /// Returns the bytes of responses, heads and bodies.
    pub fn bytes_received(&self) -> u64 {
        self.bytes_received.load(Ordering::Relaxed)
    }
}

fn add(count: &AtomicU64, number: u64) {
    count.fetch_add(number, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::memory::MemoryQueue;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn what_was_not_granted_is_not_counted() {
        let mut grants = Grants::default();
        let queue = Arc::new(MemoryQueue::new("q", Duration::from_secs(1)));
        grants.queues.insert("next".into(), queue);
        let calls = HostCalls::of(&grants);
        calls.sent("next", &Ok(()));
        calls.sent("next", &Err::<(), _>(QueueError::Unavailable("x".into())));
        calls.sent("invented by a guest", &Ok(()));
        calls.answered("invented too", StoreCall::Get, &Ok(()));
        let queues: Vec<_> = calls.queues().collect();
        assert_eq!((queues.len(), calls.stores().count()), (1, 0));
        let (alias, counts) = queues[0];
        assert_eq!(alias, "next");
        assert_eq!(
            [CallResult::Ok, CallResult::Unavailable, CallResult::Invalid].map(|r| counts.messages(r)),
            [1, 1, 0]
        );
    }
}
