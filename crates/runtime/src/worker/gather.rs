//! What tasks give back when they end: the permission to run another one, and a message to be settled.
//!
//! The worker sleeps until there is something to do, and to wake it costs as much as a short task. What short tasks give
//! back therefore gathers while others wait for a thread, since then no thread is idle for want of a message: until it's
//! enough for a receive, or the last of those others starts.

use super::scale::Instance;
use super::settle::Settlement;
use crate::message::MAX_BATCH;
use crate::threads::Load;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// What a longer task gives back doesn't wait for others.
const SHORT: Duration = Duration::from_millis(1);

/// Where ended tasks leave what the worker waits for.
pub(super) struct Gathering {
    /// Bounded by the permits that settlements hold.
    settlements: mpsc::UnboundedSender<Vec<Settlement>>,
    gathered: Mutex<Gathered>,
    threads: Load,
}

#[derive(Default)]
struct Gathered {
    instances: Vec<Instance>,
    settlements: Vec<Settlement>,
}

impl Gathering {
    pub(super) fn new(settlements: mpsc::UnboundedSender<Vec<Settlement>>, threads: Load) -> Self {
        Self { settlements, gathered: Mutex::default(), threads }
    }

    /// A task that took so long has ended.
    pub(super) fn free(&self, instance: Instance, wall: Duration) {
        // Half of them, or what fills a receive, is enough: the others go on until the worker has woken up.
        let enough = (instance.all() / 2).clamp(1, MAX_BATCH);
        self.gather(wall, |gathered| {
            gathered.instances.push(instance);
            gathered.instances.len() >= enough
        });
    }

    /// The message of a task that took so long is to be settled.
    pub(super) fn settle(&self, settlement: Settlement, wall: Duration) {
        self.gather(wall, |gathered| {
            gathered.settlements.push(settlement);
            gathered.settlements.len() >= MAX_BATCH
        });
    }

    /// Adds what a task of that length gives back, and hands everything over if that is enough or nobody may wait.
    fn gather(&self, wall: Duration, add: impl FnOnce(&mut Gathered) -> bool) {
        let mut gathered = self.lock();
        let is_enough = add(&mut gathered);
        if is_enough || wall >= SHORT || self.threads.all_started() {
            self.hand_over(gathered);
        }
    }

    /// One of those that waited for a thread has started.
    pub(super) fn started(&self) {
        if self.threads.all_started() {
            self.hand_over(self.lock());
        }
    }

    /// The worker is awake.
    pub(super) fn all(&self) {
        self.hand_over(self.lock());
    }

    /// The worker is woken once: if it is by the instances, it takes the settlements along.
    fn hand_over(&self, mut gathered: MutexGuard<'_, Gathered>) {
        let instances = std::mem::take(&mut gathered.instances);
        drop(gathered);
        Instance::give_back(instances);
        let settlements = std::mem::take(&mut self.lock().settlements);
        if !settlements.is_empty() {
            // The receiver lives until all senders are gone.
            let _ = self.settlements.send(settlements);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Receipt;
    use crate::worker::breaker::Evidence;
    use crate::worker::scale::Instances;
    use crate::worker::settle::Operation;
    use std::num::NonZeroUsize;
    use std::sync::Arc;
    use std::time::Instant;
    use tokio::sync::Semaphore;

    const QUICK: Duration = Duration::from_micros(10);

    const FOUR: NonZeroUsize = NonZeroUsize::new(4).expect("not zero");

    /// A worker of four instances, all of them taken.
    struct Busy {
        gathering: Gathering,
        threads: Load,
        instances: Arc<Instances>,
        taken: Vec<Instance>,
        settlements: mpsc::UnboundedReceiver<Vec<Settlement>>,
    }

    impl Busy {
        fn new() -> Self {
            let (sender, settlements) = mpsc::unbounded_channel();
            let (threads, instances) = (Load::default(), Instances::new(4, FOUR));
            let taken = std::iter::from_fn(|| instances.try_acquire()).collect();
            Self {
                gathering: Gathering::new(sender, threads.clone()),
                threads,
                instances,
                taken,
                settlements,
            }
        }

        fn task_ends_after(&mut self, wall: Duration) {
            self.gathering.free(self.taken.pop().expect("one that runs"), wall);
            let settlement = Settlement {
                message_id: "m".into(),
                receipt: Receipt("r".into()),
                operation: Operation::Delete,
                ours_until: Instant::now(),
                evidence: Evidence::None,
                is_trial: false,
                _in_hand: Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a permit"),
            };
            self.gathering.settle(settlement, wall);
        }

        /// Instances and settlements that the worker has.
        fn handed_over(&mut self) -> (usize, usize) {
            let settled = std::iter::from_fn(|| self.settlements.try_recv().ok()).flatten().count();
            let before = self.taken.len();
            self.taken.extend(std::iter::from_fn(|| self.instances.try_acquire()));
            (self.taken.len() - before, settled)
        }
    }

    #[test]
    fn what_short_tasks_give_back_gathers_while_others_wait_for_a_thread() {
        let mut worker = Busy::new();
        let waiting = worker.threads.unstarted();
        worker.task_ends_after(QUICK);
        assert_eq!(worker.handed_over(), (0, 0));
        worker.task_ends_after(QUICK);
        assert_eq!(worker.handed_over(), (2, 1), "half is enough, and takes along what is there");
        worker.gathering.all();
        assert_eq!(worker.handed_over(), (0, 1), "the worker is awake");
        worker.task_ends_after(QUICK);
        drop(waiting);
        worker.gathering.started();
        assert_eq!(worker.handed_over(), (1, 1), "the last one has started");
    }

    #[test]
    fn nothing_waits_where_no_task_does() {
        let mut worker = Busy::new();
        worker.task_ends_after(QUICK);
        assert_eq!(worker.handed_over(), (1, 1));
    }

    #[test]
    fn what_a_longer_task_gives_back_waits_for_nobody() {
        let mut worker = Busy::new();
        let _waiting = worker.threads.unstarted();
        worker.task_ends_after(SHORT);
        assert_eq!(worker.handed_over(), (1, 1));
    }
}
