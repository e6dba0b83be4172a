//! The components that tasks run.

use bytes::Bytes;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::SystemTime;
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::engine::compile::Compiler;
use wasmrun_runtime::engine::threads::GuestThreads;
use wasmrun_runtime::model::event;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::trace::Sampling;
use wasmrun_runtime::ports::memory::MemoryStore;
use wasmrun_runtime::task::by_key::Scope;
use wasmrun_runtime::task::component::{Component, LoadOptions};
use wasmrun_runtime::task::grant::{Grants, Mode, StoreGrant};

/// The repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Cargo's target folder. A benchmark lies in `release/deps` below it.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    program.ancestors().nth(3).expect("a target folder").to_owned()
}

/// The build of a native program in another workspace of the repository, and the folder of what it builds.
pub fn native_build(manifest: &str) -> (Command, PathBuf) {
    let target = target().join("native");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--release", "--locked", "--manifest-path"])
        .arg(repository().join(manifest))
        .env("CARGO_TARGET_DIR", &target);
    (cargo, target.join("release"))
}

/// The file of a component that `cargo xtask guests` built.
pub fn path(name: &str) -> PathBuf {
    let folder = std::env::var_os("WASMRUN_GUESTS").map_or_else(|| target().join("guests"), PathBuf::from);
    let path = folder.join(name).with_extension("wasm");
    assert!(path.is_file(), "there is no guest {}: run cargo xtask guests", path.display());
    path
}

/// The content of that file.
pub fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).expect("a readable file")
}

/// Loads a component with the pooling allocator and nothing granted.
pub async fn load(guest: &str, instances: NonZeroUsize) -> Arc<Component> {
    load_with(guest, Allocator::Pooling, instances, Grants::default(), Limits::default()).await
}

/// The same with traces, of which this share of the new ones is exported.
pub async fn load_traced(guest: &str, instances: NonZeroUsize, sampling: Sampling) -> Arc<Component> {
    let options = options(guest, Allocator::Pooling, instances, Grants::default(), Limits::default());
    loaded(LoadOptions { sampling: Some(sampling), ..options }).await
}

/// Loads a component for as many threads as there are cores. It is compiled in this process.
pub async fn load_with(
    guest: &str,
    allocator: Allocator,
    instances: NonZeroUsize,
    grants: Grants,
    limits: Limits,
) -> Arc<Component> {
    loaded(options(guest, allocator, instances, grants, limits)).await
}

async fn loaded(options: LoadOptions) -> Arc<Component> {
    let bytes = bytes(&options.name);
    Arc::new(Component::load(&bytes, &Compiler::in_process(), options).await.expect("a component"))
}

fn options(
    guest: &str,
    allocator: Allocator,
    instances: NonZeroUsize,
    grants: Grants,
    limits: Limits,
) -> LoadOptions {
    let threads = Arc::new(GuestThreads::start(available_parallelism().expect("cores")).expect("threads"));
    LoadOptions { grants, limits, instances, allocator, ..LoadOptions::new(guest, threads) }
}

/// The folder of the photographs that the example `thumbnail` reads.
pub fn photographs() -> PathBuf {
    repository().join("demo/photographs")
}

/// One of the photographs.
pub fn photograph(name: &str) -> Bytes {
    std::fs::read(photographs().join(name)).expect("a photograph").into()
}

/// All of the photographs.
pub fn all_photographs() -> Vec<Bytes> {
    let files = std::fs::read_dir(photographs()).expect("photographs");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a photograph").path()).collect();
    files.sort();
    files.into_iter().map(|file| std::fs::read(file).expect("a photograph").into()).collect()
}

/// What the example `thumbnail` is granted for a photograph in memory, and the body that announces it.
pub fn thumbnail(photograph: Bytes) -> (Grants, String) {
    let (grants, mut bodies) = thumbnails([photograph]);
    (grants, bodies.remove(0))
}

/// The same for several photographs, and a body for each.
pub fn thumbnails(photographs: impl IntoIterator<Item = Bytes>) -> (Grants, Vec<String>) {
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
