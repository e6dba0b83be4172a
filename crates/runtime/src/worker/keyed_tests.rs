use super::*;
use crate::model::message::OutgoingMessage;
use crate::ports::memory::MemoryQueue;
use crate::ports::queue::Queue;
use crate::worker::holding::{LEAST_HELD, LONGEST, MOST_HELD, STUCK_AFTER};
use crate::worker::lease::Leases;
use crate::worker::sources::Source;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::num::NonZeroU32;

const HOUR: Duration = Duration::from_secs(3600);
pub(in crate::worker) const TIMEOUT: Duration = Duration::from_secs(60);
pub(in crate::worker) const LIMIT: usize = 2;

/// A queue, and the leases of its messages.
pub(in crate::worker) struct World {
    queue: Arc<MemoryQueue>,
    source: Arc<Source>,
    pub(in crate::worker) leases: Arc<Leases>,
}

impl World {
    pub(in crate::worker) fn new() -> Self {
        Self::with_max_receives(None)
    }

    /// The queue dead-letters messages after this number of receives, and a released message keeps its receive.
    pub(in crate::worker) fn with_max_receives(max_receives: Option<u32>) -> Self {
        Self::of(max_receives, HOUR)
    }

    fn of(max_receives: Option<u32>, longest: Duration) -> Self {
        let queue = Arc::new(MemoryQueue::new("q", HOUR));
        let mut source = Source::of_test(queue.clone(), HOUR, longest);
        Arc::get_mut(&mut source).expect("the only one").rules.max_receives = max_receives;
        Self { queue, source: source.clone(), leases: Leases::new(vec![source], Arc::default()) }
    }

    /// Sends a message of a group, and receives it. It looks as if it was received `receive_count` times.
    pub(in crate::worker) async fn receive(
        &self,
        group: &str,
        receive_count: u32,
        bytes: usize,
    ) -> LeasedMessage {
        let body = "x".repeat(bytes);
        let sent = OutgoingMessage { body, group: Some(group.into()), ..OutgoingMessage::default() };
        self.queue.send(&[sent]).await.remove(0).expect("sent");
        let received = self.queue.receive(1, Duration::ZERO, &CancellationToken::new()).await;
        let mut delivery = received.expect("received").remove(0);
        delivery.message.receive_count = receive_count;
        let (source, lease) = (self.source.clone(), self.leases.hold(&self.source, &delivery));
        let message = delivery.message.into();
        let received_at = Instant::now();
        LeasedMessage { message, receipt: delivery.receipt, lease, source, received_at, key_permit: None }
    }

    pub(in crate::worker) async fn receive_all(&self, groups: &[&str]) -> Vec<LeasedMessage> {
        let mut messages = Vec::new();
        for group in groups {
            messages.push(self.receive(group, 1, 1).await);
        }
        messages
    }
}

fn held(max_per_key: Option<u32>) -> Arc<KeyedMessages> {
    let max_per_key = max_per_key.and_then(NonZeroU32::new);
    let shares = ShareOptions { max_per_key, ..ShareOptions::default() };
    KeyedMessages::new(KeyOptions { source: KeySource::Group, shares }, None)
}

pub(in crate::worker) fn add(keyed: &KeyedMessages, messages: Vec<LeasedMessage>) {
    assert!(keyed.add(messages, |_, _| None).is_empty());
}

pub(in crate::worker) fn groups(messages: &[LeasedMessage]) -> Vec<&str> {
    messages.iter().filter_map(|leased| leased.message.group.as_deref()).collect()
}

/// Lets it look as if no message has started for long enough to be stuck.
pub(in crate::worker) fn long_ago(keyed: &KeyedMessages) {
    keyed.lock().started_at = Instant::now().checked_sub(STUCK_AFTER).expect("a second ago");
}

#[tokio::test]
async fn a_held_message_runs_no_task_and_its_key_is_free_when_the_task_ends() {
    let world = World::new();
    let keyed = held(Some(1));
    add(&keyed, world.receive_all(&["a", "a", "b"]).await);
    assert_eq!(world.leases.running(0).0, 0);
    let mut started = keyed.take(3);
    assert_eq!((groups(&started), world.leases.running(0).0), (vec!["a", "b"], 2));
    assert!(keyed.take(3).is_empty());
    started[0].key_permit.as_mut().expect("a permit").used(TIMEOUT);
    drop(started.remove(0));
    assert_eq!(groups(&keyed.take(3)), ["a"]);
    assert!(keyed.is_empty());
}

