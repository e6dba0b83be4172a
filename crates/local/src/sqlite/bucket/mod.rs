//! A key-value bucket in a SQLite file of its own: `sqlite:PATH`. Several processes may use it at once, as with queues,
//! and when a call succeeds, its changes are on the disk.

mod entries;

use super::address::{Address, Kind};
use super::clock::Clock;
use super::thread::Database;
use async_trait::async_trait;
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use wasmrun_runtime::ports::keyvalue::{Entry, KeyPage, KeyValueBucket, KeyValueError};
use wasmrun_runtime::ports::queue::QueueError;

/// A key-value bucket in a SQLite file. Dropping it waits until the connection is closed.
#[derive(Debug)]
pub struct SqliteBucket {
    database: Database,
}

impl SqliteBucket {
    /// Opens a bucket. With `create`, a missing file is created by the first call; its directory must exist.
    ///
    /// # Errors
    ///
    /// [`KeyValueError::Unusable`] if the URL isn't that of a bucket, the file is missing and not to be created, or it's
    /// damaged, another application's or made by another version of wasmrun.
    pub fn open(url: &str, create: bool) -> Result<Self, KeyValueError> {
        Self::try_open(url, create).map_err(failed)
    }

    fn try_open(url: &str, create: bool) -> Result<Self, QueueError> {
        let address = Address::of_whole_file(url, Kind::Bucket)?;
        if !create && !address.path.exists() {
            let path = address.path.display();
            return Err(QueueError::NotFound(format!(
                "there is no file {path}: the first task with the grant {url}:rw creates it"
            )));
        }
        Ok(Self { database: Database::open(address, Clock::System)? })
    }

    /// Returns the file's path, absolute and without symbolic links. The file's log lies next to it.
    pub fn path(&self) -> &Path {
        self.database.path()
    }
}

/// Converts an error of the file, whose thread also serves queues.
fn failed(error: QueueError) -> KeyValueError {
    match error {
        QueueError::Unavailable(text) => KeyValueError::Unavailable(text),
        QueueError::NotFound(text) | QueueError::Unusable(text) | QueueError::InvalidMessage(text) => {
            KeyValueError::Unusable(text)
        }
        QueueError::ReceiptExpired => KeyValueError::Unavailable(error.to_string()),
    }
}

#[async_trait]
impl KeyValueBucket for SqliteBucket {
    fn url(&self) -> &str {
        self.database.url()
    }

    async fn get(&self, keys: Vec<String>, max_bytes: usize) -> Result<Vec<Option<Entry>>, KeyValueError> {
        let found = self.database.read(move |transaction| transaction.entries(&keys, max_bytes)).await;
        found.map_err(failed)?.ok_or(KeyValueError::TooLarge)
    }

    async fn set(&self, entries: Vec<(String, Bytes)>) -> Result<(), KeyValueError> {
        // The job may run more than once, so it keeps the values.
        let set = self.database.write(move |transaction| {
            entries.iter().try_for_each(|(key, value)| transaction.set_entry(key, value))
        });
        set.await.map_err(failed)
    }

    async fn delete(&self, keys: Vec<String>) -> Result<(), KeyValueError> {
        let deleted = self
            .database
            .write(move |transaction| keys.iter().try_for_each(|key| transaction.delete_entry(key)));
        deleted.await.map_err(failed)
    }

    async fn version(&self, key: String) -> Result<Option<u64>, KeyValueError> {
        self.database.read(move |transaction| transaction.version(&key)).await.map_err(failed)
    }

    async fn list(&self, after: u64, limit: usize) -> Result<KeyPage, KeyValueError> {
        self.database.read(move |transaction| transaction.keys_after(after, limit)).await.map_err(failed)
    }

    async fn increment(&self, key: String, delta: i64) -> Result<i64, KeyValueError> {
        self.database.write(move |transaction| transaction.increment(&key, delta)).await.map_err(failed)?
    }

    async fn swap(&self, key: String, expected: Option<u64>, value: Bytes) -> Result<(), KeyValueError> {
        let key = Arc::new(key);
        let swapped = self.database.write(move |transaction| {
            let is_expected = transaction.version(&key)? == expected;
            if is_expected {
                transaction.set_entry(&key, &value)?;
            }
            Ok(is_expected)
        });
        if swapped.await.map_err(failed)? { Ok(()) } else { Err(KeyValueError::Changed) }
    }
}
