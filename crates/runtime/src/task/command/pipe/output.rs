//! Standard output that is an object: output is accepted while a bounded buffer has room.

use super::line::Line;
use super::{Calls, Name, PIECE_BYTES};
use crate::ports::object_store::ObjectWriter;
use crate::task::calls::StoreCall;
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

/// Bytes of output that begin a call to the store.
const WRITE_FROM_BYTES: usize = PIECE_BYTES / 2;

/// Standard output.
#[derive(Clone, Default)]
pub(super) struct Output(pub(super) Arc<Mutex<Leaving>>);

#[derive(Default)]
pub(super) struct Leaving {
    pub(super) name: Option<Name>,
    pub(super) line: Line<Box<dyn ObjectWriter>, ()>,
    /// What the guest has written and no call has taken yet: at most [`PIECE_BYTES`].
    buffer: BytesMut,
}

impl Leaving {
    /// Waits until the buffer has room, or nothing can be written any more.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let idle = self.line.poll_idle(context).is_ready();
            if idle && self.buffer.len() >= WRITE_FROM_BYTES && !self.line.is_closed() {
                self.start();
                continue;
            }
            return if self.line.is_closed() || self.buffer.len() < PIECE_BYTES {
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
                    caller.start(1, StoreCall::WriterWrite, writer, |writer| writer.write(content), |()| 0);
            }
            line => self.line = line,
        }
    }

    fn calls(&self) -> Option<&Mutex<Calls>> {
        match &self.line {
            Line::Idle(_, caller) | Line::Busy(_, caller) => Some(&caller.calls),
            Line::Closed => None,
        }
    }

    /// Returns how many bytes the guest may write now.
    fn permit(&self) -> usize {
        PERMIT_BYTES.min(PIECE_BYTES.saturating_sub(self.buffer.len()))
    }
}

impl Output {
    /// Takes the object away from the guest. Returns `None` if none is connected.
    pub(super) fn take(&self) -> Option<Unfinished> {
        let mut leaving = self.0.lock();
        let name = leaving.name.clone()?;
        let line = std::mem::take(&mut leaving.line);
        Some(Unfinished { name, line, rest: std::mem::take(&mut leaving.buffer).freeze() })
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
        let Some(calls) = leaving.calls() else { return Err(StreamError::Closed) };
        check_permit(&bytes, leaving.permit())?;
        calls.lock().accepted += bytes.len() as u64;
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
        if leaving.line.is_closed() {
            return Err(StreamError::Closed);
        }
        Ok(leaving.permit())
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

/// The object on standard output of a command that has ended.
pub(in crate::task::command) struct Unfinished {
    name: Name,
    line: Line<Box<dyn ObjectWriter>, ()>,
    rest: Bytes,
}

impl Unfinished {
    pub(in crate::task::command) fn alias(&self) -> &str {
        &self.name.alias
    }

    pub(in crate::task::command) fn key(&self) -> &str {
        &self.name.key
    }

    /// Waits for the call in progress. Returns the writer and what isn't written yet, or `None` if a call has failed.
    pub(in crate::task::command) async fn rest(mut self) -> Option<(Box<dyn ObjectWriter>, Bytes)> {
        poll_fn(|context| self.line.poll_idle(context)).await;
        match self.line {
            Line::Idle(writer, _) => Some((writer, self.rest)),
            Line::Busy(..) | Line::Closed => None,
        }
    }
}
