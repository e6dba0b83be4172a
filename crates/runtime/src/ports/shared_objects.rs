//! Objects of JSON that several workers change: each change is written only if nobody else has changed the object.

use crate::ports::object_store::{Condition, ObjectStore, PutOptions, StoreError};
use crate::ports::queue::QueueError;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// Maximum size of an object. The largest is a group of 10,000 messages, whose IDs have at most 100 bytes (SQS).
pub(super) const MAX_BYTES: usize = 4 << 20;
/// Number of times that a change is tried while other workers change the same object.
const TRIES: u32 = 12;
/// First pause between two tries. It doubles up to sixteen times this.
const PAUSE: Duration = Duration::from_millis(20);

/// The objects of a store, which must give etags.
pub(super) struct SharedObjects {
    store: Arc<dyn ObjectStore>,
    /// What an object holds, for errors: "a group of messages".
    what: &'static str,
}

impl SharedObjects {
    pub(super) fn new(store: Arc<dyn ObjectStore>, what: &'static str) -> Self {
        Self { store, what }
    }

    pub(super) fn url(&self) -> &str {
        self.store.url()
    }

    /// Checks with one cheap call that the store can be used.
    pub(super) async fn check(&self) -> Result<(), QueueError> {
        self.store.probe(false).await.map_err(|error| QueueError::Unavailable(error.to_string()))
    }

    /// Changes an object. `change` gets the content as it is, and returns it as it shall be; `None`: it stays.
    pub(super) async fn update<C: Clone + PartialEq + Serialize + DeserializeOwned, T>(
        &self,
        key: &str,
        mut change: impl FnMut(Option<C>) -> (Option<C>, T),
    ) -> Result<T, QueueError> {
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep((PAUSE * (1 << attempt.min(4))).mul_f64(0.5 + fastrand::f64())).await;
            }
            let (before, condition) = self.read(key).await?;
            let (after, value) = change(before.clone());
            let Some(after) = after.filter(|after| Some(after) != before.as_ref()) else { return Ok(value) };
            match self.write(key, &after, condition).await {
                Ok(()) => return Ok(value),
                // Another worker was faster.
                Err(StoreError::PreconditionFailed | StoreError::Conflict(_) | StoreError::NotFound) => {}
                Err(error) => return Err(told(key, error)),
            }
        }
        Err(QueueError::Unavailable(format!("too many workers change the object {key} at once")))
    }

    /// Reads an object, and returns the condition under which it may be written.
    async fn read<C: DeserializeOwned>(&self, key: &str) -> Result<(Option<C>, Condition), QueueError> {
        let mut reader = match self.store.read(key, None, None).await {
            Ok(reader) => reader,
            Err(StoreError::NotFound) => return Ok((None, Condition::IfAbsent)),
            Err(error) => return Err(told(key, error)),
        };
        let unusable = |why: &str| QueueError::Unusable(format!("the object {key} {why}"));
        let etag = reader.info().etag.clone().ok_or_else(|| unusable("has no etag"))?;
        let mut content = Vec::new();
        loop {
            let piece = reader.read(MAX_BYTES).await.map_err(|error| told(key, error))?;
            if piece.is_empty() {
                break;
            }
            content.extend_from_slice(&piece);
            if content.len() > MAX_BYTES {
                return Err(unusable(&format!("is too large for {}: delete it", self.what)));
            }
        }
        let content = serde_json::from_slice(&content);
        let content = content.map_err(|_| unusable(&format!("is not {}: delete it", self.what)))?;
        Ok((Some(content), Condition::IfMatch(etag)))
    }

    async fn write<C: Serialize>(
        &self,
        key: &str,
        content: &C,
        condition: Condition,
    ) -> Result<(), StoreError> {
        let content = serde_json::to_vec(content).map_err(|error| StoreError::Invalid(error.to_string()))?;
        let content_type = Some("application/json".into());
        let options = PutOptions { condition, content_type, ..PutOptions::default() };
        let mut writer = self.store.write(key, options).await?;
        writer.write(Bytes::from(content)).await?;
        writer.finish().await.map(drop)
    }
}

fn told(key: &str, error: StoreError) -> QueueError {
    match error {
        StoreError::AccessDenied(why) | StoreError::Invalid(why) => {
            QueueError::Unusable(format!("the object {key}: {why}"))
        }
        error => QueueError::Unavailable(format!("the object {key}: {error}")),
    }
}
