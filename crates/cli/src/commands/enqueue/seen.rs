//! Remembers the objects that `wasmrun enqueue` announced: in memory, and in the file of `--seen` for the next start.
//!
//! The file consists of JSON lines. The first line names the queue and the store, as an object that was announced to
//! one queue is new to another. Each other line is `["KEY","ETAG"]` of an announced object, or `["KEY"]` of a deleted
//! object. Lines are appended after the messages were sent: objects whose lines a crash cuts off are announced again. A
//! file with many more lines than known objects is rewritten, so that its size follows the number of objects in the
//! store and not the number of changes.

use crate::output::failure::Failure;
use crate::output::files::replace;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use wasmrun_runtime::ports::object_store::ObjectSummary;

/// Maximum number of bytes of keys and etags that are read from a file: those of some forty million objects.
const MAX_KNOWN: usize = 4 << 30;
/// Maximum length of a line in bytes: a key of 1024 bytes, each escaped, and an etag.
const MAX_LINE: u64 = 64 << 10;
/// Number of lines that a file may hold beyond twice the number of objects, so that a small file isn't rewritten often.
const SPARE_LINES: usize = 1000;
/// Beginning of every first line.
const HEAD_START: &[u8] = b"{\"queue\":\"";

/// The announced objects.
pub(crate) struct Seen {
    known: Known,
    record: Option<SeenFile>,
}

/// Key and etag of each object.
type Known = HashMap<String, Option<String>>;

/// The file of `--seen`.
struct SeenFile {
    /// Path with all symbolic links resolved, as a rewrite replaces the file and must not replace a link.
    path: PathBuf,
    file: File,
    head: Head,
    /// Number of lines in the file.
    lines: usize,
    /// Number of lines up to which the file isn't rewritten, after a rewrite has failed. Otherwise 0.
    most_lines: usize,
    /// Whether the last line ends with a line break.
    is_whole: bool,
    /// Whether the file holds lines that can't be parsed.
    is_damaged: bool,
}

/// The file's first line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    queue: String,
    store: String,
}

/// Any other line.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Announced(String, Option<String>),
    Gone((String,)),
}

impl Seen {
    /// Starts without announced objects, and remembers them only in memory.
    pub(crate) fn nothing() -> Self {
        Self { known: Known::new(), record: None }
    }

    /// Reads the objects of this store that were announced to this queue, and adds further ones to the file. Creates a
    /// missing file. Skips damaged lines with a warning.
    ///
    /// # Errors
    ///
    /// Fails if the file can't be read or written, is about another queue or store, or is used by another process.
    pub(crate) fn in_file(path: &Path, queue: &str, store: &str) -> Result<Self, Failure> {
        let failed =
            |what: &str| Failure::usage(format!("cannot use the file {} of --seen: {what}", path.display()));
        let unreadable = |error: io::Error| failed(&error.to_string());
        // Opening a pipe would block until its other end is opened.
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(failed("it is not a file"));
        }
        let file = File::options().create(true).read(true).append(true).open(path).map_err(unreadable)?;
        let path = path.canonicalize().map_err(unreadable)?;
        // If two processes appended to the file, a rewrite by one would lose lines of the other.
        let is_taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        if is_taken || !is_at(&file, &path).map_err(unreadable)? {
            return Err(failed("another process uses it"));
        }
        let head = Head { queue: queue.to_owned(), store: store.to_owned() };
        let mut record =
            SeenFile { path, file, head, lines: 0, most_lines: 0, is_whole: true, is_damaged: false };
        let mut seen = match record.read(&failed)? {
            Some(known) => Self { known, record: Some(record) },
            None => {
                record.begin().map_err(unreadable)?;
                Self { known: Known::new(), record: Some(record) }
            }
        };
        seen.compact();
        Ok(seen)
    }

    /// Returns whether announced objects are remembered for the next start.
    pub(crate) fn lasts(&self) -> bool {
        self.record.is_some()
    }

    /// Returns whether an object was announced with its current etag.
    pub(crate) fn holds(&self, object: &ObjectSummary) -> bool {
        self.known.get(&object.key) == Some(&object.etag)
    }

    /// Remembers objects that were announced.
    ///
    /// # Errors
    ///
    /// Fails if the file can't be written.
    pub(crate) fn add(&mut self, objects: &[ObjectSummary]) -> Result<(), Failure> {
        let named = |object: &ObjectSummary| (object.key.clone(), object.etag.clone());
        self.known.extend(objects.iter().map(named));
        self.write(objects.iter().map(named).map(|(key, etag)| Line::Announced(key, etag)))
    }

    /// Forgets all objects but those that are present, so that a deleted object that comes back is announced again.
    ///
    /// # Errors
    ///
    /// Fails if the file can't be written.
    pub(crate) fn forget_all_but(&mut self, present: impl Fn(&str) -> bool) -> Result<(), Failure> {
        let gone: Vec<String> = self.known.keys().filter(|key| !present(key)).cloned().collect();
        self.known.retain(|key, _| present(key));
        self.write(gone.into_iter().map(|key| Line::Gone((key,))))
    }

    fn write(&mut self, lines: impl Iterator<Item = Line>) -> Result<(), Failure> {
        let Some(record) = &mut self.record else { return Ok(()) };
        record.append(lines).map_err(|error| {
            Failure::backend(format!("cannot write {} of --seen: {error}", record.path.display()))
        })?;
        self.compact();
        Ok(())
    }

    /// Rewrites the file if it has damaged lines, or many more lines than known objects. If that fails, the file grows.
    fn compact(&mut self) {
        let Some(record) = &mut self.record else { return };
        let enough = self.known.len().saturating_mul(2).saturating_add(SPARE_LINES);
        if record.lines <= enough.max(record.most_lines) && !record.is_damaged {
            return;
        }
        record.is_damaged = false;
        match record.rewrite(&self.known) {
            Ok(()) => record.most_lines = 0,
            Err(error) => {
                let file = record.path.display();
                tracing::warn!(%file, %error, "cannot compact the file of --seen: it grows");
                record.most_lines = record.lines.saturating_mul(2);
            }
        }
    }
}

