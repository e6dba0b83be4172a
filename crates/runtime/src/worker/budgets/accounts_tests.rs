use super::*;
use crate::model::budget::BudgetUnit;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::num::NonZeroU64;

const HOUR: u64 = 3600;
const NOW: Duration = Duration::from_secs(1000 * HOUR + 5);

fn budget(amount: u64) -> Budget {
    let number = |number| NonZeroU64::new(number).expect("above zero");
    Budget { unit: BudgetUnit::Fuel, amount: number(amount), period: number(HOUR) }
}

fn accounts(amount: u64) -> Accounts {
    Accounts::new(Budgets { keys: BTreeMap::new(), others: Some(budget(amount)) })
}

fn key(name: &str) -> Key {
    Key::new(name)
}

/// Answers all that is due as a store in which others have used `others` of each account.
fn answer(accounts: &mut Accounts, active: Option<&[&str]>, others: u64) -> Vec<Charge> {
    let active = active.map(|names| names.iter().map(|name| key(name)).collect());
    let due = accounts.due(active.as_ref());
    for charge in &due {
        accounts.answered(charge, Some(charge.amount + others));
    }
    due
}

#[test]
fn a_key_waits_for_the_store_once_and_runs_one_task_at_a_time_when_it_is_over() {
    let mut accounts = accounts(10);
    let a = key("a");
    assert!(accounts.received(&a, NOW));
    assert_eq!(accounts.most_running(&a), 0);
    assert_eq!(answer(&mut accounts, None, 9).len(), 1);
    assert!(!accounts.received(&a, NOW));
    assert_eq!(accounts.most_running(&a), usize::MAX);
    assert!(accounts.add(&a, |_| 1, NOW) && !accounts.add(&a, |_| 1, NOW), "it is over once");
    assert!(accounts.is_over(&a));
    assert_eq!(accounts.most_running(&a), 1);
    let spent = accounts.newly_over();
    assert_eq!((spent.len(), spent[0].used, &spent[0].key), (1, 10, &a));
    assert!(accounts.newly_over().is_empty());
    assert_eq!(accounts.left(&a, NOW), Duration::from_secs(HOUR - 5));
}

#[test]
fn a_key_without_a_budget_has_no_account() {
    let keys = BTreeMap::from([(key("free"), None), (key("own"), Some(budget(1)))]);
    let mut accounts = Accounts::new(Budgets { keys, others: None });
    for name in ["free", "another", "-"] {
        assert!(!accounts.received(&key(name), NOW) && !accounts.add(&key(name), |_| 100, NOW));
        assert_eq!(accounts.most_running(&key(name)), usize::MAX);
    }
    assert!(accounts.by_key.is_empty());
    assert!(accounts.add(&key("own"), |_| 1, NOW));
}

#[test]
fn what_is_used_during_a_charge_is_charged_the_next_time() {
    let mut accounts = accounts(100);
    let a = key("a");
    accounts.add(&a, |_| 5, NOW);
    let due = accounts.due(Some(&HashSet::new()));
    accounts.add(&a, |_| 7, NOW);
    accounts.answered(&due[0], Some(25));
    assert_eq!((due[0].amount, accounts.by_key[&a].sum()), (5, 32));
    assert_eq!(answer(&mut accounts, Some(&[]), 25)[0].amount, 7);
    assert!(answer(&mut accounts, Some(&[]), 0).is_empty(), "nothing is due");
}

#[test]
fn while_the_store_fails_a_worker_counts_by_itself_and_charges_all_afterwards() {
    let mut accounts = accounts(10);
    let a = key("a");
    accounts.received(&a, NOW);
    let due = accounts.due(None);
    assert!(!accounts.answered(&due[0], None));
    assert_eq!(accounts.most_running(&a), usize::MAX);
    for _ in 0..9 {
        accounts.add(&a, |_| 1, NOW);
        let due = accounts.due(Some(&HashSet::new()));
        assert!(!accounts.answered(&due[0], None));
    }
    assert!(accounts.add(&a, |_| 1, NOW), "local counts go on");
    assert_eq!(answer(&mut accounts, Some(&[]), 0)[0].amount, 10);
}

#[test]
fn a_store_that_has_lost_an_account_gives_no_new_budget() {
    let mut accounts = accounts(10);
    let a = key("a");
    accounts.add(&a, |_| 6, NOW);
    answer(&mut accounts, Some(&[]), 0);
    accounts.add(&a, |_| 4, NOW);
    let due = accounts.due(Some(&HashSet::new()));
    accounts.answered(&due[0], Some(4));
    assert!(accounts.is_over(&a));
}

#[test]
fn keys_with_messages_are_read_each_time_until_they_are_over_so_that_others_count() {
    let mut accounts = accounts(10);
    accounts.received(&key("a"), NOW);
    accounts.received(&key("idle"), NOW);
    assert_eq!(answer(&mut accounts, None, 0).len(), 2);
    assert!(accounts.due(None).is_empty());
    let due = answer(&mut accounts, Some(&["a"]), 10);
    assert_eq!((due.len(), due[0].account.key.clone()), (1, key("a")));
    assert!(accounts.is_over(&key("a")) && !accounts.is_over(&key("idle")));
    assert!(answer(&mut accounts, Some(&["a"]), 10).is_empty());
}

