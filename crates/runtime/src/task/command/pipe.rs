//! Standard input and output of a command that are connected to objects.
//!
//! A store is called on the threads that own its connections, a piece at a time: the next piece of input is read when
//! the guest has taken the last one, and output is accepted while a bounded buffer has room. The calls end whenever they
//! end; the task counts them after its next host call ([`TaskState::count_pipes`]).

use crate::ports::object_store::{ObjectReader, ObjectWriter, StoreError};
use crate::task::calls::StoreCall;
use crate::task::host::object_store::{Fault, StreamFailed};
use crate::task::store::TaskState;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::Result;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

/// Maximum number of bytes of a piece of input, and of the output that waits to be written.
const PIECE_BYTES: usize = 256 << 10;
/// Bytes of output that begin a call to the store.
const WRITE_FROM_BYTES: usize = PIECE_BYTES / 2;
/// Maximum number of bytes that a guest may pass in one write.
const PERMIT_BYTES: usize = 64 << 10;
/// Bytes that both pipes hold: a piece of input, one on its way, and the same of output.
pub(super) const PIPE_BYTES: usize = 4 * PIECE_BYTES;

/// The pipes of one task. They are closed until an object is connected.
pub(crate) struct Pipes {
    input: Input,
    output: Output,
    ledger: Arc<Ledger>,
    io: Handle,
}

/// The calls of both pipes that the task hasn't counted yet.
#[derive(Default)]
struct Ledger {
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    ended: Vec<Ended>,
    /// Bytes of output that were accepted from the guest.
    accepted: u64,
    /// Start of the call in progress, of input and output.
    since: [Option<Instant>; 2],
}

/// A call that has ended, with the number of bytes that it read.
struct Ended {
    call: StoreCall,
    answer: std::result::Result<u64, StoreError>,
}

/// The object of a pipe.
#[derive(Clone)]
struct Name {
    alias: String,
    key: String,
}

impl Pipes {
    pub(crate) fn new(io: &Handle) -> Self {
        Self {
            input: Input(Arc::default()),
            output: Output(Arc::default()),
            ledger: Arc::default(),
            io: io.clone(),
        }
    }

    /// Returns standard input.
    pub(crate) fn input(&self) -> impl StdinStream + use<> {
        self.input.clone()
    }

    /// Returns standard output.
    pub(crate) fn output(&self) -> impl StdoutStream + use<> {
        self.output.clone()
    }

    /// Connects standard input.
    pub(super) fn read_from(&mut self, alias: &str, key: &str, reader: Box<dyn ObjectReader>) {
        let mut input = self.input.0.lock();
        input.name = Some(Name { alias: alias.to_owned(), key: key.to_owned() });
        input.line = Line::Idle(reader, self.caller());
    }

    /// Connects standard output.
    pub(super) fn write_to(&mut self, alias: &str, key: &str, writer: Box<dyn ObjectWriter>) {
        let mut output = self.output.0.lock();
        output.name = Some(Name { alias: alias.to_owned(), key: key.to_owned() });
        output.line = Line::Idle(writer, self.caller());
    }

    fn caller(&self) -> Caller {
        Caller { ledger: self.ledger.clone(), io: self.io.clone() }
    }

    /// Takes standard output away from the guest, to complete its object. Returns `None` if it isn't connected.
    pub(super) fn take_output(&mut self) -> Option<Unfinished> {
        let mut output = self.output.0.lock();
        let name = output.name.clone()?;
        let line = std::mem::replace(&mut output.line, Line::Closed);
        Some(Unfinished { name, line, rest: std::mem::take(&mut output.buffer).freeze() })
    }

    /// Returns for how long the oldest call in progress has lasted.
    pub(crate) fn unanswered(&self) -> Option<Duration> {
        let oldest = self.ledger.calls.lock().since.into_iter().flatten().min()?;
        Some(oldest.elapsed())
    }
}

/// Makes the calls of a pipe.
#[derive(Clone)]
struct Caller {
    ledger: Arc<Ledger>,
    io: Handle,
}

impl Caller {
    /// Starts a call to a store. `side` is 0 for input and 1 for output.
    fn start<P, T>(
        self,
        side: usize,
        call: StoreCall,
        mut end: P,
        work: impl for<'a> FnOnce(
            &'a mut P,
        )
            -> Pin<Box<dyn Future<Output = std::result::Result<T, StoreError>> + Send + 'a>>
        + Send
        + 'static,
        bytes: fn(&T) -> u64,
    ) -> Line<P, T>
    where
        P: Send + 'static,
        T: Send + 'static,
    {
        self.ledger.calls.lock().since[side] = Some(Instant::now());
        let ledger = self.ledger.clone();
        let running = async move {
            let answer = work(&mut end).await;
            let mut calls = ledger.calls.lock();
            calls.since[side] = None;
            match answer {
                Ok(value) => {
                    calls.ended.push(Ended { call, answer: Ok(bytes(&value)) });
                    Some((end, value))
                }
                Err(error) => {
                    calls.ended.push(Ended { call, answer: Err(error) });
                    None
                }
            }
        };
        let handle = AbortOnDropHandle::new(self.io.spawn(running));
        Line::Busy(handle, self)
    }
}

