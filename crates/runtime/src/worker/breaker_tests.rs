//! The circuit breaker, without a worker.

use super::*;
use crate::model::host_error::Access;
use crate::worker::circuit::LONGEST_PAUSE;

const WELL: Evidence = Evidence::Well { called: true, completed: false, tests: true };
const COMPLETED: Evidence = Evidence::Well { called: true, completed: true, tests: true };

fn breaker() -> Arc<Breaker> {
    Arc::new(Breaker::new(NonZeroU32::new(20)))
}

/// Makes the circuit half-open, and lets a message probe.
fn probe(breaker: &Arc<Breaker>) -> Option<Probe> {
    breaker.checked(None);
    let probe = breaker.begin_probe();
    assert!(probe.is_some());
    probe
}

fn task_failed(breaker: &Breaker) -> Option<Duration> {
    breaker.task_failed(&Outcome::TimedOut)
}

fn pause_after(breaker: &Breaker, failure: impl FnOnce(&Breaker)) -> Duration {
    failure(breaker);
    breaker.pause()
}

fn open_breaker() -> Arc<Breaker> {
    let breaker = breaker();
    for _ in 0..THRESHOLD {
        breaker.backend_failed(None, "down");
    }
    breaker
}

#[test]
fn single_failures_among_successes_stop_nothing() {
    let breaker = breaker();
    for _ in 0..10 {
        assert_eq!(breaker.backend_failed(None, "down"), None);
        assert_eq!(breaker.backend_failed(None, "down"), None);
        breaker.settled(WELL, None);
    }
    assert_eq!(breaker.admission(), Admission::All);
}

#[test]
fn tasks_that_call_nothing_do_not_hide_that_others_fail() {
    let breaker = breaker();
    for _ in 1..THRESHOLD {
        breaker.backend_failed(None, "down");
        breaker.settled(Evidence::Well { called: false, completed: true, tests: true }, None);
    }
    assert_eq!(breaker.backend_failed(None, "down"), Some(FIRST_PAUSE));
    assert_eq!(breaker.why(), "down");
}

#[test]
fn failures_in_a_row_stop_receiving_until_a_check_and_a_probe_succeed() {
    let breaker = open_breaker();
    assert!(matches!(breaker.admission(), Admission::Check(_)));
    assert!(breaker.begin_probe().is_none());
    breaker.settled(WELL, None);
    assert!(matches!(breaker.admission(), Admission::Check(_)), "a late success says nothing");
    breaker.checked(None);
    assert_eq!(breaker.admission(), Admission::Probe);
    let probe = breaker.begin_probe();
    assert!(probe.is_some());
    assert_eq!(breaker.admission(), Admission::Wait);
    assert!(breaker.begin_probe().is_none(), "one message probes");
    breaker.settled(WELL, probe);
    assert_eq!(breaker.admission(), Admission::All);
}

#[test]
fn pauses_grow_to_a_bound_and_start_anew_after_a_recovery() {
    let breaker = open_breaker();
    let pauses = [(); 8].map(|()| pause_after(&breaker, |breaker| breaker.checked(Some("down"))).as_secs());
    assert_eq!(pauses, [2, 4, 8, 16, 30, 30, 30, 30]);
    let _probe = probe(&breaker);
    assert_eq!(
        breaker.backend_failed(None, "down"),
        Some(LONGEST_PAUSE),
        "a probe that fails goes on where the pauses were"
    );
    let probe = probe(&breaker);
    breaker.settled(WELL, probe);
    for _ in 1..THRESHOLD {
        assert_eq!(breaker.backend_failed(None, "down"), None);
    }
    assert_eq!(breaker.backend_failed(None, "down"), Some(FIRST_PAUSE));
}

#[test]
fn after_a_probe_that_says_nothing_the_next_message_probes() {
    let breaker = open_breaker();
    drop(probe(&breaker));
    assert_eq!(breaker.admission(), Admission::Probe);
    let probe = breaker.begin_probe();
    breaker.settled(Evidence::None, probe);
    assert_eq!(breaker.admission(), Admission::Probe);
}