#[test]
fn in_the_next_period_nothing_is_used_and_the_store_is_asked_again() {
    let mut accounts = accounts(10);
    let (a, next) = (key("a"), NOW + Duration::from_secs(HOUR));
    accounts.add(&a, |_| 10, NOW);
    assert!(!accounts.begin_periods(NOW) && accounts.is_over(&a));
    let late = accounts.due(Some(&HashSet::new()));
    assert!(accounts.begin_periods(next));
    assert!(!accounts.is_over(&a) && accounts.over().is_empty());
    assert_eq!(accounts.most_running(&a), usize::MAX, "a message that was held goes on");
    assert!(accounts.received(&a, next));
    // An answer about the old period changes nothing.
    accounts.answered(&late[0], Some(10));
    assert_eq!(accounts.most_running(&a), 0);
    let due = answer(&mut accounts, None, 0);
    assert_eq!(due[0].account.began, late[0].account.began + HOUR);
    assert!(accounts.add(&a, |_| 10, next) && accounts.newly_over().len() == 2);
}

#[test]
fn a_clock_that_is_set_back_begins_a_period_anew() {
    let mut accounts = accounts(10);
    let a = key("a");
    accounts.add(&a, |_| 10, NOW);
    assert!(accounts.begin_periods(NOW - Duration::from_secs(HOUR)));
    assert!(!accounts.is_over(&a));
    assert!(!accounts.begin_periods(NOW - Duration::from_secs(HOUR)));
}

#[test]
fn of_a_million_keys_a_bounded_number_is_remembered_and_those_that_are_over() {
    let mut accounts = accounts(10);
    accounts.add(&key("over"), |_| 10, NOW);
    for number in 0..1_000_000 {
        accounts.received(&key(&number.to_string()), NOW);
        if number % 3 == 0 {
            accounts.add(&key(&number.to_string()), |_| 1, NOW);
        }
        assert!(accounts.by_key.len() <= MOST_ACCOUNTS);
    }
    assert!(accounts.is_over(&key("over")));
    // Even if all of them are over.
    for number in 0..100_000 {
        accounts.add(&key(&number.to_string()), |_| 20, NOW);
        assert!(accounts.by_key.len() <= MOST_ACCOUNTS && accounts.over.len() <= accounts.by_key.len());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Use {
        worker: usize,
        key: u8,
        amount: u64,
    },
    /// Charges and asks the store, which may fail.
    Charge {
        worker: usize,
        fails: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..3_usize, 0..3_u8, 0..20_u64).prop_map(|(worker, key, amount)| Step::Use { worker, key, amount }),
        2 => (0..3_usize, any::<bool>()).prop_map(|(worker, fails)| Step::Charge { worker, fails }),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    #[test]
    fn whatever_fails_no_use_is_lost_or_counted_twice_and_no_key_is_parked_too_early(steps in steps()) {
        const BUDGET: u64 = 200;
        let mut workers = [accounts(BUDGET), accounts(BUDGET), accounts(BUDGET)];
        let (mut store, mut used) = (BTreeMap::<Key, u64>::new(), BTreeMap::<Key, u64>::new());
        let mut charge = |accounts: &mut Accounts, fails: bool, all: &HashSet<Key>| {
            for charge in accounts.due(Some(all)) {
                let sum = (!fails).then(|| {
                    let sum = store.entry(charge.account.key.clone()).or_default();
                    *sum += charge.amount;
                    *sum
                });
                accounts.answered(&charge, sum);
            }
            store.clone()
        };
        let all: HashSet<Key> = (0..3).map(|number| key(&number.to_string())).collect();
        for step in steps {
            match step {
                Step::Use { worker, key: number, amount } => {
                    let key = key(&number.to_string());
                    workers[worker].add(&key, |_| amount, NOW);
                    *used.entry(key).or_default() += amount;
                }
                Step::Charge { worker, fails } => drop(charge(&mut workers[worker], fails, &all)),
            }
            for (accounts, key) in workers.iter().flat_map(|accounts| accounts.over().iter().map(move |key| (accounts, key))) {
                prop_assert!(used[key] >= BUDGET);
                prop_assert!(accounts.is_over(key));
            }
        }
        // Twice, so that each worker learns what the last one charged.
        for _ in 0..2 {
            workers.iter_mut().for_each(|accounts| drop(charge(accounts, false, &all)));
        }
        let store = charge(&mut workers[0], false, &all);
        for (key, used) in used {
            prop_assert_eq!(store.get(&key).copied().unwrap_or_default(), used);
            let knows = workers.iter().filter(|accounts| accounts.by_key.contains_key(&key));
            prop_assert!(knows.clone().all(|accounts| accounts.is_over(&key) == (used >= BUDGET)));
        }
    }
}
