//! What a worker has done so far, in numbers.

use crate::component::Report;
use crate::distribution::{Distributions, Quantity, Spreads};
use crate::limits::Limit;
use crate::outcome::{Outcome, OutcomeKind};
use crate::usage::Usage;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Counts while the worker runs.
#[derive(Debug)]
pub struct Tally {
    began: Instant,
    summary: Mutex<Summary>,
    distributions: Mutex<Distributions>,
}

/// What a worker did.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Since the worker began.
    pub elapsed: Duration,
    /// Tasks that ended.
    pub tasks: u64,
    /// Tasks by outcome.
    pub outcomes: BTreeMap<OutcomeKind, u64>,
    /// Tasks that a limit ended.
    pub limits: BTreeMap<Limit, u64>,
    /// Messages that went to the dead-letter queue.
    pub dead_lettered: u64,
    /// Messages that became visible again.
    pub returned: u64,
    /// The sum over all tasks; the peak is the highest of any.
    pub usage: Usage,
    /// How it is spread over the tasks.
    pub spreads: Spreads,
}

impl Default for Tally {
    fn default() -> Self {
        Self { began: Instant::now(), summary: Mutex::default(), distributions: Mutex::default() }
    }
}

impl Tally {
    /// What was done until now.
    pub fn summary(&self) -> Summary {
        let spreads = self.distributions.lock().unwrap_or_else(PoisonError::into_inner).spreads();
        Summary { elapsed: self.began.elapsed(), spreads, ..self.lock().clone() }
    }

    pub(super) fn count(&self, report: &Report) {
        let mut distributions = self.distributions.lock().unwrap_or_else(PoisonError::into_inner);
        distributions.record(|quantity: Quantity| quantity.of(&report.usage));
        drop(distributions);
        let mut summary = self.lock();
        summary.tasks += 1;
        *summary.outcomes.entry(report.outcome.kind()).or_default() += 1;
        if let Outcome::LimitExceeded { limit } = report.outcome {
            *summary.limits.entry(limit).or_default() += 1;
        }
        summary.usage.add(&report.usage);
    }

    pub(super) fn dead_lettered(&self) {
        self.lock().dead_lettered += 1;
    }

    pub(super) fn returned(&self) {
        self.lock().returned += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Summary {
    /// Tasks that ended so.
    pub fn outcome(&self, kind: OutcomeKind) -> u64 {
        self.outcomes.get(&kind).copied().unwrap_or_default()
    }
}
