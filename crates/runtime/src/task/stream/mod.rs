//! Streams of WASI that are connected to objects: standard input and output of commands, files, and the values of
//! `wasi:blobstore`.
//!
//! A store is called on the threads that own its connections, a piece at a time. The calls end whenever they end; the task
//! counts them after its next host call ([`TaskState::count_streams`]).
//!
//! | module | owns |
//! |---|---|
//! | `input` | a stream that reads an object |
//! | `output` | a stream that writes an object |
//! | `line` | the call of either that is in progress |

mod input;
mod line;
mod output;

pub(crate) use self::input::Input;
pub(crate) use self::output::{Output, Unfinished};

use self::line::Caller;
use super::calls::{CallResult, StoreCall};
use super::holds::Hold;
use super::host::object_store::{Fault, StreamFailed};
use super::store::{TaskState, Unanswered};
use crate::model::host_error::Used;
use crate::ports::object_store::StoreError;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::runtime::Handle;
use wasmtime::Result;

/// Maximum number of bytes of a piece of input, and of the output that waits to be written.
const PIECE_BYTES: usize = 256 << 10;
/// Bytes that a stream holds: a piece, and one on its way.
pub(crate) const STREAM_BYTES: usize = 2 * PIECE_BYTES;

/// The streams of one task.
pub(crate) struct Streams {
    calls: Arc<Mutex<Calls>>,
    io: Handle,
}

/// The calls of all streams that the task hasn't counted yet.
#[derive(Default)]
struct Calls {
    ended: Vec<Ended>,
    /// Bytes of output that were accepted from the guest, with the object that they are for.
    accepted: Vec<(Arc<Name>, u64)>,
    /// The calls in progress with their starts, by number.
    since: BTreeMap<u64, (Instant, Arc<Name>, StoreCall)>,
    /// Number of the next call.
    next: u64,
}

/// A call that has ended, with the number of bytes that it read.
struct Ended {
    name: Arc<Name>,
    call: StoreCall,
    /// Its start and its end.
    times: (Instant, Instant),
    /// `None`: the guest dropped the stream first.
    answer: Option<std::result::Result<u64, StoreError>>,
}

/// The object of a stream.
pub(crate) struct Name {
    pub(crate) alias: String,
    pub(crate) key: String,
    /// The name of a standard stream, of which a failed call ends the task: a program can't tell a failed read from the
    /// end of its input.
    pub(crate) standard: Option<&'static str>,
    /// Index of the stream's calls in the task's trace, once there is one.
    recorded: OnceLock<usize>,
}

impl Name {
    pub(crate) fn new(alias: String, key: String, standard: Option<&'static str>) -> Self {
        Self { alias, key, standard, recorded: OnceLock::new() }
    }
}

/// The host's end of a stream, with what it holds of the host.
pub(crate) struct End<P> {
    pub(crate) name: Arc<Name>,
    pub(crate) end: P,
    pub(crate) hold: Hold,
}

impl Calls {
    fn accept(&mut self, name: &Arc<Name>, bytes: usize) {
        match self.accepted.last_mut() {
            Some((last, sum)) if Arc::ptr_eq(last, name) => *sum += bytes as u64,
            _ => self.accepted.push((name.clone(), bytes as u64)),
        }
    }
}

impl Streams {
    pub(crate) fn new(io: &Handle) -> Self {
        Self { calls: Arc::default(), io: io.clone() }
    }

    /// Returns the oldest call in progress.
    pub(crate) fn unanswered(&self) -> Option<Unanswered> {
        let calls = self.calls.lock();
        let (since, name, call) = calls.since.values().min_by_key(|(since, ..)| *since)?;
        let used = Used { backend: name.alias.clone(), access: call.access() };
        Some(Unanswered { waited: since.elapsed(), used })
    }

    fn caller(&self, name: &Arc<Name>) -> Caller {
        Caller { name: name.clone(), calls: self.calls.clone(), io: self.io.clone() }
    }
}

impl TaskState {
    /// Counts the calls of the streams that have ended. Ends a task that exceeded a limit, and one whose standard stream
    /// failed.
    pub(crate) fn count_streams(&mut self) -> Result<()> {
        let (ended, accepted) = {
            let mut calls = self.streams.calls.lock();
            if calls.ended.is_empty() && calls.accepted.is_empty() {
                return Ok(());
            }
            (std::mem::take(&mut calls.ended), std::mem::take(&mut calls.accepted))
        };
        // All are counted, whatever the first of them leads to.
        let mut result = Ok(());
        for (name, bytes) in accepted {
            result = result.and(self.count_written(&name.alias, bytes));
        }
        for call in ended {
            let counted = self.count_stream(call);
            result = result.and(counted);
        }
        result
    }

    /// Counts a call that has ended.
    fn count_stream(&mut self, Ended { name, call, times, answer }: Ended) -> Result<()> {
        let Name { alias, key, standard, .. } = &*name;
        self.usage.calls += 1;
        self.count_store_call(alias)?;
        let Some(answer) = answer else { return Ok(()) };
        if let (StoreCall::ReaderRead, Ok(bytes)) = (call, &answer) {
            self.count_read(alias, *bytes)?;
        }
        self.record_piece(&name, call, times, CallResult::of_store(&answer));
        match (self.answered(call, alias, key, answer), standard) {
            (Err(Fault::Trap(trap)), _) => Err(trap),
            (Err(Fault::Error(error)), Some(stream)) => Err(StreamFailed::new(stream, &error).into()),
            // The stream tells the guest.
            (Err(Fault::Error(_)), None) | (Ok(_), _) => Ok(()),
        }
    }

    /// Records a call for the task's trace, if traces are exported: together with the calls of the same stream before it.
    fn record_piece(&self, name: &Name, call: StoreCall, times: (Instant, Instant), result: CallResult) {
        let Some(recorder) = &self.recorder else { return };
        let (mut recorder, result) = (recorder.lock(), result.as_str());
        match name.recorded.get() {
            Some(&index) => recorder.extend(index, times.1, result),
            None => {
                if let Some(index) = recorder.record(times, "store", call.as_str(), &name.alias, result) {
                    // Can't fail: the task counts its streams' calls one after the other.
                    let _ = name.recorded.set(index);
                }
            }
        }
    }

    /// Completes the object of an output, which the guest no longer has.
    pub(crate) async fn complete(&mut self, output: Unfinished) -> std::result::Result<(), Fault> {
        let name = output.name().clone();
        let rest = output.rest().await;
        self.count_streams()?;
        let (mut writer, rest) = rest.map_err(Fault::Error)?;
        let Name { alias, key, .. } = &*name;
        if !rest.is_empty() {
            let answer = self
                .call_store(StoreCall::WriterWrite, alias, async move {
                    writer.write(rest).await.map(|()| writer)
                })
                .await?;
            writer = self.answered(StoreCall::WriterWrite, alias, key, answer)?;
        }
        let answer =
            self.call_store(StoreCall::WriterFinish, alias, async move { writer.finish().await }).await?;
        let info = self.answered(StoreCall::WriterFinish, alias, key, answer)?;
        self.wrote(alias, info);
        Ok(())
    }
}
