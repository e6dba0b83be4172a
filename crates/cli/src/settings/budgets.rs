//! Merges the settings of budgets: how much the tasks of each key may use in a period.

use super::SettingsGroup;
use super::keys::{OTHERS, by_key};
use super::named::BUDGET;
use super::needs::{KEYS, no_effect};
use super::text::{Written, expected, named_texts};
use super::worker::WorkerSettings;
use crate::output::failure::Failure;
use serde::Deserializer;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;
use wasmrun_runtime::model::budget::{Budget, BudgetUnit, Budgets, MOST_AMOUNT, PARTS_OF_CURRENCY, PERIODS};
use wasmrun_runtime::worker::OverBudget;

/// The value of `--budget` that switches the budgets of variables and the file off.
pub(super) const NO_BUDGETS: &str = "off";
/// Largest cost of a budget.
const MOST_COST: f64 = 1e6;

/// Budgets, and where workers share what is used of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BudgetPlan {
    pub(crate) budgets: Budgets,
    pub(crate) over: OverBudget,
    /// URL of the budget store.
    pub(crate) store: String,
    /// Path of the price table; `None`: the built-in one.
    pub(crate) prices: Option<PathBuf>,
}

/// Merges the budgets with the settings that belong to them; `None` if no key has one. Those settings are refused if no
/// budget is named. They may stay if budgets are switched off, as flags can't take them out of the file.
pub(crate) fn budget_plan(
    worker: &WorkerSettings,
    flags: &[String],
    file: BTreeMap<String, String>,
) -> Result<Option<BudgetPlan>, Failure> {
    let is_off = flags.iter().any(|flag| flag == NO_BUDGETS);
    let (budgets, is_named) = budgets(flags, file)?;
    if budgets.is_empty() && is_named {
        return Ok(None);
    }
    if budgets.is_empty() {
        return match worker.budgets.first_set() {
            Some(flag) => Err(no_effect(&flag, "budgets: add --budget, such as --budget acme=cpu:10m/1d")),
            None => Ok(None),
        };
    }
    if worker.keys.key.is_none() {
        return Err(no_effect("budget", KEYS));
    }
    let Some(store) = worker.budgets.budget_store.clone() else {
        return Err(Failure::usage(
            "--budget needs a place to count what keys use: add --budget-store sqlite:FILE or s3://BUCKET/PREFIX",
        ));
    };
    let mut all = budgets.keys.values().flatten().chain(&budgets.others);
    let has_cost = all.any(|budget| budget.unit == BudgetUnit::Cost);
    if worker.budgets.prices.is_some() && !has_cost && !is_off {
        return Err(no_effect("prices", "a budget of cost, such as --budget acme=cost:2.50/30d"));
    }
    let prices = worker.budgets.prices.clone().filter(|_| has_cost);
    Ok(Some(BudgetPlan { budgets, over: worker.budgets.over_budget.unwrap_or_default(), store, prices }))
}

/// Merges the budgets of flags, variables and the file. Also returns whether any is named, such as one that is off.
fn budgets(flags: &[String], file: BTreeMap<String, String>) -> Result<(Budgets, bool), Failure> {
    let (off, flags): (Vec<String>, Vec<String>) = flags.iter().cloned().partition(|flag| flag == NO_BUDGETS);
    let merged = if off.is_empty() { BUDGET.merged(&flags, file)? } else { BUDGET.pairs(&flags)? };
    let mut budgets = Budgets::default();
    let named = by_key(&BUDGET, merged)?;
    let is_named = !named.is_empty() || !off.is_empty();
    for (key, text) in named {
        let Setting(budget) =
            Setting::read(&text).map_err(|why| Failure::usage(format!("--budget {key}={text}: {why}")))?;
        if key.as_str() == OTHERS {
            budgets.others = budget;
        } else {
            budgets.keys.insert(key, budget);
        }
    }
    Ok((budgets, is_named))
}

/// Reads the table of the configuration file.
pub(super) fn budgets_of_file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    named_texts(deserializer, |_, text| Setting::read(text).map(drop))
}

/// A budget as it is written; `None` for `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Setting(Option<Budget>);

impl Written for Setting {
    const FORM: &'static str = "fuel:AMOUNT/PERIOD, cpu:DURATION/PERIOD, cost:AMOUNT/PERIOD or off, such as fuel:20G/1h, cpu:10m/1d or cost:2.50/30d";

