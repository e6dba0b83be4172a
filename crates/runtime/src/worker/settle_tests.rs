use super::*;
use crate::model::message::OutgoingMessage;
use crate::ports::queue::{Delivery, Depth, Queue, QueueAttributes};
use crate::worker::permits::Permits;
use std::collections::VecDeque;
use std::sync::Mutex;

/// A queue that gives scripted answers and records the calls.
struct Scripted {
    answers: Mutex<VecDeque<Vec<Result<(), QueueError>>>>,
    deleted: Mutex<Vec<Vec<String>>>,
    delayed: Mutex<Vec<Vec<(Receipt, Duration)>>>,
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
    async fn set_visibility(&self, messages: &[(Receipt, Duration)]) -> Vec<Result<(), QueueError>> {
        self.delayed.lock().expect("a lock").push(messages.to_vec());
        vec![Ok(()); messages.len()]
    }
    async fn send(&self, messages: &[OutgoingMessage]) -> Vec<Result<String, QueueError>> {
        vec![Ok(String::new()); messages.len()]
    }
}

/// Settles messages `0`, `1`, …, each with an operation, on a queue that gives these answers. Returns the queue.
async fn settled(
    operations: &[Operation],
    ours: Duration,
    answers: Vec<Vec<Result<(), QueueError>>>,
    give_up: &CancellationToken,
) -> Arc<Scripted> {
    let queue = Arc::new(Scripted {
        answers: Mutex::new(answers.into()),
        deleted: Mutex::default(),
        delayed: Mutex::default(),
    });
    let source = Source::of_test(queue.clone(), ours, ours);
    let permits = Permits::new(1, operations.len() - 1);
    let (sender, receiver) = mpsc::unbounded_channel();
    for (index, operation) in operations.iter().enumerate() {
        let settlement = Settlement {
            message_id: index.to_string(),
            source: source.clone(),
            receipt: Receipt(index.to_string()),
            operation: *operation,
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
    let settling = Settling { source: &source, breaker: &breaker, tally: &tally, observers: &[], give_up };
    settle_all(settling, receiver).await;
    assert!(permits.try_acquire().is_some(), "none is unsettled");
    queue
}

/// Deletes this number of messages. Returns the deletions that the queue was asked for.
async fn deletions(
    count: usize,
    ours: Duration,
    answers: Vec<Vec<Result<(), QueueError>>>,
    give_up: &CancellationToken,
) -> Vec<Vec<String>> {
    let queue = settled(&vec![Operation::Delete; count], ours, answers, give_up).await;
    std::mem::take(&mut *queue.deleted.lock().expect("a lock"))
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
async fn retries_with_different_delays_share_a_call_and_each_keeps_its_delay() {
    let delay = |index: u64| Duration::from_nanos(1_000_000_001 * index);
    let retries = (0..9).map(|index| Operation::Retry(delay(index)));
    let operations: Vec<Operation> = retries.chain([Operation::Delete]).collect();
    let queue = settled(&operations, Duration::from_secs(60), vec![], &CancellationToken::new()).await;
    let delayed = std::mem::take(&mut *queue.delayed.lock().expect("a lock"));
    let expected: Vec<_> = (0..9).map(|index| (Receipt(index.to_string()), delay(index))).collect();
    assert_eq!((delayed, queue.deleted.lock().expect("a lock").len()), (vec![expected], 1));
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
