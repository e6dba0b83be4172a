//! The messages of the queue that are not in flight.
//!
//! Messages that arrived together are one entry, so that a burst of any size takes no memory.

use crate::arena::Key;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A message on its way through queue and worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Message {
    /// When it arrived, in nanoseconds.
    pub(crate) arrived: u64,
    /// How often it was received.
    pub(crate) receives: u32,
    /// Whether a task has started for it. The receive of one that was released may not count.
    pub(crate) was_tried: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    visible: VecDeque<(Message, u64)>,
    /// Messages that become visible later, and when.
    delayed: BinaryHeap<Reverse<(u64, Message)>>,
    visible_count: u64,
    in_flight: u64,
    /// Receives that wait for messages.
    pub(crate) waiting: VecDeque<Key>,
}

impl Queue {
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

    /// Adds messages that arrived at the same time.
    pub(crate) fn arrive(&mut self, arrived: u64, count: u64) {
        self.visible.push_back((Message { arrived, receives: 0, was_tried: false }, count));
        self.visible_count += count;
    }

    /// Takes the oldest message.
    pub(crate) fn take(&mut self) -> Option<Message> {
        let (message, count) = self.visible.front_mut()?;
        let message = Message { receives: message.receives + 1, ..*message };
        *count -= 1;
        if *count == 0 {
            self.visible.pop_front();
        }
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
            self.visible.push_back((message, 1));
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
        queue.arrive(1, 2);
        queue.arrive(2, 1);
        let first = queue.take().expect("one");
        assert_eq!((first.arrived, first.receives, queue.visible(), queue.in_flight()), (1, 1, 2, 1));
        queue.release(first, 50);
        assert_eq!((queue.wake(49), queue.wake(50), queue.in_flight()), (0, 1, 0));
        let order: Vec<_> = std::iter::from_fn(|| queue.take()).map(|m| (m.arrived, m.receives)).collect();
        assert_eq!(order, [(1, 1), (2, 1), (1, 2)]);
        assert_eq!((queue.visible(), queue.in_flight(), queue.entries()), (0, 3, 0));
    }
}
