//! The accounts of a worker: what the keys that it has seen have used of their budgets in the current periods.
//!
//! [`Accounts`] is plain data: it has no clock, no store and no lock. Times are counted from 1970.

use crate::model::budget::{AccountId, Budget, Budgets};
use crate::model::key::Key;
use crate::ports::budgets::{Charge, MOST_ACCOUNTS};
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

/// The accounts of a worker.
#[derive(Debug)]
pub(in crate::worker) struct Accounts {
    budgets: Budgets,
    by_key: HashMap<Key, Account>,
    /// Keys that have used up their budgets.
    over: BTreeSet<Key>,
    /// Those that weren't logged yet.
    newly_over: Vec<Spent>,
    /// When the first of the periods ends, and when the last one began, in seconds.
    first_end: u64,
    last_begin: u64,
}

#[derive(Debug)]
struct Account {
    id: AccountId,
    budget: Budget,
    /// What all workers have used, as the store said last.
    used: u64,
    /// What tasks of this worker have used and the store doesn't know yet.
    pending: u64,
    /// Whether the store was asked and has answered, or has failed.
    asked: bool,
}

/// A key that has used up its budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::worker) struct Spent {
    pub(in crate::worker) key: Key,
    pub(in crate::worker) budget: Budget,
    pub(in crate::worker) used: u64,
}

impl Account {
    fn new(id: AccountId, budget: Budget) -> Self {
        Self { id, budget, used: 0, pending: 0, asked: false }
    }

    fn sum(&self) -> u64 {
        self.used.saturating_add(self.pending)
    }

    fn is_over(&self) -> bool {
        self.sum() >= self.budget.amount.get()
    }
}

impl Accounts {
    pub(in crate::worker) fn new(budgets: Budgets) -> Self {
        Self {
            budgets,
            by_key: HashMap::new(),
            over: BTreeSet::new(),
            newly_over: Vec::new(),
            first_end: u64::MAX,
            last_begin: 0,
        }
    }

    /// Drops the accounts of periods that aren't the current ones. Returns whether there were any.
    pub(in crate::worker) fn begin_periods(&mut self, now: Duration) -> bool {
        let now = now.as_secs();
        // The second part: the clock was set back.
        if now < self.first_end && now >= self.last_begin {
            return false;
        }
        self.by_key.retain(|_, account| (account.id.began..account.id.ends()).contains(&now));
        self.over.retain(|key| self.by_key.contains_key(key));
        self.first_end = self.by_key.values().map(|account| account.id.ends()).min().unwrap_or(u64::MAX);
        self.last_begin = self.by_key.values().map(|account| account.id.began).max().unwrap_or(0);
        true
    }

    /// Opens the account of a key of which a message was received. Returns whether the store must be asked, before which no
    /// task of the key may start.
    pub(in crate::worker) fn received(&mut self, key: &Key, now: Duration) -> bool {
        self.account(key, now).is_some_and(|account| !account.asked)
    }

    /// Adds what a task has used. Returns whether the key has used up its budget by it.
    pub(in crate::worker) fn add(
        &mut self,
        key: &Key,
        amount: impl FnOnce(&Budget) -> u64,
        now: Duration,
    ) -> bool {
        let Some(account) = self.account(key, now) else { return false };
        account.pending = account.pending.saturating_add(amount(&account.budget));
        self.find_over(key)
    }

    /// Returns the number of tasks of a key that may run at once.
    pub(in crate::worker) fn most_running(&self, key: &Key) -> usize {
        match self.by_key.get(key) {
            Some(account) if !account.asked => 0,
            Some(account) if account.is_over() => 1,
            _ => usize::MAX,
        }
    }

    /// Returns whether a key has used up its budget.
    pub(in crate::worker) fn is_over(&self, key: &Key) -> bool {
        self.over.contains(key)
    }

    /// Returns the keys that have used up their budgets.
    pub(in crate::worker) fn over(&self) -> &BTreeSet<Key> {
        &self.over
    }

    /// Takes the keys that have used up their budgets since the last call.
    pub(in crate::worker) fn newly_over(&mut self) -> Vec<Spent> {
        std::mem::take(&mut self.newly_over)
    }

    /// Returns the time until the period of a key ends.
    pub(in crate::worker) fn left(&self, key: &Key, now: Duration) -> Duration {
        let ends = self.by_key.get(key).map_or(0, |account| account.id.ends());
        Duration::from_secs(ends).saturating_sub(now)
    }

    /// Returns what the store has to be charged or asked now: of the keys of which it wasn't asked yet, and, with `active`, of
    /// all keys with amounts that it doesn't know and of those in `active`.
    pub(in crate::worker) fn due(&self, active: Option<&HashSet<Key>>) -> Vec<Charge> {
        let is_due = |key: &Key, account: &Account| {
            let is_read = |active: &HashSet<Key>| !account.is_over() && active.contains(key);
            !account.asked || active.is_some_and(|active| account.pending > 0 || is_read(active))
        };
        let due = self.by_key.iter().filter(|(key, account)| is_due(key, account));
        due.map(|(_, account)| Charge { account: account.id.clone(), amount: account.pending }).collect()
    }

    /// Records the answer of the store to a charge; `None`: it has failed, and this worker goes on with what it knows.
    /// Returns whether the key has used up its budget by it.
    pub(in crate::worker) fn answered(&mut self, charge: &Charge, answer: Option<u64>) -> bool {
        let Charge { account: id, amount } = charge;
        let Some(account) = self.by_key.get_mut(&id.key).filter(|account| account.id == *id) else {
            return false;
        };
        account.asked = true;
        if let Some(sum) = answer {
            account.pending = account.pending.saturating_sub(*amount);
            // A store that has forgotten the account doesn't give the key a new budget.
            account.used = sum.max(account.used.saturating_add(*amount));
        }
        self.find_over(&id.key)
    }

    fn find_over(&mut self, key: &Key) -> bool {
        let Some(account) = self.by_key.get(key) else { return false };
        let is_newly_over = account.is_over() && self.over.insert(key.clone());
        if is_newly_over {
            let (budget, used) = (account.budget, account.sum());
            self.newly_over.push(Spent { key: key.clone(), budget, used });
        }
        is_newly_over
    }

    fn account(&mut self, key: &Key, now: Duration) -> Option<&mut Account> {
        if !self.by_key.contains_key(key) {
            let budget = self.budgets.of(key)?;
            if self.by_key.len() >= MOST_ACCOUNTS {
                self.make_room();
            }
            let id = budget.account(key, now);
            self.first_end = self.first_end.min(id.ends());
            self.last_begin = self.last_begin.max(id.began);
            self.by_key.insert(key.clone(), Account::new(id, budget));
        }
        self.by_key.get_mut(key)
    }

    /// Drops half of the accounts: first those that the store has as well, then those with the least used.
    fn make_room(&mut self) {
        let rank = |account: &Account| {
            (account.asked && account.pending == 0 && !account.is_over(), Reverse(account.sum()))
        };
        let mut ranked: Vec<_> =
            self.by_key.iter().map(|(key, account)| (rank(account), key.clone())).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        for (_, key) in ranked.split_off(MOST_ACCOUNTS / 2) {
            self.by_key.remove(&key);
            self.over.remove(&key);
        }
    }
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
