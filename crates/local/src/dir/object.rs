//! One object as a file: its description, and reading it.

use super::blocking::{Blocking, DropLater};
use super::content_type;
use super::error::failed;
use super::key::Key;
use super::root::{Found, OpenRoot, find, not_plain, plainly};
use async_trait::async_trait;
use bytes::Bytes;
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wasmrun_runtime::model::text::hex;
use wasmrun_runtime::ports::object_store::{ObjectInfo, ObjectReader, StoreError, is_header};

/// The attribute's name at freedesktop.org, which other programs read and write as well.
pub(super) const CONTENT_TYPE: &str = "user.mime_type";
pub(super) const CACHE_CONTROL: &str = "user.wasmrun.cache-control";
/// JSON: `[["name", "value"], …]`.
pub(super) const METADATA: &str = "user.wasmrun.metadata";
/// Maximum size of content type, cache control and metadata together: ext4 gives all attributes of a file one block of 4 KiB.
pub(super) const MAX_ATTRIBUTE_BYTES: usize = 3500;
/// Maximum size of one read, however much the caller asks for.
const MAX_READ: usize = 1 << 20;
const ETAG_BYTES: usize = 16;

/// Metadata that distinguishes one content of a file from another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) inode: u64,
    pub(super) size: u64,
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, i64),
    pub(super) changed: (i64, i64),
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl From<&rustix::fs::Stat> for Stamp {
    fn from(stat: &rustix::fs::Stat) -> Self {
        Self {
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or_default()),
            changed: (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or_default()),
        }
    }
}

impl Stamp {
    /// Returns an etag that changes whenever the content changes.
    ///
    /// A put writes a new file, whose time of modification is set to the nanosecond. Other programs can't set the time
    /// of change, and every write moves it. (The etag also changes with the file's permissions and links.)
    pub(super) fn etag(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.inode.to_le_bytes());
        hash.update(self.size.to_le_bytes());
        for (seconds, nanoseconds) in [self.modified, self.changed] {
            hash.update(seconds.to_le_bytes());
            hash.update(nanoseconds.to_le_bytes());
        }
        hex(&hash.finalize()[..ETAG_BYTES])
    }

    pub(super) fn modified_at(&self) -> Option<SystemTime> {
        let (seconds, nanoseconds) = self.modified;
        let since_1970 = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanoseconds).ok()?);
        UNIX_EPOCH.checked_add(since_1970)
    }
}

/// Opens an object's file. The open file stays whole, even if the object is replaced or deleted.
pub(super) fn open(root: &OpenRoot, key: &Key) -> Result<(File, ObjectInfo), StoreError> {
    let fail = |error: io::Error| failed("read", key.as_str(), &error);
    let (dir, name) = root.parent(key, "read")?;
    let file = match dir.open_with(name, plainly().read(true)) {
        Ok(file) => file.into_std(),
        Err(error) => {
            return Err(match find(&dir, name).map_err(fail)? {
                Found::Nothing => StoreError::NotFound,
                Found::Other => not_plain(name, "read", key.as_str()),
                Found::File | Found::Directory => fail(error),
            });
        }
    };
    let metadata = file.metadata().map_err(fail)?;
    if metadata.is_dir() {
        return Err(StoreError::NotFound);
    }
    if !metadata.is_file() {
        return Err(not_plain(name, "read", key.as_str()));
    }
    let info = describe(&file, &metadata, key).map_err(fail)?;
    Ok((file, info))
}

pub(super) fn describe(file: &File, metadata: &Metadata, key: &Key) -> io::Result<ObjectInfo> {
    let stamp = Stamp::from(metadata);
    // Other programs may have written anything.
    let header = |name| Ok::<_, io::Error>(attribute(file, name)?.filter(|value| is_header(value)));
    let (content_type, cache_control) = (header(CONTENT_TYPE)?, header(CACHE_CONTROL)?);
    let stored = attribute(file, METADATA)?;
    Ok(ObjectInfo {
        key: key.as_str().to_owned(),
        size: stamp.size,
        etag: Some(stamp.etag()),
        version: None,
        content_type: content_type.or_else(|| content_type::guess(key.as_str()).map(str::to_owned)),
        cache_control,
        metadata: stored.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default(),
        modified_at: stamp.modified_at(),
    })
}

/// Reads an extended attribute. Returns `None` for a value that isn't UTF-8 or is too long: this store wrote neither.
fn attribute(file: &File, name: &str) -> io::Result<Option<String>> {
    let mut value = [0; MAX_ATTRIBUTE_BYTES];
    match rustix::fs::fgetxattr(file, name, &mut value[..]) {
        Ok(length) => Ok(std::str::from_utf8(&value[..length]).ok().map(str::to_owned)),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads an open file front to back.
pub(super) struct FileReader {
    blocking: Arc<Blocking>,
    file: Arc<DropLater<File>>,
    info: ObjectInfo,
    /// The range that is left to read, cut to the file's size.
    left: Range<u64>,
}

impl FileReader {
    pub(super) fn new(
        blocking: Arc<Blocking>,
        file: File,
        info: ObjectInfo,
        range: Option<Range<u64>>,
    ) -> Self {
        let range = range.unwrap_or(0..info.size);
        let left = range.start.min(info.size)..range.end.min(info.size);
        let file = Arc::new(blocking.drop_later(file));
        Self { blocking, file, info, left }
    }
}

#[async_trait]
impl ObjectReader for FileReader {
    fn info(&self) -> &ObjectInfo {
        &self.info
    }

    async fn read(&mut self, max: usize) -> Result<Bytes, StoreError> {
        let left = self.left.end.saturating_sub(self.left.start);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(max).min(MAX_READ);
        if length == 0 {
            return Ok(Bytes::new());
        }
        let (file, at) = (Arc::clone(&self.file), self.left.start);
        let read = self.blocking.run((), move |(), _| Ok(read_at(&file, at, length))).await?;
        let content = read.map_err(|error| failed("read", &self.info.key, &error))?;
        self.left.start += content.len() as u64;
        if content.is_empty() {
            // Another program truncated the file.
            self.left.end = self.left.start;
        }
        Ok(content)
    }
}

fn read_at(file: &File, at: u64, length: usize) -> io::Result<Bytes> {
    let mut content = vec![0; length];
    loop {
        match file.read_at(&mut content, at) {
            Ok(read) => {
                content.truncate(read);
                return Ok(content.into());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
