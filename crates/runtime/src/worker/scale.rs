//! Between the scaler and the tasks: what it's shown, and permits whose number it moves.

use super::Worker;
use crate::component::Report;
use crate::outcome::Outcome;
use crate::scaler::{Decision, Goal, Scaler, Scaling, Snapshot};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

/// How often the scaler decides while there is something to do, …
const BUSY: Duration = Duration::from_millis(50);
/// … and while there isn't.
const IDLE: Duration = Duration::from_secs(1);
/// How often the queue is asked how much waits, where the goal needs to know.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A receive that lasts longer waited for messages to come.
const LONGEST_REQUEST: Duration = Duration::from_millis(100);

/// What moves the number of tasks at once between a minimum and [`super::WorkerOptions::instances`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleOptions {
    /// So many may always run.
    pub min: usize,
    /// What more are for.
    pub goal: Goal,
    /// See [`Scaling::keep_warm`].
    pub keep_warm: Duration,
}

/// Tasks at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizing {
    /// So many at most.
    pub most: NonZeroUsize,
    /// What moves the number up to that; `None`: it's fixed.
    pub scale: Option<ScaleOptions>,
}

impl Sizing {
    /// So many may always run; 0 stands for one that may start.
    pub(super) fn least(&self) -> usize {
        let most = self.most.get();
        self.scale.map_or(most, |scale| scale.min.min(most))
    }
}

/// The tasks that may run at once: permits, whose number changes while some of them are held.
#[derive(Debug)]
pub(super) struct Instances {
    free: Arc<Semaphore>,
    state: Mutex<Allowed>,
    /// There are fewer, of those that may run and those that are owed together.
    fewer: Notify,
}

#[derive(Debug)]
struct Allowed {
    number: usize,
    /// It never becomes more than that, …
    most: NonZeroUsize,
    /// … nor that more than this.
    for_good: NonZeroUsize,
    /// Of the permits that are held, so many vanish when they are given back.
    owed: usize,
}

/// The permission to run one task. Given back when dropped.
#[derive(Debug)]
pub(super) struct Instance {
    permit: Option<OwnedSemaphorePermit>,
    of: Arc<Instances>,
}

impl Instances {
    /// So many may run at once; it never becomes more than `most`.
    pub(super) fn new(number: usize, most: NonZeroUsize) -> Arc<Self> {
        let state = Mutex::new(Allowed { number, most, for_good: most, owed: 0 });
        Arc::new(Self { free: Arc::new(Semaphore::new(number)), state, fewer: Notify::new() })
    }

    /// So many may run at once from now on. Those that run beyond it go on.
    pub(super) fn allow(&self, number: usize) {
        self.allow_in(&mut self.state(), number);
    }

    /// Until this is called again it never becomes more than that, or than what is bounded for good. Returns the lesser.
    pub(super) fn bound(&self, most: NonZeroUsize) -> NonZeroUsize {
        let mut state = self.state();
        state.most = state.for_good.min(most);
        let number = state.number;
        self.allow_in(&mut state, number);
        state.most
    }

    fn allow_in(&self, state: &mut Allowed, number: usize) {
        let number = number.min(state.most.get());
        if let Some(more) = number.checked_sub(state.number) {
            let paid = more.min(state.owed);
            state.owed -= paid;
            self.free.add_permits(more - paid);
        } else {
            let fewer = state.number - number;
            state.owed += fewer - self.free.forget_permits(fewer);
            self.fewer.notify_waiters();
        }
        state.number = number;
    }

    /// Waits for one.
    pub(super) async fn acquire(self: &Arc<Self>) -> Option<Instance> {
        let settle = Settle(self);
        let permit = self.free.clone().acquire_owned().await;
        std::mem::forget(settle);
        permit.ok().map(|permit| Instance { permit: Some(permit), of: self.clone() })
    }

    /// How many more are held than that.
    pub(super) fn beyond(&self, most: usize) -> usize {
        let state = self.state();
        let held = (state.number + state.owed).saturating_sub(self.free.available_permits());
        held.saturating_sub(most)
    }

    /// Once bounded, waits until no more are held than that: then that is for good.
    pub(super) async fn until_bounded(&self, most: NonZeroUsize) {
        loop {
            // From now on it hears of each.
            let fewer = self.fewer.notified();
            if self.bound_for_good(most) {
                return;
            }
            fewer.await;
        }
    }

    /// Unless more are held than that, or may be.
    fn bound_for_good(&self, most: NonZeroUsize) -> bool {
        let mut state = self.state();
        let holds = state.are_at_most(most);
        if holds {
            state.most = state.most.min(most);
            state.for_good = state.most;
        }
        holds
    }

    /// No more are held than that, nor may be.
    pub(super) fn are_at_most(&self, most: NonZeroUsize) -> bool {
        self.state().are_at_most(most)
    }

