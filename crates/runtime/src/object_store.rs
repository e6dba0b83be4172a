//! The object stores that tasks may be granted, as the runtime sees them.
//!
//! A backend knows nothing of grants: the host interface checks alias, mode and key, and hands on keys that are
//! relative to the store it opened. Whole-object reads and writes are composed above this trait.

use async_trait::async_trait;
use bytes::Bytes;
use std::any::Any;
use std::ops::Range;
use std::time::SystemTime;

/// A key is at most 1,024 bytes of UTF-8, as in S3.
pub const MAX_KEY_BYTES: usize = 1024;
/// A page of a listing holds at most 1,000 objects, as in S3.
pub const MAX_PAGE: usize = 1000;
/// Names and values of an object's metadata are together at most 2 KiB, as in S3.
pub const MAX_METADATA_BYTES: usize = 2048;

/// A store of objects. Every call may be made from several tasks at once.
///
/// Dropping the future of a call abandons it: a write then either took place as a whole or leaves nothing.
#[async_trait]
pub trait ObjectStore: Any + Send + Sync {
    /// Where it is, as a URL that ends with `/`: an object's URL is this and its key. It names no secret.
    fn url(&self) -> &str;

    /// What a writer holds of its object until it's sent, in bytes, at most.
    fn writer_bytes(&self) -> usize {
        0
    }

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

    /// Objects whose keys start with `prefix`, in the order of the keys' bytes, at most `limit`.
    async fn list(
        &self,
        prefix: &str,
        continuation: Option<&str>,
        limit: usize,
    ) -> Result<ObjectPage, StoreError>;

    /// Deletes an object, durably; also succeeds if there is none.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Copies an object to another store of the same service, content type and metadata included, without moving its
    /// content through this process, if it has at most so many bytes. `None`: this store can't do that, and the caller
    /// copies by reading and writing.
    async fn copy(
        &self,
        key: &str,
        version: Option<&str>,
        to: &dyn ObjectStore,
        to_key: &str,
        condition: &Condition,
        most: u64,
    ) -> Option<Result<Result<ObjectInfo, TooMuch>, StoreError>> {
        let _ = (key, version, to, to_key, condition, most);
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
    /// The request can't be carried out, now or later: a key that this store can't hold, a store that is a file.
    #[error("{0}")]
    Invalid(String),
}
