//! What both drafts of `wasi:keyvalue` do: they check grants, keys and sizes, and delegate to the bucket.

use crate::model::host_error::{HostErrorKind, Used};
use crate::model::limits::{Limit, MAX_KEY_BYTES};
use crate::model::outcome::shorten;
use crate::ports::keyvalue::{Entry, KeyPage, KeyValueError, MAX_KEYS, MAX_VALUE_BYTES};
use crate::task::calls::BucketCall;
use crate::task::grant::{BucketGrant, Mode};
use crate::task::host::{Fault, listed, usage_of};
use crate::task::store::TaskState;
use bytes::Bytes;
use wasmtime::component::Resource;

/// A guest's handle to a granted bucket.
pub struct BucketHandle(BucketGrant);

/// A guest's handle to a compare-and-swap.
pub struct CasHandle {
    grant: BucketGrant,
    key: String,
    /// Version of the value that the guest has seen, or that was there when the handle was made.
    version: Option<u64>,
}

/// An error that a guest may know.
#[derive(Debug)]
pub(super) enum Error {
    AccessDenied,
    /// A compare-and-swap came too late.
    Changed,
    Other(String),
}

/// The end of a compare-and-swap.
pub(super) enum Swapped {
    Done,
    /// The value had changed; the handle is for the next try.
    Changed(Resource<CasHandle>),
}

impl From<Error> for Fault<Error> {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

type Result<T> = std::result::Result<T, Fault<Error>>;

/// Converts the answer of a call for a guest, or ends the task.
pub(super) fn answer<T, E: From<Error>>(result: Result<T>) -> wasmtime::Result<std::result::Result<T, E>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(fault) => fault.into_guest_error().map(|error| Err(error.into())),
    }
}

fn other(text: impl Into<String>) -> Fault<Error> {
    Error::Other(text.into()).into()
}

impl TaskState {
    pub(super) fn open_bucket(&mut self, alias: &str) -> Result<Resource<BucketHandle>> {
        let buckets = &self.config.grants.buckets;
        let Some(grant) = buckets.get(alias) else {
            let granted = listed(buckets.values().map(|grant| format!("{}:{}", grant.alias, grant.mode)));
            let missing = format!(
                "the component opens the key-value bucket {alias:?}, which is not granted: add --keyvalue {alias}=sqlite:FILE:MODE (granted: {granted})",
                alias = shorten(alias)
            );
            self.not_granted("keyvalue", alias, "no such grant", missing);
            return Err(Error::AccessDenied.into());
        };
        let grant = grant.clone();
        Ok(self.table.push(BucketHandle(grant))?)
    }

    pub(super) async fn value(
        &mut self,
        this: &Resource<BucketHandle>,
        key: String,
    ) -> Result<Option<Vec<u8>>> {
        let grant = self.allowed_bucket(this, Mode::reads)?;
        check_keys([&key])?;
        Ok(self.entry(&grant, key).await?.map(|entry| entry.value.into()))
    }

