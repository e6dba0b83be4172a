//! The trace of one task: its position in a trace, and its calls to the host.

use crate::model::outcome::OutcomeKind;
use crate::model::trace::Trace;
use std::time::{Duration, Instant};

/// Maximum number of calls of one task that are recorded.
const MAX_CALLS: usize = 128;
/// Maximum length of the name of a host that is recorded.
const MAX_TARGET_BYTES: usize = 255;

/// The trace of one task, with the task's calls to the host.
#[derive(Clone, Debug)]
pub struct TaskTrace {
    /// The task's position.
    pub trace: Trace,
    /// Time before the task's usage begins, in which its body was fetched.
    pub before: Duration,
    /// Calls to stores, queues, buckets and HTTP hosts, in the order of their end.
    pub calls: Vec<HostCall>,
    /// Number of calls that weren't recorded, as there were too many.
    pub dropped_calls: u64,
}

impl TaskTrace {
    /// Creates the trace of a task that has made no call.
    pub(crate) fn new(trace: Trace) -> Self {
        Self { trace, before: Duration::ZERO, calls: Vec::new(), dropped_calls: 0 }
    }

    /// Returns whether the trace is exported: it is recorded, or the task failed.
    pub fn is_exported(&self, outcome: OutcomeKind) -> bool {
        self.trace.is_sampled() || outcome != OutcomeKind::Completed
    }

    /// Adds the fetch of the message's body, before which the task didn't start.
    pub(crate) fn add_fetch(&mut self, fetch: HostCall) {
        self.before = fetch.took;
        self.calls.iter_mut().for_each(|call| call.began += fetch.took);
        self.calls.insert(0, fetch);
    }
}

/// A call of a task to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCall {
    /// What was called: `store`, `queue`, `bucket` or `http`.
    pub kind: &'static str,
    /// Name of the call, as in metrics.
    pub name: &'static str,
    /// Alias of the store, queue or bucket, or the host of a request.
    pub target: String,
    /// When it began, from the start of the task.
    pub began: Duration,
    /// How long it took.
    pub took: Duration,
    /// Its result, as in metrics.
    pub result: &'static str,
    /// Number of calls: the pieces of a stream are recorded as one, from the start of the first to the end of the last.
    pub pieces: u64,
}

/// The calls of a running task.
#[derive(Debug)]
pub(crate) struct CallRecorder {
    began: Instant,
    calls: Vec<HostCall>,
    dropped: u64,
}

impl CallRecorder {
    /// Creates the recorder of a task that starts now.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), calls: Vec::new(), dropped: 0 }
    }

    /// Records a call that took this time. Returns its index, unless there are too many.
    pub(crate) fn record(
        &mut self,
        (since, until): (Instant, Instant),
        kind: &'static str,
        name: &'static str,
        target: &str,
        result: &'static str,
    ) -> Option<usize> {
        if self.calls.len() == MAX_CALLS {
            self.dropped += 1;
            return None;
        }
        let target = target[..target.floor_char_boundary(MAX_TARGET_BYTES)].to_owned();
        let began = since.saturating_duration_since(self.began);
        let took = until.saturating_duration_since(since);
        self.calls.push(HostCall { kind, name, target, began, took, result, pieces: 1 });
        Some(self.calls.len() - 1)
    }

    /// Records another piece of a stream, which ended at `until`, with the pieces before it.
    pub(crate) fn extend(&mut self, index: usize, until: Instant, result: &'static str) {
        let Some(call) = self.calls.get_mut(index) else { return };
        call.took = until.saturating_duration_since(self.began).saturating_sub(call.began).max(call.took);
        call.result = result;
        call.pieces += 1;
    }

    /// Returns the task's trace with the calls so far, and forgets them.
    pub(crate) fn take(&mut self, trace: Trace) -> TaskTrace {
        TaskTrace {
            calls: std::mem::take(&mut self.calls),
            dropped_calls: std::mem::take(&mut self.dropped),
            ..TaskTrace::new(trace)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::Message;
    use crate::model::trace::Sampling;

    fn taken(recorder: &mut CallRecorder) -> TaskTrace {
        recorder.take(Trace::of_task(&Message::new("m", ""), Sampling::new(0.0)).expect("a trace"))
    }

    #[test]
    fn a_bounded_number_of_calls_is_recorded() {
        let (mut recorder, now) = (CallRecorder::new(), Instant::now());
        for _ in 0..MAX_CALLS + 3 {
            recorder.record((now, now), "http", "request", &"ü".repeat(1000), "ok");
        }
        let task = taken(&mut recorder);
        assert_eq!((task.calls.len(), task.dropped_calls), (MAX_CALLS, 3));
        assert!(task.calls.iter().all(|call| call.target.len() <= MAX_TARGET_BYTES));
        assert!(!task.is_exported(OutcomeKind::Completed) && task.is_exported(OutcomeKind::Trapped));
    }

    #[test]
    fn pieces_of_a_stream_are_one_call_from_the_first_to_the_last() {
        let mut recorder = CallRecorder::new();
        let at = |milliseconds| recorder.began + Duration::from_millis(milliseconds);
        let (first, second, third) = ((at(10), at(20)), at(35), at(50));
        let index = recorder.record(first, "store", "reader-read", "input", "ok").expect("room");
        recorder.record(first, "store", "head", "input", "ok");
        recorder.extend(index, second, "ok");
        recorder.extend(index, third, "unavailable");
        let calls = taken(&mut recorder).calls;
        assert_eq!(calls.len(), 2);
        let HostCall { began, took, result, pieces, .. } = calls[index];
        assert_eq!((began, took), (Duration::from_millis(10), Duration::from_millis(40)));
        assert_eq!((result, pieces), ("unavailable", 3));
    }

    #[test]
    fn the_fetch_of_the_body_comes_before_all_calls() {
        let (mut recorder, now) = (CallRecorder::new(), Instant::now());
        let call = |took| HostCall {
            kind: "store",
            name: "get",
            target: "body store".into(),
            began: Duration::ZERO,
            took: Duration::from_millis(took),
            result: "ok",
            pieces: 1,
        };
        recorder.record((now, now), "store", "put", "output", "ok");
        let mut task = taken(&mut recorder);
        let later = task.calls[0].began;
        task.add_fetch(call(7));
        assert_eq!((task.before, &task.calls[0]), (Duration::from_millis(7), &call(7)));
        assert_eq!(task.calls[1].began, later + Duration::from_millis(7));
    }
}
