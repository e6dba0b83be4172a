//! A stream that reads an object: the next piece is read when the guest has taken the last one.

use super::line::Line;
use super::{End, PIECE_BYTES, Streams};
use crate::ports::object_store::ObjectReader;
use crate::task::calls::StoreCall;
use crate::task::holds::Hold;
use crate::task::host::object_store::failed_operation;
use bytes::Bytes;
use parking_lot::Mutex;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::AsyncRead;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdinStream};
use wasmtime_wasi::p2::{InputStream, Pollable, StreamError, StreamResult};

/// A stream that is closed until an object is connected.
#[derive(Clone)]
pub(crate) struct Input(Arc<Mutex<Arriving>>);

struct Arriving {
    line: Line<Box<dyn ObjectReader>, Bytes>,
    /// Maximum number of bytes of a piece.
    piece: usize,
    /// What has arrived and wasn't taken yet.
    arrived: Bytes,
    holds: Vec<Hold>,
}

impl Default for Input {
    fn default() -> Self {
        Self::of_pieces(PIECE_BYTES)
    }
}

impl Input {
    /// Creates a stream that holds at most two pieces of this number of bytes.
    pub(crate) fn of_pieces(piece: usize) -> Self {
        let (line, arrived, holds) = (Line::Closed, Bytes::new(), Vec::new());
        Self(Arc::new(Mutex::new(Arriving { line, piece, arrived, holds })))
    }

    /// Connects an object. `hold` is for the stream itself.
    pub(crate) fn connect(
        &self,
        streams: &Streams,
        reader: End<Box<dyn ObjectReader>>,
        hold: impl Into<Option<Hold>>,
    ) {
        let mut arriving = self.0.lock();
        let caller = streams.caller(&reader.name);
        arriving.line = Line::Idle(reader.end, caller);
        arriving.holds.push(reader.hold);
        arriving.holds.extend(hold.into());
    }
}

impl Arriving {
    /// Waits until there is something to read, or the end.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if !self.arrived.is_empty() {
                return Poll::Ready(());
            }
            if let Some(bytes) = ready!(self.line.poll_idle(context)) {
                if bytes.is_empty() {
                    self.line = Line::Closed;
                }
                self.arrived = bytes;
                continue;
            }
            match std::mem::take(&mut self.line) {
                Line::Idle(reader, caller) => {
                    let piece = self.piece;
                    self.line = caller.start(
                        StoreCall::ReaderRead,
                        reader,
                        move |reader| reader.read(piece),
                        |bytes| bytes.len() as u64,
                    );
                }
                line => {
                    self.line = line;
                    return Poll::Ready(());
                }
            }
        }
    }
}

#[async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        poll_fn(|context| self.0.lock().poll_ready(context)).await;
    }
}

impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut arriving = self.0.lock();
        // A guest may read without waiting before.
        if arriving.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending() {
            return Ok(Bytes::new());
        }
        if arriving.arrived.is_empty() {
            return Err(arriving
                .line
                .take_error()
                .map_or(StreamError::Closed, |error| failed_operation(&error)));
        }
        let size = size.min(arriving.arrived.len());
        Ok(arriving.arrived.split_to(size))
    }
}

impl IsTerminal for Input {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Input {
    /// Only for WASI 0.3, which isn't offered.
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(tokio::io::empty())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}
