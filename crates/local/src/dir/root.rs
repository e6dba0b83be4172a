//! The store's directory. Every operation finds it anew by its path, so that a directory that vanishes and comes back,
//! or is replaced, is noticed and used again.

use super::error::{failed, is_missing, is_no_directory};
use super::key::Key;
use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use wasmrun_runtime::ports::object_store::StoreError;

#[derive(Debug)]
pub(super) struct Root {
    /// Absolute and without symbolic links.
    pub(super) path: PathBuf,
    /// Whether a file system is mounted at the path. If it no longer is, the empty directory at the path isn't the
    /// store.
    mounted: bool,
}

/// The directory as one operation found it.
#[derive(Debug)]
pub(super) struct OpenRoot {
    pub(super) dir: Dir,
    identity: Identity,
}

/// Device and inode.
type Identity = (u64, u64);

/// The kind of file under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    File,
    Directory,
    /// A symbolic link, a pipe, a socket or a device: never an object.
    Other,
}

impl Root {
    /// # Errors
    ///
    /// [`StoreError::Invalid`] if the path doesn't lead to a directory, [`StoreError::AccessDenied`] if it can't be
    /// read.
    pub(super) fn find(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display();
        let refuse = |error: &io::Error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Invalid(format!(
                "there is no directory {shown}: create it, or correct the store's URL"
            )),
            io::ErrorKind::PermissionDenied => {
                StoreError::AccessDenied(format!("the directory {shown} cannot be opened: permission denied"))
            }
            _ => StoreError::Invalid(format!("the directory {shown} cannot be opened: {error}")),
        };
        let path = path.canonicalize().map_err(|error| refuse(&error))?;
        let metadata = path.metadata().map_err(|error| refuse(&error))?;
        if !metadata.is_dir() {
            return Err(StoreError::Invalid(format!("{shown} is not a directory: a `dir:` store is one")));
        }
        if path.to_str().is_none() {
            return Err(StoreError::Invalid(format!("the path {shown} is not UTF-8: rename it")));
        }
        std::fs::read_dir(&path).map_err(|error| refuse(&error))?;
        let mounted = is_mount_point(&path);
        Ok(Self { path, mounted })
    }

    /// Does `work` in the directory, and then checks that the path still leads to the same directory. If it doesn't, an
    /// object that `work` found missing may have gone with the directory.
    pub(super) fn inside<T>(
        &self,
        work: impl FnOnce(&OpenRoot) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let entered = self.enter()?;
        let outcome = work(&entered);
        self.must_still_be(&entered)?;
        outcome
    }

    pub(super) fn enter(&self) -> Result<OpenRoot, StoreError> {
        let dir =
            Dir::open_ambient_dir(&self.path, ambient_authority()).map_err(|error| Self::away(&error))?;
        let identity = rustix::fs::fstat(&dir).map_err(|error| Self::away(&error.into()))?;
        if self.mounted && !is_mount_point(&self.path) {
            return Err(StoreError::Unavailable("the store's file system is not mounted".into()));
        }
        Ok(OpenRoot { dir, identity: (identity.st_dev, identity.st_ino) })
    }

    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the path no longer leads to the directory that was entered.
    pub(super) fn must_still_be(&self, entered: &OpenRoot) -> Result<(), StoreError> {
        let now = self.path.metadata().map_err(|error| Self::away(&error))?;
        if (now.dev(), now.ino()) == entered.identity {
            return Ok(());
        }
        Err(StoreError::Unavailable("the store's directory was replaced meanwhile".into()))
    }

    fn away(error: &io::Error) -> StoreError {
        match error.kind() {
            // Not `AccessDenied`: the error affects every object, not one.
            io::ErrorKind::PermissionDenied => {
                StoreError::Unavailable("the store's directory cannot be opened: permission denied".into())
            }
            _ => StoreError::Unavailable(format!("the store's directory cannot be opened: {error}")),
        }
    }
}

impl OpenRoot {
    /// Returns the directory of a key's object, and the object's name there. No link is followed on the way.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] if there is no such directory, [`StoreError::Invalid`] if a link is in the way.
    pub(super) fn parent<'k>(&self, key: &'k Key, doing: &str) -> Result<(Dir, &'k str), StoreError> {
        let (directories, name) = key.split();
        Ok((self.descend(&directories, doing, key.as_str())?, name))
    }

    pub(super) fn descend(&self, directories: &[&str], doing: &str, key: &str) -> Result<Dir, StoreError> {
        let mut dir = self.dir.try_clone().map_err(|error| failed(doing, key, &error))?;
        for name in directories {
            dir = match dir.open_dir_nofollow(name) {
                Ok(below) => below,
                Err(error) if is_missing(&error) => return Err(StoreError::NotFound),
                Err(error) if is_no_directory(&error) => {
                    return Err(match find(&dir, name).map_err(|error| failed(doing, key, &error))? {
                        Found::Other => not_plain(name, doing, key),
                        _ => StoreError::NotFound,
                    });
                }
                Err(error) => return Err(failed(doing, key, &error)),
            };
        }
        Ok(dir)
    }
}

/// Returns the error for a name that is neither a file nor a directory.
pub(super) fn not_plain(name: &str, doing: &str, key: &str) -> StoreError {
    StoreError::Invalid(format!(
        "cannot {doing} {key:?}: {name:?} is neither a plain file nor a directory, and links and devices are not followed"
    ))
}

/// Finds out what kind of file a name is, without following a link.
pub(super) fn find(dir: &Dir, name: &str) -> io::Result<Found> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Found::File,
            FileType::Directory => Found::Directory,
            _ => Found::Other,
        }),
        Err(rustix::io::Errno::NOENT) => Ok(Found::Nothing),
        Err(error) => Err(error.into()),
    }
}

/// Returns options that follow no link and don't wait for the other end of a pipe.
pub(super) fn plainly() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.follow(FollowSymlinks::No).nonblock(true);
    options
}

/// Opens a handle that can be synced, which the handle of a [`Dir`] can't.
pub(super) fn to_sync(dir: &Dir) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(dir, ".", flags, Mode::empty())?))
}

fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| path.metadata().map(|found| found.dev()).ok();
    path.parent().is_some_and(|parent| device(parent) != device(path))
}
