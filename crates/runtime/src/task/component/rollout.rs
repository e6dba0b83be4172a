//! Lets a new version of a component take over: at once, or after a share of the tasks has shown that it fails no more
//! often than the version before.

use super::Version;
use crate::model::outcome::{Outcome, OutcomeKind};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of tasks after which a new version takes over, if nothing speaks against it.
const ENOUGH: u64 = 200;
/// Number of tasks after which it's decided in any case.
const MOST: u64 = 2_000;
/// A new version that is no worse fails at least as often by chance, with a lower probability than this: it is worse.
const IS_WORSE: f64 = 0.0001;
/// The same for a version that has run [`ENOUGH`] tasks: with a lower probability, it runs more of them.
const IS_DOUBTFUL: f64 = 0.1;
/// The same for a version that has run [`MOST`] tasks.
const IS_WORSE_IN_THE_END: f64 = 0.01;

/// Share of the tasks that a new version runs before it takes over, above 0 and at most 0.5.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl FromStr for Share {
    type Err = String;

    /// Reads a percentage such as `10%`.
    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
        match percent {
            Some(percent) if (0.1..=50.0).contains(&percent) => Ok(Self(percent / 100.0)),
            _ => Err("a percentage from 0.1% to 50%".into()),
        }
    }
}

/// The versions that tasks start on.
pub(super) struct Versions {
    pub(super) current: Arc<Version>,
    /// A version that is to take over.
    pub(super) candidate: Option<Candidate>,
}

pub(super) struct Candidate {
    pub(super) version: Arc<Version>,
    pub(super) share: Share,
    /// What the current version's tasks had come to when the trial began.
    pub(super) before: Counts,
}

/// How a trial has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The new version has taken over.
    TookOver,
    /// The new version is worse, and no task starts on it any more.
    WentBack,
}

impl Versions {
    /// Returns the version of the next task. `random` returns a number from 0 to 1.
    pub(super) fn next(&self, random: impl FnOnce() -> f64) -> Arc<Version> {
        match &self.candidate {
            Some(candidate) if random() < candidate.share.0 => candidate.version.clone(),
            _ => self.current.clone(),
        }
    }

    /// Returns whether the version on trial, one of whose tasks has just ended, is worse than the current one. Returns
    /// `None` if that isn't known yet, or if this version isn't on trial.
    pub(super) fn judge(&self, version: &Arc<Version>) -> Option<bool> {
        let candidate =
            self.candidate.as_ref().filter(|candidate| Arc::ptr_eq(&candidate.version, version))?;
        is_worse(self.current.tally.counts().since(candidate.before), version.tally.counts())
    }

    /// Ends the trial of a version, unless it has ended. Returns the version that no task starts on any more.
    pub(super) fn end_trial(
        &mut self,
        version: &Arc<Version>,
        is_worse: bool,
    ) -> Option<(Ended, Arc<Version>)> {
        let candidate = self.candidate.take_if(|candidate| Arc::ptr_eq(&candidate.version, version))?.version;
        if is_worse {
            return Some((Ended::WentBack, candidate));
        }
        Some((Ended::TookOver, std::mem::replace(&mut self.current, candidate)))
    }
}

/// Numbers of tasks that ended for reasons of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tasks that completed.
    pub completed: u64,
    /// Tasks that ended in another way, except by a fault of the host or a cancellation.
    pub failed: u64,
}

impl Counts {
    fn tasks(self) -> u64 {
        self.completed + self.failed
    }

    fn since(self, before: Self) -> Self {
        Self {
            completed: self.completed.saturating_sub(before.completed),
            failed: self.failed.saturating_sub(before.failed),
        }
    }
}

/// Counts of one version's tasks.
#[derive(Debug, Default)]
pub(super) struct Tally {
    completed: AtomicU64,
    failed: AtomicU64,
}

impl Tally {
    pub(super) fn count(&self, outcome: &Outcome) {
        match outcome.kind() {
            OutcomeKind::Completed => self.completed.fetch_add(1, Ordering::Relaxed),
            OutcomeKind::HostFailed
            | OutcomeKind::Cancelled
            | OutcomeKind::Expired
            | OutcomeKind::Repeated => 0,
            _ => self.failed.fetch_add(1, Ordering::Relaxed),
        };
    }

    pub(super) fn counts(&self) -> Counts {
        let [completed, failed] = [&self.completed, &self.failed].map(|count| count.load(Ordering::Relaxed));
        Counts { completed, failed }
    }
}

