//! The counts of completion groups in a SQLite file of its own: `sqlite:PATH`. Several processes may use it at once, as
//! with queues, and when a call succeeds, its changes are on the disk.

mod counts;

use super::address::{Address, Kind};
use super::clock::Clock;
use super::thread::Database;
use async_trait::async_trait;
use std::path::Path;
use wasmrun_runtime::model::completion::{GroupId, Member};
use wasmrun_runtime::ports::groups::{Counted, GroupStore, MOST_ENTRIES, Swept};
use wasmrun_runtime::ports::queue::QueueError;

/// The counts of completion groups in a SQLite file. Dropping it waits until the connection is closed.
#[derive(Debug)]
pub struct SqliteGroups {
    database: Database,
    most_entries: u64,
}

impl SqliteGroups {
    /// Opens the file. A missing file is created by the first call; its directory must exist.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unusable`] if the URL isn't that of such a file, or the file is damaged, another application's or made
    /// by another version of wasmrun.
    pub fn open(url: &str) -> Result<Self, QueueError> {
        Self::open_with(url, Clock::System, MOST_ENTRIES)
    }

    /// Opens the file. Tests set their own clock, and the number of groups and messages that are remembered.
    pub(super) fn open_with(url: &str, clock: Clock, most_entries: u64) -> Result<Self, QueueError> {
        let database = Database::open(Address::of_whole_file(url, Kind::Groups)?, clock)?;
        Ok(Self { database, most_entries })
    }

    /// Returns the file's path, absolute and without symbolic links. The file's log lies next to it.
    pub fn path(&self) -> &Path {
        self.database.path()
    }
}

#[async_trait]
impl GroupStore for SqliteGroups {
    fn url(&self) -> &str {
        self.database.url()
    }

    async fn check(&self) -> Result<(), QueueError> {
        if !self.database.path().exists() {
            return Ok(());
        }
        self.database.read(|transaction| transaction.groups_answer()).await
    }

    async fn count(&self, member: Member) -> Result<Counted, QueueError> {
        let most = self.most_entries;
        self.database.write(move |transaction| transaction.count_member(&member, most)).await
    }

    async fn sent(&self, group: GroupId) -> Result<(), QueueError> {
        self.database.write(move |transaction| transaction.group_sent(&group)).await
    }

    async fn sweep(&self) -> Result<Swept, QueueError> {
        if !self.database.path().exists() {
            return Ok(Swept::default());
        }
        self.database.write(|transaction| transaction.sweep_groups()).await
    }
}
