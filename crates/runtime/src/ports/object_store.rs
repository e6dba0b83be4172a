//! Traits of the object stores that tasks may be granted.
//!
//! A backend knows nothing of grants. The host interface checks alias, mode and key, and passes keys relative to the
//! opened store. Whole-object reads and writes are composed above these traits.

pub use crate::model::limits::{Footprint, MAX_KEY_BYTES, MAX_METADATA_BYTES, MAX_PAGE};

use super::staging::Staging;
use crate::model::host_error::Access;
use crate::model::limits::Limits;
use async_trait::async_trait;
use bytes::Bytes;
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Maximum number of bytes that one read of [`read_at_most`] asks for.
const PIECE_BYTES: usize = 1 << 20;

/// A store of objects. All methods may be called concurrently.
///
/// Dropping the future of a call abandons it: a write then either took place as a whole or leaves nothing. Work that
/// can't be stopped continues, so an implementation bounds how much of it there is at once.
#[async_trait]
pub trait ObjectStore: Any + Send + Sync {
    /// Returns the store's location as a URL that ends with `/`. An object's URL is this and its key. It contains no
    /// secret.
    fn url(&self) -> &str;

    /// Returns the part of this store whose keys begin with `prefix`, which ends with a slash. Keys, listings and
    /// continuations of the part are relative to it. Sends no request.
    fn part(&self, prefix: &str) -> Arc<dyn ObjectStore>;

    /// Returns whether two keys that differ only in upper and lower case always name two objects.
    fn tells_case(&self) -> bool {
        true
    }

    /// Returns the maximum that an open reader holds. Its bytes are those that have arrived, here and in the system.
    fn reader_holds(&self) -> Footprint {
        Footprint { bytes: 0, files: 1 }
    }

    /// Returns the maximum that an open writer holds. Its bytes are those that aren't sent yet.
    fn writer_holds(&self) -> Footprint {
        Footprint { bytes: 0, files: 1 }
    }

    /// Returns the store's staging area, if it has one.
    fn staging(&self) -> Option<&dyn Staging> {
        None
    }

    /// Checks, without a request, that the store can hold an object with this key. Other keys are refused when they are
    /// written or deleted, too.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`], whose text says why not.
    fn check_key(&self, key: &str) -> Result<(), StoreError> {
        let _ = key;
        Ok(())
    }

    /// Waits until everything that ended tasks left open is closed and removed.
    async fn clear_away(&self) {}

    /// Checks with one cheap request that the store can be read, and with `write` that it can be written.
    async fn probe(&self, write: bool) -> Result<(), StoreError>;

    /// Returns an object's metadata.
    async fn head(&self, key: &str, version: Option<&str>) -> Result<ObjectInfo, StoreError>;

    /// Opens an object's content, or a range of it. A range that reaches beyond the end is cut there.
    async fn read(
        &self,
        key: &str,
        version: Option<&str>,
        range: Option<Range<u64>>,
    ) -> Result<Box<dyn ObjectReader>, StoreError>;

    /// Begins to write an object. Nothing is visible before [`ObjectWriter::finish`].
    async fn write(&self, key: &str, options: PutOptions) -> Result<Box<dyn ObjectWriter>, StoreError>;

    /// Lists at most `limit` objects whose keys start with `prefix`, in the order of the keys' bytes. With a limit of 0
    /// the page has no objects and no continuation. `continuation` is that of the previous page, or any other text that is
    /// no longer than a key: the page has the keys after it.
    async fn list(
        &self,
        prefix: &str,
        continuation: Option<&str>,
        limit: usize,
    ) -> Result<ObjectPage, StoreError>;

    /// Deletes an object durably; succeeds if there is none.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Copies an object to another store, with content type, cache control and metadata, if the transfer allows for its
    /// size. The content moves through this process unless a service copies by itself. The transfer says which of the
    /// stores a failure comes from ([`Transfer::turn_to`]).
    async fn copy(
        &self,
        key: &str,
        version: Option<&str>,
        to: &dyn ObjectStore,
        to_key: &str,
        condition: &Condition,
        transfer: &Transfer,
    ) -> Result<Result<ObjectInfo, TooMuch>, StoreError> {
        copy_through(self, key, version, to, to_key, condition, transfer).await
    }
}

