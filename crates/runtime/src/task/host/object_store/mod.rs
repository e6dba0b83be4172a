//! Host functions with which a guest reads and writes objects: they check grants and sizes, and delegate to the store.

mod errors;
mod handles;
mod transfer;
mod values;

pub(crate) use self::errors::{StreamFailed, error_of, failed_operation, in_words};
pub use self::handles::{ReaderHandle, WriterHandle};
pub(super) use self::transfer::drain;
use self::values::{checked, checked_condition, checked_name, other};
pub(crate) use super::bindings::wasmrun::task::object_store::Error;
use super::bindings::wasmrun::task::object_store::{
    Condition, Host, HostStore, Object, ObjectInfo, ObjectPage, PutOptions,
};
use super::{LimitHit, listed};
use crate::model::host_error::{Access, HostErrorKind};
use crate::model::outcome::shorten;
use crate::ports::object_store::{self as runtime, MAX_PAGE, ObjectReader, ObjectWriter, StoreError};
use crate::task::calls::StoreCall;
use crate::task::grant::{BadKey, Mode, StoreGrant, check_key, check_prefix};
use crate::task::holds::Hold;
use crate::task::store::TaskState;
use bytes::Bytes;
use std::ops::Range;
use wasmtime::component::Resource;

/// A guest's handle to a granted store.
pub struct StoreHandle(pub(super) StoreGrant);

/// Failure of a call to a store.
pub type Fault = super::Fault<Error>;

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

type Result<T> = std::result::Result<T, Fault>;

impl Host for TaskState {
    fn convert_error(&mut self, fault: Fault) -> wasmtime::Result<Error> {
        fault.into_guest_error()
    }
}

impl HostStore for TaskState {
    fn open(&mut self, alias: String) -> Result<Resource<StoreHandle>> {
        let grant = self.store_named(&alias)?;
        Ok(self.table.push(StoreHandle(grant))?)
    }

    async fn head(
        &mut self,
        this: Resource<StoreHandle>,
        key: String,
        version: Option<String>,
    ) -> Result<ObjectInfo> {
        let grant = self.granted(&this, Mode::reads, &key)?;
        let version = checked_name(version)?;
        Ok(self.head_of(grant, key, version).await?.into())
    }

    async fn get(
        &mut self,
        this: Resource<StoreHandle>,
        key: String,
        version: Option<String>,
    ) -> Result<Object> {
        let (info, content) = self.fetch(StoreCall::Get, this, key, version, None).await?;
        Ok(Object { info: info.into(), content })
    }

