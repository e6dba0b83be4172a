//! A double of an object store that is slow, or loses answers.

use super::MemoryStore;
use crate::ports::object_store::{
    ObjectInfo, ObjectPage, ObjectReader, ObjectStore, ObjectWriter, PutOptions, StoreError,
};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A store in memory whose reads yield, so that two callers can read the same object. It counts reads and lists.
#[derive(Clone)]
pub(crate) struct FaultyStore {
    pub(crate) memory: MemoryStore,
    /// Key of an object that is never read to the end.
    pub(crate) hangs: Option<String>,
    /// Whether all reads fail.
    pub(crate) unreadable: bool,
    calls: Arc<[AtomicUsize; 2]>,
    lost: Arc<Mutex<Vec<StoreError>>>,
}

impl FaultyStore {
    /// Creates a double that holds what `memory` holds.
    pub(crate) fn new(memory: MemoryStore) -> Self {
        Self { memory, hangs: None, unreadable: false, calls: Arc::default(), lost: Arc::default() }
    }

    /// Lets the next writes take place and fail with these errors, the last one first.
    pub(crate) fn lose(&self, answers: impl IntoIterator<Item = StoreError>) {
        *self.lost.lock() = answers.into_iter().collect();
    }

    /// Returns the numbers of reads and lists since the last time.
    pub(crate) fn calls(&self) -> [usize; 2] {
        [0, 1].map(|index: usize| self.calls[index].swap(0, Ordering::Relaxed))
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    fn url(&self) -> &str {
        self.memory.url()
    }

    fn part(&self, prefix: &str) -> Arc<dyn ObjectStore> {
        self.memory.part(prefix)
    }

    async fn probe(&self, write: bool) -> Result<(), StoreError> {
        self.memory.probe(write).await
    }

    async fn head(&self, key: &str, version: Option<&str>) -> Result<ObjectInfo, StoreError> {
        self.memory.head(key, version).await
    }

    async fn read(
        &self,
        key: &str,
        version: Option<&str>,
        range: Option<Range<u64>>,
    ) -> Result<Box<dyn ObjectReader>, StoreError> {
        self.calls[0].fetch_add(1, Ordering::Relaxed);
        if self.unreadable {
            return Err(StoreError::Unavailable("down".into()));
        }
        let read = self.memory.read(key, version, range).await;
        tokio::task::yield_now().await;
        if self.hangs.as_deref() == Some(key) {
            std::future::pending::<()>().await;
        }
        read
    }

    async fn write(&self, key: &str, options: PutOptions) -> Result<Box<dyn ObjectWriter>, StoreError> {
        let writer = self.memory.write(key, options).await?;
        Ok(Box::new(FaultyWriter { writer, lost: self.lost.clone() }))
    }

    async fn list(
        &self,
        prefix: &str,
        continuation: Option<&str>,
        limit: usize,
    ) -> Result<ObjectPage, StoreError> {
        self.calls[1].fetch_add(1, Ordering::Relaxed);
        self.memory.list(prefix, continuation, limit).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.memory.delete(key).await
    }
}

struct FaultyWriter {
    writer: Box<dyn ObjectWriter>,
    lost: Arc<Mutex<Vec<StoreError>>>,
}

#[async_trait]
impl ObjectWriter for FaultyWriter {
    async fn write(&mut self, content: Bytes) -> Result<(), StoreError> {
        self.writer.write(content).await
    }

    async fn finish(self: Box<Self>) -> Result<ObjectInfo, StoreError> {
        let written = self.writer.finish().await;
        let lost = self.lost.lock().pop();
        lost.map_or(written, Err)
    }
}
