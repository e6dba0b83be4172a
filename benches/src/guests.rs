//! The components that tasks run.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::engine::capacity::Host;
use wasmrun_runtime::engine::compile::Compiler;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::task::component::{Component, LoadOptions};
use wasmrun_runtime::task::grant::Grants;

/// The repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Cargo's target folder: a benchmark lies in `release/deps` below it.
///
/// # Panics
///
/// It lies elsewhere.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().expect("this program's path");
    program.ancestors().nth(3).expect("a target folder").to_owned()
}

/// The file of a component that `cargo xtask guests` built.
///
/// # Panics
///
/// There is none.
pub fn path(name: &str) -> PathBuf {
    let folder = std::env::var_os("WASMRUN_GUESTS").map_or_else(|| target().join("guests"), PathBuf::from);
    let path = folder.join(name).with_extension("wasm");
    assert!(path.is_file(), "there is no guest {}: run cargo xtask guests", path.display());
    path
}

/// The content of that file.
///
/// # Panics
///
/// There is none.
pub fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).expect("a readable file")
}

/// Makes a component ready for tasks, with as many threads as there are cores. It is compiled in this process.
///
/// # Panics
///
/// It can't be used, or there is none.
pub async fn load(
    guest: &str,
    allocator: Allocator,
    instances: NonZeroUsize,
    grants: Grants,
    limits: Limits,
) -> Component {
    let threads = std::thread::available_parallelism().expect("cores");
    let options = LoadOptions {
        grants,
        limits,
        instances,
        host: Host::default(),
        threads,
        allocator,
        raw_body: false,
        deterministic: false,
    };
    Component::load(&bytes(guest), &Compiler::in_process(), options).await.expect("a component")
}
