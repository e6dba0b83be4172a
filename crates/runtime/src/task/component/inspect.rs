//! Inspects and compiles components without running them.

use super::fits::{check_file, check_world, read_file};
use super::outline::Outline;
use super::parts::Parts;
use super::refusal::{LoadError, engine_error, missing};
use crate::engine;
#[cfg(feature = "compiler")]
use crate::engine::CodeOptions;
use crate::engine::compile::Compiler;
use crate::model::limits::Limits;
use crate::task::host;
use crate::task::world::{Linked, World};
use std::collections::BTreeMap;
use wasmparser::ComponentExternalKind;
use wasmtime::component::{Component as Code, Linker, types::ComponentItem};

/// What can be granted to tasks and is reached through interfaces of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grantable {
    /// Object stores.
    Store,
    /// Queues to send to.
    Queue,
    /// Key-value buckets.
    Bucket,
    /// Configuration values.
    ConfigValue,
    /// HTTP requests.
    Http,
}

impl Grantable {
    /// Returns what an imported interface uses.
    fn of(import: &str) -> Option<Self> {
        let interface = import.split('@').next().unwrap_or(import);
        match interface {
            "wasmrun:task/object-store" => Some(Self::Store),
            "wasmrun:task/queue" | "wasi:messaging/producer" => Some(Self::Queue),
            "wasi:http/outgoing-handler" => Some(Self::Http),
            _ if interface.starts_with("wasi:blobstore/") => Some(Self::Store),
            _ if interface.starts_with("wasi:keyvalue/") => Some(Self::Bucket),
            _ if interface.starts_with("wasi:config/") => Some(Self::ConfigValue),
            _ => None,
        }
    }
}

/// What a component needs of its grants, by its imports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Of each thing that can be granted, the names of the imports that use it.
    pub grants: BTreeMap<Grantable, Vec<String>>,
    /// The component makes messages or streams through `wasi:messaging` or `wasi:blobstore`, which the host holds.
    pub values: bool,
    /// The component builds HTTP requests, which the host holds.
    pub http: bool,
}

impl Needs {
    fn of<'a>(imports: impl Iterator<Item = &'a str>) -> Self {
        let mut needs = Self::default();
        for name in imports {
            if let Some(grantable) = Grantable::of(name) {
                needs.grants.entry(grantable).or_default().push(name.to_owned());
            }
            needs.values |= name.starts_with("wasi:blobstore/") || name.starts_with("wasi:messaging/");
            needs.http |= name.starts_with("wasi:http/");
        }
        needs
    }

    pub(super) fn of_code(engine: &wasmtime::Engine, component: &Code) -> Self {
        let ty = component.component_type();
        Self::of(ty.imports(engine).map(|(name, _)| name))
    }
}

/// Imports and exports of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interfaces {
    /// Names of the imports, in the component's order.
    pub imports: Vec<String>,
    /// Names of the exports, in the component's order.
    pub exports: Vec<String>,
    /// The grants that the component needs.
    pub needs: Needs,
    /// The world that the component fits; if there is none, why.
    pub fits: Result<World, String>,
    /// Of how many parts it consists when it starts, if the file says that: precompiled code doesn't.
    pub parts: Option<Parts>,
}

/// Compiles a component into a file that [`Compiler::precompiled`] takes.
///
/// # Errors
///
/// The component can't be compiled, or fits no world.
#[cfg(feature = "compiler")]
pub async fn precompile(bytes: &[u8], compiler: &Compiler, code: CodeOptions) -> Result<Vec<u8>, LoadError> {
    if let Some(outline) = read_file(bytes)? {
        check_file(&outline)?;
    }
    let artefact = compiler.artefact(&engine::compiling(code).map_err(engine_error)?, code, bytes).await?;
    let engine = engine::looking(code).map_err(engine_error)?;
    check_world(&engine, &artefact.load(&engine)?)?;
    Ok(artefact.pack(code))
}

/// Inspects a component without running it. One that can't run, for its imports, its exports or the number of its parts, isn't
/// compiled.
///
/// # Errors
///
/// The file is no component, or it can't be compiled.
pub async fn inspect(bytes: &[u8], compiler: &Compiler, limits: &Limits) -> Result<Interfaces, LoadError> {
    let outline = if compiler.is_trusting() { None } else { read_file(bytes)? };
    let file = outline.map(|outline| Interfaces::of_file(&outline));
    if let Some(file) = &file
        && (file.fits.is_err() || file.parts.is_some_and(|parts| parts.check(limits).is_err()))
    {
        return Ok(file.clone());
    }
    let code = compiler.options_of(bytes);
    let engine = engine::looking(code).map_err(engine_error)?;
    let component = compiler.artefact(&engine, code, bytes).await?.load(&engine)?;
    let mut linker = Linker::new(&engine);
    host::add_to_linker(&mut linker).map_err(engine_error)?;
    let fits = match &file {
        Some(file) => file.fits.clone(),
        None => check_world(&engine, &component).map_err(|error| error.to_string()),
    };
    let fits = fits.and_then(|world| {
        let linked = linker.instantiate_pre(&component).and_then(|pre| Linked::new(world, pre));
        linked.map(|_| world).map_err(|error| missing(world, &error))
    });
    let file = file.unwrap_or_else(|| Interfaces::of_code(&engine, &component));
    Ok(Interfaces { fits, ..file })
}

impl Interfaces {
    /// Reads them from the file, as far as that shows them.
    fn of_file(outline: &Outline<'_>) -> Self {
        let shown = |name: &str, kind| match kind {
            ComponentExternalKind::Instance => name.to_owned(),
            ComponentExternalKind::Func => format!("{name} (a function)"),
            _ => format!("{name} (a type)"),
        };
        let imports = outline.imports.iter().map(|import| match import.implements {
            Some(interface) => format!("{} (implements {interface})", shown(import.name, import.kind)),
            None => shown(import.name, import.kind),
        });
        Self {
            imports: imports.collect(),
            exports: outline.exports.iter().map(|(name, kind)| shown(name, *kind)).collect(),
            needs: Needs::of(outline.imports.iter().map(|import| import.name)),
            fits: check_file(outline).map_err(|error| error.to_string()),
            parts: outline.parts,
        }
    }

    /// Reads them from compiled code.
    fn of_code(engine: &wasmtime::Engine, component: &Code) -> Self {
        let ty = component.component_type();
        let name = |name: &str, item: &ComponentItem| match item {
            ComponentItem::ComponentInstance(_) => name.to_owned(),
            ComponentItem::ComponentFunc(_) => format!("{name} (a function)"),
            _ => format!("{name} (a type)"),
        };
        Self {
            imports: ty.imports(engine).map(|(n, item)| name(n, &item.ty)).collect(),
            exports: ty.exports(engine).map(|(n, item)| name(n, &item.ty)).collect(),
            needs: Needs::of_code(engine, component),
            fits: Err(String::new()),
            parts: None,
        }
    }
}
