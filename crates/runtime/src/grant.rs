//! Grants: what a task may touch. Everything that isn't granted here is denied.

use crate::event::{Change, ObjectEvent};
use crate::object_store::{MAX_KEY_BYTES, ObjectStore};
use crate::queue::Queue;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Everything that the tasks of one component may touch.
#[derive(Clone, Default)]
pub struct Grants {
    /// By alias.
    pub stores: BTreeMap<String, StoreGrant>,
    /// By alias.
    pub queues: BTreeMap<String, Arc<dyn Queue>>,
    /// The environment that a task sees, keys and values.
    pub env: Vec<(String, String)>,
}

/// One store under one alias.
#[derive(Clone)]
pub struct StoreGrant {
    /// The name that the guest uses.
    pub alias: String,
    /// Opened at the grant's prefix: all keys are relative to it.
    pub store: Arc<dyn ObjectStore>,
    /// What the guest may do there.
    pub mode: Mode,
}

/// What a guest may do with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Read and list.
    ReadOnly,
    /// Write and delete.
    WriteOnly,
    /// All of it.
    ReadWrite,
}

impl Mode {
    /// Whether it includes reading and listing.
    pub fn reads(self) -> bool {
        matches!(self, Self::ReadOnly | Self::ReadWrite)
    }

    /// Whether it includes writing and deleting.
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

/// An object that a message announces, under the alias of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnouncedObject {
    /// Of the grant.
    pub alias: String,
    /// In the grant's store.
    pub key: String,
    /// As the event says.
    pub version: Option<String>,
    /// As the event says.
    pub etag: Option<String>,
    /// As the event says.
    pub size: Option<u64>,
    /// What happened.
    pub change: Change,
    /// Orders the events of one key.
    pub sequencer: Option<String>,
}

/// The stores with their modes, for the operator.
impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stores.is_empty() {
            return f.write_str("no store");
        }
        for (index, StoreGrant { alias, store, mode }) in self.stores.values().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{alias}={}:{mode}", store.url())?;
        }
        Ok(())
    }
}

impl Grants {
    /// Names each object by the readable grant that holds it, the one with the longest URL if there are several.
    ///
    /// # Errors
    ///
    /// The URL of an object that no readable grant holds. It's for the operator: a guest must not learn it.
    pub fn announce(&self, events: Vec<ObjectEvent>) -> Result<Vec<AnnouncedObject>, String> {
        events.into_iter().map(|event| self.announce_one(event)).collect()
    }

    fn announce_one(&self, event: ObjectEvent) -> Result<AnnouncedObject, String> {
        let grant = self
            .stores
            .values()
            .filter(|grant| grant.mode.reads())
            .filter(|grant| {
                event.url.strip_prefix(grant.store.url()).is_some_and(|key| check_key(key).is_ok())
            })
            .max_by_key(|grant| grant.store.url().len());
        let Some(grant) = grant else {
            return Err(event.url);
        };
        Ok(AnnouncedObject {
            alias: grant.alias.clone(),
            key: event.url[grant.store.url().len()..].to_owned(),
            version: event.version,
            etag: event.etag,
            size: event.size,
            change: event.change,
            sequencer: event.sequencer,
        })
    }
}

/// What is wrong with a key, before any store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadKey {
    /// It might lead out of the grant's prefix on some backend or proxy, however it's normalised.
    Outside,
    /// It's empty, too long, or holds a NUL.
    Malformed,
}

/// Checks that a key is one that can only mean an object below the grant's prefix.
///
/// S3 takes `a/../b` as the name that it is, but clients and proxies on the way may normalise it, so that no segment
/// may be `.` or `..`, and a key doesn't start with `/`. A store may refuse more.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_key(key: &str) -> Result<(), BadKey> {
    // A guest may hand over megabytes.
    let beginning = &key[..key.floor_char_boundary(MAX_KEY_BYTES)];
    if beginning.starts_with('/') || beginning.split('/').any(|segment| matches!(segment, "." | "..")) {
        Err(BadKey::Outside)
    } else if key.is_empty() || key.len() > MAX_KEY_BYTES || key.contains('\0') {
        Err(BadKey::Malformed)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;

    fn grants(stores: &[(&str, &str, Mode)]) -> Grants {
        let grant = |&(alias, url, mode): &(&str, &str, Mode)| {
            (
                alias.to_owned(),
                StoreGrant { alias: alias.into(), store: Arc::new(MemoryStore::at(url)), mode },
            )
        };
        Grants { stores: stores.iter().map(grant).collect(), ..Grants::default() }
    }

    fn event(url: &str) -> ObjectEvent {
        ObjectEvent {
            url: url.into(),
            version: None,
            etag: None,
            size: None,
            change: Change::Created,
            sequencer: None,
        }
    }

    fn names(grants: &Grants, url: &str) -> Result<(String, String), String> {
        grants.announce(vec![event(url)]).map(|mut objects| {
            let object = objects.remove(0);
            (object.alias, object.key)
        })
    }

    #[test]
    fn the_readable_grant_with_the_longest_prefix_names_an_object() {
        let grants = grants(&[
            ("all", "s3://b/", Mode::ReadOnly),
            ("in", "s3://b/in/", Mode::ReadWrite),
            ("secret", "s3://b/in/secret/", Mode::WriteOnly),
        ]);
        assert_eq!(names(&grants, "s3://b/x"), Ok(("all".into(), "x".into())));
        assert_eq!(names(&grants, "s3://b/in/x"), Ok(("in".into(), "x".into())));
        assert_eq!(names(&grants, "s3://b/in/secret/x"), Ok(("in".into(), "secret/x".into())));
    }

    #[test]
    fn an_object_outside_every_grant_is_refused() {
        let grants = grants(&[("in", "s3://b/in/", Mode::ReadOnly)]);
        for url in
            ["s3://b/other", "s3://b/in", "s3://b/in/", "s3://b/in/../x", "s3://b2/in/x", "s3://b/in//x"]
        {
            assert_eq!(names(&grants, url), Err(url.to_owned()));
        }
    }

    #[test]
    fn a_key_that_could_lead_out_is_told_from_a_malformed_one() {
        for key in ["..", "../x", "a/../b", "a/..", "./a", "a/.", "/a", "/"] {
            assert_eq!(check_key(key), Err(BadKey::Outside), "{key}");
        }
        for key in ["", "a\0b", &"x".repeat(MAX_KEY_BYTES + 1)] {
            assert_eq!(check_key(key), Err(BadKey::Malformed), "{key}");
        }
        for key in ["a", "a/b", "..a", "a..", "...", "%2e%2e/x", "a\\..\\b", "ü/ñ"] {
            assert_eq!(check_key(key), Ok(()), "{key}");
        }
    }
}
