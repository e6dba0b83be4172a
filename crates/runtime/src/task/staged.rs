//! Outputs of a run under `--once`: what its guest writes is staged, and what it deletes is noted, until the run commits.
//!
//! The task's grants are replaced by others with the same aliases, modes and URLs, whose stores stage. So all ways to
//! write an object lead here: `wasmrun:task`, `wasi:blobstore`, files and streams. Reads and listings go to the store
//! itself: a task doesn't see what it has written.

use crate::ports::ledger::{CommitList, Ledger, MOST_OUTPUT_KEY_BYTES, MOST_OUTPUTS, StagedOutput};
use crate::ports::object_store::{
    Condition, Footprint, ObjectInfo, ObjectPage, ObjectReader, ObjectStore, ObjectWriter, PutOptions,
    StoreError,
};
use crate::ports::staging::{RunToken, StagedName};
use crate::ports::staging_area::{AnyStaging, staging_of};
use crate::task::grant::{Grants, StoreGrant};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::OnceCell;

/// Number of staged objects that are placed or removed at once.
pub(crate) const AT_ONCE: usize = 16;

/// The outputs of one run.
pub(crate) struct StagedOutputs {
    run: RunToken,
    /// Has the staging area of stores without one of their own.
    ledger: Arc<dyn Ledger>,
    /// The stores that the task may write. Several aliases may stand for one.
    stores: Vec<Arc<dyn ObjectStore>>,
    next_number: AtomicU32,
    noted: Mutex<Noted>,
}

/// Outputs by the store's index and the key: the staged object, or `None` for an object that is deleted. Of several
/// outputs for one key, the last counts.
#[derive(Default)]
struct Noted {
    by_place: BTreeMap<(usize, String), Option<StagedObject>>,
    key_bytes: usize,
}

#[derive(Clone, Copy)]
struct StagedObject {
    number: u32,
    bytes: u64,
}

impl StagedOutputs {
    /// Creates the outputs of a run whose task has these grants.
    pub(crate) fn new(run: RunToken, ledger: Arc<dyn Ledger>, grants: &Grants) -> Self {
        let mut stores: Vec<Arc<dyn ObjectStore>> = Vec::new();
        for grant in grants.stores.values().filter(|grant| grant.mode.writes()) {
            if stores.iter().all(|store| store.url() != grant.store.url()) {
                stores.push(grant.store.clone());
            }
        }
        Self { run, ledger, stores, next_number: AtomicU32::new(0), noted: Mutex::default() }
    }

    /// Returns the token of the run.
    pub(crate) fn run(&self) -> RunToken {
        self.run
    }

    /// Returns where objects of a store are staged.
    fn staging(&self, store: usize) -> Option<AnyStaging<'_>> {
        staging_of(&*self.stores[store], self.ledger.area())
    }

    /// Returns grants like these, whose writable stores stage.
    pub(crate) fn grants(self: &Arc<Self>, grants: &Grants) -> Grants {
        let staging = |grant: &StoreGrant| {
            let index = self.stores.iter().position(|store| store.url() == grant.store.url());
            let store: Arc<dyn ObjectStore> = match index.filter(|_| grant.mode.writes()) {
                Some(index) => {
                    let (store, below) = (grant.store.clone(), String::new());
                    let (outputs, reached) = (self.clone(), Arc::default());
                    Arc::new(StagingStore { store, index, below, outputs, reached })
                }
                None => grant.store.clone(),
            };
            StoreGrant { store, ..grant.clone() }
        };
        let stores = grants.stores.iter().map(|(alias, grant)| (alias.clone(), staging(grant))).collect();
        Grants { stores, ..grants.clone() }
    }

    /// Returns the list for the ledger. `route`: the route of the task, if it is one's.
    pub(crate) fn list(&self, route: Option<&str>) -> CommitList {
        let noted = self.noted.lock();
        let output = |((store, key), staged): (&(usize, String), &Option<StagedObject>)| StagedOutput {
            store: *store,
            key: key.clone(),
            staged: staged.map(|staged| staged.number),
            bytes: staged.map_or(0, |staged| staged.bytes),
        };
        CommitList {
            route: route.map(str::to_owned),
            stores: self.stores.iter().map(|store| store.url().to_owned()).collect(),
            outputs: noted.by_place.iter().map(output).collect(),
        }
    }

    /// Removes everything that is staged. What can't be removed now is swept later.
    pub(crate) async fn discard(&self) {
        let noted = std::mem::take(&mut *self.noted.lock());
        let discarding =
            noted.by_place.into_iter().map(|((store, _), staged)| self.discard_one(store, staged));
        stream::iter(discarding).buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    async fn discard_one(&self, store: usize, staged: Option<StagedObject>) {
        if let (Some(StagedObject { number, .. }), Some(staging)) = (staged, self.staging(store)) {
            let _ = staging.discard(StagedName { run: self.run, number }).await;
        }
    }

    /// Notes an output, and removes the staged object that it replaces.
    async fn note(&self, store: usize, key: &str, staged: Option<StagedObject>) -> Result<(), StoreError> {
        let has_directories = self.staging(store).is_some_and(|staging| staging.has_directories());
        let replaced = self.noted.lock().add(store, key, staged, has_directories)?;
        self.discard_one(store, replaced).await;
        Ok(())
    }
}

