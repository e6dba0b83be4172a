//! Listings in the order of the keys' bytes.
//!
//! Keys sort differently from names: `a-b` comes before `a/c`, so a directory counts as its name with a slash.
//! A directory is read as a whole, but only the names that the page can need are kept; of all directories on the way
//! down together no more than a few pages' worth.
//!
//! Other programs may have put any number of directories there that hold nothing. So a page for which much was read
//! already ends where it is rather than read a directory again, and nothing is read that nobody waits for any more.

use super::blocking::Call;
use super::error::{failed, is_missing};
use super::key::{is_hidden, may_hold_objects};
use super::object::Stamp;
use super::root::{Found, OpenRoot, find};
use cap_std::fs::{Dir, DirEntry, FileType};
use rustix::fs::AtFlags;
use std::collections::{BinaryHeap, VecDeque};
use wasmrun_runtime::ports::object_store::{MAX_KEY_BYTES, MAX_PAGE, ObjectPage, ObjectSummary, StoreError};

/// So many names are kept of a directory at least: reading it again costs more than keeping a few.
const MIN_KEPT: usize = 64;
/// So many are kept of all directories at most; beyond it the upper ones are read again when they are needed.
const MAX_KEPT: usize = 4 * MAX_PAGE;
/// So many entries and directories may be looked at for one page before it ends with fewer objects than were asked for:
const MAX_EXAMINED: usize = 20 * MAX_PAGE;
/// After so many entries of a directory it's looked again whether anybody still waits.
const LOOK_EVERY: usize = 256;

/// Every ext4 file system has this, readable for root only, and nobody means it when a store is a whole file system.
const LOST_AND_FOUND: &str = "lost+found/";

/// At most `limit` objects whose keys start with `prefix` and come after `after`.
///
/// There may be more although there are fewer than `limit`, even none: then there is a continuation.
pub(super) fn page(
    root: &OpenRoot,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
    call: &Call,
) -> Result<ObjectPage, StoreError> {
    let limit = limit.min(MAX_PAGE);
    let base = &prefix[..prefix.rfind('/').map_or(0, |slash| slash + 1)];
    if limit == 0 || !may_hold_objects(base) {
        return Ok(ObjectPage::default());
    }
    // One more than asked for, to know whether there is another page.
    let wanted = limit + 1;
    let mut walk = Walk { root, prefix, after: after.unwrap_or_default(), call, reads: 0, examined: 0 };
    let mut objects = Vec::new();
    // How far this page has come, if it has come any further than the last one.
    let mut position = None;
    let mut levels = vec![Level::new(base.to_owned())];
    while let Some(level) = levels.last_mut() {
        match level.next() {
            Next::Object(object) => {
                position = Some(object.key.clone());
                objects.push(object);
                if objects.len() == wanted {
                    break;
                }
            }
            Next::Directory(path) => {
                // The directories above the last page's end come before it.
                if *path > *walk.after {
                    position = Some(path.clone());
                }
                levels.push(Level::new(path));
                forget_beyond_limit(&mut levels);
            }
            Next::Unknown if position.is_some() && walk.is_enough(level) => {
                return Ok(ObjectPage { objects, continuation: position });
            }
            Next::Unknown => {
                call.check("list", &level.path)?;
                walk.fill(level, (wanted - objects.len()).max(MIN_KEPT))?;
            }
            Next::End => {
                levels.pop();
            }
        }
    }
    let continues = objects.len() > limit;
    objects.truncate(limit);
    let continuation = objects.last().filter(|_| continues).map(|last| last.key.clone());
    Ok(ObjectPage { objects, continuation })
}

/// A directory of which a part is known.
struct Level {
    /// As a key's beginning: empty, or ends with a slash.
    path: String,
    /// In the order of the keys.
    entries: VecDeque<Entry>,
    /// What was handed out last: everything up to it is done.
    done: String,
    /// There may be entries after those that are known.
    unread: bool,
}

struct Entry {
    /// With a slash at the end for a directory.
    name: String,
    /// `None`: a directory.
    stamp: Option<Stamp>,
}

enum Next {
    Object(ObjectSummary),
    Directory(String),
    Unknown,
    End,
}

impl Level {
    fn new(path: String) -> Self {
        Self { path, entries: VecDeque::new(), done: String::new(), unread: true }
    }

    fn next(&mut self) -> Next {
        let Some(Entry { name, stamp }) = self.entries.pop_front() else {
            return if self.unread { Next::Unknown } else { Next::End };
        };
        let key = format!("{}{name}", self.path);
        self.done = name;
        match stamp {
            None => Next::Directory(key),
            Some(stamp) => Next::Object(ObjectSummary {
                key,
                size: stamp.size,
                etag: Some(stamp.etag()),
                modified_at: stamp.modified_at(),
            }),
        }
    }
}

