//! Tests of attribution: errors of backends and errors of messages, alone and mixed.

use super::*;
use crate::model::outcome::{Cancel, Policy};
use crate::worker::breaker::{Admission, Breaker, Evidence, Probe};
use crate::worker::decision::{Decision, Rules, decide};
use crate::worker::{Backoff, WorkerOptions};
use proptest::prelude::*;
use std::sync::Arc;

fn attributions() -> Attributions {
    Attributions::of(["input".to_owned(), "output".to_owned()].into_iter())
}

fn used(backend: &str, access: Access) -> Used {
    Used { backend: backend.into(), access }
}

fn unavailable(backend: &str) -> HostError {
    let kind = HostErrorKind::Unavailable { reading: None };
    HostError { used: used(backend, Access::Write), kind, text: "down".into() }
}

fn unreadable() -> HostError {
    HostError { used: used("input", Access::Read), ..unavailable("input") }
}

fn refused(backend: &str) -> HostError {
    let kind = HostErrorKind::Refused { reading: Some("key".into()) };
    HostError { used: used(backend, Access::Read), kind, text: "no".into() }
}

#[test]
fn an_outage_is_everyone_s_however_often_it_meets_a_message() {
    let attributions = attributions();
    for _ in 0..10 {
        assert_eq!(attributions.attribute("a", &unavailable("input"), false, true), Attribution::Host);
        assert_eq!(attributions.attribute("b", &refused("output"), false, true), Attribution::Host);
        // The success of another store proves nothing about this one.
        attributions.succeeded(&[used("output", Access::Write)]);
        // Nor does listing this store prove that it can be read.
        attributions.succeeded(&[used("input", Access::List)]);
    }
}

#[test]
fn a_message_that_fails_again_and_again_while_others_succeed_counts_in_the_end() {
    let attributions = attributions();
    let input = [used("input", Access::Write)];
    let of_a = || attributions.attribute("a", &unavailable("input"), false, true);
    assert_eq!(of_a(), Attribution::Host, "nothing is known yet");
    for times in 1..ITS_OWN_AFTER {
        attributions.succeeded(&input);
        assert_eq!(of_a(), Attribution::Suspect { times });
        assert_eq!(of_a(), Attribution::Host, "nobody has succeeded since");
    }
    attributions.succeeded(&input);
    assert_eq!(of_a(), Attribution::Message);
}

#[test]
fn a_refusal_is_the_message_s_own_while_the_store_hands_out_others() {
    let attributions = attributions();
    assert_eq!(attributions.attribute("a", &refused("input"), false, true), Attribution::Host);
    assert_eq!(attributions.attribute("a", &refused("input"), true, true), Attribution::Message);
}

#[test]
fn an_outage_may_end_a_task_that_tries_again_until_its_time_or_its_calls_are_used_up() {
    let limited = |limit| Outcome::LimitExceeded { limit };
    let used_up = [Limit::BlockedTime, Limit::StoreCalls, Limit::SentMessages, Limit::WriteSize];
    for outcome in used_up.map(limited).into_iter().chain([Outcome::TimedOut]) {
        assert!(may_follow_from(&outcome, &unavailable("input")), "{outcome}");
        assert!(!may_follow_from(&outcome, &refused("input")), "{outcome}: a refusal needs no second try");
    }
    for limit in [Limit::Fuel, Limit::Memory, Limit::Stack, Limit::Handles] {
        assert!(!may_follow_from(&limited(limit), &unavailable("input")), "{limit:?}");
    }
    assert!(!may_follow_from(&Outcome::Cancelled { why: Cancel::Drain }, &unavailable("input")));
}

#[test]
fn what_a_store_can_never_do_is_the_message_s_own_at_once() {
    let error = HostError { kind: HostErrorKind::Invalid, ..refused("output") };
    assert_eq!(attributions().attribute("a", &error, false, false), Attribution::Message);
}

#[test]
fn a_grant_that_is_missing_is_the_operator_s_slip_until_a_task_has_completed() {
    let error = HostError { kind: HostErrorKind::NotGranted, ..refused("outptu") };
    assert_eq!(attributions().attribute("a", &error, false, false), Attribution::Host);
    assert_eq!(attributions().attribute("a", &error, false, true), Attribution::Message);
}

#[test]
fn of_messages_that_fail_a_bounded_number_is_remembered() {
    let attributions = attributions();
    for message in 0..3 * MAX_SUSPECTS {
        attributions.attribute(&message.to_string(), &unavailable("input"), false, true);
    }
    let suspects = attributions.suspects.lock();
    assert_eq!((suspects.by_message.len(), suspects.order.len()), (MAX_SUSPECTS, MAX_SUSPECTS));
    assert!(suspects.by_message.contains_key(&(3 * MAX_SUSPECTS - 1).to_string()));
}

/// What is special about a message's object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Object {
    Good,
    /// Its task reads it and writes nothing.
    OnlyRead,
    /// The store fails for each call that reads it.
    Breaks,
    /// The store refuses it.
    Refused,
    /// The result of its task can't be written.
    Unwritable,
}

