//! The counts of a worker.

use crate::model::distribution::{Distributions, Quantity, Spreads};
use crate::model::limits::Limit;
use crate::model::outcome::{Outcome, OutcomeKind};
use crate::model::usage::Usage;
use crate::task::component::Report;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The counts of a running worker.
#[derive(Debug)]
pub struct Tally {
    began: Instant,
    summary: Mutex<Summary>,
    distributions: Mutex<Distributions>,
    pub(super) counters: Counters,
}

/// The results of a worker, as numbers.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Time since the worker began.
    pub elapsed: Duration,
    /// Tasks that ended.
    pub tasks: u64,
    /// Tasks by outcome.
    pub outcomes: BTreeMap<OutcomeKind, u64>,
    /// Tasks that a limit ended.
    pub limits: BTreeMap<Limit, u64>,
    /// Counts of messages and calls to the queue.
    pub counts: Counts,
    /// Sum of the usage of all tasks; the peak is the highest of any task.
    pub usage: Usage,
    /// Distribution of the usage over the tasks.
    pub spreads: Spreads,
    /// Why the worker ended without doing its work, if an operator must act: an alias isn't granted, or no task
    /// completes.
    pub stalled: Option<String>,
}

/// One count of a worker, with its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Name in `/status`.
    pub name: &'static str,
    /// Name of its metric, without `wasmrun_` and `_total`.
    pub metric: &'static str,
    /// Description of the count, in one sentence.
    pub help: &'static str,
    /// The count.
    pub value: u64,
}

/// Defines the counts of a worker from a table. Each row holds a field of [`Counts`] with its description, the name in
/// `/status` and the name of the metric.
macro_rules! counts {
    ($(#[doc = $help:literal] $field:ident: $name:literal, $metric:literal;)*) => {
        /// The counts of a worker at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $(#[doc = $help] pub $field: u64,)*
        }

        impl Counts {
            /// Returns all counts with their names.
            pub fn named(&self) -> impl Iterator<Item = Count> {
                [$(Count { name: $name, metric: $metric, help: $help.trim_ascii(), value: self.$field },)*].into_iter()
            }
        }

        /// [`Counts`] of a running worker.
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
    /// Messages that the worker released as their keys were over their budgets.
    parked_messages: "parked_messages", "messages_parked";
    /// Failed attempts to write and read what keys have used of their budgets.
    failed_budget_calls: "failed_budget_calls", "failed_budget_calls";
    /// Messages that the worker sent to the dead-letter queue.
    dead_lettered: "dead_lettered", "messages_dead_lettered";
    /// Notifications of ended messages that the worker sent.
    notified: "notified", "notifications_sent";
    /// Failed attempts to send the notification of an ended message, or to count it in its completion group.
    failed_notifications: "failed_notifications", "failed_notifications";
    /// Completion groups of which all messages have ended, and whose notification the worker sent.
    complete_groups: "complete_groups", "groups_completed";
    /// Completion groups that were dropped before they were complete: too old, or too many.
    dropped_groups: "dropped_groups", "groups_dropped";
    /// Ended messages that name a completion group, and were not counted: wrongly named, or the group was complete.
    uncounted_messages: "uncounted_messages", "group_messages_uncounted";
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
    /// Returns what was done so far.
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

    /// Returns the counts so far.
    pub fn counts(&self) -> Counts {
        self.counters.now()
    }

    fn lock(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock()
    }
}

impl Summary {
    /// Returns the number of tasks with this outcome.
    pub fn outcome(&self, kind: OutcomeKind) -> u64 {
        self.outcomes.get(&kind).copied().unwrap_or_default()
    }
}
