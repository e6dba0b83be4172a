//! What authors of guests use: `wasmrun test`, `wasmrun dev`, `wasmrun new` and the SDKs.
//!
//! | module | shows |
//! |---|---|
//! | `cases` | what `wasmrun test` finds, prints and writes |
//! | `hostile_cases` | cases that try to read other files, or too much |
//! | `live` | what `wasmrun dev --queue` does after each change |
//! | `packages` | that the SDKs for Python and JavaScript build, and have the types of `wit/` |
//! | `templates`, `outcomes` | that the projects of `wasmrun new` build and pass, and have each outcome |
//! | `watching` | what `wasmrun dev` does after each change |

mod cases;
mod hostile_cases;
mod live;
mod outcomes;
mod packages;
mod templates;
mod watching;

use crate::harness::{Command, Output, World, guest};
use serde_json::Value;

/// A project whose cases the guest `misbehave` handles.
fn project(cases: &[(&str, &str)]) -> World {
    let world = World::new();
    let component = guest("misbehave");
    let file = format!("component = {component:?}\nsend = ['next']\n[store]\ninput = 'ro'\noutput = 'rw'\n");
    world.write("guest.toml", file);
    for (name, case) in cases {
        world.write(&format!("cases/{name}/case.toml"), case);
    }
    world
}

fn test(world: &World) -> Command {
    world.wasmrun(["test"])
}

/// The result of the only case, as JSON.
#[track_caller]
fn only(world: &World) -> Value {
    let mut results = test(world).arg("--json").ends().json();
    assert_eq!(results["cases"].as_array().map(Vec::len), Some(1), "{results}");
    results["cases"][0].take()
}

/// Asserts that a case fails, and that the output has a line with each of these texts.
#[track_caller]
fn fails(world: &World, says: &[&str]) -> Output {
    let output = test(world).ends().exited_with(1);
    for text in says {
        assert!(output.stdout.iter().any(|line| line.contains(text)), "{text:?} isn't in {output}");
    }
    output
}
