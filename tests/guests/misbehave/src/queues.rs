//! Sends messages.

use wasmrun_guest::queue::{Error, ErrorKind};
use wasmrun_guest::{Failure, Queue, info};

/// A rejection with the WIT's name of the error.
fn named(error: Error) -> Failure {
    match error.kind() {
        ErrorKind::AccessDenied => Failure::reject("access-denied"),
        ErrorKind::InvalidMessage(why) => Failure::reject(format!("invalid-message: {why}")),
        ErrorKind::Unavailable => Failure::retry("unavailable"),
        ErrorKind::Other(why) => Failure::reject(format!("other: {why}")),
    }
}

/// `send [@QUEUE] N`: so many messages, one by one; their bodies count from 0.
pub(crate) fn send(alias: &str, count: u64) -> Result<(), Failure> {
    let queue = Queue::open(alias).map_err(named)?;
    for index in 0..count {
        queue.send(index.to_string()).map_err(named)?;
    }
    info!("sent {count}");
    Ok(())
}

/// `send-bytes [@QUEUE] N`: one message of that length.
pub(crate) fn send_bytes(alias: &str, bytes: usize) -> Result<(), Failure> {
    let id = Queue::open(alias).map_err(named)?.send("x".repeat(bytes)).map_err(named)?;
    info!("sent {id}");
    Ok(())
}
