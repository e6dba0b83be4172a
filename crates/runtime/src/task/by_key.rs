//! Grants by key: stores of which a task reaches only the part of its message's key.
//!
//! The key comes from whoever sends the message, and becomes a segment of a prefix of S3 or of a path. So it is never
//! escaped, cut or changed to fit: a key that isn't plain is refused, and the message's task doesn't run. Two keys that
//! are accepted name two parts, neither of which lies in the other.

use super::grant::{Grants, StoreGrant};
use crate::model::key::Key;
use crate::ports::object_store::ObjectStore;
use std::fmt;
use std::sync::Arc;

/// Maximum number of bytes of a key that names a part of a store. Longer keys of messages are cut at twice the length, so
/// a cut key is always too long.
const MOST_BYTES: usize = 128;
const _: () = assert!(MOST_BYTES < crate::model::key::MOST_BYTES);

/// Which objects of a granted store a task reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All objects, whatever the message is.
    #[default]
    All,
    /// Those below the message's key.
    EachKey {
        /// What follows the key in the prefix: empty, or ends with a slash.
        below: String,
    },
    /// Those below this prefix of a store of all keys: the grant of one task.
    OfKey {
        /// Key and what follows it; ends with a slash.
        prefix: String,
    },
}

/// Writes what follows the store's URL in a grant.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All | Self::OfKey { .. } => Ok(()),
            Self::EachKey { below } => write!(f, "{{key}}/{below}"),
        }
    }
}

impl Scope {
    /// Returns the key of an object in the store that the operator granted, which may hold the parts of all keys.
    pub(crate) fn whole(&self, key: &str) -> String {
        match self {
            Self::All | Self::EachKey { .. } => key.to_owned(),
            Self::OfKey { prefix } => format!("{prefix}{key}"),
        }
    }

    /// Returns an object's key as the task that can reach it sees it, by its key in the grant's store. Of parts of keys,
    /// any counts; `None`: the object lies in none.
    pub(crate) fn seen<'k>(&self, key: &'k str) -> Option<&'k str> {
        match self {
            Self::All | Self::OfKey { .. } => Some(key),
            Self::EachKey { below } => key.split_once('/')?.1.strip_prefix(below),
        }
    }
}

/// Defect of a key that can't name a part of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableKey {
    /// The message has no key.
    #[error("the message has none")]
    Missing,
    /// The key is too long, and may have been cut.
    #[error("it is longer than 128 bytes")]
    TooLong,
    /// The key has a character that a service, a proxy or a file system could take for another, or begins or ends with
    /// one that it could leave out.
    #[error(
        "it is not made of ASCII letters, digits, `-`, `_`, `.` and `@`, with a letter or a digit at both ends"
    )]
    Character,
    /// The key has upper-case letters, and the store may take them for lower-case ones.
    #[error("it has an upper-case letter, which a directory's file system may take for a lower-case one")]
    Case,
}

/// Checks that a key can name a part of a store. `tells_case`: the store tells upper from lower case.
///
/// What is accepted is the same for every URL decoder, proxy, file system and service. `%`, `+`, `&`, `;` and `=` would be
/// decoded by some, `~` begins the short names of FAT, Unicode has several ways to write a letter, and a dot or a space
/// at the end may be left out.
///
/// # Errors
///
/// The key's defect.
pub fn check_key(key: &Key, tells_case: bool) -> Result<(), UnusableKey> {
    let text = key.as_str().as_bytes();
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    if key.is_none() {
        Err(UnusableKey::Missing)
    } else if text.len() > MOST_BYTES {
        Err(UnusableKey::TooLong)
    } else if !text.iter().all(is_inner) || !is_end(text.first()) || !is_end(text.last()) {
        Err(UnusableKey::Character)
    } else if !tells_case && text.iter().any(u8::is_ascii_uppercase) {
        Err(UnusableKey::Case)
    } else {
        Ok(())
    }
}

impl StoreGrant {
    /// Returns the grant of one key's task.
    fn of_key(&self, key: &Key) -> Result<Self, UnusableKey> {
        let Scope::EachKey { below } = &self.scope else { return Ok(self.clone()) };
        check_key(key, self.store.tells_case())?;
        let prefix = format!("{}/{below}", key.as_str());
        Ok(Self { store: self.store.part(&prefix), scope: Scope::OfKey { prefix }, ..self.clone() })
    }

