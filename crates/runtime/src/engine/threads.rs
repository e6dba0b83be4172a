//! Threads on which guests compute, and threads for the worker's I/O.
//!
//! They are separate, so that a spinning guest delays no long poll, no lease renewal and no timeout. Guests are
//! time-sliced among themselves: a task yields its thread after its time slice (`time_slice`) and goes to the end of
//! the thread's queue. This module also measures the thread load.

use parking_lot::{Mutex, MutexGuard};
use std::future::{Future, poll_fn};
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::TaskTracker;

/// Maximum number of I/O threads: enough to encrypt the network traffic of a large host.
const MOST_IO_THREADS: usize = 4;
/// Idle time after which a thread for blocking calls to a store ends. The threads of a burst end soon, and a store that
/// is called now and then doesn't start a thread for each call.
const IDLE: Duration = Duration::from_millis(200);

/// Starts the I/O threads of a worker and its backends. Code that uses the backends should be spawned there: otherwise
/// each answer has to wake the thread that blocks on it.
///
/// # Errors
///
/// The system refuses to start a thread.
pub fn start_io() -> io::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    Builder::new_multi_thread()
        // One thread serves the guests of several cores, and threads that wake each other cost more than they add.
        .worker_threads(cores.div_ceil(4).min(MOST_IO_THREADS))
        .thread_name("io")
        .thread_keep_alive(IDLE)
        .enable_all()
        .build()
}

/// A pool of threads for guests; dropping it ends the threads.
#[derive(Debug)]
pub struct GuestThreads {
    /// `None` only during drop.
    runtime: Option<Runtime>,
    load: ThreadLoad,
    count: NonZeroUsize,
}

impl GuestThreads {
    /// Starts `threads` threads. The number of cores is right, whatever the number of instances.
    ///
    /// # Errors
    ///
    /// The system refuses to start a thread.
    pub fn start(threads: NonZeroUsize) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.get())
            .thread_name("guest")
            .thread_keep_alive(IDLE)
            // For timeouts and WASI's clocks; guests need no other driver.
            .enable_time()
            // Number of time slices after which timers, and tasks spawned by other threads, are polled.
            .event_interval(4)
            .global_queue_interval(2)
            .build()?;
        Ok(Self { runtime: Some(runtime), load: ThreadLoad::default(), count: threads })
    }

    /// Returns the number of threads.
    pub fn count(&self) -> NonZeroUsize {
        self.count
    }

    /// Returns the load on these threads.
    pub(crate) fn load(&self) -> &ThreadLoad {
        &self.load
    }

    /// Returns the handle with which to spawn computing tasks.
    pub fn handle(&self) -> &Handle {
        match &self.runtime {
            Some(runtime) => runtime.handle(),
            None => unreachable!("only drop takes the runtime"),
        }
    }

    /// Spawns a task and measures its load on the threads.
    pub(crate) fn spawn(&self, tasks: &TaskTracker, task: impl Future<Output = ()> + Send + 'static) {
        let running = self.load.running();
        let load = self.load.clone();
        let mut unstarted = Some((load.ready(), Instant::now()));
        // The future is large and would otherwise be moved several times.
        let mut task = Box::pin(task);
        let measured = async move {
            let _running = running;
            poll_fn(move |context| {
                let began = Instant::now();
                if let Some((unstarted, spawned_at)) = unstarted.take() {
                    drop(unstarted);
                    load.waited(began - spawned_at);
                }
                let poll = task.as_mut().poll(context);
                load.computed(began.elapsed());
                poll
            })
            .await;
        };
        tasks.spawn_on(measured, self.handle());
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A future must not block on a shutdown, and this value may be dropped inside one.
            runtime.shutdown_background();
        }
    }
}

/// The load that tasks put on their threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct ThreadLoad(Arc<Sums>);

#[derive(Debug, Default)]
struct Sums {
    /// Number of tasks that could start or continue as soon as a thread is free.
    ready: AtomicUsize,
    /// Time on a thread, in nanoseconds.
    computed: AtomicU64,
    /// Time waiting for a thread, in nanoseconds.
    waited: AtomicU64,
    running_time: Mutex<RunningTime>,
}

/// Running time of all tasks, including those that still run.
#[derive(Debug, Default)]
struct RunningTime {
    running: u32,
    /// When `total` was last updated.
    until: Option<Instant>,
    total: Duration,
}

/// Thread load since the threads started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThreadLoadTotals {
    /// Time from start to end, or until now, summed over all tasks.
    pub(crate) running_time: Duration,
    /// The part of `running_time` spent on a thread.
    pub(crate) computed: Duration,
    /// The part of `running_time` spent waiting for a thread.
    pub(crate) waited: Duration,
}

