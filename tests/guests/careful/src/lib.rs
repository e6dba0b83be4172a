//! Implements the advice of docs/src/guides/idempotency.md, for its tests.

use wasmrun_guest::object_store::ErrorKind;
use wasmrun_guest::{AnnouncedObject, Change, Failure, Message, ObjectInfo, Queue, Store, handler, info};

handler!(handle);

/// Metadata entry that holds the sequencer of an output's event.
const SEQUENCER: &str = "sequencer";
/// Attempts of a conditional write. If all fail, other tasks write the key all the time, and the message is retried
/// later.
const TRIES: u32 = 10;

fn handle(message: Message) -> Result<(), Failure> {
    let body = message.body();
    if let Some(id) = body.strip_prefix("charge ") {
        return charge(id);
    }
    if let Some(key) = body.strip_prefix("publish ") {
        return publish(key);
    }
    if let Some(why) = body.strip_prefix("never ") {
        return Err(Failure::reject(why));
    }
    for object in message.objects().iter().filter(|object| object.change == Change::Created) {
        each_version(object)?;
        latest(object)?;
    }
    Ok(())
}

/// Does something that must not happen twice. The object holds the result, so an existing object means that it is done.
fn charge(id: &str) -> Result<(), Failure> {
    let output = Store::open("output")?;
    let receipt = format!("the receipt of {id}");
    match output.new_object(&format!("receipts/{id}")).if_absent().put(receipt.as_bytes()) {
        Ok(_) => info!("charged {id}"),
        Err(error) if matches!(error.kind(), ErrorKind::PreconditionFailed) => {
            info!("{id} was charged before");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Sends a message as the last step. A message stays sent even if a later step fails, so there is no later step.
fn publish(key: &str) -> Result<(), Failure> {
    Store::open("output")?.put(key, b"published")?;
    Queue::open("next")?.send(key)?;
    Ok(())
}

/// Writes an output whose key depends only on the input, so a second run writes the same object.
fn each_version(object: &AnnouncedObject) -> Result<(), Failure> {
    let content = object.get()?.content.to_ascii_uppercase();
    let version = object.version.as_deref().unwrap_or("only");
    Store::open("output")?.put(&format!("versions/{}/{version}", object.key), &content)?;
    Ok(())
}

/// Writes an output only for the newest version, in whichever order the events arrive.
fn latest(object: &AnnouncedObject) -> Result<(), Failure> {
    let output = Store::open("output")?;
    let key = format!("latest/{}", object.key);
    for _ in 0..TRIES {
        let before = match output.head(&key) {
            Ok(info) => Some(info),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound) => None,
            Err(error) => return Err(error.into()),
        };
        if before.as_ref().and_then(sequencer).is_some_and(|written| !object.is_newer_than(written)) {
            info!("{key} is from this event or a later one");
            return Ok(());
        }
        let content = object.get()?.content.to_ascii_uppercase();
        let mut new = output.new_object(&key);
        if let Some(sequencer) = &object.sequencer {
            new = new.metadata(SEQUENCER, sequencer);
        }
        let new = match before.and_then(|info| info.etag) {
            Some(etag) => new.if_match(etag),
            None => new.if_absent(),
        };
        match new.put(&content) {
            Ok(_) => return Ok(()),
            // Another task wrote the object in between, so check again.
            Err(error) if matches!(error.kind(), ErrorKind::PreconditionFailed) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::retry("others write the same object"))
}

fn sequencer(info: &ObjectInfo) -> Option<&str> {
    let entry = info.metadata.iter().find(|(name, _)| name == SEQUENCER);
    entry.map(|(_, sequencer)| sequencer.as_str())
}
