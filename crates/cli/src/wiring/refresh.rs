//! Looks for new versions of the component, and lets new tasks be of them.

use super::backends::Backends;
use super::compiler::{compiler, open_cache};
use super::component::{ReadComponent, read};
use crate::output::failure::Failure;
use crate::settings::source::Source;
use crate::settings::task::TaskPlan;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;
use wasmrun_runtime::task::component::{Component, Share};

/// Keeps a worker's component up to date.
pub(crate) struct Refresh {
    plan: TaskPlan,
    component: Arc<Component>,
    /// Share of the tasks that a new version runs first; `None`: all.
    share: Option<Share>,
    backends: Backends,
    /// Where the component was when it was last read: what has not changed since needn't be read again.
    seen: Option<String>,
}

impl Refresh {
    pub(crate) fn new(plan: TaskPlan, component: Arc<Component>, share: Option<Share>) -> Self {
        let backends = Backends::new(plan.aws.clone());
        Self { plan, component, share, backends, seen: None }
    }

    /// Looks for a new version at each interval until the returned handle is dropped.
    pub(crate) fn keep(self, every: Duration) -> AbortOnDropHandle<()> {
        // Loading a large component takes a while, and what receives messages must not wait for it.
        AbortOnDropHandle::new(tokio::spawn(self.go_on(every)))
    }

    async fn go_on(mut self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            match self.changed().await {
                Ok(Some(read)) => self.refresh(&read).await,
                Ok(None) => {}
                Err(failure) => {
                    self.component.refreshes().failed.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(error = %failure, "cannot look for a new version of the component");
                }
            }
        }
    }

    /// Lets new tasks be of this version, unless they are already.
    async fn refresh(&self, read: &ReadComponent) {
        let name = read.version_name(&self.plan);
        if self.component.versions().iter().any(|(known, _)| **known == *name) {
            return;
        }
        let refreshed =
            match open_cache(&self.plan.engine).and_then(|cache| compiler(&self.plan.engine, cache)) {
                Ok(compiler) => {
                    let refreshed =
                        self.component.refresh(name.clone(), &read.bytes, &compiler, self.share).await;
                    refreshed.map_err(|error| Failure::component(&self.plan.component.to_string(), &error))
                }
                Err(failure) => Err(failure),
            };
        let component = self.component.name();
        match refreshed {
            Ok(()) if self.share.is_some() => {
                tracing::info!(%component, new = name, "a share of the new tasks runs a new version of the component");
            }
            Ok(()) => tracing::info!(component = name, "all new tasks run a new version of the component"),
            Err(failure) => tracing::error!(
                %component,
                refused = name,
                error = %failure,
                "kept the component: its new version cannot run"
            ),
        }
    }

    /// Reads the component if it may have changed.
    async fn changed(&mut self) -> Result<Option<ReadComponent>, Failure> {
        let TaskPlan { component: source, engine, registry, .. } = &self.plan;
        let revision = match source {
            Source::File(path) => revision(path)?,
            Source::Object(url) => self.backends.revision(url).await?,
            Source::Artefact(reference) => self.backends.resolve(reference, registry).await?,
        };
        if self.seen.as_ref() == Some(&revision) {
            return Ok(None);
        }
        let cache = open_cache(engine)?;
        let read = read(source, engine, registry, cache.as_ref(), &self.backends).await?;
        self.seen = Some(revision);
        Ok(Some(read))
    }
}

/// Returns a text that changes whenever the file does.
fn revision(path: &Path) -> Result<String, Failure> {
    let metadata = std::fs::metadata(path)
        .map_err(|error| Failure::usage(format!("cannot read the component {}: {error}", path.display())))?;
    let (device, inode, bytes) = (metadata.dev(), metadata.ino(), metadata.len());
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    Ok(format!("{device} {inode} {bytes} {seconds}.{nanoseconds:09}"))
}