    /// So many may run at once.
    pub(super) fn number(&self) -> usize {
        self.state().number
    }

    /// One that is free now.
    pub(super) fn try_acquire(self: &Arc<Self>) -> Option<Instance> {
        let permit = self.free.clone().try_acquire_owned();
        permit.ok().map(|permit| Instance { permit: Some(permit), of: self.clone() })
    }

    fn take_back(&self, permits: impl Iterator<Item = OwnedSemaphorePermit>) {
        let mut state = self.state();
        let mut free: Option<OwnedSemaphorePermit> = None;
        let owed = state.owed;
        for permit in permits {
            if state.owed > 0 {
                state.owed -= 1;
                permit.forget();
            } else if let Some(free) = &mut free {
                free.merge(permit);
            } else {
                free = Some(permit);
            }
        }
        // Before others look at the state.
        drop(free);
        if state.owed > 0 {
            state.owed -= self.free.forget_permits(state.owed);
        }
        if state.owed < owed {
            self.fewer.notify_waiters();
        }
    }

    fn state(&self) -> MutexGuard<'_, Allowed> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who waits for a permit and is dropped may have been given one already, which then is free though it may be owed.
struct Settle<'a>(&'a Instances);

impl Drop for Settle<'_> {
    fn drop(&mut self) {
        self.0.take_back(std::iter::empty());
    }
}

impl Allowed {
    fn are_at_most(&self, most: NonZeroUsize) -> bool {
        self.number + self.owed <= most.get()
    }
}

impl Instance {
    /// How many there may be at once, this one included.
    pub(super) fn all(&self) -> usize {
        self.of.number()
    }

    /// Gives them back at once. They are of the same instances.
    pub(super) fn give_back(mut several: Vec<Self>) {
        let Some(of) = several.first().map(|instance| instance.of.clone()) else { return };
        of.take_back(several.iter_mut().filter_map(|instance| instance.permit.take()));
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.of.take_back(self.permit.take().into_iter());
    }
}

/// What has happened since the scaler last looked.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    of_full_receives: AtomicU64,
    empty_receives: AtomicU64,
    receiving_us: AtomicU64,
    ended: AtomicU64,
    service_us: AtomicU64,
    pressed: AtomicU64,
    /// There is something to do after a pause.
    woken: Notify,
}

