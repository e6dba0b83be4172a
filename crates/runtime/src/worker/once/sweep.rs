//! The sweep of a ledger and of staging areas: finishes commits that nobody completed, and removes entries whose time is
//! over and what runs without an entry have staged.

use super::{LEDGER, OnceRuns, writable};
use crate::model::host_error::HostError;
use crate::ports::ledger::Swept;
use crate::ports::queue::QueueError;
use crate::ports::staging::{RunToken, StagedName, StagedNames, Staging};
use crate::ports::staging_area::AnyStaging;
use crate::task::routes::of_route;
use crate::task::staged::AT_ONCE;
use crate::worker::Worker;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::HashSet;
use std::time::Duration;

/// Time between two sweeps: after one that left nothing to remove, and after one that left something.
const INTERVALS: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(1)];
/// Maximum number of entries and staged objects of one step.
const STEP: usize = 500;
/// Maximum number of runs about which one call asks the ledger. In S3 all are looked up at once.
const RUNS_OF_CALL: usize = 32;
/// Maximum number of steps of one sweep: more entries than a worker can complete in a second.
const MOST_STEPS: usize = 40;

impl Worker {
    /// Sweeps now and then, with `--once`. Never returns.
    pub(in crate::worker) async fn sweep_once(&self) {
        if let Some(once) = &self.once {
            loop {
                let leaves_some = once.sweep().await;
                tokio::time::sleep(INTERVALS[usize::from(leaves_some)]).await;
            }
        }
        std::future::pending().await
    }
}

impl OnceRuns {
    /// Sweeps the ledger and the staging areas of the stores that tasks may write. Returns whether entries are left whose
    /// time is over.
    async fn sweep(&self) -> bool {
        let leaves_some = match self.sweep_ledger().await {
            Ok(leaves_some) => leaves_some,
            Err(error) => {
                tracing::warn!(%error, "cannot sweep the ledger of --once");
                false
            }
        };
        let own = writable(&self.routes).filter_map(|(route, grant)| {
            let staging = AnyStaging::Own(grant.store.staging()?);
            Some((of_route(route, &grant.alias), grant.store.url(), staging))
        });
        let ledger = &self.options.ledger;
        let area =
            ledger.area().map(|area| (LEDGER.to_owned(), ledger.url(), AnyStaging::Area(area.of_itself())));
        let mut swept = HashSet::new();
        for (store, url, staging) in own.chain(area) {
            // Routes may have the same store.
            if !swept.insert(url) {
                continue;
            }
            if let Err(error) = self.sweep_staging(&*staging).await {
                tracing::warn!(store, error, "cannot sweep what crashed tasks have staged");
            }
        }
        leaves_some
    }

    /// Returns whether entries are left whose time is over.
    async fn sweep_ledger(&self) -> Result<bool, QueueError> {
        for _ in 0..MOST_STEPS {
            let swept = self.call(self.options.ledger.sweep(STEP, self.lasts())).await?;
            let Swept { removed, unfinished, goes_on } = swept;
            let count = unfinished.len();
            for commit in unfinished {
                if let Err(why) = self.finish_in_time(commit).await {
                    let error = HostError::from(why).text;
                    tracing::warn!(error, "cannot finish a commit of another worker");
                }
            }
            if removed + count > 0 {
                tracing::debug!(removed, unfinished = count, "swept the ledger of --once");
            }
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes what is staged by runs that hold no entry. A run has its entry before it stages anything, and an object
    /// is placed before its run's entry is completed, so nothing of these runs is needed any more.
    async fn sweep_staging(&self, staging: &dyn Staging) -> Result<(), String> {
        let ledger_id = self.ledger_id().await.map_err(|error| error.to_string())?;
        let (mut after, mut removed) = (None, 0_usize);
        for _ in 0..MOST_STEPS {
            // Nothing younger than a claim is abandoned for certain.
            let staged = staging.staged(ledger_id, after, STEP, self.lasts()).await;
            let StagedNames { names, goes_on_after } = staged.map_err(|error| error.to_string())?;
            let live = self.live(&names).await.map_err(|error| error.to_string())?;
            let is_abandoned = |name: &StagedName| !live.contains(&name.run);
            let abandoned: Vec<_> = names.into_iter().filter(is_abandoned).collect();
            removed += abandoned.len();
            let discarding = abandoned.into_iter().map(|name| staging.discard(name));
            let discarded = stream::iter(discarding).buffer_unordered(AT_ONCE).try_collect::<()>().await;
            discarded.map_err(|error| error.to_string())?;
            after = goes_on_after;
            if after.is_none() {
                break;
            }
        }
        if removed > 0 {
            tracing::info!(removed, "removed what crashed tasks had staged");
        }
        Ok(())
    }

    /// Returns which of the runs that staged these objects hold an entry.
    async fn live(&self, names: &[StagedName]) -> Result<HashSet<RunToken>, QueueError> {
        let runs: HashSet<_> = names.iter().map(|name| name.run).collect();
        let runs: Vec<_> = runs.into_iter().collect();
        let mut live = HashSet::new();
        for runs in runs.chunks(RUNS_OF_CALL) {
            live.extend(self.call(self.options.ledger.live(runs.to_vec())).await?);
        }
        Ok(live)
    }
}
