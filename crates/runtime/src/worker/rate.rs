//! The rate limit of task starts: protects a service that tasks call from being called too often.

use parking_lot::{Mutex, MutexGuard};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Size of a burst: the tasks that the rate allows in this time may start together, …
pub(super) const BURST: Duration = Duration::from_millis(100);
/// … but at most this number.
const MOST_TOGETHER: u32 = 10;

/// A number of tasks in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Number of tasks.
    pub tasks: NonZeroU32,
    /// Length of the period; not zero.
    pub every: Duration,
}

impl FromStr for Rate {
    type Err = String;

    /// Parses `50/s`, `600/m` or `1000/h`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "write a whole number of tasks from 1, and s, m or h: 50/s, 600/m or 1000/h".to_owned();
        let (tasks, unit) = text.split_once('/').ok_or_else(wrong)?;
        let tasks = tasks.trim().parse().map_err(|_| wrong())?;
        let seconds = match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(wrong()),
        };
        Ok(Self { tasks, every: Duration::from_secs(seconds) })
    }
}

/// Limits how fast tasks start, with the generic cell rate algorithm: its state is one point in time.
#[derive(Debug)]
pub(super) struct Starts {
    /// Time between two starts.
    interval: Duration,
    /// How far the last start of a burst may be ahead of even starts.
    ahead: Duration,
    /// When the next task would start if starts came evenly.
    due: Mutex<Instant>,
}

impl Starts {
    pub(super) fn at(rate: Rate, now: Instant) -> Self {
        let interval = (rate.every / rate.tasks.get()).max(Duration::from_nanos(1));
        let together = (BURST.as_nanos() / interval.as_nanos()).clamp(1, MOST_TOGETHER.into());
        let ahead = interval * together as u32;
        Self { interval, ahead, due: Mutex::new(now) }
    }

    /// Takes as many starts as are free, at least one and at most `most`.
    ///
    /// # Errors
    ///
    /// Returns the time of the next start if none is free.
    pub(super) fn take(&self, most: usize, now: Instant) -> Result<Taken<'_>, Instant> {
        let mut due = self.due();
        let from = (*due).max(now);
        let left = (now + self.ahead).saturating_duration_since(from);
        match (left.as_nanos() / self.interval.as_nanos()).min(most as u128) as u32 {
            0 => Err(from + self.interval - self.ahead),
            count => {
                *due = from + self.interval * count;
                Ok(Taken { starts: self, left: count as usize })
            }
        }
    }

    /// Returns starts that nobody used: the next task is due so much earlier, but not before `earliest`.
    fn give_back(&self, unused: usize, earliest: Option<Instant>) {
        let mut due = self.due();
        let before = due.checked_sub(self.time_of(unused)).unwrap_or(*due);
        *due = earliest.map_or(before, |earliest| earliest.max(before));
    }

    fn time_of(&self, count: usize) -> Duration {
        self.interval.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn due(&self) -> MutexGuard<'_, Instant> {
        self.due.lock()
    }
}

/// Starts that were taken. Those that aren't used are free again when this is dropped.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    starts: &'a Starts,
    left: usize,
}

impl Taken<'_> {
    /// Returns the number of starts left.
    pub(super) fn count(&self) -> usize {
        self.left
    }

    /// Uses `count` starts now, and gives the others back. Starts that were taken long ago count as used now, so that no
    /// others start together with them.
    pub(super) fn start(&mut self, count: usize, now: Instant) {
        let left = std::mem::take(&mut self.left);
        let count = count.min(left);
        self.starts.give_back(left - count, Some(now + self.starts.time_of(count)));
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.starts.give_back(self.left, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().expect("a rate")
    }

    #[test]
    fn a_rate_is_a_number_and_a_time() {
        assert_eq!(rate("50/s").every, Duration::from_secs(1));
        assert_eq!(rate(" 7 / h ").tasks.get(), 7);
        for text in ["", "50", "0/s", "-1/s", "1.5/s", "50/d", "50/", "/s", "99999999999/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    /// Starts as many tasks as it can for `time`, asking again whenever the limit says so.
    fn started(starts: &Starts, from: Instant, time: Duration, most: usize) -> Vec<Instant> {
        let (mut now, mut all) = (from, Vec::new());
        while now < from + time {
            match starts.take(most, now) {
                Ok(mut taken) => {
                    all.extend(std::iter::repeat_n(now, taken.count()));
                    taken.start(taken.count(), now);
                }
                Err(at) => {
                    assert!(at > now, "waiting takes time");
                    now = at;
                }
            }
        }
        all
    }

    #[test]
    fn tasks_start_at_their_rate_however_many_are_asked_for() {
        for (text, most, seconds) in [("50/s", 10, 10), ("1/s", 10, 10), ("5000/s", 10, 2), ("90/m", 1, 60)] {
            let now = Instant::now();
            let rate = rate(text);
            let time = Duration::from_secs(seconds);
            let count = started(&Starts::at(rate, now), now, time, most).len();
            let expected =
                (f64::from(rate.tasks.get()) * time.as_secs_f64() / rate.every.as_secs_f64()) as usize;
            assert!((expected..=expected + MOST_TOGETHER as usize).contains(&count), "{text}: {count}");
        }
    }

    #[test]
    fn an_idle_time_saves_nothing_up() {
        let now = Instant::now();
        let starts = Starts::at(rate("50/s"), now);
        let later = now + Duration::from_secs(3600);
        let mut taken = starts.take(100, later).expect("some");
        assert_eq!(taken.count(), 5, "a tenth of a second's worth");
        taken.start(5, later);
        drop(taken);
        assert_eq!(starts.take(100, later).expect_err("none"), later + Duration::from_millis(20));
    }

    #[test]
    fn what_is_not_used_is_there_again() {
        let now = Instant::now();
        let starts = Starts::at(rate("50/s"), now);
        for left in [5, 4, 3] {
            let mut taken = starts.take(100, now).expect("some");
            assert_eq!(taken.count(), left);
            taken.start(1, now);
        }
    }

    #[test]
    fn what_was_taken_long_ago_lets_nothing_start_beside_it() {
        let now = Instant::now();
        let starts = Starts::at(rate("50/s"), now);
        let mut taken = starts.take(100, now).expect("some");
        let later = now + Duration::from_secs(15);
        taken.start(5, later);
        drop(taken);
        assert_eq!(starts.take(100, later).expect_err("none"), later + Duration::from_millis(20));
    }

    #[test]
    fn what_was_taken_long_ago_and_is_not_used_lets_no_more_than_a_burst_start() {
        let now = Instant::now();
        let starts = Starts::at(rate("50/s"), now);
        let mut taken = starts.take(100, now).expect("some");
        let later = now + Duration::from_secs(15);
        taken.start(2, later);
        drop(taken);
        let rest = starts.take(100, later).expect("some");
        assert_eq!(rest.count(), 3, "2 of 5 have started");
    }

    #[test]
    fn a_rate_beyond_what_clocks_can_tell_is_none() {
        let now = Instant::now();
        let starts = Starts::at(rate("4294967295/s"), now);
        assert!(starts.take(10, now).is_ok());
    }
}
