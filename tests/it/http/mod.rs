//! The HTTP requests of guests.
//!
//! | module | shows |
//! |---|---|
//! | `grants` | which requests are sent, and which addresses are reached |
//! | `servers` | what a guest receives of servers that answer badly or not at all |
//! | `connections` | proxies and certificates |

mod connections;
mod grants;
mod servers;

use crate::harness::{Command, World};

/// One task of the guest `fetch` with these arguments, separated by spaces.
fn fetch(world: &World, arguments: &str) -> Command {
    let command = world.invoke("fetch", "with arguments");
    arguments.split_whitespace().fold(command, |command, word| command.args(["--arg", word]))
}

/// What the guest got, which it says as the reason of its rejection.
#[track_caller]
fn got(command: Command) -> String {
    command.reason("rejected")
}
