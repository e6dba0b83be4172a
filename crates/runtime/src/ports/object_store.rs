//! The object stores that tasks may be granted, as the runtime sees them.
//!
//! A backend knows nothing of grants: the host interface checks alias, mode and key, and hands on keys that are
//! relative to the store it opened. Whole-object reads and writes are composed above this trait.

pub use crate::model::limits::{Held, MAX_KEY_BYTES, MAX_METADATA_BYTES, MAX_PAGE};

use async_trait::async_trait;
use bytes::Bytes;
use std::any::Any;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// A store of objects. Every call may be made from several tasks at once.
///
/// Dropping the future of a call abandons it: a write then either took place as a whole or leaves nothing. What can't be
/// stopped goes on, so an implementation bounds how much of that there is at once.
#[async_trait]
pub trait ObjectStore: Any + Send + Sync {
    /// Where it is, as a URL that ends with `/`: an object's URL is this and its key. It names no secret.
    fn url(&self) -> &str;

    /// What a reader holds while it's open, at most: of bytes, what has arrived for it, here and in the system.
    fn reader_holds(&self) -> Held {
        Held { bytes: 0, files: 1 }
    }

    /// What a writer holds while it's open, at most: of bytes, what isn't sent yet.
    fn writer_holds(&self) -> Held {
        Held { bytes: 0, files: 1 }
    }

    /// Waits until all is closed and removed that was open when its task ended.
    async fn clear_away(&self) {}

    /// Checks that the store can be read, and written if `write`, at the price of one cheap request.
    async fn probe(&self, write: bool) -> Result<(), StoreError>;

    /// What is known of an object.
    async fn head(&self, key: &str, version: Option<&str>) -> Result<ObjectInfo, StoreError>;

    /// Opens an object's content, or a range of it; a range that reaches beyond the end is cut there.
    async fn read(
        &self,
        key: &str,
        version: Option<&str>,
        range: Option<Range<u64>>,
    ) -> Result<Box<dyn ObjectReader>, StoreError>;

    /// Begins to write an object. Nothing is visible before [`ObjectWriter::finish`].
    async fn write(&self, key: &str, options: PutOptions) -> Result<Box<dyn ObjectWriter>, StoreError>;

    /// Objects whose keys start with `prefix`, in the order of the keys' bytes, at most `limit`: with 0 none, and no
    /// continuation.
    async fn list(
        &self,
        prefix: &str,
        continuation: Option<&str>,
        limit: usize,
    ) -> Result<ObjectPage, StoreError>;

    /// Deletes an object, durably; also succeeds if there is none.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Copies an object to another store of the same service, content type and metadata included, without moving its
    /// content through this process, if the transfer allows for it. `None`: this store can't do that, and the caller copies
    /// by reading and writing.
    async fn copy(
        &self,
        key: &str,
        version: Option<&str>,
        to: &dyn ObjectStore,
        to_key: &str,
        condition: &Condition,
        transfer: &Transfer,
    ) -> Option<Result<Result<ObjectInfo, TooMuch>, StoreError>> {
        let _ = (key, version, to, to_key, condition, transfer);
        None
    }
}

/// The content of one object, front to back.
#[async_trait]
pub trait ObjectReader: Send {
    /// What is known of the object (its whole size, also if a range is read).
    fn info(&self) -> &ObjectInfo;

    /// The next bytes, at most `max` of them (which is at least 1); empty at the end, and only there.
    async fn read(&mut self, max: usize) -> Result<Bytes, StoreError>;
}

/// An object being written. Dropped unfinished, it leaves nothing behind.
#[async_trait]
pub trait ObjectWriter: Send {
    /// Appends to the content. After an error only dropping the writer makes sense.
    async fn write(&mut self, content: Bytes) -> Result<(), StoreError>;

    /// Makes the object visible in one step, content and metadata. When it returns, the object is durable.
    async fn finish(self: Box<Self>) -> Result<ObjectInfo, StoreError>;
}