/// The host's end of a pipe. `P` reads or writes the object, `T` is the result of a call.
#[derive(Default)]
enum Line<P, T> {
    /// No call is in progress.
    Idle(P, Caller),
    /// A call is in progress.
    Busy(AbortOnDropHandle<Option<(P, T)>>, Caller),
    /// The object has ended, a call has failed, or no object is connected.
    #[default]
    Closed,
}

impl<P, T> Line<P, T> {
    /// Waits for the call in progress. Returns its result, if there was one and it succeeded.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Self::Busy(handle, caller) = self else { return Poll::Ready(None) };
        let result = ready!(Pin::new(handle).poll(context));
        let caller = caller.clone();
        match result {
            Ok(Some((end, value))) => {
                *self = Self::Idle(end, caller);
                Poll::Ready(Some(value))
            }
            // The task ends when it counts the failed call. A call is lost only when its runtime ends.
            Ok(None) | Err(_) => {
                *self = Self::Closed;
                Poll::Ready(None)
            }
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

/// Standard input.
#[derive(Clone)]
struct Input(Arc<Mutex<Arriving>>);

#[derive(Default)]
struct Arriving {
    name: Option<Name>,
    line: Line<Box<dyn ObjectReader>, Bytes>,
    /// What has arrived and wasn't taken yet.
    arrived: Bytes,
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
                    self.line = caller.start(
                        0,
                        StoreCall::ReaderRead,
                        reader,
                        |reader| reader.read(PIECE_BYTES),
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
            return Err(StreamError::Closed);
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

/// Standard output.
#[derive(Clone)]
struct Output(Arc<Mutex<Leaving>>);

#[derive(Default)]
struct Leaving {
    name: Option<Name>,
    line: Line<Box<dyn ObjectWriter>, ()>,
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

    fn ledger(&self) -> Option<&Ledger> {
        match &self.line {
            Line::Idle(_, caller) | Line::Busy(_, caller) => Some(&caller.ledger),
            Line::Closed => None,
        }
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
        let Some(ledger) = leaving.ledger() else { return Err(StreamError::Closed) };
        if bytes.len() > PERMIT_BYTES.min(PIECE_BYTES.saturating_sub(leaving.buffer.len())) {
            return Err(StreamError::trap("it wrote more to its standard output than it was permitted to"));
        }
        ledger.calls.lock().accepted += bytes.len() as u64;
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
        Ok(PERMIT_BYTES.min(PIECE_BYTES.saturating_sub(leaving.buffer.len())))
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
pub(super) struct Unfinished {
    name: Name,
    line: Line<Box<dyn ObjectWriter>, ()>,
    rest: Bytes,
}

impl Unfinished {
    pub(super) fn alias(&self) -> &str {
        &self.name.alias
    }

    pub(super) fn key(&self) -> &str {
        &self.name.key
    }

    /// Waits for the call in progress. Returns the writer and what isn't written yet, or `None` if a call has failed.
    pub(super) async fn rest(mut self) -> Option<(Box<dyn ObjectWriter>, Bytes)> {
        poll_fn(|context| self.line.poll_idle(context)).await;
        match self.line {
            Line::Idle(writer, _) => Some((writer, self.rest)),
            Line::Busy(..) | Line::Closed => None,
        }
    }
}

impl TaskState {
    /// Returns the pipes of a command.
    pub(super) fn pipes_mut(&mut self) -> &mut Pipes {
        let config = self.config.clone();
        self.pipes.get_or_insert_with(|| Pipes::new(&config.io))
    }

    /// Counts the calls of the pipes that have ended. Ends a task that exceeded a limit, and one whose call failed: a
    /// program can't tell a failed read from the end of its input.
    pub(crate) fn count_pipes(&mut self) -> Result<()> {
        let Some(pipes) = &self.pipes else { return Ok(()) };
        let (ended, accepted) = {
            let mut calls = pipes.ledger.calls.lock();
            if calls.ended.is_empty() && calls.accepted == 0 {
                return Ok(());
            }
            (std::mem::take(&mut calls.ended), std::mem::take(&mut calls.accepted))
        };
        let (input, output) = (pipes.input.0.lock().name.clone(), pipes.output.0.lock().name.clone());
        if let (Some(output), 1..) = (&output, accepted) {
            self.count_written(&output.alias, accepted)?;
        }
        for Ended { call, answer } in ended {
            let (stream, name) = match call {
                StoreCall::ReaderRead => ("standard input", &input),
                _ => ("standard output", &output),
            };
            let Some(Name { alias, key }) = name else { continue };
            self.usage.calls += 1;
            self.count_store_call(alias)?;
            if let (StoreCall::ReaderRead, Ok(bytes)) = (call, &answer) {
                self.count_read(alias, *bytes)?;
            }
            match self.answered(call, alias, key, answer) {
                Ok(_) => {}
                Err(Fault::Trap(trap)) => return Err(trap),
                Err(Fault::Error(error)) => return Err(StreamFailed::new(stream, &error).into()),
            }
        }
        Ok(())
    }
}
