//! When messages arrive: several streams merged into one.
//!
//! Messages that arrive within a millisecond at a high rate are one group: they arrive with the last of them, and each
//! is taken to have arrived at their mean time. No message is left out, and no latency changes by more than a
//! millisecond. With tenants nothing is grouped.

use crate::plan::{Arrivals, Plan};
use crate::service::exponential;
use crate::tenants::Sender;
use crate::time::{nanos, nanos_of};
use fastrand::Rng;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::f64::consts::TAU;
use std::sync::Arc;

/// Longest time between the first and the last of a group, in nanoseconds.
const GROUP: u64 = 1_000_000;
/// Rate in messages a second from which they are grouped.
const GROUPED_FROM: f64 = 2_000.0;

/// Messages that become visible at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// When, in nanoseconds.
    pub(crate) at: u64,
    /// Mean time of their arrival.
    pub(crate) arrived: u64,
    pub(crate) count: u64,
    pub(crate) sender: Sender,
}

pub(crate) struct Stream {
    sources: Vec<Source>,
    /// When the next messages of a source come, and its number.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    rng: Rng,
    end: u64,
    /// Longest time within a group: zero where messages are rare.
    group: u64,
}

struct Source {
    sender: Sender,
    kind: Kind,
    /// The next messages: time and number.
    next: Option<(u64, u64)>,
}

enum Kind {
    Steady { rate: f64, number: u64 },
    Poisson { rate: f64, at: f64 },
    Wave { rate: f64, period: f64, at: f64 },
    Burst,
    Recorded { times: Arc<[u64]>, index: usize },
}

impl Source {
    fn new(sender: Sender, arrivals: &Arrivals, rng: &mut Rng) -> Self {
        let (kind, next) = match arrivals {
            Arrivals::Steady { rate } => (Kind::Steady { rate: *rate, number: 0 }, None),
            Arrivals::Poisson { rate } => (Kind::Poisson { rate: *rate, at: 0.0 }, None),
            Arrivals::Wave { rate, period } => {
                (Kind::Wave { rate: *rate, period: period.as_secs_f64(), at: 0.0 }, None)
            }
            Arrivals::Burst { count, at } => (Kind::Burst, (*count > 0).then_some((nanos(*at), *count))),
            Arrivals::Recorded(times) => (Kind::Recorded { times: times.clone(), index: 0 }, None),
        };
        let mut source = Self { sender, kind, next };
        if next.is_none() {
            source.advance(rng);
        }
        source
    }

    /// Finds the next messages of this source.
    fn advance(&mut self, rng: &mut Rng) {
        let at = match &mut self.kind {
            Kind::Steady { rate, number } => {
                *number += 1;
                Some(nanos_of((*number - 1) as f64 / *rate))
            }
            Kind::Poisson { rate, at } => {
                *at += exponential(rng) / *rate;
                Some(nanos_of(*at))
            }
            // Thinning: candidates come at the highest rate, and each is kept with the share that the rate has then.
            Kind::Wave { rate, period, at } => loop {
                *at += exponential(rng) / (2.0 * *rate);
                let share = (1.0 - (TAU * *at / *period).cos()) / 2.0;
                if rng.f64() < share || *at > crate::plan::LONGEST.as_secs_f64() {
                    break Some(nanos_of(*at));
                }
            },
            Kind::Burst => None,
            Kind::Recorded { times, index } => {
                *index += 1;
                times.get(*index - 1).copied()
            }
        };
        self.next = at.map(|at| (at, 1));
    }
}

impl Stream {
    pub(crate) fn new(plan: &Plan, mut rng: Rng) -> Self {
        let senders = std::iter::once((Sender::NONE, &*plan.arrivals)).chain(plan.tenants.senders());
        let arrivals = senders.flat_map(|(sender, all)| all.iter().map(move |one| (sender, one)));
        let sources: Vec<_> =
            arrivals.map(|(sender, arrivals)| Source::new(sender, arrivals, &mut rng)).collect();
        let next = sources.iter().enumerate().filter_map(|(number, source)| {
            let (at, _) = source.next?;
            Some(Reverse((at, number)))
        });
        let next = next.collect();
        let expected: f64 = plan.arrivals.iter().map(|arrivals| arrivals.expected(plan.duration)).sum();
        let is_quick = expected / plan.duration.as_secs_f64() >= GROUPED_FROM && plan.tenants.all.is_empty();
        let end = nanos(plan.duration);
        Self { sources, next, rng, end, group: if is_quick { GROUP } else { 0 } }
    }

