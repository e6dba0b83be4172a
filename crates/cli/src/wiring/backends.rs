//! From a URL to a queue or a store: the one place that knows all backends.

use crate::output::failure::Failure;
use crate::settings::aws::AwsSettings;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wasmrun_aws::{Aws, FetchError, S3Store, SqsQueue, is_queue_address};
use wasmrun_local::{DirStore, PlannedQueue, QueueSettings, SqliteQueue};
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::ports::object_store::{ObjectStore, StoreError};
use wasmrun_runtime::ports::queue::{Queue, QueueAdmin};

/// What queues and stores are opened with.
pub(crate) struct Backends {
    aws: Aws,
}

/// A queue.
pub(crate) struct OpenQueue {
    pub(crate) queue: Arc<dyn QueueAdmin>,
    /// Where it's a file.
    pub(crate) file: Option<PathBuf>,
}

/// A store.
pub(crate) struct OpenStore {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Where it's a directory.
    pub(crate) directory: Option<PathBuf>,
}

impl Backends {
    pub(crate) fn new(settings: AwsSettings) -> Self {
        Self { aws: Aws::new(settings.endpoint_url) }
    }

    /// Opens a queue that exists.
    pub(crate) async fn open_queue(&self, url: &str) -> Result<OpenQueue, Failure> {
        self.open_queue_as(None, url).await
    }

    /// The same with the rights of a role, if one is named.
    pub(crate) async fn open_queue_as(&self, role: Option<&str>, url: &str) -> Result<OpenQueue, Failure> {
        if is_sqlite(url) {
            refuse_role(role, url)?;
            return SqliteQueue::open(url).map(opened).map_err(|error| Failure::queue(url, &error));
        }
        if !is_queue_address(url) {
            return Err(unknown_queue(url));
        }
        let queue =
            SqsQueue::open(url, &self.aws, role).await.map_err(|error| Failure::queue(url, &error))?;
        Ok(OpenQueue { queue: Arc::new(queue), file: None })
    }

    /// Opens a queue, and creates it if it isn't there, which only those in files are; tells whether it did.
    pub(crate) async fn open_or_create_queue(&self, url: &str) -> Result<(OpenQueue, bool), Failure> {
        if is_sqlite(url) {
            create_queue(url, &QueueSettings::default())
        } else {
            Ok((self.open_queue(url).await?, false))
        }
    }

    /// A queue in a file that doesn't exist yet, as [`Backends::open_or_create_queue`] would create it.
    pub(crate) fn planned_queue(&self, url: &str) -> Result<Option<PlannedQueue>, Failure> {
        if !is_sqlite(url) {
            return Ok(None);
        }
        SqliteQueue::planned(url).map_err(|error| Failure::queue(url, &error))
    }

    /// The content of an object, if it isn't larger than so many bytes.
    pub(crate) async fn fetch(&self, url: &str, most: u64) -> Result<Vec<u8>, Failure> {
        let started = std::time::Instant::now();
        let content = wasmrun_aws::fetch(url, &self.aws, most).await.map_err(|error| match error {
            FetchError::Unfit(why) => Failure::usage(format!("cannot use the component {url}: {why}")),
            FetchError::Store(error) => {
                Failure::backend(format!("cannot fetch the component {url}: {error}"))
            }
        })?;
        let milliseconds = started.elapsed().as_millis() as u64;
        tracing::info!(url, bytes = content.len(), milliseconds, "fetched the component");
        Ok(content)
    }

    /// Opens a store.
    pub(crate) async fn open_store(&self, url: &str) -> Result<OpenStore, Failure> {
        self.open_store_as(None, url).await
    }

    /// The same with the rights of a role, if one is named.
    pub(crate) async fn open_store_as(&self, role: Option<&str>, url: &str) -> Result<OpenStore, Failure> {
        let failed = |error| Failure::store(url, &error);
        match url.split_once(':') {
            Some(("dir", _)) => {
                refuse_role(role, url)?;
                let store = DirStore::open(url).map_err(failed)?;
                let directory = Some(store.path().to_owned());
                Ok(OpenStore { store: Arc::new(store), directory })
            }
            Some(("s3", _)) => {
                let store = S3Store::open(url, &self.aws, role).await.map_err(|error| match error {
                    // What is wrong is what was written, and another start changes nothing.
                    StoreError::Invalid(why) => Failure::usage(format!("cannot use the store {url}: {why}")),
                    error => failed(error),
                })?;
                Ok(OpenStore { store: Arc::new(store), directory: None })
            }
            _ => Err(Failure::usage(format!(
                "unknown store {url:?}: use s3://BUCKET, s3://BUCKET/PREFIX or dir:PATH"
            ))),
        }
    }
}

/// What the readers and writers of a task may hold, beside what is theirs anyway, if it may use this store.
pub(crate) fn streams_bytes(url: &str) -> usize {
    if url.starts_with("s3:") { Limits::STREAMS_BYTES } else { 0 }
}

/// Creates a queue in a file, if it isn't there; tells whether it did.
pub(crate) fn create_queue(url: &str, settings: &QueueSettings) -> Result<(OpenQueue, bool), Failure> {
    if !is_sqlite(url) {
        return Err(Failure::usage(format!(
            "cannot create the queue {url:?}: sqlite:PATH and sqlite:PATH#NAME are created here, queues of SQS with Amazon's tools"
        )));
    }
    let (queue, created) = SqliteQueue::create(url, settings).map_err(|error| Failure::queue(url, &error))?;
    Ok((opened(queue), created))
}

/// Only Amazon knows roles.
fn refuse_role(role: Option<&str>, url: &str) -> Result<(), Failure> {
    match role {
        Some(role) => Err(Failure::usage(format!(
            "the role {role} cannot be assumed for {url}: only queues of SQS and stores in S3 know roles"
        ))),
        None => Ok(()),
    }
}

pub(crate) fn unknown_queue(url: &str) -> Failure {
    Failure::usage(format!(
        "unknown queue {url:?}: use the URL, the ARN or the name of an SQS queue, or sqlite:PATH, or sqlite:PATH#NAME"
    ))
}

pub(crate) fn is_sqlite(url: &str) -> bool {
    url.starts_with("sqlite:")
}

fn opened(queue: SqliteQueue) -> OpenQueue {
    let file = Some(queue.path().to_owned());
    OpenQueue { queue: Arc::new(queue), file }
}

impl OpenQueue {
    pub(crate) fn into_queue(self) -> Arc<dyn Queue> {
        self.queue
    }
}

impl OpenStore {
    /// Whether a path lies in the store's directory, symbolic links resolved; or would, if it's yet to be created.
    pub(crate) fn contains(&self, path: &Path) -> bool {
        let Some(directory) = &self.directory else { return false };
        let resolved = path.canonicalize().or_else(|_| path.parent().unwrap_or(path).canonicalize());
        resolved.is_ok_and(|path| path.starts_with(directory))
    }
}
