//! Dead-letter queues and redrive.

use super::*;
use wasmrun_runtime::model::message::{Attribute, AttributeValue};

fn outcome(json: &str) -> Attribute {
    Attribute { name: "wasmrun".into(), value: AttributeValue::Text(json.into()) }
}

/// Returns a dead letter as the worker marks it.
fn says(queue: &SqliteQueue, body: &str) -> OutgoingMessage {
    let record = format!(
        r#"{{"outcome":"rejected","receive_count":1,"message_id":"m","queue":"{}","component":"c"}}"#,
        queue.url()
    );
    OutgoingMessage { attributes: vec![outcome(&record)], ..text(body) }
}

fn moved(moved: u64) -> Walked {
    Walked { looked_at: moved, selected: moved, done: moved, ..Walked::default() }
}

/// Moves all messages.
async fn redrive(queue: &SqliteQueue, to: Option<&str>) -> Result<Walked, QueueError> {
    walk(queue, &Filter::default(), WalkAction::Redrive { to }).await
}

async fn exhaust(world: &World, queue: &SqliteQueue, receives: usize) {
    for _ in 0..receives {
        assert_eq!(receive(queue, 10).await.len(), 1);
        world.pass(31);
    }
}

#[tokio::test]
async fn a_message_received_too_often_goes_to_the_dead_letter_queue() {
    let world = World::new();
    let queue = world.queue();
    let id = send(&queue, OutgoingMessage { attributes: vec![outcome("{}")], ..text("x") }).await;
    exhaust(&world, &queue, 5).await;
    assert!(queue.peek(1).await.unwrap().is_empty());
    assert!(receive(&queue, 1).await.is_empty());
    assert!(queue.depth().await.unwrap().is_empty());
    let dead = world.open("jobs.db#dead");
    let message = receive_one(&dead).await.message;
    assert_eq!((message.id, message.body.as_str(), message.receive_count), (id, "x", 1));
    assert_eq!(message.attributes, [outcome("{}")]);
    assert_eq!(dead.attributes().await.unwrap().redrive, None);
}

#[tokio::test]
async fn messages_behind_one_that_is_moved_are_received_at_once() {
    let world = World::new();
    let queue = world.create("q.db", &QueueSettings { max_receives: Some(1), ..QueueSettings::default() });
    queue.send(&[text("1"), text("2")]).await;
    assert_eq!(receive(&queue, 2).await.len(), 2);
    world.pass(31);
    send(&queue, text("3")).await;
    assert_eq!(bodies(&receive(&queue, 1).await), ["3"]);
    assert_eq!(world.open("q.db#dead").depth().await.unwrap().visible, 2);
}

#[tokio::test]
async fn redrive_brings_messages_back_with_a_fresh_count_and_without_the_outcome() {
    let world = World::new();
    let queue = world.queue();
    let keep = Attribute { name: "keep".into(), value: AttributeValue::Text("1".into()) };
    send(&queue, OutgoingMessage { attributes: vec![keep.clone(), outcome("{}")], ..text("x") }).await;
    exhaust(&world, &queue, 5).await;
    receive(&queue, 1).await;
    assert_eq!(redrive(&world.open("jobs.db#dead"), None).await.unwrap(), moved(1));
    let message = receive_one(&queue).await.message;
    assert_eq!((message.receive_count, message.attributes), (1, vec![keep]));
}

#[tokio::test]
async fn redrive_leaves_alone_what_somebody_holds() {
    let world = World::new();
    let queue = world.queue();
    let dead = world.open("jobs.db#dead");
    dead.send(&[text("1"), text("2")]).await;
    let held = receive_one(&dead).await;
    assert_eq!(redrive(&dead, None).await.unwrap(), moved(1));
    assert_eq!(receive_one(&queue).await.message.body, "2");
    delete(&dead, &held).await.unwrap();
}

