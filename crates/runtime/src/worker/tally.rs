//! What a worker has done so far, in numbers.

use crate::model::distribution::{Distributions, Quantity, Spreads};
use crate::model::limits::Limit;
use crate::model::outcome::{Outcome, OutcomeKind};
use crate::model::usage::Usage;
use crate::task::component::Report;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counts while the worker runs.
#[derive(Debug)]
pub struct Tally {
    began: Instant,
    summary: Mutex<Summary>,
    distributions: Mutex<Distributions>,
    pub(super) counters: Counters,
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
    /// What became of messages.
    pub counts: Counts,
    /// The sum over all tasks; the peak is the highest of any.
    pub usage: Usage,
    /// How it is spread over the tasks.
    pub spreads: Spreads,
    /// Why the worker ended without doing its work, where somebody has to mend something: an alias that isn't granted, or
    /// tasks of which none completes.
    pub stalled: Option<String>,
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a worker has counted.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The same while it counts.
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)*
        }

        impl Counters {
            fn now(&self) -> Counts {
                Counts { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counts! {
    /// Messages that were received.
    received,
    /// Receives that brought none.
    empty_receives,
    /// Receives that failed.
    failed_receives,
    /// Messages whose visibility was extended, each time.
    renewals,
    /// Extensions that failed; most are tried again.
    failed_renewals,
    /// Messages that lapsed before they were settled.
    lapsed,
    /// Messages that became visible again.
    returned,
    /// Messages that went to the dead-letter queue.
    dead_lettered,
    /// Tries to settle a message that failed.
    settle_failures,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            summary: Mutex::default(),
            distributions: Mutex::default(),
            counters: Counters::default(),
        }
    }
}

impl Tally {
    /// What was done until now.
    pub fn summary(&self) -> Summary {
        let spreads = self.distributions.lock().spreads();
        Summary { elapsed: self.began.elapsed(), counts: self.counts(), spreads, ..self.lock().clone() }
    }

    pub(super) fn count(&self, report: &Report) {
        let mut distributions = self.distributions.lock();
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

    /// What became of messages until now.
    pub fn counts(&self) -> Counts {
        self.counters.now()
    }

    fn lock(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock()
    }
}

impl Summary {
    /// Tasks that ended so.
    pub fn outcome(&self, kind: OutcomeKind) -> u64 {
        self.outcomes.get(&kind).copied().unwrap_or_default()
    }
}