/// Copies an object through this process: reads it from one store, and writes it to another one.
///
/// # Errors
///
/// One of the stores fails, as the transfer says.
pub async fn copy_through<S: ObjectStore + ?Sized>(
    from: &S,
    key: &str,
    version: Option<&str>,
    to: &dyn ObjectStore,
    to_key: &str,
    condition: &Condition,
    transfer: &Transfer,
) -> Result<Result<ObjectInfo, TooMuch>, StoreError> {
    let mut reader = from.read(key, version, None).await?;
    let ObjectInfo { content_type, cache_control, metadata, .. } = reader.info().clone();
    let options = PutOptions { content_type, cache_control, metadata, condition: condition.clone() };
    transfer.turn_to(Access::Write);
    let mut writer = to.write(to_key, options).await?;
    loop {
        transfer.turn_to(Access::Read);
        let bytes = reader.read(Limits::READ_BYTES).await?;
        transfer.turn_to(Access::Write);
        if bytes.is_empty() {
            return writer.finish().await.map(Ok);
        }
        if let Err(too_much) = transfer.moves(bytes.len() as u64) {
            return Ok(Err(too_much));
        }
        writer.write(bytes).await?;
    }
}

/// A reader of one object's content, front to back.
#[async_trait]
pub trait ObjectReader: Send {
    /// Returns the object's metadata (with its whole size, also if a range is read).
    fn info(&self) -> &ObjectInfo;

    /// Reads the next bytes: at most `max`, which is at least 1. The answer is empty only at the end.
    async fn read(&mut self, max: usize) -> Result<Bytes, StoreError>;
}

/// Reads an object's content. Returns `None` if it has more than `most` bytes.
pub(crate) async fn read_at_most(
    reader: &mut dyn ObjectReader,
    most: usize,
) -> Result<Option<Vec<u8>>, StoreError> {
    let size = usize::try_from(reader.info().size).unwrap_or(most);
    let mut content = Vec::with_capacity(size.min(most));
    loop {
        let piece = reader.read(PIECE_BYTES).await?;
        if piece.is_empty() {
            return Ok(Some(content));
        }
        if content.len() + piece.len() > most {
            return Ok(None);
        }
        content.extend_from_slice(&piece);
    }
}

/// An object being written. Dropping it unfinished leaves nothing behind.
#[async_trait]
pub trait ObjectWriter: Send {
    /// Appends to the content. After an error the writer can only be dropped.
    async fn write(&mut self, content: Bytes) -> Result<(), StoreError>;

    /// Makes the object, content and metadata, visible in one step. The object is durable when the call returns.
    async fn finish(self: Box<Self>) -> Result<ObjectInfo, StoreError>;
}

/// Metadata of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Key, relative to the store.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// A tag that changes whenever the content changes.
    pub etag: Option<String>,
    /// Version, if the store keeps versions.
    pub version: Option<String>,
    /// Media type.
    pub content_type: Option<String>,
    /// How long, and by whom, an HTTP response with the object may be cached, in the form of RFC 9111.
    pub cache_control: Option<String>,
    /// Metadata that the writer stored with the content.
    pub metadata: Vec<(String, String)>,
    /// When it was written.
    pub modified_at: Option<SystemTime>,
}

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectPage {
    /// Objects in the order of their keys' bytes.
    pub objects: Vec<ObjectSummary>,
    /// The key after which the next page begins; `None` on the last page.
    pub continuation: Option<String>,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectSummary {
    /// Key, relative to the store.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// A tag that changes whenever the content changes.
    pub etag: Option<String>,
    /// When it was written.
    pub modified_at: Option<SystemTime>,
}

/// Options for writing an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// Media type.
    pub content_type: Option<String>,
    /// Value of the header `Cache-Control` with which the object is served.
    pub cache_control: Option<String>,
    /// Metadata to store with the content.
    pub metadata: Vec<(String, String)>,
    /// Condition under which the write takes place.
    pub condition: Condition,
}

