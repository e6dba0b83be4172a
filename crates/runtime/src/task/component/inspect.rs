//! Inspects and compiles components without running them.

use super::load::{LoadError, check_offer, check_world, engine_error, missing};
use crate::engine;
#[cfg(feature = "compiler")]
use crate::engine::CodeOptions;
use crate::engine::compile::Compiler;
use crate::task::host;
use crate::task::world::{Linked, World};
use wasmtime::component::{Component as Code, Linker, types::ComponentItem};

/// Which of the grantable interfaces a component imports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The component reads or writes objects.
    pub object_store: bool,
    /// The component sends messages.
    pub queue: bool,
    /// The component uses key-value buckets.
    pub keyvalue: bool,
    /// The component reads configuration values.
    pub config: bool,
    /// The component makes messages or streams through `wasi:messaging` or `wasi:blobstore`, which the host holds.
    pub values: bool,
}

impl Needs {
    pub(super) fn of(engine: &wasmtime::Engine, component: &Code) -> Self {
        let ty = component.component_type();
        let imports = |interface: &str| ty.imports(engine).any(|(name, _)| name.starts_with(interface));
        let (blobstore, messaging) = (imports("wasi:blobstore/"), imports("wasi:messaging/"));
        Self {
            object_store: imports("wasmrun:task/object-store@") || blobstore,
            queue: imports("wasmrun:task/queue@") || imports("wasi:messaging/producer@"),
            keyvalue: imports("wasi:keyvalue/"),
            config: imports("wasi:config/"),
            values: blobstore || messaging,
        }
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
    /// Initial size in bytes of its largest memory, if it is known without starting the component.
    pub initial_memory_bytes: Option<u64>,
}

/// Compiles a component into a file that [`Compiler::precompiled`] takes.
///
/// # Errors
///
/// The component can't be compiled, or fits no world.
#[cfg(feature = "compiler")]
pub async fn precompile(bytes: &[u8], compiler: &Compiler, code: CodeOptions) -> Result<Vec<u8>, LoadError> {
    check_offer(bytes)?;
    let artefact = compiler.artefact(&engine::compiling(code).map_err(engine_error)?, code, bytes).await?;
    let engine = engine::looking(code).map_err(engine_error)?;
    check_world(&engine, &artefact.load(&engine)?)?;
    Ok(artefact.pack(code))
}

/// Inspects a component without running it.
///
/// # Errors
///
/// The component can't be compiled.
pub async fn inspect(bytes: &[u8], compiler: &Compiler) -> Result<Interfaces, LoadError> {
    let code = compiler.options_of(bytes);
    let engine = engine::looking(code).map_err(engine_error)?;
    let component = compiler.artefact(&engine, code, bytes).await?.load(&engine)?;
    let ty = component.component_type();
    let mut linker = Linker::new(&engine);
    host::add_to_linker(&mut linker).map_err(engine_error)?;
    let world = check_offer(bytes).and_then(|()| check_world(&engine, &component));
    let fits = world.map_err(|error| error.to_string()).and_then(|world| {
        let linked = linker.instantiate_pre(&component).and_then(|pre| Linked::new(world, pre));
        linked.map(|_| world).map_err(|error| missing(world, &error))
    });
    let name = |name: &str, item: &ComponentItem| match item {
        ComponentItem::ComponentInstance(_) => name.to_owned(),
        ComponentItem::ComponentFunc(_) => format!("{name} (a function)"),
        _ => format!("{name} (a type)"),
    };
    Ok(Interfaces {
        imports: ty.imports(&engine).map(|(n, item)| name(n, &item.ty)).collect(),
        exports: ty.exports(&engine).map(|(n, item)| name(n, &item.ty)).collect(),
        needs: Needs::of(&engine, &component),
        fits,
        initial_memory_bytes: component
            .resources_required()
            .and_then(|needs| needs.max_initial_memory_size)
            .map(|pages| pages.saturating_mul(64 << 10)),
    })
}
