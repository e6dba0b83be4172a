//! Interfaces that WASI proposes, by the guest `interfaces`, which does what its message says.

mod config;
mod keyvalue;
mod logging;

use crate::harness::{Command, World, guest};

/// One task of the guest without any grant, whose outcome is printed as JSON.
fn invoke(world: &World, message: &str) -> Command {
    world.wasmrun(["invoke", "--json", "--message", message]).arg(guest("interfaces"))
}