/// The deepest directory is needed next, so the upper ones are forgotten first.
fn forget_beyond_limit(levels: &mut [Level]) {
    let mut kept: usize = levels.iter().map(|level| level.entries.len()).sum();
    for level in levels {
        if kept <= MAX_KEPT {
            return;
        }
        kept -= level.entries.len();
        level.entries.clear();
        level.unread = true;
    }
}

struct Walk<'a> {
    root: &'a OpenRoot,
    prefix: &'a str,
    after: &'a str,
    call: &'a Call,
    /// How many directories were read.
    reads: usize,
    /// How many entries were in them, and how many directories were opened to get there.
    examined: usize,
}

impl Walk<'_> {
    /// Whether so much was read for this page that it ends before this directory.
    fn is_enough(&self, level: &Level) -> bool {
        let again = !level.done.is_empty();
        // One directory alone may have had that many entries: then those that it holds are looked into.
        self.examined >= MAX_EXAMINED && (again || self.reads > MAX_PAGE)
    }

    /// Reads a directory, and keeps the first `limit` entries of those that aren't done.
    fn fill(&mut self, level: &mut Level, limit: usize) -> Result<(), StoreError> {
        level.unread = false;
        let directories: Vec<_> = level.path.split_terminator('/').collect();
        self.reads += 1;
        self.examined += 1 + directories.len();
        let dir = match self.root.descend(&directories, "list", &level.path) {
            // It went away, or never was one.
            Err(StoreError::NotFound | StoreError::Invalid(_)) => return Ok(()),
            descended => descended?,
        };
        let fail = |error: std::io::Error| failed("list", &level.path, &error);
        let mut first: BinaryHeap<String> = BinaryHeap::new();
        let entries = match dir.entries() {
            Err(_) if level.path == LOST_AND_FOUND => return Ok(()),
            entries => entries.map_err(fail)?,
        };
        for (index, entry) in entries.enumerate() {
            if index % LOOK_EVERY == 0 {
                self.call.check("list", &level.path)?;
            }
            self.examined += 1;
            let Some(name) = self.sort_name(&dir, entry.map_err(fail)?) else { continue };
            if name <= level.done || !self.is_wanted(&level.path, &name) {
                continue;
            }
            first.push(name);
            if first.len() > limit {
                first.pop();
                level.unread = true;
            }
        }
        for name in first.into_sorted_vec() {
            if name.ends_with('/') {
                level.entries.push_back(Entry { name, stamp: None });
                continue;
            }
            match stamp(&dir, &name) {
                Ok(Some(stamp)) => level.entries.push_back(Entry { name, stamp: Some(stamp) }),
                Ok(None) => {}
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(fail(error)),
            }
        }
        Ok(())
    }

    /// The name to sort by; none for what is no object and holds none.
    fn sort_name(&self, dir: &Dir, entry: DirEntry) -> Option<String> {
        let name = entry.file_name().into_string().ok()?;
        let kind = match entry.file_type().ok()? {
            kind if kind.is_file() => Found::File,
            kind if kind.is_dir() => Found::Directory,
            // Not every file system says.
            kind if kind == FileType::unknown() => find(dir, &name).ok()?,
            _ => Found::Other,
        };
        match kind {
            Found::File => Some(name),
            Found::Directory => Some(name + "/"),
            Found::Nothing | Found::Other => None,
        }
    }

    fn is_wanted(&self, path: &str, name: &str) -> bool {
        if path.len() + name.len() > MAX_KEY_BYTES || (path.is_empty() && is_hidden(name)) {
            return false;
        }
        let key = format!("{path}{name}");
        let comes_after = *key > *self.after || (key.ends_with('/') && self.after.starts_with(&key));
        key.starts_with(self.prefix) && comes_after
    }
}

fn stamp(dir: &Dir, name: &str) -> std::io::Result<Option<Stamp>> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Ok(None);
    }
    Ok(Some(Stamp::from(&stat)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::root::Root;
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_directory_is_read_no_further_when_nobody_waits_any_more() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x"), "1").unwrap();
        let root = Root::find(dir.path()).unwrap().enter().unwrap();
        let call = Call::default();
        let fill = || {
            let mut walk = Walk { root: &root, prefix: "", after: "", call: &call, reads: 0, examined: 0 };
            let mut level = Level::new(String::new());
            walk.fill(&mut level, 10).map(|()| level.entries.len())
        };
        assert_eq!(fill(), Ok(1));
        call.abandon(&Arc::default());
        assert!(matches!(fill(), Err(StoreError::Unavailable(_))));
    }
}
