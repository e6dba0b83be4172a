//! Which world a component fits, by its exports, and whether it is one that is run here.

use super::author::Author;
use super::load::Common;
use super::outline::Outline;
use super::refusal::LoadError;
use super::{author, offer};
use crate::model::outcome::shorten;
use crate::task::world::World;
use wasmtime::Engine;
use wasmtime::component::Component as Code;

impl Common {
    /// Returns the world in which the component runs: one that handles messages or, if it's run as a service, requests.
    pub(super) fn check_exports<'a>(
        &self,
        exports: impl Iterator<Item = &'a str>,
        author: Option<Author>,
    ) -> Result<World, LoadError> {
        let exports: Vec<&str> = exports.collect();
        let world = world_of(exports.iter().copied(), author)?;
        let is_service = exports.iter().any(|name| World::of([*name]) == Some(World::Service));
        match (world, &self.options.requests) {
            (_, Some(_)) if is_service => Ok(World::Service),
            (_, Some(_)) => Err(LoadError::World(
                "the component handles messages and no HTTP requests, as it does not export wasi:http/incoming-handler@0.2: run it with `wasmrun run`".into(),
            )),
            (World::Service, None) => Err(LoadError::World(
                "the component handles HTTP requests and no messages: run it with `wasmrun serve`".into(),
            )),
            (world, None) => Ok(world),
        }
    }
}

/// Finds the component's world first, as the linker's own error would be harder to understand.
pub(super) fn check_world(engine: &Engine, component: &Code) -> Result<World, LoadError> {
    let ty = component.component_type();
    world_of(ty.exports(engine).map(|(name, _)| name), None)
}

fn world_of<'a>(exports: impl Iterator<Item = &'a str>, author: Option<Author>) -> Result<World, LoadError> {
    let exports: Vec<&str> = exports.collect();
    if let Some(world) = World::of(exports.iter().copied()) {
        return Ok(world);
    }
    if let Some(handler) = exports.iter().find(|name| name.starts_with("wasi:http/handler@0.3")) {
        return Err(LoadError::World(shorten(&format!(
            "the component exports {handler}, with async functions: build it for WASI 0.2, whose handler is wasi:http/incoming-handler (Spin's SDK for Rust has it in version 5)"
        ))));
    }
    Err(LoadError::World(format!(
        "the component does not export wasmrun:task/handler@0.1.0, wasi:cli/run@0.2 or the handler of another world that wasmrun runs. {}",
        author::advice(author).task
    )))
}

/// Reads a file before it is compiled, and refuses a core module. Returns `None` if it can't be read: the compiler says
/// why.
pub(super) fn read_file(bytes: &[u8]) -> Result<Option<Outline<'_>>, LoadError> {
    match Outline::read(bytes) {
        Some(Outline { is_module: true, author, .. }) => {
            let advice = author::advice(author).component;
            Err(LoadError::World(format!("this is a core module, not a component: {advice}")))
        }
        outline => Ok(outline),
    }
}

/// Returns the world of a component before it is compiled. Refuses one that imports what isn't offered.
pub(super) fn check_file(outline: &Outline<'_>) -> Result<World, LoadError> {
    let exports = || outline.exports.iter().map(|(name, _)| *name);
    let world = world_of(exports(), outline.author);
    // Of a command for another version of WASI, the imports say more.
    let is_command = exports().any(|name| name.starts_with("wasi:cli/run@"));
    if (world.is_ok() || is_command)
        && let Some(misfit) = offer::misfit(outline)
    {
        return Err(LoadError::World(shorten(&misfit)));
    }
    world
}
