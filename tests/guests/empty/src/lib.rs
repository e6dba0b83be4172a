//! Completes each message and does nothing, to measure the base cost of a task.

use wasmrun_guest::{Failure, Message, handler};

handler!(handle);

fn handle(_message: Message) -> Result<(), Failure> {
    Ok(())
}