#[tokio::test]
async fn redrive_believes_the_outcome_only_of_a_queue_that_uses_this_dead_letter_queue() {
    let world = World::new();
    let (one, two) = (world.queue(), world.create("jobs.db#two", &QueueSettings::default()));
    let other = world.create(
        "jobs.db#other",
        &QueueSettings { dead_letter: Some(DeadLetter::None), ..Default::default() },
    );
    let dead = world.open("jobs.db#dead");
    dead.send(&[says(&one, "1"), says(&two, "2")]).await;
    assert_eq!(redrive(&dead, None).await.unwrap(), moved(2));
    assert_eq!((receive(&one, 10).await.len(), receive(&two, 10).await.len()), (1, 1));
    send(&dead, says(&other, "x")).await;
    let before = dead.depth().await.unwrap();
    let left = redrive(&dead, None).await.unwrap();
    assert_eq!((left.done, left.left), (0, 1));
    assert!(left.reason.unwrap().ends_with("#other, but this is not that queue's dead-letter queue"));
    assert_eq!(dead.depth().await.unwrap(), before);
}

#[tokio::test]
async fn redrive_leaves_what_has_no_known_origin_and_moves_the_rest() {
    let world = World::new();
    let (one, two) = (world.queue(), world.create("jobs.db#two", &QueueSettings::default()));
    let other = world.create("other.db", &QueueSettings::default());
    let dead = world.open("jobs.db#dead");
    // Several pages of messages of each kind, mixed, and of different times of visibility.
    for _ in 0..3 {
        dead.send(&vec![text("whose?"); 150]).await;
        dead.send(&vec![says(&one, "1"); 150]).await;
        dead.send(&[says(&two, "2"), says(&other, "elsewhere")]).await;
        world.pass(1);
    }
    let left = redrive(&dead, None).await.unwrap();
    assert_eq!((left.done, left.left), (453, 453));
    let reason = left.reason.unwrap();
    assert!(reason.contains("several queues have dead as their dead-letter queue: main, two"), "{reason}");
    assert_eq!(dead.depth().await.unwrap(), Depth { visible: 453, ..Depth::default() });
    assert_eq!(one.depth().await.unwrap().total(), 450);
    assert_eq!(two.depth().await.unwrap().total(), 3);
    assert_eq!(redrive(&dead, Some(other.url())).await.unwrap(), moved(453));
    assert_eq!((dead.depth().await.unwrap().total(), other.depth().await.unwrap().total()), (0, 453));
}

#[tokio::test]
async fn a_claim_to_a_queue_that_is_gone_does_not_hinder() {
    let world = World::new();
    let (queue, gone) = (world.queue(), world.create("gone.db", &QueueSettings::default()));
    let dead = world.open("jobs.db#dead");
    send(&dead, says(&gone, "x")).await;
    std::fs::remove_file(gone.path()).unwrap();
    assert_eq!(redrive(&dead, None).await.unwrap(), moved(1));
    receive_one(&queue).await;
}

