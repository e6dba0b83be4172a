//! The threads on which guests compute, and those of the worker.
//!
//! They are apart from each other: a guest that spins delays no long poll, no renewal and no timeout. Among
//! themselves guests are time-sliced: a task hands its thread back after its time slice (`time_slice`), and goes to the end of
//! the thread's queue. What tasks ask of the threads is measured here.

use parking_lot::{Mutex, MutexGuard};
use std::future::{Future, poll_fn};
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::TaskTracker;

/// Of the worker: enough to encrypt what the network of a large host carries.
const MOST_IO_THREADS: usize = 4;
/// A thread that blocked for a store ends when it had nothing to do for so long: a burst's are soon given back, and a
/// store that is asked now and then doesn't pay for a thread each time.
const IDLE: Duration = Duration::from_millis(200);

/// Starts the threads of a worker and its backends. What uses them is best spawned there: an answer would have to wake a
/// thread that blocks on it.
///
/// # Errors
///
/// The system refuses a thread.
pub fn start_io() -> io::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    Builder::new_multi_thread()
        // One does the work of several cores' guests, and threads that wake each other cost more than they give.
        .worker_threads(cores.div_ceil(4).min(MOST_IO_THREADS))
        .thread_name("io")
        .thread_keep_alive(IDLE)
        .enable_all()
        .build()
}

/// A pool of threads for guests, which ends when this is dropped.
#[derive(Debug)]
pub struct GuestThreads {
    /// Always there but during drop.
    runtime: Option<Runtime>,
    load: ThreadLoad,
    count: NonZeroUsize,
}

impl GuestThreads {
    /// Starts `threads` threads: as many as there are cores is right, whatever the number of instances.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub fn start(threads: NonZeroUsize) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.get())
            .thread_name("guest")
            .thread_keep_alive(IDLE)
            // For timeouts and WASI's clocks; a guest has no other business with the system.
            .enable_time()
            // Number of time slices after which timers, and tasks that other threads spawned, are looked at.
            .event_interval(4)
            .global_queue_interval(2)
            .build()?;
        Ok(Self { runtime: Some(runtime), load: ThreadLoad::default(), count: threads })
    }

    /// How many there are.
    pub fn count(&self) -> NonZeroUsize {
        self.count
    }

    /// What tasks ask of these threads.
    pub(crate) fn load(&self) -> &ThreadLoad {
        &self.load
    }

    /// Where to spawn what computes.
    pub fn handle(&self) -> &Handle {
        match &self.runtime {
            Some(runtime) => runtime.handle(),
            None => unreachable!("only drop takes the runtime"),
        }
    }

    /// Spawns a task, and measures what it asks of the threads.
    pub(crate) fn spawn(&self, tasks: &TaskTracker, task: impl Future<Output = ()> + Send + 'static) {
        let running = self.load.running();
        let load = self.load.clone();
        let mut unstarted = Some((load.ready(), Instant::now()));
        // It's large, and would be carried about a few times.
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
            // A blocking shutdown isn't allowed where futures run, and this may well be dropped there.
            runtime.shutdown_background();
        }
    }
}

/// What tasks ask of their threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct ThreadLoad(Arc<Sums>);

#[derive(Debug, Default)]
struct Sums {
    /// How many tasks could start, or go on, as soon as a thread is free.
    ready: AtomicUsize,
    /// In nanoseconds.
    computed: AtomicU64,
    /// In nanoseconds.
    waited: AtomicU64,
    running_time: Mutex<RunningTime>,
}

/// How long tasks have run, those that still do included.
#[derive(Debug, Default)]
struct RunningTime {
    running: u32,
    /// Of all, until the number changed last.
    until: Option<Instant>,
    total: Duration,
}

/// What tasks have asked of their threads since these started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThreadLoadTotals {
    /// From their start to their end or until now, summed over all tasks.
    pub(crate) running_time: Duration,
    /// Of this, on a thread.
    pub(crate) computed: Duration,
    /// Of this, waiting for one.
    pub(crate) waited: Duration,
}

impl ThreadLoad {
    /// Counts one more task that waits for a thread, until that is dropped.
    pub(crate) fn ready(&self) -> Ready {
        self.0.ready.fetch_add(1, Ordering::Relaxed);
        Ready(self.clone())
    }

    /// Nobody waits for a thread: neither a task that has handed its own back, nor one for its first time slice, nor another that
    /// was woken from outside.
    pub(crate) fn nobody_is_ready(&self) -> bool {
        let from_outside = || Handle::try_current().map_or(0, |here| here.metrics().global_queue_depth());
        self.0.ready.load(Ordering::Relaxed) == 0 && from_outside() == 0
    }

    /// A task waited for a thread.
    pub(crate) fn waited(&self, time: Duration) {
        self.0.waited.fetch_add(nanos(time), Ordering::Relaxed);
    }

    fn computed(&self, time: Duration) {
        self.0.computed.fetch_add(nanos(time), Ordering::Relaxed);
    }

    /// One more that runs, until that is dropped.
    fn running(&self) -> Running {
        self.running_time().change(Instant::now(), |running| running.saturating_add(1));
        Running(self.clone())
    }

    /// All until now.
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

/// A task that waits for a thread.
#[derive(Debug)]
pub(crate) struct Ready(ThreadLoad);

impl Drop for Ready {
    fn drop(&mut self) {
        self.0.0.ready.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A task that runs.
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
        // It holds the thread until all are spawned, so that nobody's time slice comes before another begins to wait.
        let (all_spawned, until_all_are) = std::sync::mpsc::channel();
        threads.spawn(&tasks, async move { until_all_are.recv().expect("the test sends") });
        // One that waits for the others, and two that share the thread.
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
        // Whichever was second waited for the other.
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
