//! Messages that wait for a backend: their tasks failed with a host error, and run again when the breaker admits them.
//!
//! SQS counts each receive and can't take one back: messages that are released and received again during an outage end
//! as dead letters. A waiting message keeps its lease instead, and probes the backend with exactly the call that
//! failed.

use super::keyed::KeyPermit;
use super::lease::Lease;
use super::sources::Source;
use crate::model::key::Key;
use crate::model::message::Message;
use crate::ports::queue::Receipt;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Maximum number of messages that wait. If the tasks of that many fail, another message is unlikely to fare better.
pub(super) const MOST_WAITING: u32 = 8;
const MOST: usize = MOST_WAITING as usize;
/// A message that was received longer ago than this doesn't wait again: another worker may be able to run its task.
const LONGEST: Duration = Duration::from_secs(3600);
/// While the maximum number wait, one of this number of probes receives a new message (otherwise every second probe
/// does): all those that wait may be at fault themselves.
const NEW_MESSAGE_EACH: u32 = 4;

/// A message that the worker has received, with its lease.
pub(super) struct LeasedMessage {
    pub(super) message: Arc<Message>,
    pub(super) receipt: Receipt,
    pub(super) lease: Lease,
    /// The queue that it is from.
    pub(super) source: Arc<Source>,
    pub(super) received_at: Instant,
    /// Set if the message was held for fair shares and has started.
    pub(super) key_permit: Option<KeyPermit>,
}

impl LeasedMessage {
    /// Returns whether the message may be released without a task.
    pub(super) fn may_release(&self) -> bool {
        self.source.may_release(&self.message)
    }

    /// Returns the message's key, if the worker tells messages apart by key.
    pub(super) fn key(&self) -> Option<&Key> {
        self.key_permit.as_ref().map(KeyPermit::key)
    }
}

/// The messages that wait, in the order in which they were tried.
#[derive(Default)]
pub(super) struct WaitingMessages(Mutex<State>);

#[derive(Default)]
struct State {
    messages: VecDeque<LeasedMessage>,
    probes: u32,
    closed: bool,
}

impl WaitingMessages {
    /// Adds a message whose task failed because of a backend, and whose lease must last for `next_try`. Returns the
    /// message that must be released for it, if any: the one that was received the fewest times, or this message if it
    /// may not wait.
    pub(super) fn add(&self, message: LeasedMessage, next_try: Duration) -> Option<LeasedMessage> {
        let mut state = self.lock();
        if state.closed || message.received_at.elapsed() >= LONGEST || !message.lease.lasts(next_try) {
            return Some(message);
        }
        message.lease.waits(true);
        state.messages.push_back(message);
        if state.messages.len() <= MOST {
            return None;
        }
        // That message is the farthest from being dead-lettered by the queue. Of several, the one that was tried
        // longest ago is released.
        let counts = state.messages.iter().map(|leased| leased.message.receive_count).enumerate();
        let (index, _) = counts.min_by_key(|(_, count)| *count)?;
        state.messages.remove(index)
    }

    /// Returns whether a waiting message is to probe next, rather than a newly received one.
    pub(super) fn probe_is_due(&self) -> bool {
        let mut state = self.lock();
        state.probes = state.probes.wrapping_add(1);
        let each = if state.messages.len() < MOST { 2 } else { NEW_MESSAGE_EACH };
        !state.probes.is_multiple_of(each)
    }

    /// Takes at most `most` messages, starting with the one that was tried longest ago.
    pub(super) fn take(&self, most: usize) -> Vec<LeasedMessage> {
        let mut state = self.lock();
        let most = most.min(state.messages.len());
        state.messages.drain(..most).inspect(|message| message.lease.waits(false)).collect()
    }

