//! Keys in a directory's store, with files outside it that no key may reach.

use crate::block_on;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use wasmrun_local::DirStore;
use wasmrun_runtime::ports::object_store::{Condition, ObjectStore, PutOptions, Transfer};

/// The content of the files outside the store.
const SECRET: &[u8] = b"outside";
/// The content that is written to the store.
const WRITTEN: &[u8] = b"written";

/// Performs the operation that the first byte selects: read, head, list, write, delete or copy. The rest is the key,
/// which reaches the store without the host's checks.
pub fn dir(bytes: &[u8]) {
    let Some((&what, key)) = bytes.split_first() else { return };
    let Ok(key) = std::str::from_utf8(key) else { return };
    let place = Place::new();
    let outside = place.outside();
    block_on(place.act(what % 6, key));
    assert_eq!(place.outside(), outside, "{key:?} changed something outside");
}

/// A store in a directory, and files next to it.
struct Place {
    directory: TempDir,
    store: DirStore,
}

impl Place {
    fn new() -> Self {
        // In memory where possible, as a store waits for its disk.
        let directory =
            tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
        let path = |name: &str| directory.path().join(name);
        for name in ["store/d/e", "outside/deep"] {
            fs::create_dir_all(path(name)).expect("a directory");
        }
        for name in ["store/a", "store/d/b", "store/d/e/c"] {
            fs::write(path(name), b"inside").expect("a file");
        }
        for name in ["secret", "outside/secret", "outside/deep/secret", "storeroom"] {
            fs::write(path(name), SECRET).expect("a file");
        }
        for (link, target) in [
            ("store/up", ".."),
            ("store/out", "../outside"),
            ("store/file", "../secret"),
            ("store/d/out", "../../outside"),
            ("store/root", "/"),
            ("store/none", "../made"),
        ] {
            symlink(target, path(link)).expect("a link");
        }
        let store = DirStore::open(&format!("dir:{}", path("store").display())).expect("a store");
        Self { directory, store }
    }

    async fn act(&self, what: u8, key: &str) {
        match what {
            0 => {
                let Ok(mut reader) = self.store.read(key, None, None).await else { return };
                while let Ok(content) = reader.read(1 << 10).await {
                    if content.is_empty() {
                        break;
                    }
                    assert_ne!(content, SECRET, "{key:?} reads what is outside");
                }
            }
            1 => {
                let Ok(info) = self.store.head(key, None).await else { return };
                assert_ne!(info.size, SECRET.len() as u64, "{key:?} is outside");
            }
            2 => {
                // Any result is valid. `outside` shows whether the target of a link was deleted.
                let (prefix, after) = key.split_once('\n').map_or((key, None), |(p, a)| (p, Some(a)));
                let Ok(page) = self.store.list(prefix, after, 100).await else { return };
                for object in page.objects {
                    assert!(
                        ["a", "d/b", "d/e/c"].contains(&object.key.as_str()),
                        "{:?} is listed",
                        object.key
                    );
                    assert!(object.key.starts_with(prefix) && after.is_none_or(|after| *object.key > *after));
                }
            }
            3 => {
                if self.write(key).await {
                    let found = fs::read(self.directory.path().join("store").join(key)).expect("an object");
                    assert_eq!(found, WRITTEN);
                    let listed = self.store.list(key, None, 1).await.expect("a page");
                    assert_eq!(listed.objects.first().map(|object| object.key.as_str()), Some(key));
                }
            }
            4 => {
                // Gone, or never there: but not with what it points to.
                let _ = self.store.delete(key).await;
            }
            _ => {
                let any = Transfer::of_at_most(u64::MAX);
                let _ = self.store.copy(key, None, &self.store, "copied", &Condition::Always, &any).await;
                let _ = self.store.copy("a", None, &self.store, key, &Condition::Always, &any).await;
            }
        }
    }

    async fn write(&self, key: &str) -> bool {
        let Ok(mut writer) = self.store.write(key, PutOptions::default()).await else { return false };
        writer.write(Bytes::from_static(WRITTEN)).await.is_ok() && writer.finish().await.is_ok()
    }

    /// Returns all files and directories outside the store, with their contents.
    fn outside(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(self.directory.path(), &self.directory.path().join("store"), &mut found);
        found
    }
}

fn collect(directory: &Path, except: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path == except {
            continue;
        }
        if path.is_dir() {
            collect(&path, except, found);
            found.insert(path, Vec::new());
        } else {
            let content = fs::read(&path).expect("a file");
            found.insert(path, content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the setup: the property should not hold only because nothing here could break it.
    #[test]
    fn what_is_inside_is_reached_and_what_is_outside_would_be_noticed() {
        let place = Place::new();
        let read = |key: &'static str| {
            let reader = place.store.read(key, None, None);
            block_on(async { reader.await.expect("an object").read(100).await.expect("content") })
        };
        assert_eq!(read("d/e/c"), "inside");
        assert!(block_on(place.write("new/one")));
        assert_eq!(read("new/one"), WRITTEN);

        let outside = place.outside();
        assert_eq!(outside.values().filter(|content| *content == SECRET).count(), 4);
        fs::write(place.directory.path().join("made"), "").expect("a file");
        assert_ne!(place.outside(), outside);
    }
}
