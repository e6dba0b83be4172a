//! The mean time of recent tasks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Inverse of the newest value's weight in the mean.
const WEIGHT: u64 = 16;

/// An exponentially weighted moving mean. If threads add at the same time, a value may be lost.
#[derive(Debug, Default)]
pub(super) struct MeanTime(AtomicU64);

impl MeanTime {
    pub(super) fn add(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before - before / WEIGHT + nanos / WEIGHT, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_follows_what_comes_in_and_bears_anything() {
        let mean = MeanTime::default();
        for _ in 0..200 {
            mean.add(Duration::from_millis(5));
        }
        assert!((4_900..=5_000).contains(&mean.get().as_micros()), "{:?}", mean.get());
        for _ in 0..1000 {
            mean.add(Duration::MAX);
        }
        for _ in 0..1000 {
            mean.add(Duration::ZERO);
        }
        assert!(mean.get() < Duration::from_micros(1), "{:?}", mean.get());
    }
}
