//! Pressure: the bound of the scaler while stores or queues fail or throttle.

use super::scaler::{Snapshot, left_after};
use std::num::NonZeroUsize;
use std::time::Duration;

/// Share of tasks that fail because of stores or queues from which it counts as pressure. Single failures among many
/// are bad luck, as they are to the circuit breaker.
const LEAST_PRESSED: f64 = 0.1;
/// Pressure multiplies the number of tasks by this factor, …
const SHRINK: f64 = 0.7;
/// … at most once in this time, as its effect takes time to show, …
const SHRINK_EVERY: Duration = Duration::from_secs(1);
/// … and success raises the bound again by this share each second.
const RECOVER_PER_SECOND: f64 = 0.1;

/// How many tasks the stores and queues bear.
#[derive(Clone, Debug, Default)]
pub(super) struct Pressure {
    /// Tasks of the last second or so that failed because of stores or queues, out of the `ended` ones.
    failed: f64,
    ended: f64,
    /// Bound of the number of tasks; `None`: there is none.
    bound: Option<f64>,
    shrunk_at: Option<Duration>,
}

impl Pressure {
    /// Returns the number of tasks that may run at once; `None`: any.
    pub(super) fn bound(&self) -> Option<f64> {
        self.bound
    }

    /// Lowers the bound while stores or queues fail, and raises it again while they don't. Now, after the time `now`, there
    /// may be `instances` tasks, and never more than `max`.
    pub(super) fn record(&mut self, snapshot: &Snapshot, now: Duration, instances: usize, max: NonZeroUsize) {
        let left = left_after(snapshot.elapsed, SHRINK_EVERY);
        self.failed = self.failed * left + snapshot.pressed as f64;
        self.ended = self.ended * left + snapshot.ended as f64;
        if snapshot.pressed > 0 && self.failed >= self.ended * LEAST_PRESSED {
            let is_new = self.shrunk_at.is_none_or(|at| now - at >= SHRINK_EVERY);
            if is_new {
                self.shrunk_at = Some(now);
                self.bound = Some((instances as f64 * SHRINK).max(1.0));
            }
        } else if snapshot.ended > 0
            && let Some(bound) = &mut self.bound
        {
            *bound *= 1.0 + RECOVER_PER_SECOND * snapshot.elapsed.as_secs_f64().min(1.0);
            if *bound >= max.get() as f64 {
                self.bound = None;
            }
        }
    }
}
