//! Turns: which of several queues is asked for messages next. It has no clock and no queue.
//!
//! A strict queue comes before all that follow it, and strict queues come before weighted ones. Among weighted queues, the
//! one that has delivered the fewest messages for its weight is next. A queue that returned no message is empty and has no
//! turn until it is known to have messages again. Then it goes on from where the others are: it has no claim on the turns
//! that it didn't need.

use super::Priority;

/// Usage that a message adds to a queue of weight 1.
const UNIT: u64 = 1 << 20;

/// Whose turn it is.
#[derive(Debug)]
pub(super) struct Turns {
    queues: Vec<Place>,
    /// The largest usage with which a queue got a turn.
    now: u64,
}

#[derive(Debug)]
struct Place {
    priority: Priority,
    /// Maximum number of messages of one receive.
    batch: usize,
    may_have_messages: bool,
    /// Messages that were received, or are being received, divided by the weight.
    used: u64,
}

/// The turn of a queue: the right to receive from it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) index: usize,
    /// Maximum number of messages to ask for.
    pub(super) most: usize,
}

impl Place {
    fn cost(&self, messages: usize) -> u64 {
        match self.priority {
            Priority::Strict => 0,
            Priority::Weight(weight) => messages as u64 * (UNIT / u64::from(weight.get())).max(1),
        }
    }
}

impl Turns {
    /// Begins with queues that may have messages, each with the maximum number of messages of one receive.
    pub(super) fn new(queues: impl IntoIterator<Item = (Priority, usize)>) -> Self {
        let place =
            |(priority, batch): (_, usize)| Place { priority, batch, may_have_messages: true, used: 0 };
        Self { queues: queues.into_iter().map(place).collect(), now: 0 }
    }

    /// Gives the next turn, for at most `most` messages. Returns `None` if all queues are empty.
    ///
    /// Until [`Turns::received`] tells the number of messages, the turn counts as if it brought all that it asks for.
    pub(super) fn next(&mut self, most: usize) -> Option<Turn> {
        let may = self.queues.iter().enumerate().filter(|(_, place)| place.may_have_messages);
        // Of queues with the same usage, the first is next.
        let (index, _) = may.min_by_key(|(_, place)| (place.priority != Priority::Strict, place.used))?;
        let place = &mut self.queues[index];
        let most = most.min(place.batch.max(1));
        self.now = self.now.max(place.used);
        place.used += place.cost(most);
        Some(Turn { index, most })
    }

    /// Records the number of messages that a turn brought. Without any, its queue is empty.
    pub(super) fn received(&mut self, turn: Turn, messages: usize) {
        let place = &mut self.queues[turn.index];
        place.used -= place.cost(turn.most).saturating_sub(place.cost(messages)).min(place.used);
        place.may_have_messages &= messages > 0;
    }

    /// Records that a queue may have messages, of which `messages` were received without a turn.
    pub(super) fn has_messages(&mut self, index: usize, messages: usize) {
        let now = self.now;
        let place = &mut self.queues[index];
        if !place.may_have_messages {
            place.used = place.used.max(now);
        }
        place.may_have_messages = true;
        place.used += place.cost(messages);
    }

    /// Records that a queue has no messages.
    #[cfg(test)]
    fn is_empty(&mut self, index: usize) {
        self.queues[index].may_have_messages = false;
    }

    /// Returns whether a queue has no turns.
    pub(super) fn has_no_turn(&self, index: usize) -> bool {
        !self.queues[index].may_have_messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    fn weight(weight: u32) -> Priority {
        Priority::Weight(NonZeroU32::new(weight).expect("a weight"))
    }

    fn turns(queues: &[Priority]) -> Turns {
        Turns::new(queues.iter().map(|priority| (*priority, 10)))
    }

    /// Takes `count` turns for one message each, and returns whose they were.
    fn indices(turns: &mut Turns, count: usize) -> Vec<usize> {
        let mut taken = Vec::new();
        for _ in 0..count {
            let turn = turns.next(1).expect("a turn");
            turns.received(turn, 1);
            taken.push(turn.index);
        }
        taken
    }

    #[test]
    fn strict_queues_come_first_in_their_order_wherever_they_stand() {
        let mut turns = turns(&[weight(1000), Priority::Strict, Priority::Strict]);
        assert_eq!(indices(&mut turns, 3), [1, 1, 1]);
        turns.is_empty(1);
        assert_eq!(indices(&mut turns, 2), [2, 2]);
        turns.is_empty(2);
        assert_eq!(indices(&mut turns, 2), [0, 0]);
        turns.has_messages(2, 1);
        assert_eq!(indices(&mut turns, 1), [2]);
        turns.has_messages(1, 0);
        assert_eq!(indices(&mut turns, 1), [1]);
    }

    #[test]
    fn weighted_queues_alternate_by_weight() {
        let mut turns = turns(&[weight(3), weight(1)]);
        let taken = indices(&mut turns, 400);
        assert_eq!(taken.iter().filter(|index| **index == 0).count(), 300);
        assert!(taken.windows(5).all(|five| five.contains(&1) && five.contains(&0)), "{taken:?}");
    }

    #[test]
    fn an_empty_queue_neither_pays_for_its_turn_nor_saves_it() {
        let mut turns = turns(&[weight(1), weight(1)]);
        let turn = turns.next(10).expect("a turn");
        turns.received(turn, 0);
        assert_eq!((turn.index, turns.has_no_turn(0)), (0, true));
        assert_eq!(indices(&mut turns, 1000), vec![1; 1000]);
        turns.has_messages(0, 1);
        let taken = indices(&mut turns, 100);
        assert!((49..=51).contains(&taken.iter().filter(|index| **index == 0).count()), "{taken:?}");
        turns.is_empty(0);
        turns.is_empty(1);
        assert_eq!(turns.next(1), None);
    }

    proptest! {
        /// However many messages each receive brings, and however many receives are under way at once.
        #[test]
        fn queues_with_backlogs_share_messages_by_weight(
            weights in prop::collection::vec(1..=1000_u32, 2..=8),
            at_once in 1..=16_usize,
            batch in prop::sample::select(vec![1_usize, 10]),
            seed in any::<u64>(),
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut turns = Turns::new(weights.iter().map(|w| (weight(*w), batch)));
            let mut under_way: Vec<Turn> = Vec::new();
            let mut got = vec![0_u64; weights.len()];
            let sum: u64 = weights.iter().map(|w| u64::from(*w)).sum();
            // Enough for the smallest share to be many batches.
            let enough = sum * 1000 / u64::from(*weights.iter().min().expect("one"));
            let enough = enough.min(2_000_000);
            while got.iter().sum::<u64>() < enough {
                while under_way.len() < at_once {
                    let turn = turns.next(random.usize(1..=10)).expect("a backlog");
                    prop_assert!((1..=batch).contains(&turn.most));
                    under_way.push(turn);
                }
                let turn = under_way.swap_remove(random.usize(..under_way.len()));
                let messages = random.usize(1..=turn.most);
                turns.received(turn, messages);
                got[turn.index] += messages as u64;
            }
            let total: u64 = got.iter().sum();
            for (weight, got) in weights.iter().zip(&got) {
                let fair = total as f64 * f64::from(*weight) / sum as f64;
                // What is under way at the end belongs to the shares, too.
                let may_differ = fair * 0.1 + (at_once * 10) as f64;
                prop_assert!((*got as f64 - fair).abs() <= may_differ, "{got} is not {fair}");
            }
        }
    }
}
