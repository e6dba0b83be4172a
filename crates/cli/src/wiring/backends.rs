//! Opens a queue or a store by its URL. No other module knows all kinds of backends.

use crate::output::failure::Failure;
use crate::settings::aws::AwsSettings;
use crate::settings::by_key::refuse_key;
use crate::settings::registry::{RegistrySettings, VerifyKeySetting};
use futures_util::future::BoxFuture;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use wasmrun_aws::{
    Aws, EcrPassword, EcrRegistry, FetchError, S3Store, SqsQueue, ecr_password, is_queue_address,
};
use wasmrun_local::{
    DirStore, PlannedQueue, QueueSettings, SqliteBucket, SqliteBudgets, SqliteGroups, SqliteLedger,
    SqliteQueue, resolve,
};
use wasmrun_registry::{Credential, Pulled, Reference, Registry, RegistryError, docker};
use wasmrun_runtime::engine::cache::Cache;
use wasmrun_runtime::engine::compile::MAX_COMPONENT_BYTES;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::ports::budgets::BudgetStore;
use wasmrun_runtime::ports::groups::GroupStore;
use wasmrun_runtime::ports::http::HttpClient;
use wasmrun_runtime::ports::ledger::Ledger;
use wasmrun_runtime::ports::object_budgets::ObjectBudgets;
use wasmrun_runtime::ports::object_groups::ObjectGroups;
use wasmrun_runtime::ports::object_ledger::ObjectLedger;
use wasmrun_runtime::ports::object_store::{ObjectStore, StoreError};
use wasmrun_runtime::ports::queue::{Queue, QueueAdmin};
use wasmrun_runtime::task::by_key::Scope;

/// Opens queues and stores, and fetches components.
pub(crate) struct Backends {
    aws: Arc<Aws>,
}

/// A queue, a store or something alike that is open.
pub(crate) struct Open<T: ?Sized> {
    pub(crate) backend: Arc<T>,
    /// Path of its file or directory. `None`: it is in AWS, in memory or a server.
    pub(crate) file: Option<PathBuf>,
}

pub(crate) type OpenQueue = Open<dyn QueueAdmin>;
pub(crate) type OpenStore = Open<dyn ObjectStore>;
pub(crate) type OpenLedger = Open<dyn Ledger>;

impl Backends {
    pub(crate) fn new(settings: AwsSettings) -> Self {
        Self { aws: Arc::new(Aws::new(settings.endpoint_url)) }
    }

    /// Opens a queue that exists.
    pub(crate) async fn open_queue(&self, url: &str) -> Result<OpenQueue, Failure> {
        self.open_queue_as(None, url).await
    }

