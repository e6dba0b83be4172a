//! Events in the order of time, and of their scheduling where times are the same.
//!
//! Most events follow another one after one of few delays, such as that of a call. Those with the same delay come in the
//! order of their scheduling: they wait in a line. Other events that are soon wait unordered in buckets, and are
//! ordered once their bucket's time has come. So an event costs the same however many others wait.

use crate::arena::{Arena, Key};
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

/// Length of a bucket: this power of two in nanoseconds, a quarter of a millisecond.
const BUCKET: u32 = 18;
/// Number of buckets, for the next second. A multiple of 64.
const BUCKETS: u64 = 4096;

#[derive(Debug)]
pub(crate) struct Calendar<E> {
    /// Time of the event that was removed last.
    at: u64,
    lines: Vec<Line<E>>,
    /// Events of the current bucket, the first one last, and its number.
    now: Vec<Entry<E>>,
    bucket: u64,
    /// Events that were added to the current bucket, or to one before it.
    added: BinaryHeap<Reverse<Entry<E>>>,
    /// Events of the buckets that follow. Those of a bucket are a list, which begins at its number modulo `BUCKETS` of
    /// `lists`. All are in one place, so that they stay in the cache.
    soon: Arena<(Entry<E>, Option<Key>)>,
    lists: Vec<Option<Key>>,
    /// A bit for each bucket that has some.
    full: [u64; BUCKETS as usize / 64],
    /// All other events.
    later: BinaryHeap<Reverse<Entry<E>>>,
    /// Number of the event that was added last.
    last: u64,
}

/// Events that were added this long before their time.
#[derive(Debug)]
struct Line<E> {
    delay: u64,
    /// Order of the first one.
    first: u128,
    events: VecDeque<Entry<E>>,
}

impl<E> Line<E> {
    fn add(&mut self, entry: Entry<E>) {
        self.first = self.first.min(entry.order());
        self.events.push_back(entry);
    }

    fn next(&mut self) -> Option<Entry<E>> {
        let next = self.events.pop_front();
        self.first = order(self.events.front());
        next
    }
}

/// Returns a number that is smaller the earlier an event comes, and largest if there is none.
fn order<E>(entry: Option<&Entry<E>>) -> u128 {
    entry.map_or(u128::MAX, Entry::order)
}

#[derive(Debug)]
struct Entry<E> {
    at: u64,
    number: u64,
    event: E,
}

impl<E> Entry<E> {
    /// Returns a number that is smaller the earlier the event comes.
    fn order(&self) -> u128 {
        u128::from(self.at) << 64 | u128::from(self.number)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
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
        self.order().cmp(&other.order())
    }
}

impl<E> Calendar<E> {
    /// Creates an empty calendar. `delays`: nanoseconds after which many events follow another; each has a line.
    pub(crate) fn new(delays: &[u64]) -> Self {
        let mut lines: Vec<Line<E>> = Vec::new();
        for &delay in delays {
            if lines.iter().all(|line| line.delay != delay) {
                lines.push(Line { delay, first: u128::MAX, events: VecDeque::new() });
            }
        }
        Self {
            at: 0,
            lines,
            now: Vec::new(),
            bucket: 0,
            added: BinaryHeap::new(),
            soon: Arena::default(),
            lists: vec![None; BUCKETS as usize],
            full: [0; BUCKETS as usize / 64],
            later: BinaryHeap::new(),
            last: 0,
        }
    }

    /// Schedules an event at a time in nanoseconds, which isn't before that of the last event. Returns its number.
    pub(crate) fn add(&mut self, at: u64, event: E) -> u64 {
        self.last += 1;
        let (number, delay) = (self.last, at.wrapping_sub(self.at));
        match self.lines.iter_mut().find(|line| line.delay == delay) {
            Some(line) => line.add(Entry { at, number, event }),
            None => self.place(at, number, event),
        }
        number
    }

