//! The components that tasks run.

use bytes::Bytes;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::SystemTime;
use wasmrun_benches::repository;
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::engine::compile::Compiler;
use wasmrun_runtime::engine::threads::GuestThreads;
use wasmrun_runtime::model::event;
use wasmrun_runtime::ports::memory::MemoryStore;
use wasmrun_runtime::task::by_key::Scope;
use wasmrun_runtime::task::component::{Component, LoadOptions};
use wasmrun_runtime::task::grant::{Grants, Mode, StoreGrant};

/// Cargo's target folder. A benchmark lies in `release/deps` below it.
pub(crate) fn target() -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    program.ancestors().nth(3).expect("a target folder").to_owned()
}

/// The build of a native program in another workspace of the repository, and the folder of what it builds.
pub(crate) fn native_build(manifest: &str) -> (Command, PathBuf) {
    let target = target().join("native");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--release", "--locked", "--manifest-path"])
        .arg(repository().join(manifest))
        .env("CARGO_TARGET_DIR", &target);
    (cargo, target.join("release"))
}

/// The file of a component that `cargo xtask guests` built.
pub(crate) fn path(name: &str) -> PathBuf {
    let folder = std::env::var_os("WASMRUN_GUESTS").map_or_else(|| target().join("guests"), PathBuf::from);
    let path = folder.join(name).with_extension("wasm");
    assert!(path.is_file(), "there is no guest {}: run cargo xtask guests", path.display());
    path
}

/// The content of that file.
pub(crate) fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).expect("a readable file")
}

/// Options for a component with the pooling allocator, nothing granted, and as many threads as there are cores.
pub(crate) fn options(guest: &str, instances: NonZeroUsize) -> LoadOptions {
    let threads = Arc::new(GuestThreads::start(available_parallelism().expect("cores")).expect("threads"));
    LoadOptions { instances, allocator: Allocator::Pooling, ..LoadOptions::new(guest, threads) }
}

/// Loads the component that these options name. It is compiled in this process.
pub(crate) async fn load(options: LoadOptions) -> Arc<Component> {
    let bytes = bytes(&options.name);
    Arc::new(Component::load(&bytes, &Compiler::in_process(), options).await.expect("a component"))
}

/// The folder of the photographs that the example `thumbnail` reads.
pub(crate) fn photographs() -> PathBuf {
    repository().join("demo/photographs")
}

/// One of the photographs.
pub(crate) fn photograph(name: &str) -> Bytes {
    std::fs::read(photographs().join(name)).expect("a photograph").into()
}

/// All of the photographs.
pub(crate) fn all_photographs() -> Vec<Bytes> {
    let files = std::fs::read_dir(photographs()).expect("photographs");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a photograph").path()).collect();
    files.sort();
    files.into_iter().map(|file| std::fs::read(file).expect("a photograph").into()).collect()
}

/// What the example `thumbnail` is granted for a photograph in memory, and the body that announces it.
pub(crate) fn thumbnail(photograph: Bytes) -> (Grants, String) {
    let (grants, mut bodies) = thumbnails([photograph]);
    (grants, bodies.remove(0))
}

/// The same for several photographs, and a body for each.
pub(crate) fn thumbnails(photographs: impl IntoIterator<Item = Bytes>) -> (Grants, Vec<String>) {
    let (input, output) = (MemoryStore::new("in"), MemoryStore::new("out"));
    let announced = |(index, photograph): (usize, Bytes)| {
        let (key, size) = (format!("photograph-{index}"), photograph.len() as u64);
        input.insert(&key, photograph);
        event::notification("memory:in", &key, size, None, SystemTime::now())
    };
    let bodies = photographs.into_iter().enumerate().map(announced).collect();
    let mut grants = Grants::default();
    for (alias, store, mode) in [("input", input, Mode::ReadOnly), ("output", output, Mode::ReadWrite)] {
        let store = StoreGrant { alias: alias.into(), store: Arc::new(store), mode, scope: Scope::All };
        grants.stores.insert(alias.into(), store);
    }
    (grants, bodies)
}