    /// Returns the number of messages that wait.
    pub(super) fn len(&self) -> usize {
        self.lock().messages.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes all messages. None can be added from now on.
    pub(super) fn close(&self) -> Vec<LeasedMessage> {
        self.lock().closed = true;
        self.take(MOST)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::OutgoingMessage;
    use crate::ports::memory::MemoryQueue;
    use crate::ports::queue::{Delivery, Queue};
    use crate::worker::lease::Leases;
    use tokio_util::sync::CancellationToken;

    const HOUR: Duration = Duration::from_secs(3600);
    const SOON: Duration = Duration::from_secs(1);

    async fn leased(count: usize) -> (Arc<Leases>, Vec<LeasedMessage>) {
        let queue = Arc::new(MemoryQueue::new("q", HOUR));
        let source = Source::of_test(queue.clone(), HOUR, HOUR);
        let leases = Leases::new(vec![source.clone()], Arc::default());
        let mut messages = Vec::new();
        for index in 0..count {
            queue.send(&[OutgoingMessage { body: index.to_string(), ..OutgoingMessage::default() }]).await;
            let received = queue.receive(1, Duration::ZERO, &CancellationToken::new()).await;
            let delivery = received.expect("received").remove(0);
            let (source, lease) = (source.clone(), leases.hold(&source, &delivery));
            let Delivery { message, receipt, .. } = delivery;
            let received_at = Instant::now();
            let message = message.into();
            messages.push(LeasedMessage { message, receipt, lease, source, received_at, key_permit: None });
        }
        (leases, messages)
    }

    fn bodies(messages: impl IntoIterator<Item = LeasedMessage>) -> Vec<String> {
        messages.into_iter().map(|leased| leased.message.body.clone()).collect()
    }

    #[tokio::test]
    async fn messages_take_turns_and_the_oldest_makes_room() {
        let (leases, mut messages) = leased(MOST + 1).await;
        let last = messages.pop().expect("the last");
        let waiting = WaitingMessages::default();
        assert!(messages.into_iter().all(|message| waiting.add(message, SOON).is_none()));
        assert_eq!(leases.count_running(), 1, "only the last");
        let tried = waiting.take(1).remove(0);
        assert_eq!(leases.count_running(), 2);
        assert_eq!(tried.message.body, "0");
        assert!(waiting.add(tried, SOON).is_none());
        assert_eq!(bodies(waiting.add(last, SOON)), ["1"]);
        let left = bodies(waiting.close());
        assert_eq!((left.len(), &*left[0], &*left[MOST - 2], &*left[MOST - 1]), (MOST, "2", "0", "8"));
    }

    #[tokio::test]
    async fn probes_alternate_between_messages_that_wait_and_others() {
        let (_, messages) = leased(MOST).await;
        let waiting = WaitingMessages::default();
        let received = || (0..100).filter(|_| !waiting.probe_is_due()).count();
        assert_eq!(received(), 50);
        for message in messages {
            assert!(waiting.add(message, SOON).is_none());
        }
        assert_eq!(received(), 100 / NEW_MESSAGE_EACH as usize);
    }

    #[tokio::test]
    async fn a_message_whose_lease_does_not_last_until_the_next_try_is_released() {
        let (_, mut messages) = leased(2).await;
        let waiting = WaitingMessages::default();
        assert_eq!(bodies(waiting.add(messages.remove(0), HOUR)), ["0"]);
        assert!(waiting.add(messages.remove(0), SOON).is_none());
    }

    #[tokio::test]
    async fn who_was_received_the_fewest_times_makes_room() {
        let (_, mut messages) = leased(MOST + 1).await;
        for leased in &mut messages {
            let mut message = (*leased.message).clone();
            message.receive_count = if message.body == "4" { 1 } else { 2 };
            leased.message = message.into();
        }
        let waiting = WaitingMessages::default();
        let released: Vec<_> =
            messages.into_iter().filter_map(|message| waiting.add(message, SOON)).collect();
        assert_eq!(bodies(released), ["4"]);
    }

    #[tokio::test]
    async fn a_message_does_not_wait_for_longer_than_its_time_nor_once_the_worker_stops() {
        let (_, mut messages) = leased(2).await;
        let waiting = WaitingMessages::default();
        let mut old = messages.pop().expect("one");
        old.received_at = Instant::now().checked_sub(LONGEST).expect("an hour ago");
        assert_eq!(bodies(waiting.add(old, SOON)), ["1"]);
        assert!(waiting.close().is_empty());
        assert_eq!(bodies(waiting.add(messages.remove(0), SOON)), ["0"]);
    }
}