/// How the store behaves at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Well,
    /// The store can't be reached. A check of the backends sees that.
    Down,
    /// The store refuses all writes. A check of the backends doesn't see that.
    ReadOnly,
}

#[derive(Clone, Debug)]
struct Waiting {
    id: usize,
    visible_at: f64,
    counted: u32,
}

const MAX_RECEIVES: u32 = 5;
/// Time that a task takes, in seconds.
const TASK: f64 = 0.01;

/// A worker that runs one task after the other in simulated time.
struct Simulation {
    objects: Vec<Object>,
    /// Starting times, and how the store behaves from then on.
    weather: Vec<(f64, Weather)>,
    now: f64,
    queue: Vec<Waiting>,
    breaker: Arc<Breaker>,
    attributions: Attributions,
    rules: Rules,
    has_read: Option<usize>,
    host_failed: usize,
    completed: Vec<Option<f64>>,
    dead: Vec<usize>,
}

impl Simulation {
    fn new(objects: Vec<Object>, weather: Vec<(f64, Weather)>) -> Self {
        let count = objects.len();
        Self {
            queue: (0..count).map(|id| Waiting { id, visible_at: 0.0, counted: 0 }).collect(),
            objects,
            weather,
            now: 0.0,
            breaker: Arc::new(Breaker::new(WorkerOptions::default().max_consecutive_failures)),
            attributions: attributions(),
            rules: Rules {
                policy: Policy::default(),
                backoff: Backoff::default(),
                max_receives: Some(MAX_RECEIVES),
                dead_letter: true,
            },
            has_read: None,
            host_failed: 0,
            completed: vec![None; count],
            dead: Vec::new(),
        }
    }

    fn weather(&self) -> Weather {
        self.weather
            .iter()
            .rev()
            .find(|(from, _)| *from <= self.now)
            .map_or(Weather::Well, |&(_, weather)| weather)
    }

    /// Returns the outcome of a message's task, its host error, and whether the store still returns another object.
    fn run(&mut self, id: usize) -> (Outcome, Option<HostError>, bool) {
        let weather = self.weather();
        let rejected = || Outcome::Rejected { reason: "no".into() };
        let failed = || Outcome::HostFailed { what: "down".into() };
        if weather == Weather::Down {
            return (failed(), Some(unreadable()), false);
        }
        let gives_another = self.has_read.is_some_and(|read| read != id);
        match self.objects[id] {
            Object::Breaks => return (failed(), Some(unreadable()), gives_another),
            Object::Refused => return (rejected(), Some(refused("input")), gives_another),
            Object::Good | Object::OnlyRead | Object::Unwritable => self.has_read = Some(id),
        }
        let writes = self.objects[id] != Object::OnlyRead;
        if writes && (weather == Weather::ReadOnly || self.objects[id] == Object::Unwritable) {
            let error = HostError { used: used("output", Access::Write), ..refused("output") };
            return (rejected(), Some(error), false);
        }
        (Outcome::Completed, None, false)
    }

    /// Runs until the queue is empty or the time is `end`.
    fn until(&mut self, end: f64) {
        while self.now < end && !self.queue.is_empty() {
            match self.breaker.admission() {
                Admission::Check(_) => {
                    self.now += self.breaker.pause().as_secs_f64();
                    self.breaker.checked((self.weather() == Weather::Down).then_some("down"));
                    continue;
                }
                Admission::Probe | Admission::All => {}
                Admission::Wait => unreachable!("one task after the other"),
            }
            let next = (0..self.queue.len())
                .filter(|&at| self.queue[at].visible_at <= self.now)
                .min_by(|&a, &b| self.queue[a].visible_at.total_cmp(&self.queue[b].visible_at));
            let Some(next) = next else {
                let soonest =
                    self.queue.iter().map(|waiting| waiting.visible_at).fold(f64::INFINITY, f64::min);
                self.now = soonest;
                continue;
            };
            let waiting = self.queue.remove(next);
            let probe = self.breaker.begin_probe();
            self.now += TASK;
            self.settle(waiting, probe);
        }
    }

