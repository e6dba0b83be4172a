//! Holding: how many messages a worker with keys holds, and which of them it releases.
//!
//! This is arithmetic without a clock, a queue or leases. The worker applies it to its messages in `keyed` and `fill`,
//! and the simulator of fleets to its own.

use crate::model::message::MAX_BATCH;
use std::time::Duration;

/// Number of messages that are held for each permit, …
const HELD_FOR_EACH: usize = 4;
/// … at least this number, …
pub(super) const LEAST_HELD: usize = 2 * MAX_BATCH;
/// … and at most this number. Other workers can't have them meanwhile.
pub(super) const MOST_HELD: usize = 256;
/// How long a message is held. Afterwards another worker may have it.
pub(super) const LONGEST: Duration = Duration::from_secs(600);
/// The worker is stuck if no held message could start for this time. Meanwhile a short task would have ended.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(1);
/// How long a surplus message stays invisible after its release.
pub const RELEASED_FOR: Duration = Duration::from_secs(30);

/// Returns the number of messages for which there is room, if at most `limit` tasks run at once and `held` messages are
/// held.
pub fn room(limit: usize, held: usize) -> usize {
    limit.saturating_mul(HELD_FOR_EACH).clamp(LEAST_HELD, MOST_HELD).saturating_sub(held)
}

/// Returns the number of messages that a receive asks for ahead of free permits. `chooses_groups` says whether the keys
/// are groups, which the queue can see, and `batch` how many messages a receive asks for at most.
pub fn most_ahead(room: usize, chooses_groups: bool, batch: usize) -> usize {
    // Half of the room where keys can be left out: one receive may bring a single key.
    let most = if chooses_groups { room.div_ceil(2) } else { room };
    most.min(batch)
}

/// Returns whether a message may be released without a task. Where a released message keeps its receive, `max_receives` is
/// the number of receives after which the queue dead-letters it: half of them are left for errors.
pub fn may_release(receive_count: u32, max_receives: Option<u32>) -> bool {
    max_receives.is_none_or(|most| receive_count <= most / 2)
}

/// Returns whether a worker is stuck: permits are free, there is no room for other messages, and for a while none of
/// those that are held could start.
pub fn is_stuck(has_permits: bool, room: usize, since_start: Duration, can_start: bool) -> bool {
    has_permits && room == 0 && since_start >= STUCK_AFTER && !can_start
}

/// Decides which held messages are released. It is asked for each of them, by key, in their order.
#[derive(Debug)]
pub struct Surplus {
    is_stuck: bool,
    single: usize,
}

impl Surplus {
    /// Begins with the first message.
    pub fn new(is_stuck: bool) -> Self {
        Self { is_stuck, single: 0 }
    }

    /// Returns whether a message is released, if it [may be](may_release). `before` of the `count` held messages of its key
    /// come before it.
    pub fn has(&mut self, may_release: bool, held_for: Duration, before: usize, count: usize) -> bool {
        // The newest half of each key's messages makes room for other keys, and of keys with one message every second.
        self.single += usize::from(count == 1);
        let is_half = if count == 1 { self.single.is_multiple_of(2) } else { before >= count.div_ceil(2) };
        let is_surplus = self.is_stuck && is_half;
        may_release && (is_surplus || held_for >= LONGEST)
    }
}