impl SeenFile {
    /// Reads the announced objects. Returns `None` if the file is empty, or if a crash cut off its first line.
    fn read(&mut self, failed: &impl Fn(&str) -> Failure) -> Result<Option<Known>, Failure> {
        let unreadable = |error: io::Error| failed(&error.to_string());
        // Reads no further than the current size.
        let size = self.file.metadata().map_err(unreadable)?.len();
        let mut lines = BufReader::new((&self.file).take(size));
        let (mut known, mut known_bytes, mut damaged) = (Known::new(), 0, 0);
        let mut line = Vec::new();
        while (&mut lines).take(MAX_LINE).read_until(b'\n', &mut line).map_err(unreadable)? > 0 {
            self.is_whole = line.ends_with(b"\n");
            self.lines += 1;
            if self.lines == 1 {
                match serde_json::from_slice::<Head>(&line) {
                    Ok(found) if found == self.head => {}
                    Ok(found) => {
                        return Err(failed(&format!(
                            "it records what was announced from {} to {}: name another file",
                            found.store, found.queue
                        )));
                    }
                    Err(_) if is_cut_head(&line) && line.len() as u64 == size => {
                        let file = self.path.display();
                        tracing::warn!(%file, "skipped the damaged first line of --seen: nothing follows it");
                        return Ok(None);
                    }
                    Err(_) => return Err(failed("it is not one that --seen has written")),
                }
            } else {
                match serde_json::from_slice(&line) {
                    Ok(Line::Announced(key, etag)) => {
                        known_bytes += bytes(&key, etag.as_deref());
                        let key_bytes = key.len();
                        if let Some(before) = known.insert(key, etag) {
                            known_bytes -= key_bytes + before.map_or(0, |etag| etag.len());
                        }
                        if known_bytes > MAX_KNOWN {
                            return Err(failed(
                                "it names more objects than can be remembered: watch parts of the store, each with --prefix and a file of its own",
                            ));
                        }
                    }
                    Ok(Line::Gone((key,))) => {
                        let before = known.remove(&key);
                        known_bytes -= before.map_or(0, |etag| bytes(&key, etag.as_deref()));
                    }
                    Err(_) => damaged += 1,
                }
            }
            line.clear();
        }
        self.is_damaged = damaged > 0;
        if self.is_damaged {
            let file = self.path.display();
            tracing::warn!(%file, lines = damaged, "skipped damaged lines of --seen: their objects are announced again");
        }
        Ok((self.lines > 0).then_some(known))
    }

    /// Empties the file, and writes its first line.
    fn begin(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all(&json_line(&self.head))?;
        (self.lines, self.is_whole) = (1, true);
        Ok(())
    }

    fn append(&mut self, lines: impl Iterator<Item = Line>) -> io::Result<()> {
        let (mut text, mut count) = (Vec::new(), 0);
        for line in lines {
            text.extend(json_line(&line));
            count += 1;
        }
        if count == 0 {
            return Ok(());
        }
        if !self.is_whole {
            text.insert(0, b'\n');
        }
        // If the write fails, the last line may be torn.
        self.is_whole = false;
        self.lines += count;
        self.file.write_all(&text)?;
        self.is_whole = true;
        Ok(())
    }

    /// Replaces the file by one with the known objects.
    fn rewrite(&mut self, known: &Known) -> io::Result<()> {
        let head = &self.head;
        let file = replace(&self.path, None, |file| {
            // Before it has its name, so that no other process can take the file.
            let _ = file.try_lock();
            let mut writer = BufWriter::new(file);
            writer.write_all(&json_line(head))?;
            for (key, etag) in known {
                writer.write_all(&json_line(&(key, etag)))?;
            }
            writer.flush()
        })?;
        (self.file, self.lines, self.is_whole) = (file, known.len() + 1, true);
        Ok(())
    }
}

/// Returns whether a path still leads to an opened file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (opened, there) = (file.metadata()?, path.metadata()?);
    Ok((opened.dev(), opened.ino()) == (there.dev(), there.ino()))
}

/// Returns whether a line could be the beginning of a first line.
fn is_cut_head(line: &[u8]) -> bool {
    !line.ends_with(b"\n") && (line.starts_with(HEAD_START) || HEAD_START.starts_with(line))
}

fn bytes(key: &str, etag: Option<&str>) -> usize {
    key.len() + etag.map_or(0, str::len)
}

fn json_line(line: &impl Serialize) -> Vec<u8> {
    // Strings can always be written as JSON.
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
#[path = "seen_tests.rs"]
mod tests;