#[tokio::test]
async fn who_waits_for_a_message_is_woken_by_an_arrival_and_by_a_task_of_the_key_that_ends() {
    let world = World::new();
    let keyed = held(Some(1));
    let never = CancellationToken::new();
    let first = world.receive("a", 1, 1).await;
    let (started, ()) = tokio::join!(keyed.next(1, false, HOUR, &never), async { add(&keyed, vec![first]) });
    assert_eq!(groups(&started), ["a"]);
    add(&keyed, world.receive_all(&["a"]).await);
    let (next, ()) = tokio::join!(keyed.next(1, false, HOUR, &never), async { drop(started) });
    assert_eq!(groups(&next), ["a"]);
    let stop = CancellationToken::new();
    let (none, ()) = tokio::join!(keyed.next(1, false, HOUR, &stop), async { stop.cancel() });
    assert!(none.is_empty());
}

#[tokio::test]
async fn what_is_held_is_bounded_in_number_and_bytes() {
    let world = World::new();
    let keyed = held(None);
    assert_eq!((keyed.room(1), keyed.room(16), keyed.room(usize::MAX)), (LEAST_HELD, 64, MOST_HELD));
    add(&keyed, world.receive_all(&["a", "b"]).await);
    assert_eq!(keyed.room(1), LEAST_HELD - 2);
    for _ in 0..ENOUGH_BYTES / MAX_MESSAGE_BYTES {
        add(&keyed, vec![world.receive("a", 1, MAX_MESSAGE_BYTES).await]);
    }
    assert_eq!(keyed.room(1000), 0);
    assert!(keyed.lock().bytes <= MOST_HELD_BYTES);
    drop(keyed.take(usize::MAX));
    assert_eq!((keyed.room(1), keyed.lock().bytes), (LEAST_HELD, 0));
}

#[tokio::test]
async fn a_key_that_fills_the_room_of_others_stays_in_the_queue() {
    let world = World::new();
    let keyed = held(None);
    assert_eq!(keyed.groups(LIMIT), Some(Groups::default()));
    add(&keyed, world.receive_all(&["a"; LEAST_HELD / 2 - 1]).await);
    add(&keyed, world.receive_all(&["b"]).await);
    assert_eq!(keyed.groups(LIMIT), Some(Groups::default()));
    add(&keyed, world.receive_all(&["b"]).await);
    assert_eq!(keyed.groups(LIMIT), Some(Groups { except: vec!["a".into()] }));
    let by_attribute =
        KeyOptions { source: KeySource::Attribute("t".into()), shares: ShareOptions::default() };
    assert_eq!(KeyedMessages::new(by_attribute, None).groups(LIMIT), None, "the queue sees no attributes");
}

#[tokio::test]
async fn a_stuck_worker_releases_the_newest_half_of_each_key() {
    let world = World::new();
    let keyed = held(Some(1));
    add(&keyed, world.receive_all(&["a"; LEAST_HELD + 1]).await);
    let running = keyed.take(1);
    long_ago(&keyed);
    assert!(keyed.surplus(LIMIT, false, TIMEOUT).is_empty(), "it isn't stuck while no permit is free");
    let surplus = keyed.surplus(LIMIT, true, TIMEOUT);
    assert_eq!((surplus.len(), keyed.room(LIMIT)), (LEAST_HELD / 2, LEAST_HELD / 2));
    assert!(keyed.surplus(LIMIT, true, TIMEOUT).is_empty(), "there is room");
    drop(running);
    assert_eq!(keyed.take(1).len(), 1);
}

#[tokio::test]
async fn a_worker_that_is_stuck_with_one_message_of_each_key_releases_those_of_half_of_the_keys() {
    let world = World::new();
    let keyed = held(Some(1));
    let groups: Vec<String> = (0..LEAST_HELD).map(|number| format!("group-{number}")).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    add(&keyed, world.receive_all(&groups).await);
    let running = keyed.take(LEAST_HELD);
    assert_eq!(running.len(), LEAST_HELD);
    add(&keyed, world.receive_all(&groups).await);
    long_ago(&keyed);
    let surplus = keyed.surplus(LIMIT, true, TIMEOUT);
    assert_eq!((surplus.len(), keyed.room(LIMIT)), (LEAST_HELD / 2, LEAST_HELD / 2));
}

