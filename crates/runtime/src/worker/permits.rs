//! Permits: the right to run one more task, as many as the concurrency limit allows.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use tokio::sync::Notify;

/// Counts the tasks that run and the messages that are to be settled.
#[derive(Debug)]
pub(super) struct Permits {
    /// Maximum number of unsettled messages with which another task may start. A message is unsettled from the end of
    /// its task to its settlement.
    max_unsettled: usize,
    state: Mutex<State>,
    /// Notified when a permit may be free.
    freed: Notify,
}

#[derive(Clone, Copy, Debug)]
struct State {
    limit: usize,
    running: usize,
    unsettled: usize,
}

/// The right to run one task. When it is dropped, another task may run.
#[derive(Debug)]
pub(super) struct Permit(Arc<Permits>);

/// Counts a message whose task has ended, until the message is settled and this is dropped.
#[derive(Debug)]
pub(super) struct Unsettled(Arc<Permits>);

impl Permits {
    /// Creates permits for `limit` concurrent tasks. No task starts while more than `max_unsettled` messages wait for
    /// their settlement.
    pub(super) fn new(limit: usize, max_unsettled: usize) -> Arc<Self> {
        let state = Mutex::new(State { limit, running: 0, unsettled: 0 });
        Arc::new(Self { max_unsettled, state, freed: Notify::new() })
    }

    /// Changes the concurrency limit. If more tasks run than a lower limit allows, they go on.
    pub(super) fn set_limit(&self, limit: usize) {
        let before = std::mem::replace(&mut self.state().limit, limit);
        if limit > before {
            self.freed.notify_waiters();
        }
    }

    /// Returns the concurrency limit.
    pub(super) fn limit(&self) -> usize {
        self.state().limit
    }

    /// Waits for a permit.
    pub(super) async fn acquire(self: &Arc<Self>) -> Permit {
        loop {
            let freed = self.freed.notified();
            if let Some(permit) = self.try_acquire() {
                return permit;
            }
            freed.await;
        }
    }

    /// Takes a permit if one is free now.
    pub(super) fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let mut state = self.state();
        let is_free = state.running < state.limit && state.unsettled <= self.max_unsettled;
        is_free.then(|| {
            state.running += 1;
            Permit(self.clone())
        })
    }

    /// Counts one more unsettled message.
    pub(super) fn unsettled(self: &Arc<Self>) -> Unsettled {
        self.state().unsettled += 1;
        Unsettled(self.clone())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.freed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.change(|state| state.running -= 1);
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.0.change(|state| state.unsettled -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Takes all free permits.
    fn free(permits: &Arc<Permits>) -> Vec<Permit> {
        std::iter::from_fn(|| permits.try_acquire()).collect()
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_limit_moves_while_tasks_run() {
        let permits = Permits::new(2, 100);
        let mut running = free(&permits);
        assert_eq!(running.len(), 2);
        permits.set_limit(5);
        running.extend(free(&permits));
        assert_eq!(running.len(), 5);
        permits.set_limit(1);
        running.truncate(1);
        assert!(free(&permits).is_empty());
        running.clear();
        assert_eq!(free(&permits).len(), 1);
        for limit in [7, 1, 2, 9, 1, 1, 4] {
            let running = free(&permits);
            permits.set_limit(limit);
            drop(running);
            assert_eq!(free(&permits).len(), limit);
        }
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_a_task_that_ends_and_by_a_higher_limit() {
        let permits = Permits::new(1, 100);
        let running = permits.acquire().await;
        let mut first = pin!(permits.acquire());
        assert!(poll(first.as_mut()).is_pending());
        drop(running);
        let _running = first.await;
        let (mut second, mut third) = (pin!(permits.acquire()), pin!(permits.acquire()));
        assert!(poll(second.as_mut()).is_pending() && poll(third.as_mut()).is_pending());
        permits.set_limit(3);
        let _both = tokio::join!(second, third);
    }

    #[tokio::test]
    async fn a_permit_whose_wait_was_given_up_is_free_for_others() {
        let permits = Permits::new(1, 100);
        let running = permits.acquire().await;
        let mut other = pin!(permits.acquire());
        {
            let mut given_up = pin!(permits.acquire());
            assert!(poll(given_up.as_mut()).is_pending() && poll(other.as_mut()).is_pending());
            drop(running);
        }
        let _running = other.await;
    }

    #[tokio::test]
    async fn no_task_starts_while_too_many_messages_are_not_settled() {
        let permits = Permits::new(4, 1);
        let unsettled = [permits.unsettled(), permits.unsettled()];
        assert!(permits.try_acquire().is_none());
        let mut waits = pin!(permits.acquire());
        assert!(poll(waits.as_mut()).is_pending());
        drop(unsettled);
        let _running = waits.await;
    }
}
