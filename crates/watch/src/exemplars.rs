//! Exemplars: for each bucket of a histogram, the trace of the last task in it.

use parking_lot::Mutex;
use std::time::SystemTime;

/// A value of a task, with the trace of its message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// Trace ID.
    pub trace_id: u128,
    /// The task's value.
    pub value: f64,
    /// When the task ended.
    pub at: SystemTime,
}

/// The last exemplar of each bucket of a histogram.
#[derive(Debug)]
pub(crate) struct Exemplars {
    bounds: &'static [f64],
    /// One more than there are bounds: the last is of the bucket without a bound.
    latest: Mutex<Vec<Option<Exemplar>>>,
}

impl Exemplars {
    /// Creates a histogram's exemplars. `bounds` are the upper bounds of its buckets, ascending.
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, latest: Mutex::new(vec![None; bounds.len() + 1]) }
    }

    /// Records the exemplar of a task that ended at this time. If another thread does so now, that one's is kept: guest
    /// threads never wait here.
    pub(crate) fn record(&self, value: f64, trace_id: u128, at: SystemTime) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(mut latest) = self.latest.try_lock() {
            latest[bucket] = Some(Exemplar { trace_id, value, at });
        }
    }

    /// Returns the exemplar of each bucket.
    pub(crate) fn latest(&self) -> Vec<Option<Exemplar>> {
        self.latest.lock().clone()
    }
}
