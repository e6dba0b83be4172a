use super::*;
use crate::model::budget::{Budget, BudgetUnit, Budgets};
use crate::model::key::KeySource;
use crate::ports::memory::MemoryStore;
use crate::ports::object_budgets::ObjectBudgets;
use crate::worker::holding::LEAST_HELD;
use crate::worker::keyed::KeyOptions;
use crate::worker::keyed::tests::{LIMIT, TIMEOUT, World, add, groups, long_ago};
use crate::worker::shares::ShareOptions;
use proptest::prelude::*;
use std::collections::{BTreeSet, HashSet};
use std::num::NonZeroU64;
use std::sync::Arc;

const BUDGET: u64 = 10;

/// A hold in which each key may use [`BUDGET`] fuel in a period that doesn't end during a test.
fn held(over: OverBudget) -> Arc<KeyedMessages> {
    let number = |number| NonZeroU64::new(number).expect("above zero");
    let budget = Budget { unit: BudgetUnit::Fuel, amount: number(BUDGET), period: number(31 * 24 * 3600) };
    let budgets = Budgets { others: Some(budget), ..Budgets::default() };
    let store = Arc::new(ObjectBudgets::new(Arc::new(MemoryStore::new("budgets"))));
    let options = BudgetOptions { budgets, over, store, cost: Arc::new(|_| 0) };
    let keys = KeyOptions { source: KeySource::Group, shares: ShareOptions::default() };
    KeyedMessages::new(keys, Some(options))
}

/// Answers all that is due: all workers together have used this amount of each account. `None`: the store fails.
fn answer(keyed: &KeyedMessages, sum: Option<u64>) {
    let due = keyed.due(true);
    keyed.answered(due.iter().map(|charge| (charge, sum)).collect());
}

fn used(leased: &LeasedMessage, fuel: u64) {
    leased.key_permit.as_ref().expect("a permit").charge(&Usage { fuel, ..Usage::default() });
}

/// The messages that must be released now.
fn parked(keyed: &KeyedMessages) -> Vec<LeasedMessage> {
    keyed.parked().into_iter().map(|(_, leased)| leased).collect()
}

