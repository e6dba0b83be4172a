//! How long tasks take.

use crate::plan::Service;
use fastrand::Rng;

/// Times of a task in seconds: on a thread of the recorded speed, and waiting.
pub(crate) struct Times {
    pub(crate) compute: f64,
    pub(crate) wait: f64,
}

/// Returns an exponentially distributed number with mean 1.
pub(crate) fn exponential(rng: &mut Rng) -> f64 {
    // `f64` is less than 1, so the logarithm is finite.
    -(1.0 - rng.f64()).ln()
}

/// Draws the times of a task.
pub(crate) fn draw(service: &Service, rng: &mut Rng) -> Times {
    let split = |time: f64, cpu: f64| Times { compute: time * cpu, wait: time * (1.0 - cpu) };
    match service {
        Service::Fixed { mean, cpu } => split(mean.as_secs_f64(), *cpu),
        Service::Exponential { mean, cpu } => split(mean.as_secs_f64() * exponential(rng), *cpu),
        Service::Recorded(times) => {
            let (compute, wait) = times[rng.usize(..times.len())];
            Times { compute: compute as f64 / 1e6, wait: wait as f64 / 1e6 }
        }
    }
}
