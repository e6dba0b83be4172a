//! Tests of the scaler in simulated time.

use super::*;
use proptest::prelude::*;

#[path = "scaler_short_tasks_tests.rs"]
mod short_tasks;

const TICK: Duration = Duration::from_millis(50);

fn scaling(min: usize, max: usize) -> Scaling {
    Scaling {
        min,
        max: NonZeroUsize::new(max).expect("not zero"),
        threads: NonZeroUsize::new(2).expect("not zero"),
        goal: Goal::AtOnce,
        scale_in_delay: Duration::from_secs(300),
    }
}

/// A worker and its queue, in steps of a twentieth of a second. Tasks either compute, or wait for the host for all but
/// a thousandth of their time.
struct Simulated {
    scaler: Scaler,
    allowed: usize,
    waiting: u64,
    /// The number of waiting messages that the queue reported last: every ten seconds.
    told: u64,
    /// When the running tasks end.
    running: VecDeque<Duration>,
    service: Duration,
    computes: bool,
    now: Duration,
    changes: Vec<(Duration, usize)>,
}

impl Simulated {
    fn new(scaling: Scaling, service: Duration) -> Self {
        let scaler = Scaler::new(scaling);
        let allowed = scaler.instances;
        let (running, changes) = (VecDeque::new(), Vec::new());
        Self {
            scaler,
            allowed,
            waiting: 0,
            told: 0,
            running,
            service,
            computes: false,
            now: Duration::ZERO,
            changes,
        }
    }

    fn step(&mut self, arrivals: u64) {
        self.now += TICK;
        self.waiting += arrivals;
        let mut snapshot = Snapshot { elapsed: TICK, ..Snapshot::default() };
        while self.running.front().is_some_and(|end| *end <= self.now) {
            self.running.pop_front();
            snapshot.ended += 1;
            snapshot.service += self.service;
        }
        // Like the pollers: receives ten messages at once, and goes on while there are more.
        loop {
            let free = self.allowed.saturating_sub(self.running.len()).min(10) as u64;
            let received = free.min(self.waiting);
            self.waiting -= received;
            for _ in 0..received {
                // Tasks that compute share the two threads.
                let sharing = if self.computes { (self.running.len() as f64 + 1.0) / 2.0 } else { 1.0 };
                self.running.push_back(self.now + self.service.mul_f64(sharing.max(1.0)));
            }
            if free == 0 {
                break;
            } else if received == free {
                snapshot.of_full_receives += received;
            } else {
                snapshot.empty_receives += u64::from(received == 0);
                break;
            }
        }
        if self.now.as_millis().is_multiple_of(10_000) {
            self.told = self.waiting;
        }
        snapshot.waiting = (self.scaler.scaling.goal != Goal::AtOnce).then_some(self.told);
        snapshot.running = self.running.len();
        snapshot.occupied = TICK * snapshot.running as u32;
        if self.computes {
            snapshot.computed = TICK * snapshot.running.min(2) as u32;
            snapshot.waited = snapshot.occupied - snapshot.computed;
        } else {
            snapshot.computed = snapshot.occupied / 1000;
        }
        let before = self.allowed;
        self.allowed = self.scaler.decide(&snapshot).instances.get();
        if self.allowed != before {
            self.changes.push((self.now, self.allowed));
        }
    }

    fn steps(&mut self, time: Duration, mut arrivals: impl FnMut() -> u64) {
        let end = self.now + time;
        while self.now < end {
            self.step(arrivals());
        }
    }
}

#[test]
fn steps_are_coarse_and_never_below_what_is_wanted() {
    assert_eq!([0, 1, 2, 3, 4, 5, 7, 9, 13, 49].map(step), [1, 1, 2, 3, 4, 6, 8, 12, 16, 64]);
    for wanted in 0..5000 {
        assert!(step(wanted) >= wanted.max(1) && step(wanted) <= (wanted * 3 / 2).max(2), "{wanted}");
    }
}

#[test]
fn a_burst_is_met_within_a_second_and_forgotten_when_nothing_comes() {
    let mut worker = Simulated::new(scaling(0, 64), TICK * 2);
    worker.waiting = 10_000;
    worker.steps(Duration::from_secs(1), || 0);
    assert_eq!(worker.allowed, 64);
    // Ideally 10,000 × 0.1 s ÷ 64 = 15.6 s.
    worker.steps(Duration::from_secs(17), || 0);
    assert_eq!(worker.waiting, 0);
    worker.steps(Duration::from_secs(290), || 0);
    assert_eq!(worker.allowed, 64, "it may be needed again");
    worker.steps(Duration::from_secs(12), || 0);
    assert_eq!(worker.allowed, 1);
}

#[test]
fn tasks_that_compute_settle_near_the_number_of_threads_and_those_that_wait_far_above() {
    let service = Duration::from_millis(200);
    let mut waits = Simulated::new(scaling(1, 64), service);
    let mut computes = Simulated { computes: true, ..Simulated::new(scaling(1, 64), service) };
    for worker in [&mut waits, &mut computes] {
        worker.waiting = 1_000_000;
        worker.steps(Duration::from_secs(60), || 0);
    }
    assert_eq!(waits.allowed, 64);
    assert_eq!(computes.allowed, 3, "two threads, and one that is ready when a task ends");
}

