//! The ledger of `--once` in a SQLite file of its own: `sqlite:PATH`. Several processes may use it at once, and when a
//! call succeeds, its changes are on the disk.

mod entries;

use super::address::{Address, Kind};
use super::clock::Clock;
use super::thread::Database;
use async_trait::async_trait;
use std::path::Path;
use std::time::Duration;
use wasmrun_runtime::ports::ledger::{Claim, CommitList, EntryId, Ledger, MessageDigest, Swept};
use wasmrun_runtime::ports::queue::QueueError;
use wasmrun_runtime::ports::staging::RunToken;

/// A ledger in a SQLite file. Dropping it waits until the connection is closed.
#[derive(Debug)]
pub struct SqliteLedger {
    database: Database,
}

impl SqliteLedger {
    /// Opens a ledger. A missing file is created by the first call; its directory must exist.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unusable`] if the URL isn't that of a file, or the file is damaged, another application's or made
    /// by another version of wasmrun.
    pub fn open(url: &str) -> Result<Self, QueueError> {
        Self::open_with(url, Clock::System)
    }

    fn open_with(url: &str, clock: Clock) -> Result<Self, QueueError> {
        Ok(Self { database: Database::open(Address::of_whole_file(url, Kind::Ledger)?, clock)? })
    }

    /// Returns the file's path, absolute and without symbolic links. The file's log lies next to it.
    pub fn path(&self) -> &Path {
        self.database.path()
    }
}

#[async_trait]
impl Ledger for SqliteLedger {
    fn url(&self) -> &str {
        self.database.url()
    }

    async fn id(&self) -> Result<u64, QueueError> {
        self.database.read(|transaction| transaction.ledger_id()).await
    }

    async fn claim(
        &self,
        entry: EntryId,
        message: MessageDigest,
        run: RunToken,
        lasts: Duration,
    ) -> Result<Claim, QueueError> {
        let claim = self.database.write(move |transaction| transaction.claim(entry, message, run, lasts));
        claim.await
    }

    async fn commit(
        &self,
        entry: EntryId,
        run: RunToken,
        outputs: &CommitList,
        lasts: Duration,
    ) -> Result<bool, QueueError> {
        let list = outputs.to_bytes();
        let commit = self.database.write(move |transaction| transaction.commit_run(entry, run, &list, lasts));
        commit.await
    }

    async fn complete(&self, entry: EntryId, run: RunToken, window: Duration) -> Result<bool, QueueError> {
        let complete = self.database.write(move |transaction| transaction.complete_run(entry, run, window));
        complete.await
    }

    async fn give_up(&self, entry: EntryId, run: RunToken) -> Result<(), QueueError> {
        self.database.write(move |transaction| transaction.give_up(entry, run)).await
    }

    async fn live(&self, runs: Vec<RunToken>) -> Result<Vec<RunToken>, QueueError> {
        self.database.read(move |transaction| transaction.live(&runs)).await
    }

    async fn sweep(&self, limit: usize, lasts: Duration) -> Result<Swept, QueueError> {
        self.database.write(move |transaction| transaction.sweep(limit, lasts)).await
    }
}

#[cfg(test)]
mod tests;