/// The groups of the messages that must be released now.
fn released(keyed: &KeyedMessages) -> Vec<String> {
    let parked = parked(keyed);
    groups(&parked).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn the_first_message_of_a_key_waits_until_the_store_has_answered() {
    let world = World::new();
    for (sum, starts, leaves) in [(Some(0), 1, 0), (Some(BUDGET), 0, 1), (None, 1, 0)] {
        let keyed = held(OverBudget::Park);
        add(&keyed, world.receive_all(&["a"]).await);
        assert!(keyed.take(1).is_empty());
        assert_eq!((keyed.due(false).len(), keyed.len()), (1, 1));
        answer(&keyed, sum);
        let started = keyed.take(1);
        assert_eq!((started.len(), released(&keyed).len()), (starts, leaves), "{sum:?}");
        assert!(keyed.due(false).is_empty() && keyed.is_empty());
    }
}

#[tokio::test]
async fn while_the_store_does_not_answer_no_message_is_released_for_it() {
    let world = World::new();
    let keyed = held(OverBudget::Park);
    add(&keyed, world.receive_all(&["a"; LEAST_HELD]).await);
    long_ago(&keyed);
    assert!(keyed.take(1).is_empty() && keyed.room(LIMIT) == 0);
    assert!(keyed.surplus(LIMIT, true, TIMEOUT).is_empty());
}

#[tokio::test]
async fn a_key_that_is_over_is_parked_with_what_it_has_waiting_and_others_go_on() {
    let world = World::new();
    let keyed = held(OverBudget::Park);
    add(&keyed, world.receive_all(&["a", "a", "a", "b", "b"]).await);
    answer(&keyed, Some(0));
    let running = keyed.take(2);
    assert_eq!(groups(&running), ["a", "b"]);
    used(&running[0], BUDGET - 1);
    assert!(released(&keyed).is_empty() && keyed.over_budget().keys == 0);
    used(&running[0], 1);
    assert_eq!(keyed.over_budget(), OverBudgetStatus { keys: 1, named: vec!["a".into()] });
    drop(running);
    assert_eq!(groups(&keyed.take(9)), ["b"]);
    // What arrives later isn't held, either, and the queue is asked for other groups.
    add(&keyed, world.receive_all(&["a"]).await);
    assert_eq!(keyed.len(), 3);
    assert_eq!(released(&keyed), ["a"; 3]);
    assert_eq!((keyed.len(), keyed.lock().bytes), (0, 0));
    assert_eq!(keyed.groups(LIMIT).expect("groups").except, ["a"]);
}

#[tokio::test]
async fn messages_are_released_until_the_period_ends() {
    let world = World::new();
    let keyed = held(OverBudget::Park);
    add(&keyed, world.receive_all(&["a"; 5]).await);
    answer(&keyed, Some(BUDGET));
    let before = now();
    let parked = keyed.parked();
    let period = 31 * 24 * 3600;
    for (delay, _) in &parked {
        let (earliest, latest) = (before + *delay, now() + *delay);
        let end = Duration::from_secs(latest.as_secs() / period * period) + MARGIN;
        assert!((earliest..=latest).contains(&end), "{end:?}");
    }
    assert_eq!(parked.len(), 5);
}

#[tokio::test]
async fn with_trickle_a_key_that_is_over_runs_one_task_at_a_time() {
    let world = World::with_max_receives(Some(5));
    let keyed = held(OverBudget::Trickle);
    add(&keyed, world.receive_all(&["a", "a", "a", "b"]).await);
    answer(&keyed, Some(BUDGET));
    let mut running = keyed.take(9);
    assert_eq!(groups(&running).len(), 2);
    running.retain(|leased| leased.message.group.as_deref() == Some("b"));
    assert_eq!(groups(&keyed.take(9)), ["a"]);
    assert!(released(&keyed).is_empty());
    assert!(keyed.groups(LIMIT).expect("groups").except.is_empty());
}

#[tokio::test]
async fn a_message_that_has_only_the_receives_left_that_belong_to_errors_is_not_parked() {
    let world = World::with_max_receives(Some(5));
    let keyed = held(OverBudget::Park);
    let mut messages = Vec::new();
    for count in [3, 1, 3, 2, 5] {
        messages.push(world.receive("a", count, 1).await);
    }
    add(&keyed, messages);
    answer(&keyed, Some(BUDGET));
    let counts = |messages: &[LeasedMessage]| -> Vec<u32> {
        messages.iter().map(|leased| leased.message.receive_count).collect()
    };
    assert_eq!(counts(&parked(&keyed)), [1, 2]);
    let first = keyed.take(9);
    assert_eq!(counts(&first), [3], "one at a time");
    add(&keyed, vec![world.receive("a", 1, 1).await]);
    assert_eq!(released(&keyed), ["a"]);
    drop(first);
    assert_eq!(counts(&keyed.take(9)), [3]);
}

#[tokio::test]
async fn of_several_queues_each_says_which_of_its_messages_may_be_parked() {
    let (counting, other) = (World::with_max_receives(Some(2)), World::new());
    let keyed = held(OverBudget::Park);
    let messages = vec![counting.receive("a", 2, 1).await, other.receive("a", 3, 1).await];
    add(&keyed, messages);
    answer(&keyed, Some(BUDGET));
    assert_eq!(released(&keyed), ["a"]);
    assert_eq!(keyed.take(9)[0].message.receive_count, 2);
    add(&keyed, vec![other.receive("a", 1000, 1).await]);
    assert_eq!(released(&keyed), ["a"]);
}

#[tokio::test]
async fn a_stop_takes_what_is_parked_too() {
    let world = World::new();
    let keyed = held(OverBudget::Park);
    add(&keyed, world.receive_all(&["a", "b"]).await);
    answer(&keyed, Some(BUDGET));
    assert_eq!(keyed.close().len(), 2);
    assert!(keyed.is_empty() && released(&keyed).is_empty());
}

#[tokio::test]
async fn who_waits_is_woken_when_the_store_answers() {
    let world = World::new();
    let keyed = held(OverBudget::Park);
    let never = tokio_util::sync::CancellationToken::new();
    let message = world.receive("a", 1, 1).await;
    let answering = async {
        add(&keyed, vec![message]);
        keyed.has_due().await;
        answer(&keyed, Some(0));
    };
    let (started, ()) = tokio::join!(keyed.next(1, false, Duration::from_secs(3600), &never), answering);
    assert_eq!(groups(&started), ["a"]);
}

#[derive(Clone, Debug)]
enum Step {
    Receive(u8, u32),
    Start(usize),
    End(usize, u64),
    HoldAgain(usize),
    /// The store answers that others have used this amount; `None`: it fails.
    Answer(Option<u64>),
    Release,
    Surplus,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4_u8, 1..8_u32).prop_map(|(group, count)| Step::Receive(group, count)),
        3 => (1..5_usize).prop_map(Step::Start),
        2 => (any::<usize>(), 0..6_u64).prop_map(|(which, fuel)| Step::End(which, fuel)),
        1 => any::<usize>().prop_map(Step::HoldAgain),
        2 => proptest::option::of(0..12_u64).prop_map(Step::Answer),
        2 => Just(Step::Release),
        1 => Just(Step::Surplus),
    ];
    proptest::collection::vec(step, 0..150)
}