    /// Returns where an object is, by its key in the store that the operator granted: the store as a task has it that can
    /// read the object, and the key there.
    pub(crate) fn place_of(&self, whole: String) -> (Arc<dyn ObjectStore>, String) {
        match self.scope.seen(&whole) {
            Some(key) if self.is_by_key() => {
                (self.store.part(&whole[..whole.len() - key.len()]), key.to_owned())
            }
            _ => (self.store.clone(), whole),
        }
    }

    fn is_by_key(&self) -> bool {
        matches!(self.scope, Scope::EachKey { .. })
    }
}

impl Grants {
    /// Returns whether a task reaches only its key's part of some store.
    pub fn are_by_key(&self) -> bool {
        self.stores.values().any(StoreGrant::is_by_key)
    }

    /// Returns a store that holds the parts of all keys, and a store of the other grants that overlaps with it. Otherwise a
    /// key could be named after that store, or that store would hold every key's objects.
    pub(crate) fn mixed_with<'g>(&'g self, other: &'g Self) -> Option<(&'g StoreGrant, &'g StoreGrant)> {
        let by_key = self.stores.values().filter(|grant| grant.is_by_key());
        let mut pairs = by_key.flat_map(|by_key| other.stores.values().map(move |other| (by_key, other)));
        pairs.find(|(by_key, other)| {
            let (base, url) = (by_key.store.url(), other.store.url());
            // Parts of the same key may lie in each other.
            overlap(base, url) && !(other.is_by_key() && url == base)
        })
    }

    /// Returns the alias of a store of which tasks reach their keys' parts, if it overlaps with the store at a URL.
    pub fn parts_overlap(&self, url: &str) -> Option<&str> {
        let mut by_key = self.stores.values().filter(|grant| grant.is_by_key());
        by_key.find(|grant| overlap(grant.store.url(), url)).map(|grant| grant.alias.as_str())
    }

    /// Returns whether an object lies in a readable store that holds the parts of all keys.
    pub(crate) fn hold_for_some_key(&self, url: &str) -> bool {
        let mut readable = self.stores.values().filter(|grant| grant.is_by_key() && grant.mode.reads());
        readable.any(|grant| url.starts_with(grant.store.url()))
    }

    /// Returns the key of an object in the store that the operator granted under an alias.
    pub(crate) fn whole_key(&self, alias: &str, key: &str) -> String {
        self.stores.get(alias).map_or_else(|| key.to_owned(), |grant| grant.scope.whole(key))
    }

    /// Returns the grants of one key's task.
    ///
    /// # Errors
    ///
    /// The alias of a store of which the key can't name a part, and the key's defect.
    pub fn of_key(&self, key: &Key) -> Result<Self, (&str, UnusableKey)> {
        let grants = self.stores.iter().map(|(alias, grant)| match grant.of_key(key) {
            Ok(grant) => Ok((alias.clone(), grant)),
            Err(unusable) => Err((alias.as_str(), unusable)),
        });
        Ok(Self { stores: grants.collect::<Result<_, _>>()?, ..self.clone() })
    }
}

/// Checks that no other store overlaps with one that holds the parts of all keys. Routes are checked against each other
/// by the worker.
///
/// # Errors
///
/// Names the two stores, and says what to do.
pub(super) fn check(grants: &Grants) -> Result<(), String> {
    match grants.mixed_with(grants) {
        None => Ok(()),
        Some((by_key, other)) => Err(mixed((&by_key.alias, by_key), (&other.alias, other))),
    }
}

/// Says that a store overlaps with one that holds the parts of all keys. Each has the name that the operator knows.
pub(crate) fn mixed((name, by_key): (&str, &StoreGrant), (other_name, other): (&str, &StoreGrant)) -> String {
    format!(
        "the store {other_name} ({}) overlaps with {}, which holds the parts of all keys of the store {name}: give them separate prefixes",
        other.store.url(),
        by_key.store.url(),
    )
}

/// Returns whether one of two stores holds the other. URLs end with a slash, except for those of files.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    let holds = |outer: &str, inner: &str| outer.ends_with('/') && inner.starts_with(outer);
    one == other || holds(one, other) || holds(other, one)
}

#[cfg(test)]
#[path = "by_key_tests.rs"]
mod tests;
