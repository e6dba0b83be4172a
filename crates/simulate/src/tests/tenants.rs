//! Tenants on one queue, whose messages workers hold and share their permits among.

use super::{fleet, plan, run, some};
use crate::plan::{Arrivals, Autoscaling, Fleet, LONGEST, Notice, Plan, Service};
use crate::report::{Report, TenantRow};
use crate::simulate;
use crate::tenants::{MAX_ROWS, MAX_TENANTS, Tenant, Tenants};
use proptest::prelude::*;
use std::num::NonZeroU32;
use std::time::Duration;
use wasmrun_runtime::model::key::{Key, KeySource};
use wasmrun_runtime::worker::KeyOptions;
use wasmrun_runtime::worker::shares::ShareOptions;

const MS: Duration = Duration::from_millis(1);

/// Tenants with a row each.
fn tenants(all: &[(&str, Arrivals)]) -> Tenants {
    let tenant = |(row, (name, arrivals)): (usize, &(&str, Arrivals))| Tenant {
        key: Key::new(name),
        row,
        arrivals: vec![arrivals.clone()],
        service: None,
    };
    let rows = all.iter().map(|(name, _)| (*name).to_owned()).collect();
    Tenants { all: all.iter().enumerate().map(tenant).collect(), rows, keys: None }
}

fn burst(count: u64) -> Arrivals {
    Arrivals::Burst { count, at: Duration::ZERO }
}

fn by_group(max_per_key: Option<u32>, weights: &[(&str, u32)]) -> Option<KeyOptions> {
    let number = |number| NonZeroU32::new(number).expect("not zero");
    let shares = ShareOptions {
        max_per_key: max_per_key.map(number),
        weights: weights.iter().map(|(key, weight)| (Key::new(key), number(*weight))).collect(),
        others: None,
    };
    Some(KeyOptions { source: KeySource::Group, shares })
}

/// A queue of `sqlite:`, which sees groups.
fn on_sqlite(plan: Plan) -> Plan {
    let mut plan = plan;
    plan.queue.notice = Notice::Looks { shortest: 50 * MS, longest: 250 * MS };
    plan.queue.latency = 2 * MS;
    (plan.queue.counts_releases, plan.queue.sees_groups) = (false, true);
    plan
}

fn row<'a>(report: &'a Report, name: &str) -> &'a TenantRow {
    report.tenants.iter().find(|row| row.name == name).expect("a row")
}

fn wait_p95(report: &Report, name: &str) -> f64 {
    row(report, name).wait.expect("messages").p95
}

/// The tasks are long enough for a receive at a time to bring the messages of the heaviest key.
#[test]
fn weights_are_kept_within_a_tenth_over_a_hundred_thousand_tasks_of_several_workers() {
    let mut all = tenants(&[("a", burst(100_000)), ("b", burst(100_000)), ("c", burst(100_000))]);
    for (tenant, mean) in all.all.iter_mut().zip([40, 20, 10]) {
        tenant.service = Some(Service::Exponential { mean: mean * MS, cpu: 0.0 });
    }
    all.keys = by_group(None, &[("b", 2), ("c", 5)]);
    let mut plan = on_sqlite(Plan {
        duration: Duration::from_secs(44),
        longest_drain: Duration::ZERO,
        tenants: all,
        arrivals: Vec::new(),
        ..plan()
    });
    plan.worker.sizing.most = some(8);
    plan.fleet = Fleet { min: 4, max: 4, ..plan.fleet };
    let report = run(&plan);
    assert!(report.counts.completed > 100_000, "{}", report.counts.completed);
    assert!(report.concurrency.mean > 0.9 * 32.0, "{:?}", report.concurrency);
    for (name, share) in [("a", 1.0 / 8.0), ("b", 2.0 / 8.0), ("c", 5.0 / 8.0)] {
        let is = row(&report, name).task_share;
        assert!((is / share - 1.0).abs() < 0.1, "{name}: {is} is not {share}");
    }
    assert_eq!(report.left + report.counts.settled(), 300_000);
}

/// One worker with 8 permits, and the small tenants of the benchmark `tenants`, with or without a large one.
fn greedy(with_large: bool, keys: Option<KeyOptions>) -> Plan {
    let small: Vec<String> = (1..=20).map(|number| format!("small-{number}")).collect();
    let mut all = tenants(&[("large", burst(if with_large { 10_000 } else { 0 }))]);
    all.rows.push("small".to_owned());
    all.all.extend(small.iter().map(|name| Tenant {
        key: Key::new(name),
        row: 1,
        arrivals: vec![burst(20)],
        service: None,
    }));
    all.keys = keys;
    let service = Service::Fixed { mean: 10 * MS, cpu: 0.0 };
    let mut plan = Plan { arrivals: Vec::new(), service, tenants: all, ..plan() };
    plan.worker.sizing.most = some(8);
    plan
}

