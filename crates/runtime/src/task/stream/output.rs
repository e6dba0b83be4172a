//! A stream that writes an object: output is accepted while a bounded buffer has room.

use super::line::Line;
use super::{End, Name, PIECE_BYTES, Streams};
use crate::ports::object_store::ObjectWriter;
use crate::task::calls::StoreCall;
use crate::task::holds::Hold;
use crate::task::host::object_store::{Error, failed_operation};
use crate::task::log::{PERMIT_BYTES, check_permit};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// A stream whose output becomes an object when it's completed.
#[derive(Clone)]
pub(crate) struct Output(Arc<Mutex<Leaving>>);

struct Leaving {
    name: Option<Arc<Name>>,
    line: Line<Box<dyn ObjectWriter>, ()>,
    /// Whether output is accepted before an object is connected. Otherwise the stream is closed until then.
    awaits: bool,
    holds: Vec<Hold>,
    /// Maximum number of bytes in the buffer.
    piece: usize,
    /// What the guest has written and no call has taken yet.
    buffer: BytesMut,
    /// Bytes that were accepted from the guest, in all.
    accepted: u64,
}

impl Leaving {
    /// Waits until the buffer has room, or nothing can be written any more.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Either there is room, or the guest is to be told that there is none.
        if self.awaits {
            return Poll::Ready(());
        }
        loop {
            let idle = self.line.poll_idle(context).is_ready();
            if idle && self.buffer.len() >= self.piece / 2 && !self.line.is_over() {
                self.start();
                continue;
            }
            return if self.line.is_over() || self.buffer.len() < self.piece {
                Poll::Ready(())
            } else {
                Poll::Pending
            };
        }
    }

    /// Starts to write the buffer.
    fn start(&mut self) {
        match std::mem::take(&mut self.line) {
            Line::Idle(writer, caller) => {
                let content = self.buffer.split().freeze();
                self.line =
                    caller.start(StoreCall::WriterWrite, writer, |writer| writer.write(content), |()| 0);
            }
            line => self.line = line,
        }
    }

    /// Returns how many bytes the guest may write now.
    fn permit(&mut self) -> StreamResult<usize> {
        let permit = PERMIT_BYTES.min(self.piece.saturating_sub(self.buffer.len()));
        if self.awaits {
            return if permit > 0 { Ok(permit) } else { Err(failed_operation(&no_object())) };
        }
        if self.line.is_over() {
            return Err(self.line.take_error().map_or(StreamError::Closed, |error| failed_operation(&error)));
        }
        Ok(permit)
    }

    /// Counts bytes that were accepted for the object.
    fn accept(&self, bytes: usize) {
        if let Line::Idle(_, caller) | Line::Busy(_, caller) = &self.line {
            caller.calls.lock().accept(&caller.name, bytes);
        }
    }
}

/// The error of a guest that writes more than fits into the buffer and doesn't say where.
fn no_object() -> Error {
    Error::Other(format!(
        "the first {PIECE_BYTES} bytes wait for write-data, which names their object: call it first"
    ))
}

impl Default for Output {
    fn default() -> Self {
        Self::of_pieces(PIECE_BYTES)
    }
}

impl Output {
    /// Creates a stream that holds at most two pieces of this number of bytes.
    pub(crate) fn of_pieces(piece: usize) -> Self {
        Self(Arc::new(Mutex::new(Leaving {
            name: None,
            line: Line::Closed,
            awaits: false,
            holds: Vec::new(),
            piece,
            buffer: BytesMut::new(),
            accepted: 0,
        })))
    }

    /// Creates a stream that accepts output before its object is connected.
    pub(crate) fn awaiting(hold: Hold) -> Self {
        let output = Self::default();
        {
            let mut leaving = output.0.lock();
            leaving.awaits = true;
            leaving.holds.push(hold);
        }
        output
    }

    /// Returns how many bytes were accepted from the guest.
    pub(crate) fn accepted(&self) -> u64 {
        self.0.lock().accepted
    }

    /// Connects an object.
    pub(crate) fn connect(&self, streams: &Streams, writer: End<Box<dyn ObjectWriter>>) {
        let mut leaving = self.0.lock();
        let caller = streams.caller(&writer.name);
        leaving.name = Some(writer.name);
        leaving.line = Line::Idle(writer.end, caller);
        leaving.awaits = false;
        leaving.holds.push(writer.hold);
        let bytes = leaving.buffer.len();
        if bytes > 0 {
            leaving.accept(bytes);
        }
    }

    /// Returns whether an object is connected.
    pub(crate) fn is_connected(&self) -> bool {
        self.0.lock().name.is_some()
    }

    /// Takes the object away from the guest. Returns `None` if none is connected.
    pub(crate) fn take(&self) -> Option<Unfinished> {
        let mut leaving = self.0.lock();
        let name = leaving.name.clone()?;
        let line = std::mem::take(&mut leaving.line);
        let holds = std::mem::take(&mut leaving.holds);
        Some(Unfinished { name, line, rest: std::mem::take(&mut leaving.buffer).freeze(), _holds: holds })
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        poll_fn(|context| self.0.lock().poll_ready(context)).await;
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut leaving = self.0.lock();
        check_permit(&bytes, leaving.permit()?)?;
        leaving.accept(bytes.len());
        leaving.accepted += bytes.len() as u64;
        leaving.buffer.extend_from_slice(&bytes);
        // Begins a call if there is enough to write.
        let _ = leaving.poll_ready(&mut Context::from_waker(Waker::noop()));
        Ok(())
    }

    /// Does nothing: no part of an object is visible before the whole of it.
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let mut leaving = self.0.lock();
        let _ = leaving.poll_ready(&mut Context::from_waker(Waker::noop()));
        leaving.permit()
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    /// Only for WASI 0.3, which isn't offered.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

/// An object that is to be completed.
pub(crate) struct Unfinished {
    name: Arc<Name>,
    line: Line<Box<dyn ObjectWriter>, ()>,
    rest: Bytes,
    _holds: Vec<Hold>,
}

impl Unfinished {
    pub(crate) fn name(&self) -> &Arc<Name> {
        &self.name
    }

    /// Waits for the call in progress, and returns the error of a call that has failed.
    pub(crate) async fn error(&mut self) -> Option<Error> {
        poll_fn(|context| self.line.poll_idle(context)).await;
        match &self.line {
            Line::Failed(error) | Line::Told(error) => Some(error.clone()),
            Line::Idle(..) | Line::Busy(..) | Line::Closed => None,
        }
    }

    /// Waits for the call in progress. Returns the writer and what isn't written yet, or the error of a failed call.
    pub(super) async fn rest(mut self) -> Result<(Box<dyn ObjectWriter>, Bytes), Error> {
        poll_fn(|context| self.line.poll_idle(context)).await;
        match self.line {
            Line::Idle(writer, _) => Ok((writer, self.rest)),
            Line::Failed(error) | Line::Told(error) => Err(error),
            Line::Busy(..) | Line::Closed => Err(Error::Other("the stream has no object".into())),
        }
    }
}
