//! Commands: programs with `main`, run as tasks.

mod files;
mod messages;
mod objects;
mod outputs;

use crate::harness::{Command, World};

/// One task of the guest `program` with these arguments, separated by spaces.
fn program(world: &World, arguments: &str, message: &str) -> Command {
    let command = world.invoke("program", message);
    arguments.split_whitespace().fold(command, |command, word| command.args(["--arg", word]))
}

/// Outcome and reason.
#[track_caller]
fn ended(command: Command) -> (String, String) {
    command.ends().outcome()
}

/// The reason of a task that must be rejected: the guest `program` rejects its message to say something.
#[track_caller]
fn said(command: Command) -> String {
    command.reason("rejected")
}
