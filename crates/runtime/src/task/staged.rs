//! Outputs of a run under `--once`: what its guest writes is staged, and what it deletes is noted, until the run commits.
//!
//! The task's grants are replaced by others with the same aliases, modes and URLs, whose stores stage. So all ways to
//! write an object lead here: `wasmrun:task`, `wasi:blobstore`, files and streams. Reads and listings go to the store
//! itself: a task doesn't see what it has written.

use crate::ports::ledger::{MOST_OUTPUT_KEY_BYTES, MOST_OUTPUTS, Output, Outputs};
use crate::ports::object_store::{
    Condition, Footprint, ObjectInfo, ObjectPage, ObjectReader, ObjectStore, ObjectWriter, PutOptions,
    StoreError,
};
use crate::ports::staging::{RunToken, StagedName, Staging};
use crate::task::grant::{Grants, StoreGrant};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The outputs of one run.
pub(crate) struct StagedOutputs {
    run: RunToken,
    next_number: AtomicU32,
    noted: Mutex<Noted>,
}

/// Outputs by the store's URL and the key. Of several for one key, the last counts.
#[derive(Default)]
struct Noted {
    by_place: BTreeMap<(String, String), NotedOutput>,
    key_bytes: usize,
}

struct NotedOutput {
    store: Arc<dyn ObjectStore>,
    /// The staged object's number; `None`: the object is deleted.
    staged: Option<u32>,
}

impl StagedOutputs {
    pub(crate) fn new(run: RunToken) -> Self {
        Self { run, next_number: AtomicU32::new(0), noted: Mutex::default() }
    }

    /// Returns the token of the run.
    pub(crate) fn run(&self) -> RunToken {
        self.run
    }

    /// Returns grants like these, whose writable stores stage.
    pub(crate) fn grants(self: &Arc<Self>, grants: &Grants) -> Grants {
        let staging = |grant: &StoreGrant| {
            let store = grant.store.clone();
            let store: Arc<dyn ObjectStore> = if grant.mode.writes() {
                Arc::new(StagingStore { store, outputs: self.clone() })
            } else {
                store
            };
            StoreGrant { store, ..grant.clone() }
        };
        let stores = grants.stores.iter().map(|(alias, grant)| (alias.clone(), staging(grant))).collect();
        Grants { stores, ..grants.clone() }
    }

    /// Returns the list for the ledger.
    pub(crate) fn list(&self) -> Outputs {
        let noted = self.noted.lock();
        let mut list = Outputs::default();
        // All outputs of one store follow each other.
        for ((url, key), output) in &noted.by_place {
            if list.stores.last() != Some(url) {
                list.stores.push(url.clone());
            }
            let store = list.stores.len() - 1;
            list.outputs.push(Output { store, key: key.clone(), staged: output.staged });
        }
        list
    }

    /// Removes everything that is staged. What can't be removed now is swept later.
    pub(crate) async fn discard(&self) {
        let noted = std::mem::take(&mut *self.noted.lock());
        for output in noted.by_place.into_values() {
            self.discard_one(&*output.store, output.staged).await;
        }
    }

    async fn discard_one(&self, store: &dyn ObjectStore, staged: Option<u32>) {
        if let (Some(number), Some(staging)) = (staged, store.staging()) {
            let _ = staging.discard(StagedName { run: self.run, number }).await;
        }
    }

    /// Notes an output. Returns the number of the staged object that it replaces, if any.
    fn note(
        &self,
        store: &Arc<dyn ObjectStore>,
        key: &str,
        staged: Option<u32>,
    ) -> Result<Option<u32>, StoreError> {
        let has_directories = store.staging().is_some_and(Staging::has_directories);
        let mut noted = self.noted.lock();
        let place = (store.url().to_owned(), key.to_owned());
        if let Some(before) = noted.by_place.get_mut(&place) {
            return Ok(std::mem::replace(&mut before.staged, staged));
        }
        let key_bytes = noted.key_bytes + key.len();
        if noted.by_place.len() >= MOST_OUTPUTS || key_bytes > MOST_OUTPUT_KEY_BYTES {
            return Err(StoreError::Invalid(format!(
                "with --once, a task writes and deletes at most {MOST_OUTPUTS} objects, whose keys have at most {MOST_OUTPUT_KEY_BYTES} bytes together"
            )));
        }
        if has_directories && staged.is_some() {
            noted.check_nesting(&place)?;
        }
        noted.key_bytes = key_bytes;
        noted.by_place.insert(place, NotedOutput { store: store.clone(), staged });
        Ok(None)
    }
}