    fn place(&mut self, at: u64, number: u64, event: E) {
        let entry = Entry { at, number, event };
        let bucket = at >> BUCKET;
        if bucket <= self.bucket {
            self.added.push(Reverse(entry));
        } else if bucket - self.bucket < BUCKETS {
            let index = (bucket % BUCKETS) as usize;
            self.full[index / 64] |= 1 << (index % 64);
            let list = &mut self.lists[index];
            *list = Some(self.soon.insert((entry, *list)));
        } else {
            self.later.push(Reverse(entry));
        }
    }

    /// Removes the next event. Returns its time and number.
    pub(crate) fn next(&mut self) -> Option<(u64, u64, E)> {
        let (mut first, mut index) = (u128::MAX, usize::MAX);
        for (number, line) in self.lines.iter().enumerate() {
            (first, index) = if line.first < first { (line.first, number) } else { (first, index) };
        }
        if self.now.is_empty() && self.added.is_empty() {
            self.begin_next_bucket((first >> 64) as u64);
        }
        let added = order(self.added.peek().map(|Reverse(entry)| entry));
        let now = order(self.now.last());
        let next = if now.min(added) < first {
            if added < now { self.added.pop().map(|Reverse(entry)| entry) } else { self.now.pop() }
        } else {
            self.lines.get_mut(index)?.next()
        };
        let Entry { at, number, event } = next?;
        self.at = at;
        Some((at, number, event))
    }

    /// Begins the next bucket that has events, or at least that of the first event in the lines.
    fn begin_next_bucket(&mut self, first_in_lines: u64) {
        let first_later = self.later.peek().map(|Reverse(entry)| entry.at >> BUCKET);
        let in_lines = Some(first_in_lines >> BUCKET).filter(|_| first_in_lines < u64::MAX);
        let others = [self.next_full(), first_later, in_lines];
        let Some(next) = others.into_iter().flatten().min() else { return };
        // It isn't before the current one, because no event is before the last one.
        self.bucket = next;
        let index = (self.bucket % BUCKETS) as usize;
        self.full[index / 64] &= !(1 << (index % 64));
        let mut list = self.lists[index].take();
        while let Some((entry, next)) = list.and_then(|first| self.soon.remove(first)) {
            self.now.push(entry);
            list = next;
        }
        self.now.sort_unstable_by_key(|entry| Reverse(entry.order()));
        while let Some(Reverse(first)) = self.later.peek()
            && (first.at >> BUCKET) - self.bucket < BUCKETS
            && let Some(Reverse(first)) = self.later.pop()
        {
            self.place(first.at, first.number, first.event);
        }
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
        let mut calendar = Calendar::new(&[]);
        for (at, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (1, 'b')] {
            calendar.add(at, event);
        }
        let order: String = std::iter::from_fn(|| calendar.next()).map(|(_, _, event)| event).collect();
        assert_eq!(order, "abcd");
    }

    proptest! {
        /// The order is that of one heap, however far apart events are, and also of those that are added meanwhile.
        #[test]
        fn lines_and_buckets_change_no_order(
            steps in prop::collection::vec((0u32..50, 0u64..1 << 20, any::<bool>()), 1..200),
            delays in prop::collection::vec(0u64..1 << 25, 1..4),
        ) {
            // As in plans: no delay, and one that is there twice.
            let delays = [&[0, delays[0]][..], &delays[..]].concat();
            let mut calendar = Calendar::new(&delays);
            let mut heap = BinaryHeap::new();
            let mut now = 0;
            for (number, (power, part, takes)) in steps.into_iter().enumerate() {
                // About half of the events use a line.
                let delay = match delays.get(power as usize % 8) {
                    Some(delay) => *delay,
                    None => part << power >> 20,
                };
                let at = now + delay;
                calendar.add(at, number);
                heap.push(Reverse((at, number)));
                if takes {
                    let next = calendar.next();
                    prop_assert_eq!(next.map(|(at, _, event)| (at, event)), heap.pop().map(|Reverse(next)| next));
                    now = next.map_or(now, |(at, ..)| at);
                }
            }
            while let Some(Reverse(next)) = heap.pop() {
                prop_assert_eq!(calendar.next().map(|(at, _, event)| (at, event)), Some(next));
            }
            prop_assert_eq!(calendar.next(), None);
        }
    }
}
