//! Sending, receiving and settling messages.

use super::*;
use wasmrun_runtime::model::message::{Attribute, AttributeValue};

#[tokio::test]
async fn a_message_arrives_as_it_was_sent() {
    let world = World::new();
    let queue = world.queue();
    let sent = OutgoingMessage {
        attributes: vec![
            Attribute { name: "z".into(), value: AttributeValue::Text("\"quoted\"\n".into()) },
            Attribute { name: "a".into(), value: AttributeValue::Binary(vec![0, 255]) },
        ],
        group: Some("tenant".into()),
        ..text("größe 😀")
    };
    let id = send(&queue, sent.clone()).await;
    let delivery = receive_one(&queue).await;
    let message = &delivery.message;
    assert_eq!((&message.id, &message.body), (&id, &sent.body));
    assert_eq!((&message.attributes, &message.group), (&sent.attributes, &sent.group));
    assert_eq!(message.receive_count, 1);
    assert_eq!(message.sent_at, clock::to_time(world.clock().now_ms()));
    assert!(delivery.visible_at > Instant::now() + Duration::from_secs(25));
    assert!(delivery.visible_at <= Instant::now() + Duration::from_secs(30));
    delete(&queue, &delivery).await.unwrap();
    assert!(queue.depth().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_message_that_is_not_settled_comes_again_with_a_higher_count() {
    let world = World::new();
    let queue = world.queue();
    let id = send(&queue, text("x")).await;
    receive_one(&queue).await;
    world.pass(29);
    assert!(receive(&queue, 10).await.is_empty());
    world.pass(1);
    let again = receive_one(&queue).await;
    assert_eq!((again.message.id, again.message.receive_count), (id, 2));
}

#[tokio::test]
async fn messages_come_in_the_order_in_which_they_became_visible() {
    let world = World::new();
    let queue = world.queue();
    for answer in queue.send(&[text("1"), text("2"), text("3"), text("4")]).await {
        answer.unwrap();
    }
    let first = receive(&queue, 2).await;
    assert_eq!(bodies(&first), ["1", "2"]);
    world.pass(1);
    set_visibility(&queue, &first[0], 0).await.unwrap();
    assert_eq!(bodies(&receive(&queue, 10).await), ["3", "4", "1"]);
}

#[tokio::test]
async fn visibility_can_be_extended_and_ended() {
    let world = World::new();
    let queue = world.queue();
    send(&queue, text("x")).await;
    let delivery = receive_one(&queue).await;
    world.pass(20);
    set_visibility(&queue, &delivery, 60).await.unwrap();
    world.pass(59);
    assert!(receive(&queue, 1).await.is_empty());
    set_visibility(&queue, &delivery, 0).await.unwrap();
    assert_eq!(receive_one(&queue).await.message.receive_count, 2);
}

#[tokio::test]
async fn an_invisibility_is_at_most_twelve_hours() {
    let world = World::new();
    let queue = world.queue();
    send(&queue, text("x")).await;
    let delivery = receive_one(&queue).await;
    set_visibility(&queue, &delivery, u64::MAX).await.unwrap();
    world.pass(12 * 3600);
    receive_one(&queue).await;
}

#[tokio::test]
async fn an_old_receipt_is_void_once_the_message_was_received_anew() {
    let world = World::new();
    let queue = world.queue();
    send(&queue, text("x")).await;
    let old = receive_one(&queue).await;
    world.pass(31);
    let new = receive_one(&queue).await;
    assert_eq!(set_visibility(&queue, &old, 0).await, Err(QueueError::ReceiptExpired));
    assert_eq!(delete(&queue, &old).await, Err(QueueError::ReceiptExpired));
    assert_eq!(queue.release(&[(old.receipt.clone(), NOW)]).await, [Err(QueueError::ReceiptExpired)]);
    delete(&queue, &new).await.unwrap();
    // Deleting a message twice is not an error, whichever receipt is used.
    delete(&queue, &new).await.unwrap();
    delete(&queue, &old).await.unwrap();
    assert_eq!(set_visibility(&queue, &new, 0).await, Err(QueueError::ReceiptExpired));
}

#[tokio::test]
async fn receipts_that_are_none_are_refused_each_on_its_own() {
    let world = World::new();
    let queue = world.queue();
    send(&queue, text("x")).await;
    let held = receive_one(&queue).await;
    let junk = |text: &str| Receipt(text.into());
    let answers = queue.delete(&[junk(""), junk("1"), held.receipt, junk("x-y"), junk("1-';--")]).await;
    let refused = Err(QueueError::ReceiptExpired);
    // The last receipt names a message that is already deleted.
    assert_eq!(answers, [refused.clone(), refused.clone(), Ok(()), refused, Ok(())]);
}

#[tokio::test]
async fn an_uncounted_delivery_is_given_back_with_its_count_once() {
    let world = World::new();
    let queue = world.queue();
    send(&queue, text("x")).await;
    let delivery = receive_one(&queue).await;
    let release = |after| {
        let released = [(delivery.receipt.clone(), after)];
        let queue = &queue;
        async move { queue.release(&released).await }
    };
    assert_eq!(release(Duration::from_secs(5)).await, [Ok(())]);
    assert_eq!(release(NOW).await, [Err(QueueError::ReceiptExpired)]);
    assert_eq!(queue.depth().await.unwrap(), Depth { delayed: 1, ..Depth::default() });
    world.pass(5);
    assert_eq!(receive_one(&queue).await.message.receive_count, 1);
}

#[tokio::test]
async fn a_delayed_message_is_not_received_before_its_time() {
    let world = World::new();
    let queue = world.queue();
    send(&queue, OutgoingMessage { delay: Some(Duration::from_secs(10)), ..text("late") }).await;
    send(&queue, text("soon")).await;
    assert_eq!(bodies(&receive(&queue, 10).await), ["soon"]);
    assert_eq!(queue.depth().await.unwrap(), Depth { visible: 0, in_flight: 1, delayed: 1 });
    world.pass(10);
    assert_eq!(bodies(&receive(&queue, 10).await), ["late"]);
}

#[tokio::test]
async fn what_sqs_would_refuse_is_refused_and_the_others_are_sent() {
    let world = World::new();
    let queue = world.queue();
    let deduplicated = OutgoingMessage { deduplication_id: Some("1".into()), ..text("x") };
    let answers = queue.send(&[text("1"), text(""), deduplicated, text("2")]).await;
    assert!(answers[0].is_ok() && answers[3].is_ok());
    assert_eq!(answers[1], Err(QueueError::InvalidMessage("the body is empty".into())));
    assert!(matches!(&answers[2], Err(QueueError::InvalidMessage(text)) if text.contains("is not FIFO")));
    assert_eq!(bodies(&receive(&queue, 10).await), ["1", "2"]);
}

#[tokio::test]
async fn a_receive_that_waits_wakes_for_a_message() {
    let world = World::new();
    let queue = Arc::new(world.queue());
    let waiting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.receive(1, Duration::from_secs(3600), &CancellationToken::new()).await }
    });
    tokio::task::yield_now().await;
    send(&queue, text("x")).await;
    assert_eq!(waiting.await.unwrap().unwrap().len(), 1);
}