/// Returns whether a new version fails more often than the current one; `None` if that isn't known yet.
fn is_worse(current: Counts, new: Counts) -> Option<bool> {
    let by_chance = by_chance(current, new);
    match new.tasks() {
        _ if by_chance < IS_WORSE => Some(true),
        MOST.. => Some(by_chance < IS_WORSE_IN_THE_END),
        ENOUGH.. if by_chance >= IS_DOUBTFUL => Some(false),
        _ => None,
    }
}

/// Returns the probability that at least this many of the failures fall to the new version's tasks by chance alone
/// (Fisher's exact test, one-sided); 1 if the new version fails no more often than both together.
fn by_chance(current: Counts, new: Counts) -> f64 {
    let (tasks, of_new) = (current.tasks() + new.tasks(), new.tasks());
    let (failed, completed) = (current.failed + new.failed, current.completed + new.completed);
    // Of a version that fails far less often, the very number of failures is too improbable for a float, and so would be
    // the sum that begins with it.
    if u128::from(new.failed) * u128::from(tasks) <= u128::from(failed) * u128::from(of_new) {
        return 1.0;
    }
    // The probability of this very number; each further one follows from the one before.
    let exactly =
        ln_choose(failed, new.failed) + ln_choose(completed, new.completed) - ln_choose(tasks, of_new);
    let (mut each, mut sum) = (exactly.exp(), 0.0);
    for of_failed in new.failed..=failed.min(of_new) {
        sum += each;
        let of_completed = of_new - of_failed;
        let more = (failed - of_failed) as f64 * of_completed as f64;
        each *= more / ((of_failed + 1) as f64 * (completed + 1 - of_completed) as f64);
    }
    sum
}

/// Returns the logarithm of the number of ways to choose `of` things from `from`.
fn ln_choose(from: u64, of: u64) -> f64 {
    let of = of.min(from - of);
    (0..of).map(|index| ((from - index) as f64 / (index + 1) as f64).ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(completed: u64, failed: u64) -> Counts {
        Counts { completed, failed }
    }

    #[test]
    fn the_chance_is_that_of_the_exact_test() {
        // The lady tasting tea: three of four cups, and all four.
        let chance = by_chance(counts(3, 1), counts(1, 3));
        assert!((chance - 17.0 / 70.0).abs() < 1e-12, "{chance}");
        let chance = by_chance(counts(4, 0), counts(0, 4));
        assert!((chance - 1.0 / 70.0).abs() < 1e-12, "{chance}");
        assert!((by_chance(counts(0, 0), counts(0, 5)) - 1.0).abs() < 1e-12, "nothing to compare with");
        assert!((by_chance(counts(100, 3), counts(10, 0)) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_version_that_always_fails_is_stopped_after_a_few_tasks() {
        let needed = (1..).find(|&tasks| is_worse(counts(9 * tasks, 0), counts(0, tasks)) == Some(true));
        assert_eq!(needed, Some(4));
    }

    #[test]
    fn a_version_that_fails_as_often_takes_over() {
        assert_eq!(is_worse(counts(900, 90), counts(90, 9)), None, "too few tasks");
        assert_eq!(is_worse(counts(1800, 180), counts(180, 20)), Some(false));
        assert_eq!(is_worse(counts(0, 2000), counts(0, 200)), Some(false), "both fail always");
    }

    #[test]
    fn a_version_that_completes_takes_over_from_one_that_always_fails() {
        assert_eq!(is_worse(counts(0, 19_800), counts(200, 0)), Some(false));
        assert_eq!(is_worse(counts(0, 13_300), counts(134, 0)), None, "too few tasks");
    }

    #[test]
    fn a_version_that_fails_somewhat_more_often_runs_more_tasks_and_is_then_decided() {
        let (current, new) = (|n: u64| counts(980 * n, 20 * n), |n: u64| counts(97 * n, 3 * n));
        assert_eq!(is_worse(current(2), new(2)), Some(false), "6 against an expected 4");
        assert_eq!(is_worse(current(5), counts(480, 20)), None);
        assert_eq!(is_worse(current(20), counts(1930, 70)), Some(true));
    }

    #[test]
    fn a_share_is_a_percentage() {
        assert_eq!("10%".parse(), Ok(Share(0.1)));
        for text in ["", "10", "0%", "51%", "-1%", "NaN%", "1e1000%", "inf%", "%"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }
}
