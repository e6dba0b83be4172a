//! Work that outlives its task.
//!
//! A call to a backend is abandoned with its task, and mostly that ends it. What blocks a thread can't be ended, on a disk
//! that gives no answer for minutes: it goes on, with the memory and the files that it holds. It's counted as the task's
//! until it's over, and so long the task's place isn't given to another.

use std::future::Future;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

tokio::task_local! {
    static OF_THIS_TASK: TaskTracker;
}

/// What was begun for one task and can't be abandoned.
#[derive(Clone, Debug, Default)]
pub struct Leftovers(TaskTracker);

/// Held by work that can't be abandoned, for as long as it goes on.
#[derive(Debug, Default)]
pub struct Leftover {
    _counted: Option<TaskTrackerToken>,
}

impl Leftovers {
    /// What this begins belongs to the task.
    pub fn of<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        OF_THIS_TASK.scope(self.0.clone(), work)
    }

    /// Whether nothing goes on now.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits until nothing goes on any more. Nothing may be begun by then: the task is over.
    pub async fn gone(&self) {
        self.0.close();
        self.0.wait().await;
    }
}

impl Leftover {
    /// For work that is begun now. It must be asked for on the task's behalf, and not by the thread that does the work. For
    /// the worker's own calls it counts nothing.
    pub fn begins() -> Self {
        Self { _counted: OF_THIS_TASK.try_with(TaskTracker::token).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_goes_on_counts_as_the_tasks_until_it_is_over() {
        let (task, other) = (Leftovers::default(), Leftovers::default());
        let (first, second) = task.of(async { (Leftover::begins(), Leftover::begins()) }).await;
        let _of_nobody = Leftover::begins();
        drop(first);
        assert!(!task.is_empty() && other.is_empty());
        drop(second);
        assert!(task.is_empty());
        task.gone().await;
    }
}
