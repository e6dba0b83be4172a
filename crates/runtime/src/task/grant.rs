//! Grants: the stores, directories, queues, key-value buckets, HTTP requests, environment and configuration values of a task.
//! Everything else is denied.

use crate::model::event::{Change, ObjectEvent};
use crate::ports::keyvalue::KeyValueBucket;
use crate::ports::object_store::{MAX_KEY_BYTES, ObjectStore};
use crate::ports::queue::Queue;
use crate::task::by_key::Scope;
use crate::task::directory::Directory;
use crate::task::http::HttpGrant;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The grants of one component's tasks.
#[derive(Clone, Default)]
pub struct Grants {
    /// Granted stores by alias.
    pub stores: BTreeMap<String, StoreGrant>,
    /// Granted queues by alias.
    pub queues: BTreeMap<String, Arc<dyn Queue>>,
    /// Granted key-value buckets by alias.
    pub buckets: BTreeMap<String, BucketGrant>,
    /// Requests that tasks may send; `None`: none.
    pub http: Option<HttpGrant>,
    /// Keys and values of the task's environment.
    pub env: Vec<(String, String)>,
    /// Values of `wasi:config`, by key.
    pub config_values: BTreeMap<String, String>,
    /// Parts of granted stores that the task sees as directories.
    pub directories: Vec<Arc<Directory>>,
}

/// A grant of one store under an alias.
#[derive(Clone)]
pub struct StoreGrant {
    /// The name that the guest uses.
    pub alias: String,
    /// The store, opened at the grant's prefix: all keys are relative to it.
    pub store: Arc<dyn ObjectStore>,
    /// The allowed operations.
    pub mode: Mode,
    /// Whether all tasks reach the same objects.
    pub scope: Scope,
}

/// A grant of one key-value bucket under an alias.
#[derive(Clone)]
pub struct BucketGrant {
    /// The name that the guest uses.
    pub alias: String,
    /// The bucket.
    pub bucket: Arc<dyn KeyValueBucket>,
    /// The allowed operations.
    pub mode: Mode,
}

impl BucketGrant {
    /// Returns the bucket's name among the backends to which errors are attributed.
    pub(crate) fn backend(&self) -> String {
        backend_name("keyvalue", &self.alias)
    }
}

/// Returns a name among the backends to which errors are attributed. Stores go by their bare aliases. Queues and buckets
/// go by their kind as well, as a store may have the same alias.
pub(crate) fn backend_name(kind: &str, alias: &str) -> String {
    if kind == "store" { alias.to_owned() } else { format!("{kind} {alias}") }
}

/// The operations that a grant allows on a store or a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Read and list.
    ReadOnly,
    /// Write and delete.
    WriteOnly,
    /// All of these.
    ReadWrite,
}

impl Mode {
    /// Returns whether the mode allows reading and listing.
    pub fn reads(self) -> bool {
        matches!(self, Self::ReadOnly | Self::ReadWrite)
    }

    /// Returns whether the mode allows writing and deleting.
    pub fn writes(self) -> bool {
        matches!(self, Self::WriteOnly | Self::ReadWrite)
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ro" => Ok(Self::ReadOnly),
            "wo" => Ok(Self::WriteOnly),
            "rw" => Ok(Self::ReadWrite),
            _ => Err(format!("unknown mode {text:?}: use ro, wo or rw")),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => "ro",
            Self::WriteOnly => "wo",
            Self::ReadWrite => "rw",
        })
    }
}

/// An announced object, under the alias of its grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnouncedObject {
    /// Alias of the grant.
    pub alias: String,
    /// Key in the grant's store.
    pub key: String,
    /// Version in the event.
    pub version: Option<String>,
    /// Etag in the event.
    pub etag: Option<String>,
    /// Size in the event, in bytes.
    pub size: Option<u64>,
    /// What happened to the object.
    pub change: Change,
    /// Orders the events of one key.
    pub sequencer: Option<String>,
}

/// Lists the stores with their modes, for the operator.
impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stores.is_empty() {
            return f.write_str("no store");
        }
        for (index, StoreGrant { alias, store, mode, scope }) in self.stores.values().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{alias}={}{scope}:{mode}", store.url())?;
        }
        Ok(())
    }
}

impl Grants {
    /// Finds for each object the readable grant that holds it. If there are several, the one with the longest URL wins.
    ///
    /// # Errors
    ///
    /// See [`Unannounced`].
    pub fn announce(&self, events: Vec<ObjectEvent>) -> Result<Vec<AnnouncedObject>, Unannounced> {
        events.into_iter().map(|event| self.announce_one(event)).collect()
    }

    /// Returns the key of an object in the granted store that holds it; in the one with the longest URL, if there are
    /// several.
    pub fn key_of(&self, url: &str) -> Option<String> {
        let keys = self.stores.values().filter_map(|grant| url.strip_prefix(grant.store.url()));
        keys.min_by_key(|key| key.len()).map(str::to_owned)
    }