    fn settle(&mut self, mut waiting: Waiting, probe: Option<Probe>) {
        let (mut outcome, error, well) = self.run(waiting.id);
        let uses = [used("input", Access::Read), used("output", Access::Write)];
        let reads_only = self.objects[waiting.id] == Object::OnlyRead;
        let uses = if reads_only { &uses[..1] } else { &uses[..] };
        let attribution = match &error {
            None => {
                self.attributions.succeeded(uses);
                self.breaker.used(uses);
                Attribution::Message
            }
            Some(error) => {
                let proven = self.breaker.has_completed();
                self.attributions.attribute(&waiting.id.to_string(), error, well, proven)
            }
        };
        if attribution != Attribution::Message {
            outcome = Outcome::HostFailed { what: "down".into() };
            self.host_failed += 1;
        }
        self.breaker.task_ended(&outcome, attribution, error.as_ref(), true);
        let decision = decide(&outcome, attribution, waiting.counted + 1, &self.rules, 1.0);
        let decision = self.breaker.hold_back(decision, &outcome, probe.is_some(), self.rules.backoff.first);
        let well: &[Used] = if error.is_some() { &[] } else { uses };
        let tests = self.breaker.is_tested_by(well, |_| true);
        let evidence = Evidence::of(&outcome, attribution, true, true, tests);
        match decision {
            Decision::Delete => self.completed[waiting.id] = Some(self.now),
            Decision::DeadLetter => self.dead.push(waiting.id),
            Decision::Retry(delay) => {
                waiting.counted += 1;
                waiting.visible_at = self.now + delay.as_secs_f64();
                self.queue.push(waiting);
            }
            Decision::Release(delay) => {
                waiting.visible_at = self.now + delay.as_secs_f64();
                self.queue.push(waiting);
            }
            Decision::Leave => unreachable!("no lease expires"),
        }
        self.breaker.settled(evidence, probe);
    }
}

fn objects() -> impl Strategy<Value = Vec<Object>> {
    let object = prop_oneof![
        6 => Just(Object::Good),
        2 => Just(Object::OnlyRead),
        1 => Just(Object::Breaks),
        1 => Just(Object::Refused),
        1 => Just(Object::Unwritable),
    ];
    prop::collection::vec(object, 2..60)
}

proptest! {
    /// No good message is dead-lettered, however long the store fails and however many objects are odd.
    #[test]
    fn a_backend_that_fails_costs_good_messages_time_only(
        objects in objects(),
        outages in prop::collection::vec((0.0..600.0_f64, 1.0..900.0_f64, any::<bool>()), 0..4),
    ) {
        let mut weather = Vec::new();
        let mut at = 0.0;
        for (before, long, down) in outages {
            weather.push((at + before, if down { Weather::Down } else { Weather::ReadOnly }));
            at += before + long;
            weather.push((at, Weather::Well));
        }
        let mut simulation = Simulation::new(objects, weather);
        simulation.until(at + 24.0 * 3600.0);
        let good = |id: &usize| matches!(simulation.objects[*id], Object::Good | Object::OnlyRead);
        prop_assert!(!simulation.dead.iter().any(good), "{:?}", simulation.dead);
        for id in (0..simulation.objects.len()).filter(good) {
            prop_assert!(simulation.completed[id].is_some(), "message {id} is still waiting");
        }
    }

    /// While the store works, odd objects delay good ones only by the probes that show that the store works.
    #[test]
    fn odd_objects_do_not_stop_a_worker(odd in prop::collection::vec(0..3, 1..20), good in 1..20_usize) {
        let kinds = [Object::Breaks, Object::Refused, Object::Unwritable];
        let mut objects: Vec<_> = odd.iter().map(|&kind| kinds[kind as usize]).collect();
        let first_good = objects.len();
        objects.extend(std::iter::repeat_n(Object::Good, good));
        let mut simulation = Simulation::new(objects, Vec::new());
        simulation.until(24.0 * 3600.0);
        let last = simulation.completed[first_good..].iter().map(|at| at.expect("completed"));
        let last = last.fold(0.0, f64::max);
        // Each odd object may cost one pause before a good one has shown that the store works.
        prop_assert!(last <= 1.0 + 30.0 * odd.len() as f64, "{last} s");
        // As others succeed, only odd messages end as dead letters.
        prop_assert!(simulation.dead.iter().all(|&id| id < first_good));
    }
}

#[test]
fn a_right_that_is_lost_fails_one_task_a_pause_though_others_do_not_need_it() {
    let objects = [Object::Good, Object::OnlyRead].repeat(60);
    let mut simulation = Simulation::new(objects, vec![(0.0, Weather::ReadOnly), (600.0, Weather::Well)]);
    simulation.until(600.0);
    // Of 3 that open the circuit, and then after 1, 2, 4, 8, 16 and each 30 s.
    assert!(simulation.host_failed <= 3 + 5 + 20, "{}", simulation.host_failed);
    simulation.until(24.0 * 3600.0);
    assert!(simulation.dead.is_empty() && simulation.completed.iter().all(Option::is_some));
}

#[test]
fn an_odd_object_among_good_ones_is_dead_lettered_and_delays_none_of_them() {
    let mut objects = vec![Object::Good; 200];
    (objects[50], objects[51], objects[52], objects[53]) =
        (Object::Breaks, Object::Refused, Object::Breaks, Object::Breaks);
    let mut simulation = Simulation::new(objects, Vec::new());
    simulation.until(2000.0 * TASK);
    let done = simulation.completed.iter().filter(|at| at.is_some()).count();
    assert_eq!(done, 196, "after {} s", simulation.now);
    assert_eq!(simulation.dead, [51], "the store hands out others, and refuses this one");
}
