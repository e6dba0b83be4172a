//! New versions of a component, which take over while tasks run.

use super::load::Loaded;
use super::refusal::LoadError;
use super::rollout::{Candidate, Counts, Ended, Share, Versions};
use super::{Component, Version};
use crate::engine::compile::Compiler;
use crate::engine::heap;
use crate::model::outcome::Outcome;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of the new versions of a component.
#[derive(Debug, Default)]
pub struct Refreshes {
    /// New versions that have taken over.
    pub done: AtomicU64,
    /// New versions that can't run. The caller of [`Component::refresh`] counts them.
    pub refused: AtomicU64,
    /// New versions that failed more often than the one before.
    pub reverted: AtomicU64,
    /// Looks for a new version that failed. The caller of [`Component::refresh`] counts them.
    pub failed: AtomicU64,
}

impl Component {
    /// Loads a new version of the component while tasks of the current one run. New tasks start on the new version: all
    /// of them, or a share until the new version is known to fail no more often. Running tasks finish on the version that
    /// they started on. A version on trial is dropped.
    ///
    /// Loading computes and waits for the disk on the thread that polls this: don't poll it where I/O must go on.
    ///
    /// # Errors
    ///
    /// Those of [`Component::load`], and [`LoadError::Limits`] if fewer of its tasks fit than of the first version's. The
    /// version before remains.
    pub async fn refresh(
        &self,
        name: String,
        bytes: &[u8],
        compiler: &Compiler,
        share: Option<Share>,
    ) -> Result<(), LoadError> {
        let instances = self.capacity.instances;
        let Loaded { version, capacity, .. } =
            Version::load(name, bytes, compiler, &self.common, instances).await?;
        if capacity.instances < instances {
            return Err(LoadError::Limits(format!(
                "only {} tasks of the new version fit at once, and {instances} of the version at the start: start the worker anew",
                capacity.instances
            )));
        }
        let version = Arc::new(version);
        let gone = {
            let Versions { current, candidate } = &mut *self.versions.write();
            let next = share.map(|share| {
                let (version, before) = (version.clone(), current.tally.counts());
                Candidate { version, share, before }
            });
            let before = if next.is_none() { Some(std::mem::replace(current, version)) } else { None };
            (before, std::mem::replace(candidate, next))
        };
        if let Some(before) = gone.0 {
            // A version on trial is counted in the end.
            self.refreshes.done.fetch_add(1, Ordering::Relaxed);
            free(before).await;
        }
        if let Some(candidate) = gone.1 {
            free(candidate.version).await;
        }
        Ok(())
    }

    /// Lets all new tasks be of the current version again. Returns whether a new version was on trial.
    pub async fn end_trial(&self) -> bool {
        let candidate = self.versions.write().candidate.take();
        let was_on_trial = candidate.is_some();
        if let Some(candidate) = candidate {
            free(candidate.version).await;
        }
        was_on_trial
    }

    /// Returns the name of each version that tasks start on, with how its tasks ended.
    pub fn versions(&self) -> Vec<(Arc<str>, Counts)> {
        let versions = self.versions.read();
        let candidate = versions.candidate.iter().map(|candidate| &candidate.version);
        let all = [&versions.current].into_iter().chain(candidate);
        all.map(|version| (version.name.clone(), version.tally.counts())).collect()
    }

    /// Returns the counts of its new versions.
    pub fn refreshes(&self) -> &Refreshes {
        &self.refreshes
    }

    /// Counts the end of a task, and ends the trial of a new version if its result is known.
    pub(super) fn ended(&self, version: &Arc<Version>, outcome: &Outcome) {
        version.tally.count(outcome);
        if *outcome == Outcome::Completed && !self.has_completed() {
            self.has_completed.store(true, Ordering::Relaxed);
        }
        let Some(is_worse) = self.versions.read().judge(version) else { return };
        let Some((ended, version)) = self.versions.write().end_trial(version, is_worse) else { return };
        let (current, component) = (self.name(), &version.name);
        match ended {
            Ended::TookOver => {
                self.refreshes.done.fetch_add(1, Ordering::Relaxed);
                tracing::info!(before = %component, component = %current, "all new tasks run a new version of the component");
            }
            Ended::WentBack => {
                self.refreshes.reverted.fetch_add(1, Ordering::Relaxed);
                let Counts { completed, failed } = version.tally.counts();
                tracing::error!(
                    %component,
                    completed,
                    failed,
                    current = %current,
                    "went back to the version before: the new version of the component fails more often"
                );
            }
        }
        self.common.io.spawn(free(version));
    }
}

/// Frees a version that no task needs any more. Dropping the last reference unmaps the pool, which takes a while.
pub(super) async fn free(version: Arc<Version>) {
    let freed = move || {
        drop(version);
        heap::trim();
    };
    let _ = tokio::task::spawn_blocking(freed).await;
}
