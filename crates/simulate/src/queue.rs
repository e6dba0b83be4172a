//! The messages of the queue that are not in flight.
//!
//! Messages that arrived together are one entry, so that a burst of any size takes no memory.

use crate::arena::Key;
use crate::tenants::Sender;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};

/// A message on its way through queue and worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Message {
    /// When it arrived, in nanoseconds.
    pub(crate) arrived: u64,
    /// How often it was received.
    pub(crate) receives: u32,
    /// Whether a task has started for it. The receive of one that was released may not count.
    pub(crate) was_tried: bool,
    /// Whose it is.
    pub(crate) sender: Sender,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    visible: Visible,
    /// Messages that become visible later, and when.
    delayed: BinaryHeap<Reverse<(u64, Message)>>,
    visible_count: u64,
    in_flight: u64,
    /// Receives that wait for messages.
    pub(crate) waiting: VecDeque<Key>,
}

type Senders = BTreeMap<Sender, VecDeque<(Message, u64)>>;

/// The messages that can be received now. Each entry is a number of the same messages.
#[derive(Debug)]
enum Visible {
    /// In the order of the queue.
    Oldest(VecDeque<(Message, u64)>),
    /// By sender: a receive goes round those that have some.
    BySender(Senders),
}

/// Which sender's message a receive takes next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round {
    /// The sender whose message was taken last.
    pub(crate) last: Sender,
    /// Senders whose messages stay in the queue, in order.
    pub(crate) except: Vec<Sender>,
}

impl Default for Visible {
    fn default() -> Self {
        Self::Oldest(VecDeque::new())
    }
}

impl Visible {
    fn add(&mut self, message: Message, count: u64) {
        let messages = match self {
            Self::Oldest(messages) => messages,
            Self::BySender(senders) => senders.entry(message.sender).or_default(),
        };
        messages.push_back((message, count));
    }

    #[inline]
    fn take(&mut self, round: &mut Round) -> Option<Message> {
        match self {
            Self::Oldest(messages) => take_first(messages),
            Self::BySender(senders) => take_by_round(senders, round),
        }
    }

    /// Number of entries.
    fn len(&self) -> usize {
        match self {
            Self::Oldest(messages) => messages.len(),
            Self::BySender(senders) => senders.values().map(VecDeque::len).sum(),
        }
    }
}

/// Takes a message of the sender whose turn it is.
fn take_by_round(senders: &mut Senders, round: &mut Round) -> Option<Message> {
    let after = senders.range((Excluded(round.last), Unbounded)).chain(senders.range(..=round.last));
    let mut after = after.map(|(sender, _)| *sender);
    let sender = after.find(|sender| round.except.binary_search(sender).is_err())?;
    round.last = sender;
    let messages = senders.get_mut(&sender)?;
    let message = take_first(messages);
    if messages.is_empty() {
        senders.remove(&sender);
    }
    message
}

/// Takes a message of the first entry.
#[inline]
fn take_first(messages: &mut VecDeque<(Message, u64)>) -> Option<Message> {
    let (message, count) = messages.front_mut()?;
    let message = Message { receives: message.receives + 1, ..*message };
    *count -= 1;
    if *count == 0 {
        messages.pop_front();
    }
    Some(message)
}

impl Queue {
    /// Creates an empty queue of which a receive goes round the senders.
    pub(crate) fn by_sender() -> Self {
        Self { visible: Visible::BySender(BTreeMap::new()), ..Self::default() }
    }

    /// Number of messages that can be received now.
    pub(crate) fn visible(&self) -> u64 {
        self.visible_count
    }

    /// Number of messages that were received and aren't settled.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Number of messages that have arrived and aren't deleted.
    pub(crate) fn unsettled(&self) -> u64 {
        self.visible_count + self.in_flight + self.delayed.len() as u64
    }

    /// Number of entries in memory.
    pub(crate) fn entries(&self) -> usize {
        self.visible.len() + self.delayed.len()
    }

    /// Number of messages that receives may take now, as far as is known: a receive may leave those of some senders.
    pub(crate) fn on_offer(&self) -> u64 {
        match &self.visible {
            Visible::BySender(_) if self.visible_count > 0 => u64::MAX,
            Visible::BySender(_) | Visible::Oldest(_) => self.visible_count,
        }
    }

    /// Adds messages that arrived at the same time.
    pub(crate) fn arrive(&mut self, sender: Sender, arrived: u64, count: u64) {
        self.visible.add(Message { arrived, receives: 0, was_tried: false, sender }, count);
        self.visible_count += count;
    }

    /// Takes the oldest message, or the next one of the round.
    #[inline]
    pub(crate) fn take(&mut self, round: &mut Round) -> Option<Message> {
        let message = self.visible.take(round)?;
        self.visible_count -= 1;
        self.in_flight += 1;
        Some(message)
    }

    /// Removes a message in flight for good.
    pub(crate) fn delete(&mut self) {
        self.in_flight -= 1;
    }

    /// Makes a message in flight visible again, at this time.
    pub(crate) fn release(&mut self, message: Message, at: u64) {
        self.in_flight -= 1;
        self.delayed.push(Reverse((at, message)));
    }

    /// Makes the messages visible whose time has come. Returns how many.
    pub(crate) fn wake(&mut self, now: u64) -> u64 {
        let mut woken = 0;
        while self.delayed.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((_, message))) = self.delayed.pop() else { break };
            self.visible.add(message, 1);
            woken += 1;
        }
        self.visible_count += woken;
        woken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_in_their_order_and_released_ones_again() {
        let mut queue = Queue::default();
        queue.arrive(Sender::NONE, 1, 2);
        queue.arrive(Sender::NONE, 2, 1);
        let take = |queue: &mut Queue| queue.take(&mut Round::default());
        let first = take(&mut queue).expect("one");
        assert_eq!((first.arrived, first.receives, queue.visible(), queue.in_flight()), (1, 1, 2, 1));
        queue.release(first, 50);
        assert_eq!((queue.wake(49), queue.wake(50), queue.in_flight()), (0, 1, 0));
        let order: Vec<_> =
            std::iter::from_fn(|| take(&mut queue)).map(|m| (m.arrived, m.receives)).collect();
        assert_eq!(order, [(1, 1), (2, 1), (1, 2)]);
        assert_eq!((queue.visible(), queue.in_flight(), queue.entries()), (0, 3, 0));
    }

    #[test]
    fn a_receive_goes_round_the_senders_and_leaves_some_out() {
        let [large, small, late] = [1, 2, 3].map(Sender::numbered);
        let mut queue = Queue::by_sender();
        queue.arrive(large, 1, 100);
        queue.arrive(small, 2, 2);
        queue.arrive(late, 3, 1);
        let mut round = Round::default();
        let next = |queue: &mut Queue, round: &mut Round| queue.take(round).map(|message| message.sender);
        let first: Vec<_> = std::iter::from_fn(|| next(&mut queue, &mut round)).take(6).collect();
        assert_eq!(first, [large, small, late, large, small, large]);
        queue.arrive(late, 4, 1);
        round.except = vec![large];
        assert_eq!((next(&mut queue, &mut round), next(&mut queue, &mut round)), (Some(late), None));
        assert_eq!((queue.visible(), queue.on_offer(), queue.entries()), (97, u64::MAX, 1));
    }
}
