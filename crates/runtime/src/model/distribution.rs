//! Distributions of the tasks' usage, in memory that doesn't grow with the number of tasks.

use crate::model::usage::Usage;
use hdrhistogram::Histogram;
use serde::Serialize;

/// Two significant digits: values are accurate to one percent, and a histogram takes 48 KiB.
const DIGITS: u8 = 2;
/// The highest integer that JSON numbers represent exactly. Higher values count as this one.
const HIGHEST: u64 = 1 << 53;
const QUANTITIES: usize = Quantity::ALL.len();

/// A quantity that is recorded for each task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// Time from the task's start to its end.
    Wall,
    /// Time from sending the message to the task's start.
    Queued,
    /// CPU time of the thread while it ran the guest.
    Cpu,
    /// Fuel consumed.
    Fuel,
    /// Peak of all linear memories together.
    PeakMemory,
    /// Bytes read and written.
    Bytes,
}

/// Percentiles of a quantity, each within one percent, and its maximum. Half of the tasks have at most `p50`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "documented on the type")]
pub struct Spread {
    pub p50: u64,
    pub p95: u64,
    pub p99: u64,
    pub max: u64,
}

/// The distribution of each quantity.
#[derive(Debug)]
pub struct Distributions([Distribution; QUANTITIES]);

#[derive(Debug)]
struct Distribution {
    histogram: Histogram<u64>,
    max: u64,
}

impl Quantity {
    /// All quantities.
    pub const ALL: [Self; 6] =
        [Self::Wall, Self::Queued, Self::Cpu, Self::Fuel, Self::PeakMemory, Self::Bytes];

    /// Returns the name in summaries and reports; it ends with the unit.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wall => "wall_us",
            Self::Queued => "queued_us",
            Self::Cpu => "cpu_us",
            Self::Fuel => "fuel",
            Self::PeakMemory => "peak_memory_bytes",
            Self::Bytes => "bytes",
        }
    }

    /// Returns the quantity in a task's usage. Durations are in microseconds.
    pub fn of(self, usage: &Usage) -> u64 {
        let micros = |duration: std::time::Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        match self {
            Self::Wall => micros(usage.wall),
            Self::Queued => micros(usage.queued),
            Self::Cpu => micros(usage.cpu),
            Self::Fuel => usage.fuel,
            Self::PeakMemory => usage.peak_memory_bytes,
            Self::Bytes => usage.bytes_read.saturating_add(usage.bytes_written),
        }
    }
}

impl Default for Distributions {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Distribution::new()))
    }
}

impl Distributions {
    /// Records a task; `had` returns its value of each quantity.
    pub fn record(&mut self, had: impl Fn(Quantity) -> u64) {
        for (quantity, distribution) in Quantity::ALL.into_iter().zip(&mut self.0) {
            distribution.record(had(quantity));
        }
    }

    /// Returns the spread of each quantity.
    pub fn spreads(&self) -> Spreads {
        Spreads(std::array::from_fn(|index| self.0[index].spread()))
    }
}

/// The spread of each quantity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spreads([Spread; QUANTITIES]);

impl Spreads {
    /// Returns the spread of one quantity.
    pub fn of(&self, quantity: Quantity) -> Spread {
        self.0[quantity as usize]
    }

    /// Iterates over all quantities and their spreads.
    pub fn iter(&self) -> impl Iterator<Item = (Quantity, Spread)> {
        Quantity::ALL.into_iter().zip(self.0)
    }
}

impl Distribution {
    fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, HIGHEST, DIGITS).expect("the bounds are right");
        Self { histogram, max: 0 }
    }

    fn record(&mut self, value: u64) {
        let value = value.min(HIGHEST);
        self.histogram.saturating_record(value);
        self.max = self.max.max(value);
    }

    fn spread(&self) -> Spread {
        // The histogram returns the upper end of a range of values, which may be above the maximum.
        let at = |quantile| self.histogram.value_at_quantile(quantile).min(self.max);
        Spread { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: self.max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn nothing_is_spread_at_zero() {
        assert_eq!(Distributions::default().spreads(), Spreads::default());
    }

    #[test]
    fn each_quantity_is_counted_apart() {
        let usage = Usage {
            wall: Duration::from_micros(1),
            queued: Duration::from_micros(2),
            cpu: Duration::from_micros(3),
            fuel: 4,
            peak_memory_bytes: 5,
            bytes_read: 2,
            bytes_written: 4,
            ..Usage::default()
        };
        let mut distributions = Distributions::default();
        distributions.record(|quantity| quantity.of(&usage));
        let all: Vec<(&str, u64)> = distributions
            .spreads()
            .iter()
            .map(|(quantity, spread)| (quantity.as_str(), spread.p99))
            .collect();
        let expected = [
            ("wall_us", 1),
            ("queued_us", 2),
            ("cpu_us", 3),
            ("fuel", 4),
            ("peak_memory_bytes", 5),
            ("bytes", 6),
        ];
        assert_eq!(all, expected);
        assert_eq!(distributions.spreads().of(Quantity::Bytes).max, 6);
    }

    #[test]
    fn absurd_values_are_held() {
        let mut distribution = Distribution::new();
        for value in [0, u64::MAX, HIGHEST] {
            distribution.record(value);
        }
        assert_eq!(distribution.spread(), Spread { p50: HIGHEST, p95: HIGHEST, p99: HIGHEST, max: HIGHEST });
    }

    proptest! {
        /// Compares with the sorted values: within one percent, and never above the largest.
        #[test]
        fn a_percentile_is_within_a_hundredth(values in prop::collection::vec(0u64..HIGHEST, 1..300)) {
            let mut distribution = Distribution::new();
            for value in &values {
                distribution.record(*value);
            }
            let mut sorted = values;
            sorted.sort_unstable();
            let Spread { p50, p95, p99, max } = distribution.spread();
            for (percent, told) in [(50, p50), (95, p95), (99, p99)] {
                let exact = sorted[(sorted.len() * percent).div_ceil(100) - 1];
                prop_assert!(told >= exact && told - exact <= exact / 100, "{told} for {exact}");
            }
            prop_assert_eq!(Some(&max), sorted.last());
        }
    }
}