    fn read(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let (unit, rest) = text.split_once(':').ok_or_else(expected::<Self>)?;
        let (amount, period) = rest.split_once('/').ok_or_else(expected::<Self>)?;
        let unit = BudgetUnit::named(unit).ok_or_else(expected::<Self>)?;
        let amount = match unit {
            BudgetUnit::Fuel => fuel(amount),
            BudgetUnit::Cpu => cpu_us(amount),
            BudgetUnit::Cost => cost(amount),
        };
        let amount = amount.ok_or_else(expected::<Self>)?;
        let amount = NonZeroU64::new(amount).ok_or("the amount is zero: a key needs something to spend")?;
        if amount.get() > MOST_AMOUNT {
            return Err("the amount is too large".into());
        }
        let period = Duration::read(period)?;
        let is_whole = period.subsec_nanos() == 0 && PERIODS.contains(&period.as_secs());
        let period = NonZeroU64::new(period.as_secs()).filter(|_| is_whole);
        let period = period.ok_or("the period is not one of whole seconds from 10s to 31d")?;
        Ok(Self(Some(Budget { unit, amount, period })))
    }
}

/// Reads a number of units of fuel, such as 5000000 or 20G.
fn fuel(text: &str) -> Option<u64> {
    let (digits, factor) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1_000),
        b'M' => (&text[..text.len() - 1], 1_000_000),
        b'G' => (&text[..text.len() - 1], 1_000_000_000),
        b'T' => (&text[..text.len() - 1], 1_000_000_000_000),
        _ => (text, 1_u64),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(factor))
}

fn cpu_us(text: &str) -> Option<u64> {
    let time = Duration::read(text).ok()?;
    u64::try_from(time.as_micros()).ok()
}

