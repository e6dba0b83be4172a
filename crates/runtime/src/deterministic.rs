//! Random numbers and clocks of a task: the system's, or such as the message alone decides, so that the same message
//! gives the same bytes.

use crate::message::Message;
use chacha20::ChaCha12Rng;
use rand_core::{Infallible, SeedableRng, TryRng};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

/// By so much a clock moves on each time it's read.
const STEP: Duration = Duration::from_micros(1);

/// Counts the random bytes that a guest is given.
#[derive(Clone, Debug, Default)]
pub(crate) struct RandomCount(Arc<AtomicU64>);

impl RandomCount {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Gives a task random numbers and clocks that only its message decides: seeded with its id, and starting at its sent
/// time.
pub(crate) fn seeded(wasi: &mut WasiCtxBuilder, message: &Message, count: &RandomCount) {
    let seed: [u8; 32] = Sha256::digest(message.id.as_bytes()).into();
    let (random, mut insecure) = (ChaCha12Rng::from_seed(seed), ChaCha12Rng::from_seed(seed));
    // A guest that mixes the two kinds must not see the same numbers twice.
    insecure.set_stream(1);
    let sent = message.sent_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let clock = SteppedClock(Arc::default());
    wasi.secure_random(Counted { random, count: count.clone() })
        .insecure_random(Counted { random: insecure, count: count.clone() })
        .insecure_random_seed(u128::from_le_bytes(seed[..16].try_into().unwrap_or_default()))
        .wall_clock(SteppedWallClock { sent, clock: clock.clone() })
        .monotonic_clock(clock);
}

/// Gives a task the system's random numbers and clocks.
pub(crate) fn system(wasi: &mut WasiCtxBuilder, count: &RandomCount) {
    wasi.secure_random(Counted { random: SystemRandom, count: count.clone() })
        .insecure_random(Counted { random: SystemRandom, count: count.clone() });
}

/// The thread's generator, which the system seeds: that of whichever thread asks.
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

/// Random numbers, counted.
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
        // wasmtime-wasi 48 takes this for each byte.
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

/// A clock that moves on when it's read, and only then.
#[derive(Clone)]
struct SteppedClock(Arc<AtomicU64>);

struct SteppedWallClock {
    sent: Duration,
    clock: SteppedClock,
}

impl HostMonotonicClock for SteppedClock {
    fn resolution(&self) -> u64 {
        STEP.as_nanos() as u64
    }

    fn now(&self) -> u64 {
        self.0.fetch_add(self.resolution(), Ordering::Relaxed)
    }
}

impl HostWallClock for SteppedWallClock {
    fn resolution(&self) -> Duration {
        STEP
    }

    fn now(&self) -> Duration {
        self.sent + Duration::from_nanos(self.clock.now())
    }
}
