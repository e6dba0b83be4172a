//! The ledger of `--once` in a SQLite file of its own: `sqlite:PATH`. Several processes may use it at once, and when a
//! call succeeds, its changes are on the disk.

mod entries;

use super::address::{Address, Kind};
use super::clock::Clock;
use super::thread::Database;
use async_trait::async_trait;
use std::path::Path;
use std::time::Duration;
use wasmrun_runtime::ports::ledger::{Claim, CommitList, EntryId, Ledger, LedgerError, MessageDigest, Swept};
use wasmrun_runtime::ports::queue::QueueError;
use wasmrun_runtime::ports::staging::RunToken;

/// A ledger in a SQLite file. Dropping it waits until the connection is closed.
#[derive(Debug)]
pub struct SqliteLedger {
    url: String,
    address: Address,
    database: Database,
}

impl SqliteLedger {
    /// Opens a ledger. A missing file is created by the first call; its directory must exist.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Unusable`] if the URL isn't that of a file, or the file is damaged, another application's or made
    /// by another version of wasmrun.
    pub fn open(url: &str) -> Result<Self, LedgerError> {
        Self::open_with(url, Clock::System)
    }

    fn open_with(url: &str, clock: Clock) -> Result<Self, LedgerError> {
        let address = Address::of_whole_file(url, Kind::Ledger).map_err(told)?;
        let database = Database::open(&address, clock).map_err(told)?;
        Ok(Self { url: address.url(), address, database })
    }

    /// Returns the file's path, absolute and without symbolic links. The file's log lies next to it.
    pub fn path(&self) -> &Path {
        &self.address.path
    }
}

/// Converts an error of the file, whose thread also serves queues.
fn told(error: QueueError) -> LedgerError {
    match error {
        QueueError::Unavailable(text) => LedgerError::Unavailable(text),
        QueueError::NotFound(text) | QueueError::Unusable(text) | QueueError::InvalidMessage(text) => {
            LedgerError::Unusable(text)
        }
        QueueError::ReceiptExpired => LedgerError::Unavailable(error.to_string()),
    }
}

#[async_trait]
impl Ledger for SqliteLedger {
    fn url(&self) -> &str {
        &self.url
    }

    async fn id(&self) -> Result<u64, LedgerError> {
        self.database.read(|transaction| transaction.ledger_id()).await.map_err(told)
    }

    async fn claim(
        &self,
        entry: EntryId,
        message: MessageDigest,
        run: RunToken,
        lasts: Duration,
    ) -> Result<Claim, LedgerError> {
        let claim = self.database.write(move |transaction| transaction.claim(entry, message, run, lasts));
        claim.await.map_err(told)
    }

    async fn commit(
        &self,
        entry: EntryId,
        run: RunToken,
        outputs: &CommitList,
        lasts: Duration,
    ) -> Result<bool, LedgerError> {
        let list = outputs.to_bytes();
        let commit = self.database.write(move |transaction| transaction.commit_run(entry, run, &list, lasts));
        commit.await.map_err(told)
    }

    async fn complete(&self, entry: EntryId, run: RunToken, window: Duration) -> Result<bool, LedgerError> {
        let complete = self.database.write(move |transaction| transaction.complete_run(entry, run, window));
        complete.await.map_err(told)
    }

    async fn give_up(&self, entry: EntryId, run: RunToken) -> Result<(), LedgerError> {
        self.database.write(move |transaction| transaction.give_up(entry, run)).await.map_err(told)
    }

    async fn live(&self, runs: Vec<RunToken>) -> Result<Vec<RunToken>, LedgerError> {
        self.database.read(move |transaction| transaction.live(&runs)).await.map_err(told)
    }

    async fn sweep(&self, limit: usize, lasts: Duration) -> Result<Swept, LedgerError> {
        self.database.write(move |transaction| transaction.sweep(limit, lasts)).await.map_err(told)
    }
}

#[cfg(test)]
mod tests;
