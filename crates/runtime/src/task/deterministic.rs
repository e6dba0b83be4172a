//! Random numbers and clocks of a task: the system's, or ones derived from the message alone, so that the same message
//! gives the same output.

use crate::model::message::Message;
use crate::task::store::TaskState;
use chacha20::ChaCha12Rng;
use parking_lot::{Mutex, MutexGuard};
use rand_core::{Infallible, SeedableRng, TryRng};
use sha2::{Digest, Sha256};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, UNIX_EPOCH};
use wasmtime::Result;
use wasmtime::component::Resource;
use wasmtime_wasi::clocks::WasiClocksView;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

/// How far a clock advances each time it's read.
const STEP: Duration = Duration::from_micros(1);

/// Counts the random bytes that a guest receives.
#[derive(Clone, Debug, Default)]
pub(crate) struct RandomCount(Arc<AtomicU64>);

impl RandomCount {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Gives a task random numbers and clocks that depend only on its message: the seed is derived from its ID, and the
/// clock starts at its sent time. Returns the clock for the task's timers.
pub(crate) fn seeded(wasi: &mut WasiCtxBuilder, message: &Message, count: &RandomCount) -> VirtualClock {
    let seed: [u8; 32] = Sha256::digest(message.id.as_bytes()).into();
    let (random, mut insecure) = (ChaCha12Rng::from_seed(seed), ChaCha12Rng::from_seed(seed));
    // A guest that mixes the two kinds must not see the same numbers twice.
    insecure.set_stream(1);
    let sent = message.sent_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let clock = VirtualClock::default();
    wasi.secure_random(Counted { random, count: count.clone() })
        .insecure_random(Counted { random: insecure, count: count.clone() })
        .insecure_random_seed(u128::from_le_bytes(seed[..16].try_into().unwrap_or_default()))
        .wall_clock(VirtualWallClock { sent, clock: clock.clone() })
        .monotonic_clock(clock.clone());
    clock
}

/// Gives a task the system's random numbers and clocks.
pub(crate) fn system(wasi: &mut WasiCtxBuilder, count: &RandomCount) {
    wasi.secure_random(Counted { random: SystemRandom, count: count.clone() })
        .insecure_random(Counted { random: SystemRandom, count: count.clone() });
}

/// The random number generator of the current thread, which the system seeds.
struct SystemRandom;

impl TryRng for SystemRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        rand::rng().try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        rand::rng().try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        rand::rng().try_fill_bytes(bytes)
    }
}

/// A random number generator whose output is counted.
struct Counted<R> {
    random: R,
    count: RandomCount,
}

impl<R> Counted<R> {
    fn add(&self, bytes: usize) {
        self.count.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl<R: TryRng<Error = Infallible>> TryRng for Counted<R> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        // wasmtime-wasi 48 calls this once for each byte.
        self.add(1);
        self.random.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.add(8);
        self.random.try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.add(bytes.len());
        self.random.try_fill_bytes(bytes)
    }
}

/// A task's virtual time. It advances by a step when it's read, and to the earliest timer when the guest waits for
/// timers: what the guest sees of it doesn't depend on the machine.
#[derive(Clone, Default)]
pub(crate) struct VirtualClock(Arc<Mutex<Time>>);

#[derive(Default)]
struct Time {
    /// Nanoseconds since the task started.
    now: u64,
    /// Number of timers that the current call waits for. A guest makes one call at a time.
    waiting: usize,
    /// Earliest deadline of these timers.
    earliest: u64,
}

impl VirtualClock {
    fn time(&self) -> MutexGuard<'_, Time> {
        self.0.lock()
    }

    /// Returns the time and advances it by a step. It saturates instead of wrapping.
    fn read(&self) -> u64 {
        let mut time = self.time();
        let now = time.now;
        time.now = now.saturating_add(STEP.as_nanos() as u64);
        now
    }
}

struct VirtualWallClock {
    sent: Duration,
    clock: VirtualClock,
}

impl HostMonotonicClock for VirtualClock {
    fn resolution(&self) -> u64 {
        STEP.as_nanos() as u64
    }

    fn now(&self) -> u64 {
        self.read()
    }
}

impl HostWallClock for VirtualWallClock {
    fn resolution(&self) -> Duration {
        STEP
    }

    fn now(&self) -> Duration {
        self.sent + Duration::from_nanos(self.clock.read())
    }
}

