//! Objects in a directory.
//!
//! `dir:PATH` is the directory PATH, which must exist. An object is a plain file at its key's path, so users can look
//! at the store with `ls` and put objects into it with `cp`. As a file is an object as soon as it is there, it is
//! better to copy it to another directory of the same file system and then to `mv` it. The content type is the extended
//! attribute `user.mime_type`; without it, the type is guessed from the file's extension. Metadata is in
//! `user.wasmrun.metadata`.
//!
//! A put makes content and metadata visible in one step, and is durable when it returns. A reader that has opened an
//! object reads it to its end, even if the object is replaced or deleted meanwhile. The conditions "only if absent" and
//! "only if the etag is" hold between processes. The folder `.wasmrun` is the store's own: it holds locks, and temporary
//! and staged files. Leftover temporary files are swept at start, and staged files by the workers of their ledger.
//!
//! What S3 allows and a directory can't hold is [`StoreError::Invalid`]: an object `a` next to an object `a/b`; keys
//! with empty segments, `.` or `..`, more than 255 bytes between two slashes or a NUL; and more than 3,500 bytes of
//! content type and metadata. Symbolic links, pipes, sockets and devices are neither listed nor followed, not even
//! links that stay inside the directory. A directory is removed with its last object, so there are no empty ones.
//!
//! | module         | owns                                                          |
//! |----------------|---------------------------------------------------------------|
//! | `key`          | which keys a directory can hold                               |
//! | `root`         | finding the directory, and directories in it                  |
//! | `object`       | one file: its description, reading                            |
//! | `write`        | putting and deleting                                          |
//! | `staged`       | objects that are staged, for `--once`                         |
//! | `blocking`     | threads for all of this, and abandoned calls                  |
//! | `lock`         | `.wasmrun`: locks, temporary and staged files                 |
//! | `list`         | listings                                                      |
//! | `content_type` | extensions                                                    |
//! | `error`        | the operating system's errors                                 |

mod blocking;
mod content_type;
mod error;
mod key;
mod list;
mod lock;
mod object;
mod root;
mod staged;
mod write;

#[cfg(test)]
mod tests;

use async_trait::async_trait;
use blocking::{Blocking, Call};
use error::failed;
use key::Key;
use lock::Temporary;
use object::FileReader;
use root::Root;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wasmrun_runtime::ports::object_store::{
    Footprint, ObjectInfo, ObjectPage, ObjectReader, ObjectStore, ObjectSummary, ObjectWriter, PutOptions,
    StoreError,
};
use wasmrun_runtime::ports::staging::Staging;
use write::{FileWriter, Put};

const SCHEME: &str = "dir:";
/// The content of a probe's file: enough bytes to notice a full disk.
const PROBE_BYTES: [u8; 4096] = [0; 4096];

/// An object store in a directory.
#[derive(Debug)]
pub struct DirStore {
    url: String,
    /// Prefix of all keys: empty, or ends with `/`.
    prefix: String,
    root: Arc<Root>,
    blocking: Arc<Blocking>,
    swept: Arc<AtomicBool>,
}

impl DirStore {
    /// Opens the directory that a URL `dir:PATH` names. Doesn't write to the directory, as a store may be read-only.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`] if the URL isn't such a URL or the directory doesn't exist, [`StoreError::AccessDenied`]
    /// if the directory can't be read, [`StoreError::Unavailable`] if the system refuses a thread.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        let path =
            url.strip_prefix(SCHEME).filter(|path| !path.is_empty() && !path.contains('\0')).ok_or_else(
                || StoreError::Invalid(format!("{url:?} is not a store's URL: write `{SCHEME}PATH`")),
            )?;
        let root = Root::find(Path::new(path))?;
        let blocking = Arc::new(Blocking::start()?);
        let mut url = format!("{SCHEME}{}", root.path.display());
        if !url.ends_with('/') {
            url.push('/');
        }
        Ok(Self { url, prefix: String::new(), root: Arc::new(root), blocking, swept: Arc::default() })
    }

    /// Returns the directory's path, absolute and without symbolic links.
    pub fn path(&self) -> &Path {
        &self.root.path
    }

    fn key(&self, key: &str) -> Result<Key, StoreError> {
        Key::parse(&self.prefix, key)
    }

    /// Runs `work` on a thread, as calls to a file system block.
    async fn in_root<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Root>, &Call) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let root = Arc::clone(&self.root);
        self.blocking.run((), move |(), call| work(&root, call)).await
    }

    /// Runs `work` like [`Self::in_root`], for work that opens a file: waits first while many files are yet to be
    /// closed.
    async fn open_in_root<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Root>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.blocking.catch_up().await;
        self.in_root(move |root, _| work(root)).await
    }
}

