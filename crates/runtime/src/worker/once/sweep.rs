//! The sweep of a ledger and of staging areas: finishes commits that nobody completed, and removes entries whose time is
//! over and what runs without an entry have staged.

use super::{OnceRuns, writable};
use crate::model::host_error::HostError;
use crate::ports::ledger::{LedgerError, Swept};
use crate::ports::staging::{StagedName, Staging};
use crate::worker::Worker;
use std::collections::HashSet;
use std::time::Duration;

/// Time between two sweeps.
const INTERVAL: Duration = Duration::from_secs(30);
/// Maximum number of entries and staged objects of one step.
const STEP: usize = 500;
/// Maximum number of steps of one sweep, so that at most a million entries go in half an hour from each worker.
const MOST_STEPS: usize = 40;

impl Worker {
    /// Sweeps now and then, with `--once`. Never returns.
    pub(in crate::worker) async fn sweep(&self) {
        if let Some(once) = &self.once {
            loop {
                once.sweep().await;
                tokio::time::sleep(INTERVAL).await;
            }
        }
        std::future::pending().await
    }
}

impl OnceRuns {
    /// Sweeps the ledger and the staging areas of the stores that tasks may write.
    pub(in crate::worker) async fn sweep(&self) {
        if let Err(error) = self.sweep_ledger().await {
            tracing::warn!(%error, "cannot sweep the ledger of --once");
            return;
        }
        for grant in writable(self.component.grants()) {
            let Some(staging) = grant.store.staging() else { continue };
            if let Err(error) = self.sweep_staging(staging).await {
                tracing::warn!(store = grant.alias, error, "cannot sweep what crashed tasks have staged");
            }
        }
    }

    async fn sweep_ledger(&self) -> Result<(), LedgerError> {
        for _ in 0..MOST_STEPS {
            let swept = self.call(self.options.ledger.sweep(STEP, self.lasts())).await?;
            let Swept { removed, unfinished } = swept;
            let count = unfinished.len();
            for commit in unfinished {
                if let Err(why) = self.finish_in_time(commit).await {
                    let error = HostError::from(why).text;
                    tracing::warn!(error, "cannot finish a commit of another worker");
                }
            }
            if removed + count > 0 {
                tracing::debug!(removed, finished = count, "swept the ledger of --once");
            }
            if removed < STEP {
                break;
            }
        }
        Ok(())
    }

    /// Removes what is staged by runs that hold no entry. A run has its entry before it stages anything, and an object
    /// is placed before its run's entry is completed, so nothing of these runs is needed any more.
    async fn sweep_staging(&self, staging: &dyn Staging) -> Result<(), String> {
        let ledger_id = self.ledger_id().await.map_err(|error| error.to_string())?;
        let (mut after, mut removed) = (None, 0_usize);
        for _ in 0..MOST_STEPS {
            let staged = staging.staged(ledger_id, after, STEP).await.map_err(|error| error.to_string())?;
            let Some(&last) = staged.last() else { break };
            after = Some(last);
            let runs: HashSet<_> = staged.iter().map(|name| name.run).collect();
            let live = self.call(self.options.ledger.live(runs.into_iter().collect())).await;
            let live: HashSet<_> = live.map_err(|error| error.to_string())?.into_iter().collect();
            let is_abandoned = |name: &&StagedName| !live.contains(&name.run);
            for &name in staged.iter().filter(is_abandoned) {
                staging.discard(name).await.map_err(|error| error.to_string())?;
                removed += 1;
            }
            if staged.len() < STEP {
                break;
            }
        }
        if removed > 0 {
            tracing::info!(removed, "removed what crashed tasks had staged");
        }
        Ok(())
    }
}
