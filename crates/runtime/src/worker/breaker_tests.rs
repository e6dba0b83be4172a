//! The circuit breaker, without a worker.

use super::*;
use crate::host_error::Access;

const WELL: Evidence = Evidence::Well { called: true, completed: false };
const COMPLETED: Evidence = Evidence::Well { called: true, completed: true };

fn breaker() -> Breaker {
    Breaker::new(NonZeroU32::new(20))
}

fn open_breaker() -> Breaker {
    let breaker = breaker();
    for _ in 0..THRESHOLD {
        breaker.failed(None);
    }
    breaker
}

#[test]
fn single_failures_among_successes_stop_nothing() {
    let breaker = breaker();
    for _ in 0..10 {
        assert_eq!(breaker.failed(None), None);
        assert_eq!(breaker.failed(None), None);
        assert_eq!(breaker.settled(WELL, true), Change::None);
    }
    assert_eq!(breaker.admission(), Admission::All);
}

#[test]
fn tasks_that_call_nothing_do_not_hide_that_others_fail() {
    let breaker = breaker();
    for _ in 1..THRESHOLD {
        breaker.failed(None);
        breaker.settled(Evidence::Well { called: false, completed: true }, true);
    }
    assert_eq!(breaker.failed(None), Some(FIRST_PAUSE));
}

#[test]
fn failures_in_a_row_stop_receiving_until_a_probe_and_a_trial_succeed() {
    let breaker = open_breaker();
    assert!(matches!(breaker.admission(), Admission::Probe(_)));
    breaker.settled(WELL, true);
    assert!(matches!(breaker.admission(), Admission::Probe(_)), "a late success says nothing");
    assert_eq!(breaker.probed(true), None);
    assert_eq!(breaker.admission(), Admission::One);
    breaker.trial_begins();
    assert_eq!(breaker.admission(), Admission::Wait);
    assert_eq!(breaker.settled(WELL, true), Change::Recovered(Cause::Backend));
    assert_eq!(breaker.admission(), Admission::All);
}

#[test]
fn pauses_grow_to_a_bound_and_start_anew_after_a_recovery() {
    let breaker = open_breaker();
    let pauses: Vec<_> = (0..8).filter_map(|_| breaker.probed(false)).map(|pause| pause.as_secs()).collect();
    assert_eq!(pauses, [2, 4, 8, 16, 30, 30, 30, 30]);
    breaker.probed(true);
    breaker.trial_begins();
    assert_eq!(breaker.failed(None), Some(LONGEST_PAUSE), "a trial that fails goes on where the pauses were");
    breaker.probed(true);
    breaker.settled(WELL, true);
    for _ in 1..THRESHOLD {
        assert_eq!(breaker.failed(None), None);
    }
    assert_eq!(breaker.failed(None), Some(FIRST_PAUSE));
}

#[test]
fn a_trial_that_says_nothing_is_tried_again() {
    let breaker = open_breaker();
    breaker.probed(true);
    breaker.trial_begins();
    breaker.trial_says_nothing();
    assert_eq!(breaker.admission(), Admission::One);
}

#[test]
fn a_queue_that_does_not_settle_stops_receiving_even_if_tasks_succeed() {
    let breaker = breaker();
    breaker.settled(WELL, true);
    assert_eq!(breaker.queue_failed(), Some(FIRST_PAUSE));
    breaker.settled(WELL, true);
    assert_eq!(breaker.queue_failed(), None, "it has stopped already");
    assert!(matches!(breaker.admission(), Admission::Probe(_)));
}

#[test]
fn a_queue_that_cannot_be_received_from_stops_receiving_at_once() {
    let breaker = breaker();
    assert_eq!(breaker.receive_failed(), FIRST_PAUSE);
    assert!(matches!(breaker.admission(), Admission::Probe(_)));
    assert_eq!(breaker.receive_failed(), FIRST_PAUSE, "they failed together");
    breaker.probed(true);
    assert_eq!(breaker.receive_failed(), FIRST_PAUSE * 2);
}

#[test]
fn tasks_that_all_fail_slow_the_worker_down_until_one_completes() {
    let breaker = breaker();
    for _ in 1..UNPROVEN {
        assert_eq!(breaker.task_failed(), None);
    }
    assert_eq!(breaker.task_failed(), Some(FIRST_PAUSE));
    assert_eq!(breaker.cause(), Some(Cause::Tasks));
    assert_eq!(breaker.probed(true), None);
    breaker.trial_begins();
    assert_eq!(breaker.task_failed(), None, "its settlement tells how the trial ended");
    assert_eq!(breaker.settled(WELL, true), Change::StillFailing(FIRST_PAUSE * 2));
    breaker.probed(true);
    breaker.trial_begins();
    assert_eq!(breaker.settled(Evidence::Failed, true), Change::StillFailing(FIRST_PAUSE * 4));
    assert_eq!(
        breaker.settled(COMPLETED, true),
        Change::Recovered(Cause::Tasks),
        "of one that was under way"
    );
    assert_eq!(breaker.admission(), Admission::All);
}

#[test]
fn a_worker_whose_tasks_have_completed_is_trusted_for_longer() {
    let breaker = breaker();
    breaker.settled(COMPLETED, true);
    for _ in 1..20 {
        assert_eq!(breaker.task_failed(), None);
    }
    assert_eq!(breaker.task_failed(), Some(FIRST_PAUSE));
}

#[test]
fn a_task_that_completes_among_others_that_fail_keeps_the_breaker_closed() {
    let breaker = breaker();
    for _ in 0..1000 {
        for _ in 1..UNPROVEN {
            assert_eq!(breaker.task_failed(), None);
        }
        breaker.settled(COMPLETED, true);
    }
}

#[test]
fn failing_tasks_never_open_a_breaker_that_does_not_count_them() {
    let breaker = Breaker::new(None);
    assert!((0..10_000).all(|_| breaker.task_failed().is_none()));
    assert_eq!(breaker.cause(), None);
}

#[test]
fn an_outage_in_a_trial_of_failing_tasks_is_an_outage() {
    let breaker = breaker();
    while breaker.task_failed().is_none() {}
    breaker.probed(true);
    breaker.trial_begins();
    assert_eq!(breaker.failed(None), Some(FIRST_PAUSE * 2));
    assert_eq!(breaker.cause(), Some(Cause::Backend));
    assert_eq!(breaker.settled(COMPLETED, true), Change::None, "a late success says nothing of backends");
}

#[test]
fn reading_with_success_does_not_hide_that_writing_fails() {
    let breaker = breaker();
    let [read, write] = [Access::Read, Access::Write].map(|access| Used { backend: "s".into(), access });
    for _ in 1..THRESHOLD {
        assert_eq!(breaker.failed(Some(&write)), None);
        breaker.used(std::slice::from_ref(&read));
        breaker.settled(COMPLETED, false);
    }
    assert_eq!(breaker.failed(Some(&write)), Some(FIRST_PAUSE));
    let breaker = self::breaker();
    for _ in 0..10 {
        assert_eq!(breaker.failed(Some(&write)), None);
        breaker.used(std::slice::from_ref(&write));
    }
}

#[test]
fn a_task_of_before_tells_nothing_of_a_trial() {
    let breaker = open_breaker();
    breaker.probed(true);
    breaker.trial_begins();
    assert_eq!(breaker.settled(WELL, false), Change::None);
    assert_eq!(breaker.admission(), Admission::Wait);
}
