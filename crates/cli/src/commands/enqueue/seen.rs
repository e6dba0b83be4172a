//! What `wasmrun enqueue` announced before: in memory while it runs, and in a file for the next time, if one is named.
//!
//! The file is lines of JSON. The first one names queue and store, as what was announced to one queue is news to another. Each
//! other one is `["KEY","ETAG"]` of an object that was announced, or `["KEY"]` of one that is gone. Lines are appended after
//! the messages were sent: what a crash cuts off is announced again. A file that holds much more than what is known now is
//! written anew, so that its size follows the number of objects in the store and not the number of changes.

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
    record: Option<Record>,
}

/// Key and etag of each object.
type Known = HashMap<String, Option<String>>;

/// The file.
struct Record {
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

    /// Reads what was announced to this queue from this store, and remembers there what will be. A file that isn't there is
    /// created. Damaged lines are skipped with a warning.
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
            return Err(failed("it isn't a file"));
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
            Record { path, file, head, lines: 0, most_lines: 0, is_whole: true, is_damaged: false };
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

impl Record {
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
                    Err(_) => return Err(failed("it isn't one that --seen has written")),
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
mod tests {
    use super::*;

    fn object(key: &str, etag: &str) -> ObjectSummary {
        ObjectSummary { key: key.into(), size: 1, etag: Some(etag.into()), modified_at: None }
    }

    #[test]
    fn what_was_announced_is_known_the_next_time_and_what_was_cut_off_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("seen");
        let open = || Seen::in_file(&path, "sqlite:q", "dir:s/").expect("usable");
        let mut seen = open();
        seen.add(&[object("a\n\"", "1"), object("b", "1")]).expect("written");
        seen.add(&[object("b", "2"), object("c", "1")]).expect("written");
        seen.forget_all_but(|key| key != "c").expect("written");
        drop(seen);
        File::options()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(b"[\"d\",\""))
            .expect("cut");
        for _ in 0..2 {
            let mut seen = open();
            assert!(seen.holds(&object("a\n\"", "1")) && seen.holds(&object("b", "2")));
            assert!(
                ![object("b", "1"), object("c", "1"), object("d", "1")].iter().any(|other| seen.holds(other))
            );
            seen.add(&[object("e", "1")]).expect("written");
        }
        assert!(open().holds(&object("e", "1")), "what follows a line that was cut off isn't lost");
    }

    #[test]
    fn a_file_that_is_about_something_else_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("seen");
        drop(Seen::in_file(&path, "sqlite:q", "dir:s/").expect("usable"));
        let refused = |path: &Path, queue: &str| match Seen::in_file(path, queue, "dir:s/") {
            Err(failure) => failure.to_string(),
            Ok(_) => panic!("{} is taken", path.display()),
        };
        assert!(refused(&path, "sqlite:other").contains("name another file"));
        assert!(refused(directory.path(), "sqlite:q").contains("isn't a file"));
        assert!(refused(Path::new("/dev/zero"), "sqlite:q").contains("isn't a file"));
        let text = directory.path().join("text");
        std::fs::write(&text, "my notes\n").expect("written");
        assert!(refused(&text, "sqlite:q").contains("isn't one that --seen has written"));
        assert_eq!(std::fs::read(&text).expect("read"), b"my notes\n");
    }

    #[test]
    fn a_file_of_which_a_crash_cut_off_the_first_line_is_begun_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("seen");
        let mut seen = Seen::in_file(&path, "sqlite:q", "dir:s/").expect("usable");
        seen.add(&[object("a", "1")]).expect("written");
        drop(seen);
        let whole = std::fs::read(&path).expect("read");
        let head = whole.iter().position(|&byte| byte == b'\n').expect("a line");
        for length in 0..head {
            std::fs::write(&path, &whole[..length]).expect("cut");
            let mut seen = Seen::in_file(&path, "sqlite:q", "dir:s/").expect("usable");
            assert!(!seen.holds(&object("a", "1")));
            seen.add(&[object("a", "1")]).expect("written");
            drop(seen);
            assert_eq!(std::fs::read(&path).expect("read"), whole, "after {length} bytes");
        }
    }

    #[test]
    fn a_file_stays_in_proportion_to_the_objects_however_often_they_change() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("seen");
        let open = || Seen::in_file(&path, "sqlite:q", "dir:s/").expect("usable");
        let lines = || std::fs::read_to_string(&path).expect("text").lines().count();
        let mut seen = open();
        let most = 2 * 10 + SPARE_LINES;
        for round in 0..500 {
            let objects: Vec<_> = (0..10).map(|key| object(&key.to_string(), &round.to_string())).collect();
            seen.add(&objects).expect("written");
            assert!(lines() <= most, "round {round}: {} lines", lines());
        }
        for round in 0..500 {
            seen.add(&[object(&format!("passing {round}"), "1")]).expect("written");
            seen.forget_all_but(|key| !key.starts_with("passing")).expect("written");
        }
        assert!(lines() <= most, "{} lines", lines());
        drop(seen);
        let seen = open();
        assert_eq!(seen.known.len(), 10);
        assert!((0..10).all(|key| seen.holds(&object(&key.to_string(), "499"))));
        // Nothing else is left there.
        assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_grows_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("seen");
        let mut seen = Seen::in_file(&path, "sqlite:q", "dir:s/").expect("usable");
        // What is to be written anew has this name, and a directory isn't replaced by a file.
        let in_the_way = directory.path().join(format!(".seen.{}", std::process::id()));
        std::fs::create_dir(&in_the_way).expect("a directory");
        for round in 0..2 * SPARE_LINES {
            seen.add(&[object("a", &round.to_string())]).expect("written");
        }
        let lines = || std::fs::read_to_string(&path).expect("text").lines().count();
        assert_eq!(lines(), 2 * SPARE_LINES + 1);
        std::fs::remove_dir(&in_the_way).expect("removed");
        for _ in 0..SPARE_LINES {
            seen.add(&[object("a", "last")]).expect("written");
        }
        assert!(lines() <= SPARE_LINES + 2, "{} lines", lines());
        assert!(seen.holds(&object("a", "last")));
    }

    #[test]
    fn a_file_that_another_process_uses_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("seen");
        let open = || Seen::in_file(&path, "sqlite:q", "dir:s/");
        let mut seen = open().expect("usable");
        let is_refused =
            || open().is_err_and(|failure| failure.to_string().contains("another process uses it"));
        assert!(is_refused());
        for round in 0..2 * SPARE_LINES {
            seen.add(&[object("a", &round.to_string())]).expect("written");
        }
        assert!(is_refused(), "nor one that was replaced");
        drop(seen);
        assert!(open().is_ok());
    }

    #[test]
    fn a_link_still_leads_to_the_file_that_was_written_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, link) = (directory.path().join("seen"), directory.path().join("link"));
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        let mut seen = Seen::in_file(&link, "sqlite:q", "dir:s/").expect("usable");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).expect("set");
        for round in 0..2 * SPARE_LINES {
            seen.add(&[object("a", &round.to_string())]).expect("written");
        }
        assert!(link.is_symlink());
        let metadata = path.metadata().expect("a file");
        assert!(metadata.len() < 64 << 10, "{} bytes", metadata.len());
        assert_eq!(metadata.mode() & 0o777, 0o640);
    }
}