    pub(super) async fn values(
        &mut self,
        this: &Resource<BucketHandle>,
        keys: Vec<String>,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>> {
        let grant = self.allowed_bucket(this, Mode::reads)?;
        check_keys(&keys)?;
        // The answer repeats the keys.
        let of_keys: usize = keys.iter().map(String::len).sum();
        let most = self.config.limits.object_bytes().saturating_sub(of_keys);
        let entries = self.entries(&grant, keys.clone(), most).await?;
        Ok(keys
            .into_iter()
            .zip(entries)
            .map(|(key, entry)| entry.map(|entry| (key, entry.value.into())))
            .collect())
    }

    pub(super) async fn set_values(
        &mut self,
        this: &Resource<BucketHandle>,
        entries: Vec<(String, Vec<u8>)>,
    ) -> Result<()> {
        let grant = self.allowed_bucket(this, Mode::writes)?;
        check_keys(entries.iter().map(|(key, _)| key))?;
        entries.iter().try_for_each(|(_, value)| check_value(value))?;
        let bytes: usize = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        self.count_bucket_written(&grant.alias, bytes)?;
        let number = entries.len();
        let entries = entries.into_iter().map(|(key, value)| (key, Bytes::from(value))).collect();
        let bucket = grant.bucket.clone();
        self.call_bucket(&grant, BucketCall::Set, number, async move { bucket.set(entries).await }).await
    }

    pub(super) async fn delete_keys(
        &mut self,
        this: &Resource<BucketHandle>,
        keys: Vec<String>,
    ) -> Result<()> {
        let grant = self.allowed_bucket(this, Mode::writes)?;
        check_keys(&keys)?;
        let (number, bucket) = (keys.len(), grant.bucket.clone());
        self.call_bucket(&grant, BucketCall::Delete, number, async move { bucket.delete(keys).await }).await
    }

    pub(super) async fn key_exists(&mut self, this: &Resource<BucketHandle>, key: String) -> Result<bool> {
        let grant = self.allowed_bucket(this, Mode::reads)?;
        check_keys([&key])?;
        Ok(self.version(&grant, key).await?.is_some())
    }

    pub(super) async fn list_keys_after(
        &mut self,
        this: &Resource<BucketHandle>,
        cursor: Option<&str>,
    ) -> Result<KeyPage> {
        let grant = self.allowed_bucket(this, Mode::reads)?;
        let after = match cursor {
            Some(cursor) => cursor.parse().map_err(|_| other("the cursor is not that of a page of keys"))?,
            None => 0,
        };
        let bucket = grant.bucket.clone();
        self.call_bucket(&grant, BucketCall::ListKeys, 1, async move { bucket.list(after, MAX_KEYS).await })
            .await
    }

    pub(super) async fn increment_by(
        &mut self,
        this: &Resource<BucketHandle>,
        key: String,
        delta: i64,
    ) -> Result<i64> {
        let grant = self.allowed_bucket(this, reads_and_writes)?;
        check_keys([&key])?;
        self.count_bucket_written(&grant.alias, key.len() + size_of::<i64>())?;
        let bucket = grant.bucket.clone();
        self.call_bucket(&grant, BucketCall::Increment, 1, async move { bucket.increment(key, delta).await })
            .await
    }

    /// Increments for the draft without negative numbers. A number that became negative through the other draft is an
    /// error, and stays incremented.
    pub(super) async fn increment_unsigned(
        &mut self,
        this: &Resource<BucketHandle>,
        key: String,
        delta: u64,
    ) -> Result<u64> {
        let delta = i64::try_from(delta).map_err(|_| other("the increment does not fit into 63 bits"))?;
        let sum = self.increment_by(this, key, delta).await?;
        u64::try_from(sum).map_err(|_| other("the number is negative"))
    }

    pub(super) async fn new_cas(
        &mut self,
        this: &Resource<BucketHandle>,
        key: String,
    ) -> Result<Resource<CasHandle>> {
        let grant = self.allowed_bucket(this, reads_and_writes)?;
        check_keys([&key])?;
        let version = self.version(&grant, key.clone()).await?;
        Ok(self.table.push(CasHandle { grant, key, version })?)
    }

    /// Returns the current value. From now on the handle stands for it.
    pub(super) async fn current_value(&mut self, cas: &Resource<CasHandle>) -> Result<Option<Vec<u8>>> {
        let CasHandle { grant, key, .. } = self.table.get(cas)?;
        let (grant, key) = (grant.clone(), key.clone());
        let entry = self.entry(&grant, key).await?;
        self.table.get_mut(cas)?.version = entry.as_ref().map(|entry| entry.version);
        Ok(entry.map(|entry| entry.value.into()))
    }

    pub(super) async fn swap_value(&mut self, cas: Resource<CasHandle>, value: Vec<u8>) -> Result<Swapped> {
        let CasHandle { grant, key, version } = self.table.delete(cas)?;
        check_value(&value)?;
        self.count_bucket_written(&grant.alias, key.len() + value.len())?;
        let (bucket, of) = (grant.bucket.clone(), key.clone());
        let swapping = async move { bucket.swap(of, version, value.into()).await };
        match self.call_bucket(&grant, BucketCall::Swap, 1, swapping).await {
            Ok(()) => Ok(Swapped::Done),
            Err(Fault::Error(Error::Changed)) => {
                let version = self.version(&grant, key.clone()).await?;
                Ok(Swapped::Changed(self.table.push(CasHandle { grant, key, version })?))
            }
            Err(fault) => Err(fault),
        }
    }

    async fn entry(&mut self, grant: &BucketGrant, key: String) -> Result<Option<Entry>> {
        let most = MAX_VALUE_BYTES.min(self.config.limits.object_bytes());
        Ok(self.entries(grant, vec![key], most).await?.pop().flatten())
    }

    async fn entries(
        &mut self,
        grant: &BucketGrant,
        keys: Vec<String>,
        max_bytes: usize,
    ) -> Result<Vec<Option<Entry>>> {
        let (number, bucket) = (keys.len(), grant.bucket.clone());
        let reading = async move { bucket.get(keys, max_bytes).await };
        let entries = self.call_bucket(grant, BucketCall::Get, number, reading).await?;
        let bytes: usize = entries.iter().flatten().map(|entry| entry.value.len()).sum();
        self.count_bucket_read(&grant.alias, bytes)?;
        Ok(entries)
    }

    async fn version(&mut self, grant: &BucketGrant, key: String) -> Result<Option<u64>> {
        let bucket = grant.bucket.clone();
        self.call_bucket(grant, BucketCall::Exists, 1, async move { bucket.version(key).await }).await
    }

    /// Returns the grant behind a handle if its mode allows the call.
    fn allowed_bucket(
        &mut self,
        this: &Resource<BucketHandle>,
        allows: fn(Mode) -> bool,
    ) -> Result<BucketGrant> {
        let grant = self.table.get(this)?.0.clone();
        if allows(grant.mode) {
            return Ok(grant);
        }
        let BucketGrant { alias, mode, .. } = &grant;
        let missing = format!(
            "the component makes a call to the key-value bucket {alias:?} that its mode {mode} does not allow: grant it as rw"
        );
        self.not_granted("keyvalue", alias, &format!("its mode is {mode}"), missing);
        Err(Error::AccessDenied.into())
    }

    /// Carries out a call about this number of keys: counts it, and converts its error for the guest. The error's
    /// details go to the operator only.
    async fn call_bucket<T: Send + 'static>(
        &mut self,
        grant: &BucketGrant,
        call: BucketCall,
        keys: usize,
        work: impl Future<Output = std::result::Result<T, KeyValueError>> + Send + 'static,
    ) -> Result<T> {
        let alias = &grant.alias;
        usage_of(&mut self.usage.buckets, alias).calls += keys.max(1) as u64;
        self.check_store_calls()?;
        let answer = self.call(Used { backend: grant.backend(), access: call.access() }, work).await?;
        let result = self.config.calls.bucket_answered(alias, call, &answer);
        self.record_call("bucket", call.as_str(), alias, result);
        let (kind, text, error) = match answer {
            Ok(value) => {
                self.host_succeeded(&grant.backend(), call.access());
                return Ok(value);
            }
            Err(KeyValueError::Unavailable(text)) => {
                let error = Error::Other("the bucket cannot be used now".into());
                (HostErrorKind::Unavailable { reading: None }, text, error)
            }
            Err(KeyValueError::Unusable(text)) => {
                (HostErrorKind::Refused { reading: None }, text, Error::AccessDenied)
            }
            Err(KeyValueError::Changed) => {
                self.host_succeeded(&grant.backend(), call.access());
                return Err(Error::Changed.into());
            }
            Err(error) => return Err(other(error.to_string())),
        };
        self.log.call_failed("keyvalue", alias, &text);
        self.host_failed(&grant.backend(), call.access(), kind, format!("bucket {alias}: {text}"));
        Err(error.into())
    }

