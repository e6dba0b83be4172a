//! Queues that keep the order of the messages within a group.

use super::*;

#[tokio::test]
async fn a_group_is_delivered_in_order_and_one_at_a_time() {
    let world = World::new();
    let queue = world.fifo();
    queue.send(&[of_group("a", "a1"), of_group("a", "a2"), of_group("b", "b1"), of_group("a", "a3")]).await;
    let first = receive(&queue, 10).await;
    assert_eq!(bodies(&first), ["a1", "b1"]);
    assert!(receive(&queue, 10).await.is_empty());
    assert_eq!(queue.depth().await.unwrap(), Depth { visible: 2, in_flight: 2, delayed: 0 });
    delete(&queue, &first[0]).await.unwrap();
    let second = receive(&queue, 10).await;
    assert_eq!(bodies(&second), ["a2"]);
    delete(&queue, &second[0]).await.unwrap();
    assert_eq!(bodies(&receive(&queue, 10).await), ["a3"]);
}

#[tokio::test]
async fn a_message_that_waits_for_its_retry_holds_its_group_back() {
    let world = World::new();
    let queue = world.fifo();
    queue.send(&[of_group("a", "a1"), of_group("a", "a2"), of_group("b", "b1")]).await;
    let first = receive_one(&queue).await;
    set_visibility(&queue, &first, 60).await.unwrap();
    world.pass(59);
    assert_eq!(bodies(&receive(&queue, 10).await), ["b1"]);
    world.pass(1);
    let again = receive_one(&queue).await;
    assert_eq!((again.message.body.as_str(), again.message.receive_count), ("a1", 2));
}

#[tokio::test]
async fn a_dead_lettered_message_lets_its_group_go_on_in_the_same_receive() {
    let world = World::new();
    let settings = QueueSettings { fifo: Some(true), max_receives: Some(1), ..QueueSettings::default() };
    let queue = world.create("fifo.db", &settings);
    queue.send(&[of_group("a", "a1"), of_group("a", "a2")]).await;
    receive_one(&queue).await;
    world.pass(30);
    assert_eq!(bodies(&receive(&queue, 10).await), ["a2"]);
    let dead = receive_one(&world.open("fifo.db#dead")).await;
    assert_eq!((dead.message.body.as_str(), dead.message.group.as_deref()), ("a1", Some("a")));
}

#[tokio::test]
async fn what_is_sent_twice_with_one_deduplication_id_arrives_once_in_five_minutes() {
    let world = World::new();
    let queue = world.fifo();
    let message = OutgoingMessage { deduplication_id: Some("d".into()), ..of_group("a", "x") };
    let first = send(&queue, message.clone()).await;
    let delivery = receive_one(&queue).await;
    delete(&queue, &delivery).await.unwrap();
    world.pass(299);
    assert_eq!(send(&queue, message.clone()).await, first);
    assert!(receive(&queue, 10).await.is_empty());
    world.pass(1);
    assert_ne!(send(&queue, message).await, first);
    receive_one(&queue).await;
}

#[tokio::test]
async fn fifo_rules_are_those_of_sqs() {
    let world = World::new();
    let queue = world.fifo();
    let delayed = OutgoingMessage { delay: Some(Duration::from_secs(1)), ..of_group("a", "x") };
    for answer in queue.send(&[text("no group"), delayed]).await {
        assert!(matches!(answer, Err(QueueError::InvalidMessage(_))), "{answer:?}");
    }
    assert!(queue.attributes().await.unwrap().fifo);
}

#[tokio::test]
async fn a_purge_leaves_no_group_blocked() {
    let world = World::new();
    let queue = world.fifo();
    queue.send(&[of_group("a", "a1"), of_group("a", "a2")]).await;
    receive_one(&queue).await;
    assert_eq!(queue.purge().await.unwrap(), 2);
    send(&queue, of_group("a", "a3")).await;
    assert_eq!(receive_one(&queue).await.message.body, "a3");
}

#[tokio::test]
async fn a_message_deleted_by_hand_does_not_block_its_group() {
    let world = World::new();
    let queue = world.fifo();
    queue.send(&[of_group("a", "a1"), of_group("a", "a2"), of_group("a", "a3")]).await;
    let shell = rusqlite::Connection::open(queue.path()).unwrap();
    shell.execute("DELETE FROM message WHERE sequence IN (1, 2)", []).unwrap();
    assert_eq!(receive_one(&queue).await.message.body, "a3");
}

#[tokio::test]
async fn on_a_standard_queue_groups_are_only_passed_on() {
    let world = World::new();
    let queue = world.queue();
    queue.send(&[of_group("a", "a1"), of_group("a", "a2")]).await;
    let both = receive(&queue, 10).await;
    assert_eq!(bodies(&both), ["a1", "a2"]);
    assert_eq!(both[0].message.group.as_deref(), Some("a"));
}