    async fn get_range(
        &mut self,
        this: Resource<StoreHandle>,
        key: String,
        version: Option<String>,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>> {
        let range = offset..offset.saturating_add(length);
        let (_, content) = self.fetch(StoreCall::GetRange, this, key, version, Some(range)).await?;
        Ok(content)
    }

    async fn read(
        &mut self,
        this: Resource<StoreHandle>,
        key: String,
        version: Option<String>,
    ) -> Result<Resource<ReaderHandle>> {
        let grant = self.granted(&this, Mode::reads, &key)?;
        let alias = grant.alias.clone();
        let version = checked_name(version)?;
        let (reader, hold) = self.open_reader(grant, key, version, None).await?;
        let info = reader.info().clone();
        Ok(self.table.push(ReaderHandle { alias, hold, info, reader: Some(reader) })?)
    }

    async fn put(
        &mut self,
        this: Resource<StoreHandle>,
        key: String,
        content: Vec<u8>,
        options: PutOptions,
    ) -> Result<ObjectInfo> {
        let StoreGrant { alias, store, .. } = self.granted(&this, Mode::writes, &key)?;
        if content.len() > self.config.limits.object_bytes() {
            return Err(Error::TooLarge.into());
        }
        let options = checked(options)?;
        self.count_written(&alias, content.len() as u64)?;
        let named = key.clone();
        let answer = self
            .call_store(StoreCall::Put, &alias, async move {
                let mut writer = store.write(&key, options).await?;
                if !content.is_empty() {
                    writer.write(Bytes::from(content)).await?;
                }
                writer.finish().await
            })
            .await?;
        let info = self.answered(StoreCall::Put, &alias, &named, answer)?;
        Ok(self.wrote(&alias, info).into())
    }

    async fn write(
        &mut self,
        this: Resource<StoreHandle>,
        key: String,
        options: PutOptions,
    ) -> Result<Resource<WriterHandle>> {
        let grant = self.granted(&this, Mode::writes, &key)?;
        let alias = grant.alias.clone();
        let options = checked(options)?;
        let (writer, hold) = self.open_writer(grant, key.clone(), options).await?;
        Ok(self.table.push(WriterHandle { alias, hold, key, writer: Some(writer) })?)
    }

    async fn list_objects(
        &mut self,
        this: Resource<StoreHandle>,
        prefix: String,
        continuation: Option<String>,
        limit: u32,
    ) -> Result<ObjectPage> {
        let grant = self.allowed(&this, Mode::reads)?;
        let grant = self.checked_by(check_prefix, "prefix", grant, &prefix)?;
        let limit = (limit as usize).min(MAX_PAGE);
        let continuation = checked_name(continuation)?;
        if limit == 0 {
            return Ok(runtime::ObjectPage::default().into());
        }
        Ok(self.list_page(grant, prefix, continuation, limit).await?.into())
    }

    async fn delete(&mut self, this: Resource<StoreHandle>, key: String) -> Result<()> {
        let grant = self.granted(&this, Mode::writes, &key)?;
        self.delete_from(grant, key).await
    }

    async fn copy(
        &mut self,
        this: Resource<StoreHandle>,
        key: String,
        version: Option<String>,
        to: Resource<StoreHandle>,
        to_key: String,
        condition: Condition,
    ) -> Result<ObjectInfo> {
        let from = self.granted(&this, Mode::reads, &key)?;
        let to = self.granted(&to, Mode::writes, &to_key)?;
        let (version, condition) = (checked_name(version)?, checked_condition(condition)?);
        self.copy_between(from, key, version, to, to_key, condition).await
    }

    async fn drop(&mut self, this: Resource<StoreHandle>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

/// Calls to a store that is granted: the interfaces, which differ in what they call it, check and then call these.
impl TaskState {
    /// Returns the grant of a store.
    pub(super) fn store_named(&mut self, alias: &str) -> Result<StoreGrant> {
        let stores = &self.config.grants.stores;
        if let Some(grant) = stores.get(alias) {
            return Ok(grant.clone());
        }
        let granted = listed(stores.values().map(|grant| format!("{}:{}", grant.alias, grant.mode)));
        let missing = format!(
            "the component opens the store {alias:?}, which is not granted: add --store {alias}=URL:MODE (granted: {granted})",
            alias = shorten(alias)
        );
        self.not_granted("store", alias, "no such grant", missing);
        Err(Error::AccessDenied.into())
    }

    /// Returns an object's metadata.
    pub(super) async fn head_of(
        &mut self,
        grant: StoreGrant,
        key: String,
        version: Option<String>,
    ) -> Result<runtime::ObjectInfo> {
        let StoreGrant { alias, store, .. } = grant;
        let named = key.clone();
        let answer = self
            .call_store(StoreCall::Head, &alias, async move { store.head(&key, version.as_deref()).await })
            .await?;
        self.answered(StoreCall::Head, &alias, &named, answer)
    }

    /// Lists a page of objects.
    pub(super) async fn list_page(
        &mut self,
        grant: StoreGrant,
        prefix: String,
        continuation: Option<String>,
        limit: usize,
    ) -> Result<runtime::ObjectPage> {
        let StoreGrant { alias, store, .. } = grant;
        let named = prefix.clone();
        let answer = self
            .call_store(StoreCall::List, &alias, async move {
                store.list(&prefix, continuation.as_deref(), limit).await
            })
            .await?;
        self.answered(StoreCall::List, &alias, &named, answer)
    }

    /// Deletes an object.
    pub(super) async fn delete_from(&mut self, grant: StoreGrant, key: String) -> Result<()> {
        let StoreGrant { alias, store, .. } = grant;
        let named = key.clone();
        let answer =
            self.call_store(StoreCall::Delete, &alias, async move { store.delete(&key).await }).await?;
        self.answered(StoreCall::Delete, &alias, &named, answer)?;
        self.deleted(&alias, &named);
        Ok(())
    }

    /// Opens an object or a range of it for reading. Returns the reader and what it holds.
    pub(crate) async fn open_reader(
        &mut self,
        grant: StoreGrant,
        key: String,
        version: Option<String>,
        range: Option<Range<u64>>,
    ) -> Result<(Box<dyn ObjectReader>, Hold)> {
        let StoreGrant { alias, store, .. } = grant;
        let hold = self.held.take(store.reader_holds())?;
        let named = key.clone();
        let answer =
            self.call_store(StoreCall::Read, &alias, async move {
                store.read(&key, version.as_deref(), range).await
            })
            .await?;
        Ok((self.answered(StoreCall::Read, &alias, &named, answer)?, hold))
    }

    /// Opens an object for writing. Returns the writer and what it holds.
    pub(crate) async fn open_writer(
        &mut self,
        grant: StoreGrant,
        key: String,
        options: runtime::PutOptions,
    ) -> Result<(Box<dyn ObjectWriter>, Hold)> {
        let StoreGrant { alias, store, .. } = grant;
        let hold = self.held.take(store.writer_holds())?;
        let named = key.clone();
        let answer = self
            .call_store(StoreCall::Write, &alias, async move { store.write(&key, options).await })
            .await?;
        Ok((self.answered(StoreCall::Write, &alias, &named, answer)?, hold))
    }

    /// Returns the grant behind a handle if its mode allows the call.
    pub(super) fn allowed(
        &mut self,
        this: &Resource<StoreHandle>,
        allows: fn(Mode) -> bool,
    ) -> Result<StoreGrant> {
        let grant = self.table.get(this)?.0.clone();
        self.of_mode(grant, allows)
    }

    /// Returns a grant if its mode allows the call.
    fn of_mode(&mut self, grant: StoreGrant, allows: fn(Mode) -> bool) -> Result<StoreGrant> {
        if allows(grant.mode) {
            return Ok(grant);
        }
        let StoreGrant { alias, mode, .. } = &grant;
        let missing = format!(
            "the component {does} the store {alias:?}, which is granted as {mode}: grant it as {wanted} or rw",
            does = if mode.reads() { "writes to" } else { "reads from" },
            wanted = if mode.reads() { "wo" } else { "ro" },
        );
        self.not_granted("store", alias, &format!("its mode is {mode}"), missing);
        Err(Error::AccessDenied.into())
    }

    /// Returns the grant behind a handle if its mode allows the call and the key is valid.
    pub(super) fn granted(
        &mut self,
        this: &Resource<StoreHandle>,
        allows: fn(Mode) -> bool,
        key: &str,
    ) -> Result<StoreGrant> {
        let grant = self.table.get(this)?.0.clone();
        self.for_key(grant, allows, key)
    }

    /// Returns a grant if its mode allows the call and the key is valid.
    pub(super) fn for_key(
        &mut self,
        grant: StoreGrant,
        allows: fn(Mode) -> bool,
        key: &str,
    ) -> Result<StoreGrant> {
        let grant = self.of_mode(grant, allows)?;
        self.checked_by(check_key, "key", grant, key)
    }

    /// Returns the grant if `check` accepts the key or prefix.
    fn checked_by(
        &mut self,
        check: fn(&str) -> std::result::Result<(), BadKey>,
        what: &str,
        grant: StoreGrant,
        key: &str,
    ) -> Result<StoreGrant> {
        match check(key) {
            Ok(()) => Ok(grant),
            Err(BadKey::Climbs) => {
                let key = shorten(key);
                self.refuse("store", &grant.alias, &format!("the {what} {key:?} has a `..` segment"));
                Err(Error::AccessDenied.into())
            }
            Err(bad) => Err(other(&format!("the {what} cannot be used: {bad}"))),
        }
    }

    /// Records the answer of a call and converts its error for the guest; the error's details go to the operator only.
    pub(crate) fn answered<T>(
        &mut self,
        call: StoreCall,
        alias: &str,
        key: &str,
        answer: std::result::Result<T, StoreError>,
    ) -> Result<T> {
        let result = self.config.calls.answered(alias, call, &answer);
        self.record_call("store", call.as_str(), alias, result);
        match answer {
            Ok(value) => {
                self.host_succeeded(alias, call.access());
                if call.opens_content() {
                    self.config.calls.has_read(alias, &self.config.grants.whole_key(alias, key));
                }
                Ok(value)
            }
            Err(error) => Err(self.store_failed(alias, call.access(), key, &error)),
        }
    }

    /// Records a failed call to a store, and returns the error for the guest.
    fn store_failed(&mut self, alias: &str, access: Access, key: &str, error: &StoreError) -> Fault {
        let details = || format!("{:?}: {error}", shorten(key));
        let reading = (access == Access::Read).then(|| self.config.grants.whole_key(alias, key));
        let text = || format!("store {alias}: {error}");
        match error {
            StoreError::AccessDenied(_) => {
                self.log.call_failed("store", alias, &details());
                self.host_failed(alias, access, HostErrorKind::Refused { reading }, text());
            }
            StoreError::Unavailable(_) => {
                self.log.call_failed("store", alias, &details());
                self.host_failed(alias, access, HostErrorKind::Unavailable { reading }, text());
            }
            // The message's own key is refused. And after a conflict the message may be retried, which counts like any other
            // retry.
            StoreError::KeyDenied(_) | StoreError::Conflict(_) => {
                self.log.call_failed("store", alias, &details())
            }
            StoreError::NotFound
            | StoreError::PreconditionFailed
            | StoreError::TooLarge(_)
            | StoreError::Invalid(_) => {}
        }
        error_of(error).into()
    }
}
