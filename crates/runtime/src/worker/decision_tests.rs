use super::*;
use crate::model::limits::Limit;

const RULES: Rules = Rules {
    policy: Policy {
        retry: Action::Retry,
        rejected: Action::DeadLetter,
        limit_exceeded: Action::Retry,
        timed_out: Action::Retry,
        trapped: Action::Drop,
        expired: Action::DeadLetter,
    },
    backoff: Backoff { first: Duration::from_secs(2), longest: Duration::from_secs(60) },
    max_receives: Some(3),
    dead_letter: true,
};

fn retry(delay: Option<u64>) -> Outcome {
    Outcome::Retry { delay: delay.map(Duration::from_secs), reason: String::new() }
}

#[test]
fn each_outcome_is_settled_as_the_policy_says() {
    let decide = |outcome: Outcome| decide(&outcome, Attribution::Host, 1, &RULES, 1.0);
    let secs = Duration::from_secs;
    assert_eq!(decide(Outcome::Completed), Decision::Delete);
    assert_eq!(decide(retry(Some(7))), Decision::Retry(secs(7)));
    assert_eq!(decide(retry(None)), Decision::Retry(secs(2)));
    assert_eq!(decide(Outcome::Rejected { reason: "x".into() }), Decision::DeadLetter);
    assert_eq!(decide(Outcome::LimitExceeded { limit: Limit::Fuel }), Decision::Retry(secs(2)));
    assert_eq!(decide(Outcome::TimedOut), Decision::Retry(secs(2)));
    assert_eq!(decide(Outcome::Trapped { what: "x".into() }), Decision::Delete);
    assert_eq!(decide(Outcome::Expired { reason: "x".into() }), Decision::DeadLetter);
    assert_eq!(decide(Outcome::HostFailed { what: "x".into() }), Decision::Release(secs(2)));
    assert_eq!(decide(Outcome::Cancelled { why: Cancel::Drain }), Decision::Release(Duration::ZERO));
    assert_eq!(decide(Outcome::Cancelled { why: Cancel::LeaseExpired }), Decision::Leave);
    let cancelled = |then| decide(Outcome::Cancelled { why: Cancel::Operator { then } });
    assert_eq!(cancelled(Action::DeadLetter), Decision::DeadLetter);
    assert_eq!(cancelled(Action::Retry), Decision::Retry(secs(2)));
    assert_eq!(cancelled(Action::Drop), Decision::Delete);
}

#[test]
fn the_last_receive_dead_letters_with_the_reason_unless_the_host_failed() {
    let decide = |outcome: &Outcome, receive_count: u32, rules: &Rules, chance: f64| {
        decide(outcome, Attribution::Host, receive_count, rules, chance)
    };
    assert_eq!(decide(&Outcome::TimedOut, 2, &RULES, 0.0), Decision::Retry(Duration::from_secs(2)));
    assert_eq!(decide(&Outcome::TimedOut, 3, &RULES, 0.0), Decision::DeadLetter);
    assert_eq!(decide(&retry(Some(7)), 4, &RULES, 0.0), Decision::DeadLetter);
    let failed = Outcome::HostFailed { what: "x".into() };
    assert!(matches!(decide(&failed, 3, &RULES, 0.0), Decision::Release(_)));
    let nowhere = Rules { dead_letter: false, ..RULES };
    assert!(matches!(decide(&Outcome::TimedOut, 3, &nowhere, 0.0), Decision::Retry(_)));
}

#[test]
fn a_host_error_that_is_the_message_s_own_counts_and_one_that_may_be_waits_longer_each_time() {
    let failed = Outcome::HostFailed { what: "x".into() };
    let decide = |attribution, count| decide(&failed, attribution, count, &RULES, 1.0);
    let secs = Duration::from_secs;
    assert_eq!(decide(Attribution::Suspect { times: 1 }, 1), Decision::Release(secs(4)));
    assert_eq!(decide(Attribution::Suspect { times: 2 }, 1), Decision::Release(secs(8)));
    assert_eq!(decide(Attribution::Message, 1), Decision::Retry(secs(2)));
    assert_eq!(decide(Attribution::Message, 3), Decision::DeadLetter);
}

#[test]
fn backoff_doubles_to_its_bound_with_jitter() {
    let after = |count, chance| RULES.backoff.after(count, chance).as_secs();
    assert_eq!(
        [1, 2, 3, 4, 5, 6, 99, u32::MAX].map(|count| after(count, 1.0)),
        [2, 4, 8, 16, 32, 60, 60, 60]
    );
    assert_eq!([1, 2, 6].map(|count| after(count, 0.0)), [1, 2, 30]);
}