#[test]
fn a_greedy_tenant_delays_small_ones_many_times_in_the_order_of_the_queue_and_hardly_with_fair_shares() {
    let alone = wait_p95(&run(&on_sqlite(greedy(false, None))), "small");
    let in_order = run(&on_sqlite(greedy(true, None)));
    assert!(wait_p95(&in_order, "small") > 10.0 * alone, "{:?}, alone {alone}", in_order.tenants);
    let fair = run(&on_sqlite(greedy(true, by_group(None, &[]))));
    assert!(wait_p95(&fair, "small") <= 3.0 * alone, "{:?}, alone {alone}", fair.tenants);
    assert_eq!((row(&fair, "small").keys, row(&fair, "small").arrived), (20, 400));
    for report in [in_order, fair] {
        assert_eq!((report.counts.completed, report.left), (10_400, 0));
    }
    // A queue that delivers in its order shows the worker the small ones only after the large one.
    let hidden = run(&greedy(true, by_group(None, &[])));
    assert!(wait_p95(&hidden, "small") > 10.0 * alone, "{:?}", hidden.tenants);
}

#[test]
fn a_cap_bounds_a_tenant_and_leaves_the_other_permits_free() {
    let mut plan = on_sqlite(greedy(true, by_group(Some(3), &[])));
    plan.fleet = Fleet { min: 2, max: 2, ..plan.fleet };
    let report = run(&plan);
    assert_eq!((report.counts.completed, row(&report, "large").most_tasks), (10_400, 2 * 3));
    assert_eq!(report.concurrency.max, 16.0, "others use the rest");
}

/// The worker is stuck with messages that may not start, and makes room for those behind them. On SQS that takes
/// receives of its messages, but never the last ones.
#[test]
fn a_stuck_worker_releases_messages_to_reach_others_and_none_is_dead_lettered_for_that() {
    let mut all = tenants(&[("first", burst(60)), ("last", burst(1))]);
    all.keys = by_group(Some(1), &[]);
    let service = Service::Fixed { mean: Duration::from_secs(60), cpu: 0.0 };
    let mut plan = Plan { arrivals: Vec::new(), service, tenants: all, ..plan() };
    plan.worker.sizing.most = some(2);
    let report = run(&plan);
    assert_eq!((report.counts.completed, report.counts.dead_lettered, report.left), (61, 0, 0));
    let waited = row(&report, "last").wait.expect("a message").max;
    assert!((1.0..30.0).contains(&waited), "{waited}");
    assert_eq!(row(&report, "first").most_tasks, 1);
    assert!(report.counts.retries == 0 && report.counts.settling_calls > 61);
    // Without receives to spare, it holds what it has until its tasks have ended.
    plan.queue.max_receives = Some(NonZeroU32::MIN);
    let report = run(&plan);
    assert_eq!((report.counts.completed, report.counts.dead_lettered), (61, 0));
    let waited = row(&report, "last").wait.expect("a message").max;
    assert!(waited > 30.0 * 60.0, "{waited}");
}

#[test]
fn tenants_change_nothing_but_the_rows_while_workers_do_not_tell_them_apart() {
    let plan = Plan { failing: 0.2, arrivals: vec![Arrivals::Poisson { rate: 2.0 }], ..plan() };
    let plain = run(&plan);
    let tenants = tenants(&[("one", Arrivals::Poisson { rate: 2.0 })]);
    let named = run(&Plan { arrivals: Vec::new(), tenants, ..plan });
    assert_eq!(named.tenants.len(), 1);
    assert_eq!(named.tenants[0].arrived, plain.counts.arrived);
    assert_eq!(Report { tenants: Vec::new(), ..named }, plain);
}

#[test]
fn messages_without_a_key_have_a_row_and_a_share() {
    let mut all = tenants(&[("one", burst(1000))]);
    all.keys = by_group(None, &[]);
    let mut plan = on_sqlite(Plan { arrivals: vec![burst(1000)], tenants: all, ..plan() });
    plan.worker.sizing.most = some(4);
    (plan.duration, plan.longest_drain) = (Duration::from_secs(100), LONGEST);
    let report = run(&plan);
    let names: Vec<_> = report.tenants.iter().map(|row| (&*row.name, row.arrived)).collect();
    assert_eq!(names, [("-", 1000), ("one", 1000)]);
    let share = row(&report, "-").task_share;
    assert!((share - 0.5).abs() < 0.05, "{share}");
    assert_eq!(report.left, 0);
}

