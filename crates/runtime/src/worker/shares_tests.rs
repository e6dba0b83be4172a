use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const MS: Duration = Duration::from_millis(1);

fn weighted(weights: &[(&str, u32)], max_per_key: Option<u32>) -> ShareOptions {
    let weight = |(key, weight): &(&str, u32)| (Key::new(key), NonZeroU32::new(*weight).expect("a weight"));
    ShareOptions {
        max_per_key: max_per_key.and_then(NonZeroU32::new),
        weights: weights.iter().map(weight).collect(),
        others: None,
    }
}

/// Runs tasks on `permits` permits until `tasks` have started. Each key always has messages, and its tasks take the
/// time that `takes` says. Returns the time that each key's tasks took.
fn shared(options: ShareOptions, permits: usize, tasks: usize, takes: &[(&str, Duration)]) -> Vec<f64> {
    let mut shares = Shares::new(options);
    for (key, _) in takes {
        for item in 0..permits + 1 {
            shares.add(&Key::new(key), item);
        }
    }
    let mut used = vec![0.0; takes.len()];
    let mut running: BTreeSet<(Duration, usize, Key, Duration)> = BTreeSet::new();
    let mut now = Duration::ZERO;
    for number in 0..tasks {
        if running.len() == permits {
            let (at, _, key, estimate) = running.pop_first().expect("one runs");
            let place = takes.iter().position(|(name, _)| *name == key.as_str()).expect("known");
            now = at;
            used[place] += takes[place].1.as_secs_f64();
            shares.ended(&key, estimate, takes[place].1);
        }
        let Started { key, estimate, .. } = shares.start().expect("all keys wait");
        let (_, time) = takes.iter().find(|(name, _)| *name == key.as_str()).expect("known");
        shares.add(&key, 0);
        running.insert((now + *time, number, key, estimate));
    }
    used
}

#[test]
fn keys_share_the_time_and_not_the_number_of_tasks() {
    for permits in [1, 4, 16] {
        let used = shared(ShareOptions::default(), permits, 20_000, &[("short", MS), ("long", 20 * MS)]);
        let ratio = used[0] / used[1];
        assert!((0.9..1.1).contains(&ratio), "{permits} permits: {used:?}");
    }
}

#[test]
fn weights_are_kept_within_a_tenth_over_a_hundred_thousand_tasks() {
    let options = weighted(&[("a", 1), ("b", 2), ("c", 7)], None);
    let used = shared(options, 8, 100_000, &[("a", 3 * MS), ("b", MS), ("c", 2 * MS)]);
    let all: f64 = used.iter().sum();
    for (used, share) in used.iter().zip([0.1, 0.2, 0.7]) {
        assert!((used / all / share - 1.0).abs() < 0.1, "{share}: {}", used / all);
    }
}

#[test]
fn all_other_keys_may_have_a_weight() {
    let options = ShareOptions { others: NonZeroU32::new(4), ..weighted(&[("a", 1)], None) };
    let used = shared(options, 8, 50_000, &[("a", MS), ("b", MS), ("c", 2 * MS)]);
    let all: f64 = used.iter().sum();
    for (used, share) in used.iter().zip([1.0 / 9.0, 4.0 / 9.0, 4.0 / 9.0]) {
        assert!((used / all / share - 1.0).abs() < 0.1, "{share}: {}", used / all);
    }
}

#[test]
fn a_key_that_comes_later_starts_before_the_backlog_of_another() {
    let mut shares = Shares::new(ShareOptions::default());
    (0..200).for_each(|item| shares.add(&Key::new("big"), item));
    for _ in 0..10 {
        let started = shares.start().expect("one");
        shares.ended(&started.key, started.estimate, 5 * MS);
    }
    for key in 0..20 {
        shares.add(&Key::new(&key.to_string()), 1000);
    }
    let mut before = 0;
    let mut small = 0;
    while small < 20 {
        let started = shares.start().expect("one");
        if started.item == 1000 {
            small += 1
        } else {
            before += 1
        }
        shares.ended(&started.key, started.estimate, 5 * MS);
    }
    assert!(before <= 2, "{before} of the backlog came before the others");
}

#[test]
fn a_key_at_its_cap_lets_others_pass_and_waits_for_its_own() {
    let mut shares = Shares::new(weighted(&[], Some(1)));
    let (one, other) = (Key::new("one"), Key::new("other"));
    shares.add(&one, 1);
    shares.add(&one, 2);
    shares.add(&other, 3);
    let first = shares.start().expect("one");
    assert_eq!((first.item, shares.start().expect("other").item), (1, 3));
    assert!(!shares.can_start() && shares.start().is_none());
    shares.ended(&first.key, first.estimate, MS);
    assert!(shares.can_start());
    assert_eq!(shares.start().expect("the next").item, 2);
}

