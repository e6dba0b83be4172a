//! The object store in memory.

use crate::ports::object_store::{
    Condition, ObjectInfo, ObjectPage, ObjectReader, ObjectStore, ObjectSummary, ObjectWriter, PutOptions,
    StoreError,
};
use crate::ports::staging::{StagedName, Staging};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, MutexGuard};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

/// An object store in memory.
#[derive(Clone)]
pub struct MemoryStore {
    url: String,
    /// Prefix of all keys: empty, or ends with `/`.
    prefix: String,
    /// Time that objects report as their last change; `None`: when they were written.
    time: Option<SystemTime>,
    objects: Arc<Mutex<BTreeMap<String, (ObjectInfo, Bytes)>>>,
    staged: Arc<Mutex<BTreeMap<StagedName, (ObjectInfo, Bytes)>>>,
}

impl MemoryStore {
    /// Creates an empty store.
    pub fn new(name: &str) -> Self {
        Self::at(&format!("memory:{name}/"))
    }

    /// Creates an empty store that reports this URL.
    pub fn at(url: &str) -> Self {
        Self {
            url: url.into(),
            prefix: String::new(),
            time: None,
            objects: Arc::default(),
            staged: Arc::default(),
        }
    }

    /// Makes objects report this time as their last change, so that results don't depend on the clock.
    #[must_use]
    pub fn with_time(self, time: SystemTime) -> Self {
        Self { time: Some(time), ..self }
    }

    /// Returns the key with the store's prefix.
    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (ObjectInfo, Bytes)>> {
        self.objects.lock()
    }

    pub(super) fn lock_staged(&self) -> MutexGuard<'_, BTreeMap<StagedName, (ObjectInfo, Bytes)>> {
        self.staged.lock()
    }

    pub(super) fn writer(&self, key: &str, options: PutOptions) -> MemoryWriter {
        MemoryWriter { store: self.clone(), key: key.into(), options, content: BytesMut::new() }
    }

    /// Returns an object's content.
    pub fn content(&self, key: &str) -> Option<Bytes> {
        self.lock().get(&self.full(key)).map(|(_, content)| content.clone())
    }

    /// Inserts an object.
    pub fn insert(&self, key: &str, content: impl Into<Bytes>) {
        let content = content.into();
        let info = self.info(key, &content, PutOptions::default());
        self.lock().insert(self.full(key), (info, content));
    }

    fn info(&self, key: &str, content: &[u8], options: PutOptions) -> ObjectInfo {
        ObjectInfo {
            key: key.into(),
            size: content.len() as u64,
            etag: Some(format!("{:x}", Sha256::digest(content))),
            version: None,
            content_type: options.content_type,
            cache_control: options.cache_control,
            metadata: options.metadata,
            modified_at: Some(self.time.unwrap_or_else(SystemTime::now)),
        }
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    fn url(&self) -> &str {
        &self.url
    }

    fn part(&self, prefix: &str) -> Arc<dyn ObjectStore> {
        let url = format!("{}{prefix}", self.url);
        Arc::new(Self { url, prefix: self.full(prefix), ..self.clone() })
    }

    fn staging(&self) -> Option<&dyn Staging> {
        Some(self)
    }

    async fn probe(&self, _: bool) -> Result<(), StoreError> {
        Ok(())
    }

    async fn head(&self, key: &str, version: Option<&str>) -> Result<ObjectInfo, StoreError> {
        refuse_version(version)?;
        let objects = self.lock();
        let (info, _) = objects.get(&self.full(key)).ok_or(StoreError::NotFound)?;
        Ok(ObjectInfo { key: key.into(), ..info.clone() })
    }

    async fn read(
        &self,
        key: &str,
        version: Option<&str>,
        range: Option<Range<u64>>,
    ) -> Result<Box<dyn ObjectReader>, StoreError> {
        refuse_version(version)?;
        let (info, content) = self.lock().get(&self.full(key)).cloned().ok_or(StoreError::NotFound)?;
        let info = ObjectInfo { key: key.into(), ..info };
        let rest = match range {
            Some(range) => {
                let end = range.end.min(info.size);
                content.slice(range.start.min(end) as usize..end as usize)
            }
            None => content,
        };
        Ok(Box::new(MemoryReader { info, rest }))
    }

    async fn write(&self, key: &str, options: PutOptions) -> Result<Box<dyn ObjectWriter>, StoreError> {
        Ok(Box::new(self.writer(key, options)))
    }

    async fn list(
        &self,
        prefix: &str,
        continuation: Option<&str>,
        limit: usize,
    ) -> Result<ObjectPage, StoreError> {
        let objects = self.lock();
        let after = continuation.unwrap_or("");
        let mut page = ObjectPage::default();
        let prefix = self.full(prefix);
        let begin_alike = objects.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
        for (key, (info, _)) in begin_alike {
            let Some(key) = key.strip_prefix(&self.prefix) else { continue };
            if !after.is_empty() && key <= after {
                continue;
            }
            if page.objects.len() == limit {
                page.continuation = page.objects.last().map(|object| object.key.clone());
                break;
            }
            page.objects.push(ObjectSummary {
                key: key.to_owned(),
                size: info.size,
                etag: info.etag.clone(),
                modified_at: info.modified_at,
            });
        }
        Ok(page)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.lock().remove(&self.full(key));
        Ok(())
    }
}

fn refuse_version(version: Option<&str>) -> Result<(), StoreError> {
    let refusal = || Err(StoreError::Invalid("a store in memory keeps no versions of objects".into()));
    if version.is_some() { refusal() } else { Ok(()) }
}

struct MemoryReader {
    info: ObjectInfo,
    rest: Bytes,
}

#[async_trait]
impl ObjectReader for MemoryReader {
    fn info(&self) -> &ObjectInfo {
        &self.info
    }

    async fn read(&mut self, max: usize) -> Result<Bytes, StoreError> {
        Ok(self.rest.split_to(max.min(self.rest.len())))
    }
}

pub(super) struct MemoryWriter {
    pub(super) store: MemoryStore,
    key: String,
    options: PutOptions,
    content: BytesMut,
}

impl MemoryWriter {
    /// Returns what was written as an object.
    pub(super) fn object(self) -> (ObjectInfo, Bytes) {
        let content = self.content.freeze();
        (self.store.info(&self.key, &content, self.options), content)
    }
}

#[async_trait]
impl ObjectWriter for MemoryWriter {
    async fn write(&mut self, content: Bytes) -> Result<(), StoreError> {
        self.content.extend_from_slice(&content);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<ObjectInfo, StoreError> {
        let key = self.store.full(&self.key);
        let mut objects = self.store.lock();
        let current = objects.get(&key).and_then(|(info, _)| info.etag.as_ref());
        let holds = match &self.options.condition {
            Condition::Always => true,
            Condition::IfAbsent => current.is_none(),
            Condition::IfMatch(etag) => current == Some(etag),
        };
        if !holds {
            return Err(StoreError::PreconditionFailed);
        }
        let content = self.content.freeze();
        let info = self.store.info(&self.key, &content, self.options);
        objects.insert(key, (info.clone(), content));
        Ok(info)
    }
}
