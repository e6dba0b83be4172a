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
        // With few instances a part of them is enough: others must go on until the worker has woken up.
        let enough = (instance.all() / 4).clamp(1, MAX_BATCH);
        let mut gathered = self.lock();
        gathered.instances.push(instance);
        if wall >= SHORT || gathered.instances.len() >= enough || self.threads.all_started() {
            self.hand_over(gathered);
        }
    }

    /// The message of a task that took so long is to be settled.
    pub(super) fn settle(&self, settlement: Settlement, wall: Duration) {
        let mut gathered = self.lock();
        gathered.settlements.push(settlement);
        if wall >= SHORT || gathered.settlements.len() >= MAX_BATCH || self.threads.all_started() {
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
