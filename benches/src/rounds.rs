//! Measures alternatives in alternating rounds, and computes medians, ratios and percentiles.

use crate::system::process_cpu;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// One of the alternatives that a benchmark compares.
pub struct Way<'a, T> {
    name: String,
    measure: Box<dyn FnMut(usize) -> T + 'a>,
}

impl<'a, T> Way<'a, T> {
    /// `measure` is called once in each round, with the round's number.
    pub fn new(name: impl Into<String>, measure: impl FnMut(usize) -> T + 'a) -> Self {
        Self { name: name.into(), measure: Box::new(measure) }
    }
}

/// The measurements of one alternative, round by round.
#[derive(Clone, Debug)]
pub struct Found<T> {
    /// The way's name.
    pub name: String,
    /// One measurement for each round.
    pub rounds: Vec<T>,
}

/// Measures each alternative once in each round. Each round starts with another one, so that a disturbance of the
/// machine doesn't always hit the same alternative.
#[allow(clippy::print_stderr, reason = "a benchmark shows its progress")]
pub fn interleaved<T>(title: &str, rounds: usize, mut ways: Vec<Way<'_, T>>) -> Vec<Found<T>> {
    let mut found: Vec<_> =
        ways.iter().map(|way| Found { name: way.name.clone(), rounds: Vec::new() }).collect();
    for round in 0..rounds {
        eprintln!("{title}: round {} of {rounds} …", round + 1);
        for turn in 0..ways.len() {
            let turn = (turn + round) % ways.len();
            found[turn].rounds.push((ways[turn].measure)(round));
        }
    }
    found
}

impl<T> Found<T> {
    /// The median of the rounds.
    pub fn median(&self, of: impl Fn(&T) -> f64) -> f64 {
        median(self.rounds.iter().map(of))
    }

    /// The median of the rounds' ratios to another way.
    pub fn ratio(&self, to: &Self, of: impl Fn(&T) -> f64) -> f64 {
        median(self.rounds.iter().zip(&to.rounds).map(|(ours, theirs)| of(ours) / of(theirs)))
    }
}

/// The cost of a task, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// CPU time on all threads: of this process, or of those that work on the task.
    pub cpu: f64,
    /// Wall-clock time.
    pub wall: f64,
}

/// Measures work on a number of tasks, and divides it among them.
pub fn cost(tasks: usize, work: impl FnOnce()) -> Cost {
    let (cpu, wall) = (process_cpu(), Instant::now());
    work();
    let each = |duration: Duration| micros(duration) / tasks as f64;
    Cost { cpu: each(process_cpu() - cpu), wall: each(wall.elapsed()) }
}

/// The middle value, or the higher of the two there; 0 without values.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Microseconds and their fraction.
pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Values in ascending order.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// The number of values.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest value that `percent` of the values don't exceed; 0 without values.
    pub fn percentile(&self, percent: f64) -> f64 {
        let rank = (self.0.len() as f64 * percent / 100.0).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Number, percentiles, mean and maximum, in fields whose names end with the unit.
    pub fn figures(&self, unit: &str) -> Value {
        let mut figures = json!({"n": self.count(), format!("mean_{unit}"): self.mean()});
        for (name, percent) in [("p50", 50.0), ("p95", 95.0), ("p99", 99.0), ("max", 100.0)] {
            figures[format!("{name}_{unit}")] = self.percentile(percent).into();
        }
        figures
    }

    /// The mean; 0 without values.
    pub fn mean(&self) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.iter().sum::<f64>() / self.0.len() as f64 }
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_samples() {
        let samples: Samples = (1..=200).rev().map(f64::from).collect();
        assert_eq!([50.0, 95.0, 99.0, 100.0].map(|p| samples.percentile(p)), [100.0, 190.0, 198.0, 200.0]);
        assert_eq!(samples.mean(), 100.5);
        let figures = samples.figures("us");
        assert_eq!([&figures["n"], &figures["p99_us"], &figures["max_us"]], [200.0, 198.0, 200.0]);
        let one = Samples::from_iter([7.0]);
        assert_eq!([0.0, 50.0, 99.0].map(|p| one.percentile(p)), [7.0; 3]);
        assert_eq!((Samples::default().percentile(50.0), Samples::default().mean()), (0.0, 0.0));
    }

    #[test]
    fn each_way_is_measured_once_in_each_round() {
        let order = std::cell::RefCell::new(Vec::new());
        let way = |name: &'static str| {
            let order = &order;
            Way::new(name, move |round| {
                order.borrow_mut().push(name);
                round as f64 + 1.0
            })
        };
        let found = interleaved("test", 3, vec![way("a"), way("b")]);
        assert_eq!(order.borrow().concat(), "abbaab");
        assert_eq!(found[1].rounds, [1.0, 2.0, 3.0]);
        assert_eq!((found[0].median(|of| *of), found[0].ratio(&found[1], |of| *of)), (2.0, 1.0));
    }
}