impl ThreadLoad {
    /// Counts a task as waiting for a thread until the return value is dropped.
    pub(crate) fn ready(&self) -> Ready {
        self.0.ready.fetch_add(1, Ordering::Relaxed);
        Ready(self.clone())
    }

    /// Returns whether no task waits for a thread: none that yielded its thread, none that waits for its first time
    /// slice, and none that another thread woke.
    pub(crate) fn none_is_ready(&self) -> bool {
        let from_outside = || Handle::try_current().map_or(0, |here| here.metrics().global_queue_depth());
        self.0.ready.load(Ordering::Relaxed) == 0 && from_outside() == 0
    }

    /// Adds time that a task waited for a thread.
    pub(crate) fn waited(&self, time: Duration) {
        self.0.waited.fetch_add(nanos(time), Ordering::Relaxed);
    }

    fn computed(&self, time: Duration) {
        self.0.computed.fetch_add(nanos(time), Ordering::Relaxed);
    }

    /// Counts a task as running until the return value is dropped.
    fn running(&self) -> Running {
        self.running_time().change(Instant::now(), |running| running.saturating_add(1));
        Running(self.clone())
    }

    /// Returns the totals until now.
    pub(crate) fn until_now(&self) -> ThreadLoadTotals {
        let sum = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Ordering::Relaxed));
        let mut running_time = self.running_time();
        running_time.change(Instant::now(), |running| running);
        ThreadLoadTotals {
            running_time: running_time.total,
            computed: sum(&self.0.computed),
            waited: sum(&self.0.waited),
        }
    }

    fn running_time(&self) -> MutexGuard<'_, RunningTime> {
        self.0.running_time.lock()
    }
}

impl RunningTime {
    fn change(&mut self, now: Instant, change: impl FnOnce(u32) -> u32) {
        let since = self.until.map_or(Duration::ZERO, |until| now.saturating_duration_since(until));
        self.total = self.total.saturating_add(since.saturating_mul(self.running));
        self.until = Some(now);
        self.running = change(self.running);
    }
}

/// Counts a task that waits for a thread, until it's dropped.
#[derive(Debug)]
pub(crate) struct Ready(ThreadLoad);

impl Drop for Ready {
    fn drop(&mut self) {
        self.0.0.ready.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a running task, until it's dropped.
struct Running(ThreadLoad);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running_time().change(Instant::now(), |running| running.saturating_sub(1));
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_tasks_compute_and_wait_for_is_apart_from_what_they_last() {
        let threads = GuestThreads::start(NonZeroUsize::MIN).expect("a thread");
        let tasks = TaskTracker::new();
        let (time, began) = (Duration::from_millis(20), Instant::now());
        let all_have_computed = Arc::new(tokio::sync::Barrier::new(3));
        // Holds the thread until all tasks are spawned, so that no time slice begins before the other tasks wait.
        let (all_spawned, until_all_are) = std::sync::mpsc::channel();
        threads.spawn(&tasks, async move { until_all_are.recv().expect("the test sends") });
        // One task waits for the others, and two share the thread.
        let others = all_have_computed.clone();
        threads.spawn(&tasks, async move {
            others.wait().await;
        });
        for _ in 0..2 {
            let others = all_have_computed.clone();
            threads.spawn(&tasks, async move {
                let began = Instant::now();
                while began.elapsed() < time {
                    std::hint::spin_loop();
                }
                others.wait().await;
            });
        }
        all_spawned.send(()).expect("the first waits");
        tasks.close();
        tasks.wait().await;
        let ThreadLoadTotals { running_time, computed, waited } = threads.load().until_now();
        assert!(computed >= time * 2, "{computed:?}");
        // The second of the two waited for the first.
        assert!(waited >= time, "{waited:?}");
        assert!(running_time >= time * 6 && running_time <= began.elapsed() * 4, "{running_time:?}");
        assert!(running_time - computed - waited >= time * 2, "what waits for others asks for no thread");
    }

    #[test]
    fn what_runs_counts_before_it_ends() {
        let (mut running_time, now) = (RunningTime::default(), Instant::now());
        running_time.change(now, |_| 3);
        running_time.change(now + Duration::from_secs(2), |running| running);
        assert_eq!(running_time.total, Duration::from_secs(6));
        running_time.change(now + Duration::from_secs(3), |running| running - 2);
        running_time.change(now + Duration::from_secs(5), |running| running - 1);
        running_time.change(now + Duration::from_secs(9), |running| running);
        assert_eq!(running_time.total, Duration::from_secs(11));
    }
}
