//! Receives that go round the message groups.

use super::*;
use std::collections::BTreeSet;

async fn receive_by_group(queue: &SqliteQueue, max: usize, except: &[&str]) -> Vec<Delivery> {
    let groups = Groups { except: except.iter().map(|group| (*group).to_owned()).collect() };
    queue.receive_by_group(max, NOW, &CancellationToken::new(), &groups).await.unwrap()
}

fn sorted(deliveries: &[Delivery]) -> Vec<&str> {
    let mut bodies = bodies(deliveries);
    bodies.sort_unstable();
    bodies
}

#[tokio::test]
async fn groups_with_few_messages_come_before_the_backlog_of_another() {
    let world = World::new();
    let queue = world.queue();
    let backlog: Vec<_> = (0..500).map(|_| of_group("big", "big")).collect();
    queue.send(&backlog).await;
    queue.send(&[of_group("a", "a1"), of_group("z", "z1"), of_group("a", "a2")]).await;
    assert_eq!(sorted(&receive_by_group(&queue, 4, &[]).await), ["a1", "a2", "big", "z1"]);
    assert_eq!(sorted(&receive_by_group(&queue, 2, &[]).await), ["big", "big"]);
}

#[tokio::test]
async fn messages_without_a_group_are_one_group_more() {
    let world = World::new();
    let queue = world.queue();
    queue
        .send(&[of_group("a", "a1"), of_group("a", "a2"), text("u1"), text("u2"), of_group("b", "b1")])
        .await;
    assert_eq!(sorted(&receive_by_group(&queue, 3, &[]).await), ["a1", "b1", "u1"]);
    assert_eq!(sorted(&receive_by_group(&queue, 3, &["-"]).await), ["a2"]);
    assert_eq!(sorted(&receive_by_group(&queue, 3, &[]).await), ["u2"]);
}

#[tokio::test]
async fn a_backlog_that_is_left_out_does_not_hide_messages_without_a_group() {
    let world = World::new();
    let queue = world.queue();
    let backlog: Vec<_> = (0..500).map(|_| of_group("parked", "parked")).collect();
    queue.send(&backlog).await;
    queue.send(&[text("u1"), text("u2")]).await;
    // Another process made the index, or this one did before.
    for expected in [vec!["u1"], vec!["u2"], vec![]] {
        assert_eq!(bodies(&receive_by_group(&queue, 1, &["parked"]).await), expected);
    }
    let other = world.queue();
    assert_eq!(bodies(&receive_by_group(&other, 1, &[]).await), ["parked"]);
}

#[tokio::test]
async fn a_group_that_is_left_out_stays_in_the_queue_uncounted() {
    let world = World::new();
    let queue = world.queue();
    queue.send(&[of_group("a", "a1"), of_group("b", "b1")]).await;
    assert_eq!(sorted(&receive_by_group(&queue, 10, &["a"]).await), ["b1"]);
    assert!(receive_by_group(&queue, 10, &["a"]).await.is_empty());
    let left = receive_by_group(&queue, 10, &[]).await;
    assert_eq!((left.len(), left[0].message.receive_count), (1, 1));
    // A release takes the receive off the count.
    assert!(!queue.counts_releases());
    queue.release(&[(left[0].receipt.clone(), NOW)]).await.remove(0).unwrap();
    assert_eq!(receive_by_group(&queue, 10, &[]).await[0].message.receive_count, 1);
}

#[tokio::test]
async fn a_receive_that_leaves_out_more_groups_than_a_transaction_visits_ends() {
    let world = World::new();
    let queue = world.queue();
    let groups: Vec<String> = (0..350).map(|number| format!("g{number:03}")).collect();
    queue.send(&groups.iter().map(|group| of_group(group, group)).collect::<Vec<_>>()).await;
    let all: Vec<&str> = groups.iter().map(String::as_str).collect();
    // From any place in the round, also in the middle.
    assert_eq!(receive_by_group(&queue, 3, &[]).await.len(), 3);
    let receive = receive_by_group(&queue, 3, &all);
    let found = tokio::time::timeout(Duration::from_secs(60), receive).await.expect("an end");
    assert!(found.is_empty());
    // The only group that isn't left out is found, wherever it stands.
    for group in ["g349", "g120", "g004"] {
        let others: Vec<&str> = all.iter().copied().filter(|other| *other != group).collect();
        assert_eq!(sorted(&receive_by_group(&queue, 3, &others).await), [group]);
        assert!(receive_by_group(&queue, 3, &others).await.is_empty());
    }
}