    /// Opens a queue that exists, with the rights of a role if `role` names one.
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
        Ok(Open { backend: Arc::new(queue), file: None })
    }

    /// Opens a queue. Creates a missing `sqlite:` queue, but never a queue of SQS. Returns whether it was created.
    pub(crate) async fn open_or_create_queue(&self, url: &str) -> Result<(OpenQueue, bool), Failure> {
        if is_sqlite(url) {
            create_queue(url, &QueueSettings::default())
        } else {
            Ok((self.open_queue(url).await?, false))
        }
    }

    /// Describes the queue that [`Backends::open_or_create_queue`] would create. Returns `None` if it creates none.
    pub(crate) fn planned_queue(&self, url: &str) -> Result<Option<PlannedQueue>, Failure> {
        if !is_sqlite(url) {
            return Ok(None);
        }
        SqliteQueue::planned(url).map_err(|error| Failure::queue(url, &error))
    }

    /// Fetches a component from S3. Refuses an object of more than `most` bytes.
    pub(crate) async fn fetch(&self, url: &str, most: u64) -> Result<Vec<u8>, Failure> {
        let started = std::time::Instant::now();
        let content =
            wasmrun_aws::fetch(url, &self.aws, most).await.map_err(|error| not_fetched(url, error))?;
        let milliseconds = started.elapsed().as_millis() as u64;
        tracing::info!(url, bytes = content.len(), milliseconds, "fetched the component");
        Ok(content)
    }

    /// Returns a text that changes whenever a component in S3 does.
    pub(crate) async fn revision(&self, url: &str) -> Result<String, Failure> {
        wasmrun_aws::revision(url, &self.aws).await.map_err(|error| not_fetched(url, error))
    }

    /// Pulls a component from a registry, or takes it from the cache.
    pub(crate) async fn pull(
        &self,
        reference: &Reference,
        settings: &RegistrySettings,
        cache: Option<&Cache>,
    ) -> Result<Pulled, Failure> {
        let started = std::time::Instant::now();
        let pulled = self.registry(settings)?.pull(reference, MAX_COMPONENT_BYTES, cache).await;
        let pulled = pulled.map_err(|error| not_pulled(reference, error))?;
        let (url, digest, bytes) = (reference.to_string(), pulled.digest.to_string(), pulled.component.len());
        let milliseconds = started.elapsed().as_millis() as u64;
        if pulled.was_cached {
            tracing::info!(url, digest, bytes, milliseconds, "found the component in the cache");
        } else {
            tracing::info!(url, digest, bytes, milliseconds, "fetched the component");
        }
        Ok(pulled)
    }

    /// Returns the digest of the artefact that a name stands for now.
    pub(crate) async fn resolve(
        &self,
        reference: &Reference,
        settings: &RegistrySettings,
    ) -> Result<String, Failure> {
        let digest = self.registry(settings)?.resolve(reference).await;
        digest.map(|digest| digest.to_string()).map_err(|error| not_pulled(reference, error))
    }

    /// Opens the client of registries. Its credentials are those of Docker's configuration, else for ECR those of AWS.
    pub(crate) fn registry(&self, settings: &RegistrySettings) -> Result<Registry, Failure> {
        let client = wasmrun_http::Client::from_environment().map_err(Failure::usage)?;
        let keys = settings.verify_key.as_ref().map(VerifyKeySetting::keys).transpose()?;
        let aws = self.aws.clone();
        let credentials = move |host: String| {
            let aws = aws.clone();
            Box::pin(async move { registry_credential(&host, &aws).await }) as BoxFuture<'static, _>
        };
        Ok(Registry::new(Arc::new(client), settings.plain_http, keys, Arc::new(credentials)))
    }

    /// Opens a store.
    pub(crate) async fn open_store(&self, url: &str) -> Result<OpenStore, Failure> {
        self.open_store_as(None, url, &Scope::All).await
    }

    /// Opens the store in which the messages of completion groups are counted.
    pub(crate) async fn open_groups(&self, url: &str) -> Result<Open<dyn GroupStore>, Failure> {
        if let Some(store) = self.shared_store("group store", url).await? {
            return Ok(Open { backend: Arc::new(ObjectGroups::new(store)), file: None });
        }
        let groups = SqliteGroups::open(url);
        let groups =
            groups.map_err(|error| Failure::backend(format!("cannot use the group store {url}: {error}")))?;
        let file = Some(groups.path().to_owned());
        Ok(Open { backend: Arc::new(groups), file })
    }

    /// Opens the store in which workers share what keys have used of their budgets.
    pub(crate) async fn open_budgets(&self, url: &str) -> Result<Open<dyn BudgetStore>, Failure> {
        if let Some(store) = self.shared_store("budget store", url).await? {
            return Ok(Open { backend: Arc::new(ObjectBudgets::new(store)), file: None });
        }
        let failed = |error| Failure::backend(format!("cannot use the budget store {url}: {error}"));
        let budgets = SqliteBudgets::open(url).map_err(failed)?;
        let file = Some(budgets.path().to_owned());
        Ok(Open { backend: Arc::new(budgets), file })
    }

    /// Opens a store in S3 whose objects workers change together. Returns `None` if the URL names a file.
    async fn shared_store(&self, what: &str, url: &str) -> Result<Option<Arc<dyn ObjectStore>>, Failure> {
        if is_sqlite(url) {
            return Ok(None);
        }
        if !is_s3(url) {
            return Err(Failure::usage(format!(
                "unknown {what} {url:?}: use sqlite:FILE or s3://BUCKET/PREFIX"
            )));
        }
        refuse_key(&format!("the {what}"), url)?;
        let store = self.open_store(url).await?.backend;
        store.probe(false).await.map_err(|error| Failure::store(url, &error))?;
        Ok(Some(store))
    }

    /// Opens the ledger of `--once`. The first message creates a missing file.
    pub(crate) async fn open_ledger(&self, url: &str, window: Duration) -> Result<OpenLedger, Failure> {
        if is_s3(url) {
            let store = self.open_store(url).await?.backend;
            // Sweeps list pages in the middle.
            let listed = store.list("", Some("ledger"), 1).await;
            listed.map_err(|error| Failure::store(url, &error))?;
            return Ok(Open { backend: Arc::new(ObjectLedger::new(store, window)), file: None });
        }
        if !is_sqlite(url) {
            return Err(Failure::usage(format!(
                "unknown ledger {url:?} of --once: use sqlite:FILE or s3://BUCKET/PREFIX"
            )));
        }
        let ledger = SqliteLedger::open(url);
        let ledger = ledger
            .map_err(|error| Failure::backend(format!("cannot use the ledger {url} of --once: {error}")))?;
        let file = Some(ledger.path().to_owned());
        Ok(Open { backend: Arc::new(ledger), file })
    }

    /// Opens a store, with the rights of a role if `role` names one. If it is used by key, each key has a session of the
    /// role.
    pub(crate) async fn open_store_as(
        &self,
        role: Option<&str>,
        url: &str,
        scope: &Scope,
    ) -> Result<OpenStore, Failure> {
        let failed = |error| Failure::store(url, &error);
        match url.split_once(':') {
            Some(("dir", _)) => {
                refuse_role(role, url)?;
                let store = DirStore::open(url).map_err(failed)?;
                let file = Some(store.path().to_owned());
                Ok(Open { backend: Arc::new(store), file })
            }
            Some(("s3", _)) => {
                let store =
                    S3Store::open(url, &self.aws, role, *scope != Scope::All).await.map_err(|error| {
                        match error {
                            // The URL itself is wrong, so another start would fail again.
                            StoreError::Invalid(why) => {
                                Failure::usage(format!("cannot use the store {url}: {why}"))
                            }
                            error => failed(error),
                        }
                    })?;
                Ok(Open { backend: Arc::new(store), file: None })
            }
            _ => Err(Failure::usage(format!(
                "unknown store {url:?}: use s3://BUCKET, s3://BUCKET/PREFIX or dir:PATH"
            ))),
        }
    }
}

