//! What a guest writes to its standard output and error becomes log lines of its task.
//!
//! A guest's text is a value of an event, never an event of its own: whoever formats the event escapes it, so that a
//! guest can't forge a line. What it may write in all is bounded.

use crate::model::text::beginning;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// A longer line is cut into several.
const MAX_LINE_BYTES: usize = 8 << 10;
/// A line costs the log more than its text: so much of what a task may write is taken for each.
const LINE_BYTES: usize = 64;
/// So many refusals of one task are told, and as many failures: a guest may cause them in a loop, and mustn't hide the ones
/// behind the others.
const MAX_NOTES: u64 = 20;
/// A panic of Rust takes three lines: where, what, and a note.
const LAST_LINES: usize = 3;
/// Of each of those so much is kept.
const LAST_LINE_CHARS: usize = 300;
/// What a guest may hand over in one write; more takes several writes.
const PERMIT_BYTES: usize = 64 << 10;

/// The log of one task.
#[derive(Clone)]
pub(crate) struct GuestLog(Arc<Mutex<Lines>>);

struct Lines {
    message_id: String,
    /// What may still be written.
    left: usize,
    /// What was written.
    kept: u64,
    /// What was dropped.
    dropped: u64,
    /// Calls that were refused.
    refused: u64,
    /// Calls that failed.
    failed: u64,
    /// Lines that have no end yet, of standard output and standard error.
    open: [Vec<u8>; 2],
    /// The last lines of standard error.
    last: VecDeque<String>,
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
            last: VecDeque::new(),
        })))
    }

    pub(crate) fn stream(&self, name: &'static str) -> LogStream {
        LogStream { log: self.0.clone(), name }
    }

    /// Why a call to this store or queue was refused, for the operator.
    pub(crate) fn call_refused(&self, kind: &'static str, alias: &str, text: &str) {
        let mut lines = self.0.lock();
        lines.refused += 1;
        if lines.refused <= MAX_NOTES {
            tracing::warn!(message_id = lines.message_id, kind, alias, text, "refused a host call");
        }
    }

    /// Why a call to this store or queue failed, for the operator.
    pub(crate) fn call_failed(&self, kind: &'static str, alias: &str, text: &str) {
        let mut lines = self.0.lock();
        lines.failed += 1;
        if lines.failed <= MAX_NOTES {
            tracing::warn!(message_id = lines.message_id, kind, alias, text, "a host call failed");
        }
    }

    /// Where the guest was when its handler failed, for its developer.
    pub(crate) fn handler_failed(&self, error: &wasmtime::Error) {
        let lines = self.0.lock();
        tracing::debug!(
            message_id = lines.message_id,
            error = beginning(format_args!("{error:#}"), MAX_LINE_BYTES),
            "the guest's handler failed"
        );
    }

    /// How much the task wrote, what was dropped not included.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.lock().kept
    }

    /// The end of what the task wrote to its standard error, in one line.
    pub(crate) fn last_words(&self) -> Option<String> {
        let lines = self.0.lock();
        let mut words = String::new();
        for line in &lines.last {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(line);
        }
        (!words.is_empty()).then_some(words)
    }

    /// Logs what has no line end yet, and says what was dropped.
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

    /// The level is the line's first word, as the SDK's macros write it.
    fn emit(&mut self, stream: &'static str, line: &[u8]) {
        let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
        if stream == "stderr" && !text.trim().is_empty() {
            if self.last.len() == LAST_LINES {
                self.last.pop_front();
            }
            self.last.push_back(text.trim().chars().take(LAST_LINE_CHARS).collect());
        }
        if text.trim().is_empty() {
            return;
        }
        let (level, text) = match text.split_once(' ') {
            Some((level @ ("ERROR" | "WARN" | "INFO" | "DEBUG"), rest)) => (level, rest),
            _ => ("INFO", &*text),
        };
        let message_id = &self.message_id;
        match level {
            "ERROR" => tracing::error!(target: "guest", message_id, stream, text, "Guest"),
            "WARN" => tracing::warn!(target: "guest", message_id, stream, text, "Guest"),
            "DEBUG" => tracing::debug!(target: "guest", message_id, stream, text, "Guest"),
            _ => tracing::info!(target: "guest", message_id, stream, text, "Guest"),
        }
    }
}

/// Standard output or error of one task.
pub(crate) struct LogStream {
    log: Arc<Mutex<Lines>>,
    name: &'static str,
}

impl LogStream {
    fn append(&self, bytes: &[u8]) {
        self.log.lock().write(self.name, bytes);
    }

    fn another(&self) -> Self {
        Self { log: self.log.clone(), name: self.name }
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.another())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.another())
    }
}

#[async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // The interface says so, and a turn takes as long as what is written in it.
        if bytes.len() > PERMIT_BYTES {
            return Err(StreamError::trap("it wrote more to its standard output than it was permitted to"));
        }
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

impl AsyncWrite for LogStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.append(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Logs what a guest writes, as its task would; for properties about lines.
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