#[tokio::test]
async fn a_receive_that_waits_notices_what_another_process_sends() {
    let world = World::new();
    let queue = world.queue();
    let waiting =
        tokio::spawn(
            async move { queue.receive(1, Duration::from_secs(3600), &CancellationToken::new()).await },
        );
    tokio::task::yield_now().await;
    send(&world.open("jobs.db"), text("x")).await;
    assert_eq!(waiting.await.unwrap().unwrap().len(), 1);
}

#[tokio::test]
async fn a_receive_that_waits_ends_when_told_to_or_when_its_time_is_over() {
    let world = World::new();
    let queue = Arc::new(world.queue());
    let stop = CancellationToken::new();
    let waiting = tokio::spawn({
        let (queue, stop) = (Arc::clone(&queue), stop.clone());
        async move { queue.receive(1, Duration::MAX, &stop).await }
    });
    tokio::task::yield_now().await;
    stop.cancel();
    assert!(waiting.await.unwrap().unwrap().is_empty());
    let nothing = queue.receive(1, Duration::from_millis(5), &CancellationToken::new()).await.unwrap();
    assert!(nothing.is_empty());
    // A stopped receive takes no message, as it would have to release it.
    send(&queue, text("x")).await;
    assert!(queue.receive(1, NOW, &stop).await.unwrap().is_empty());
    assert_eq!(queue.depth().await.unwrap().visible, 1);
}