impl Pulse {
    /// A receive brought so many of those that were asked for, whose slots it held for so long.
    pub(super) fn received(&self, count: usize, asked: usize, lasted: Duration) {
        if count == 0 {
            self.empty_receives.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // A longer one waited for messages: its slots were free.
        let lasted = micros(lasted.min(LONGEST_REQUEST));
        self.receiving_us.fetch_add(lasted.saturating_mul(count as u64), Ordering::Relaxed);
        if count >= asked {
            self.of_full_receives.fetch_add(count as u64, Ordering::Relaxed);
            self.woken.notify_one();
        }
    }

    /// A task ended.
    pub(super) fn ended(&self, report: &Report) {
        let service = report.usage.wall.saturating_sub(report.usage.ready);
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.service_us.fetch_add(micros(service), Ordering::Relaxed);
        if matches!(report.outcome, Outcome::HostFailed { .. }) {
            self.pressed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn take(&self) -> Snapshot {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        Snapshot {
            of_full_receives: take(&self.of_full_receives),
            empty_receives: take(&self.empty_receives),
            occupied: Duration::from_micros(take(&self.receiving_us)),
            ended: take(&self.ended),
            service: Duration::from_micros(take(&self.service_us)),
            pressed: take(&self.pressed),
            ..Snapshot::default()
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Worker {
    /// Moves the number of tasks at once, until it's dropped.
    pub(super) async fn scale(&self, tasks: &TaskTracker) {
        let mut known: Option<Scaler> = None;
        let mut may_rest = false;
        let mut sizings = self.sizing.subscribe();
        loop {
            let Sizing { most, scale } = *sizings.borrow_and_update();
            match scale {
                Some(ScaleOptions { min, goal, keep_warm }) => {
                    let threads = self.component.threads().count();
                    let scaling = Scaling { min, max: most, threads, goal, keep_warm };
                    let scaler = known.get_or_insert_with(|| Scaler::new(scaling));
                    scaler.set(scaling);
                    // At once: until it decides, more would be received for than may run.
                    self.instances.allow(self.instances.number().min(most.get()));
                    tokio::select! {
                        () = self.follow(tasks, scaler, &mut may_rest) => {}
                        // It lives as long as the worker does.
                        _ = sizings.changed() => {}
                    }
                }
                None => {
                    self.instances.allow(most.get());
                    self.watched.decided(None);
                    let _ = sizings.changed().await;
                }
            }
        }
    }

    /// Follows what there is to do.
    async fn follow(&self, tasks: &TaskTracker, scaler: &mut Scaler, may_rest: &mut bool) {
        let threads = self.component.threads();
        let (mut then, mut loaded) = (Instant::now(), threads.load().until_now());
        loop {
            let busy = !tasks.is_empty();
            tokio::select! {
                () = tokio::time::sleep(if busy { BUSY } else { IDLE }) => {}
                // What wakes it doesn't make it decide more often.
                () = self.pulse.woken.notified(), if !busy => {}
            }
            let (now, before) = (Instant::now(), loaded);
            loaded = threads.load().until_now();
            let pulse = self.pulse.take();
            let decision = scaler.decide(&Snapshot {
                elapsed: now - then,
                waiting: self.watched.depth().map(|depth| depth.visible),
                running: tasks.len(),
                occupied: pulse.occupied + loaded.lasted.saturating_sub(before.lasted),
                computed: loaded.computed.saturating_sub(before.computed),
                waited: loaded.waited.saturating_sub(before.waited),
                ..pulse
            });
            then = now;
            self.watched.decided(Some(decision));
            let Decision { instances, because } = decision;
            let number = self.instances.number();
            if instances.get() != number {
                tracing::debug!(instances, ?because, running = tasks.len(), "Instances.");
                self.instances.allow(instances.get());
            }
            // Back from a burst: what the pool keeps for the next one may be long in coming. A task that still runs would
            // keep the whole pool beside the new one.
            *may_rest |= instances.get() < number;
            if *may_rest && tasks.is_empty() && instances.get() == self.sizing.borrow().least().max(1) {
                self.component.rest().await;
                *may_rest = false;
                tracing::debug!("Rests.");
            }
        }
    }

    /// Asks the queue how much waits, where the goal or somebody who watches needs to know.
    pub(super) async fn ask_depth(&self) {
        loop {
            let goal = self.sizing.borrow().scale.map(|scale| scale.goal);
            if self.options.watch_depth || goal.is_some_and(|goal| goal != Goal::AtOnce) {
                let depth = tokio::time::timeout(PATIENCE, self.queue.depth()).await;
                self.watched.depth_is(depth.ok().and_then(Result::ok));
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn at_most(number: usize) -> NonZeroUsize {
        NonZeroUsize::new(number).expect("not zero")
    }

    /// As many as there are free ones.
    fn free(instances: &Arc<Instances>) -> Vec<Instance> {
        std::iter::from_fn(|| instances.try_acquire()).collect()
    }

    #[test]
    fn the_number_moves_while_permits_are_held() {
        let instances = Instances::new(2, at_most(5));
        let mut held = free(&instances);
        assert_eq!(held.len(), 2);
        instances.allow(5);
        held.extend(free(&instances));
        assert_eq!(held.len(), 5);
        instances.allow(1);
        held.truncate(3);
        assert!(free(&instances).is_empty(), "three run where one may");
        held.truncate(1);
        assert!(free(&instances).is_empty());
        held.clear();
        assert_eq!(free(&instances).len(), 1);
    }

    #[test]
    fn what_is_owed_is_paid_before_more_is_given() {
        let instances = Instances::new(4, at_most(9));
        let held = free(&instances);
        instances.allow(1);
        instances.allow(3);
        drop(held);
        assert_eq!(free(&instances).len(), 3);
        // However often it moves.
        for number in [7, 1, 2, 9, 1, 1, 4] {
            let held = free(&instances);
            instances.allow(number);
            drop(held);
            assert_eq!(free(&instances).len(), number);
        }
    }

    #[tokio::test]
    async fn a_permit_that_nobody_waits_for_any_more_pays_what_is_owed() {
        let instances = Instances::new(2, at_most(2));
        let mut held = free(&instances);
        {
            let mut waiting = pin!(instances.acquire());
            assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            held.pop();
            instances.allow(1);
        }
        assert!(instances.are_at_most(at_most(1)));
        assert!(free(&instances).is_empty());
        held.clear();
        assert_eq!(free(&instances).len(), 1);
    }

    #[tokio::test]
    async fn what_is_bounded_stays_bounded_and_it_is_heard_when_no_more_are_held() {
        let instances = Instances::new(4, at_most(4));
        let mut held = free(&instances);
        assert_eq!(instances.bound(at_most(1)), at_most(1));
        assert_eq!(instances.bound(at_most(2)), at_most(2));
        let mut few = pin!(instances.until_bounded(at_most(2)));
        for count in [4, 3] {
            held.truncate(count);
            let poll = few.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(poll.is_pending(), "{count} are held");
        }
        held.truncate(2);
        few.await;
        assert_eq!(instances.bound(at_most(3)), at_most(2));
        instances.allow(4);
        assert!(free(&instances).is_empty());
        held.clear();
        assert_eq!(free(&instances).len(), 2);
    }
}
