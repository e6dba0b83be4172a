//! From a URL to a queue or a store: the one place that knows all backends.

use crate::failure::Failure;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wasmrun_local::{DirStore, QueueSettings, SqliteQueue};
use wasmrun_runtime::object_store::ObjectStore;
use wasmrun_runtime::queue::{Queue, QueueAdmin};

/// A queue, and the file that it's in.
pub(crate) struct OpenQueue {
    pub(crate) queue: Arc<dyn QueueAdmin>,
    pub(crate) file: PathBuf,
}

/// A store, and the directory that it's in.
pub(crate) struct OpenStore {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) directory: PathBuf,
}

/// Opens a queue that exists.
pub(crate) fn open_queue(url: &str) -> Result<OpenQueue, Failure> {
    check_queue_scheme(url)?;
    SqliteQueue::open(url).map(opened).map_err(|error| Failure::queue(url, &error))
}

/// Opens a queue, and creates it if it isn't there; tells whether it did.
pub(crate) fn create_queue(url: &str, settings: &QueueSettings) -> Result<(OpenQueue, bool), Failure> {
    check_queue_scheme(url)?;
    let (queue, created) = SqliteQueue::create(url, settings).map_err(|error| Failure::queue(url, &error))?;
    Ok((opened(queue), created))
}

/// Opens a store.
pub(crate) fn open_store(url: &str) -> Result<OpenStore, Failure> {
    if scheme(url) != Some("dir") {
        return Err(Failure::usage(format!("unknown store {url:?}: use dir:PATH")));
    }
    let store = DirStore::open(url).map_err(|error| Failure::store(url, &error))?;
    let directory = store.path().to_owned();
    Ok(OpenStore { store: Arc::new(store), directory })
}

fn opened(queue: SqliteQueue) -> OpenQueue {
    let file = queue.path().to_owned();
    OpenQueue { queue: Arc::new(queue), file }
}

fn check_queue_scheme(url: &str) -> Result<(), Failure> {
    match scheme(url) {
        Some("sqlite") => Ok(()),
        _ => Err(Failure::usage(format!("unknown queue {url:?}: use sqlite:PATH or sqlite:PATH#NAME"))),
    }
}

fn scheme(url: &str) -> Option<&str> {
    url.split_once(':').map(|(scheme, _)| scheme)
}

impl OpenQueue {
    pub(crate) fn into_queue(self) -> Arc<dyn Queue> {
        self.queue
    }
}

impl OpenStore {
    /// Whether a path lies in the store's directory, symbolic links resolved; or would, if it's yet to be created.
    pub(crate) fn contains(&self, path: &Path) -> bool {
        let resolved = path.canonicalize().or_else(|_| path.parent().unwrap_or(path).canonicalize());
        resolved.is_ok_and(|path| path.starts_with(&self.directory))
    }
}