fn not_pulled(reference: &Reference, error: RegistryError) -> Failure {
    match error {
        RegistryError::Unfit(why) => Failure::usage(format!("cannot use the component {reference}: {why}")),
        RegistryError::Unavailable(why) => {
            Failure::backend(format!("cannot fetch the component {reference}: {why}"))
        }
    }
}

fn not_fetched(url: &str, error: FetchError) -> Failure {
    match error {
        FetchError::Unfit(why) => Failure::usage(format!("cannot use the component {url}: {why}")),
        FetchError::Store(error) => Failure::backend(format!("cannot fetch the component {url}: {error}")),
    }
}

/// Finds the credential for a registry.
async fn registry_credential(host: &str, aws: &Aws) -> Result<Option<Credential>, String> {
    if let Some(directory) = docker::directory(|name| std::env::var_os(name).map(PathBuf::from))
        && let Some(found) = docker::credential(&directory, host).await?
    {
        return Ok(Some(found));
    }
    let Some(registry) = EcrRegistry::of(host) else { return Ok(None) };
    let EcrPassword { user, password } = ecr_password(&registry, aws).await?;
    Ok(Some(Credential::Password { user, password }))
}

/// Opens a key-value bucket. With `create`, the first task creates a missing file.
pub(crate) fn open_bucket(url: &str, create: bool) -> Result<SqliteBucket, Failure> {
    if !is_sqlite(url) {
        return Err(Failure::usage(format!("unknown key-value bucket {url:?}: use sqlite:FILE")));
    }
    SqliteBucket::open(url, create)
        .map_err(|error| Failure::backend(format!("cannot use the key-value bucket {url}: {error}")))
}

/// Opens the client of guests' HTTP requests.
pub(crate) fn http_client() -> Result<Arc<dyn HttpClient>, Failure> {
    Ok(Arc::new(wasmrun_http::Client::from_environment().map_err(Failure::usage)?))
}

/// Returns the [`Limits::streams_bytes`] of a task that may use this store.
pub(crate) fn streams_bytes(url: &str) -> usize {
    if is_s3(url) { Limits::STREAMS_BYTES } else { 0 }
}

/// Creates a `sqlite:` queue if it doesn't exist, and opens it. Returns whether it was created.
pub(crate) fn create_queue(url: &str, settings: &QueueSettings) -> Result<(OpenQueue, bool), Failure> {
    if !is_sqlite(url) {
        return Err(Failure::usage(format!(
            "cannot create the queue {url:?}: sqlite:PATH and sqlite:PATH#NAME are created here, queues of SQS with Amazon's tools"
        )));
    }
    let (queue, created) = SqliteQueue::create(url, settings).map_err(|error| Failure::queue(url, &error))?;
    Ok((opened(queue), created))
}

/// Refuses a role for a local queue or store: only AWS has roles.
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

pub(crate) fn is_s3(url: &str) -> bool {
    url.starts_with("s3:")
}

fn opened(queue: SqliteQueue) -> OpenQueue {
    let file = Some(queue.path().to_owned());
    Open { backend: Arc::new(queue), file }
}

impl OpenQueue {
    pub(crate) fn into_queue(self) -> Open<dyn Queue> {
        Open { backend: self.backend, file: self.file }
    }
}

impl OpenStore {
    /// Returns whether a path lies in the store's directory, or would lie there once it's created. Symbolic links are
    /// resolved.
    pub(crate) fn contains(&self, path: &Path) -> bool {
        self.key_of(path).is_some()
    }

    /// Returns the key of the object that a path in the store's directory is, or would be once it's created.
    pub(crate) fn key_of(&self, path: &Path) -> Option<String> {
        let directory = self.file.as_deref()?;
        // A bare file name has no directory that could be resolved.
        let path = std::path::absolute(path).ok()?;
        let path = resolve(&path).unwrap_or(path);
        let existing = path.ancestors().find_map(|ancestor| Some((ancestor, ancestor.canonicalize().ok()?)));
        let (ancestor, resolved) = existing?;
        let missing = path.strip_prefix(ancestor).ok()?;
        let key = resolved.strip_prefix(directory).ok()?.join(missing);
        Some(key.to_string_lossy().into_owned())
    }
}
