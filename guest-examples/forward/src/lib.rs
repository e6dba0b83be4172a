//! Sends each message on to the queue `next`: its body as it is, or, where the message announces objects, one message
//! for each of them with a JSON body. Group and attributes go with it.

use serde_json::json;
use wasmrun_guest::queue::MAX_BATCH;
use wasmrun_guest::{
    AnnouncedObject, Change, Failure, Message, OutgoingMessage, Queue, handler, info,
};

handler!(handle);

/// The attribute in which the worker says what became of a message. It is about the last queue, not the next.
const WORKERS_ATTRIBUTE: &str = "wasmrun";

fn handle(message: Message) -> Result<(), Failure> {
    let next = Queue::open("next")?;
    let objects = message.objects();
    let bodies = if objects.is_empty() {
        vec![message.body()]
    } else {
        objects.iter().map(describe).collect()
    };
    let outgoing: Vec<_> = (0..)
        .zip(bodies)
        .map(|(index, body)| outgoing(&message, index, body))
        .collect();
    for batch in outgoing.chunks(MAX_BATCH) {
        // One that failed fails them all: they are sent again, and a FIFO queue drops those that it has.
        next.send_batch(batch)?
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
    }
    info!("sent {} on", outgoing.len());
    Ok(())
}

/// The same for each delivery of a message, so that a FIFO queue knows it.
fn outgoing(message: &Message, index: usize, body: String) -> OutgoingMessage {
    let mut outgoing = OutgoingMessage::new(body);
    outgoing.attributes = message.attributes();
    outgoing
        .attributes
        .retain(|attribute| attribute.name != WORKERS_ATTRIBUTE);
    if let Some(group) = message.group() {
        outgoing = outgoing
            .group(group)
            .deduplication_id(format!("{}-{index}", message.id()));
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