#[test]
fn a_steady_load_changes_the_number_at_most_six_times_an_hour() {
    // Messages a second, the seconds that each takes, and whether it computes: one, ten and forty tasks at once on
    // average, rare and long tasks, and tasks that keep the two threads busy for most of the time.
    let loads =
        [(5.0, 0.2, false), (5.0, 2.0, false), (40.0, 1.0, false), (0.05, 60.0, false), (7.0, 0.2, true)];
    for (seed, (rate, seconds, computes)) in loads.into_iter().enumerate() {
        let mut random = fastrand::Rng::with_seed(seed as u64);
        let mut worker = Simulated::new(scaling(0, 64), Duration::from_secs_f64(seconds));
        worker.computes = computes;
        // Arrivals are Poisson distributed, drawn with Knuth's algorithm.
        let none = (-rate * TICK.as_secs_f64()).exp();
        let mut arrivals = move || {
            let (mut count, mut product) = (0, random.f64());
            while product > none {
                count += 1;
                product *= random.f64();
            }
            count
        };
        worker.steps(Duration::from_secs(3600), &mut arrivals);
        for hour in 1..=10 {
            worker.changes.clear();
            worker.steps(Duration::from_secs(3600), &mut arrivals);
            assert!(worker.changes.len() <= 6, "{rate}/s, hour {hour}: {:?}", worker.changes);
            assert!(worker.waiting < 64, "nothing is left lying");
        }
    }
}

#[test]
fn a_steady_load_stays_met_with_each_goal() {
    let backlog = Goal::Backlog(NonZeroU32::new(5).expect("not zero"));
    for goal in [Goal::Latency(Duration::from_secs(10)), backlog] {
        let mut random = fastrand::Rng::with_seed(1);
        let mut worker = Simulated::new(Scaling { goal, ..scaling(0, 64) }, Duration::from_secs(2));
        // Five messages a second on average, which are ten tasks at once.
        let mut arrivals = || u64::from(random.f64() < 0.25);
        worker.steps(Duration::from_secs(3600), &mut arrivals);
        worker.changes.clear();
        worker.steps(Duration::from_secs(4 * 3600), &mut arrivals);
        assert!(worker.changes.len() <= 24, "{goal:?}: {:?}", worker.changes);
        assert!(worker.waiting < 100, "{goal:?}: {}", worker.waiting);
    }
}

#[test]
fn a_worker_without_a_scale_in_delay_follows_the_demand() {
    let mut worker = Simulated::new(Scaling { scale_in_delay: Duration::ZERO, ..scaling(0, 64) }, TICK * 2);
    worker.waiting = 10_000;
    worker.steps(Duration::from_secs(2), || 0);
    assert_eq!(worker.allowed, 64);
    worker.steps(Duration::from_secs(30), || 0);
    assert_eq!(worker.allowed, 1);
}

#[test]
fn sparse_messages_keep_the_worker_from_scaling_in() {
    let mut worker =
        Simulated::new(Scaling { scale_in_delay: Duration::from_secs(60), ..scaling(0, 64) }, TICK);
    for _ in 0..20 {
        worker.step(30);
        worker.steps(Duration::from_secs(50), || 0);
        assert!(worker.allowed > 1, "a message has come within a minute");
    }
    worker.steps(Duration::from_secs(61), || 0);
    assert_eq!(worker.allowed, 1);
}

#[test]
fn pressure_takes_a_part_at_once_and_success_gives_it_back_slowly() {
    let mut scaler = Scaler::new(scaling(1, 64));
    let busy = Snapshot {
        elapsed: Duration::from_secs(1),
        of_full_receives: 50,
        running: 60,
        ended: 100,
        occupied: Duration::from_secs(60),
        computed: TICK,
        ..Snapshot::default()
    };
    for _ in 0..10 {
        scaler.decide(&busy);
    }
    assert_eq!(scaler.instances, 64);
    let pressed = Snapshot { pressed: 40, ..busy };
    let decided: Vec<_> = (0..4).map(|_| scaler.decide(&pressed)).collect();
    assert_eq!(decided.iter().map(|decision| decision.instances.get()).collect::<Vec<_>>(), [45, 31, 22, 15]);
    assert_eq!(decided[0].because, Because::Pressure);
    // Failures at the same time count as one.
    assert_eq!(scaler.decide(&Snapshot { elapsed: TICK, ..pressed }).instances.get(), 15);
    // One failure in twenty tasks is no pressure.
    assert!(
        scaler.decide(&Snapshot { pressed: 0, elapsed: Duration::from_secs(20), ..busy }).instances.get()
            >= 15
    );
    let before = scaler.decide(&busy).instances;
    assert!(scaler.decide(&Snapshot { pressed: 5, ..busy }).instances >= before);
    let recovered = (0..100).position(|_| scaler.decide(&busy).instances.get() == 64);
    assert!(recovered.is_some_and(|seconds| seconds > 5), "{recovered:?}");
}