/// What is known of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key, relative to the store.
    pub key: String,
    /// In bytes.
    pub size: u64,
    /// Changes whenever the content changes.
    pub etag: Option<String>,
    /// Where the store keeps versions.
    pub version: Option<String>,
    /// Its media type.
    pub content_type: Option<String>,
    /// What the writer put beside the content.
    pub metadata: Vec<(String, String)>,
    /// When it was written.
    pub modified_at: Option<SystemTime>,
}

/// Part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectPage {
    /// In the order of the keys' bytes.
    pub objects: Vec<ObjectSummary>,
    /// For the next call; `None`: this was the last page.
    pub continuation: Option<String>,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectSummary {
    /// Its key, relative to the store.
    pub key: String,
    /// In bytes.
    pub size: u64,
    /// Changes whenever the content changes.
    pub etag: Option<String>,
    /// When it was written.
    pub modified_at: Option<SystemTime>,
}

/// How to write an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// Its media type.
    pub content_type: Option<String>,
    /// Kept beside the content.
    pub metadata: Vec<(String, String)>,
    /// When the write may take place.
    pub condition: Condition,
}

/// An object isn't copied, as it has more bytes than may be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch;

/// A call that moves an object, however large: how much it may move, what it has moved, and since when nothing came of it.
/// Shared by who carries it out and who waits for it, so that what was moved is known however the call ends.
#[derive(Debug)]
pub struct Transfer {
    most: u64,
    moved: AtomicU64,
    began_at: Instant,
    /// When the last bytes came, or those are due that a service moves by itself: nanoseconds after that.
    got_on: AtomicU64,
}

/// A service that copies more slowly than that, in bytes a second, doesn't get on.
const SERVICE_RATE: u64 = 16 << 20;

impl Transfer {
    /// One that may move so many bytes.
    pub fn of_at_most(most: u64) -> Self {
        Self { most, moved: AtomicU64::new(0), began_at: Instant::now(), got_on: AtomicU64::new(0) }
    }

    /// So many bytes more are moved.
    ///
    /// # Errors
    ///
    /// They are too many, and don't count.
    pub fn moves(&self, bytes: u64) -> Result<(), TooMuch> {
        self.takes(bytes, Duration::ZERO)
    }

    /// A service is asked to move so many bytes by itself: they count, whether it does or not, and take a while.
    ///
    /// # Errors
    ///
    /// They are too many, and don't count.
    pub fn moves_within(&self, bytes: u64) -> Result<(), TooMuch> {
        self.takes(bytes, Duration::from_secs(bytes / SERVICE_RATE))
    }

    fn takes(&self, bytes: u64, time: Duration) -> Result<(), TooMuch> {
        let more = |moved: u64| moved.checked_add(bytes).filter(|&moved| moved <= self.most);
        self.moved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(|_| TooMuch)?;
        let due = self.began_at.elapsed().saturating_add(time);
        self.got_on.store(u64::try_from(due.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(())
    }

    /// The bytes that were moved.
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// For how long nothing has come of it.
    pub fn idle(&self) -> Duration {
        self.began_at.elapsed().saturating_sub(Duration::from_nanos(self.got_on.load(Ordering::Relaxed)))
    }
}

/// When a write may take place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// In any case.
    #[default]
    Always,
    /// Only if there is no object of that key. Of several such writes at once, one succeeds.
    IfAbsent,
    /// Only if the object's etag is this one.
    IfMatch(String),
}

/// Why a call to a store failed. The texts are for the operator, who knows the key from the context; that of
/// [`StoreError::Invalid`] is handed to the guest: it names neither the store's place nor anything secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No such object.
    #[error("there is no such object")]
    NotFound,
    /// The store refuses this to the worker.
    #[error("{0}")]
    AccessDenied(String),
    /// The object is larger than the store allows.
    #[error("{0}")]
    TooLarge(String),
    /// The condition of a write didn't hold.
    #[error("the object's state doesn't meet the condition")]
    PreconditionFailed,
    /// The store can't be reached or refuses work for now: another try may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// Somebody else changes the same object at this moment. Another try may succeed, but the store is well: whoever writes
    /// objects could make it happen again and again.
    #[error("{0}")]
    Conflict(String),
    /// The request can't be carried out, now or later: a key that this store can't hold, a store that is a file.
    #[error("{0}")]
    Invalid(String),
}
