//! Counting the messages of completion groups.

use super::*;
use std::collections::BTreeMap;
use wasmrun_runtime::model::completion::{CompleteGroup, GroupId, Member};
use wasmrun_runtime::model::notification::End;
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::ports::groups::{Counted, GroupStore, Swept};

fn groups(world: &World, most: u64) -> SqliteGroups {
    SqliteGroups::open_with(&world.url("groups.db"), world.clock(), most).unwrap()
}

fn id(name: &str) -> GroupId {
    GroupId { key: String::new(), name: name.into() }
}

fn member(name: &str, messages: u32, message: &str) -> Member {
    let (end, outcome) = (End::Completed, OutcomeKind::Completed);
    Member { group: id(name), messages, message_id: message.into(), end, outcome }
}

async fn count(groups: &SqliteGroups, name: &str, messages: u32, message: &str) -> Counted {
    groups.count(member(name, messages, message)).await.unwrap()
}

fn complete(name: &str, messages: u64) -> Option<CompleteGroup> {
    let (ends, outcomes) = ([(End::Completed, messages)].into(), [(OutcomeKind::Completed, messages)].into());
    Some(CompleteGroup { group: id(name), ends, outcomes })
}

#[tokio::test]
async fn a_group_is_complete_when_all_of_its_messages_have_ended_each_counted_once() {
    let world = World::new();
    let groups = groups(&world, 100);
    for message in ["a", "b", "a", "b"] {
        assert_eq!(count(&groups, "g", 3, message).await, Counted::default());
    }
    // As the message ended last.
    let rejected = Member { end: End::DeadLettered, outcome: OutcomeKind::Rejected, ..member("g", 3, "a") };
    assert_eq!(groups.count(rejected).await.unwrap().complete, None);
    let found = count(&groups, "g", 3, "c").await.complete.unwrap();
    assert_eq!(found.ends, BTreeMap::from([(End::Completed, 2), (End::DeadLettered, 1)]));
    assert_eq!(found.outcomes, BTreeMap::from([(OutcomeKind::Completed, 2), (OutcomeKind::Rejected, 1)]));
}

#[tokio::test]
async fn a_complete_group_is_returned_until_its_notification_is_recorded_and_never_afterwards() {
    let world = World::new();
    let groups = groups(&world, 100);
    for _ in 0..2 {
        assert_eq!(count(&groups, "g", 1, "a").await.complete, complete("g", 1));
    }
    // A message too many changes nothing.
    let late = Counted { is_late: true, ..Counted::default() };
    assert_eq!(count(&groups, "g", 1, "b").await, late);
    assert_eq!(groups.sweep().await.unwrap(), Swept::default());
    world.pass(301);
    assert_eq!(groups.sweep().await.unwrap().unsent, [complete("g", 1).unwrap()]);
    groups.sent(id("g")).await.unwrap();
    assert_eq!(groups.sweep().await.unwrap(), Swept::default());
    for message in ["a", "c"] {
        assert_eq!(count(&groups, "g", 1, message).await, late);
    }
}

#[tokio::test]
async fn a_message_that_is_repeated_counts_as_it_did_before() {
    let world = World::new();
    let groups = groups(&world, 100);
    let repeated = |message| Member { outcome: OutcomeKind::Repeated, ..member("g", 2, message) };
    let dropped = Member { end: End::Dropped, outcome: OutcomeKind::Trapped, ..member("g", 2, "a") };
    for member in [dropped, repeated("a")] {
        assert_eq!(groups.count(member).await.unwrap(), Counted::default());
    }
    let found = groups.count(repeated("b")).await.unwrap().complete.unwrap();
    assert_eq!(found.ends, BTreeMap::from([(End::Completed, 1), (End::Dropped, 1)]));
    assert_eq!(found.outcomes, BTreeMap::from([(OutcomeKind::Trapped, 1), (OutcomeKind::Repeated, 1)]));
}