#[test]
fn a_target_latency_asks_for_as_many_as_do_what_waits_in_that_time() {
    let goal = Goal::Latency(Duration::from_secs(30));
    let mut scaler = Scaler::new(Scaling { goal, ..scaling(1, 64) });
    let snapshot = Snapshot {
        elapsed: Duration::from_secs(1),
        waiting: Some(90),
        running: 1,
        ended: 10,
        occupied: Duration::from_secs(1),
        service: Duration::from_secs(20),
        ..Snapshot::default()
    };
    for _ in 0..10 {
        scaler.decide(&snapshot);
    }
    // 90 messages of two seconds each, in 30 seconds.
    assert_eq!(scaler.instances, 6);
}

#[test]
fn a_target_latency_is_kept_in_view_before_the_first_task_has_ended() {
    let goal = Goal::Latency(Duration::from_secs(30));
    let mut scaler = Scaler::new(Scaling { goal, ..scaling(1, 64) });
    let second = Duration::from_secs(1);
    let running =
        Snapshot { elapsed: second, waiting: Some(90), running: 1, occupied: second, ..Snapshot::default() };
    assert_eq!(scaler.decide(&running).instances.get(), 2, "each may take a second");
    for _ in 0..9 {
        scaler.decide(&running);
    }
    assert_eq!(scaler.instances, 32, "each takes ten seconds at least");
}

#[test]
fn a_backlog_for_each_instance_is_what_amazon_and_keda_know() {
    let goal = Goal::Backlog(NonZeroU32::new(100).expect("not zero"));
    let mut scaler = Scaler::new(Scaling { goal, ..scaling(1, 64) });
    for _ in 0..10 {
        scaler.decide(&Snapshot {
            elapsed: TICK,
            waiting: Some(1_190),
            running: 5,
            occupied: TICK * 5,
            ..Snapshot::default()
        });
    }
    assert_eq!(scaler.instances, 12);
}

fn snapshots() -> impl Strategy<Value = Snapshot> {
    let counts = (any::<Option<u64>>(), 0_u64..100, 0_u64..100, 0_usize..10_000, any::<u64>(), 0_u64..100);
    (0_u64..100_000, counts, 0_u64..u64::MAX / 2, 0_u64..u64::MAX / 2).prop_map(
        |(ms, (waiting, of_full_receives, empty_receives, running, ended, pressed), occupied, runnable)| {
            Snapshot {
                elapsed: Duration::from_millis(ms),
                waiting,
                of_full_receives,
                empty_receives,
                running,
                ended,
                occupied: Duration::from_micros(occupied),
                computed: Duration::from_micros(runnable) / 2,
                waited: Duration::from_micros(runnable) / 2,
                service: Duration::from_micros(occupied),
                pressed,
            }
        },
    )
}

proptest! {
    #[test]
    fn whatever_it_is_shown_the_number_stays_in_bounds_and_reaches_the_minimum_when_nothing_comes(
        seen in proptest::collection::vec(snapshots(), 0..50), min in 0_usize..8, max in 1_usize..100,
    ) {
        let mut scaler = Scaler::new(scaling(min, max));
        let bounds = min.clamp(1, max)..=max;
        for snapshot in &seen {
            let decided = scaler.decide(snapshot).instances.get();
            prop_assert!(bounds.contains(&decided), "{decided}");
        }
        for _ in 0..100 {
            scaler.decide(&Snapshot { elapsed: Duration::from_secs(10), waiting: Some(0), ..Snapshot::default() });
        }
        prop_assert_eq!(scaler.instances, *bounds.start());
    }

    #[test]
    fn the_number_does_not_fall_while_the_backlog_grows(
        growth in proptest::collection::vec(0_u64..1000, 1..100),
        occupied_us in 1_u64..10_000_000, share in 0.0_f64..1.0, goal in 0..3,
    ) {
        let goal = match goal {
            0 => Goal::AtOnce,
            1 => Goal::Latency(Duration::from_secs(30)),
            _ => Goal::Backlog(NonZeroU32::MIN),
        };
        let mut scaler = Scaler::new(Scaling { goal, ..scaling(1, 64) });
        let (mut waiting, mut before) = (0, 1);
        for more in growth {
            waiting += more;
            let decided = scaler.decide(&Snapshot {
                elapsed: Duration::from_secs(5),
                waiting: Some(waiting),
                of_full_receives: 1,
                running: before,
                // Each task ends once: however many run, they are of the same kind.
                ended: before as u64,
                occupied: Duration::from_micros(occupied_us) * before as u32,
                computed: Duration::from_micros(occupied_us).mul_f64(share) * before as u32,
                service: Duration::from_secs(1) * before as u32,
                ..Snapshot::default()
            });
            prop_assert!(decided.instances.get() >= before, "{} after {before}", decided.instances);
            before = decided.instances.get();
        }
    }
}
