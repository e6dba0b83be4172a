//! Events in the order of time, and of their scheduling where times are the same.
//!
//! Most events are soon. They wait unordered in buckets of a millisecond, and are ordered once their bucket's time has
//! come. So an event costs the same however many others wait.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Length of a bucket: this power of two in nanoseconds, a millisecond.
const BUCKET: u32 = 20;
/// Number of buckets, for the next four seconds. A multiple of 64.
const BUCKETS: u64 = 4096;

#[derive(Debug)]
pub(crate) struct Calendar<E> {
    /// Events of the current bucket, and its number.
    now: BinaryHeap<Reverse<Entry<E>>>,
    bucket: u64,
    /// Events of the buckets that follow, each at its number modulo `BUCKETS`, and a bit for each that has some.
    soon: Vec<Vec<Reverse<Entry<E>>>>,
    full: [u64; BUCKETS as usize / 64],
    /// All other events.
    later: BinaryHeap<Reverse<Entry<E>>>,
    next: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: u64,
    number: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<E> Default for Calendar<E> {
    fn default() -> Self {
        Self {
            now: BinaryHeap::new(),
            bucket: 0,
            soon: (0..BUCKETS).map(|_| Vec::new()).collect(),
            full: [0; BUCKETS as usize / 64],
            later: BinaryHeap::new(),
            next: 0,
        }
    }
}

impl<E> Calendar<E> {
    /// Schedules an event at a time in nanoseconds.
    pub(crate) fn add(&mut self, at: u64, event: E) {
        let entry = Entry { at, number: self.next, event };
        self.next += 1;
        self.place(entry);
    }

    fn place(&mut self, entry: Entry<E>) {
        let bucket = entry.at >> BUCKET;
        if bucket <= self.bucket {
            self.now.push(Reverse(entry));
        } else if bucket - self.bucket < BUCKETS {
            let index = (bucket % BUCKETS) as usize;
            self.full[index / 64] |= 1 << (index % 64);
            self.soon[index].push(Reverse(entry));
        } else {
            self.later.push(Reverse(entry));
        }
    }

    /// Removes the next event.
    pub(crate) fn next(&mut self) -> Option<(u64, E)> {
        loop {
            if let Some(Reverse(entry)) = self.now.pop() {
                return Some((entry.at, entry.event));
            }
            self.begin_next_bucket()?;
        }
    }

    /// Begins the next bucket that has events; `None`: there is no event.
    fn begin_next_bucket(&mut self) -> Option<()> {
        let first_later = self.later.peek().map(|Reverse(entry)| entry.at >> BUCKET);
        self.bucket = match (self.next_full(), first_later) {
            (Some(soon), Some(later)) => soon.min(later),
            (soon, later) => soon.or(later)?,
        };
        let index = (self.bucket % BUCKETS) as usize;
        self.full[index / 64] &= !(1 << (index % 64));
        self.now.extend(self.soon[index].drain(..));
        while let Some(Reverse(first)) = self.later.peek()
            && (first.at >> BUCKET) - self.bucket < BUCKETS
            && let Some(Reverse(first)) = self.later.pop()
        {
            self.place(first);
        }
        Some(())
    }

    /// Returns the number of the next bucket with events that are soon.
    fn next_full(&self) -> Option<u64> {
        let first = self.bucket + 1;
        let (mut word, mut before) = ((first % BUCKETS) / 64, first % 64);
        // The word of the first bucket comes twice: at last, the bits in front of it.
        for _ in 0..=self.full.len() {
            let bits = self.full[word as usize] & (u64::MAX << before);
            if bits != 0 {
                let index = word * 64 + u64::from(bits.trailing_zeros());
                return Some(first + (index + BUCKETS - first % BUCKETS) % BUCKETS);
            }
            (word, before) = ((word + 1) % self.full.len() as u64, 0);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn events_come_in_the_order_of_time_and_then_of_scheduling() {
        let mut calendar = Calendar::default();
        for (at, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (1, 'b')] {
            calendar.add(at, event);
        }
        let order: String = std::iter::from_fn(|| calendar.next()).map(|(_, event)| event).collect();
        assert_eq!(order, "abcd");
    }

    proptest! {
        /// The order is that of one heap, however far apart events are, and also of those that are added meanwhile.
        #[test]
        fn buckets_change_no_order(
            steps in prop::collection::vec((0u32..50, 0u64..1 << 20, any::<bool>()), 1..200),
        ) {
            let mut calendar = Calendar::default();
            let mut heap = BinaryHeap::new();
            let mut now = 0;
            for (number, (power, part, takes)) in steps.into_iter().enumerate() {
                let at = now + (part << power >> 20);
                calendar.add(at, number);
                heap.push(Reverse((at, number)));
                if takes {
                    let next = calendar.next();
                    prop_assert_eq!(next, heap.pop().map(|Reverse(next)| next));
                    now = next.map_or(now, |(at, _)| at);
                }
            }
            while let Some(Reverse(next)) = heap.pop() {
                prop_assert_eq!(calendar.next(), Some(next));
            }
            prop_assert_eq!(calendar.next(), None);
        }
    }
}
