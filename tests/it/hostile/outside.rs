//! The files around a worker's stores, which no guest may touch, and the files that guests leave in the writable store.

use crate::harness::World;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Prefixes of the files that the worker and the test write: queues, a bucket, and messages that are too long for a
/// command line.
const WRITTEN: [&str; 4] = ["jobs.db", "next.db", "cache.db", "message-"];
/// The store that guests may write to.
const OUTPUT: &str = "out";
/// A file that a key might reach by climbing to the root.
const FAR_OUTSIDE: &str = "/etc/passwd";

/// What a path is, without following links.
#[derive(Debug, PartialEq, Eq)]
enum Thing {
    Nothing,
    Directory,
    Link(PathBuf),
    /// A file's SHA-256.
    Content(String),
}

/// All files around the stores and in the read-only store.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outside(BTreeMap<PathBuf, Thing>);

impl Outside {
    pub(super) fn of(world: &World) -> Self {
        let mut things = BTreeMap::new();
        collect(&world.path(""), Path::new(""), &mut things, |path| {
            let name = path.to_str().expect("a name");
            name != OUTPUT && !WRITTEN.iter().any(|written| name.starts_with(written))
        });
        things.insert(FAR_OUTSIDE.into(), thing(Path::new(FAR_OUTSIDE)));
        Self(things)
    }
}

/// The names of the objects that guests left in their store, and of remains of unfinished objects.
pub(super) fn left_behind(world: &World) -> Vec<String> {
    let mut things = BTreeMap::new();
    collect(&world.path(OUTPUT), Path::new(""), &mut things, |path| path != Path::new(".wasmrun/lock"));
    let kept = things.keys().map(|path| path.to_str().expect("a name").to_owned());
    kept.filter(|name| ![".wasmrun", ".wasmrun/tmp"].contains(&name.as_str())).collect()
}

/// Collects everything below a folder except what `takes` leaves out, without following links.
fn collect(
    root: &Path,
    below: &Path,
    things: &mut BTreeMap<PathBuf, Thing>,
    takes: impl Fn(&Path) -> bool + Copy,
) {
    for entry in fs::read_dir(root.join(below)).expect("a directory") {
        let path = below.join(entry.expect("an entry").file_name());
        if !takes(&path) {
            continue;
        }
        let thing = thing(&root.join(&path));
        if thing == Thing::Directory {
            collect(root, &path, things, takes);
        }
        things.insert(path, thing);
    }
}

fn thing(path: &Path) -> Thing {
    match fs::symlink_metadata(path).map(|metadata| metadata.file_type()) {
        Err(_) => Thing::Nothing,
        Ok(kind) if kind.is_dir() => Thing::Directory,
        Ok(kind) if kind.is_symlink() => Thing::Link(fs::read_link(path).expect("a link")),
        Ok(_) => Thing::Content(format!("{:x}", Sha256::digest(fs::read(path).expect("a file")))),
    }
}