#[tokio::test]
async fn peeking_changes_nothing() {
    let world = World::new();
    let queue = world.queue();
    queue.send(&[text("1"), text("2"), text("3")]).await;
    receive_one(&queue).await;
    let seen = queue.peek(1).await.unwrap();
    assert_eq!((seen.len(), seen[0].body.as_str(), seen[0].receive_count), (1, "2", 0));
    assert_eq!(queue.peek(10).await.unwrap().len(), 2);
    assert_eq!(receive_one(&queue).await.message.receive_count, 1);
}

#[tokio::test]
async fn purging_deletes_everything_whatever_its_state() {
    let world = World::new();
    let queue = world.queue();
    let delayed = OutgoingMessage { delay: Some(Duration::from_secs(10)), ..text("late") };
    queue.send(&[text("1"), text("2"), delayed]).await;
    let held = receive_one(&queue).await;
    let dead = world.open("jobs.db#dead");
    send(&dead, text("stays")).await;
    assert_eq!(queue.purge().await.unwrap(), 3);
    assert!(queue.depth().await.unwrap().is_empty());
    assert_eq!(dead.depth().await.unwrap().total(), 1);
    delete(&queue, &held).await.unwrap();
}

#[tokio::test]
async fn a_clock_that_is_set_back_hides_nothing() {
    let world = World::new();
    let queue = world.queue();
    queue.send(&[text("held"), text("there")]).await;
    receive_one(&queue).await;
    world.pass(-3600);
    assert_eq!(bodies(&receive(&queue, 10).await), ["there"]);
    world.pass(29);
    assert!(receive(&queue, 10).await.is_empty());
    world.pass(1);
    assert_eq!(bodies(&receive(&queue, 10).await), ["held", "there"]);
}

#[tokio::test]
async fn a_clock_that_is_set_back_is_followed_once_by_all_processes() {
    let world = World::new();
    let (one, other) = (world.queue(), world.open("jobs.db"));
    send(&one, text("x")).await;
    receive_one(&one).await;
    world.pass(-3600);
    assert!(receive(&other, 1).await.is_empty());
    assert!(receive(&one, 1).await.is_empty());
    world.pass(30);
    assert_eq!(receive(&other, 1).await.len() + receive(&one, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_handles_on_one_file_deliver_each_message_once() {
    const MESSAGES: usize = 300;
    let world = World::new();
    let queue = world.queue();
    let sent: Vec<_> = (0..MESSAGES).map(|i| text(&i.to_string())).collect();
    assert!(queue.send(&sent).await.iter().all(Result::is_ok));
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let queue = world.open("jobs.db");
            tokio::spawn(async move {
                let mut seen = Vec::new();
                loop {
                    let some = receive(&queue, 7).await;
                    if some.is_empty() {
                        return seen;
                    }
                    let receipts: Vec<_> = some.iter().map(|delivery| delivery.receipt.clone()).collect();
                    assert!(queue.delete(&receipts).await.iter().all(Result::is_ok));
                    seen.extend(some.into_iter().map(|delivery| delivery.message.body));
                }
            })
        })
        .collect();
    let mut seen = Vec::new();
    for worker in workers {
        seen.extend(worker.await.unwrap());
    }
    seen.sort_by_key(|body| body.parse::<usize>().unwrap());
    assert_eq!(seen, (0..MESSAGES).map(|i| i.to_string()).collect::<Vec<_>>());
    assert!(queue.depth().await.unwrap().is_empty());
}