#[tokio::test]
async fn every_message_of_many_groups_is_delivered_once() {
    let world = World::new();
    let queue = world.queue();
    let mut sent = BTreeSet::new();
    for number in 0..700 {
        let body = number.to_string();
        let message =
            if number % 9 == 0 { text(&body) } else { of_group(&(number % 231).to_string(), &body) };
        queue.send(&[message]).await;
        sent.insert(body);
    }
    loop {
        let deliveries = receive_by_group(&queue, 10, &[]).await;
        if deliveries.is_empty() {
            break;
        }
        for Delivery { message, .. } in deliveries {
            assert_eq!(message.receive_count, 1);
            assert!(sent.remove(&message.body), "{} comes twice", message.body);
        }
    }
    assert!(sent.is_empty(), "{sent:?}");
}

#[tokio::test]
async fn a_group_whose_place_is_gone_does_not_end_the_round() {
    let world = World::new();
    let queue = world.queue();
    queue.send(&[of_group("b", "b1"), of_group("c", "c1")]).await;
    let first = receive_by_group(&queue, 1, &[]).await;
    assert_eq!(bodies(&first), ["b1"]);
    delete(&queue, &first[0]).await.unwrap();
    queue.send(&[of_group("a", "a1")]).await;
    assert_eq!(sorted(&receive_by_group(&queue, 10, &[]).await), ["a1", "c1"]);
}

#[tokio::test]
async fn no_message_comes_twice_when_the_last_group_is_gone() {
    let world = World::new();
    let queue = world.queue();
    queue.send(&[of_group("a", "a1"), of_group("b", "b1"), of_group("z", "z1"), of_group("a", "a2")]).await;
    let first = receive_by_group(&queue, 3, &[]).await;
    assert_eq!(bodies(&first), ["a1", "b1", "z1"]);
    for delivery in &first {
        delete(&queue, delivery).await.unwrap();
    }
    assert_eq!(bodies(&receive_by_group(&queue, 10, &[]).await), ["a2"]);
}

#[tokio::test]
async fn a_fifo_queue_keeps_the_order_of_a_group() {
    let world = World::new();
    let queue = world.fifo();
    queue.send(&[of_group("a", "a1"), of_group("a", "a2"), of_group("b", "b1")]).await;
    let first = receive_by_group(&queue, 10, &[]).await;
    assert_eq!(sorted(&first), ["a1", "b1"]);
    assert!(receive_by_group(&queue, 10, &[]).await.is_empty());
    let a1 = first.iter().find(|delivery| delivery.message.body == "a1").unwrap();
    delete(&queue, a1).await.unwrap();
    assert_eq!(sorted(&receive_by_group(&queue, 10, &[]).await), ["a2"]);
}

#[tokio::test]
async fn a_message_that_was_received_too_often_goes_to_the_dead_letter_queue() {
    let world = World::new();
    let settings = QueueSettings { max_receives: Some(1), ..QueueSettings::default() };
    let queue = world.create("jobs.db", &settings);
    queue.send(&[of_group("a", "a1"), of_group("a", "a2")]).await;
    assert_eq!(sorted(&receive_by_group(&queue, 1, &[]).await), ["a1"]);
    world.pass(60);
    assert_eq!(sorted(&receive_by_group(&queue, 2, &[]).await), ["a2"]);
    assert_eq!(queue.depth().await.unwrap(), Depth { visible: 0, in_flight: 1, delayed: 0 });
}
