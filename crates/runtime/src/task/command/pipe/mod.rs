//! Standard input and output of a command that are connected to objects.
//!
//! A store is called on the threads that own its connections, a piece at a time. The calls end whenever they end; the task
//! counts them after its next host call ([`TaskState::count_pipes`]).
//!
//! | module | owns |
//! |---|---|
//! | `input` | standard input |
//! | `output` | standard output |
//! | `line` | the call of either that is in progress |

mod input;
mod line;
mod output;

use self::input::Input;
use self::line::{Caller, Line};
use self::output::{Output, Unfinished};
use crate::ports::object_store::{ObjectReader, ObjectWriter, StoreError};
use crate::task::calls::StoreCall;
use crate::task::host::object_store::{Fault, StreamFailed};
use crate::task::store::TaskState;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use wasmtime::Result;
use wasmtime_wasi::cli::{StdinStream, StdoutStream};

/// Maximum number of bytes of a piece of input, and of the output that waits to be written.
const PIECE_BYTES: usize = 256 << 10;
/// Bytes that both pipes hold: a piece of input, one on its way, and the same of output.
pub(super) const PIPE_BYTES: usize = 4 * PIECE_BYTES;

/// The pipes of one task. They are closed until an object is connected.
pub(crate) struct Pipes {
    input: Input,
    output: Output,
    calls: Arc<Mutex<Calls>>,
    io: Handle,
}

/// The calls of both pipes that the task hasn't counted yet.
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
        Self { input: Input::default(), output: Output::default(), calls: Arc::default(), io: io.clone() }
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
        Caller { calls: self.calls.clone(), io: self.io.clone() }
    }

    /// Takes standard output away from the guest, to complete its object. Returns `None` if it isn't connected.
    pub(super) fn take_output(&mut self) -> Option<Unfinished> {
        self.output.take()
    }

    /// Returns for how long the oldest call in progress has lasted.
    pub(crate) fn unanswered(&self) -> Option<Duration> {
        let oldest = self.calls.lock().since.into_iter().flatten().min()?;
        Some(oldest.elapsed())
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
            let mut calls = pipes.calls.lock();
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
