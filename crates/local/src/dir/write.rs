//! Writing and deleting objects.
//!
//! An object is written to a temporary file, synced with its metadata in extended attributes, and then renamed, so that
//! it becomes visible in one step. When a call returns, the directories that lead to the object are on the disk as
//! well.

use super::blocking::{Blocking, Call, DropLater};
use super::content_type;
use super::error::{failed, is_missing, is_no_directory};
use super::key::Key;
use super::lock::{Hold, Lock, Temporary};
use super::object::{self, CACHE_CONTROL, CONTENT_TYPE, MAX_ATTRIBUTE_BYTES, METADATA};
use super::root::{Found, OpenRoot, Root, find, not_plain, to_sync};
use async_trait::async_trait;
use bytes::Bytes;
use cap_fs_ext::DirExt;
use cap_std::fs::Dir;
use rustix::fs::{AtFlags, RenameFlags, Timespec, Timestamps, UTIME_NOW, XattrFlags};
use rustix::io::Errno;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use wasmrun_runtime::ports::object_store::{Condition, ObjectInfo, ObjectWriter, PutOptions, StoreError};
use wasmrun_runtime::ports::staging::StagedName;

/// Number of attempts to place a file before the write fails. Other programs may remove its directories meanwhile.
const MAX_ATTEMPTS: usize = 16;

/// An object that is being written.
pub(super) struct FileWriter {
    blocking: Arc<Blocking>,
    key: Key,
    /// `None` after a failed write, and while a write runs: if its future is dropped, the file is removed with it.
    put: Option<DropLater<Put>>,
    /// The name under which the file is staged instead of becoming an object.
    staged: Option<StagedName>,
}

/// A temporary file, and the object that it is to become.
pub(super) struct Put {
    pub(super) root: Arc<Root>,
    /// The store's directory that holds the temporary file. The file can be renamed only within it.
    pub(super) entered: OpenRoot,
    pub(super) key: Key,
    pub(super) options: PutOptions,
    pub(super) temporary: Temporary,
}

impl FileWriter {
    pub(super) fn new(blocking: Arc<Blocking>, put: Put) -> Self {
        Self { key: put.key.clone(), put: Some(blocking.drop_later(put)), blocking, staged: None }
    }

    /// Creates a writer whose file is staged when it has finished.
    pub(super) fn staging(blocking: Arc<Blocking>, put: Put, name: StagedName) -> Self {
        Self { staged: Some(name), ..Self::new(blocking, put) }
    }

    fn take(&mut self) -> Result<Put, StoreError> {
        let failed_before =
            || StoreError::Unavailable(format!("writing {:?} failed before", self.key.as_str()));
        self.put.take().map(DropLater::into_inner).ok_or_else(failed_before)
    }
}

#[async_trait]
impl ObjectWriter for FileWriter {
    async fn write(&mut self, content: Bytes) -> Result<(), StoreError> {
        let put = self.take()?;
        let put = self.blocking.run(put, move |put, _| put.write(&content)).await?;
        self.put = Some(self.blocking.drop_later(put));
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<ObjectInfo, StoreError> {
        let (put, staged) = (self.take()?, self.staged);
        let finish = move |put: Put, call: &Call| match staged {
            Some(name) => put.stage(name, call),
            None => put.finish(call),
        };
        self.blocking.run(put, finish).await
    }
}

/// Why placing a file has to be attempted again.
enum Again {
    /// The object's directory doesn't exist and must be created.
    NoDirectory,
    /// The lock must be held alone.
    Alone,
}

impl Put {
    pub(super) fn begin(root: Arc<Root>, key: Key, options: PutOptions) -> Result<Self, StoreError> {
        let entered = root.enter()?;
        let temporary = Temporary::create(&entered, key.as_str())?;
        Ok(Self { root, entered, key, options, temporary })
    }

    fn write(mut self, content: &[u8]) -> Result<Self, StoreError> {
        let fail = |error: io::Error| failed("write", self.key.as_str(), &error);
        self.temporary.file.write_all(content).map_err(fail)?;
        Ok(self)
    }

    pub(super) fn finish(mut self, call: &Call) -> Result<ObjectInfo, StoreError> {
        self.make_durable()?;
        self.become_object(call)
    }

    /// Syncs the file with its metadata.
    pub(super) fn make_durable(&self) -> Result<(), StoreError> {
        let fail = |error: io::Error| failed("write", self.key.as_str(), &error);
        self.attach_metadata()?;
        // Sets the time to the nanosecond, as the file system's own clock ticks in milliseconds: see `Stamp::etag`.
        rustix::fs::futimens(&self.temporary.file, &now()).map_err(|error| fail(error.into()))?;
        self.temporary.file.sync_all().map_err(fail)
    }

