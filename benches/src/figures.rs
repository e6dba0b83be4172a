//! Percentiles, and the CPU time of this process.

use std::time::Duration;

/// What was measured, in ascending order, in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// In any order.
    pub fn new(mut micros: Vec<f64>) -> Self {
        micros.sort_by(f64::total_cmp);
        Self(micros)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest value that so many percent of the samples don't exceed; 0 without samples.
    pub fn percentile(&self, percent: f64) -> f64 {
        let rank = (self.0.len() as f64 * percent / 100.0).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// The sum by the count; 0 without samples.
    pub fn mean(&self) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.iter().sum::<f64>() / self.0.len() as f64 }
    }
}

/// The one in the middle, or the higher of the two there.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// In microseconds, with what is below them.
pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// What this process has computed so far, on all threads.
pub fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_samples() {
        let samples = Samples::new((1..=200).rev().map(f64::from).collect());
        assert_eq!([50.0, 95.0, 99.0, 100.0].map(|p| samples.percentile(p)), [100.0, 190.0, 198.0, 200.0]);
        assert_eq!(samples.mean(), 100.5);
        let one = Samples::new(vec![7.0]);
        assert_eq!([0.0, 50.0, 99.0].map(|p| one.percentile(p)), [7.0; 3]);
        assert_eq!((Samples::default().percentile(50.0), Samples::default().mean()), (0.0, 0.0));
    }
}
