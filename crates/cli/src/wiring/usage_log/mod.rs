//! `--usage FILE`: writes a line of JSON for each task.
//!
//! Tasks end on guest threads, which must not wait for a disk. A line goes to a bounded buffer, and one thread writes
//! the collected lines. If a write fails, a warning is logged once and the write is retried until it succeeds. Lines
//! that don't fit into the buffer meanwhile are dropped and counted. A worker that is killed loses the buffered lines.

mod file;

use self::file::UsageFile;
use crate::output::failure::Failure;
use parking_lot::{Condvar, Mutex};
use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use wasmrun_runtime::model::text::tamed;
use wasmrun_runtime::model::usage::{TaskObserver, TaskRecord};

/// About five thousand lines: those of a busy worker in a fifth of a second, or of an idle worker in an hour.
const MAX_PENDING_BYTES: usize = 4 << 20;
/// How long lines are collected before they are written, so that a busy worker's writer wakes a hundred times a second
/// and not once for each task.
const COLLECT: Duration = Duration::from_millis(10);
/// Delay before a failed write is retried.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a worker that ends waits for its last lines to be written. Longer than the timeout of the file's lock.
const LAST_LINES: Duration = Duration::from_secs(3);

/// Writes the usage of each task to a file.
pub(crate) struct UsageLog {
    buffer: Arc<Buffer>,
}

/// The buffer that guest threads and the writer share.
#[derive(Default)]
struct Buffer {
    pending: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Default)]
struct Pending {
    lines: Vec<u8>,
    /// Number of lines lost since the last warning.
    dropped: u64,
    /// No more lines come.
    closing: bool,
    /// The writer has ended.
    closed: bool,
}

/// Describes a usage file that can't be used.
pub(crate) fn cannot_use(path: &Path, error: &io::Error) -> Failure {
    Failure::backend(format!("cannot use the usage file {}: {error}", path.display()))
}

impl UsageLog {
    /// Opens the file and starts the thread that writes to it.
    pub(crate) fn start(path: &Path, max_bytes: u64) -> Result<Self, Failure> {
        let file = UsageFile::open(path, max_bytes).map_err(|error| cannot_use(path, &error))?;
        let buffer = Arc::<Buffer>::default();
        let shared = buffer.clone();
        std::thread::Builder::new()
            .name("usage".into())
            .spawn(move || shared.write_to(file))
            .map_err(|error| Failure::backend(format!("the system refuses threads: {error}")))?;
        Ok(Self { buffer })
    }

    /// Checks that the file can be used, without creating it.
    pub(crate) fn check(path: &Path) -> Result<(), Failure> {
        UsageFile::check(path).map_err(|error| cannot_use(path, &error))
    }

    /// Waits up to `LAST_LINES` until the lines of all tasks are written.
    pub(crate) fn close(&self) {
        let mut pending = self.buffer.pending.lock();
        pending.closing = true;
        self.buffer.changed.notify_all();
        self.buffer.changed.wait_while_for(&mut pending, |pending| !pending.closed, LAST_LINES);
        if !pending.closed {
            tracing::warn!("lost the last lines of usage: the usage file does not take them");
        }
    }
}

impl TaskObserver for UsageLog {
    fn ended(&self, record: &TaskRecord<'_>) {
        self.buffer.push(&line(record));
    }
}

/// Writes a record as JSON. Returns an empty line if that fails.
fn line(record: &TaskRecord<'_>) -> Vec<u8> {
    // Most lines fit into 1 KiB.
    let mut line = Vec::with_capacity(1 << 10);
    if serde_json::to_writer(&mut line, record).is_err() {
        line.clear();
    }
    match tamed(&line) {
        Cow::Borrowed(_) => line,
        Cow::Owned(tamed) => tamed,
    }
}

impl Buffer {
    /// Adds a line to the buffer. An empty line is one that could not be made, and counts as dropped.
    fn push(&self, line: &[u8]) {
        let mut pending = self.pending.lock();
        if line.is_empty() || pending.lines.len() + line.len() >= MAX_PENDING_BYTES {
            pending.dropped += 1;
            return;
        }
        // The writer sleeps only while the buffer is empty.
        if pending.lines.is_empty() {
            self.changed.notify_all();
        }
        pending.lines.extend_from_slice(line);
        pending.lines.push(b'\n');
    }

    /// Writes until no more lines come.
    fn write_to(&self, mut file: UsageFile) {
        let (mut lines, mut failing) = (Vec::new(), false);
        loop {
            let last = self.collect(&mut lines);
            let result = file.append(&mut lines);
            let file = file.path().display();
            match result {
                Ok(()) => {
                    if std::mem::take(&mut failing) {
                        tracing::warn!(%file, "wrote the usage file again");
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%file, %error, "cannot write the usage file: trying again");
                    }
                }
            }
            let mut pending = self.pending.lock();
            if last {
                // There is no later write for lines that are left now.
                pending.dropped += lines.iter().filter(|byte| **byte == b'\n').count() as u64;
            }
            let dropped = if failing && !last { 0 } else { std::mem::take(&mut pending.dropped) };
            if dropped > 0 {
                tracing::warn!(%file, dropped, "lost lines of usage: the usage file did not take them in time");
            }
            if last {
                pending.closed = true;
                self.changed.notify_all();
                return;
            }
        }
    }

    /// Waits for lines, or for [`AGAIN`] if lines are left from a failed write. Returns `true` if no more lines come.
    fn collect(&self, lines: &mut Vec<u8>) -> bool {
        let (mut pending, pause) = (self.pending.lock(), if lines.is_empty() { COLLECT } else { AGAIN });
        if lines.is_empty() {
            let nothing = |pending: &mut Pending| pending.lines.is_empty() && !pending.closing;
            self.changed.wait_while(&mut pending, nothing);
        }
        self.changed.wait_while_for(&mut pending, |pending| !pending.closing, pause);
        if lines.is_empty() || pending.closing {
            lines.append(&mut pending.lines);
        }
        pending.closing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmrun_runtime::model::message::Message;
    use wasmrun_runtime::model::outcome::Outcome;
    use wasmrun_runtime::model::usage::Usage;

    #[test]
    fn what_is_written_down_is_in_the_file_once_it_is_closed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("usage.jsonl");
        let log = UsageLog::start(&path, 1 << 20).expect("started");
        let outcome = Outcome::Rejected { reason: "a\u{9b}\nb".into() };
        for fuel in 0..100 {
            let usage = Usage { fuel, ..Usage::default() };
            log.ended(&TaskRecord::new(&Message::new("id", ""), "c.wasm", &outcome, &usage));
        }
        log.close();
        let text = std::fs::read_to_string(&path).expect("text");
        let fuel: Vec<u64> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
            .map(|record| record["fuel"].as_u64().expect("a number"))
            .collect();
        assert_eq!(fuel, (0..100).collect::<Vec<_>>());
        assert!(!text.contains('\u{9b}'), "{text:?}");
    }

    #[test]
    fn a_writer_that_is_stuck_costs_lines_and_no_memory() {
        let buffer = Buffer::default();
        let line = [b'x'; 1000];
        for _ in 0..10_000 {
            buffer.push(&line);
        }
        let pending = buffer.pending.lock();
        assert!(pending.lines.len() <= MAX_PENDING_BYTES);
        assert_eq!(pending.lines.len() as u64 / 1001 + pending.dropped, 10_000);
        assert!(pending.dropped > 0);
    }
}
