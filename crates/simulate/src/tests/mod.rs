mod fleets;
mod tenants;
mod theory;

use super::*;
use crate::plan::{Arrivals, Autoscaling, Backlog, Fleet, Notice, Plan, QueueModel, Service, WorkerModel};
use crate::sources::{FARGATE_LEAST_BILLED, FARGATE_START};
use crate::tenants::Tenants;
use proptest::prelude::*;
use std::num::{NonZeroU32, NonZeroUsize};
use wasmrun_runtime::ports::queue::BatchPolicy;
use wasmrun_runtime::worker::scaler::Goal;
use wasmrun_runtime::worker::{Backoff, LONG_POLL, SHORT_POLL, ScaleOptions, Sizing};

fn some(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("not zero")
}

/// One worker with one permit, and a message of a second every two seconds for a minute.
pub(crate) fn plan() -> Plan {
    Plan {
        seed: 1,
        duration: Duration::from_secs(60),
        longest_drain: Duration::from_secs(24 * 3600),
        arrivals: vec![Arrivals::Steady { rate: 0.5 }],
        service: Service::Fixed { mean: Duration::from_secs(1), cpu: 0.0 },
        tenants: Tenants::default(),
        failing: 0.0,
        queue: QueueModel {
            latency: Duration::ZERO,
            batches: BatchPolicy::default(),
            long_poll: LONG_POLL,
            short_poll: SHORT_POLL,
            notice: Notice::AtOnce,
            max_receives: NonZeroU32::new(5),
            counts_releases: true,
            sees_groups: false,
        },
        worker: WorkerModel {
            threads: some(1),
            speed: 1.0,
            sizing: Sizing { most: some(1), scale: None },
            backoff: Backoff::default(),
            stop_timeout: Duration::from_secs(25),
        },
        fleet: Fleet {
            min: 1,
            max: 1,
            autoscaling: Autoscaling::None,
            start_up: FARGATE_START,
            interruptions_per_hour: 0.0,
            deploy_every: None,
            stray_starts_per_hour: 0.0,
            least_billed: FARGATE_LEAST_BILLED,
        },
    }
}

fn run(plan: &Plan) -> Report {
    simulate(plan, &mut |_| ()).expect("a result")
}

fn scaled(min: usize, most: usize) -> Sizing {
    let scale = ScaleOptions { min, goal: Goal::AtOnce, scale_in_delay: Duration::from_secs(300) };
    Sizing { most: some(most), scale: Some(scale) }
}

fn fleet(max: u32, autoscaling: Autoscaling) -> Fleet {
    Fleet { min: 0, max, autoscaling, ..plan().fleet }
}

fn backlog() -> Backlog {
    Backlog { acceptable_latency: Duration::from_secs(60), time_per_message: Duration::from_millis(100) }
}

#[test]
fn a_worker_that_keeps_up_lets_no_message_wait() {
    let report = run(&plan());
    let (latency, wait) = (report.latency.expect("messages"), report.wait.expect("messages"));
    assert_eq!((report.counts.arrived, report.counts.completed, report.left), (30, 30, 0));
    assert_eq!((wait.max, latency.mean), (0.0, 1.0));
    assert!((latency.p50 - 1.0).abs() < 0.001 && (latency.max - 1.0).abs() < 0.001, "{latency:?}");
    assert_eq!(report.counts.billed_seconds, 60.0);
    assert!((report.workers.mean - 1.0).abs() < 1e-9, "{:?}", report.workers);
    assert!((report.task_seconds - 30.0).abs() < 1e-6);
}

/// The worker's own scaler doubles its limit at each decision.
#[test]
fn a_burst_is_met_by_the_scaler_of_the_worker() {
    let mut plan =
        Plan { arrivals: vec![Arrivals::Burst { count: 6_400, at: Duration::from_secs(10) }], ..plan() };
    plan.worker.sizing = scaled(0, 64);
    plan.service = Service::Fixed { mean: Duration::from_millis(100), cpu: 0.001 };
    plan.queue.latency = Duration::from_millis(2);
    let report = run(&plan);
    assert_eq!((report.counts.completed, report.concurrency.max), (6_400, 64.0));
    let took = report.latency.expect("messages").max;
    assert!((10.0..13.0).contains(&took), "ideally 10 s: {took}");
    // Tasks that only compute get few more permits than keep the thread busy: receives hold permits as well.
    plan.service = Service::Fixed { mean: Duration::from_millis(100), cpu: 1.0 };
    let busy = run(&plan).concurrency.max;
    assert!(busy <= 4.0, "{busy}");
}

#[test]
fn failed_tasks_are_retried_with_backoff_and_then_dead_lettered() {
    let mut plan = Plan { failing: 1.0, ..plan() };
    let report = run(&plan);
    assert_eq!((report.counts.completed, report.counts.dead_lettered, report.left), (0, 30, 0));
    assert_eq!(report.counts.retries, 30 * 4, "five receives");
    plan.failing = 0.5;
    let report = run(&plan);
    assert_eq!(report.counts.completed + report.counts.dead_lettered, 30);
    assert!(report.counts.completed > 20 && report.counts.retries > 10);
}

#[test]
fn each_dead_letter_costs_a_call_of_its_own_and_a_deletion() {
    let mut plan = Plan { failing: 1.0, ..plan() };
    plan.queue.max_receives = Some(NonZeroU32::MIN);
    let counts = run(&plan).counts;
    assert_eq!((counts.dead_lettered, counts.settling_calls), (30, 2 * 30));
}

