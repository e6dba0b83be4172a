//! Sends each message on to the queue `next`: its body as it is, or, where the message announces objects, one message
//! for each of them with a JSON body. Group and attributes go with it.

use serde_json::json;
use wasmrun_guest::queue::MAX_BATCH;
use wasmrun_guest::{AnnouncedObject, Change, Failure, Message, OutgoingMessage, Queue, handler, info};

handler!(handle);

/// The attribute in which the worker says what became of a message. It is about the last queue, not the next.
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
        // One that failed fails them all: they are sent again, and a FIFO queue drops those that it has.
        next.send_batch(batch)?.into_iter().collect::<Result<Vec<_>, _>>()?;
    }
    info!("sent {} on", outgoing.len());
    Ok(())
}

/// A task learns nothing about a queue but its alias, so the operator says it.
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
        // The id is the same for each delivery of the message, so that what is sent again arrives once. A message
        // without a group is in order with nothing but itself.
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
