//! Workers that start and stop.

use super::theory::erlang_c;
use super::{backlog, fleet, plan, run, scaled, some};
use crate::plan::{Arrivals, Autoscaling, Fleet, Plan, Service};
use std::num::NonZeroU32;
use std::time::Duration;

#[test]
fn a_fleet_starts_works_and_ends() {
    for (autoscaling, first) in [
        (Autoscaling::TargetTracking(backlog()), 240.0..320.0),
        (Autoscaling::Step(backlog()), 240.0..320.0),
        (Autoscaling::Keda { messages_per_worker: NonZeroU32::new(100).expect("not zero") }, 80.0..100.0),
    ] {
        let plan = Plan {
            duration: Duration::from_secs(2 * 3600),
            arrivals: vec![Arrivals::Burst { count: 10_000, at: Duration::from_secs(1) }],
            fleet: fleet(50, autoscaling),
            ..plan()
        };
        let report = run(&plan);
        assert_eq!((report.counts.completed, report.left), (10_000, 0), "{autoscaling:?}");
        assert!(
            report.workers.max > 8.0 && report.workers.max <= 50.0,
            "{autoscaling:?}: {:?}",
            report.workers
        );
        let series = &report.series;
        let started = series.points.iter().position(|point| point.workers > 0.0).expect("some");
        let started = started as f64 * series.step_seconds;
        assert!(first.contains(&started), "{autoscaling:?}: {started}");
        assert_eq!(series.points.last().expect("some").workers, 0.0, "{autoscaling:?}: scaled in");
        assert!(
            report.counts.worker_seconds >= 10_000.0
                && report.counts.billed_seconds >= report.counts.worker_seconds
        );
    }
}

#[test]
fn interruptions_and_deploys_lose_no_message() {
    let mut plan = Plan {
        duration: Duration::from_secs(4 * 3600),
        arrivals: vec![Arrivals::Poisson { rate: 2.0 }],
        service: Service::Exponential { mean: Duration::from_secs(20), cpu: 0.0 },
        ..plan()
    };
    plan.worker.sizing.most = some(10);
    plan.queue.max_receives = None;
    plan.fleet = Fleet { min: 10, max: 10, interruptions_per_hour: 2.0, ..plan.fleet };
    let report = run(&plan);
    assert_eq!((report.counts.completed, report.left), (report.counts.arrived, 0));
    assert!((50..110).contains(&report.counts.interruptions), "{}", report.counts.interruptions);
    assert!(
        report.counts.cancelled > 0 && report.counts.wasted_seconds > 0.0,
        "tasks are longer than the stop timeout"
    );
    let still = plan.fleet;
    plan.fleet =
        Fleet { interruptions_per_hour: 0.0, deploy_every: Some(Duration::from_secs(3600)), ..still };
    let report = run(&plan);
    assert_eq!((report.counts.completed, report.left, report.counts.deploys), (report.counts.arrived, 0, 4));
    assert_eq!(report.counts.cancelled, 0, "a worker of ECS protects itself while it works");
    assert!(report.counts.launched >= 40 && report.workers.max <= 20.0, "{}", report.counts.launched);
}

/// Its next task starts long after the first, which was cancelled.
#[test]
fn a_released_message_has_waited_only_for_its_first_task() {
    let keda = Autoscaling::Keda { messages_per_worker: NonZeroU32::MIN };
    let mut plan = Plan {
        duration: Duration::from_secs(1500),
        arrivals: vec![Arrivals::Burst { count: 1, at: Duration::from_secs(900) }],
        service: Service::Fixed { mean: Duration::from_secs(300), cpu: 0.0 },
        ..plan()
    };
    plan.queue.counts_releases = false;
    plan.fleet = Fleet { min: 1, deploy_every: Some(Duration::from_secs(1000)), ..fleet(1, keda) };
    let report = run(&plan);
    assert_eq!((report.counts.cancelled, report.counts.completed), (1, 1));
    assert_eq!(report.wait.expect("a message").max, 0.0);
    assert!(report.latency.expect("a message").max > 400.0);
}

