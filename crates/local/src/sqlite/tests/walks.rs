//! Walks over a queue, with filters and limits.

use super::*;
use parking_lot::Mutex;
use wasmrun_runtime::model::dead_letter::DeadLetter;
use wasmrun_runtime::model::message::{Attribute, AttributeValue};
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::ports::walk::{Found, WalkEnd};

/// Returns a dead letter as a worker on `queue` sends it.
fn dead_letter(queue: &SqliteQueue, body: &str, reason: &str) -> OutgoingMessage {
    let dead = DeadLetter {
        outcome: OutcomeKind::Rejected,
        reason: Some(reason.into()),
        receive_count: 1,
        message_id: "m".into(),
        sent_at: None,
        queue: queue.url().into(),
        component: "c.wasm".into(),
        route: None,
        key: None,
    };
    let keep = Attribute { name: "keep".into(), value: AttributeValue::Binary(vec![0, 255]) };
    OutgoingMessage { attributes: vec![keep, dead.to_attribute()], ..text(body) }
}

fn by_reason(reason: &str) -> Filter {
    Filter { reason: Some(reason.into()), ..Filter::default() }
}

/// Returns the bodies of the messages that a walk shows.
async fn shown(queue: &SqliteQueue, filter: &Filter, limit: Option<u64>) -> (Vec<String>, Walked) {
    let shown = Mutex::new(Vec::new());
    let show = |found: &Found| shown.lock().push(found.message.body.clone());
    let walked = walk_some(queue, filter, WalkAction::Look(&show), limit).await.unwrap();
    (shown.into_inner(), walked)
}

#[tokio::test]
async fn three_of_thousands_are_shown_moved_and_dropped_by_their_reason_and_the_rest_is_untouched() {
    let world = World::new();
    let (queue, dead) = (world.queue(), world.open("jobs.db#dead"));
    let letters: Vec<_> = (0..1500)
        .map(|n| dead_letter(&queue, &n.to_string(), if n % 500 == 7 { "no disk" } else { "no image" }))
        .collect();
    dead.send(&letters).await;
    let rare = by_reason("disk");
    let (bodies_shown, walked) = shown(&dead, &rare, None).await;
    assert_eq!(bodies_shown, ["7", "507", "1007"]);
    assert_eq!((walked.looked_at, walked.selected, walked.end), (1500, 3, WalkEnd::Complete));
    let (first, walked) = shown(&dead, &rare, Some(1)).await;
    assert_eq!((first.len(), walked.looked_at, walked.end), (1, 8, WalkEnd::Limit));

    world.pass(3600);
    let redriven = walk_some(&dead, &rare, WalkAction::Redrive { to: None }, Some(2)).await.unwrap();
    assert_eq!((redriven.done, redriven.left), (2, 0));
    let back = receive(&queue, 10).await;
    assert_eq!(bodies(&back), ["7", "507"]);
    assert_eq!((back[0].message.attributes.len(), back[0].message.receive_count), (1, 1));
    assert_eq!(back[0].message.sent_at, clock::to_time(world.clock().now_ms()), "it starts again");
    let dropped = walk(&dead, &rare, WalkAction::Drop).await.unwrap();
    assert_eq!((dropped.selected, dropped.done), (1, 1));
    let rest = dead.peek(1000).await.unwrap();
    assert_eq!(dead.depth().await.unwrap().visible, 1497);
    assert!(rest.iter().all(|message| message.receive_count == 0));
}

#[tokio::test]
async fn in_a_fifo_queue_messages_behind_others_are_found_and_groups_stay_in_order() {
    let world = World::new();
    let (from, to) = (world.fifo(), world.create("to.db", &QueueSettings::default()));
    let letter = |group: &str, body: &str, reason| OutgoingMessage {
        group: Some(group.into()),
        ..dead_letter(&to, body, reason)
    };
    from.send(&[letter("a", "a1", "x"), letter("a", "a2", "y"), letter("b", "b1", "y")]).await;
    assert_eq!(shown(&from, &by_reason("y"), None).await.0, ["a2", "b1"]);
    // Somebody works on the first of the group.
    let held = receive_one(&from).await;
    assert_eq!(shown(&from, &by_reason("y"), None).await.0, ["b1"]);
    set_visibility(&from, &held, 0).await.unwrap();
    let redriven = walk(&from, &by_reason("y"), WalkAction::Redrive { to: Some(to.url()) }).await.unwrap();
    assert_eq!(redriven.done, 2);
    assert_eq!(bodies(&receive(&to, 10).await), ["a2", "b1"]);
    assert_eq!(walk(&from, &Filter::default(), WalkAction::Drop).await.unwrap().done, 1);
    assert!(from.depth().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_message_that_the_queue_moved_has_no_outcome_whatever_its_sender_wrote() {
    let world = World::new();
    let queue = world.create("q.db", &QueueSettings { max_receives: Some(1), ..QueueSettings::default() });
    send(&queue, dead_letter(&queue, "forged", "no disk")).await;
    receive_one(&queue).await;
    world.pass(31);
    assert!(receive(&queue, 1).await.is_empty());
    let dead = world.open("q.db#dead");
    assert_eq!(shown(&dead, &by_reason("disk"), None).await.0, [""; 0]);
    assert_eq!(shown(&dead, &Filter::default(), None).await.0, ["forged"]);
}

#[tokio::test]
async fn a_walk_that_is_stopped_changes_nothing() {
    let world = World::new();
    let queue = world.queue();
    send(&queue, text("x")).await;
    let (filter, stop) = (Filter::default(), CancellationToken::new());
    stop.cancel();
    let bounds = WalkBounds { messages: 0, time: Duration::ZERO };
    let stopped = Walk { filter: &filter, action: WalkAction::Drop, limit: None, bounds, stop: &stop };
    let walked = queue.walk(&stopped).await.unwrap();
    assert_eq!((walked.done, walked.end), (0, WalkEnd::Stopped));
    assert_eq!(queue.depth().await.unwrap().visible, 1);
}