/// Longest content type and cache control, in bytes.
const MAX_HEADER_BYTES: usize = 256;

/// Returns whether every store keeps this text, unchanged, as a content type or cache control. A store leaves out other
/// texts of objects that it didn't write, so that each object that is read can be written elsewhere.
pub fn is_header(text: &str) -> bool {
    (1..=MAX_HEADER_BYTES).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && text.trim() == text
}

/// Error: an object has more bytes than may be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch;

/// Progress of a call that moves an object of any size: how much it may move, how much it has moved, and how long it
/// has made no progress. The call and its waiter share this, so that the moved bytes are known however the call ends.
#[derive(Debug)]
pub struct Transfer {
    most: u64,
    moved: AtomicU64,
    began_at: Instant,
    /// Time of the last progress, in nanoseconds after `began_at`: when the last bytes arrived, or when a service's own
    /// move is due.
    got_on: AtomicU64,
    /// Whether a copy has read what it needs next, and writes.
    writes: AtomicBool,
}

/// Slowest expected rate of a service's own copy, in bytes per second. A slower copy counts as stalled.
const SERVICE_RATE: u64 = 16 << 20;

impl Transfer {
    /// Creates a transfer that may move `most` bytes.
    pub fn of_at_most(most: u64) -> Self {
        Self {
            most,
            moved: AtomicU64::new(0),
            began_at: Instant::now(),
            got_on: AtomicU64::new(0),
            writes: AtomicBool::new(false),
        }
    }

    /// Counts moved bytes.
    ///
    /// # Errors
    ///
    /// The bytes exceed what may be moved; they aren't counted.
    pub fn moves(&self, bytes: u64) -> Result<(), TooMuch> {
        self.takes(bytes, Duration::ZERO)
    }

    /// Counts bytes that a service is asked to move by itself, whether or not it does, and allows time for them at
    /// `SERVICE_RATE`.
    ///
    /// # Errors
    ///
    /// The bytes exceed what may be moved; they aren't counted.
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

    /// Notes which store a copy calls next: the one that it reads, or the one that it writes. It begins by reading.
    pub fn turn_to(&self, access: Access) {
        self.writes.store(access == Access::Write, Ordering::Relaxed);
    }

    /// Returns the access of the call that a copy makes, or made last.
    pub fn access(&self) -> Access {
        if self.writes.load(Ordering::Relaxed) { Access::Write } else { Access::Read }
    }

    /// Returns the number of bytes moved.
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Returns for how long the transfer has made no progress.
    pub fn idle(&self) -> Duration {
        self.began_at.elapsed().saturating_sub(Duration::from_nanos(self.got_on.load(Ordering::Relaxed)))
    }
}

/// Condition of a write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// No condition.
    #[default]
    Always,
    /// The key must not exist. Of several such writes at once, one succeeds.
    IfAbsent,
    /// The object's etag must be this one.
    IfMatch(String),
}

/// Why a call to a store failed. The texts are for the operator, who knows the key from the context. Only the text of
/// [`StoreError::Invalid`] is passed to the guest; it contains neither the store's location nor a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The object doesn't exist.
    #[error("there is no such object")]
    NotFound,
    /// The store refuses the call to the worker.
    #[error("{0}")]
    AccessDenied(String),
    /// The service refuses the key to which this part of a store belongs. Calls for other keys aren't affected.
    #[error("{0}")]
    KeyDenied(String),
    /// The object is larger than the store allows.
    #[error("{0}")]
    TooLarge(String),
    /// The condition of a write didn't hold.
    #[error("the object's state does not meet the condition")]
    PreconditionFailed,
    /// The store can't be reached or refuses work for now: a retry may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// Another writer is changing the same object. A retry may succeed. It isn't counted as an outage, as whoever
    /// writes objects could cause it again and again.
    #[error("{0}")]
    Conflict(String),
    /// The request can never be carried out: the store can't hold the key, or the store's path is a file.
    #[error("{0}")]
    Invalid(String),
}
