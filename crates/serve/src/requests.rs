//! The queue of a service: requests that wait for an instance, in memory. None is delivered twice, and none outlives its
//! client.

use async_trait::async_trait;
use http::{Request, Response};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use wasmrun_runtime::model::limits::Limit;
use wasmrun_runtime::model::message::{MAX_VISIBILITY, Message, OutgoingMessage};
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::model::usage::{TaskObserver, TaskRecord};
use wasmrun_runtime::ports::http::Body;
use wasmrun_runtime::ports::queue::{Delivery, Depth, Queue, QueueAttributes, QueueError, Receipt};
use wasmrun_runtime::ports::requests::{Exchange, Requests};

/// The requests of a service. A worker receives them as messages, and the tasks take them by the message's ID.
pub struct RequestQueue {
    url: String,
    /// Beginning of the IDs, so that they differ from those of other processes.
    prefix: String,
    most_waiting: usize,
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    last: u64,
    /// Messages that no worker has received yet, in the order of their arrival.
    waiting: BTreeMap<u64, Message>,
    /// Requests without a final outcome, received or not.
    open: HashMap<u64, Open>,
}

struct Open {
    /// `None`: its task has taken it.
    exchange: Option<Exchange>,
    end: oneshot::Sender<End>,
}

/// How the task of a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) outcome: OutcomeKind,
    pub(crate) limit: Option<Limit>,
}

/// A request that was added. Dropping it withdraws the request, and ends its task.
pub(crate) struct Added<'a> {
    queue: &'a RequestQueue,
    number: u64,
    /// The head of the response, with its body to follow. Fails if the task ends without one.
    pub(crate) response: oneshot::Receiver<Response<Body>>,
    /// How the task ended. Fails if the request was never given to a task.
    pub(crate) end: oneshot::Receiver<End>,
    gone: Option<DropGuard>,
}

impl RequestQueue {
    /// Creates the queue of the service at this URL, in which at most this number of requests waits.
    pub fn new(url: String, most_waiting: usize) -> Self {
        let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        // Unique enough to tell processes apart in a log: nothing depends on it.
        let prefix = format!("{:08x}{:04x}", started.as_millis() as u32, std::process::id() as u16);
        Self { url, prefix, most_waiting, state: Mutex::default(), arrived: Notify::new() }
    }

    /// Adds a request, with a message for the trace that it belongs to. Returns `None` if too many wait.
    pub(crate) fn add(&self, request: Request<Body>, message: Message) -> Option<Added<'_>> {
        let gone = CancellationToken::new();
        let ((respond, response), (ended, end)) = (oneshot::channel(), oneshot::channel());
        let mut state = self.state.lock();
        if state.waiting.len() >= self.most_waiting {
            return None;
        }
        state.last += 1;
        let number = state.last;
        let message = Message { id: self.id(number), ..message };
        state.waiting.insert(number, message);
        let exchange = Some(Exchange { request, respond, gone: gone.clone() });
        state.open.insert(number, Open { exchange, end: ended });
        drop(state);
        self.arrived.notify_one();
        Some(Added { queue: self, number, response, end, gone: Some(gone.drop_guard()) })
    }

    fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.prefix)
    }

    fn number(&self, id: &str) -> Option<u64> {
        id.strip_prefix(&self.prefix)?.strip_prefix('-')?.parse().ok()
    }

    fn close(&self, id: &str) -> Option<Open> {
        self.state.lock().open.remove(&self.number(id)?)
    }

    fn take_waiting(&self, most: usize) -> Vec<Delivery> {
        let mut state = self.state.lock();
        let visible_at = Instant::now() + MAX_VISIBILITY;
        let messages = std::iter::from_fn(|| state.waiting.pop_first()).take(most);
        messages
            .map(|(_, message)| Delivery { receipt: Receipt(message.id.clone()), message, visible_at })
            .collect()
    }
}

impl Added<'_> {
    /// Returns the ID of the request's message.
    pub(crate) fn id(&self) -> String {
        self.queue.id(self.number)
    }

    /// Withdraws the request if no worker has received it yet. Returns whether it was so.
    pub(crate) fn withdraw(&self) -> bool {
        let mut state = self.queue.state.lock();
        let waited = state.waiting.remove(&self.number).is_some();
        if waited {
            state.open.remove(&self.number);
        }
        waited
    }

    /// Takes what ends the task when it's dropped, for the body of the response.
    pub(crate) fn take_guard(&mut self) -> Option<DropGuard> {
        self.gone.take()
    }
}

impl Drop for Added<'_> {
    fn drop(&mut self) {
        // With the guard, the response took over.
        if self.gone.is_some() {
            self.withdraw();
        }
    }
}

impl Requests for RequestQueue {
    fn take(&self, message_id: &str) -> Option<Exchange> {
        let number = self.number(message_id)?;
        self.state.lock().open.get_mut(&number)?.exchange.take()
    }
}

impl TaskObserver for RequestQueue {
    fn ended(&self, record: &TaskRecord<'_>) {
        if let Some(open) = self.close(record.message_id) {
            let _ = open.end.send(End { outcome: record.outcome, limit: record.limit });
        }
    }
}

#[async_trait]
impl Queue for RequestQueue {
    fn url(&self) -> &str {
        &self.url
    }