impl Noted {
    /// Adds an output. Returns the staged object that it replaces, if any.
    fn add(
        &mut self,
        store: usize,
        key: &str,
        staged: Option<StagedObject>,
        has_directories: bool,
    ) -> Result<Option<StagedObject>, StoreError> {
        let place = (store, key.to_owned());
        if has_directories && staged.is_some() {
            self.check_nesting(&place)?;
        }
        if let Some(before) = self.by_place.get_mut(&place) {
            return Ok(std::mem::replace(before, staged));
        }
        let key_bytes = self.key_bytes + key.len();
        if self.by_place.len() >= MOST_OUTPUTS || key_bytes > MOST_OUTPUT_KEY_BYTES {
            return Err(StoreError::Invalid(format!(
                "with --once, a task writes and deletes at most {MOST_OUTPUTS} objects, whose keys have at most {MOST_OUTPUT_KEY_BYTES} bytes together"
            )));
        }
        self.key_bytes = key_bytes;
        self.by_place.insert(place, staged);
        Ok(None)
    }

    /// Refuses a key that is the directory of another one, or lies below another one: they can't both be placed.
    fn check_nesting(&self, (store, key): &(usize, String)) -> Result<(), StoreError> {
        let refused = |other: &str| {
            StoreError::Invalid(format!(
                "cannot write {key:?}: the task writes {other:?} too, and in a directory there can be only one of them"
            ))
        };
        let is_written = |key: &str| matches!(self.by_place.get(&(*store, key.to_owned())), Some(Some(_)));
        let mut above = key.match_indices('/').map(|(end, _)| &key[..end]);
        if let Some(above) = above.find(|above| is_written(above)) {
            return Err(refused(above));
        }
        let directory = format!("{key}/");
        let below = self.by_place.range((*store, directory.clone())..);
        let mut below = below.take_while(|((of, below), _)| of == store && below.starts_with(&directory));
        match below.find(|(_, staged)| staged.is_some()) {
            Some(((_, below), _)) => Err(refused(below)),
            None => Ok(()),
        }
    }
}

/// A store of one run, or a part of it, whose writes are staged.
#[derive(Clone)]
struct StagingStore {
    /// The store or the part, for reading.
    store: Arc<dyn ObjectStore>,
    /// Index of the whole store in `outputs`, which stages and notes by the keys of the whole store.
    index: usize,
    /// Prefix of the part in the whole store; empty for the whole store.
    below: String,
    outputs: Arc<StagedOutputs>,
    /// Set once the part of a store that doesn't stage by itself was reached.
    reached: Arc<OnceCell<()>>,
}

#[async_trait]
impl ObjectStore for StagingStore {
    fn url(&self) -> &str {
        self.store.url()
    }

    fn part(&self, prefix: &str) -> Arc<dyn ObjectStore> {
        let below = format!("{}{prefix}", self.below);
        Arc::new(Self { store: self.store.part(prefix), below, reached: Arc::default(), ..self.clone() })
    }

    fn tells_case(&self) -> bool {
        self.store.tells_case()
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
        let key = self.whole(key);
        let staging = self.outputs.staging(self.index).ok_or_else(|| {
            StoreError::Unavailable("the store has no staging area, which --once needs".to_owned())
        })?;
        self.reach().await?;
        let number = self.outputs.next_number.fetch_add(1, Ordering::Relaxed);
        let name = StagedName { run: self.outputs.run, number };
        let writer = staging.stage(name, &key, options).await?;
        Ok(Box::new(StagingWriter { writer, store: self.clone(), key, number }))
    }

    async fn list(
        &self,
        prefix: &str,
        continuation: Option<&str>,
        limit: usize,
    ) -> Result<ObjectPage, StoreError> {
        self.store.list(prefix, continuation, limit).await
    }

    /// Notes a deletion. A key that the store can't hold is refused now: the deletion would fail whenever the run commits.
    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.store.check_key(key)?;
        self.reach().await?;
        self.outputs.note(self.index, &self.whole(key), None).await
    }
}

impl StagingStore {
    /// Refuses outputs of a key to which the service refuses its part of the store: they could never be placed. The area in
    /// which they are staged isn't the key's.
    async fn reach(&self) -> Result<(), StoreError> {
        if self.below.is_empty() || self.outputs.stores[self.index].staging().is_some() {
            return Ok(());
        }
        self.reached.get_or_try_init(|| self.store.probe(true)).await.copied()
    }

    /// Returns the key in the whole store.
    fn whole(&self, key: &str) -> String {
        format!("{}{key}", self.below)
    }
}

/// An object that is being staged.
struct StagingWriter {
    writer: Box<dyn ObjectWriter>,
    store: StagingStore,
    /// Key in the whole store.
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
        let StagingStore { index, below, outputs, .. } = store;
        let info = writer.finish().await?;
        let relative = key.strip_prefix(&below).unwrap_or(&key).to_owned();
        let staged = StagedObject { number, bytes: info.size };
        if let Err(error) = outputs.note(index, &key, Some(staged)).await {
            outputs.discard_one(index, Some(staged)).await;
            return Err(error);
        }
        Ok(ObjectInfo { key: relative, ..info })
    }
}

#[cfg(test)]
#[path = "staged_tests.rs"]
mod tests;
