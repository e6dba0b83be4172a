//! What `wasmrun enqueue` announced before: in memory while it runs, and in a file for the next time, if one is named.
//!
//! The file is lines of JSON. The first one names queue and store, as what was announced to one queue is news to another. Each
//! other one is `["KEY","ETAG"]` of an object that was announced, or `["KEY"]` of one that is gone. Lines are written after
//! the messages were sent: what a crash cuts off is announced again.

use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use wasmrun_runtime::object_store::ObjectSummary;

/// Largest file that is read, in bytes: ten million objects.
const MAX_FILE: u64 = 1 << 30;
/// Longest line, in bytes: a key of 1024 bytes, each escaped, and an etag.
const MAX_LINE: u64 = 64 << 10;

/// What was announced.
pub(crate) struct Seen {
    /// Key and etag of each object.
    known: HashMap<String, Option<String>>,
    file: Option<(PathBuf, File)>,
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
        Self { known: HashMap::new(), file: None }
    }

    /// Reads what was announced to this queue from this store, and remembers there what will be. A file that isn't there is
    /// created.
    ///
    /// # Errors
    ///
    /// It can't be read or written, or is about something else.
    pub(crate) fn in_file(path: &Path, queue: &str, store: &str) -> Result<Self, Failure> {
        let failed =
            |what: &str| Failure::usage(format!("cannot use the file {} of --seen: {what}", path.display()));
        // To open a pipe would wait for its other end.
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(failed("it isn't a file"));
        }
        let unreadable = |error: std::io::Error| failed(&error.to_string());
        let file = File::options().create(true).read(true).append(true).open(path);
        let mut file = file.map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        if size > MAX_FILE {
            return Err(failed("it's larger than 1 GiB: remove it, and all objects are announced again"));
        }
        let head = Head { queue: queue.to_owned(), store: store.to_owned() };
        let (mut known, mut is_first, mut is_whole) = (HashMap::new(), true, true);
        let mut lines = BufReader::new((&file).take(MAX_FILE));
        let mut line = Vec::new();
        while (&mut lines).take(MAX_LINE).read_until(b'\n', &mut line).map_err(unreadable)? > 0 {
            is_whole = line.ends_with(b"\n");
            if std::mem::take(&mut is_first) {
                let found = serde_json::from_slice::<Head>(&line);
                let found = found.map_err(|_| failed("it isn't one that --seen has written"))?;
                if found != head {
                    return Err(failed(&format!(
                        "it tells what was announced from {} to {}: name another file",
                        found.store, found.queue
                    )));
                }
            } else {
                match serde_json::from_slice(&line) {
                    Ok(Line::Announced(key, etag)) => known.insert(key, etag),
                    Ok(Line::Gone((key,))) => known.remove(&key),
                    // Cut off by a crash.
                    Err(_) => None,
                };
            }
            line.clear();
        }
        if is_first {
            line = serde_json::to_vec(&head).unwrap_or_default();
            line.push(b'\n');
        } else if !is_whole {
            line = vec![b'\n'];
        }
        file.write_all(&line).map_err(unreadable)?;
        Ok(Self { known, file: Some((path.to_owned(), file)) })
    }

    /// Whether what is announced is remembered for the next time.
    pub(crate) fn lasts(&self) -> bool {
        self.file.is_some()
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
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let mut text = Vec::new();
        for line in lines {
            // Texts always can be.
            text.extend(serde_json::to_vec(&line).unwrap_or_default());
            text.push(b'\n');
        }
        file.write_all(&text)
            .map_err(|error| Failure::backend(format!("cannot write {} of --seen: {error}", path.display())))
    }
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
}