#[test]
fn in_turn_each_key_has_one_message_whatever_its_credit_and_its_debt() {
    let mut shares = Shares::new(weighted(&[("quick", 1000)], None));
    let next = |shares: &mut Shares<()>, in_turn| {
        let started = if in_turn { shares.start_in_turn(&|_| usize::MAX) } else { shares.start() };
        let started = started.expect("one");
        let is_quick = started.key.as_str() == "quick";
        shares.ended(&started.key, started.estimate, if is_quick { MS / 100 } else { 1000 * MS });
        started.key.as_str().to_owned()
    };
    for key in ["slow", "quick", "other"] {
        (0..5).for_each(|_| shares.add(&Key::new(key), ()));
    }
    let fair: Vec<_> = (0..5).map(|_| next(&mut shares, false)).collect();
    assert_eq!(fair, ["slow", "quick", "quick", "quick", "quick"]);
    (0..5).for_each(|_| shares.add(&Key::new("quick"), ()));
    let in_turn: Vec<_> = (0..6).map(|_| next(&mut shares, true)).collect();
    assert_eq!(in_turn, ["quick", "other", "slow", "quick", "other", "slow"]);
    let none = shares.start_in_turn(&|_| 0).map(|started| started.key);
    assert_eq!(none, None, "no task is to spare");
}

#[test]
fn a_debt_outlasts_a_pause_and_is_paid_off() {
    let mut shares = Shares::new(ShareOptions::default());
    let (heavy, light) = (Key::new("heavy"), Key::new("light"));
    shares.add(&heavy, 0);
    let started = shares.start().expect("heavy");
    shares.ended(&heavy, started.estimate, 100 * MS);
    shares.add(&heavy, 0);
    (0..200).for_each(|_| shares.add(&light, 1));
    let mut before = 0;
    loop {
        let started = shares.start().expect("one");
        shares.ended(&started.key, started.estimate, MS);
        if started.key == heavy {
            break;
        }
        before += 1;
    }
    assert!((80..130).contains(&before), "{before}");
}

#[test]
fn a_sender_of_many_keys_does_not_fill_the_memory() {
    let mut shares = Shares::new(ShareOptions::default());
    for number in 0..100_000 {
        shares.add(&Key::new(&number.to_string()), ());
        let started = shares.start().expect("one");
        shares.ended(&started.key, started.estimate, Duration::from_secs(3600));
    }
    assert!(shares.by_key.len() <= MOST_REMEMBERED + 1, "{}", shares.by_key.len());
    assert!(shares.round.is_empty());
}

#[test]
fn extreme_times_and_weights_neither_overflow_nor_starve() {
    let mut shares = Shares::new(weighted(&[("a", u32::MAX)], None));
    for _ in 0..100 {
        for key in ["a", "b"] {
            shares.add(&Key::new(key), key);
        }
    }
    let mut started = Vec::new();
    while let Some(Started { key, item, estimate }) = shares.start() {
        started.push(item);
        shares.ended(&key, estimate, Duration::MAX);
    }
    assert_eq!(started.len(), 200);
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Start,
    End(u8, u16),
    HoldAgain(u8),
    TakeOut(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..6_u8).prop_map(Step::Add),
        4 => Just(Step::Start),
        2 => (any::<u8>(), any::<u16>()).prop_map(|(which, time)| Step::End(which, time)),
        1 => any::<u8>().prop_map(Step::HoldAgain),
        1 => any::<u8>().prop_map(Step::TakeOut),
    ];
    proptest::collection::vec(step, 0..300)
}

proptest! {
    /// Any schedule of arrivals, starts, ends, releases and returns.
    #[test]
    fn no_schedule_loses_a_message_or_exceeds_a_cap(steps in steps(), max in 1..4_u32) {
        let mut shares = Shares::new(weighted(&[("1", 5), ("2", 1000)], Some(max)));
        let mut running: Vec<Started<usize>> = Vec::new();
        let (mut added, mut done) = (0, BTreeSet::new());
        for step in steps {
            match step {
                Step::Add(key) => {
                    shares.add(&Key::new(&key.to_string()), added);
                    added += 1;
                }
                Step::Start => {
                    let can_start = shares.can_start();
                    let started = shares.start();
                    prop_assert_eq!(started.is_some(), can_start);
                    running.extend(started);
                }
                Step::End(which, time) if !running.is_empty() => {
                    let Started { key, item, estimate } = running.swap_remove(usize::from(which) % running.len());
                    shares.ended(&key, estimate, Duration::from_micros(time.into()));
                    prop_assert!(done.insert(item));
                }
                Step::HoldAgain(which) if !running.is_empty() => {
                    let Started { key, item, estimate } = running.swap_remove(usize::from(which) % running.len());
                    shares.ended(&key, estimate, Duration::ZERO);
                    shares.add(&key, item);
                }
                Step::TakeOut(each) => {
                    for item in shares.take_out(|item, _, _| item % 7 == usize::from(each)) {
                        prop_assert!(done.insert(item));
                    }
                }
                Step::End(..) | Step::HoldAgain(_) => {}
            }
            for key in 0..6_u8 {
                let of_key = running.iter().filter(|started| started.key.as_str() == key.to_string()).count();
                prop_assert!(of_key <= max as usize);
            }
            prop_assert_eq!(shares.waiting() + running.len() + done.len(), added);
        }
        // Whatever happened, all messages start once tasks end.
        while let Some(started) = shares.start().or_else(|| running.pop()) {
            shares.ended(&started.key, started.estimate, MS);
            prop_assert!(done.insert(started.item));
        }
        for started in running {
            prop_assert!(done.insert(started.item));
        }
        prop_assert_eq!((done.len(), shares.waiting()), (added, 0));
    }
}