/// WASI's monotonic clock. The timers of wasmtime-wasi 48 run on real time whichever clock the context has.
impl monotonic_clock::Host for TaskState {
    fn now(&mut self) -> Result<u64> {
        self.clocks().now()
    }

    fn resolution(&mut self) -> Result<u64> {
        self.clocks().resolution()
    }

    fn subscribe_instant(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        match self.clock.clone() {
            Some(clock) => self.timer(Timer { clock, deadline: when }),
            None => self.clocks().subscribe_instant(when),
        }
    }

    fn subscribe_duration(&mut self, duration: u64) -> Result<Resource<DynPollable>> {
        match self.clock.clone() {
            Some(clock) => {
                let deadline = clock.read().saturating_add(duration);
                self.timer(Timer { clock, deadline })
            }
            None => self.clocks().subscribe_duration(duration),
        }
    }
}

impl TaskState {
    fn timer(&mut self, timer: Timer) -> Result<Resource<DynPollable>> {
        let timer = self.table.push(timer)?;
        subscribe(&mut self.table, timer)
    }
}

/// A timer of a task with a [`VirtualClock`].
struct Timer {
    clock: VirtualClock,
    /// Nanoseconds since the task started.
    deadline: u64,
}

#[async_trait::async_trait]
impl Pollable for Timer {
    /// `pollable.ready` polls this future once, which only reads the clock, and drops it. `poll` and `block` poll all
    /// futures of their list again. By then each timer has registered its deadline, and no other future was ready.
    async fn ready(&mut self) {
        if self.clock.read() >= self.deadline {
            return;
        }
        let waiting = Waiting::new(self);
        loop {
            polled_again().await;
            if waiting.is_over() {
                return;
            }
        }
    }
}

/// Registration of a timer that the guest waits for.
struct Waiting<'a>(&'a Timer);

impl<'a> Waiting<'a> {
    fn new(timer: &'a Timer) -> Self {
        let mut time = timer.clock.time();
        time.earliest = if time.waiting == 0 { timer.deadline } else { time.earliest.min(timer.deadline) };
        time.waiting += 1;
        drop(time);
        Self(timer)
    }

    /// Advances the clock to the earliest deadline, and returns whether this timer is due.
    fn is_over(&self) -> bool {
        let mut time = self.0.clock.time();
        time.now = time.now.max(time.earliest);
        time.now >= self.0.deadline
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.clock.time().waiting -= 1;
    }
}

/// Requests another poll, and completes at the second one.
async fn polled_again() {
    let mut polled = false;
    poll_fn(|context| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::future::select_all;

    fn timer(clock: &VirtualClock, deadline: Duration) -> Timer {
        Timer { clock: clock.clone(), deadline: deadline.as_nanos() as u64 }
    }

    #[tokio::test]
    async fn waiting_moves_the_clock_to_the_earliest_timer_in_no_time() {
        let clock = VirtualClock::default();
        let seconds = [7200, 3600, 5400];
        let mut timers = seconds.map(|seconds| timer(&clock, Duration::from_secs(seconds)));
        for (first, hour) in [(1, 3600), (2, 5400), (0, 7200)] {
            // Expired timers would be ready at once.
            let waits = timers.iter_mut().filter(|timer| timer.deadline >= hour * 1_000_000_000);
            let (_, index, _) = select_all(waits.map(|timer| timer.ready())).await;
            assert!(clock.read() < (hour + 1) * 1_000_000_000, "{hour}");
            assert!(clock.read() >= hour * 1_000_000_000, "{hour}");
            let left: Vec<_> = seconds.iter().filter(|seconds| **seconds >= hour).collect();
            assert_eq!(*left[index], seconds[first]);
        }
    }

    #[test]
    fn asking_moves_it_by_a_step() {
        let clock = VirtualClock::default();
        let mut timer = timer(&clock, STEP * 10);
        let asked = (0..).find(|_| timer.ready().now_or_never().is_some());
        assert_eq!(asked, Some(10));
        assert_eq!(clock.time().waiting, 0);
    }

    #[tokio::test]
    async fn the_end_of_time_comes_and_stays() {
        let clock = VirtualClock::default();
        timer(&clock, Duration::from_nanos(u64::MAX)).ready().await;
        for _ in 0..3 {
            assert_eq!(clock.read(), u64::MAX);
        }
        timer(&clock, Duration::from_nanos(u64::MAX)).ready().await;
        let sent = Duration::from_secs(1 << 40);
        assert!(VirtualWallClock { sent, clock }.now() > sent);
    }
}