    /// Returns the next messages before a time, if there are any: their time, their number, and who sends them.
    fn next_of_any(&mut self, until: u64) -> Option<(u64, u64, Sender)> {
        let mut next = self.next.peek_mut()?;
        let Reverse((at, number)) = *next;
        let source = self.sources.get_mut(number).filter(|_| at < until)?;
        let (_, count) = source.next?;
        source.advance(&mut self.rng);
        match source.next {
            Some((at, _)) => *next = Reverse((at, number)),
            None => drop(PeekMut::pop(next)),
        }
        Some((at, count, source.sender))
    }

    /// Returns the next messages, or `None` if no more arrive.
    pub(crate) fn next(&mut self) -> Option<Group> {
        let (first, mut count, sender) = self.next_of_any(self.end)?;
        let (mut last, mut after_first) = (first, 0u128);
        // Only messages without a key are grouped.
        while let Some((at, more, _)) = self.next_of_any(self.end.min(first + self.group)) {
            last = at;
            count += more;
            after_first += u128::from(at - first) * u128::from(more);
        }
        // The mean is at most the last of them, so it fits.
        let arrived = first + (after_first / u128::from(count.max(1))) as u64;
        Some(Group { at: last, arrived, count, sender })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::plan;
    use std::time::Duration;

    fn all(arrivals: Vec<Arrivals>, seconds: u64) -> Vec<Group> {
        let plan = Plan { arrivals, duration: Duration::from_secs(seconds), ..plan() };
        let mut stream = Stream::new(&plan, Rng::with_seed(1));
        std::iter::from_fn(|| stream.next()).collect()
    }

    fn count(groups: &[Group]) -> u64 {
        groups.iter().map(|group| group.count).sum()
    }

    #[test]
    fn each_stream_brings_what_it_says() {
        assert_eq!(count(&all(vec![Arrivals::Steady { rate: 10.0 }], 100)), 1000);
        let poisson = count(&all(vec![Arrivals::Poisson { rate: 100.0 }], 1000));
        assert!((98_000..102_000).contains(&poisson), "{poisson}");
        let burst = Arrivals::Burst { count: u64::from(u32::MAX), at: Duration::from_secs(3) };
        assert_eq!(
            all(vec![burst.clone()], 10),
            [Group { at: 3_000_000_000, arrived: 3_000_000_000, count: 4_294_967_295, sender: Sender::NONE }]
        );
        assert!(all(vec![burst], 2).is_empty(), "it would come later");
        let recorded = Arrivals::Recorded(vec![1, 5, 5].into());
        assert_eq!(count(&all(vec![recorded], 1)), 3);
    }

    #[test]
    fn a_wave_is_high_in_the_middle_of_its_period() {
        let wave = Arrivals::Wave { rate: 100.0, period: Duration::from_secs(1000) };
        let groups = all(vec![wave], 1000);
        assert!((97_000..103_000).contains(&count(&groups)));
        let within = |from: u64, to: u64| {
            groups.iter().filter(|g| (from..to).contains(&(g.at / 1_000_000_000))).count()
        };
        assert!((18_000..21_000).contains(&within(450, 550)), "{}", within(450, 550));
        assert!(within(0, 50) + within(950, 1000) < 500);
    }

    #[test]
    fn quick_arrivals_are_grouped_and_none_is_lost() {
        let groups = all(vec![Arrivals::Steady { rate: 10_000.0 }, Arrivals::Poisson { rate: 50_000.0 }], 2);
        let messages = count(&groups);
        assert!((118_000..122_000).contains(&messages), "{messages}");
        assert!(groups.len() <= 2_000, "{}", groups.len());
        assert!(groups.iter().all(|group| group.arrived <= group.at && group.at - group.arrived < GROUP));
        assert!(groups.is_sorted_by_key(|group| group.at));
    }
}
