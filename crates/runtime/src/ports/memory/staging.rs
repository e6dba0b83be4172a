//! The staging area of the object store in memory.

use super::store::{MemoryStore, MemoryWriter};
use crate::ports::object_store::{ObjectInfo, ObjectWriter, PutOptions, StoreError};
use crate::ports::staging::{StagedName, StagedNames, Staging};
use async_trait::async_trait;
use bytes::Bytes;
use std::time::Duration;

#[async_trait]
impl Staging for MemoryStore {
    fn has_directories(&self) -> bool {
        true
    }

    async fn stage(
        &self,
        name: StagedName,
        key: &str,
        options: PutOptions,
    ) -> Result<Box<dyn ObjectWriter>, StoreError> {
        Ok(Box::new(StagingWriter { name, writer: self.writer(key, options) }))
    }

    async fn place(&self, name: StagedName, key: &str) -> Result<(), StoreError> {
        if let Some(staged) = self.lock_staged().remove(&name) {
            self.lock().insert(key.into(), staged);
        }
        Ok(())
    }

    async fn discard(&self, name: StagedName) -> Result<(), StoreError> {
        self.lock_staged().remove(&name);
        Ok(())
    }

    async fn staged(
        &self,
        ledger: u64,
        after: Option<StagedName>,
        limit: usize,
        _: Duration,
    ) -> Result<StagedNames, StoreError> {
        let staged = self.lock_staged();
        let names = staged.keys().filter(|name| name.run.ledger == ledger && Some(**name) > after);
        Ok(StagedNames::of_at_most(limit, names.take(limit).copied()))
    }
}

struct StagingWriter {
    name: StagedName,
    writer: MemoryWriter,
}

#[async_trait]
impl ObjectWriter for StagingWriter {
    async fn write(&mut self, content: Bytes) -> Result<(), StoreError> {
        self.writer.write(content).await
    }

    async fn finish(self: Box<Self>) -> Result<ObjectInfo, StoreError> {
        let Self { name, writer } = *self;
        let store = writer.store.clone();
        let (info, content) = writer.object();
        store.lock_staged().insert(name, (info.clone(), content));
        Ok(ObjectInfo { etag: None, ..info })
    }
}
