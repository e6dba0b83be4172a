//! What `wasmrun enqueue` announced before: in memory while it runs, and in a file for the next time, if one is named.
//!
//! The file is lines of JSON. The first one names queue and store, as what was announced to one queue is news to
//! another. Each other one is `["KEY","ETAG"]` of an object that was announced, or `["KEY"]` of one that is gone. Lines
//! are appended after the messages were sent: what a crash cuts off is announced again. A file that holds much more
//! than what is known now is written anew, so that its size follows the number of objects in the store and not the
//! number of changes.

use crate::output::failure::Failure;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use wasmrun_runtime::ports::object_store::ObjectSummary;

/// Most bytes of keys and etags that are read from a file: some forty million objects.
const MAX_KNOWN: usize = 4 << 30;
/// Longest line, in bytes: a key of 1024 bytes, each escaped, and an etag.
const MAX_LINE: u64 = 64 << 10;
/// Lines that a file may hold beyond twice the number of objects, so that a small one isn't written anew all the time.
const SPARE_LINES: usize = 1000;
/// What the first line begins with, whatever it names.
const HEAD_START: &[u8] = b"{\"queue\":\"";

/// What was announced.
pub(crate) struct Seen {
    known: Known,
    record: Option<SeenFile>,
}

/// Key and etag of each object.
type Known = HashMap<String, Option<String>>;

/// The file.
struct SeenFile {
    /// Without symbolic links: it's replaced by another file.
    path: PathBuf,
    file: File,
    head: Head,
    /// Number of lines in the file.
    lines: usize,
    /// Number of lines above which the file is written anew, at least.
    most_lines: usize,
    /// Whether the last line has its end.
    is_whole: bool,
    /// Whether it holds lines that can't be read.
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
    /// Nothing was announced, and nothing will be remembered.
    pub(crate) fn nothing() -> Self {
        Self { known: Known::new(), record: None }
    }

    /// Reads what was announced to this queue from this store, and remembers there what will be. A file that isn't
    /// there is created. Damaged lines are skipped with a warning.
    ///
    /// # Errors
    ///
    /// It can't be read or written, is about something else, or another process uses it.
    pub(crate) fn in_file(path: &Path, queue: &str, store: &str) -> Result<Self, Failure> {
        let failed =
            |what: &str| Failure::usage(format!("cannot use the file {} of --seen: {what}", path.display()));
        let unreadable = |error: io::Error| failed(&error.to_string());
        // To open a pipe would wait for its other end.
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(failed("it is not a file"));
        }
        let file = File::options().create(true).read(true).append(true).open(path).map_err(unreadable)?;
        let path = path.canonicalize().map_err(unreadable)?;
        // What two processes append to one file is lost when either of them writes it anew.
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

    /// Whether what is announced is remembered for the next time.
    pub(crate) fn lasts(&self) -> bool {
        self.record.is_some()
    }

    /// Whether an object was announced as it is.
    pub(crate) fn holds(&self, object: &ObjectSummary) -> bool {
        self.known.get(&object.key) == Some(&object.etag)
    }

    /// Remembers objects that were announced.
    ///
    /// # Errors
    ///
    /// The file can't be written.
    pub(crate) fn add(&mut self, objects: &[ObjectSummary]) -> Result<(), Failure> {
        let named = |object: &ObjectSummary| (object.key.clone(), object.etag.clone());
        self.known.extend(objects.iter().map(named));
        self.write(objects.iter().map(named).map(|(key, etag)| Line::Announced(key, etag)))
    }

    /// Forgets all objects but these: one that was deleted and comes back is announced again.
    ///
    /// # Errors
    ///
    /// The file can't be written.
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

    /// Writes the file anew if it holds much more than what is known. Where that can't be done, the file grows on.
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
    /// Reads what was announced. `None`: the file is empty, or a crash cut off its first line.
    fn read(&mut self, failed: &impl Fn(&str) -> Failure) -> Result<Option<Known>, Failure> {
        let unreadable = |error: io::Error| failed(&error.to_string());
        // As far as it goes now.
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
                            "it tells what was announced from {} to {}: name another file",
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

    /// Makes it a file without objects.
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
        // Until it's known to be.
        self.is_whole = false;
        self.lines += count;
        self.file.write_all(&text)?;
        self.is_whole = true;
        Ok(())
    }

    /// Replaces the file by one that holds what is known, at once and durably: after a crash it's the one or the other.
    fn rewrite(&mut self, known: &Known) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = directory.join(format!(".{name}.{}", std::process::id()));
        let replaced = self.write_to(&temporary, known).and_then(|file| {
            std::fs::rename(&temporary, &self.path)?;
            File::open(directory)?.sync_all()?;
            Ok(file)
        });
        match replaced {
            Ok(file) => {
                (self.file, self.lines, self.is_whole) = (file, known.len() + 1, true);
                Ok(())
            }
            Err(error) => {
                let _ = std::fs::remove_file(&temporary);
                Err(error)
            }
        }
    }

    fn write_to(&self, path: &Path, known: &Known) -> io::Result<File> {
        // One of this name is left from a process that was killed.
        let _ = std::fs::remove_file(path);
        let file = File::options().create_new(true).read(true).append(true).open(path)?;
        file.set_permissions(self.file.metadata()?.permissions())?;
        // Others must find it locked from its first moment under the name.
        let _ = file.try_lock();
        let mut writer = BufWriter::new(&file);
        writer.write_all(&json_line(&self.head))?;
        for (key, etag) in known {
            writer.write_all(&json_line(&(key, etag)))?;
        }
        writer.flush()?;
        drop(writer);
        file.sync_all()?;
        Ok(file)
    }
}

/// Whether a path still leads to a file that was opened.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (opened, there) = (file.metadata()?, path.metadata()?);
    Ok((opened.dev(), opened.ino()) == (there.dev(), there.ino()))
}

/// Whether a line could be the beginning of a first line.
fn is_cut_head(line: &[u8]) -> bool {
    !line.ends_with(b"\n") && (line.starts_with(HEAD_START) || HEAD_START.starts_with(line))
}

fn bytes(key: &str, etag: Option<&str>) -> usize {
    key.len() + etag.map_or(0, str::len)
}

fn json_line(line: &impl Serialize) -> Vec<u8> {
    // Texts always can be.
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
#[path = "seen_tests.rs"]
mod tests;
