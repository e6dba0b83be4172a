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
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio_util::sync::{CancellationToken, DropGuard};
use wasmrun_runtime::engine::compile::Compiler;
use wasmrun_runtime::task::component::{Component, Share};

/// Longest pause after failures, unless the interval is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Keeps a worker's component up to date.
pub(crate) struct Refresh {
    plan: TaskPlan,
    component: Arc<Component>,
    /// Share of the tasks that a new version runs first; `None`: all.
    share: Option<Share>,
    backends: Backends,
    /// What the component was when it was last looked at: it needn't be read again until that changes.
    seen: Option<String>,
    /// Name of the artefact that could not be read last, and why: it is counted and logged once.
    refused: Option<(String, String)>,
}

impl Refresh {
    pub(crate) fn new(plan: TaskPlan, component: Arc<Component>, share: Option<Share>) -> Self {
        let backends = Backends::new(plan.aws.clone());
        Self { plan, component, share, backends, seen: None, refused: None }
    }

    /// Looks for a new version at each interval until the returned guard is dropped.
    pub(crate) fn keep(self, every: Duration) -> DropGuard {
        let stop = CancellationToken::new();
        tokio::spawn(self.go_on(every, stop.clone()));
        stop.drop_guard()
    }

    async fn go_on(mut self, every: Duration, stop: CancellationToken) {
        let mut pause = every;
        while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            // Loading a large component computes and waits for the disk, and a small host has one thread for all I/O:
            // meanwhile, another one receives messages. The compiler's process needs this one to live as long as it does.
            let looking = stop.run_until_cancelled(self.look());
            let Some(looked) = block_in_place(|| Handle::current().block_on(looking)) else { return };
            pause = match looked {
                Ok(()) => every,
                Err(failure) => {
                    self.component.refreshes().failed.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(error = %failure, "cannot look for a new version of the component");
                    // What fails is tried less and less often.
                    (2 * pause).min(every.max(LONGEST_PAUSE))
                }
            };
        }
    }

    /// Lets new tasks be of the version that there is now. An error says nothing about that version.
    async fn look(&mut self) -> Result<(), Failure> {
        let revision = self.revision().await?;
        if self.seen.as_ref() == Some(&revision) {
            return Ok(());
        }
        let TaskPlan { component: source, component_name, engine, registry, .. } = &self.plan;
        let engine = &engine.compile;
        // Only the version of an artefact has a name before it is read.
        let named = match source {
            Source::Artefact(reference) => {
                revision.parse().ok().map(|digest| reference.pinned(&digest).versioned(component_name))
            }
            Source::File(_) | Source::Object(_) => None,
        };
        if let Some(name) = &named
            && self.is_known(name).await
        {
            self.seen = Some(revision);
            return Ok(());
        }
        let cache = open_cache(engine)?;
        let read = match (read(source, engine, registry, cache.as_ref(), &self.backends).await, named) {
            (Err(failure @ Failure::Usage(_)), Some(name)) => {
                let refused = (name, failure.to_string());
                // The next look reads it again, because artefacts are often signed after they were pushed.
                if self.refused.as_ref() != Some(&refused) {
                    self.refuse(&refused.0, &failure);
                    self.refused = Some(refused);
                }
                return Ok(());
            }
            (read, _) => read?,
        };
        self.refused = None;
        let name = read.version_name(&self.plan);
        if !self.is_known(&name).await {
            self.refresh(name, &read, &compiler(engine, cache)?).await?;
        }
        self.seen = Some(revision);
        Ok(())
    }

    /// Returns whether a version is one of those that run. If it is the one before a trial, the trial ends.
    async fn is_known(&self, name: &str) -> bool {
        let component = self.component.name();
        if *component == *name {
            if self.component.end_trial().await {
                tracing::info!(%component, "all new tasks run the version before: it is there again");
            }
            return true;
        }
        self.component.versions().iter().any(|(known, _)| **known == *name)
    }

    /// Loads a version. A version that can't run is refused.
    async fn refresh(&self, name: String, read: &ReadComponent, compiler: &Compiler) -> Result<(), Failure> {
        let component = self.component.name();
        let refreshed = self.component.refresh(name.clone(), &read.bytes, compiler, self.share).await;
        let refreshed =
            refreshed.map_err(|error| Failure::component(&self.plan.component.to_string(), &error));
        match refreshed {
            Ok(()) if self.share.is_some() => {
                tracing::info!(
                    %component,
                    new = name,
                    "a share of the new tasks runs a new version of the component"
                );
            }
            Ok(()) => tracing::info!(component = name, "all new tasks run a new version of the component"),
            Err(failure @ Failure::Usage(_)) => self.refuse(&name, &failure),
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// Counts and logs a version that can't run.
    fn refuse(&self, name: &str, failure: &Failure) {
        self.component.refreshes().refused.fetch_add(1, Ordering::Relaxed);
        let component = self.component.name();
        tracing::error!(
            %component,
            refused = name,
            error = %failure,
            "kept the component: its new version cannot run"
        );
    }

    /// Returns a text that changes whenever the component does.
    async fn revision(&self) -> Result<String, Failure> {
        match &self.plan.component {
            Source::File(path) => revision(path),
            Source::Object(url) => self.backends.revision(url).await,
            Source::Artefact(reference) => self.backends.resolve(reference, &self.plan.registry).await,
        }
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
