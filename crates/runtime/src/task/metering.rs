//! Metering: measures where a task's time goes.
//!
//! [`Metered`] wraps the future that runs a task. At each moment a task is in one of three states: computing (a thread
//! polls it), blocked (it waits for the host, and nobody has woken it) or ready (it was woken, and waits for a thread).
//! To tell blocked from ready, [`Wakes`] wraps the task's waker and records when the task is woken.
//!
//! If a task yields before the end of its [`TimeSlice`], it is polled again at once, without going through tokio.
//! Through tokio, an idle thread would wake up and take the task over, and the task would move between two cores.

use super::time_slice::{TimeSlice, thread_cpu};
use crate::engine::threads::Ready;
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tokio::time::Sleep;

/// Where the time of a task went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// CPU time of the guest thread during the task's time slices.
    pub(crate) cpu: Duration,
    /// From the end of a time slice until the task was woken: the task waited for the host.
    pub(crate) blocked: Duration,
    /// From being woken until the next time slice: the task waited for a thread.
    pub(crate) ready: Duration,
}

/// The task was blocked for longer in all than its limit allows.
#[derive(Debug)]
pub(crate) struct BlockedTooLong;

/// Runs a future and measures its times.
pub(crate) struct Metered<'a, F> {
    future: Pin<&'a mut F>,
    wakes: Arc<Wakes>,
    /// A waker made from `wakes`.
    waker: Waker,
    times: &'a mut Times,
    /// Set while the task is ready: counts it among those that wait for a thread.
    is_ready: Option<Ready>,
    /// End of the last time slice, in nanoseconds of `TimeSlice::now`; `None`: there was none.
    ended: Option<u64>,
    /// Longest blocked time in all, and the timer that ends the wait; `None`: the caller bounds it.
    most_blocked: Option<(Duration, Option<Pin<Box<Sleep>>>)>,
}

impl<'a, F> Metered<'a, F> {
    pub(crate) fn new(
        future: Pin<&'a mut F>,
        time_slice: Arc<TimeSlice>,
        times: &'a mut Times,
        most_blocked: Option<Duration>,
    ) -> Self {
        let wakes = Wakes::new(time_slice);
        let waker = Waker::from(wakes.clone());
        let most_blocked = most_blocked.map(|most| (most, None));
        Self { future, wakes, waker, times, is_ready: None, ended: None, most_blocked }
    }

    /// Begins a time slice at `now`, and counts the time since the last one.
    fn begin(&mut self, now: u64, cpu: Duration, thread: &Waker) {
        self.is_ready = None;
        self.wakes.time_slice.begin(now, cpu);
        let woken = self.wakes.begin(thread);
        let Some(ended) = self.ended else { return };
        // A timer or a cancellation may poll the task without waking it. It was then blocked until now.
        let woken = woken.unwrap_or(now).clamp(ended, now);
        let ready = Duration::from_nanos(now - woken);
        self.times.blocked += Duration::from_nanos(woken - ended);
        self.times.ready += ready;
        self.wakes.time_slice.load().waited(ready);
    }
}

impl<F: Future> Future for Metered<'_, F> {
    type Output = Result<F::Output, BlockedTooLong>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let cpu = thread_cpu();
        this.begin(this.wakes.time_slice.now(), cpu, context.waker());
        let mut poll = this.future.as_mut().poll(&mut Context::from_waker(&this.waker));
        while poll.is_pending() && this.wakes.is_woken() && this.wakes.time_slice.may_go_on() {
            this.wakes.clear();
            poll = this.future.as_mut().poll(&mut Context::from_waker(&this.waker));
        }
        let is_ready = this.wakes.end();
        this.times.cpu += thread_cpu().saturating_sub(cpu);
        if let Poll::Ready(output) = poll {
            return Poll::Ready(Ok(output));
        }
        this.ended = Some(this.wakes.time_slice.now());
        if is_ready {
            this.is_ready = Some(this.wakes.time_slice.load().ready());
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        match &mut this.most_blocked {
            None => Poll::Pending,
            Some((most, timer)) => {
                let left = most.saturating_sub(this.times.blocked);
                if left.is_zero() {
                    return Poll::Ready(Err(BlockedTooLong));
                }
                let at = tokio::time::Instant::now() + left;
                let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
                timer.as_mut().reset(at);
                timer.as_mut().poll(context).map(|()| Err(BlockedTooLong))
            }
        }
    }
}

/// The waker of a task: records the first wake-up since the task was last polled, and passes wake-ups on.
#[derive(Debug)]
struct Wakes {
    time_slice: Arc<TimeSlice>,
    /// Time of the first wake-up, in nanoseconds of `TimeSlice::now`; 0: not woken yet.
    woken: AtomicU64,
    /// Whether a thread polls the task. It looks at `woken` afterwards, so it needs no wake-up.
    polled: AtomicBool,
    /// Wakes the thread.
    thread: Mutex<Waker>,
}

impl Wakes {
    fn new(time_slice: Arc<TimeSlice>) -> Arc<Self> {
        let thread = Mutex::new(Waker::noop().clone());
        Arc::new(Self { time_slice, woken: AtomicU64::new(0), polled: AtomicBool::new(false), thread })
    }

    /// Records that a thread begins to poll the task. Returns when the task was woken.
    fn begin(&self, thread: &Waker) -> Option<u64> {
        self.thread.lock().clone_from(thread);
        self.polled.store(true, Ordering::SeqCst);
        Some(self.woken.swap(0, Ordering::SeqCst)).filter(|woken| *woken > 0)
    }

    fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst) > 0
    }

    /// Clears the wake-up: the task is polled again at once.
    fn clear(&self) {
        self.woken.store(0, Ordering::SeqCst);
    }

    /// Records that the thread stops polling the task. Returns whether the task was woken meanwhile: if so, the caller
    /// must wake the thread.
    fn end(&self) -> bool {
        self.polled.store(false, Ordering::SeqCst);
        self.is_woken()
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Only the first wake-up is recorded.
        let _ = self.woken.compare_exchange(0, self.time_slice.now(), Ordering::SeqCst, Ordering::SeqCst);
        if !self.polled.load(Ordering::SeqCst) {
            self.thread.lock().wake_by_ref();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::engine::threads::ThreadLoad;
    use crate::model::limits::Limits;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::time::Instant;

    async fn metered<T>(
        future: impl Future<Output = T>,
        most_blocked: Option<Duration>,
    ) -> (Result<T, BlockedTooLong>, Times) {
        metered_among(&ThreadLoad::default(), future, most_blocked).await
    }

    async fn metered_among<T>(
        others: &ThreadLoad,
        future: impl Future<Output = T>,
        most_blocked: Option<Duration>,
    ) -> (Result<T, BlockedTooLong>, Times) {
        let mut times = Times::default();
        let result =
            Metered::new(pin!(future), TimeSlice::new(others.clone()), &mut times, most_blocked).await;
        (result, times)
    }

    /// Yields the thread `times` times.
    async fn hands_back(times: u32) {
        let mut left = times;
        poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn burn(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    #[tokio::test]
    async fn computing_is_neither_blocked_nor_ready() {
        let (result, times) = metered(async { burn(Duration::from_millis(20)) }, None).await;
        assert!(result.is_ok());
        assert!(times.cpu > Duration::ZERO);
        assert_eq!((times.blocked, times.ready), (Duration::ZERO, Duration::ZERO));
    }

    #[tokio::test]
    async fn waiting_for_the_host_is_told_from_waiting_for_a_thread() {
        let wait = Duration::from_millis(50);
        let (_, blocked) = metered(tokio::spawn(async move { burn(wait) }), None).await;
        assert!(blocked.blocked >= wait - Duration::from_millis(5), "{blocked:?}");
        // The task yields the thread, and a neighbour takes it.
        let neighbour = tokio::spawn(async move { burn(wait) });
        let others = ThreadLoad::default();
        let _other = others.ready();
        let yields = async {
            burn(Limits::SHARED_TIME_SLICE);
            hands_back(1).await;
        };
        let (_, ready) = metered_among(&others, yields, None).await;
        neighbour.await.expect("ended");
        assert!(ready.blocked < Duration::from_millis(1), "{ready:?}");
        assert!(ready.ready >= wait - Duration::from_millis(5), "{ready:?}");
    }

    /// Returns how often the thread was really yielded.
    async fn time_slices(others: &ThreadLoad, future: impl Future<Output = ()>) -> u32 {
        let mut polls = 0;
        let mut metered = pin!(metered_among(others, future, None));
        poll_fn(|context| {
            polls += 1;
            metered.as_mut().poll(context).map(drop)
        })
        .await;
        polls - 1
    }

    /// Computes `times` times for `long`, and yields the thread after each time.
    async fn computes(times: u32, long: Duration) {
        for _ in 0..times {
            burn(long);
            hands_back(1).await;
        }
    }

    #[tokio::test]
    async fn a_task_that_yields_while_no_other_waits_goes_on_at_once_but_not_for_ever() {
        const TIMES: u32 = 100;
        let others = ThreadLoad::default();
        let alone = time_slices(&others, hands_back(TIMES)).await;
        assert!(alone < TIMES / 2, "{alone}");
        // Timers and cancellations get their time slice as well.
        assert!(time_slices(&others, computes(4, Limits::TIME_SLICE)).await >= 3);
    }

    #[tokio::test]
    async fn a_time_slice_is_shorter_while_others_wait_for_the_thread_and_the_same_for_all() {
        let others = ThreadLoad::default();
        let other = others.ready();
        assert_eq!(time_slices(&others, computes(4, Limits::SHARED_TIME_SLICE)).await, 4);
        // A task that yields earlier isn't at a disadvantage.
        let shared = time_slices(&others, computes(40, Limits::SHARED_TIME_SLICE / 10)).await;
        assert!((4..30).contains(&shared), "{shared}");
        drop(other);
        let alone = time_slices(&others, computes(40, Limits::SHARED_TIME_SLICE / 10)).await;
        assert!(alone < shared, "{alone} and {shared}");
        assert!(others.none_is_ready());
        // A task that was woken from outside counts as ready too.
        let spawned = tokio::runtime::Handle::current();
        std::thread::spawn(move || drop(spawned.spawn(async {}))).join().expect("spawned");
        assert!(!others.none_is_ready());
    }

    #[tokio::test]
    async fn what_is_blocked_for_too_long_is_ended_however_many_waits_it_takes() {
        let waits = async {
            for _ in 0..1000 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let (result, times) = metered(waits, Some(Duration::from_millis(50))).await;
        assert!(result.is_err());
        assert!(times.blocked < Duration::from_secs(5), "{times:?}");
        let short = tokio::spawn(async {});
        assert!(metered(short, Some(Duration::from_secs(60))).await.0.is_ok());
    }
}