/// A minute and a half of a day with 10^9 messages on 500 workers. With one permit each they are the servers of Erlang's
/// formula, by which the mean wait is 1.2 ms. Groups of messages of a millisecond change it by less than that.
#[test]
fn a_million_messages_on_500_workers_wait_as_long_as_in_theory() {
    let rate = 1e9 / 86_400.0;
    let service = Duration::from_millis(42);
    let mut plan = Plan {
        duration: Duration::from_millis(86_400),
        arrivals: vec![Arrivals::Poisson { rate }],
        service: Service::Exponential { mean: service, cpu: 0.0 },
        ..plan()
    };
    plan.fleet = Fleet { min: 500, max: 500, ..plan.fleet };
    let report = run(&plan);
    let counts = report.counts;
    assert!((995_000..1_005_000).contains(&counts.arrived), "{}", counts.arrived);
    assert_eq!((counts.completed, report.left), (counts.arrived, 0));
    let expected = erlang_c(500, rate * service.as_secs_f64()) * service.as_secs_f64();
    let wait = report.wait.expect("messages").mean;
    assert!((wait - expected).abs() < 0.001, "{wait} is not {expected}");
}

/// The whole day, on a queue like SQS and with the worker's own scaling: about a quarter of an hour on one core, and less
/// than 1 GiB.
#[test]
#[ignore = "takes a quarter of an hour: cargo nextest run --release -p wasmrun-simulate --run-ignored only"]
fn a_day_of_a_thousand_million_messages_on_500_workers() {
    let mut plan = Plan {
        duration: Duration::from_secs(86_400),
        arrivals: vec![Arrivals::Wave { rate: 1e9 / 86_400.0, period: Duration::from_secs(86_400) }],
        service: Service::Exponential { mean: Duration::from_millis(100), cpu: 0.2 },
        ..plan()
    };
    plan.worker.sizing = scaled(0, 64);
    plan.queue.latency = Duration::from_millis(10);
    (plan.queue.long_poll, plan.queue.short_poll) = (Duration::from_secs(2), Duration::from_secs(1));
    plan.queue.batches.settling_calls = 8;
    plan.queue.batches.settling_wait = Duration::from_millis(50);
    plan.fleet = Fleet { min: 500, max: 500, ..plan.fleet };
    let counts = run(&plan).counts;
    assert!((999e6..1_001e6).contains(&(counts.arrived as f64)), "{}", counts.arrived);
    assert_eq!(counts.completed, counts.arrived);
}

#[test]
fn a_stray_start_costs_a_worker_that_does_nothing() {
    let tracking = Autoscaling::TargetTracking(backlog());
    let plan = Plan {
        duration: Duration::from_secs(24 * 3600),
        arrivals: Vec::new(),
        fleet: Fleet { stray_starts_per_hour: 1.0, ..fleet(4, tracking) },
        ..plan()
    };
    let report = run(&plan);
    assert!(
        report.counts.stray_starts > 5 && report.counts.idle_starts == report.counts.launched,
        "{report:?}"
    );
    assert!(report.counts.empty_receives > 100 && report.latency.is_none());
    assert!(report.counts.worker_seconds > 5.0 * 15.0 * 60.0, "it runs until the idle alarm");
}

#[test]
fn a_fleet_that_never_starts_says_what_is_left() {
    let plan = Plan {
        longest_drain: Duration::from_secs(600),
        fleet: fleet(1, Autoscaling::Step(backlog())),
        ..plan()
    };
    let mut never = plan.clone();
    never.fleet.start_up = (crate::plan::LONGEST, crate::plan::LONGEST);
    let report = run(&never);
    assert_eq!((report.left, report.counts.settled(), report.simulated_seconds), (30, 0, 660.0));
}