    /// Returns the key of an announced object in the readable grant that holds it, as [`Grants::announce`] names it to the
    /// task of the message's key. A key that can't be used is returned as it is.
    pub fn announced_key<'u>(&self, url: &'u str) -> Option<&'u str> {
        self.holder(url).map(|held| held.key)
    }

    /// Returns the backends' names in errors of tasks.
    pub(crate) fn backends(&self) -> impl Iterator<Item = String> {
        let queues = self.queues.keys().map(|alias| backend_name("queue", alias));
        let stores_and_queues = self.stores.keys().cloned().chain(queues);
        stores_and_queues.chain(self.buckets.values().map(BucketGrant::backend))
    }

    /// Returns the readable grant that holds an object.
    fn holder<'u>(&self, url: &'u str) -> Option<Holder<'_, 'u>> {
        let holders = self.stores.values().filter(|grant| grant.mode.reads()).filter_map(|grant| {
            let key = grant.scope.seen(url.strip_prefix(grant.store.url())?)?;
            Some(Holder { grant, key, check: check_key(key) })
        });
        // A grant under which the key is valid precedes one under which it isn't.
        holders.max_by_key(|holder| (holder.check.is_ok(), url.len() - holder.key.len()))
    }

    fn announce_one(&self, event: ObjectEvent) -> Result<AnnouncedObject, Unannounced> {
        let (grant, key) = match self.holder(&event.url) {
            Some(Holder { grant, key, check: Ok(()) }) => (grant, key.to_owned()),
            Some(Holder { check: Err(bad), .. }) => {
                return Err(Unannounced { url: event.url, bad_key: Some(bad) });
            }
            None => return Err(Unannounced { url: event.url, bad_key: None }),
        };
        Ok(AnnouncedObject {
            alias: grant.alias.clone(),
            key,
            version: event.version,
            etag: event.etag,
            size: event.size,
            change: event.change,
            sequencer: event.sequencer,
        })
    }
}

/// A readable grant that holds an object.
struct Holder<'g, 'u> {
    grant: &'g StoreGrant,
    /// The object's key, as a task sees it.
    key: &'u str,
    /// The defect of the key.
    check: Result<(), BadKey>,
}

/// Error: an announced object that the task can't receive. The URL is for the operator; a guest must not learn it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unannounced {
    /// URL of the object.
    pub url: String,
    /// The defect of its key; `None` if no readable grant holds the object.
    pub bad_key: Option<BadKey>,
}

/// Defect of a key, found without a call to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// A segment of the key is `..`.
    #[error(
        "it has a `..` segment, which clients and proxies resolve, and which could lead out of the store"
    )]
    Climbs,
    /// The key is empty.
    #[error("it is empty")]
    Empty,
    /// The key has more than [`MAX_KEY_BYTES`].
    #[error("it is longer than 1,024 bytes")]
    TooLong,
    /// The key has a NUL, which XML and file systems can't hold.
    #[error("it has a NUL character")]
    Nul,
    /// The key names the store itself for software that merges slashes and resolves `.` segments.
    #[error("it has nothing but slashes and `.` segments")]
    Nameless,
}

/// Checks that a key can only name an object below the grant's prefix.
///
/// S3 takes a key literally, but clients and proxies on the way may normalise its URL, as in RFC 3986 (5.2.4). A `..`
/// could then lead out of the prefix, so no segment may be `..`. Leading slashes, empty segments and `.` segments stay
/// below the prefix and are allowed. A store may refuse further keys: a directory can't hold these.
///
/// # Errors
///
/// The key's defect.
pub fn check_key(key: &str) -> Result<(), BadKey> {
    // A guest may pass megabytes.
    let beginning = &key[..key.floor_char_boundary(MAX_KEY_BYTES)];
    let mut segments = beginning.split('/');
    if segments.clone().any(|segment| segment == "..") {
        Err(BadKey::Climbs)
    } else if key.is_empty() {
        Err(BadKey::Empty)
    } else if key.len() > MAX_KEY_BYTES {
        Err(BadKey::TooLong)
    } else if key.contains('\0') {
        Err(BadKey::Nul)
    } else if segments.all(|segment| matches!(segment, "" | ".")) {
        Err(BadKey::Nameless)
    } else {
        Ok(())
    }
}

/// Checks that a text can be the beginning of a key. Its last segment may be incomplete. Every key begins with the
/// empty text.
///
/// # Errors
///
/// The text's defect.
pub fn check_prefix(prefix: &str) -> Result<(), BadKey> {
    let beginning = &prefix[..prefix.floor_char_boundary(MAX_KEY_BYTES)];
    let (whole, _) = beginning.rsplit_once('/').unwrap_or_default();
    if whole.split('/').any(|segment| segment == "..") {
        Err(BadKey::Climbs)
    } else if prefix.len() > MAX_KEY_BYTES {
        Err(BadKey::TooLong)
    } else if prefix.contains('\0') {
        Err(BadKey::Nul)
    } else {
        Ok(())
    }
}

#[cfg(test)]
#[path = "grant_tests.rs"]
mod tests;