#[tokio::test]
async fn a_key_with_many_groups_pushes_out_its_own_and_none_of_another_key() {
    let world = World::new();
    let groups = groups(&world, 20);
    let of = |key: &str, name: String, message: &str| {
        let group = GroupId { key: key.into(), name };
        Member { group, ..member("", 2, message) }
    };
    groups.count(of("acme", "nightly".into(), "a")).await.unwrap();
    for index in 0..100 {
        world.pass(1);
        let counted = groups.count(of("flood", format!("g{index}"), "a")).await.unwrap();
        assert!(counted.dropped.iter().all(|dropped| dropped.group.key == "flood"));
    }
    let complete = groups.count(of("acme", "nightly".into(), "b")).await.unwrap().complete;
    assert!(complete.is_some());
}

#[tokio::test]
async fn the_number_of_messages_is_that_of_the_first_and_keys_do_not_share_a_group() {
    let world = World::new();
    let groups = groups(&world, 100);
    assert!(!count(&groups, "g", 2, "a").await.differs);
    let other = Member { group: GroupId { key: "acme".into(), name: "g".into() }, ..member("g", 1, "b") };
    assert!(groups.count(other).await.unwrap().complete.is_some());
    let counted = count(&groups, "g", 1, "b").await;
    assert_eq!((counted.differs, counted.complete), (true, complete("g", 2)));
}

#[tokio::test]
async fn old_groups_are_dropped_and_said_to_be_if_they_were_not_complete() {
    let world = World::new();
    let groups = groups(&world, 100);
    count(&groups, "waits", 2, "a").await;
    count(&groups, "done", 1, "b").await;
    groups.sent(id("done")).await.unwrap();
    world.pass(14 * 24 * 3600 - 1);
    count(&groups, "new", 2, "c").await;
    assert_eq!(groups.sweep().await.unwrap(), Swept::default());
    world.pass(2);
    let dropped = groups.sweep().await.unwrap().dropped;
    assert_eq!(
        dropped.iter().map(|group| (&group.group, group.ended)).collect::<Vec<_>>(),
        [(&id("waits"), 1)]
    );
    // It begins anew.
    assert_eq!(count(&groups, "waits", 2, "a").await.complete, None);
    assert_eq!(count(&groups, "new", 2, "d").await.complete, complete("new", 2));
}

#[tokio::test]
async fn however_many_groups_there_are_the_file_holds_a_bounded_number_and_the_newest() {
    let world = World::new();
    let groups = groups(&world, 20);
    count(&groups, "done", 1, "m").await;
    groups.sent(id("done")).await.unwrap();
    let mut dropped = Vec::new();
    for index in 0..1000 {
        world.pass(1);
        dropped.extend(count(&groups, &format!("g{index}"), 2, "a").await.dropped);
    }
    // Each group has two entries. What was sent is dropped first, and nothing is said of it.
    assert_eq!(dropped.len(), 990);
    assert_eq!((&dropped[0].group, &dropped[989].group), (&id("g0"), &id("g989")));
    assert_eq!(count(&groups, "g999", 2, "b").await.complete, complete("g999", 2));
    // A group with as many messages as there may be entries drops the others, and is still counted.
    let mut last = Counted::default();
    for index in 0..25 {
        last = count(&groups, "large", 25, &format!("m{index}")).await;
    }
    assert_eq!(last.complete, complete("large", 25));
}

#[tokio::test]
async fn what_was_counted_is_there_after_the_file_is_opened_again() {
    let world = World::new();
    let name = "control \u{1b}[2J\n\" '); DROP TABLE member; --";
    count(&groups(&world, 100), name, 2, "a").await;
    assert_eq!(count(&groups(&world, 100), name, 2, "b").await.complete, complete(name, 2));
    let of_queues = world.url("jobs.db");
    drop(world.queue());
    assert!(SqliteGroups::open(&of_queues).unwrap_err().to_string().contains("another application"));
    assert!(SqliteGroups::open(&format!("{of_queues}#x")).is_err());
}
