//! Tests of stores in real directories.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod hostile;
mod listing;
mod objects;
mod staging;

use super::*;
use bytes::Bytes;
use std::path::PathBuf;
use tempfile::TempDir;
use wasmrun_runtime::ports::object_store::Condition;

/// A store in `root/` of a directory, so that tests see any file that lands next to `root/`.
struct World {
    dir: TempDir,
    store: DirStore,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        let store = open(&dir.path().join("root"));
        Self { dir, store }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dir.path().join("root").join(key)
    }

    /// Puts a file there as another program would.
    fn place(&self, key: &str, content: &str) {
        let path = self.path(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn temporaries(&self) -> usize {
        std::fs::read_dir(self.path(".wasmrun/tmp")).map_or(0, Iterator::count)
    }
}

fn open(path: &Path) -> DirStore {
    DirStore::open(&format!("dir:{}", path.display())).unwrap()
}

fn on(condition: Condition) -> PutOptions {
    PutOptions { condition, ..PutOptions::default() }
}

async fn put_with(
    store: &DirStore,
    key: &str,
    content: &str,
    options: PutOptions,
) -> Result<ObjectInfo, StoreError> {
    let mut writer = store.write(key, options).await?;
    writer.write(Bytes::from(content.to_owned())).await?;
    writer.finish().await
}

async fn put(store: &DirStore, key: &str, content: &str) -> Result<ObjectInfo, StoreError> {
    put_with(store, key, content, PutOptions::default()).await
}

async fn get(store: &DirStore, key: &str) -> Result<String, StoreError> {
    Ok(drain(store.read(key, None, None).await?).await)
}

async fn drain(mut reader: Box<dyn ObjectReader>) -> String {
    let mut content = Vec::new();
    loop {
        let some = reader.read(3).await.unwrap();
        assert!(some.len() <= 3);
        if some.is_empty() {
            return String::from_utf8(content).unwrap();
        }
        content.extend_from_slice(&some);
    }
}

/// Returns a writer that has written some content.
async fn put_begun(world: &World, key: &str) -> Box<dyn ObjectWriter> {
    let mut writer = world.store.write(key, PutOptions::default()).await.unwrap();
    writer.write(Bytes::from_static(b"1")).await.unwrap();
    writer
}

async fn keys(store: &DirStore, prefix: &str) -> Vec<String> {
    let page = store.list(prefix, None, 1000).await.unwrap();
    assert_eq!(page.continuation, None);
    page.objects.into_iter().map(|object| object.key).collect()
}
