//! The key-value bucket in memory.

use crate::ports::keyvalue::{Entry, KeyPage, KeyValueBucket, KeyValueError, sum};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Bound;

/// A key-value bucket in memory.
#[derive(Debug, Default)]
pub struct MemoryBucket(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// The number of the key, which is its place in a listing, and its entry.
    by_key: BTreeMap<String, (u64, Entry)>,
    keys: BTreeMap<u64, String>,
    /// The last number or version.
    last: u64,
}

impl Entries {
    fn set(&mut self, key: String, value: Bytes) {
        self.last += 1;
        let entry = Entry { value, version: self.last };
        let number = self.by_key.get(&key).map_or(self.last, |(number, _)| *number);
        self.keys.insert(number, key.clone());
        self.by_key.insert(key, (number, entry));
    }

    fn version(&self, key: &str) -> Option<u64> {
        self.by_key.get(key).map(|(_, entry)| entry.version)
    }
}

#[async_trait]
impl KeyValueBucket for MemoryBucket {
    fn url(&self) -> &str {
        "memory:"
    }

    async fn get(&self, keys: Vec<String>, max_bytes: usize) -> Result<Vec<Option<Entry>>, KeyValueError> {
        let entries = self.0.lock();
        let found: Vec<_> =
            keys.iter().map(|key| entries.by_key.get(key).map(|(_, entry)| entry.clone())).collect();
        let bytes: usize = found.iter().flatten().map(|entry| entry.value.len()).sum();
        if bytes > max_bytes { Err(KeyValueError::TooLarge) } else { Ok(found) }
    }

    async fn set(&self, entries: Vec<(String, Bytes)>) -> Result<(), KeyValueError> {
        let mut all = self.0.lock();
        entries.into_iter().for_each(|(key, value)| all.set(key, value));
        Ok(())
    }

    async fn delete(&self, keys: Vec<String>) -> Result<(), KeyValueError> {
        let mut entries = self.0.lock();
        for key in keys {
            if let Some((number, _)) = entries.by_key.remove(&key) {
                entries.keys.remove(&number);
            }
        }
        Ok(())
    }

    async fn version(&self, key: String) -> Result<Option<u64>, KeyValueError> {
        Ok(self.0.lock().version(&key))
    }

    async fn list(&self, after: u64, limit: usize) -> Result<KeyPage, KeyValueError> {
        let entries = self.0.lock();
        let mut page = KeyPage::default();
        let mut last = after;
        for (&number, key) in entries.keys.range((Bound::Excluded(after), Bound::Unbounded)) {
            if page.keys.len() == limit {
                page.next = Some(last);
                break;
            }
            page.keys.push(key.clone());
            last = number;
        }
        Ok(page)
    }

    async fn increment(&self, key: String, delta: i64) -> Result<i64, KeyValueError> {
        let mut entries = self.0.lock();
        let sum = sum(entries.by_key.get(&key).map(|(_, entry)| &*entry.value), delta)?;
        entries.set(key, sum.to_string().into());
        Ok(sum)
    }

    async fn swap(&self, key: String, expected: Option<u64>, value: Bytes) -> Result<(), KeyValueError> {
        let mut entries = self.0.lock();
        if entries.version(&key) != expected {
            return Err(KeyValueError::Changed);
        }
        entries.set(key, value);
        Ok(())
    }
}
