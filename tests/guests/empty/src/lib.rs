//! Completes each message and does nothing: what a task costs before it does anything.

use wasmrun_guest::{Failure, Message, handler};

handler!(handle);

fn handle(_message: Message) -> Result<(), Failure> {
    Ok(())
}
