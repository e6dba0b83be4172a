//! Lists objects in the order of their keys' bytes.
//!
//! Keys sort differently from names: `a-b` comes before `a/c`. So a directory is sorted by its name with a slash at the
//! end. A directory is read as a whole, but only the names that the page can need are kept. The names kept of all
//! directories on the way down amount to at most a few pages.
//!
//! Other programs may have created any number of directories without objects. So a page for which much was read ends
//! early rather than reading a directory again, and an abandoned call stops reading.

use super::blocking::Call;
use super::error::{failed, is_missing};
use super::key::{is_hidden, may_hold_objects};
use super::object::Stamp;
use super::root::{Found, OpenRoot, find};
use cap_std::fs::{Dir, DirEntry, FileType};
use rustix::fs::AtFlags;
use std::collections::{BinaryHeap, VecDeque};
use wasmrun_runtime::ports::object_store::{MAX_KEY_BYTES, MAX_PAGE, ObjectPage, ObjectSummary, StoreError};

/// Minimum number of names kept of a directory: reading the directory again costs more than keeping a few names.
const MIN_KEPT: usize = 64;
/// Maximum number of names kept of all directories. Beyond it, the upper directories are forgotten, and read again when
/// they are needed.
const MAX_KEPT: usize = 4 * MAX_PAGE;
/// Number of entries and directories examined for one page after which the page may end with fewer objects than asked
/// for.
const MAX_EXAMINED: usize = 20 * MAX_PAGE;
/// Number of entries of a directory after which the call checks again whether it was abandoned.
const LOOK_EVERY: usize = 256;

/// Exists in every ext4 file system, and only root can read it. A store that is a whole file system isn't meant to
/// include it, so a failure to read it is ignored.
const LOST_AND_FOUND: &str = "lost+found/";

/// Lists at most `limit` objects whose keys start with `prefix` and come after `after`.
///
/// A page may hold fewer objects than `limit`, even none, although more follow. It then has a continuation.
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
    // The continuation if the page ended here; `None` until the page has come further than the previous one.
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
                // The directories above the end of the previous page sort before that end.
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

/// A directory of which some entries are known.
struct Level {
    /// The directory as the beginning of a key: empty, or ending with a slash.
    path: String,
    /// The known entries that are yet to be handed out, in the order of the keys.
    entries: VecDeque<Entry>,
    /// The name handed out last. Every name up to it is done.
    done: String,
    /// Whether there may be entries after the known ones.
    unread: bool,
}

struct Entry {
    /// The name, with a slash at the end for a directory.
    name: String,
    /// `None` for a directory.
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

/// Forgets entries while more than [`MAX_KEPT`] are kept. Begins with the upper directories, as the deepest one is
/// needed next.
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
    /// Number of directories that were read.
    reads: usize,
    /// Number of entries in these directories, plus the number of directories opened to reach them.
    examined: usize,
}

impl Walk<'_> {
    /// Reports whether enough was read for this page, so that it ends before `level` is read.
    fn is_enough(&self, level: &Level) -> bool {
        let again = !level.done.is_empty();
        // A single directory may hold that many entries. The directories in it are then still read for this page.
        self.examined >= MAX_EXAMINED && (again || self.reads > MAX_PAGE)
    }

    /// Reads a directory and keeps the first `limit` of the entries that aren't done.
    fn fill(&mut self, level: &mut Level, limit: usize) -> Result<(), StoreError> {
        level.unread = false;
        let directories: Vec<_> = level.path.split_terminator('/').collect();
        self.reads += 1;
        self.examined += 1 + directories.len();
        let dir = match self.root.descend(&directories, "list", &level.path) {
            // Another program removed the directory, or the path never was one.
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

    /// Returns the name to sort an entry by, or `None` for an entry that is neither an object nor a directory.
    fn sort_name(&self, dir: &Dir, entry: DirEntry) -> Option<String> {
        let name = entry.file_name().into_string().ok()?;
        let kind = match entry.file_type().ok()? {
            kind if kind.is_file() => Found::File,
            kind if kind.is_dir() => Found::Directory,
            // Some file systems don't report the type.
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
