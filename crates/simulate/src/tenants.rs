//! Tenants: who sends messages to one queue, and how workers share their permits among them.

use crate::plan::{Arrivals, PlanError, Service, ensure};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use wasmrun_runtime::model::key::Key;
use wasmrun_runtime::worker::KeyOptions;

/// Maximum number of tenants.
pub const MAX_TENANTS: usize = 10_000;
/// Maximum number of rows of tenants in a report.
pub const MAX_ROWS: usize = 100;
/// Maximum number of messages with tenants. Each is simulated by itself.
pub const MAX_MESSAGES: f64 = 1e8;

/// The tenants of a queue, and how workers tell them apart.
#[derive(Clone, Debug, Default)]
pub struct Tenants {
    /// The tenants; none: the messages have no keys.
    pub all: Vec<Tenant>,
    /// Names of the rows of the report.
    pub rows: Vec<String>,
    /// How workers share their permits among keys; `None`: messages start in the order of the queue.
    pub keys: Option<KeyOptions>,
}

/// A tenant.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The key of its messages.
    pub key: Key,
    /// Number of the row in which the report counts it.
    pub row: usize,
    /// When its messages arrive: all of these together.
    pub arrivals: Vec<Arrivals>,
    /// How long its tasks take; `None`: as long as those of messages without a key.
    pub service: Option<Service>,
}

/// Whose a message is: a tenant's, by its number from 1, or nobody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sender(u32);

impl Sender {
    /// The sender of messages without a key.
    pub(crate) const NONE: Self = Self(0);

    #[cfg(test)]
    pub(crate) fn numbered(number: u32) -> Self {
        Self(number)
    }
}

/// All senders, by their numbers and by their keys.
#[derive(Debug)]
pub(crate) struct Senders {
    /// The key of each, and its row among those that are measured.
    all: Vec<(Key, usize)>,
    by_key: HashMap<Key, Sender>,
}

impl Senders {
    pub(crate) fn new(tenants: &Tenants) -> Self {
        // The first row is that of messages without a key.
        let others = tenants.all.iter().map(|tenant| (tenant.key.clone(), tenant.row + 1));
        let all: Vec<_> = std::iter::once((Key::none(), 0)).chain(others).collect();
        let by_key = (0..).map(Sender).zip(&all).map(|(sender, (key, _))| (key.clone(), sender)).collect();
        Self { all, by_key }
    }

    /// Returns the key of a sender's messages.
    pub(crate) fn key(&self, sender: Sender) -> &Key {
        &self.all[sender.0 as usize].0
    }

    /// Returns the number of the row in which a sender is measured.
    pub(crate) fn row(&self, sender: Sender) -> usize {
        self.all[sender.0 as usize].1
    }

    /// Returns whose key it is.
    pub(crate) fn of(&self, key: &Key) -> Option<Sender> {
        self.by_key.get(key).copied()
    }
}

impl Tenants {
    /// Returns the senders with their arrivals, without that of messages without a key.
    pub(crate) fn senders(&self) -> impl Iterator<Item = (Sender, &[Arrivals])> {
        (1..).map(Sender).zip(self.all.iter().map(|tenant| &*tenant.arrivals))
    }

    /// Returns how long the tasks of a sender's messages take, if it has times of its own.
    pub(crate) fn service(&self, sender: Sender) -> Option<&Service> {
        self.all.get((sender.0 as usize).checked_sub(1)?)?.service.as_ref()
    }

    /// Returns how many messages of tenants arrive in a time, on average.
    pub fn expected(&self, duration: Duration) -> f64 {
        self.all.iter().flat_map(|tenant| &tenant.arrivals).map(|arrivals| arrivals.expected(duration)).sum()
    }

    /// Says what is wrong, of the first thing that can't be simulated. `messages` arrive in all.
    pub(crate) fn check(&self, messages: f64) -> Result<(), PlanError> {
        if self.all.is_empty() {
            return Ok(());
        }
        ensure(
            self.all.len() <= MAX_TENANTS && self.rows.len() <= MAX_ROWS,
            format!("at most {MAX_TENANTS} tenants in {MAX_ROWS} rows can be simulated"),
        )?;
        let mut keys = BTreeSet::new();
        if let Some(Tenant { key, .. }) = self.all.iter().find(|tenant| !keys.insert(&tenant.key)) {
            return ensure(false, format!("two tenants have the key {key}: give each a name of its own"));
        }
        ensure(!keys.contains(&Key::none()), "a tenant has the key of messages without one")?;
        let has_row = |tenant: &Tenant| tenant.row < self.rows.len();
        ensure(self.all.iter().all(has_row), "each tenant has a row in the report")?;
        ensure(
            messages <= MAX_MESSAGES,
            format!(
                "{messages:.3e} messages would arrive: with tenants, each is simulated by itself, and at most {MAX_MESSAGES:.0e} can be"
            ),
        )
    }
}