#[tokio::test]
async fn releasing_takes_at_most_half_of_the_receives_that_the_queue_counts() {
    for (max_receives, receive_count, is_released) in
        [(Some(5), 2, true), (Some(5), 3, false), (Some(1), 1, false), (None, 1000, true)]
    {
        let keyed = held(None);
        let world = World::with_max_receives(max_receives);
        let mut old = world.receive("a", receive_count, 1).await;
        old.received_at = Instant::now().checked_sub(LONGEST).expect("ten minutes ago");
        add(&keyed, vec![old, world.receive("a", receive_count, 1).await]);
        let count = keyed.surplus(LIMIT, true, TIMEOUT).len();
        assert_eq!(count == 1, is_released, "{receive_count} of {max_receives:?}");
    }
}

#[tokio::test]
async fn a_message_whose_lease_ends_before_its_task_would_is_released() {
    let world = World::of(Some(1), TIMEOUT * 2);
    let keyed = held(None);
    add(&keyed, world.receive_all(&["a"]).await);
    assert!(keyed.surplus(LIMIT, true, TIMEOUT).is_empty());
    assert_eq!(keyed.surplus(LIMIT, true, TIMEOUT * 3).len(), 1);
}

#[tokio::test]
async fn nothing_is_held_once_the_worker_stops() {
    let world = World::new();
    let keyed = held(None);
    add(&keyed, world.receive_all(&["a", "b"]).await);
    let started = keyed.take(1);
    assert_eq!((keyed.close().len(), keyed.room(LIMIT)), (1, 0));
    let refused = keyed.hold_again(started);
    assert!(refused.len() == 1 && refused[0].key_permit.is_none());
    let late = world.receive_all(&["c"]).await;
    assert_eq!(keyed.add(late, |_, _| None).len(), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Receive(u8, u32),
    Start(usize),
    End(usize),
    HoldAgain(usize),
    Surplus { is_stuck: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4_u8, 1..8_u32).prop_map(|(group, count)| Step::Receive(group, count)),
        3 => (1..5_usize).prop_map(Step::Start),
        2 => any::<usize>().prop_map(Step::End),
        1 => any::<usize>().prop_map(Step::HoldAgain),
        1 => any::<bool>().prop_map(|is_stuck| Step::Surplus { is_stuck }),
    ];
    proptest::collection::vec(step, 0..150)
}

/// Runs a schedule. Panics if a message is lost or comes twice, a cap is exceeded, too much is held, or a message is
/// released that has only the receives left that belong to errors.
async fn any_schedule(steps: Vec<Step>, max_per_key: u32, max_receives: u32) {
    let world = World::with_max_receives(Some(max_receives));
    let keyed = held(Some(max_per_key));
    let (mut received, mut ended) = (0, BTreeSet::new());
    let mut running: Vec<LeasedMessage> = Vec::new();
    for step in steps {
        match step {
            Step::Receive(group, count) if keyed.room(LIMIT) > 0 => {
                add(&keyed, vec![world.receive(&group.to_string(), count, 1).await]);
                received += 1;
            }
            Step::Start(most) => running.extend(keyed.take(most)),
            Step::End(which) if !running.is_empty() => {
                let leased = running.swap_remove(which % running.len());
                assert!(ended.insert(leased.message.id.clone()));
            }
            Step::HoldAgain(which) if !running.is_empty() => {
                let leased = running.swap_remove(which % running.len());
                assert!(keyed.hold_again(vec![leased]).is_empty());
            }
            Step::Surplus { is_stuck } => {
                long_ago(&keyed);
                for leased in keyed.surplus(LIMIT, is_stuck, TIMEOUT) {
                    assert!(leased.message.receive_count <= max_receives / 2);
                    assert!(ended.insert(leased.message.id.clone()));
                }
            }
            Step::Receive(..) | Step::End(_) | Step::HoldAgain(_) => {}
        }
        for group in 0..4_u8 {
            let of_group = groups(&running).iter().filter(|name| **name == group.to_string()).count();
            assert!(of_group <= max_per_key as usize);
        }
        let waiting = keyed.lock().shares.waiting();
        // A message that is held again was received before.
        assert!(waiting <= LEAST_HELD + running.len() + max_per_key as usize * 4);
        assert_eq!(waiting + running.len() + ended.len(), received);
        assert_eq!(world.leases.running(0).0, running.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_schedule_loses_a_message_or_takes_a_receive_that_belongs_to_errors(
        steps in steps(),
        max_per_key in 1..4_u32,
        max_receives in 1..10_u32,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(any_schedule(steps, max_per_key, max_receives));
    }
}
