//! Turns a guest's standard output and error, and its messages to `wasi:logging`, into log lines of its task.
//!
//! A guest's text is a value of an event, never an event of its own: the formatter escapes it, so that a guest can't
//! forge a line. The total size is limited.

use super::last_words::LastWords;
use crate::model::text::beginning;
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// Longest line; a longer one is split into several.
const MAX_LINE_BYTES: usize = 8 << 10;
/// Bytes that each line takes of the log limit in addition to its text, as a line costs the log more than its text.
const LINE_BYTES: usize = 64;
/// Longest context of a message that is logged; the rest is left out, as each line of the message repeats it.
const MAX_CONTEXT_BYTES: usize = 256;
/// Maximum number of refused calls of a task that are logged, and of failed calls. The two are counted separately: a
/// guest may cause either in a loop, and mustn't hide the others.
const MAX_NOTES: u64 = 20;
/// Maximum number of bytes that a guest may pass in one write; larger output takes several writes.
pub(super) const PERMIT_BYTES: usize = 64 << 10;

/// The level of a guest's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// The log of one task.
#[derive(Clone)]
pub(crate) struct GuestLog(Arc<Mutex<Lines>>);

struct Lines {
    message_id: String,
    /// Bytes that may still be written.
    left: usize,
    /// Bytes that were written.
    kept: u64,
    /// Bytes that were dropped.
    dropped: u64,
    /// Number of refused calls.
    refused: u64,
    /// Number of failed calls.
    failed: u64,
    /// Incomplete lines of standard output and standard error.
    open: [Vec<u8>; 2],
    /// What standard error says about a failure.
    last_words: LastWords,
}

impl GuestLog {
    pub(crate) fn new(message_id: &str, max_bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(Lines {
            message_id: message_id.to_owned(),
            left: max_bytes,
            kept: 0,
            dropped: 0,
            refused: 0,
            failed: 0,
            open: [Vec::new(), Vec::new()],
            last_words: LastWords::default(),
        })))
    }

    pub(crate) fn stream(&self, name: &'static str) -> LogStream {
        LogStream { log: self.0.clone(), name }
    }

    /// Logs a message that the guest didn't write to a stream.
    pub(crate) fn message(&self, level: Level, context: &str, text: &str) {
        self.0.lock().message(level, context, text);
    }

    /// Logs for the operator why a call to a store or queue was refused.
    pub(crate) fn call_refused(&self, kind: &'static str, alias: &str, text: &str) {
        let mut lines = self.0.lock();
        lines.refused += 1;
        if lines.refused <= MAX_NOTES {
            tracing::warn!(message_id = lines.message_id, kind, alias, text, "refused a host call");
        }
    }

    /// Logs for the operator why a call to a store or queue failed.
    pub(crate) fn call_failed(&self, kind: &'static str, alias: &str, text: &str) {
        let mut lines = self.0.lock();
        lines.failed += 1;
        if lines.failed <= MAX_NOTES {
            tracing::warn!(message_id = lines.message_id, kind, alias, text, "a host call failed");
        }
    }

    /// Logs for the guest's developer where its handler failed.
    pub(crate) fn handler_failed(&self, error: &wasmtime::Error) {
        let lines = self.0.lock();
        tracing::debug!(
            message_id = lines.message_id,
            error = beginning(format_args!("{error:#}"), MAX_LINE_BYTES),
            "the guest's handler failed"
        );
    }

    /// Returns the bytes that the task wrote, without those that were dropped.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.lock().kept
    }

    /// Returns what the task's standard error says about its failure.
    pub(crate) fn last_words(&self) -> Option<String> {
        self.0.lock().last_words.text()
    }

    /// Logs incomplete lines, and what was dropped.
    pub(crate) fn finish(&self) {
        let mut lines = self.0.lock();
        for name in ["stdout", "stderr"] {
            let open = std::mem::take(lines.open(name));
            if !open.is_empty() {
                lines.emit(name, &open);
            }
        }
        let (refused, failed) =
            (lines.refused.saturating_sub(MAX_NOTES), lines.failed.saturating_sub(MAX_NOTES));
        if refused > 0 || failed > 0 {
            let message_id = &lines.message_id;
            tracing::warn!(message_id, refused, failed, "more host calls failed than are logged one by one");
            (lines.refused, lines.failed) = (0, 0);
        }
        if lines.dropped > 0 {
            tracing::warn!(
                message_id = lines.message_id,
                dropped_bytes = lines.dropped,
                "dropped guest log lines beyond the log size limit"
            );
            lines.dropped = 0;
        }
    }
}

