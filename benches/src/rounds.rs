//! Measures alternatives in alternating rounds, and computes medians, ratios and percentiles.
//!
//! A measurement is JSON: figures by their names, which end with their unit. A page's tables and its JSON file use the same
//! names.

use crate::system::process_cpu;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// One of the alternatives that a benchmark compares.
pub struct Way<'a> {
    name: String,
    measure: Box<dyn FnMut(usize) -> Value + 'a>,
}

impl<'a> Way<'a> {
    /// `measure` is called once in each round, with the round's number.
    pub fn new(name: impl Into<String>, measure: impl FnMut(usize) -> Value + 'a) -> Self {
        Self { name: name.into(), measure: Box::new(measure) }
    }
}

/// The measurements of one alternative, round by round.
#[derive(Clone, Debug)]
pub struct Found {
    /// The way's name.
    pub name: String,
    /// One measurement for each round.
    pub rounds: Vec<Value>,
}

/// Measures each alternative once in each round. Each round starts with another one, so that a disturbance of the
/// machine doesn't always hit the same alternative.
pub fn interleaved<'a>(title: &str, rounds: usize, ways: impl IntoIterator<Item = Way<'a>>) -> Vec<Found> {
    let mut ways: Vec<Way<'_>> = ways.into_iter().collect();
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

impl Found {
    /// A figure of each round.
    pub fn each(&self, field: &str) -> impl Iterator<Item = f64> {
        self.rounds.iter().map(move |round| number(round, field))
    }

    /// The median of the rounds.
    pub fn median(&self, field: &str) -> f64 {
        median_of(&self.rounds, field)
    }

    /// The median of the rounds' ratios to another way.
    pub fn ratio(&self, to: &Self, field: &str) -> f64 {
        median(self.each(field).zip(to.each(field)).map(|(ours, theirs)| ours / theirs))
    }

    /// A row of a table: the name, as `what`, and the medians of all figures.
    pub fn row(&self) -> Value {
        let fields = self.rounds.first().and_then(Value::as_object).into_iter().flatten();
        let numbers = fields.filter(|(_, value)| value.is_number());
        let medians = numbers.map(|(field, _)| (field.clone(), self.median(field).into()));
        with(json!({"what": self.name}), Value::Object(medians.collect()))
    }
}

/// A number in JSON, by its name, or by its path: `latency/p50`.
pub fn number(json: &Value, field: &str) -> f64 {
    let value = json.pointer(&format!("/{field}")).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("{json} has no number {field}"))
}

/// A row with more fields.
pub fn with(mut row: Value, more: Value) -> Value {
    let (Some(fields), Value::Object(more)) = (row.as_object_mut(), more) else {
        panic!("a row is an object")
    };
    fields.extend(more);
    row
}

/// Measures work on a number of tasks: `cpu_us` and `wall_us` of each, with the CPU time of this process on all threads.
pub fn cost(tasks: usize, work: impl FnOnce()) -> Value {
    cost_by(process_cpu, tasks, work)
}

/// The same with another clock of CPU time.
pub fn cost_by(cpu: impl Fn() -> Duration, tasks: usize, work: impl FnOnce()) -> Value {
    let (before, began) = (cpu(), Instant::now());
    work();
    let (wall, cpu) = (began.elapsed(), cpu().saturating_sub(before));
    let each = |duration: Duration| micros(duration) / tasks as f64;
    json!({"cpu_us": each(cpu), "wall_us": each(wall)})
}

/// The middle value, or the higher of the two there; 0 without values.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let values = Samples::from_iter(values).0;
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The median of a number of each row.
pub fn median_of(rows: &[Value], field: &str) -> f64 {
    median(rows.iter().map(|row| number(row, field)))
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
                json!({"us": round as f64 + 1.0, "why": null})
            })
        };
        let found = interleaved("test", 3, [way("a"), way("b")]);
        assert_eq!(order.borrow().concat(), "abbaab");
        assert_eq!(found[1].each("us").collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
        assert_eq!((found[0].median("us"), found[0].ratio(&found[1], "us")), (2.0, 1.0));
        assert_eq!(with(found[0].row(), json!({"n": 1})), json!({"what": "a", "us": 2.0, "n": 1}));
    }
}
