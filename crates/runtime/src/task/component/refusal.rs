//! Says in one sentence why a component can't be loaded.

use super::parts::Parts;
use crate::engine::capacity::TooSmall;
use crate::engine::compile::CompileError;
use crate::model::limits::{Limit, Limits};
use crate::model::outcome::shorten;
use crate::task::classify::{limit_before, limit_in};
use crate::task::limiter::Limiter;
use crate::task::world::World;

/// Why a component can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The component can't be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The component isn't made for wasmrun's world.
    #[error("{0}")]
    World(String),
    /// The component can't start within the limits.
    #[error("{0}")]
    Limits(String),
    /// The host has no capacity for a task in addition to the component.
    #[error(transparent)]
    TooSmall(#[from] TooSmall),
    /// The engine failed on this host.
    #[error("the engine cannot be started: {0}")]
    Engine(String),
}

/// Names the limit that ended a start. As with a task, an earlier refusal counts only if the error itself names no
/// limit: code may handle refused memory.
pub(super) fn not_started(error: &wasmtime::Error, limiter: &Limiter, limits: &Limits) -> LoadError {
    LoadError::Limits(match limit_in(error).or_else(|| limit_before(error, limiter)) {
        Some(Limit::Fuel) => {
            format!("the component burns more fuel to start than its limit of {}: raise --fuel", limits.fuel)
        }
        Some(Limit::Memory) => format!(
            "the component needs at least {} of memory to start, and its limit is {}: raise --memory",
            shown(limiter.refused_memory().unwrap_or(limits.memory_bytes)),
            shown(limits.memory_bytes)
        ),
        Some(Limit::TableElements) => return too_few_table_elements(limits),
        Some(limit) => return exceeded(limit),
        None => return misfit(&shorten(&error.root_cause().to_string()), limits),
    })
}

pub(super) fn exceeded(limit: Limit) -> LoadError {
    LoadError::Limits(format!("the component exceeds its limit of {limit} when it starts: raise --{limit}"))
}

fn shown(bytes: usize) -> String {
    bytesize::ByteSize(bytes as u64).to_string()
}

fn too_few_table_elements(limits: &Limits) -> LoadError {
    LoadError::Limits(format!(
        "the component's tables need more elements to start than its limit of {}: raise --table-elements",
        limits.table_elements
    ))
}

/// Converts the engine's error about a well-formed component that can't start.
pub(super) fn misfit(error: &str, limits: &Limits) -> LoadError {
    // "... count too high at 17" comes from Wasmtime's stores, "transitively contains 19 core module instances" from
    // its pool.
    if error.contains("instance count too high") || error.contains("core module instances") {
        let (_, number) = error.split_once("transitively contains ").unwrap_or_default();
        let number = number.split(' ').next().and_then(|number| number.parse::<u64>().ok());
        let parts = number.map(|core_instances| Parts { core_instances, ..Parts::default() });
        parts.and_then(|parts| parts.check(limits).err()).unwrap_or_else(|| {
            LoadError::Limits(format!(
                "the component has more core instances than its limit of {}: raise --core-instances",
                limits.core_instances
            ))
        })
    } else if error.contains("table does not fit") {
        too_few_table_elements(limits)
    } else {
        LoadError::Limits(format!("the component cannot start: {error}"))
    }
}

pub(super) fn engine_error(error: wasmtime::Error) -> LoadError {
    LoadError::Engine(format!("{error:#}"))
}

/// Describes in one sentence what the linker misses.
pub(super) fn missing(world: World, error: &wasmtime::Error) -> String {
    shorten(&format!("the component does not fit the world {}: {error:#}", world.as_str()))
}