impl Lines {
    fn open(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.open[usize::from(name == "stderr")]
    }

    fn write(&mut self, name: &'static str, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            let (piece, dropped) = piece.split_at(piece.len().min(self.left));
            self.left -= piece.len();
            self.kept += piece.len() as u64;
            self.dropped += dropped.len() as u64;
            let (text, ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let mut rest = text;
            while self.open(name).len() + rest.len() > MAX_LINE_BYTES {
                let (now, later) = rest.split_at(MAX_LINE_BYTES - self.open(name).len());
                self.open(name).extend_from_slice(now);
                rest = later;
                let line = std::mem::take(self.open(name));
                self.emit(name, &line);
            }
            self.open(name).extend_from_slice(rest);
            if ended {
                self.left = self.left.saturating_sub(LINE_BYTES);
                let line = std::mem::take(self.open(name));
                self.emit(name, &line);
            }
        }
    }

    /// Logs one line. Its first word is the level, as the SDK's macros write it.
    fn emit(&mut self, stream: &'static str, line: &[u8]) {
        let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
        if stream == "stderr" {
            self.last_words.add(&text);
        }
        if text.trim().is_empty() {
            return;
        }
        let (level, text) = match text.split_once(' ') {
            Some(("ERROR", rest)) => (Level::Error, rest),
            Some(("WARN", rest)) => (Level::Warn, rest),
            Some(("INFO", rest)) => (Level::Info, rest),
            Some(("DEBUG", rest)) => (Level::Debug, rest),
            _ => (Level::Info, &*text),
        };
        self.event(level, stream, None, text);
    }

    /// Logs a message: an event for each of its lines, with the same bounds as lines of a stream.
    fn message(&mut self, level: Level, context: &str, text: &str) {
        let context = &context[..context.floor_char_boundary(MAX_CONTEXT_BYTES)];
        let (text, dropped) = text.split_at(text.floor_char_boundary(self.left.min(PERMIT_BYTES)));
        self.dropped += dropped.len() as u64;
        for line in text.lines() {
            let mut rest = line;
            loop {
                let (piece, later) = rest.split_at(rest.floor_char_boundary(MAX_LINE_BYTES));
                let bytes = context.len() + piece.len();
                if self.left < bytes {
                    self.dropped += rest.len() as u64;
                    break;
                }
                self.left = self.left.saturating_sub(bytes + LINE_BYTES);
                self.kept += bytes as u64;
                if !piece.trim().is_empty() {
                    self.event(level, "log", Some(context), piece);
                }
                if later.is_empty() {
                    break;
                }
                rest = later;
            }
        }
    }

    fn event(&self, level: Level, stream: &'static str, context: Option<&str>, text: &str) {
        let message_id = &self.message_id;
        match level {
            Level::Error => tracing::error!(target: "guest", message_id, stream, context, text, "Guest"),
            Level::Warn => tracing::warn!(target: "guest", message_id, stream, context, text, "Guest"),
            Level::Info => tracing::info!(target: "guest", message_id, stream, context, text, "Guest"),
            Level::Debug => tracing::debug!(target: "guest", message_id, stream, context, text, "Guest"),
            Level::Trace => tracing::trace!(target: "guest", message_id, stream, context, text, "Guest"),
        }
    }
}

/// Standard output or error of one task.
#[derive(Clone)]
pub(crate) struct LogStream {
    log: Arc<Mutex<Lines>>,
    name: &'static str,
}

impl LogStream {
    fn append(&self, bytes: &[u8]) {
        self.log.lock().write(self.name, bytes);
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    /// Only for WASI 0.3, which isn't offered.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

/// Ends a task that writes more than it is permitted to. WASI requires this check, and larger writes would also prolong the
/// time slice.
pub(super) fn check_permit(bytes: &Bytes, permit: usize) -> StreamResult<()> {
    if bytes.len() > permit {
        return Err(StreamError::trap("it wrote more to a stream than it was permitted to"));
    }
    Ok(())
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        check_permit(&bytes, PERMIT_BYTES)?;
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT_BYTES)
    }
}

/// Logs output as a guest's task would; for property tests.
#[doc(hidden)]
pub fn write_as_guest(
    message_id: &str,
    max_bytes: usize,
    pieces: &[(&'static str, &[u8])],
) -> Option<String> {
    let log = GuestLog::new(message_id, max_bytes);
    for (stream, bytes) in pieces {
        log.stream(stream).append(bytes);
    }
    log.finish();
    log.last_words()
}
