//! A staging area of its own for stores that have none: a store that no task can reach.
//!
//! A staged object is placed by a copy, and then deleted. If it is no longer there, it was placed before, or swept. A
//! service that knows both stores copies by itself; otherwise the content passes through this process.

use super::object_store::{
    Condition, ObjectInfo, ObjectStore, ObjectSummary, ObjectWriter, PutOptions, StoreError, Transfer,
};
use super::staging::{StagedName, StagedNames, Staging};
use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Maximum number of pages of one listing: most objects in them belong to tasks that run.
const MOST_PAGES: usize = 40;

/// Staged objects of any stores, in a store of their own.
pub struct StagingArea {
    store: Arc<dyn ObjectStore>,
}

/// The staging area of one store.
pub(crate) struct StagingOf<'a> {
    area: &'a StagingArea,
    store: &'a dyn ObjectStore,
}

/// Where a store's objects are staged.
pub(crate) enum AnyStaging<'a> {
    /// The store stages by itself.
    Own(&'a dyn Staging),
    /// They are staged in an area of another store.
    Area(StagingOf<'a>),
}

impl<'a> Deref for AnyStaging<'a> {
    type Target = dyn Staging + 'a;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Own(own) => *own,
            Self::Area(area) => area,
        }
    }
}

/// Returns where a store's objects are staged: by the store itself, or else in this area.
pub(crate) fn staging_of<'a>(
    store: &'a dyn ObjectStore,
    area: Option<&'a StagingArea>,
) -> Option<AnyStaging<'a>> {
    let own = store.staging().map(AnyStaging::Own);
    own.or_else(|| area.map(|area| AnyStaging::Area(area.of(store))))
}

impl StagingArea {
    /// Creates a staging area in a store.
    pub(crate) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// Returns the staging area of a store, which may be a part of the store for which objects were staged.
    pub(crate) fn of<'a>(&'a self, store: &'a dyn ObjectStore) -> StagingOf<'a> {
        StagingOf { area: self, store }
    }

    /// Returns itself, for removing what is staged for any store.
    pub(crate) fn of_itself(&self) -> StagingOf<'_> {
        self.of(&*self.store)
    }

    /// Copies a staged object. Returns `NotFound` if there is none.
    async fn copy(&self, name: &str, store: &dyn ObjectStore, key: &str) -> Result<(), StoreError> {
        let transfer = Transfer::of_at_most(u64::MAX);
        self.store.copy(name, None, store, key, &Condition::Always, &transfer).await.map(drop)
    }
}

#[async_trait]
impl Staging for StagingOf<'_> {
    fn has_directories(&self) -> bool {
        false
    }

    async fn stage(
        &self,
        name: StagedName,
        key: &str,
        options: PutOptions,
    ) -> Result<Box<dyn ObjectWriter>, StoreError> {
        self.store.check_key(key)?;
        let writer = self.area.store.write(&name.to_string(), options).await?;
        Ok(Box::new(AreaWriter { writer, key: key.to_owned() }))
    }

    async fn place(&self, name: StagedName, key: &str) -> Result<(), StoreError> {
        match self.area.copy(&name.to_string(), self.store, key).await {
            // Placed before.
            Err(StoreError::NotFound) => Ok(()),
            Ok(()) => self.discard(name).await,
            Err(error) => Err(error),
        }
    }

    async fn discard(&self, name: StagedName) -> Result<(), StoreError> {
        self.area.store.delete(&name.to_string()).await
    }

    async fn staged(
        &self,
        ledger: u64,
        after: Option<StagedName>,
        limit: usize,
        age: Duration,
    ) -> Result<StagedNames, StoreError> {
        let prefix = StagedName::prefix(ledger);
        let now = SystemTime::now();
        let is_old = |object: &ObjectSummary| {
            object.modified_at.is_none_or(|at| now.duration_since(at).unwrap_or_default() >= age)
        };
        let name_of = |object: &ObjectSummary| object.key.parse::<StagedName>().ok();
        let (mut names, mut goes_on_after) = (Vec::new(), after);
        let mut continuation = after.map(|name| name.to_string());
        for _ in 0..MOST_PAGES {
            let page = self.area.store.list(&prefix, continuation.as_deref(), limit).await?;
            names.extend(page.objects.iter().filter(|object| is_old(object)).filter_map(name_of));
            goes_on_after = page.objects.iter().rev().find_map(name_of).or(goes_on_after);
            continuation = page.continuation;
            if continuation.is_none() || !names.is_empty() {
                break;
            }
        }
        Ok(StagedNames { names, goes_on_after: goes_on_after.filter(|_| continuation.is_some()) })
    }
}

/// An object that is being staged in an area.
struct AreaWriter {
    writer: Box<dyn ObjectWriter>,
    key: String,
}

#[async_trait]
impl ObjectWriter for AreaWriter {
    async fn write(&mut self, content: Bytes) -> Result<(), StoreError> {
        self.writer.write(content).await
    }

    async fn finish(self: Box<Self>) -> Result<ObjectInfo, StoreError> {
        let Self { writer, key } = *self;
        let info = writer.finish().await?;
        // The copy has others.
        Ok(ObjectInfo { key, etag: None, version: None, ..info })
    }
}