/// A receive on `sqlite:` looks after 50, 100, 200 and then every 250 ms, and after each settlement.
#[test]
fn a_message_of_another_process_is_noticed_by_looking() {
    let mut plan = Plan {
        duration: Duration::from_secs(100_000),
        arrivals: vec![Arrivals::Poisson { rate: 0.2 }],
        service: Service::Fixed { mean: Duration::from_millis(20), cpu: 0.0 },
        ..plan()
    };
    let (shortest, longest) = (Duration::from_millis(50), Duration::from_millis(250));
    plan.queue.notice = Notice::Looks { shortest, longest };
    let wait = run(&plan).wait.expect("messages");
    assert!((0.115..0.13).contains(&wait.mean), "half of 250 ms: {wait:?}");
    assert!(wait.max <= 0.271, "at most that and a task: {wait:?}");
    plan.arrivals = vec![Arrivals::Poisson { rate: 100.0 }];
    plan.duration = Duration::from_secs(1000);
    plan.worker.sizing.most = some(20);
    let busy = run(&plan).wait.expect("messages");
    assert!(busy.mean < 0.03, "a settlement follows soon: {busy:?}");
}

#[test]
fn huge_numbers_are_refused_in_a_sentence() {
    let wrong = |change: &dyn Fn(&mut Plan)| {
        let mut plan = plan();
        change(&mut plan);
        simulate(&plan, &mut |_| ()).expect_err("refused").to_string()
    };
    let year = |plan: &mut Plan| plan.duration = Duration::from_secs(u64::MAX);
    assert_eq!(wrong(&year), "the simulation is at most a year");
    let many =
        |plan: &mut Plan| plan.arrivals = vec![Arrivals::Burst { count: u64::MAX, at: Duration::ZERO }];
    assert!(wrong(&many).contains("messages would arrive"));
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e18] {
        assert!(wrong(&|plan| plan.arrivals = vec![Arrivals::Poisson { rate }]).contains("rate of arrivals"));
    }
    assert!(wrong(&|plan| plan.service = Service::Recorded(Vec::new().into())).contains("no recorded task"));
    assert!(wrong(&|plan| plan.failing = 2.0).contains("share"));
    assert!(wrong(&|plan| plan.fleet.max = u32::MAX).contains("number of workers"));
    assert!(wrong(&|plan| plan.fleet.min = 0).contains("is fixed"));
    assert!(wrong(&|plan| plan.worker.sizing.most = NonZeroUsize::MAX).contains("concurrency limit"));
    assert!(wrong(&|plan| plan.worker.speed = f64::NAN).contains("threads"));
    let endless = |plan: &mut Plan| (plan.failing, plan.queue.max_receives) = (1.0, None);
    assert!(wrong(&endless).contains("dead-lettered"));
    assert!(wrong(&|plan| plan.queue.short_poll = Duration::MAX).contains("a receive is at most a year"));
    let never = Notice::Looks { shortest: Duration::ZERO, longest: Duration::from_secs(1) };
    assert!(wrong(&|plan| plan.queue.notice = never).contains("intervals above 0"));
}

#[test]
fn a_drawing_is_markup_whatever_its_title() {
    let svg = svg::svg(&run(&plan()), "<script>alert(1)</script> & \"\u{0}\u{1b}");
    assert!(svg.contains("&lt;script&gt;") && !svg.contains("<script") && !svg.contains('\u{1b}'));
    assert!(!svg.contains("NaN") && !svg.contains("inf") && svg.matches("<polyline").count() == 3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each message that arrives is settled once, whatever happens to workers and tasks, and the same seed gives the
    /// same bytes.
    #[test]
    fn what_arrives_is_settled_once(
        seed in any::<u64>(),
        (rate, burst) in (0.01..20.0, 0u64..2000),
        (mean, cpu) in (0u64..30_000, 0.0..=1.0),
        (most, min, max) in (1usize..40, 0u32..3, 3u32..12),
        (failing, interruptions, deploys) in (0.0..0.9, 0.0..20.0, prop::option::of(120u64..3600)),
        (way, latency, scales) in (0..4, 0u64..200, any::<bool>()),
    ) {
        let messages_per_worker = NonZeroU32::new(50).expect("not zero");
        let (min, autoscaling) = match way {
            0 => (max, Autoscaling::None),
            1 => (min, Autoscaling::TargetTracking(backlog())),
            2 => (min, Autoscaling::Step(backlog())),
            _ => (min, Autoscaling::Keda { messages_per_worker }),
        };
        let mut plan = Plan {
            seed,
            duration: Duration::from_secs(1200),
            arrivals: vec![
                Arrivals::Poisson { rate },
                Arrivals::Burst { count: burst, at: Duration::from_secs(30) },
                Arrivals::Wave { rate, period: Duration::from_secs(600) },
            ],
            service: Service::Exponential { mean: Duration::from_millis(mean), cpu },
            failing,
            ..plan()
        };
        plan.longest_drain = plan::LONGEST;
        plan.queue.latency = Duration::from_millis(latency);
        plan.worker.sizing = if scales { scaled(0, most) } else { Sizing { most: some(most), scale: None } };
        plan.fleet = Fleet {
            min,
            max,
            autoscaling,
            interruptions_per_hour: interruptions,
            deploy_every: deploys.map(Duration::from_secs),
            stray_starts_per_hour: interruptions,
            ..plan.fleet
        };
        let report = run(&plan);
        prop_assert_eq!(report.counts.settled(), report.counts.arrived);
        prop_assert_eq!(report.left, 0);
        prop_assert!(report.counts.arrived >= burst && report.concurrency.max <= (most * 2 * max as usize) as f64);
        let again = serde_json::to_string(&run(&plan)).expect("JSON");
        prop_assert_eq!(serde_json::to_string(&report).expect("JSON"), again);
    }
}