/// Reads an amount of the currency of the price table.
fn cost(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let amount: f64 = text.parse().ok().filter(|_| is_number)?;
    // Bounded, so no digit is lost.
    Some(if amount > MOST_COST { u64::MAX } else { (amount * PARTS_OF_CURRENCY).round() as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::worker::{BudgetSettings, KeySettings};
    use wasmrun_runtime::model::key::Key;

    fn read(text: &str) -> Result<(BudgetUnit, u64, u64), String> {
        let Setting(budget) = Setting::read(text)?;
        budget.map(|budget| (budget.unit, budget.amount.get(), budget.period.get())).ok_or("off".into())
    }

    fn plan(worker: WorkerSettings, flags: &[&str], file: &str) -> Result<Option<BudgetPlan>, String> {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        budget_plan(&worker, &flags, toml::from_str(file).expect("a table"))
            .map_err(|error| error.to_string())
    }

    fn with_store() -> WorkerSettings {
        let keys = KeySettings { key: Some("group".parse().expect("a source")), ..KeySettings::default() };
        let budgets =
            BudgetSettings { budget_store: Some("sqlite:budgets.db".into()), ..BudgetSettings::default() };
        WorkerSettings { keys, budgets, ..WorkerSettings::default() }
    }

    fn with_prices(worker: WorkerSettings) -> WorkerSettings {
        let prices = Some("mine.toml".into());
        WorkerSettings { budgets: BudgetSettings { prices, ..worker.budgets }, ..worker }
    }

    #[test]
    fn a_budget_is_fuel_cpu_time_or_cost_in_a_period() {
        assert_eq!(read("fuel:5000000/1m"), Ok((BudgetUnit::Fuel, 5_000_000, 60)));
        assert_eq!(read("fuel:20G/1h"), Ok((BudgetUnit::Fuel, 20_000_000_000, 3600)));
        assert_eq!(read("fuel:3k/10s"), Ok((BudgetUnit::Fuel, 3000, 10)));
        assert_eq!(read("cpu:10m/1d"), Ok((BudgetUnit::Cpu, 600_000_000, 86_400)));
        assert_eq!(read("cost:2.50/30d"), Ok((BudgetUnit::Cost, 2_500_000_000_000, 2_592_000)));
        assert_eq!(read("cost:1000000/31d"), Ok((BudgetUnit::Cost, 1_000_000_000_000_000_000, 2_678_400)));
        assert_eq!(Setting::read("off"), Ok(Setting(None)));
    }

    #[test]
    fn any_other_text_is_refused_with_what_is_wrong() {
        for text in [
            "",
            "20G/1h",
            "fuel:20G",
            "fuel:/1h",
            "fuel:G/1h",
            "fuel:-1/1h",
            "fuel:+1/1h",
            "fuel:1.5G/1h",
            "fuel:1Ki/1h",
            "fuel:\u{20ac}/1h",
            "cpu:5/1h",
            "cost:/1h",
            "cost:./1h",
            "cost:-1/1h",
            "cost:inf/1h",
            "cost:NaN/1h",
            "cost:1e3/1h",
            "cost:1.2.3/1h",
            "gold:1/1h",
            "FUEL:1/1h",
            "none",
        ] {
            let error = Setting::read(text).expect_err(text);
            assert!(error.contains("such as fuel:20G/1h"), "{text}: {error}");
        }
        for text in ["fuel:0/1h", "cpu:0s/1h", "cost:0/1h", "cost:0.0000000000001/1h"] {
            assert!(Setting::read(text).expect_err(text).contains("zero"), "{text}");
        }
        for text in [
            "fuel:99999999T/1h",
            "fuel:99999999999999999999/1h",
            "cost:1000001/1h",
            "cost:99999999999999999999/1h",
        ] {
            assert!(Setting::read(text).expect_err(text).contains("too large"), "{text}");
        }
        for text in ["fuel:1/9s", "fuel:1/32d", "fuel:1/10500ms", "fuel:1/0s"] {
            assert!(Setting::read(text).expect_err(text).contains("10s to 31d"), "{text}");
        }
        assert!(Setting::read("fuel:1/x").expect_err("x").contains("a duration"));
    }

    #[test]
    fn flags_win_over_the_file_by_key_and_a_star_stands_for_all_others() {
        let flags = ["a=b=fuel:1/1h", "*=cpu:1s/1m", "free=off"];
        let file = "'a=b' = 'fuel:2/1h'\n'c d' = 'cost:3/1d'";
        let BudgetPlan { budgets, over, store, prices } =
            plan(with_store(), &flags, file).expect("valid").expect("budgets");
        let amount = |key: &str| budgets.of(&Key::new(key)).map(|budget| budget.amount.get());
        assert_eq!(amount("a=b"), Some(1));
        assert_eq!(amount("c d"), Some(3_000_000_000_000));
        assert_eq!(
            (amount("free"), amount("another"), amount("-")),
            (None, Some(1_000_000), Some(1_000_000))
        );
        assert_eq!((over, store.as_str(), prices), (OverBudget::Park, "sqlite:budgets.db", None));
        assert_eq!(plan(WorkerSettings::default(), &[], ""), Ok(None));
    }

    #[test]
    fn flags_switch_budgets_off_one_by_one_or_all_at_once_and_their_store_may_stay() {
        let file = "acme = 'fuel:1/1h'\n'*' = 'fuel:2/1h'";
        let switched_off = |flags: &[&str]| plan(with_store(), flags, file).expect("valid");
        assert_eq!(switched_off(&["off"]), None);
        assert_eq!(switched_off(&["acme=off", "*=off"]), None);
        let of_flags = switched_off(&["off", "other=fuel:3/1h"]).expect("budgets").budgets;
        assert_eq!((of_flags.keys.len(), of_flags.others), (1, None));
        // The price table may stay, too.
        let of_flags = plan(with_prices(with_store()), &["off", "other=fuel:3/1h"], "'*' = 'cost:1/1h'");
        assert_eq!(of_flags.expect("valid").expect("budgets").prices, None);
        // A key may have this name, too.
        let named = switched_off(&["off=fuel:4/1h"]).expect("budgets").budgets;
        assert_eq!(named.of(&Key::new("off")).map(|budget| budget.amount.get()), Some(4));
        assert_eq!(named.keys.len(), 2);
        // Neither a key nor a store is needed.
        assert_eq!(plan(WorkerSettings::default(), &["off"], file), Ok(None));
    }

    #[test]
    fn what_has_no_effect_or_lacks_something_is_refused() {
        let refused = |worker, flags: &[&str], text: &str| {
            let error = plan(worker, flags, "").expect_err(text);
            assert!(error.contains(text), "{error}");
        };
        let budget = &["a=fuel:1/1h"][..];
        refused(with_store(), &["a=fuel:1/1h", "a=fuel:1/1h"], "--budget names a twice");
        refused(with_store(), &[], "--budget-store has no effect");
        refused(with_prices(WorkerSettings::default()), &[], "--prices has no effect");
        refused(with_prices(with_store()), budget, "without a budget of cost");
        let costs = plan(with_prices(with_store()), &["*=cost:1/1h"], "").expect("valid").expect("budgets");
        assert_eq!(costs.prices, Some("mine.toml".into()));
        let budgets = BudgetSettings { over_budget: Some(OverBudget::Trickle), ..BudgetSettings::default() };
        refused(WorkerSettings { budgets, ..WorkerSettings::default() }, &[], "--over-budget has no effect");
        refused(WorkerSettings { keys: KeySettings::default(), ..with_store() }, budget, "add --key");
        let without_store = WorkerSettings { budgets: BudgetSettings::default(), ..with_store() };
        refused(without_store, budget, "add --budget-store");
        refused(with_store(), &["fuel:1/1h"], "incomplete");
        refused(with_store(), &["=fuel:1/1h"], "between 1 and 256 bytes");
        refused(with_store(), &[&format!("{}=fuel:1/1h", "x".repeat(257))], "between 1 and 256 bytes");
    }
}
