//! Adding up what keys have used of their budgets.

use super::*;
use wasmrun_runtime::model::budget::{AccountId, BudgetUnit, MOST_AMOUNT};
use wasmrun_runtime::model::key::Key;
use wasmrun_runtime::ports::budgets::{BudgetStore, Charge, GRACE};

/// When the periods of these tests begin; the clock of a [`World`] stands at 1,700,000,000 s.
const BEGAN: u64 = 1_699_999_200;

fn budgets(world: &World, most: usize) -> SqliteBudgets {
    SqliteBudgets::open_with(&world.url("budgets.db"), world.clock(), most).unwrap()
}

fn charge(key: &str, amount: u64) -> Charge {
    let (key, unit) = (Key::new(key), BudgetUnit::Fuel);
    Charge { account: AccountId { key, unit, began: BEGAN, lasts: 3600 }, amount }
}

async fn sums(budgets: &SqliteBudgets, charges: Vec<Charge>) -> Vec<u64> {
    budgets.charge(charges).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn workers_share_accounts_of_which_each_has_its_key_its_unit_and_its_period() {
    let world = World::new();
    let (one, two) = (budgets(&world, 100), budgets(&world, 100));
    assert_eq!(sums(&one, vec![charge("a", 3), charge("b", 5)]).await, [3, 5]);
    assert_eq!(sums(&two, vec![charge("a", 4), charge("b", 0), charge("c", 0)]).await, [7, 5, 0]);
    let with = |change: fn(&mut AccountId)| {
        let mut other = charge("a", 1);
        change(&mut other.account);
        other
    };
    let others = vec![
        with(|account| account.unit = BudgetUnit::Cpu),
        with(|account| account.began += 3600),
        with(|account| account.lasts = 7200),
    ];
    assert_eq!(sums(&one, others).await, [1, 1, 1]);
    assert_eq!(sums(&two, vec![charge("a", 0)]).await, [7]);
}

#[tokio::test]
async fn any_key_is_only_data_and_no_sum_overflows() {
    let world = World::new();
    let hostile =
        ["control \u{1b}[2J\n\" '); DROP TABLE account; --", &"\u{1}".repeat(256), "", "*", "\u{202e}"];
    for round in 1..=3 {
        let budgets = budgets(&world, 100);
        let charges = hostile.iter().map(|key| charge(key, MOST_AMOUNT / 2)).collect();
        let expected = (MOST_AMOUNT / 2 * round).min(MOST_AMOUNT);
        assert_eq!(sums(&budgets, charges).await, [expected; 5]);
    }
    assert_eq!(sums(&budgets(&world, 100), vec![charge("large", u64::MAX)]).await, [MOST_AMOUNT]);
}

#[tokio::test]
async fn however_many_keys_there_are_the_file_remembers_a_bounded_number_and_those_that_used_most() {
    let world = World::new();
    let budgets = budgets(&world, 2000);
    assert_eq!(sums(&budgets, vec![charge("large", 1000)]).await, [1000]);
    for round in 0..100 {
        let charges = (0..1000).map(|index| charge(&format!("{round}-{index}"), 1)).collect();
        sums(&budgets, charges).await;
    }
    assert_eq!(sums(&budgets, vec![charge("large", 1)]).await, [1001]);
    drop(budgets);
    let file = rusqlite::Connection::open(world.dir.path().join("budgets.db")).unwrap();
    let count: u32 = file.query_row("SELECT count(*) FROM account", [], |row| row.get(0)).unwrap();
    assert!((1000..=2000).contains(&count), "{count}");
}

#[tokio::test]
async fn accounts_of_periods_that_are_over_make_room_first_after_a_grace() {
    let world = World::new();
    let budgets = budgets(&world, 2);
    let later = |key: &str| {
        let mut charge = charge(key, 1);
        charge.account.began += 3600;
        charge
    };
    sums(&budgets, vec![charge("a", 50), charge("b", 60)]).await;
    // The period ends at BEGAN + 3600, which is 2800 s from now.
    world.pass(2800 + GRACE.as_secs() as i64);
    sums(&budgets, vec![later("c"), later("d")]).await;
    assert_eq!(sums(&budgets, vec![charge("b", 0), later("c"), later("d")]).await, [0, 2, 2]);
}

#[tokio::test]
async fn a_file_of_another_kind_is_refused_and_opening_creates_none() {
    let world = World::new();
    drop(budgets(&world, 2));
    assert!(!world.dir.path().join("budgets.db").exists());
    let of_queues = world.url("jobs.db");
    drop(world.queue());
    assert!(SqliteBudgets::open(&of_queues).unwrap_err().to_string().contains("another application"));
    let part = SqliteBudgets::open(&format!("{of_queues}#x")).unwrap_err().to_string();
    assert!(part.contains("one budget store"), "{part}");
}
