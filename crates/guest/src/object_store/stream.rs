//! Objects of any size, read and written front to back.

use std::io::{self, Read, Write};

use super::{Error, ErrorKind, ObjectInfo};
use crate::bindings::wasmrun::task::object_store as raw;

/// Maximum number of bytes that one call to the host carries.
const MAX_CHUNK_BYTES: usize = 1 << 20;

/// The content of one object, front to back.
///
/// Each [`read`](Read::read) is a call to the host. For many small reads, wrap the reader in a
/// [`BufReader`](io::BufReader).
#[derive(Debug)]
pub struct Reader {
    inner: raw::Reader,
    at: Place,
}

impl Reader {
    pub(super) fn new(inner: raw::Reader, alias: &str, key: &str) -> Self {
        Reader { inner, at: Place::new(alias, key) }
    }

    /// Returns the size, etag and metadata of the object that is being read.
    pub fn info(&self) -> ObjectInfo {
        self.inner.info()
    }

    /// Returns the next bytes: at most `max_bytes`, and at most 1 MiB. Empty at the end, and only there.
    /// Avoids the copy that [`Read::read`] makes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the store fails during the read, [`ErrorKind::Other`] if the object was replaced
    /// and the store no longer has the version that was being read.
    pub fn chunk(&mut self, max_bytes: usize) -> Result<Vec<u8>, Error> {
        let max_bytes = max_bytes.clamp(1, MAX_CHUNK_BYTES);
        self.inner.read(max_bytes as u64).map_err(|kind| self.at.error("read", kind))
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let chunk = self.chunk(buffer.len())?;
        let length = chunk.len().min(buffer.len());
        buffer[..length].copy_from_slice(&chunk[..length]);
        Ok(length)
    }

    /// Reads in the largest possible chunks, instead of the small ones that the default implementation starts with.
    fn read_to_end(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let start = buffer.len();
        loop {
            let chunk = self.chunk(MAX_CHUNK_BYTES)?;
            if chunk.is_empty() {
                return Ok(buffer.len() - start);
            }
            buffer.try_reserve(chunk.len())?;
            buffer.extend_from_slice(&chunk);
        }
    }
}

/// An object being written. It becomes visible with [`finish`](Self::finish). Dropped before, it leaves nothing behind.
///
/// Each [`write`](Write::write) is a call to the host. For many small writes, wrap the writer in a
/// [`BufWriter`](io::BufWriter), and take it out with `into_inner` to finish.
#[derive(Debug)]
#[must_use = "an object that is not finished leaves nothing behind"]
pub struct Writer {
    inner: raw::Writer,
    at: Place,
}

impl Writer {
    pub(super) fn new(inner: raw::Writer, alias: &str, key: &str) -> Self {
        Writer { inner, at: Place::new(alias, key) }
    }

    /// Makes the object visible. When it returns, the object is durable.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PreconditionFailed`] if the condition doesn't hold, [`ErrorKind::Unavailable`] if the store fails.
    /// In both cases nothing was written.
    pub fn finish(self) -> Result<ObjectInfo, Error> {
        raw::Writer::finish(self.inner).map_err(|kind| self.at.error("write", kind))
    }
}

impl Write for Writer {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let content = &content[..content.len().min(MAX_CHUNK_BYTES)];
        self.inner.write(content).map_err(|kind| self.at.error("write", kind))?;
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The store and key for error texts.
#[derive(Debug)]
struct Place {
    alias: String,
    key: String,
}

impl Place {
    fn new(alias: &str, key: &str) -> Self {
        Place { alias: alias.to_owned(), key: key.to_owned() }
    }

    fn error(&self, action: &'static str, kind: ErrorKind) -> Error {
        Error::new(action, &self.alias, Some(&self.key), kind)
    }
}
