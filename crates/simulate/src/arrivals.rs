//! When messages arrive: several streams merged into one.
//!
//! At a high rate, messages that arrive within a tick of a millisecond are one group: they arrive with the last of them,
//! and each is taken to have arrived at their mean time. Random arrivals are in the middle of their tick. The first of a
//! tick is drawn, then the number of the others, which is Poisson distributed. No latency changes by more than a
//! millisecond. At the end of the arrivals, a tick that they end within counts as a whole or not at all. So nothing is
//! grouped if they last for less than a second, and nothing with tenants.

use crate::plan::{Arrivals, LONGEST, Plan};
use crate::service::exponential;
use crate::tenants::Sender;
use crate::time::{nanos, nanos_of, seconds};
use fastrand::Rng;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::f64::consts::TAU;
use std::sync::Arc;
use std::time::Duration;

/// Length of a tick in nanoseconds.
const TICK: u64 = 1_000_000;
/// Rate in messages a second from which they are grouped.
const GROUPED_FROM: f64 = 2_000.0;
/// Shortest duration of the arrivals in which they are grouped.
const GROUPED_IN: Duration = Duration::from_secs(1);

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
    /// Whether messages are grouped.
    is_quick: bool,
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
    fn new(sender: Sender, arrivals: &Arrivals, is_quick: bool, rng: &mut Rng) -> Self {
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
            source.advance(is_quick, rng);
        }
        source
    }

    /// Finds the next messages of this source.
    fn advance(&mut self, is_quick: bool, rng: &mut Rng) {
        let one = |at: u64| (at, 1);
        self.next = match &mut self.kind {
            Kind::Steady { rate, number } => {
                *number += 1;
                Some(one(nanos_of((*number - 1) as f64 / *rate)))
            }
            Kind::Poisson { rate, at } => {
                *at += exponential(rng) / *rate;
                let all = |rest: &Rest| poisson(*rate * rest.length, rng);
                Some(if is_quick { with_rest_of_tick(at, all) } else { one(nanos_of(*at)) })
            }
            // Thinning: candidates come at the highest rate, and each is kept with the share that the rate has then.
            Kind::Wave { rate, period, at } => {
                let highest = 2.0 * *rate;
                let share = |at: f64| (1.0 - (TAU * at / *period).cos()) / 2.0;
                loop {
                    *at += exponential(rng) / highest;
                    if rng.f64() < share(*at) || *at > LONGEST.as_secs_f64() {
                        break;
                    }
                }
                // A period is at least a second: within a tick, the rate changes evenly.
                let all = |rest: &Rest| poisson(highest * share(rest.middle) * rest.length, rng);
                Some(if is_quick { with_rest_of_tick(at, all) } else { one(nanos_of(*at)) })
            }
            Kind::Burst => None,
            Kind::Recorded { times, index } => {
                *index += 1;
                times.get(*index - 1).copied().map(one)
            }
        };
    }
}

/// The part of a tick that follows its first message, in seconds.
struct Rest {
    middle: f64,
    length: f64,
}

/// Adds to a message at a time in seconds those that follow in its tick. Returns the middle of the tick and the number of
/// all, and moves the time to the end of the tick.
fn with_rest_of_tick(at: &mut f64, number: impl FnOnce(&Rest) -> u64) -> (u64, u64) {
    let tick = nanos_of(*at) / TICK * TICK;
    let end = seconds(tick.saturating_add(TICK));
    let length = (end - *at).max(0.0);
    let more = number(&Rest { middle: *at + length / 2.0, length });
    *at = end;
    (tick.saturating_add(TICK / 2), 1 + more)
}

/// Returns a number with a Poisson distribution of this mean.
fn poisson(mean: f64, rng: &mut Rng) -> u64 {
    // The product would be too small for a float. The sum of such numbers is one again.
    let parts = (mean / 256.0).ceil() as u64;
    let limit = (-mean / parts as f64).exp();
    let part = |_| {
        let (mut product, mut number) = (rng.f64(), 0);
        while product > limit {
            product *= rng.f64();
            number += 1;
        }
        number
    };
    (0..parts).map(part).sum()
}

