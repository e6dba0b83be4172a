//! Sends each message on to the queue `next`, in upper case.

use wasmrun_guest::{Failure, Message, Queue, handler, info};

handler!(handle);

fn handle(message: Message) -> Result<(), Failure> {
    let body = message.body();
    if body.trim().is_empty() {
        return Err(Failure::reject("the message is blank"));
    }
    let id = Queue::open("next")?.send(body.to_uppercase())?;
    info!("sent {id}");
    Ok(())
}
