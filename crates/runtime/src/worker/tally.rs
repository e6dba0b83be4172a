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

/// A count of a worker, with its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The name in `/status`.
    pub name: &'static str,
    /// The name of its metric, without `wasmrun_` and `_total`.
    pub metric: &'static str,
    /// What is counted, in a sentence.
    pub help: &'static str,
    /// How many there were.
    pub value: u64,
}

/// Defines the counts of a worker from a table. A row is the field of [`Counts`] with what is counted, the name in `/status`
/// and the name of the metric.
macro_rules! counts {
    ($(#[doc = $help:literal] $field:ident: $name:literal, $metric:literal;)*) => {
        /// What a worker has counted.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $(#[doc = $help] pub $field: u64,)*
        }

        impl Counts {
            /// All counts with their names.
            pub fn named(&self) -> impl Iterator<Item = Count> {
                [$(Count { name: $name, metric: $metric, help: $help.trim_ascii(), value: self.$field },)*].into_iter()
            }
        }

        /// The same while it counts.
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $field: Counter,)*
        }

        impl Counters {
            fn now(&self) -> Counts {
                Counts { $($field: self.$field.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counts! {
    /// Received messages.
    received: "received", "messages_received";
    /// Receives that returned no message.
    empty_receives: "empty_receives", "empty_receives";
    /// Failed receives.
    failed_receives: "failed_receives", "failed_receives";
    /// Renewals of leases: extensions of a message's visibility.
    renewals: "renewals", "message_renewals";
    /// Failed renewals of leases; most are retried.
    failed_renewals: "failed_renewals", "failed_renewals";
    /// Leases that expired before their messages were settled.
    leases_expired: "leases_expired", "leases_expired";
    /// Messages that the worker made visible again without deleting them.
    released: "released", "messages_released";
    /// Messages that the worker sent to the dead-letter queue.
    dead_lettered: "dead_lettered", "messages_dead_lettered";
    /// Failed attempts to delete or release a message.
    settle_failures: "settle_failures", "settle_failures";
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
