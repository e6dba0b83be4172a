//! The store's own folder `.wasmrun`: the lock between processes, temporary files, and staged files.
//!
//! A process that puts or deletes an object holds the lock together with others. A process that creates or removes
//! directories, or writes on the condition of an etag, holds it alone. So no directory is removed during a put, and
//! nobody writes between the check of an etag and the write that depends on it. The kernel frees the locks of a process
//! that dies.

use super::blocking::Call;
use super::error::{failed, is_missing};
use super::key::HIDDEN;
use super::root::{OpenRoot, plainly, to_sync};
use cap_fs_ext::DirExt;
use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FlockOperation};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};
use uuid::Uuid;
use wasmrun_runtime::ports::object_store::StoreError;

const LOCK: &str = "lock";
const TEMPORARY: &str = "tmp";
const STAGED: &str = "staged";
/// How long to wait for the lock. It is held for milliseconds, unless a process was stopped while it held the lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    Together,
    Alone,
}

/// The lock, held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(root: &OpenRoot, hold: Hold, call: &Call) -> Result<Self, StoreError> {
        let fail = |error: io::Error| not_found_is_unavailable(failed("lock", HIDDEN, &error));
        let dir = hidden(root).map_err(fail)?;
        let file =
            dir.open_with(LOCK, plainly().read(true).write(true).create(true)).map_err(fail)?.into_std();
        let operation = match hold {
            Hold::Together => FlockOperation::NonBlockingLockShared,
            Hold::Alone => FlockOperation::NonBlockingLockExclusive,
        };
        let deadline = Instant::now() + LOCK_TIMEOUT;
        loop {
            match rustix::fs::flock(&file, operation) {
                Ok(()) => {
                    call.check("lock", HIDDEN)?;
                    return Ok(Self { _file: file });
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => {
                    call.check("lock", HIDDEN)?;
                    std::thread::sleep(Duration::from_micros(fastrand::u64(200..2000)));
                }
                Err(Errno::WOULDBLOCK) => {
                    return Err(StoreError::Unavailable(format!(
                        "another process has locked the store for more than {} s",
                        LOCK_TIMEOUT.as_secs()
                    )));
                }
                Err(error) => return Err(fail(error.into())),
            }
        }
    }
}

/// A file that isn't an object yet. Dropped, it is removed.
///
/// The file is locked while it is open, so that other processes don't take it for one that a killed process left
/// behind.
#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) dir: Dir,
    pub(super) name: String,
    pub(super) file: File,
    /// Whether the file stays when this is dropped: it has become an object, or is staged.
    pub(super) stays: bool,
}

impl Temporary {
    pub(super) fn create(root: &OpenRoot, key: &str) -> Result<Self, StoreError> {
        Self::try_create(root).map_err(|error| not_found_is_unavailable(failed("write", key, &error)))
    }

    fn try_create(root: &OpenRoot) -> io::Result<Self> {
        let dir = subdirectory(&hidden(root)?, TEMPORARY)?;
        // Another process's sweep can come between creating and locking a file, but hardly eight times.
        for _ in 0..8 {
            let name = Uuid::new_v4().simple().to_string();
            let file = dir.open_with(&name, plainly().write(true).create_new(true))?.into_std();
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if file.metadata()?.nlink() > 0 => return Ok(Self { dir, name, file, stays: false }),
                Ok(()) | Err(Errno::WOULDBLOCK) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::Error::other("its temporary file was removed again and again"))
    }

    /// Opens a staged file. Returns `None` if there is none.
    pub(super) fn staged(root: &OpenRoot, name: String) -> io::Result<Option<Self>> {
        let dir = staging_area(root)?;
        match dir.open_with(&name, plainly().read(true)) {
            Ok(file) => Ok(Some(Self { dir, name, file: file.into_std(), stays: true })),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Moves the file, which must be synced, to the staging area.
    pub(super) fn stage(&mut self, root: &OpenRoot, name: &str) -> io::Result<()> {
        let staged = staging_area(root)?;
        rustix::fs::renameat(&self.dir, &self.name, &staged, name)?;
        self.stays = true;
        to_sync(&staged)?.sync_all()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.stays {
            // A file that can't be removed now is swept at the next start.
            let _ = rustix::fs::unlinkat(&self.dir, &self.name, AtFlags::empty());
        }
    }
}

/// Removes the temporary files that killed processes left behind: those that nobody has locked.
pub(super) fn sweep(root: &OpenRoot) -> io::Result<()> {
    let dir = subdirectory(&hidden(root)?, TEMPORARY)?;
    for entry in dir.entries()? {
        let name = entry?.file_name();
        let Ok(file) = dir.open_with(&name, plainly().read(true)) else { continue };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = rustix::fs::unlinkat(&dir, &name, AtFlags::empty());
        }
    }
    Ok(())
}

/// Opens the directory of staged files. Nobody locks them: a ledger knows which of them are in use.
pub(super) fn staging_area(root: &OpenRoot) -> io::Result<Dir> {
    let hidden = hidden(root)?;
    match hidden.open_dir_nofollow(STAGED) {
        Err(error) if is_missing(&error) => {
            let made = subdirectory(&hidden, STAGED)?;
            to_sync(&hidden)?.sync_all()?;
            to_sync(&root.dir)?.sync_all()?;
            Ok(made)
        }
        opened => opened,
    }
}

fn hidden(root: &OpenRoot) -> io::Result<Dir> {
    subdirectory(&root.dir, HIDDEN)
}

/// Opens a directory, and creates it if it doesn't exist.
fn subdirectory(dir: &Dir, name: &str) -> io::Result<Dir> {
    match dir.open_dir_nofollow(name) {
        Err(error) if is_missing(&error) => match dir.create_dir(name) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => dir.open_dir_nofollow(name),
        },
        opened => opened,
    }
}

/// Turns [`StoreError::NotFound`] into [`StoreError::Unavailable`]: a file of the store itself isn't an object that may
/// be missing.
fn not_found_is_unavailable(error: StoreError) -> StoreError {
    match error {
        StoreError::NotFound => {
            StoreError::Unavailable("the store's directory has gone, or takes no files".into())
        }
        other => other,
    }
}
