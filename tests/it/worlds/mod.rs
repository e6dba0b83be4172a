//! Components of smaller worlds, and of other runtimes' worlds, built from the published WIT: they run unchanged as tasks.

mod blobstore;
mod messaging;
mod small;
mod spin;

use crate::harness::{Command, World};

/// One task of the guest `drafts`, which does what its message says.
fn drafts(world: &World, message: &str) -> Command {
    world.invoke("drafts", message)
}

/// The reason of a task that asks for a retry: guests of these worlds fail to say something.
#[track_caller]
fn said(command: Command) -> String {
    command.reason("retry")
}
