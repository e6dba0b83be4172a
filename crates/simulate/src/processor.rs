//! Threads of a worker, which the tasks that compute share fairly: each gets the same part of them.

use crate::arena::Key;
use crate::time::seconds;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Difference of work in seconds below which two ends are the same: times are whole nanoseconds.
const SAME: f64 = 1e-9;

#[derive(Debug)]
pub(crate) struct Processor {
    threads: f64,
    /// Speed of a thread: work in seconds that it does in a second.
    speed: f64,
    /// Work in seconds that each task has been given since there last was none.
    given: f64,
    /// Time in nanoseconds at which `given` was right.
    at: u64,
    tasks: BinaryHeap<Reverse<Ending>>,
    /// Time that tasks were on a thread and waited for one, in seconds, since the last [`Self::take_load`].
    computed: f64,
    waited: f64,
}

/// A task that ends when each task has been given this much work.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ending(f64, Key);

impl Eq for Ending {}

impl PartialOrd for Ending {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ending {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1))
    }
}

impl Processor {
    pub(crate) fn new(threads: usize, speed: f64, now: u64) -> Self {
        let threads = threads as f64;
        Self { threads, speed, given: 0.0, at: now, tasks: BinaryHeap::new(), computed: 0.0, waited: 0.0 }
    }

    /// Computes until `now`.
    pub(crate) fn advance(&mut self, now: u64) {
        let elapsed = seconds(now.saturating_sub(self.at));
        self.at = now;
        if self.tasks.is_empty() {
            return;
        }
        let tasks = self.tasks.len() as f64;
        let busy = tasks.min(self.threads);
        self.computed += busy * elapsed;
        self.waited += (tasks - busy) * elapsed;
        self.given += self.rate() * elapsed;
    }

    /// Work in seconds that each task is given in a second.
    fn rate(&self) -> f64 {
        self.speed * (self.threads / self.tasks.len() as f64).min(1.0)
    }

    /// Adds a task with this much work in seconds. Call [`Self::advance`] before.
    pub(crate) fn add(&mut self, work: f64, task: Key) {
        if self.tasks.is_empty() {
            self.given = 0.0;
        }
        self.tasks.push(Reverse(Ending(self.given + work, task)));
    }

    /// Returns when the next task ends if none is added, in nanoseconds.
    pub(crate) fn next_end(&self) -> Option<u64> {
        let Reverse(Ending(end, _)) = self.tasks.peek()?;
        let left = ((end - self.given).max(0.0) / self.rate() * 1e9).ceil();
        Some(self.at.saturating_add(left as u64))
    }

    /// Removes a task whose work is done. Call [`Self::advance`] before.
    pub(crate) fn ended(&mut self) -> Option<Key> {
        let Reverse(Ending(end, task)) = *self.tasks.peek()?;
        (end <= self.given + SAME).then(|| {
            self.tasks.pop();
            task
        })
    }

    /// Removes all tasks.
    pub(crate) fn clear(&mut self) {
        self.tasks.clear();
    }

    /// Returns the time that tasks computed and waited for a thread since the last call, in seconds.
    pub(crate) fn take_load(&mut self) -> (f64, f64) {
        (std::mem::take(&mut self.computed), std::mem::take(&mut self.waited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;

    #[test]
    fn tasks_share_the_threads_and_none_is_faster_than_a_thread() {
        let mut arena = Arena::default();
        let [a, b, c] = ['a', 'b', 'c'].map(|name| arena.insert(name));
        let mut processor = Processor::new(2, 0.5, 0);
        processor.add(1.0, a);
        assert_eq!(processor.next_end(), Some(2_000_000_000), "half as fast");
        processor.add(1.0, b);
        processor.add(0.5, c);
        // Three tasks on two threads: each gets a third of a second's work in a second.
        assert_eq!(processor.next_end(), Some(1_500_000_000));
        processor.advance(1_500_000_000);
        assert_eq!((processor.ended(), processor.ended()), (Some(c), None));
        assert_eq!(processor.next_end(), Some(2_500_000_000));
        processor.advance(2_500_000_000);
        let mut ended = [processor.ended(), processor.ended()];
        ended.sort();
        assert_eq!(ended, [Some(a), Some(b)]);
        let (computed, waited) = processor.take_load();
        assert!((computed - 5.0).abs() < 1e-9 && (waited - 1.5).abs() < 1e-9, "{computed} {waited}");
    }
}
