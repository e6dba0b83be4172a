//! Connects the scaler to the permits: shows it statistics, and sets the concurrency limit that it decides.

use super::Worker;
use crate::model::outcome::Outcome;
use crate::task::component::Report;
use crate::worker::scaler::{
    ASK_EVERY, BUSY, Goal, IDLE, LONGEST_REQUEST, Scaler, Scaling, Snapshot, Target,
};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

/// How long the queue may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How to move the number of concurrent tasks between a minimum and [`super::WorkerOptions::instances`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleOptions {
    /// Number of tasks that may always run.
    pub min: usize,
    /// The goal of the scaler.
    pub goal: Goal,
    /// See [`Scaling::scale_in_delay`].
    pub scale_in_delay: Duration,
}

/// The concurrency limit and how it scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizing {
    /// Maximum number of concurrent tasks.
    pub most: NonZeroUsize,
    /// How to move the concurrency limit below that; `None`: it is fixed.
    pub scale: Option<ScaleOptions>,
}

impl Sizing {
    /// Returns the number of tasks that may always run. With 0, one task may start nevertheless.
    pub(super) fn least(&self) -> usize {
        let most = self.most.get();
        self.scale.map_or(most, |scale| scale.min.min(most))
    }
}

/// Statistics since the scaler's last decision.
#[derive(Debug, Default)]
pub(super) struct StatisticsWindow {
    of_full_receives: AtomicU64,
    empty_receives: AtomicU64,
    receiving_us: AtomicU64,
    ended: AtomicU64,
    service_us: AtomicU64,
    pressed: AtomicU64,
    /// Wakes the scaler when there is something to do after an idle time.
    woken: Notify,
}

impl StatisticsWindow {
    /// Records a receive that returned `count` of the `asked` messages. It held their permits for `running_time`.
    pub(super) fn received(&self, count: usize, asked: usize, running_time: Duration) {
        if count == 0 {
            self.empty_receives.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let running_time = micros(running_time.min(LONGEST_REQUEST));
        self.receiving_us.fetch_add(running_time.saturating_mul(count as u64), Ordering::Relaxed);
        if count >= asked {
            self.of_full_receives.fetch_add(count as u64, Ordering::Relaxed);
            self.woken.notify_one();
        }
    }

    /// Records the end of a task.
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
    /// Moves the concurrency limit, until this future is dropped.
    pub(super) async fn scale(&self, tasks: &TaskTracker) {
        let mut known: Option<Scaler> = None;
        let mut may_reclaim = false;
        let mut sizings = self.sizing.subscribe();
        loop {
            let Sizing { most, scale } = *sizings.borrow_and_update();
            match scale {
                Some(ScaleOptions { min, goal, scale_in_delay }) => {
                    let threads = self.routes.threads().count();
                    let scaling = Scaling { min, max: most, threads, goal, scale_in_delay };
                    let scaler = known.get_or_insert_with(|| Scaler::new(scaling));
                    scaler.set(scaling);
                    // Until the scaler decides, no more tasks may start than the new limit allows.
                    self.permits.set_limit(self.permits.limit().min(most.get()));
                    tokio::select! {
                        () = self.follow(tasks, scaler, &mut may_reclaim) => {}
                        // The sender lives as long as the worker.
                        _ = sizings.changed() => {}
                    }
                }
                None => {
                    self.permits.set_limit(most.get());
                    self.records.decided(None);
                    let _ = sizings.changed().await;
                }
            }
        }
    }

    /// Lets the scaler decide at intervals, and sets the concurrency limit.
    async fn follow(&self, tasks: &TaskTracker, scaler: &mut Scaler, may_reclaim: &mut bool) {
        let threads = self.routes.threads();
        let (mut then, mut load) = (Instant::now(), threads.load().until_now());
        loop {
            let busy = !tasks.is_empty();
            tokio::select! {
                () = tokio::time::sleep(if busy { BUSY } else { IDLE }) => {}
                // Only an idle wait is cut short: waking doesn't make a busy scaler decide more often.
                () = self.window.woken.notified(), if !busy => {}
            }
            let (now, before) = (Instant::now(), load);
            load = threads.load().until_now();
            let window = self.window.take();
            let decision = scaler.decide(&Snapshot {
                elapsed: now - then,
                waiting: self.sources.recent_depth().map(|(depth, _)| depth.visible),
                running: tasks.len(),
                occupied: window.occupied + load.running_time.saturating_sub(before.running_time),
                computed: load.computed.saturating_sub(before.computed),
                waited: load.waited.saturating_sub(before.waited),
                ..window
            });
            then = now;
            self.records.decided(Some(decision));
            let Target { instances, because } = decision;
            let number = self.permits.limit();
            if instances.get() != number {
                tracing::debug!(instances, ?because, running = tasks.len(), "changed the concurrency limit");
                self.permits.set_limit(instances.get());
            }
            // After a burst, the pool's memory is reclaimed, as the next burst may be long in coming. This waits until
            // no task runs: one that still ran would keep the whole old pool next to the new one.
            *may_reclaim |= instances.get() < number;
            if *may_reclaim && tasks.is_empty() && instances.get() == self.sizing.borrow().least().max(1) {
                self.routes.reclaim_idle_memory().await;
                *may_reclaim = false;
                tracing::debug!("reclaimed idle memory");
            }
        }
    }

    /// Asks the queues for their depths at intervals, if the goal or the status needs it.
    pub(super) async fn ask_depth(&self) {
        loop {
            let goal = self.sizing.borrow().scale.map(|scale| scale.goal);
            if self.options.watch_depth || goal.is_some_and(|goal| goal != Goal::AtOnce) {
                self.records.depth_asked(self.sources.ask_depths(PATIENCE).await);
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}
