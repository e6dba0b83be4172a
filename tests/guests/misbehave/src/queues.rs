//! Sends messages.

use wasmrun_guest::queue::{Error, ErrorKind};
use wasmrun_guest::{Failure, OutgoingMessage, Queue, info};

/// Converts an error to a failure with the name that the WIT gives the error.
fn named(error: Error) -> Failure {
    match error.kind() {
        ErrorKind::AccessDenied => Failure::reject("access-denied"),
        ErrorKind::InvalidMessage(why) => Failure::reject(format!("invalid-message: {why}")),
        ErrorKind::Unavailable => Failure::retry("unavailable"),
        ErrorKind::Other(why) => Failure::reject(format!("other: {why}")),
    }
}

/// `send [@QUEUE] N`: sends N messages one by one. Their bodies count from 0.
pub(crate) fn send(alias: &str, count: u64) -> Result<(), Failure> {
    let queue = Queue::open(alias).map_err(named)?;
    for index in 0..count {
        queue.send(index.to_string()).map_err(named)?;
    }
    info!("sent {count}");
    Ok(())
}

/// `send-bytes [@QUEUE] N`: sends one message of N bytes.
pub(crate) fn send_bytes(alias: &str, bytes: usize) -> Result<(), Failure> {
    let id = Queue::open(alias).map_err(named)?.send("x".repeat(bytes)).map_err(named)?;
    info!("sent {id}");
    Ok(())
}

/// `send-batches [@QUEUE] N SIZE`: sends N batches of SIZE messages.
pub(crate) fn send_batches(alias: &str, batches: usize, size: usize) -> Result<(), Failure> {
    let queue = Queue::open(alias).map_err(named)?;
    let batch = vec![OutgoingMessage::new("x"); size];
    for _ in 0..batches {
        for answer in queue.send_batch(&batch).map_err(named)? {
            answer.map_err(named)?;
        }
    }
    info!("sent {}", batches * size);
    Ok(())
}

/// `send-invalid [@QUEUE]`: sends messages that no queue accepts. Completes if all are refused.
pub(crate) fn send_invalid(alias: &str) -> Result<(), Failure> {
    let queue = Queue::open(alias).map_err(named)?;
    let ok = || OutgoingMessage::new("x");
    let attributes = |count: usize| (0..count).fold(ok(), |message, n| message.attribute(n.to_string(), "x"));
    for message in [
        OutgoingMessage::new(""),
        OutgoingMessage::new("a\0b"),
        OutgoingMessage::new("\u{1b}[2J"),
        OutgoingMessage::new("\u{ffff}"),
        attributes(11),
        attributes(1_000),
        ok().attribute("twice", "x").attribute("twice", "x"),
        ok().attribute("AWS.mine", "x"),
        ok().attribute("wasmrun", "x"),
        ok().attribute("", "x"),
        ok().attribute("a b", "x"),
        ok().attribute("x".repeat(257), "x"),
        ok().attribute("big", "x".repeat((1 << 20) - 5)),
        ok().group(""),
        ok().group("x".repeat(129)),
        ok().group("a b"),
        ok().deduplication_id("x".repeat(129)),
    ] {
        match queue.send(message) {
            Err(error) if matches!(error.kind(), ErrorKind::InvalidMessage(_)) => {}
            answer => return Err(Failure::reject(format!("{answer:?}"))),
        }
    }
    Ok(())
}
