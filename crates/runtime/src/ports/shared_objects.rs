//! Objects that several workers change: each is changed only if nobody else has changed it.

use super::object_store::{Condition, ObjectStore, PutOptions, StoreError, read_at_most};
use super::queue::QueueError;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// Number of times that a change is tried while other workers change the same object.
const TRIES: u32 = 12;
/// First pause between two tries. It doubles up to sixteen times this.
const PAUSE: Duration = Duration::from_millis(20);

/// Objects with a value in JSON, in a store that gives etags.
pub(super) struct SharedObjects {
    pub(super) store: Arc<dyn ObjectStore>,
    /// What an object holds, for errors: "a group of messages".
    pub(super) noun: &'static str,
    /// Maximum size of an object in bytes.
    pub(super) most_bytes: usize,
}

/// Why an object can't be read or changed.
#[derive(Clone, Debug)]
pub(super) enum SharedError {
    /// A retry may succeed.
    Unavailable(String),
    /// An operator has to act.
    Unusable(String),
    /// The object isn't what it should be: another program wrote it.
    Damaged(String),
}

impl From<SharedError> for QueueError {
    fn from(error: SharedError) -> Self {
        match error {
            SharedError::Unavailable(text) => Self::Unavailable(text),
            SharedError::Unusable(text) | SharedError::Damaged(text) => Self::Unusable(text),
        }
    }
}

impl SharedObjects {
    /// Reads an object's value, and returns the condition under which it may be replaced.
    pub(super) async fn read<V: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<(Option<V>, Condition), SharedError> {
        let mut reader = match self.store.read(key, None, None).await {
            Ok(reader) => reader,
            Err(StoreError::NotFound) => return Ok((None, Condition::IfAbsent)),
            Err(error) => return Err(self.error_of(key, error)),
        };
        let damaged = |why: &str| SharedError::Damaged(format!("the object {key} {why}"));
        let etag = reader.info().etag.clone().ok_or_else(|| damaged("has no etag"))?;
        let content = read_at_most(&mut *reader, self.most_bytes).await;
        let content = content.map_err(|error| self.error_of(key, error))?;
        let content =
            content.ok_or_else(|| damaged(&format!("is too large for {}: delete it", self.noun)))?;
        let value = serde_json::from_slice(&content);
        let value = value.map_err(|_| damaged(&format!("is not {}: delete it", self.noun)))?;
        Ok((Some(value), Condition::IfMatch(etag)))
    }

    /// Changes an object. `change` gets its value as it is, and returns it as it shall be; `None`: it stays.
    pub(super) async fn update<V, T>(
        &self,
        key: &str,
        mut change: impl FnMut(Option<V>) -> (Option<V>, T),
    ) -> Result<T, SharedError>
    where
        V: Clone + PartialEq + Serialize + DeserializeOwned,
    {
        let mut tried: Option<(V, T)> = None;
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep((PAUSE * (1 << attempt.min(4))).mul_f64(0.5 + fastrand::f64())).await;
            }
            let (before, condition) = self.read(key).await?;
            if let Some((after, value)) = tried.take()
                && before.as_ref() == Some(&after)
            {
                // The service had written it, and its answer was lost.
                return Ok(value);
            }
            let (after, value) = change(before.clone());
            let Some(after) = after.filter(|after| Some(after) != before.as_ref()) else { return Ok(value) };
            match self.write(key, &after, condition).await {
                Ok(()) => return Ok(value),
                // Another worker was faster, or this one: see above.
                Err(StoreError::PreconditionFailed | StoreError::Conflict(_) | StoreError::NotFound) => {
                    tried = Some((after, value));
                }
                Err(error) => return Err(self.error_of(key, error)),
            }
        }
        Err(SharedError::Unavailable(format!("too many workers change the object {key} at once")))
    }

    async fn write(&self, key: &str, value: &impl Serialize, condition: Condition) -> Result<(), StoreError> {
        let content = serde_json::to_vec(value).map_err(|error| StoreError::Invalid(error.to_string()))?;
        let content_type = Some("application/json".into());
        let options = PutOptions { condition, content_type, ..PutOptions::default() };
        let mut writer = self.store.write(key, options).await?;
        writer.write(Bytes::from(content)).await?;
        writer.finish().await.map(drop)
    }

    /// Converts an error of the store.
    pub(super) fn error_of(&self, key: &str, error: StoreError) -> SharedError {
        match error {
            StoreError::AccessDenied(why) | StoreError::Invalid(why) => {
                SharedError::Unusable(format!("the object {key}: {why}"))
            }
            error => SharedError::Unavailable(format!("the object {key}: {error}")),
        }
    }
}