/// Runs a schedule. Panics if a message is lost or comes twice, a message of a parked key starts that may wait, more than
/// one task of a key starts while it is over, or a message is released that has only the receives left that belong to
/// errors.
async fn any_schedule(steps: Vec<Step>, over: OverBudget, max_receives: u32) {
    let world = World::with_max_receives(Some(max_receives));
    let keyed = held(over);
    let (mut received, mut ended) = (0, BTreeSet::new());
    let mut running: Vec<LeasedMessage> = Vec::new();
    for step in steps {
        let is_over: HashSet<Key> =
            keyed.lock().parking.iter().flat_map(|parking| parking.accounts.over().clone()).collect();
        match step {
            Step::Receive(group, count) if keyed.room(LIMIT) > 0 => {
                add(&keyed, vec![world.receive(&group.to_string(), count, 1).await]);
                received += 1;
            }
            Step::Start(most) => {
                let started = keyed.take(most);
                for key in &is_over {
                    let of_key = |leased: &&LeasedMessage| *key == key_of(leased);
                    let new = started.iter().filter(of_key).count();
                    let before = running.iter().filter(of_key).count();
                    assert!(new == 0 || new == 1 && before == 0, "{new} {before}");
                }
                let waits = |leased: &LeasedMessage| {
                    over == OverBudget::Park
                        && is_over.contains(&key_of(leased))
                        && leased.message.receive_count <= max_receives / 2
                };
                assert!(!started.iter().any(waits));
                running.extend(started);
            }
            Step::End(which, fuel) if !running.is_empty() => {
                let leased = running.swap_remove(which % running.len());
                used(&leased, fuel);
                assert!(ended.insert(leased.message.id.clone()));
            }
            Step::HoldAgain(which) if !running.is_empty() => {
                let leased = running.swap_remove(which % running.len());
                assert!(keyed.hold_again(vec![leased]).is_empty());
            }
            Step::Answer(sum) => answer(&keyed, sum),
            Step::Release => {
                for leased in parked(&keyed) {
                    assert!(leased.message.receive_count <= max_receives / 2);
                    assert!(ended.insert(leased.message.id.clone()));
                }
            }
            Step::Surplus => {
                for leased in keyed.surplus(LIMIT, true, TIMEOUT) {
                    assert!(leased.message.receive_count <= max_receives / 2);
                    assert!(ended.insert(leased.message.id.clone()));
                }
            }
            Step::Receive(..) | Step::End(..) | Step::HoldAgain(_) => {}
        }
        assert_eq!(keyed.len() + running.len() + ended.len(), received);
        assert_eq!(world.leases.running(0).0, running.len());
    }
}

fn key_of(leased: &LeasedMessage) -> Key {
    Key::new(leased.message.group.as_deref().unwrap_or_default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_schedule_loses_a_message_or_takes_a_receive_that_belongs_to_errors(
        steps in steps(),
        trickles in any::<bool>(),
        max_receives in 1..10_u32,
    ) {
        let over = if trickles { OverBudget::Trickle } else { OverBudget::Park };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(any_schedule(steps, over, max_receives));
    }
}