impl Stream {
    pub(crate) fn new(plan: &Plan, mut rng: Rng) -> Self {
        let expected: f64 = plan.arrivals.iter().map(|arrivals| arrivals.expected(plan.duration)).sum();
        let is_quick = plan.duration >= GROUPED_IN
            && expected / plan.duration.as_secs_f64() >= GROUPED_FROM
            && plan.tenants.all.is_empty();
        let senders = std::iter::once((Sender::NONE, &*plan.arrivals)).chain(plan.tenants.senders());
        let arrivals = senders.flat_map(|(sender, all)| all.iter().map(move |one| (sender, one)));
        let sources: Vec<_> =
            arrivals.map(|(sender, arrivals)| Source::new(sender, arrivals, is_quick, &mut rng)).collect();
        let next = sources.iter().enumerate().filter_map(|(number, source)| {
            let (at, _) = source.next?;
            Some(Reverse((at, number)))
        });
        let next = next.collect();
        Self { sources, next, rng, end: nanos(plan.duration), is_quick }
    }

    /// Returns the next messages before a time, if there are any: their time, their number, and who sends them.
    fn next_of_any(&mut self, until: u64) -> Option<(u64, u64, Sender)> {
        let mut next = self.next.peek_mut()?;
        let Reverse((at, number)) = *next;
        let source = self.sources.get_mut(number).filter(|_| at < until)?;
        let (_, count) = source.next?;
        source.advance(self.is_quick, &mut self.rng);
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
        let until = if self.is_quick { self.end.min((first / TICK + 1) * TICK) } else { 0 };
        while let Some((at, more, _)) = self.next_of_any(until) {
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

    /// The numbers of ticks have the mean and the variance of a Poisson distribution, at any rate.
    #[test]
    fn quick_arrivals_are_as_random_as_others() {
        for rate in [2_000.0, 12_000.0, 1_000_000.0] {
            let groups = all(vec![Arrivals::Poisson { rate }], 20);
            let (ticks, mean) = (20_000.0, rate / 1_000.0);
            let sum: f64 = groups.iter().map(|group| group.count as f64).sum();
            let squares: f64 = groups.iter().map(|group| (group.count as f64 - mean).powi(2)).sum();
            let empty = ticks - groups.len() as f64;
            let variance = (squares + empty * mean * mean) / ticks;
            assert!((sum / ticks / mean - 1.0).abs() < 0.02, "{rate}: {sum}");
            assert!((variance / mean - 1.0).abs() < 0.05, "{rate}: {variance} is not {mean}");
            assert!((empty / ticks - (-mean).exp()).abs() < 0.01, "{rate}: {empty}");
        }
    }

    #[test]
    fn quick_arrivals_of_less_than_a_second_are_not_grouped() {
        let arrivals = vec![Arrivals::Poisson { rate: 1_000_000.0 }];
        let plan = Plan { arrivals, duration: Duration::from_micros(400), ..plan() };
        let mut stream = Stream::new(&plan, Rng::with_seed(1));
        let groups: Vec<_> = std::iter::from_fn(|| stream.next()).collect();
        assert!((300..500).contains(&groups.len()), "{}", groups.len());
        assert!(groups.iter().all(|group| group.count == 1 && group.arrived == group.at));
    }

    #[test]
    fn quick_arrivals_are_grouped_and_none_is_lost() {
        let groups = all(vec![Arrivals::Steady { rate: 10_000.0 }, Arrivals::Poisson { rate: 50_000.0 }], 2);
        let messages = count(&groups);
        assert!((118_000..122_000).contains(&messages), "{messages}");
        assert!(groups.len() <= 2_000, "{}", groups.len());
        assert!(groups.iter().all(|group| group.arrived <= group.at && group.at - group.arrived < TICK));
        assert!(groups.is_sorted_by_key(|group| group.at));
    }
}
