//! How often tasks called stores and queues, and what came of it.
//!
//! All tasks of a component count together, in tables of a fixed size for each alias: bounded whatever guests do.

use crate::model::host_error::Access;
use crate::ports::object_store::StoreError;
use crate::ports::queue::QueueError;
use crate::task::grant::Grants;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$of])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word that metrics use.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// What a task may ask of a store.
    StoreCall {
        /// An object's properties.
        Head = "head",
        /// A whole object.
        Get = "get",
        /// A part of an object.
        GetRange = "get-range",
        /// A reader of an object.
        Read = "read",
        /// The next part, of a reader.
        ReaderRead = "reader-read",
        /// A whole object is written.
        Put = "put",
        /// A writer of an object.
        Write = "write",
        /// The next part, to a writer.
        WriterWrite = "writer-write",
        /// All is written.
        WriterFinish = "writer-finish",
        /// A page of a listing.
        List = "list",
        /// An object is deleted.
        Delete = "delete",
        /// An object is copied, from this store.
        Copy = "copy",
    }
}

words! {
    /// What a store or a queue answered.
    CallResult {
        /// It did what was asked.
        Ok = "ok",
        /// There is no such object.
        NotFound = "not-found",
        /// The worker may not.
        AccessDenied = "access-denied",
        /// The object is larger than is allowed.
        TooLarge = "too-large",
        /// The condition doesn't hold.
        PreconditionFailed = "precondition-failed",
        /// It can't be done now.
        Unavailable = "unavailable",
        /// It can't be done as it was asked.
        Invalid = "invalid",
    }
}

impl StoreCall {
    /// Whether it opens an object's content.
    pub(crate) fn opens_content(self) -> bool {
        matches!(self, Self::Get | Self::GetRange | Self::Read)
    }

    /// What it uses the store for.
    pub(crate) fn access(self) -> Access {
        match self {
            Self::Head | Self::Get | Self::GetRange | Self::Read | Self::ReaderRead => Access::Read,
            Self::List => Access::List,
            Self::Put | Self::Write | Self::WriterWrite | Self::WriterFinish | Self::Delete | Self::Copy => {
                Access::Write
            }
        }
    }
}

const STORE_CALLS: usize = StoreCall::ALL.len();
const RESULTS: usize = CallResult::ALL.len();

/// What tasks have asked of the stores and queues that were granted.
#[derive(Debug, Default)]
pub struct HostCalls {
    stores: BTreeMap<String, StoreCounts>,
    queues: BTreeMap<String, QueueCounts>,
}

/// What tasks have asked of one store.
#[derive(Debug, Default)]
pub struct StoreCounts {
    calls: [[AtomicU64; RESULTS]; STORE_CALLS],
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    /// The key of the object that was read last; empty: none was.
    last_read: Mutex<String>,
}

/// What tasks have sent to one queue.
#[derive(Debug, Default)]
pub struct QueueCounts {
    messages: [AtomicU64; RESULTS],
    bytes: AtomicU64,
}

impl HostCalls {
    pub(crate) fn of(grants: &Grants) -> Self {
        Self {
            stores: grants.stores.keys().map(|alias| (alias.clone(), StoreCounts::default())).collect(),
            queues: grants.queues.keys().map(|alias| (alias.clone(), QueueCounts::default())).collect(),
        }
    }

    /// By alias.
    pub fn stores(&self) -> impl Iterator<Item = (&str, &StoreCounts)> {
        self.stores.iter().map(|(alias, counts)| (alias.as_str(), counts))
    }

    /// By alias.
    pub fn queues(&self) -> impl Iterator<Item = (&str, &QueueCounts)> {
        self.queues.iter().map(|(alias, counts)| (alias.as_str(), counts))
    }

    pub(crate) fn answered<T>(&self, store: &str, call: StoreCall, answer: &Result<T, StoreError>) {
        if let Some(counts) = self.stores.get(store) {
            add(&counts.calls[call as usize][of_store(answer) as usize], 1);
        }
    }

    /// An object of this key was read.
    pub(crate) fn has_read(&self, store: &str, key: &str) {
        if let Some(counts) = self.stores.get(store) {
            key.clone_into(&mut counts.last_read.lock());
        }
    }

    /// The key of an object that was read in this store, the last of them.
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

    /// What became of a message that a task sends.
    pub(crate) fn sent<T>(&self, queue: &str, answer: &Result<T, QueueError>) {
        if let Some(counts) = self.queues.get(queue) {
            add(&counts.messages[of_queue(answer) as usize], 1);
        }
    }

    pub(crate) fn sent_bytes(&self, queue: &str, bytes: u64) {
        if let Some(counts) = self.queues.get(queue) {
            add(&counts.bytes, bytes);
        }
    }
}

impl StoreCounts {
    /// Calls of this kind that were answered so. What a task didn't wait for isn't counted.
    pub fn calls(&self, call: StoreCall, result: CallResult) -> u64 {
        self.calls[call as usize][result as usize].load(Ordering::Relaxed)
    }

    /// Content of objects.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Content of objects, also of those that were never finished.
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written.load(Ordering::Relaxed)
    }
}

impl QueueCounts {
    /// Messages that were answered so, each of a batch on its own.
    pub fn messages(&self, result: CallResult) -> u64 {
        self.messages[result as usize].load(Ordering::Relaxed)
    }

    /// Messages with their attributes, whatever the answer was.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

fn of_store<T>(answer: &Result<T, StoreError>) -> CallResult {
    match answer {
        Ok(_) => CallResult::Ok,
        Err(StoreError::NotFound) => CallResult::NotFound,
        Err(StoreError::AccessDenied(_)) => CallResult::AccessDenied,
        Err(StoreError::TooLarge(_)) => CallResult::TooLarge,
        Err(StoreError::PreconditionFailed) => CallResult::PreconditionFailed,
        Err(StoreError::Unavailable(_) | StoreError::Conflict(_)) => CallResult::Unavailable,
        Err(StoreError::Invalid(_)) => CallResult::Invalid,
    }
}

fn of_queue<T>(answer: &Result<T, QueueError>) -> CallResult {
    match answer {
        Ok(_) => CallResult::Ok,
        Err(QueueError::InvalidMessage(_)) => CallResult::Invalid,
        Err(QueueError::NotFound(_)) => CallResult::NotFound,
        Err(QueueError::Unusable(_)) => CallResult::AccessDenied,
        Err(QueueError::Unavailable(_) | QueueError::ReceiptExpired) => CallResult::Unavailable,
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

    #[test]
    fn each_kind_has_a_place_and_a_word_of_its_own() {
        for (index, call) in StoreCall::ALL.iter().enumerate() {
            assert_eq!(*call as usize, index);
        }
        for (index, result) in CallResult::ALL.iter().enumerate() {
            assert_eq!(*result as usize, index);
        }
    }
}