#[test]
fn a_queue_that_does_not_settle_stops_receiving_even_if_tasks_succeed() {
    let breaker = breaker();
    breaker.settled(WELL, None);
    let fail = |breaker: &Breaker| breaker.queue_failed("no");
    assert_eq!(pause_after(&breaker, fail), FIRST_PAUSE);
    breaker.settled(WELL, None);
    assert_eq!(pause_after(&breaker, fail), FIRST_PAUSE, "it has stopped already");
    assert!(matches!(breaker.admission(), Admission::Check(_)));
}

#[test]
fn a_queue_that_cannot_be_received_from_stops_receiving_at_once() {
    let breaker = breaker();
    assert_eq!(breaker.receive_failed("no"), FIRST_PAUSE);
    assert!(matches!(breaker.admission(), Admission::Check(_)));
    assert_eq!(breaker.receive_failed("no"), FIRST_PAUSE, "they failed together");
    breaker.checked(None);
    assert_eq!(breaker.receive_failed("no"), FIRST_PAUSE * 2);
}

#[test]
fn tasks_that_all_fail_slow_the_worker_down_until_one_completes() {
    let breaker = breaker();
    for _ in 1..UNPROVEN {
        assert_eq!(task_failed(&breaker), None);
    }
    assert_eq!(task_failed(&breaker), Some(FIRST_PAUSE));
    assert_eq!(breaker.cause(), Some(Cause::Tasks));
    let first = probe(&breaker);
    assert_eq!(task_failed(&breaker), None, "its settlement tells how the probe ended");
    assert_eq!(pause_after(&breaker, |breaker| breaker.settled(WELL, first)), FIRST_PAUSE * 2);
    let second = probe(&breaker);
    assert_eq!(pause_after(&breaker, |breaker| breaker.settled(Evidence::Failed, second)), FIRST_PAUSE * 4);
    breaker.settled(COMPLETED, None);
    assert_eq!(breaker.admission(), Admission::All, "a task that was under way has completed");
}

#[test]
fn a_worker_whose_tasks_have_completed_is_trusted_for_longer() {
    let breaker = breaker();
    breaker.task_ended(&Outcome::Completed, Attribution::Message, None, true);
    for _ in 1..20 {
        assert_eq!(task_failed(&breaker), None);
    }
    assert_eq!(task_failed(&breaker), Some(FIRST_PAUSE));
}

#[test]
fn a_task_that_completes_among_others_that_fail_keeps_the_breaker_closed() {
    let breaker = breaker();
    for _ in 0..1000 {
        for _ in 1..UNPROVEN {
            assert_eq!(task_failed(&breaker), None);
        }
        breaker.settled(COMPLETED, None);
    }
}

#[test]
fn failing_tasks_never_open_a_breaker_that_does_not_count_them() {
    let breaker = Breaker::new(None);
    assert!((0..10_000).all(|_| task_failed(&breaker).is_none()));
    assert_eq!(breaker.cause(), None);
}

#[test]
fn an_outage_in_a_probe_of_failing_tasks_is_an_outage() {
    let breaker = breaker();
    while task_failed(&breaker).is_none() {}
    let _probe = probe(&breaker);
    assert_eq!(breaker.backend_failed(None, "down"), Some(FIRST_PAUSE * 2));
    assert_eq!(breaker.cause(), Some(Cause::Backend));
    breaker.settled(COMPLETED, None);
    assert_eq!(breaker.cause(), Some(Cause::Backend), "a late success says nothing of backends");
}

