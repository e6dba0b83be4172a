//! Sends each message on to the queue `next`. The body stays as it is, unless the message announces objects: then the
//! guest sends one message with a JSON body for each of them. The message's group and attributes are sent along.

use serde_json::json;
use wasmrun_guest::queue::MAX_BATCH;
use wasmrun_guest::{AnnouncedObject, Change, Failure, Message, OutgoingMessage, Queue, handler, info};

handler!(handle);

/// The attribute in which the worker records why a message was dead-lettered. It concerns the previous queue, not the
/// next.
const WORKERS_ATTRIBUTE: &str = "wasmrun";

fn handle(message: Message) -> Result<(), Failure> {
    let next = Queue::open("next")?;
    let is_fifo = next_is_fifo()?;
    let objects = message.objects();
    let bodies =
        if objects.is_empty() { vec![message.body()] } else { objects.iter().map(describe).collect() };
    let outgoing: Vec<_> = bodies
        .into_iter()
        .enumerate()
        .map(|(index, body)| outgoing(&message, index, body, is_fifo))
        .collect();
    for batch in outgoing.chunks(MAX_BATCH) {
        // If one message fails, the whole task fails. All messages are then sent again, and a FIFO queue drops the
        // duplicates.
        next.send_batch(batch)?.into_iter().collect::<Result<Vec<_>, _>>()?;
    }
    info!("sent {} on", outgoing.len());
    Ok(())
}

/// Reports whether `next` is a FIFO queue. A task knows only a queue's alias, so the operator says so in the
/// environment.
fn next_is_fifo() -> Result<bool, Failure> {
    match std::env::var("NEXT_IS_FIFO").as_deref() {
        Err(_) | Ok("" | "no") => Ok(false),
        Ok("yes") => Ok(true),
        Ok(other) => Err(Failure::retry(format!("NEXT_IS_FIFO is {other:?}: it must be yes or no"))),
    }
}

fn outgoing(message: &Message, index: usize, body: String, is_fifo: bool) -> OutgoingMessage {
    let mut outgoing = OutgoingMessage::new(body);
    outgoing.attributes = message.attributes();
    outgoing.attributes.retain(|attribute| attribute.name != WORKERS_ATTRIBUTE);
    outgoing.group = message.group();
    if is_fifo {
        // The id is the same for each delivery of the message, so that a message sent again arrives once. A message
        // without a group gets a group of its own.
        let id = message.id();
        outgoing.deduplication_id = Some(format!("{id}-{index}"));
        outgoing.group.get_or_insert(id);
    }
    outgoing
}

fn describe(object: &AnnouncedObject) -> String {
    json!({
        "store": object.store,
        "key": object.key,
        "version": object.version,
        "etag": object.etag,
        "size": object.size,
        "change": match object.change {
            Change::Created => "created",
            Change::Removed => "removed",
            Change::Other => "other",
        },
    })
    .to_string()
}