    /// Gives the file, which must be durable, its object's name.
    pub(super) fn become_object(&mut self, call: &Call) -> Result<ObjectInfo, StoreError> {
        let key = self.key.clone();
        let fail = |error: io::Error| failed("write", key.as_str(), &error);
        let mut hold = match self.options.condition {
            Condition::IfMatch(_) => Hold::Alone,
            Condition::Always | Condition::IfAbsent => Hold::Together,
        };
        for _ in 0..MAX_ATTEMPTS {
            match self.place(hold, call)? {
                Ok(()) => {
                    let metadata = self.temporary.file.metadata().map_err(fail)?;
                    let info = object::describe(&self.temporary.file, &metadata, &key).map_err(fail)?;
                    self.root.must_still_be(&self.entered)?;
                    return Ok(info);
                }
                Err(Again::NoDirectory) => self.create_parents(call)?,
                Err(Again::Alone) => hold = Hold::Alone,
            }
        }
        Err(StoreError::Unavailable(format!(
            "cannot write {:?}: another program keeps changing its directory",
            self.key.as_str()
        )))
    }

    /// Attaches content type, cache control and metadata before the rename, so that they become visible together with the content.
    fn attach_metadata(&self) -> Result<(), StoreError> {
        let PutOptions { content_type, cache_control, metadata, .. } = &self.options;
        let key = self.key.as_str();
        let json = if metadata.is_empty() { None } else { serde_json::to_string(metadata).ok() };
        let attributes = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, cache_control), (METADATA, &json)];
        let size: usize = attributes.iter().filter_map(|(_, value)| value.as_ref().map(String::len)).sum();
        if size > MAX_ATTRIBUTE_BYTES {
            return Err(StoreError::Invalid(format!(
                "cannot write {key:?}: its content type, cache control and metadata take {size} bytes, and a file \
                 keeps at most {MAX_ATTRIBUTE_BYTES}"
            )));
        }
        for (name, value) in attributes {
            let Some(value) = value else { continue };
            match rustix::fs::fsetxattr(&self.temporary.file, name, value.as_bytes(), XattrFlags::empty()) {
                Ok(()) => {}
                // A content type that would be guessed anyway needn't be stored.
                Err(Errno::OPNOTSUPP)
                    if name == CONTENT_TYPE && content_type::guess(key) == Some(value.as_str()) => {}
                Err(Errno::OPNOTSUPP) => {
                    return Err(StoreError::Invalid(format!(
                        "cannot write {key:?}: the store's file system has no extended attributes to keep its content \
                         type, cache control and metadata in"
                    )));
                }
                Err(error) => return Err(failed("write", key, &error.into())),
            }
        }
        Ok(())
    }

    fn place(&mut self, hold: Hold, call: &Call) -> Result<Result<(), Again>, StoreError> {
        let key = self.key.as_str();
        let fail = |error: io::Error| failed("write", key, &error);
        let lock = Lock::take(&self.entered, hold, call)?;
        let (directories, name) = self.key.split();
        let dir = match self.entered.descend(&directories, "write", key) {
            Err(StoreError::NotFound) => return Ok(Err(Again::NoDirectory)),
            descended => descended?,
        };
        match find(&dir, name).map_err(fail)? {
            Found::Nothing => {}
            Found::File if self.options.condition == Condition::IfAbsent => {
                return Err(StoreError::PreconditionFailed);
            }
            Found::File => {}
            Found::Directory if hold == Hold::Together => return Ok(Err(Again::Alone)),
            Found::Directory => remove_if_empty(&dir, name, key)?,
            Found::Other => return Err(not_plain(name, "write", key)),
        }
        if let Condition::IfMatch(etag) = &self.options.condition {
            match object::open(&self.entered, &self.key) {
                Ok((_, info)) if info.etag.as_ref() == Some(etag) => {}
                Ok(_) | Err(StoreError::NotFound) => return Err(StoreError::PreconditionFailed),
                Err(error) => return Err(error),
            }
        }
        let synced = to_sync(&dir).map_err(fail)?;
        self.root.must_still_be(&self.entered)?;
        call.check("write", key)?;
        let renamed = match self.options.condition {
            Condition::IfAbsent => rename_if_absent(&self.temporary, &dir, name),
            Condition::Always | Condition::IfMatch(_) => {
                rustix::fs::renameat(&self.temporary.dir, &self.temporary.name, &dir, name)
            }
        };
        match renamed {
            Ok(()) => self.temporary.stays = true,
            Err(Errno::EXIST) if self.options.condition == Condition::IfAbsent => {
                return Err(StoreError::PreconditionFailed);
            }
            Err(Errno::NOENT) => return Ok(Err(Again::NoDirectory)),
            Err(error) => return Err(fail(error.into())),
        }
        drop(lock);
        synced.sync_all().map_err(fail)?;
        Ok(Ok(()))
    }

    /// Creates the directories that lead to the object. Each is durable before anybody can use it.
    fn create_parents(&self, call: &Call) -> Result<(), StoreError> {
        let key = self.key.as_str();
        let fail = |error: io::Error| failed("write", key, &error);
        let _lock = Lock::take(&self.entered, Hold::Alone, call)?;
        let mut dir = self.entered.dir.try_clone().map_err(fail)?;
        for name in self.key.split().0 {
            dir = match dir.open_dir_nofollow(name) {
                Ok(below) => below,
                Err(error) if is_missing(&error) => {
                    match dir.create_dir(name) {
                        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                            return Err(fail(error));
                        }
                        _ => to_sync(&dir).and_then(|synced| synced.sync_all()).map_err(fail)?,
                    }
                    dir.open_dir_nofollow(name).map_err(fail)?
                }
                Err(error) if is_no_directory(&error) => {
                    return Err(match find(&dir, name).map_err(fail)? {
                        Found::File => below_object(key, name),
                        _ => not_plain(name, "write", key),
                    });
                }
                Err(error) => return Err(fail(error)),
            };
        }
        Ok(())
    }
}

