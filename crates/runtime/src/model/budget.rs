//! Budgets: how much the tasks of one key may use in a period.
//!
//! Periods have a fixed length and begin at whole multiples of it since 1970, so that all workers mean the same period
//! without talking to each other.

use super::key::Key;
use super::usage::Usage;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Lengths of periods, in seconds: from ten seconds to 31 days.
pub const PERIODS: RangeInclusive<u64> = 10..=31 * 24 * 3600;
/// Maximum amount, so that sums of two never overflow the numbers of SQLite.
pub const MOST_AMOUNT: u64 = i64::MAX as u64 / 4;
/// Number of the parts of a currency in which costs are counted: one task may cost less than a millionth.
pub const PARTS_OF_CURRENCY: f64 = 1e12;

/// What a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BudgetUnit {
    /// Fuel.
    Fuel,
    /// CPU time, in microseconds.
    Cpu,
    /// Cost, in [`PARTS_OF_CURRENCY`].
    Cost,
}

impl BudgetUnit {
    /// All units.
    pub const ALL: [Self; 3] = [Self::Fuel, Self::Cpu, Self::Cost];

    /// Returns the name in settings and stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::Cpu => "cpu",
            Self::Cost => "cost",
        }
    }

    /// Returns the unit with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.as_str() == name)
    }

    /// Returns how much a task has used. `cost` returns its cost in [`PARTS_OF_CURRENCY`].
    pub fn of(self, usage: &Usage, cost: impl Fn(&Usage) -> u64) -> u64 {
        let amount = match self {
            Self::Fuel => usage.fuel,
            Self::Cpu => u64::try_from(usage.cpu.as_micros()).unwrap_or(MOST_AMOUNT),
            Self::Cost => cost(usage),
        };
        amount.min(MOST_AMOUNT)
    }

    /// Returns an amount as people write it: fuel, seconds or units of the currency.
    pub fn shown(self, amount: u64) -> f64 {
        match self {
            Self::Fuel => amount as f64,
            Self::Cpu => amount as f64 / 1e6,
            Self::Cost => amount as f64 / PARTS_OF_CURRENCY,
        }
    }
}

/// How much the tasks of a key may use in each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// What is counted.
    pub unit: BudgetUnit,
    /// The amount that may be used, at most [`MOST_AMOUNT`].
    pub amount: NonZeroU64,
    /// Length of a period in seconds, within [`PERIODS`].
    pub period: NonZeroU64,
}

impl Budget {
    /// Returns the account of a key in the period of a time, which is counted from 1970.
    pub fn account(&self, key: &Key, now: Duration) -> AccountId {
        let began = now.as_secs() / self.period.get() * self.period.get();
        AccountId { key: key.clone(), unit: self.unit, began, lasts: self.period.get() }
    }
}

/// The account of a key in one period.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId {
    /// The key.
    pub key: Key,
    /// What is counted.
    pub unit: BudgetUnit,
    /// When the period began, in seconds since 1970.
    pub began: u64,
    /// Length of the period in seconds.
    pub lasts: u64,
}

impl AccountId {
    /// Returns when the period ends, in seconds since 1970.
    pub fn ends(&self) -> u64 {
        self.began.saturating_add(self.lasts)
    }
}

/// The budgets of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    /// Budgets of single keys; `None`: the key has none, even if others have one.
    pub keys: BTreeMap<Key, Option<Budget>>,
    /// The budget of each other key; `None`: they have none.
    pub others: Option<Budget>,
}

impl Budgets {
    /// Returns the budget of a key.
    pub fn of(&self, key: &Key) -> Option<Budget> {
        self.keys.get(key).copied().unwrap_or(self.others)
    }

    /// Returns whether no key has a budget.
    pub fn is_empty(&self) -> bool {
        self.others.is_none() && self.keys.values().all(Option::is_none)
    }

    /// Returns whether a budget counts this unit.
    pub fn count(&self, unit: BudgetUnit) -> bool {
        self.keys.values().flatten().chain(&self.others).any(|budget| budget.unit == unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(period: u64) -> Budget {
        let number = |number| NonZeroU64::new(number).expect("above zero");
        Budget { unit: BudgetUnit::Fuel, amount: number(1), period: number(period) }
    }

    #[test]
    fn periods_follow_each_other_without_a_gap_and_do_not_depend_on_the_worker() {
        let key = Key::new("a");
        let account = |seconds| budget(3600).account(&key, Duration::from_secs(seconds));
        assert_eq!(account(7200), account(10_799));
        assert_eq!((account(7200).ends(), account(10_800).began), (10_800, 10_800));
        assert_eq!(account(0).began, 0);
    }

    #[test]
    fn a_key_with_a_budget_of_its_own_or_with_none_does_not_have_that_of_others() {
        let (own, others) = (budget(10), budget(60));
        let keys = BTreeMap::from([(Key::new("own"), Some(own)), (Key::new("free"), None)]);
        let budgets = Budgets { keys, others: Some(others) };
        let of = |key| budgets.of(&Key::new(key));
        assert_eq!(
            (of("own"), of("free"), of("another"), of("-")),
            (Some(own), None, Some(others), Some(others))
        );
        assert!(!budgets.is_empty() && budgets.count(BudgetUnit::Fuel) && !budgets.count(BudgetUnit::Cost));
        let keys = BTreeMap::from([(Key::new("free"), None)]);
        assert!(Budgets { keys, others: None }.is_empty());
    }

    #[test]
    fn no_usage_exceeds_what_a_store_can_add_up() {
        let usage = Usage { fuel: u64::MAX, cpu: Duration::MAX, ..Usage::default() };
        for unit in BudgetUnit::ALL {
            assert_eq!(unit.of(&usage, |_| u64::MAX), MOST_AMOUNT);
            assert_eq!(BudgetUnit::named(unit.as_str()), Some(unit));
        }
        assert_eq!(BudgetUnit::Cpu.shown(1_500_000), 1.5);
    }
}