#[test]
fn reading_with_success_does_not_hide_that_writing_fails() {
    let breaker = breaker();
    let [read, write] = [Access::Read, Access::Write].map(|access| Used { backend: "s".into(), access });
    for _ in 1..THRESHOLD {
        assert_eq!(breaker.backend_failed(Some(&write), "down"), None);
        breaker.used(std::slice::from_ref(&read));
        breaker.settled(COMPLETED, None);
    }
    assert_eq!(breaker.backend_failed(Some(&write), "down"), Some(FIRST_PAUSE));
    let breaker = self::breaker();
    for _ in 0..10 {
        assert_eq!(breaker.backend_failed(Some(&write), "down"), None);
        breaker.used(std::slice::from_ref(&write));
    }
}

#[test]
fn a_probe_that_does_not_use_the_failing_backend_leaves_the_circuit_half_open() {
    let [read, write] = [Access::Read, Access::Write].map(|access| Used { backend: "s".into(), access });
    let breaker = breaker();
    let idle = |times: u32| {
        for _ in 0..times {
            assert_eq!(breaker.admission(), Admission::Probe);
            let probe = breaker.begin_probe();
            let tests = breaker.is_tested_by(std::slice::from_ref(&read), |_| true);
            breaker.settled(Evidence::Well { called: true, completed: true, tests }, probe);
            assert!(breaker.lock().idle_probes > 0 || breaker.cause().is_none());
        }
    };
    while breaker.backend_failed(Some(&write), "denied").is_none() {}
    breaker.checked(None);
    idle(MOST_IDLE_PROBES - 1);
    let fails = breaker.begin_probe();
    assert_eq!(breaker.backend_failed(Some(&write), "denied"), Some(FIRST_PAUSE * 2));
    breaker.settled(Evidence::None, fails);
    assert!(!breaker.waiting_may_not_probe(), "no probe was idle since");
    breaker.checked(None);
    idle(1);
    breaker.lock().waiting_after = Instant::now() + LONGEST_PAUSE;
    assert!(breaker.waiting_may_not_probe());
    breaker.lock().waiting_after = Instant::now();
    assert!(
        !breaker.waiting_may_not_probe(),
        "a pause has passed: only those that wait show when the backend works"
    );
    idle(MOST_IDLE_PROBES - 1);
    assert_eq!(breaker.admission(), Admission::All, "no message needs the backend");
}

#[test]
fn a_probe_closes_the_circuit_that_uses_the_failing_backend_or_cannot_use_it() {
    let write = Used { backend: "s".into(), access: Access::Write };
    for (well, may_use) in [(vec![write.clone()], true), (Vec::new(), false)] {
        let breaker = breaker();
        while breaker.backend_failed(Some(&write), "denied").is_none() {}
        let probe = probe(&breaker);
        assert!(!breaker.is_tested_by(&[], |_| true));
        let tests = breaker.is_tested_by(&well, |_| may_use);
        breaker.settled(Evidence::Well { called: true, completed: true, tests }, probe);
        assert_eq!(breaker.admission(), Admission::All);
    }
}

#[test]
fn a_task_of_before_tells_nothing_of_a_probe() {
    let breaker = open_breaker();
    let _probe = probe(&breaker);
    breaker.settled(WELL, None);
    assert_eq!(breaker.admission(), Admission::Wait);
}

#[test]
fn an_expired_message_says_nothing_of_the_component_and_is_not_held_back_because_of_it() {
    let breaker = breaker();
    let expired = Outcome::Expired { reason: "old".into() };
    for _ in 0..100 {
        breaker.task_ended(&expired, Attribution::Message, None, false);
    }
    assert_eq!((breaker.failed_tasks(), breaker.admission()), (0, Admission::All));
    assert_eq!(Evidence::of(&expired, Attribution::Message, false, false, true), Evidence::None);
    while task_failed(&breaker).is_none() {}
    assert_eq!(breaker.cause(), Some(Cause::Tasks));
    let held = |outcome| breaker.hold_back(Decision::DeadLetter, outcome, false, Duration::ZERO);
    assert!(matches!(held(&Outcome::TimedOut), Decision::Release(_)));
    assert_eq!(held(&expired), Decision::DeadLetter);
}
