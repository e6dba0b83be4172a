//! The accounts of budgets in a SQLite file of its own: `sqlite:PATH`. Several processes may use it at once, as with
//! queues, and when a call succeeds, its changes are on the disk.

mod accounts;

use super::address::{Address, Kind};
use super::clock::Clock;
use super::thread::Database;
use async_trait::async_trait;
use std::path::Path;
use std::time::Duration;
use wasmrun_runtime::ports::budgets::{BudgetStore, Charge, MOST_ACCOUNTS};
use wasmrun_runtime::ports::queue::QueueError;

/// Interval at which a worker writes and reads. One transaction takes all of its keys.
const INTERVAL: Duration = Duration::from_secs(1);

/// The accounts of budgets in a SQLite file. Dropping it waits until the connection is closed.
#[derive(Debug)]
pub struct SqliteBudgets {
    database: Database,
    most_accounts: usize,
}

impl SqliteBudgets {
    /// Opens the file. A missing file is created by the first call; its directory must exist.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unusable`] if the URL isn't that of such a file, or the file is damaged, another application's or made
    /// by another version of wasmrun.
    pub fn open(url: &str) -> Result<Self, QueueError> {
        Self::open_with(url, Clock::System, MOST_ACCOUNTS)
    }

    /// Opens the file. Tests set their own clock, and the number of accounts that are remembered.
    pub(super) fn open_with(url: &str, clock: Clock, most_accounts: usize) -> Result<Self, QueueError> {
        let database = Database::open(Address::of_whole_file(url, Kind::Budgets)?, clock)?;
        Ok(Self { database, most_accounts })
    }

    /// Returns the file's path, absolute and without symbolic links. The file's log lies next to it.
    pub fn path(&self) -> &Path {
        self.database.path()
    }
}

#[async_trait]
impl BudgetStore for SqliteBudgets {
    fn url(&self) -> &str {
        self.database.url()
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    async fn charge(&self, charges: Vec<Charge>) -> Vec<Result<u64, QueueError>> {
        let (number, most) = (charges.len(), self.most_accounts);
        let charged = if charges.iter().all(|charge| charge.amount == 0) {
            self.database.read(move |transaction| transaction.account_sums(&charges)).await
        } else {
            self.database.write(move |transaction| transaction.charge_accounts(&charges, most)).await
        };
        match charged {
            Ok(sums) => sums.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); number],
        }
    }
}