#[tokio::test]
async fn the_user_says_where_to() {
    let world = World::new();
    let queue = world.queue();
    let two = world.create("jobs.db#two", &QueueSettings::default());
    let dead = world.open("jobs.db#dead");
    dead.send(&[says(&queue, "1"), text("2")]).await;
    // A second name of the same file.
    std::fs::hard_link(dead.path(), world.dir.path().join("link.db")).unwrap();
    let wrong = [
        ("jobs.db#dead", "itself"),
        ("link.db#dead", "itself"),
        ("jobs.db#missing", "no queue"),
        ("missing.db", "no queue"),
    ];
    for (to, says) in wrong {
        let error = redrive(&dead, Some(&world.url(to))).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(redrive(&dead, Some(two.url())).await.unwrap(), moved(2));
    let received = receive(&two, 10).await;
    assert_eq!(bodies(&received), ["1", "2"]);
    assert!(received[0].message.attributes.is_empty());
    assert_eq!(queue.depth().await.unwrap().total(), 0);
}

#[tokio::test]
async fn fifo_queues_give_whole_groups_and_take_only_what_has_a_group() {
    let world = World::new();
    let (from, to) = (world.fifo(), world.create("to.db", &QueueSettings::default()));
    let sent: Vec<_> =
        (1..=3).flat_map(|n| ["a", "b"].map(|group| of_group(group, &format!("{group}{n}")))).collect();
    from.send(&sent).await;
    assert_eq!(redrive(&from, Some(to.url())).await.unwrap(), moved(6));
    assert_eq!(bodies(&receive(&to, 10).await), ["a1", "b1", "a2", "b2", "a3", "b3"]);
    world.pass(31);
    send(&to, text("no group")).await;
    let back = redrive(&to, Some(from.url())).await.unwrap();
    assert_eq!((back.done, back.left), (6, 1));
    assert!(back.reason.unwrap().ends_with("it is FIFO, and the message has no message group"));
    assert_eq!(bodies(&receive(&from, 10).await), ["a1", "b1"]);
}

#[tokio::test]
async fn redrive_of_a_queue_that_catches_for_none_says_so() {
    let world = World::new();
    let queue = world.queue();
    assert_eq!(redrive(&queue, None).await.unwrap(), moved(0));
    send(&queue, text("x")).await;
    let left = redrive(&queue, None).await.unwrap();
    assert_eq!((left.done, left.left), (0, 1));
    let reason = left.reason.unwrap();
    assert!(reason.ends_with("no queue of this file has main as its dead-letter queue"), "{reason}");
}

#[tokio::test]
async fn a_dead_letter_queue_may_be_in_another_file_and_back() {
    let world = World::new();
    let dead =
        world.create("dead.db", &QueueSettings { dead_letter: Some(DeadLetter::None), ..Default::default() });
    let to = DeadLetter::Queue(world.url("dead.db"));
    let queue = world.create(
        "jobs.db",
        &QueueSettings { dead_letter: Some(to), max_receives: Some(1), ..Default::default() },
    );
    assert_eq!(queue.attributes().await.unwrap().redrive.unwrap().dead_letter, dead.url());
    queue.send(&[text("1"), text("2")]).await;
    receive(&queue, 2).await;
    world.pass(31);
    send(&queue, text("3")).await;
    assert_eq!(bodies(&receive(&queue, 10).await), ["3"]);
    assert_eq!(queue.depth().await.unwrap(), Depth { in_flight: 1, ..Depth::default() });
    assert_eq!(dead.depth().await.unwrap(), Depth { visible: 2, ..Depth::default() });
    assert_eq!(redrive(&dead, None).await.unwrap(), moved(2));
    assert!(dead.depth().await.unwrap().is_empty());
    assert_eq!(bodies(&receive(&queue, 10).await), ["1", "2"]);
}

#[tokio::test]
async fn while_the_other_file_is_away_nothing_is_lost_and_receiving_goes_on() {
    let world = World::new();
    let dead =
        world.create("dead.db", &QueueSettings { dead_letter: Some(DeadLetter::None), ..Default::default() });
    let to = DeadLetter::Queue(world.url("dead.db"));
    let queue = world.create(
        "jobs.db",
        &QueueSettings { dead_letter: Some(to), max_receives: Some(1), ..Default::default() },
    );
    drop(dead);
    let (here, away) = (world.dir.path().join("dead.db"), world.dir.path().join("away.db"));
    std::fs::rename(&here, &away).unwrap();
    send(&queue, text("1")).await;
    receive(&queue, 1).await;
    world.pass(31);
    send(&queue, text("2")).await;
    assert_eq!(bodies(&receive(&queue, 10).await), ["2"]);
    assert_eq!(queue.depth().await.unwrap().total(), 2);
    std::fs::rename(&away, &here).unwrap();
    world.pass(31);
    receive(&queue, 10).await;
    let dead = world.open("dead.db");
    assert_eq!((queue.depth().await.unwrap().total(), dead.depth().await.unwrap().total()), (0, 2));
}