    fn count_bucket_read(&mut self, alias: &str, bytes: usize) -> wasmtime::Result<()> {
        self.config.calls.bucket_read(alias, bytes as u64);
        self.usage.bytes_read += bytes as u64;
        usage_of(&mut self.usage.buckets, alias).bytes_read += bytes as u64;
        self.within(self.usage.bytes_read, self.config.limits.read_bytes, Limit::ReadSize)
    }

    fn count_bucket_written(&mut self, alias: &str, bytes: usize) -> wasmtime::Result<()> {
        self.config.calls.bucket_written(alias, bytes as u64);
        self.usage.bytes_written += bytes as u64;
        usage_of(&mut self.usage.buckets, alias).bytes_written += bytes as u64;
        self.within(self.usage.bytes_written, self.config.limits.write_bytes, Limit::WriteSize)
    }
}

fn reads_and_writes(mode: Mode) -> bool {
    mode.reads() && mode.writes()
}

fn check_keys<'a>(keys: impl IntoIterator<Item = &'a String>) -> Result<()> {
    let mut number = 0_usize;
    for key in keys {
        number += 1;
        if number > MAX_KEYS {
            return Err(other(format!("a call has at most {MAX_KEYS} keys")));
        }
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            let bytes = key.len();
            return Err(other(format!("a key has 1 to {MAX_KEY_BYTES} bytes, and this one has {bytes}")));
        }
    }
    Ok(())
}

fn check_value(value: &[u8]) -> Result<()> {
    if value.len() > MAX_VALUE_BYTES {
        let bytes = value.len();
        return Err(other(format!("a value has at most {MAX_VALUE_BYTES} bytes, and this one has {bytes}")));
    }
    Ok(())
}
