use super::*;
use crate::model::limits::Limit;
use crate::model::message::OutgoingMessage;
use crate::ports::queue::{Delivery, Depth, QueueAttributes};
use crate::worker::permits::Permits;
use std::collections::VecDeque;
use std::sync::Mutex;

const RULES: Rules = Rules {
    policy: Policy {
        retry: Action::Retry,
        rejected: Action::DeadLetter,
        limit_exceeded: Action::Retry,
        timed_out: Action::Retry,
        trapped: Action::Drop,
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
    assert_eq!(decide(Outcome::HostFailed { what: "x".into() }), Decision::Release(secs(2)));
    assert_eq!(decide(Outcome::Cancelled { why: Cancel::Drain }), Decision::Release(Duration::ZERO));
    assert_eq!(decide(Outcome::Cancelled { why: Cancel::LeaseExpired }), Decision::Leave);
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

/// A queue that gives scripted answers and records the calls.
struct Scripted {
    answers: Mutex<VecDeque<Vec<Result<(), QueueError>>>>,
    deleted: Mutex<Vec<Vec<String>>>,
}

#[async_trait::async_trait]
impl Queue for Scripted {
    fn url(&self) -> &str {
        "memory:scripted"
    }
    async fn attributes(&self) -> Result<QueueAttributes, QueueError> {
        Ok(QueueAttributes::default())
    }
    async fn depth(&self) -> Result<Depth, QueueError> {
        Ok(Depth::default())
    }
    async fn receive(
        &self,
        _: usize,
        _: Duration,
        _: &CancellationToken,
    ) -> Result<Vec<Delivery>, QueueError> {
        Ok(Vec::new())
    }
    async fn delete(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>> {
        let asked = receipts.iter().map(|receipt| receipt.0.clone()).collect();
        self.deleted.lock().expect("a lock").push(asked);
        let scripted = self.answers.lock().expect("a lock").pop_front();
        scripted.unwrap_or_else(|| vec![Ok(()); receipts.len()])
    }
    async fn set_visibility(&self, receipts: &[Receipt], _: Duration) -> Vec<Result<(), QueueError>> {
        vec![Ok(()); receipts.len()]
    }
    async fn send(&self, messages: &[OutgoingMessage]) -> Vec<Result<String, QueueError>> {
        vec![Ok(String::new()); messages.len()]
    }
}

/// Settles messages `0`, `1`, … by deleting them, and returns the deletions that the queue was asked for.
async fn deletions(
    count: usize,
    ours: Duration,
    answers: Vec<Vec<Result<(), QueueError>>>,
    give_up: &CancellationToken,
) -> Vec<Vec<String>> {
    let queue = Scripted { answers: Mutex::new(answers.into()), deleted: Mutex::default() };
    let permits = Permits::new(1, count - 1);
    let (sender, receiver) = mpsc::unbounded_channel();
    for index in 0..count {
        let settlement = Settlement {
            message_id: index.to_string(),
            receipt: Receipt(index.to_string()),
            operation: Operation::Delete,
            ours_until: Instant::now() + ours,
            evidence: Evidence::None,
            probe: None,
            trace: None,
            _unsettled: permits.unsettled(),
        };
        sender.send(settlement).unwrap_or_else(|_| panic!("the receiver lives"));
    }
    drop(sender);
    assert!(permits.try_acquire().is_none());
    let (breaker, tally) = (Breaker::new(None), Tally::default());
    let settling = Settling { queue: &queue, breaker: &breaker, tally: &tally, observers: &[], give_up };
    settle_all(settling, receiver).await;
    assert!(permits.try_acquire().is_some(), "none is unsettled");
    queue.deleted.into_inner().expect("a lock")
}

fn unavailable() -> Result<(), QueueError> {
    Err(QueueError::Unavailable("down".into()))
}

#[tokio::test]
async fn of_a_batch_only_the_entries_that_failed_are_tried_again() {
    let answers = vec![vec![Ok(()), unavailable(), Err(QueueError::ReceiptExpired)]];
    let asked = deletions(3, Duration::from_secs(60), answers, &CancellationToken::new()).await;
    assert_eq!(asked, [vec!["0", "1", "2"], vec!["1"]]);
}

#[tokio::test]
async fn an_answer_that_lacks_entries_is_a_failure_of_those() {
    let asked = deletions(2, Duration::from_secs(60), vec![vec![Ok(())]], &CancellationToken::new()).await;
    assert_eq!(asked, [vec!["0", "1"], vec!["1"]]);
}

#[tokio::test]
async fn messages_that_accumulate_are_settled_ten_at_a_time() {
    let asked = deletions(25, Duration::from_secs(60), vec![], &CancellationToken::new()).await;
    assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
}

#[tokio::test]
async fn a_message_that_is_no_longer_ours_is_not_tried_again() {
    let asked = deletions(1, Duration::ZERO, vec![vec![unavailable()]], &CancellationToken::new()).await;
    assert_eq!(asked.len(), 1);
}

#[tokio::test]
async fn a_worker_that_gives_up_tries_nothing_again() {
    let give_up = CancellationToken::new();
    give_up.cancel();
    let asked = deletions(1, Duration::from_secs(60), vec![vec![unavailable()]], &give_up).await;
    assert_eq!(asked.len(), 1);
}