    async fn attributes(&self) -> Result<QueueAttributes, QueueError> {
        Ok(QueueAttributes { visibility_timeout: MAX_VISIBILITY, ..QueueAttributes::default() })
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        let state = self.state.lock();
        let waiting = state.waiting.len();
        let in_flight = state.open.len().saturating_sub(waiting);
        Ok(Depth { visible: waiting as u64, in_flight: in_flight as u64, delayed: 0 })
    }

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery>, QueueError> {
        let over = tokio::time::sleep(wait);
        tokio::pin!(over);
        loop {
            let arrived = self.arrived.notified();
            let deliveries = self.take_waiting(max);
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
            tokio::select! {
                () = arrived => {}
                () = &mut over => return Ok(Vec::new()),
                () = stop.cancelled() => return Ok(Vec::new()),
            }
        }
    }

    /// A request ends with its task: the worker isn't woken for it.
    fn settles(&self) -> bool {
        false
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>> {
        receipts.iter().map(|_| Ok(())).collect()
    }

    /// A request that is released isn't delivered again: its client is told to come back later.
    async fn set_visibility(&self, messages: &[(Receipt, Duration)]) -> Vec<Result<(), QueueError>> {
        for (receipt, _) in messages.iter().filter(|(_, visibility)| *visibility < MAX_VISIBILITY) {
            drop(self.close(&receipt.0));
        }
        messages.iter().map(|_| Ok(())).collect()
    }

    async fn send(&self, messages: &[OutgoingMessage]) -> Vec<Result<String, QueueError>> {
        let refused = || QueueError::Unusable("requests come over HTTP alone".into());
        messages.iter().map(|_| Err(refused())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Empty};
    use wasmrun_runtime::model::outcome::{Cancel, Outcome};
    use wasmrun_runtime::model::usage::Usage;

    fn queue(most_waiting: usize) -> RequestQueue {
        RequestQueue::new("http://test".into(), most_waiting)
    }

    fn add(queue: &RequestQueue) -> Option<Added<'_>> {
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        queue.add(Request::new(body), Message::new("", ""))
    }

    async fn receive(queue: &RequestQueue, max: usize) -> Vec<Delivery> {
        queue.receive(max, Duration::ZERO, &CancellationToken::new()).await.expect("received")
    }

    fn ended(queue: &RequestQueue, message: &Message, outcome: &Outcome) {
        queue.ended(&TaskRecord::new(message, "c", outcome, &Usage::default()));
    }

    fn is_empty(queue: &RequestQueue) -> bool {
        let state = queue.state.lock();
        state.waiting.is_empty() && state.open.is_empty()
    }

    #[tokio::test]
    async fn requests_are_received_once_and_in_the_order_of_their_arrival() {
        let queue = queue(10);
        let added: Vec<_> = (0..3).map(|_| add(&queue).expect("added")).collect();
        let ids: Vec<_> = added.iter().map(Added::id).collect();
        let mut received = receive(&queue, 2).await;
        received.extend(receive(&queue, 2).await);
        assert_eq!(received.iter().map(|delivery| delivery.message.id.clone()).collect::<Vec<_>>(), ids);
        assert!(receive(&queue, 2).await.is_empty());
        let exchanges = ids.iter().filter_map(|id| queue.take(id));
        assert_eq!(exchanges.count(), 3);
        assert!(queue.take(&ids[0]).is_none(), "another task has it");
    }

    #[tokio::test]
    async fn no_more_requests_wait_than_may() {
        let queue = queue(2);
        let first = (add(&queue).expect("added"), add(&queue).expect("added"));
        assert!(add(&queue).is_none());
        receive(&queue, 1).await;
        assert!(add(&queue).is_some(), "one no longer waits");
        drop(first);
    }

    #[tokio::test]
    async fn a_request_whose_client_has_gone_gets_no_task_or_its_task_ends() {
        let queue = queue(10);
        drop(add(&queue));
        assert!(is_empty(&queue) && receive(&queue, 1).await.is_empty());
        let added = add(&queue).expect("added");
        let message = receive(&queue, 1).await.remove(0).message;
        let exchange = queue.take(&message.id).expect("a request");
        drop(added);
        assert!(exchange.gone.is_cancelled());
        ended(&queue, &message, &Outcome::Cancelled { why: Cancel::ClientGone });
        assert!(is_empty(&queue));
    }

    #[tokio::test]
    async fn who_waits_learns_how_the_task_ended_or_that_there_was_none() {
        let queue = queue(10);
        let (mut failed, mut released) = (add(&queue).expect("added"), add(&queue).expect("added"));
        let received = receive(&queue, 2).await;
        drop(queue.take(&received[0].message.id));
        assert!((&mut failed.response).await.is_err());
        ended(&queue, &received[0].message, &Outcome::TimedOut);
        let end = (&mut failed.end).await.expect("an end");
        assert_eq!(end, End { outcome: OutcomeKind::TimedOut, limit: None });
        queue.release(&[(received[1].receipt.clone(), Duration::ZERO)]).await;
        assert!((&mut released.response).await.is_err() && (&mut released.end).await.is_err());
        assert!(is_empty(&queue));
    }

    #[tokio::test]
    async fn a_request_that_was_received_can_no_longer_be_withdrawn() {
        let queue = queue(10);
        let (waiting, received) = (add(&queue).expect("added"), add(&queue).expect("added"));
        assert!(waiting.withdraw() && !waiting.withdraw());
        assert_eq!(receive(&queue, 10).await.len(), 1);
        assert!(!received.withdraw());
    }

    #[test]
    fn an_id_of_another_process_means_nothing() {
        let queue = queue(10);
        let added = add(&queue).expect("added");
        let id = added.id();
        for other in ["", "-1", "1", "x-1", &id[1..], &format!("{id}x"), &format!("{id}0")] {
            assert!(queue.take(other).is_none(), "{other}");
        }
        assert!(queue.take(&id).is_some());
    }
}