#[test]
fn too_many_tenants_and_messages_are_refused_in_a_sentence() {
    let wrong = |tenants: Tenants| {
        let plan = Plan { tenants, ..plan() };
        simulate(&plan, &mut |_| ()).expect_err("refused").to_string()
    };
    assert!(
        wrong(tenants(&[("a", burst(200_000_000))])).contains("with tenants, each is simulated by itself")
    );
    assert!(wrong(tenants(&[("a", burst(1)), ("a", burst(1))])).contains("two tenants have the key a"));
    assert!(wrong(tenants(&[("-", burst(1))])).contains("without one"));
    assert!(wrong(tenants(&[("a", Arrivals::Poisson { rate: f64::NAN })])).contains("rate of arrivals"));
    let mut slow = tenants(&[("a", burst(1))]);
    slow.all[0].service = Some(Service::Recorded(Vec::new().into()));
    assert!(wrong(slow).contains("no recorded task"));
    let mut rows = tenants(&[("a", burst(1))]);
    rows.rows = vec![String::new(); MAX_ROWS + 1];
    assert!(wrong(rows).contains("rows"));
    let names: Vec<String> = (0..=MAX_TENANTS).map(|number| number.to_string()).collect();
    let mut many = tenants(&[]);
    many.rows = vec!["all".to_owned()];
    many.all.extend(names.iter().map(|name| Tenant {
        key: Key::new(name),
        row: 0,
        arrivals: vec![burst(1)],
        service: None,
    }));
    assert!(wrong(many).contains("at most 10000 tenants"));
    let mut row = tenants(&[("a", burst(1))]);
    row.all[0].row = 1;
    assert!(wrong(row).contains("has a row"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to workers and tasks, each message is settled once, no cap is exceeded, and the same seed gives
    /// the same bytes.
    #[test]
    fn no_message_of_a_tenant_is_lost_and_no_cap_exceeded(
        seed in any::<u64>(),
        bursts in prop::collection::vec(0u64..400, 1..6),
        (rate, weight) in (0.01..5.0, 1u32..1000),
        (mean, cpu) in (1u64..5_000, 0.0..=1.0),
        (most, cap, workers) in (1usize..20, prop::option::of(1u32..5), 1u32..5),
        (failing, stops) in (0.0..0.5, any::<bool>()),
        (sqlite, group) in (any::<bool>(), any::<bool>()),
    ) {
        let names: Vec<String> = (0..bursts.len()).map(|number| format!("tenant-{number}")).collect();
        let all: Vec<_> = names.iter().map(String::as_str).zip(bursts.iter().map(|count| burst(*count))).collect();
        let mut tenants = tenants(&all);
        tenants.all[0].arrivals.push(Arrivals::Poisson { rate });
        let mut keys = by_group(cap, &[("tenant-0", weight)]).expect("keys");
        if !group {
            keys.source = KeySource::Attribute("tenant".to_owned());
        }
        tenants.keys = Some(keys);
        let mut plan = Plan {
            seed,
            duration: Duration::from_secs(600),
            longest_drain: LONGEST,
            arrivals: vec![Arrivals::Poisson { rate: 0.1 }],
            service: Service::Exponential { mean: Duration::from_millis(mean), cpu },
            failing,
            tenants,
            ..plan()
        };
        if sqlite {
            plan = on_sqlite(plan);
        } else {
            plan.queue.latency = 10 * MS;
        }
        plan.worker.sizing = if seed % 2 == 0 {
            super::scaled(0, most)
        } else {
            super::Sizing { most: some(most), scale: None }
        };
        plan.fleet = Fleet { min: workers, max: workers, ..plan.fleet };
        if stops {
            plan.fleet = Fleet {
                min: 0,
                interruptions_per_hour: 20.0,
                deploy_every: Some(Duration::from_secs(200)),
                ..fleet(workers, Autoscaling::Step(super::backlog()))
            };
        }
        let report = run(&plan);
        prop_assert_eq!(report.counts.settled(), report.counts.arrived);
        prop_assert_eq!(report.left, 0);
        prop_assert_eq!(report.tenants.iter().map(|row| row.arrived).sum::<u64>(), report.counts.arrived);
        for (name, burst) in names.iter().zip(&bursts) {
            let row = row(&report, name);
            prop_assert!(row.arrived >= *burst);
            if let Some(cap) = cap.filter(|_| !stops) {
                prop_assert!(row.most_tasks <= u64::from(cap * workers), "{:?}", row);
            }
        }
        let again = serde_json::to_string(&run(&plan)).expect("JSON");
        prop_assert_eq!(serde_json::to_string(&report).expect("JSON"), again);
    }
}