#[async_trait]
impl ObjectStore for DirStore {
    fn url(&self) -> &str {
        &self.url
    }

    fn part(&self, prefix: &str) -> Arc<dyn ObjectStore> {
        Arc::new(Self {
            url: format!("{}{prefix}", self.url),
            prefix: format!("{}{prefix}", self.prefix),
            root: Arc::clone(&self.root),
            blocking: Arc::clone(&self.blocking),
            swept: Arc::clone(&self.swept),
        })
    }

    /// A file system may take two names for one that differ only in upper and lower case.
    fn tells_case(&self) -> bool {
        false
    }

    /// A writer has three open files: its temporary file, the directory of that file, and the store's directory.
    fn writer_holds(&self) -> Footprint {
        Footprint { bytes: 0, files: 3 }
    }

    fn staging(&self) -> Option<&dyn Staging> {
        Some(self)
    }

    fn check_key(&self, key: &str) -> Result<(), StoreError> {
        self.key(key).map(drop)
    }

    async fn clear_away(&self) {
        self.blocking.clear_away().await;
    }

    /// The first probe for writing also removes the temporary files that killed processes left behind.
    async fn probe(&self, write: bool) -> Result<(), StoreError> {
        let swept = Arc::clone(&self.swept);
        self.open_in_root(move |root| {
            root.inside(|entered| {
                let unreadable = |error| failed("read", "", &error);
                entered.dir.entries().map_err(unreadable)?;
                if !write {
                    return Ok(());
                }
                let mut temporary = Temporary::create(entered, "")?;
                temporary.file.write_all(&PROBE_BYTES).map_err(|error| failed("write", "", &error))?;
                if !swept.swap(true, Ordering::Relaxed)
                    && let Err(error) = lock::sweep(entered)
                {
                    tracing::warn!(%error, "cannot remove leftover temporary files");
                }
                Ok(())
            })
        })
        .await
    }

    async fn head(&self, key: &str, version: Option<&str>) -> Result<ObjectInfo, StoreError> {
        refuse_version(version)?;
        let key = self.key(key)?;
        self.in_root(move |root, _| root.inside(|entered| Ok(object::open(entered, &key)?.1))).await
    }

    async fn read(
        &self,
        key: &str,
        version: Option<&str>,
        range: Option<Range<u64>>,
    ) -> Result<Box<dyn ObjectReader>, StoreError> {
        refuse_version(version)?;
        let key = self.key(key)?;
        let (file, info) =
            self.open_in_root(move |root| root.inside(|entered| object::open(entered, &key))).await?;
        Ok(Box::new(FileReader::new(Arc::clone(&self.blocking), file, info, range)))
    }

    async fn write(&self, key: &str, options: PutOptions) -> Result<Box<dyn ObjectWriter>, StoreError> {
        let key = self.key(key)?;
        let put = self.open_in_root(move |root| Put::begin(Arc::clone(root), key, options)).await?;
        Ok(Box::new(FileWriter::new(Arc::clone(&self.blocking), put)))
    }

    async fn list(
        &self,
        prefix: &str,
        continuation: Option<&str>,
        limit: usize,
    ) -> Result<ObjectPage, StoreError> {
        let full = |key: &str| format!("{}{key}", self.prefix);
        let (prefix, after) = (full(prefix), continuation.map(full));
        let listing = self.in_root(move |root, call| {
            root.inside(|entered| list::page(entered, &prefix, after.as_deref(), limit, call))
        });
        let ObjectPage { objects, continuation } = listing.await?;
        let relative = |key: String| key.strip_prefix(&self.prefix).map(str::to_owned);
        let in_part = |object: ObjectSummary| Some(ObjectSummary { key: relative(object.key)?, ..object });
        let objects = objects.into_iter().filter_map(in_part).collect();
        Ok(ObjectPage { objects, continuation: continuation.and_then(relative) })
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let key = self.key(key)?;
        self.in_root(move |root, call| root.inside(|entered| write::delete(entered, &key, call))).await
    }
}

fn refuse_version(version: Option<&str>) -> Result<(), StoreError> {
    match version {
        None => Ok(()),
        Some(_) => {
            Err(StoreError::Invalid("a directory keeps no versions of objects: leave the version out".into()))
        }
    }
}
