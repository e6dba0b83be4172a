//! Components in registries.
//!
//! | module | shows |
//! |---|---|
//! | `pulling` | that a component of a registry runs, where its digest is named, and that it's pulled once |
//! | `pushing` | that other clients read what is pushed, and the other way |
//! | `credentials` | Docker's configuration and helpers, and passwords of ECR |
//! | `faults` | registries that misbehave |
//! | `signatures` | that with keys only signed components run |
//! | `signature_faults` | registries whose signatures are damaged, huge or endless |
//! | `signing` | signatures as cosign writes them |

mod credentials;
mod faults;
mod pulling;
mod pushing;
mod signature_faults;
mod signatures;
mod signing;

use crate::harness::{Command, World, guest};
use std::os::unix::fs::PermissionsExt;

/// Pushes a guest. Returns the name of the artefact with its digest.
#[track_caller]
fn push(world: &World, name: &str, url: &str) -> String {
    let output = world.wasmrun(["push"]).arg(guest(name)).arg(url).succeeds();
    assert_eq!(output.stdout.len(), 1, "{output}");
    output.stdout[0].clone()
}

/// Invokes the component with a cache of this world's own.
fn invoke(world: &World, url: &str) -> Command {
    world.wasmrun(["invoke", url, "--message", "x", "--cache", "cache", "--log-format", "json"])
}

/// Writes a credential helper named `test`, in a folder that becomes the `PATH`.
fn helper(world: &World, script: &str) {
    world.write("bin/docker-credential-test", format!("#!/bin/sh\n{script}\n"));
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(world.path("bin/docker-credential-test"), executable).expect("set");
}

fn with_helper(world: &World, command: Command) -> Command {
    let path = format!("{}:{}", world.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    command.env("PATH", path)
}
