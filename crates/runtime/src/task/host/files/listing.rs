//! The entries of a directory.

use super::path::{MESSAGE_FILE, Place, names_above};
use super::types::{DescriptorType, DirectoryEntry, ErrorCode, HostDirectoryEntryStream};
use super::{Result, of_store};
use crate::ports::object_store::MAX_KEY_BYTES;
use crate::task::directory::Directory;
use crate::task::holds::Hold;
use crate::task::store::TaskState;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::vec;
use wasmtime::component::Resource;

/// Number of objects in a page, which a listing holds.
const PAGE: usize = 100;
/// Bytes that a listing holds: a page, and as much again for the names that are open.
const LISTING_BYTES: usize = (PAGE + 1) * 2 * MAX_KEY_BYTES;

/// A listing that a guest reads.
pub struct Listing {
    entries: Entries,
    _hold: Option<Hold>,
}

enum Entries {
    /// The entries of a directory that leads to granted ones.
    Above(vec::IntoIter<DirectoryEntry>),
    Objects(Objects),
}

/// The names below a prefix. A listing of a store has all objects below it, in the order of the keys' bytes.
struct Objects {
    directory: Arc<Directory>,
    /// What the keys begin with: empty, or ends with a slash.
    prefix: String,
    /// Keys that were listed, without the prefix.
    page: vec::IntoIter<String>,
    next: Next,
    names: Names,
}

/// The page after the current one.
enum Next {
    First,
    After(String),
    None,
}

/// Turns keys into names.
#[derive(Default)]
struct Names {
    /// The last key.
    last: String,
    /// Files that a directory of the same name could follow, by the bytes of their names: each is a beginning of the last key.
    files: Vec<usize>,
    /// The last directory.
    directory: Option<String>,
}

impl Names {
    /// Returns the entry that a key adds. Keys come in the order of their bytes.
    fn entry(&mut self, key: &str) -> Option<DirectoryEntry> {
        let (name, is_directory) = match key.split_once('/') {
            Some((name, _)) => (name, true),
            None => (key, false),
        };
        while self.files.last().is_some_and(|&bytes| !key.starts_with(&self.last[..bytes])) {
            self.files.pop();
        }
        key.clone_into(&mut self.last);
        let is_known =
            is_directory && (self.directory.as_deref() == Some(name) || self.files.contains(&name.len()));
        if is_known || matches!(name, "" | "." | "..") {
            return None;
        }
        let type_ = if is_directory {
            self.directory = Some(name.to_owned());
            DescriptorType::Directory
        } else {
            self.files.push(name.len());
            DescriptorType::RegularFile
        };
        Some(DirectoryEntry { type_, name: name.to_owned() })
    }
}

impl HostDirectoryEntryStream for TaskState {
    async fn read_directory_entry(&mut self, this: Resource<Listing>) -> Result<Option<DirectoryEntry>> {
        loop {
            let objects = match &mut self.table.get_mut(&this)?.entries {
                Entries::Above(entries) => return Ok(entries.next()),
                Entries::Objects(objects) => objects,
            };
            for key in objects.page.by_ref() {
                if let Some(entry) = objects.names.entry(&key) {
                    return Ok(Some(entry));
                }
            }
            let after = match std::mem::replace(&mut objects.next, Next::None) {
                Next::First => None,
                Next::After(token) => Some(token),
                Next::None => return Ok(None),
            };
            let (directory, prefix) = (objects.directory.clone(), objects.prefix.clone());
            let grant = self.grant(&directory)?;
            let page = self.list_page(grant, prefix.clone(), after, PAGE).await.map_err(of_store)?;
            let name = |key: String| key.strip_prefix(&prefix).map(str::to_owned);
            let names: Vec<_> = page.objects.into_iter().filter_map(|object| name(object.key)).collect();
            if let Entries::Objects(objects) = &mut self.table.get_mut(&this)?.entries {
                objects.page = names.into_iter();
                objects.next =
                    page.continuation.map_or(Next::None, |last| Next::After(past_directory(&prefix, last)));
            }
        }
    }

    fn drop(&mut self, this: Resource<Listing>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

/// Returns where a listing continues after a page whose last key is this: if that lies in a directory below the prefix, at
/// the end of that directory, as its name is known by now.
fn past_directory(prefix: &str, last: String) -> String {
    let directory = last.strip_prefix(prefix).and_then(|name| name.split_once('/'));
    let end = directory.map(|(directory, _)| format!("{prefix}{directory}/{}", char::MAX));
    end.filter(|end| end.len() <= MAX_KEY_BYTES).unwrap_or(last)
}

impl TaskState {
    /// Begins to list a directory.
    pub(super) fn listing(&mut self, path: &str) -> Result<Listing> {
        let (directory, rest) = match self.place(path) {
            Some(Place::In(directory, rest)) => (directory, rest),
            _ => return Ok(self.listing_above(path)),
        };
        if !directory.mode.reads() {
            return Err(ErrorCode::Access.into());
        }
        let hold = self.held.take_bytes(LISTING_BYTES)?;
        let separator = if rest.is_empty() { "" } else { "/" };
        let prefix = format!("{}{rest}{separator}", directory.prefix);
        let (page, next, names) = (Vec::new().into_iter(), Next::First, Names::default());
        let entries = Entries::Objects(Objects { directory, prefix, page, next, names });
        Ok(Listing { entries, _hold: Some(hold) })
    }

    fn listing_above(&self, path: &str) -> Listing {
        let names: BTreeSet<&str> = names_above(&self.config.grants.directories, path).collect();
        let directories = names
            .into_iter()
            .map(|name| DirectoryEntry { type_: DescriptorType::Directory, name: name.to_owned() });
        let has_message = path.is_empty() && self.config.command.is_some();
        let message = has_message
            .then(|| DirectoryEntry { type_: DescriptorType::RegularFile, name: MESSAGE_FILE.to_owned() });
        let entries: Vec<_> = directories.chain(message).collect();
        Listing { entries: Entries::Above(entries.into_iter()), _hold: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_listed_once_and_what_is_no_name_is_not() {
        let mut keys =
            ["a", "a-b", "a-b/x", "a/1", "a/2/3", "b/1", "b/2", "c//d", "/x", "./y", "../z", "d", "d0", "e/"];
        keys.sort_unstable();
        let mut names = Names::default();
        let listed: Vec<_> = keys.iter().filter_map(|key| names.entry(key)).collect();
        let of = |type_: DescriptorType| -> Vec<&str> {
            listed.iter().filter(|entry| entry.type_ == type_).map(|entry| &*entry.name).collect()
        };
        assert_eq!(of(DescriptorType::RegularFile), ["a", "a-b", "d", "d0"]);
        assert_eq!(of(DescriptorType::Directory), ["b", "c", "e"]);
    }

    #[test]
    fn the_rest_of_a_directory_is_passed_over_and_files_are_not() {
        let past = |last: &str| past_directory("in/", last.to_owned());
        assert!("in/a/zzz" < past("in/a/b").as_str() && past("in/a/b").as_str() < "in/a0");
        assert_eq!(past("in/a"), "in/a");
        assert_eq!(past("other/a"), "other/a");
        let long = format!("in/{}/x", "d".repeat(MAX_KEY_BYTES - 5));
        assert_eq!(past(&long), long);
    }

    #[test]
    fn a_listing_remembers_no_more_names_than_a_key_has_bytes() {
        let mut names = Names::default();
        for number in 0..10_000 {
            assert!(names.entry(&format!("x{number:05}")).is_some());
        }
        assert!(names.files.len() <= 1);
    }
}