impl Noted {
    /// Refuses a key that is the directory of another one, or lies below another one: they can't both be placed.
    fn check_nesting(&self, (url, key): &(String, String)) -> Result<(), StoreError> {
        let refused = |other: &str| {
            StoreError::Invalid(format!(
                "cannot write {key:?}: the task writes {other:?} too, and in a directory there can be only one of them"
            ))
        };
        let is_written = |key: &str| {
            self.by_place.get(&(url.clone(), key.to_owned())).is_some_and(|output| output.staged.is_some())
        };
        let above = key.match_indices('/').map(|(end, _)| &key[..end]);
        if let Some(above) = above.into_iter().find(|above| is_written(above)) {
            return Err(refused(above));
        }
        let directory = format!("{key}/");
        let below = self.by_place.range((url.clone(), directory.clone())..);
        let mut below = below.take_while(|((of, below), _)| of == url && below.starts_with(&directory));
        match below.find(|(_, output)| output.staged.is_some()) {
            Some(((_, below), _)) => Err(refused(below)),
            None => Ok(()),
        }
    }
}

/// A store of one run, whose writes are staged.
struct StagingStore {
    store: Arc<dyn ObjectStore>,
    outputs: Arc<StagedOutputs>,
}

impl StagingStore {
    /// Notes an output, and removes the staged object that it replaces.
    async fn note(&self, key: &str, staged: Option<u32>) -> Result<(), StoreError> {
        let replaced = self.outputs.note(&self.store, key, staged)?;
        self.outputs.discard_one(&*self.store, replaced).await;
        Ok(())
    }
}

#[async_trait]
impl ObjectStore for StagingStore {
    fn url(&self) -> &str {
        self.store.url()
    }

    fn reader_holds(&self) -> Footprint {
        self.store.reader_holds()
    }

    fn writer_holds(&self) -> Footprint {
        self.store.writer_holds()
    }

    async fn clear_away(&self) {
        self.store.clear_away().await;
    }

    async fn probe(&self, write: bool) -> Result<(), StoreError> {
        self.store.probe(write).await
    }

    async fn head(&self, key: &str, version: Option<&str>) -> Result<ObjectInfo, StoreError> {
        self.store.head(key, version).await
    }

    async fn read(
        &self,
        key: &str,
        version: Option<&str>,
        range: Option<Range<u64>>,
    ) -> Result<Box<dyn ObjectReader>, StoreError> {
        self.store.read(key, version, range).await
    }

    /// Begins to stage an object. A condition is refused: it would have to hold when the run commits, and other writers
    /// may come in between.
    async fn write(&self, key: &str, options: PutOptions) -> Result<Box<dyn ObjectWriter>, StoreError> {
        if options.condition != Condition::Always {
            return Err(StoreError::Invalid(format!(
                "cannot write {key:?} on a condition: with --once, the object is written when the task has completed"
            )));
        }
        let staging = self.store.staging().ok_or_else(|| {
            StoreError::Unavailable("the store has no staging area, which --once needs".to_owned())
        })?;
        let number = self.outputs.next_number.fetch_add(1, Ordering::Relaxed);
        let name = StagedName { run: self.outputs.run, number };
        let writer = staging.stage(name, key, options).await?;
        let store = Self { store: self.store.clone(), outputs: self.outputs.clone() };
        Ok(Box::new(StagingWriter { writer, store, key: key.to_owned(), number }))
    }

    async fn list(
        &self,
        prefix: &str,
        continuation: Option<&str>,
        limit: usize,
    ) -> Result<ObjectPage, StoreError> {
        self.store.list(prefix, continuation, limit).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.note(key, None).await
    }
}

/// An object that is being staged.
struct StagingWriter {
    writer: Box<dyn ObjectWriter>,
    store: StagingStore,
    key: String,
    number: u32,
}

#[async_trait]
impl ObjectWriter for StagingWriter {
    async fn write(&mut self, content: Bytes) -> Result<(), StoreError> {
        self.writer.write(content).await
    }

    async fn finish(self: Box<Self>) -> Result<ObjectInfo, StoreError> {
        let Self { writer, store, key, number } = *self;
        let info = writer.finish().await?;
        if let Err(error) = store.note(&key, Some(number)).await {
            store.outputs.discard_one(&*store.store, Some(number)).await;
            return Err(error);
        }
        Ok(info)
    }
}

#[cfg(test)]
#[path = "staged_tests.rs"]
mod tests;