/// Returns the error for an object whose directory would be an object.
pub(super) fn below_object(key: &str, name: &str) -> StoreError {
    StoreError::Invalid(format!(
        "cannot write {key:?}: {name:?} is an object, and in a directory there can be none below it"
    ))
}

/// Returns the error for an object whose name is that of a directory.
pub(super) fn above_objects(key: &str) -> StoreError {
    StoreError::Invalid(format!(
        "cannot write {key:?}: there are objects below {key:?}/, and in a directory it cannot be one as well"
    ))
}

/// Removes an empty directory, so that an object can take its name.
fn remove_if_empty(dir: &Dir, name: &str, key: &str) -> Result<(), StoreError> {
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Err(above_objects(key)),
        Err(error) => Err(failed("write", key, &error.into())),
    }
}

/// Renames the temporary file unless the object exists. Of several concurrent renames, in any process, one succeeds.
fn rename_if_absent(temporary: &Temporary, dir: &Dir, name: &str) -> rustix::io::Result<()> {
    let renamed =
        rustix::fs::renameat_with(&temporary.dir, &temporary.name, dir, name, RenameFlags::NOREPLACE);
    match renamed {
        // Not every file system supports `NOREPLACE`. A hard link never replaces a file either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            rustix::fs::linkat(&temporary.dir, &temporary.name, dir, name, AtFlags::empty())?;
            rustix::fs::unlinkat(&temporary.dir, &temporary.name, AtFlags::empty())
        }
        renamed => renamed,
    }
}

/// Returns the current time: of access by the system's own clock, of modification to the nanosecond.
fn now() -> Timestamps {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        last_modification: Timespec {
            tv_sec: i64::try_from(since_1970.as_secs()).unwrap_or_default(),
            tv_nsec: since_1970.subsec_nanos().into(),
        },
    }
}

/// Deletes an object, and the directories that become empty without it.
pub(super) fn delete(root: &OpenRoot, key: &Key, call: &Call) -> Result<(), StoreError> {
    let fail = |error: io::Error| failed("delete", key.as_str(), &error);
    let (dir, name) = match root.parent(key, "delete") {
        Err(StoreError::NotFound) => return Ok(()),
        found => found?,
    };
    match find(&dir, name).map_err(fail)? {
        Found::Nothing | Found::Directory => return Ok(()),
        Found::Other => return Err(not_plain(name, "delete", key.as_str())),
        Found::File => {}
    }
    let synced = to_sync(&dir).map_err(fail)?;
    let lock = Lock::take(root, Hold::Together, call)?;
    match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => {}
        Err(error) => return Err(fail(error.into())),
    }
    drop(lock);
    synced.sync_all().map_err(fail)?;
    if dir.entries().is_ok_and(|mut entries| entries.next().is_none()) {
        prune(root, key, call);
    }
    Ok(())
}

/// Removes the directories above a key, from the last one up, as long as they are empty. Best effort, as an empty
/// directory is not an object.
fn prune(root: &OpenRoot, key: &Key, call: &Call) {
    let (directories, _) = key.split();
    let Ok(_lock) = Lock::take(root, Hold::Alone, call) else { return };
    for depth in (0..directories.len()).rev() {
        let Ok(above) = root.descend(&directories[..depth], "delete", key.as_str()) else { return };
        if rustix::fs::unlinkat(&above, directories[depth], AtFlags::REMOVEDIR).is_err() {
            return;
        }
        let _ = to_sync(&above).and_then(|synced| synced.sync_all());
    }
}
