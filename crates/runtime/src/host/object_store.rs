//! Objects that the guest reads and writes: check the grant, bound the sizes, delegate.

use super::LimitHit;
use super::bindings::wasmrun::task::object_store::{
    Condition, Error, Host, HostReader, HostStore, HostWriter, Object, ObjectInfo, ObjectPage, ObjectSummary,
    PutOptions,
};
use crate::calls::StoreCall;
use crate::grant::{BadKey, Mode, StoreGrant, check_key};
use crate::limits::{Limit, Limits};
use crate::object_store::{
    self as runtime, Held, MAX_KEY_BYTES, MAX_METADATA_BYTES, MAX_PAGE, ObjectReader, ObjectStore,
    ObjectWriter, StoreError, TooMuch, Transfer,
};
use crate::outcome::shorten;
use crate::state::{TaskState, UnderWay};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use wasmtime::component::Resource;

/// The guest's handle to a granted store.
pub struct StoreHandle(StoreGrant);

/// An object that the guest reads.
pub struct ReaderHandle {
    alias: String,
    holds: Held,
    info: runtime::ObjectInfo,
    /// Not there while a call is under way, and after a failure.
    reader: Option<Box<dyn ObjectReader>>,
}

/// An object that the guest writes.
pub struct WriterHandle {
    alias: String,
    holds: Held,
    key: String,
    /// Not there while a call is under way, and after a failure.
    writer: Option<Box<dyn ObjectWriter>>,
}

/// What a call ends with that doesn't succeed.
pub type Fault = super::Fault<Error>;

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

type Result<T> = std::result::Result<T, Fault>;

impl Host for TaskState {
    fn convert_error(&mut self, fault: Fault) -> wasmtime::Result<Error> {
        fault.told()
    }
}

impl HostStore for TaskState {
    fn open(&mut self, alias: String) -> Result<Resource<StoreHandle>> {
        let Some(grant) = self.config.grants.stores.get(&alias) else {
            self.refuse("store", &shorten(&alias), "no such grant");
            return Err(Error::AccessDenied.into());
        };
        let grant = grant.clone();
        Ok(self.table.push(StoreHandle(grant))?)
    }

    async fn head(
        &mut self,
        this: Resource<StoreHandle>,
        key: String,
        version: Option<String>,
    ) -> Result<ObjectInfo> {
        let StoreGrant { alias, store, .. } = self.granted(&this, Mode::reads, &key)?;
        let version = checked_name(version)?;
        let named = key.clone();
        let answer =
            self.call_store(&alias, async move { store.head(&key, version.as_deref()).await }).await?;
        Ok(self.told(StoreCall::Head, &alias, &named, answer)?.into())
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
        let StoreGrant { alias, store, .. } = self.granted(&this, Mode::reads, &key)?;
        let version = checked_name(version)?;
        let holds = store.reader_holds();
        self.may_open(holds)?;
        let named = key.clone();
        let answer =
            self.call_store(&alias, async move { store.read(&key, version.as_deref(), None).await }).await?;
        let reader = self.told(StoreCall::Read, &alias, &named, answer)?;
        let info = reader.info().clone();
        let handle = self.table.push(ReaderHandle { alias, holds, info, reader: Some(reader) })?;
        self.opened(holds);
        Ok(handle)
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
            .call_store(&alias, async move {
                let mut writer = store.write(&key, options).await?;
                if !content.is_empty() {
                    writer.write(Bytes::from(content)).await?;
                }
                writer.finish().await
            })
            .await?;
        Ok(self.told(StoreCall::Put, &alias, &named, answer)?.into())
    }

    async fn write(
        &mut self,
        this: Resource<StoreHandle>,
        key: String,
        options: PutOptions,
    ) -> Result<Resource<WriterHandle>> {
        let StoreGrant { alias, store, .. } = self.granted(&this, Mode::writes, &key)?;
        let options = checked(options)?;
        let holds = store.writer_holds();
        self.may_open(holds)?;
        let named = key.clone();
        let answer = self.call_store(&alias, async move { store.write(&key, options).await }).await?;
        let writer = self.told(StoreCall::Write, &alias, &named, answer)?;
        let handle = self.table.push(WriterHandle { alias, holds, key: named, writer: Some(writer) })?;
        self.opened(holds);
        Ok(handle)
    }

    async fn list_objects(
        &mut self,
        this: Resource<StoreHandle>,
        prefix: String,
        continuation: Option<String>,
        limit: u32,
    ) -> Result<ObjectPage> {
        // A prefix is the start of a key, and obeys the same rule; an empty one means the whole grant.
        let StoreGrant { alias, store, .. } = match prefix.as_str() {
            "" => self.allowed(&this, Mode::reads)?,
            prefix => self.granted(&this, Mode::reads, prefix.strip_suffix('/').unwrap_or(prefix))?,
        };
        let limit = (limit as usize).clamp(1, MAX_PAGE);
        let continuation = checked_name(continuation)?;
        let named = prefix.clone();
        let answer = self
            .call_store(&alias, async move { store.list(&prefix, continuation.as_deref(), limit).await })
            .await?;
        Ok(self.told(StoreCall::List, &alias, &named, answer)?.into())
    }

    async fn delete(&mut self, this: Resource<StoreHandle>, key: String) -> Result<()> {
        let StoreGrant { alias, store, .. } = self.granted(&this, Mode::writes, &key)?;
        let named = key.clone();
        let answer = self.call_store(&alias, async move { store.delete(&key).await }).await?;
        self.told(StoreCall::Delete, &alias, &named, answer)
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
        let named = key.clone();
        let limits = &self.config.limits;
        let left = (
            limits.read_bytes.saturating_sub(self.usage.bytes_read),
            limits.write_bytes.saturating_sub(self.usage.bytes_written),
        );
        let (from_alias, to_alias) = (from.alias, to.alias);
        let transfer = self.begin(&from_alias, Some(&to_alias), left.0.min(left.1));
        let answer = self
            .call_store(&from_alias, async move {
                let (from, to, version) = (&*from.store, &*to.store, version.as_deref());
                match from.copy(&key, version, to, &to_key, &condition, &transfer).await {
                    Some(answer) => answer,
                    None => stream(from, &key, version, to, &to_key, condition, &transfer).await,
                }
            })
            .await?;
        self.count_transfer()?;
        match self.told(StoreCall::Copy, &from_alias, &named, answer)? {
            Ok(info) => Ok(info.into()),
            Err(TooMuch) => {
                let limit = if left.0 <= left.1 { Limit::ReadSize } else { Limit::WriteSize };
                Err(wasmtime::Error::from(LimitHit(limit)).into())
            }
        }
    }

    async fn drop(&mut self, this: Resource<StoreHandle>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl HostReader for TaskState {
    fn info(&mut self, this: Resource<ReaderHandle>) -> wasmtime::Result<ObjectInfo> {
        Ok(self.table.get(&this)?.info.clone().into())
    }

    async fn read(&mut self, this: Resource<ReaderHandle>, max: u64) -> Result<Vec<u8>> {
        let handle = self.table.get_mut(&this)?;
        let alias = handle.alias.clone();
        let key = handle.info.key.clone();
        let Some(mut reader) = handle.reader.take() else {
            return Err(other("the reader has failed before"));
        };
        let max = usize::try_from(max).unwrap_or(usize::MAX).clamp(1, Limits::READ_BYTES);
        let (reader, answer) = self
            .call_store(&alias, async move {
                let answer = reader.read(max).await;
                (reader, answer)
            })
            .await?;
        let content = self.told(StoreCall::ReaderRead, &alias, &key, answer)?;
        self.table.get_mut(&this)?.reader = Some(reader);
        self.count_read(&alias, content.len() as u64)?;
        Ok(content.into())
    }

    async fn drop(&mut self, this: Resource<ReaderHandle>) -> wasmtime::Result<()> {
        let handle = self.table.delete(this)?;
        self.closed(handle.holds);
        Ok(())
    }
}

impl HostWriter for TaskState {
    async fn write(&mut self, this: Resource<WriterHandle>, content: Vec<u8>) -> Result<()> {
        let handle = self.table.get_mut(&this)?;
        let alias = handle.alias.clone();
        let key = handle.key.clone();
        let Some(mut writer) = handle.writer.take() else {
            return Err(other("the writer has failed before"));
        };
        self.count_written(&alias, content.len() as u64)?;
        let (writer, answer) = self
            .call_store(&alias, async move {
                let answer = writer.write(Bytes::from(content)).await;
                (writer, answer)
            })
            .await?;
        self.told(StoreCall::WriterWrite, &alias, &key, answer)?;
        self.table.get_mut(&this)?.writer = Some(writer);
        Ok(())
    }

    async fn finish(&mut self, this: Resource<WriterHandle>) -> Result<ObjectInfo> {
        let WriterHandle { alias, holds, key, writer } = self.table.delete(this)?;
        self.closed(holds);
        let Some(writer) = writer else {
            return Err(other("the writer has failed before"));
        };
        let answer = self.call_store(&alias, async move { writer.finish().await }).await?;
        Ok(self.told(StoreCall::WriterFinish, &alias, &key, answer)?.into())
    }

    async fn drop(&mut self, this: Resource<WriterHandle>) -> wasmtime::Result<()> {
        let handle = self.table.delete(this)?;
        self.closed(handle.holds);
        Ok(())
    }
}

impl TaskState {
    /// The grant behind a handle, if its mode allows this.
    fn allowed(&mut self, this: &Resource<StoreHandle>, allows: fn(Mode) -> bool) -> Result<StoreGrant> {
        let grant = self.table.get(this)?.0.clone();
        if allows(grant.mode) {
            Ok(grant)
        } else {
            self.refuse("store", &grant.alias, &format!("its mode is {}", grant.mode));
            Err(Error::AccessDenied.into())
        }
    }

    /// The grant behind a handle, if its mode allows this, for a key that lies within it.
    fn granted(
        &mut self,
        this: &Resource<StoreHandle>,
        allows: fn(Mode) -> bool,
        key: &str,
    ) -> Result<StoreGrant> {
        let grant = self.allowed(this, allows)?;
        match check_key(key) {
            Ok(()) => Ok(grant),
            Err(BadKey::Outside) => {
                let key = shorten(key);
                self.refuse("store", &grant.alias, &format!("the key {key:?} may lie outside"));
                Err(Error::AccessDenied.into())
            }
            Err(BadKey::Malformed) => Err(other("a key is 1 to 1,024 bytes, without NUL")),
        }
    }

    /// Ends a guest that opens one reader or writer too many.
    fn may_open(&self, one: Held) -> wasmtime::Result<()> {
        let (held, most) = (self.held, self.config.limits.held());
        if held.bytes + one.bytes > most.bytes || held.files + one.files > most.files {
            return Err(LimitHit(Limit::Handles).into());
        }
        Ok(())
    }

    fn opened(&mut self, one: Held) {
        self.held.bytes += one.bytes;
        self.held.files += one.files;
    }

    fn closed(&mut self, one: Held) {
        self.held.bytes = self.held.bytes.saturating_sub(one.bytes);
        self.held.files = self.held.files.saturating_sub(one.files);
    }

    /// Begins a transfer, which counts from now on.
    fn begin(&mut self, from: &str, to: Option<&str>, most: u64) -> Arc<Transfer> {
        let transfer = Arc::new(Transfer::of_at_most(most));
        let under_way = UnderWay { transfer: transfer.clone(), from: from.into(), to: to.map(str::to_owned) };
        self.under_way = Some(under_way);
        transfer
    }

    /// Reads an object, or a range of one, as a whole.
    async fn fetch(
        &mut self,
        call: StoreCall,
        this: Resource<StoreHandle>,
        key: String,
        version: Option<String>,
        range: Option<Range<u64>>,
    ) -> Result<(runtime::ObjectInfo, Vec<u8>)> {
        let StoreGrant { alias, store, .. } = self.granted(&this, Mode::reads, &key)?;
        let max = self.config.limits.object_bytes();
        let version = checked_name(version)?;
        let named = key.clone();
        let transfer = self.begin(&alias, None, u64::MAX);
        let answer = self
            .call_store(&alias, async move {
                let mut reader = store.read(&key, version.as_deref(), range.clone()).await?;
                let info = reader.info().clone();
                let size = match range {
                    Some(range) => range.end.min(info.size).saturating_sub(range.start),
                    None => info.size,
                };
                let too_large = || StoreError::TooLarge(format!("it has more than {max} bytes"));
                let size = usize::try_from(size).ok().filter(|&size| size <= max).ok_or_else(too_large)?;
                let mut content = Vec::with_capacity(size);
                loop {
                    let bytes = reader.read(Limits::READ_BYTES).await?;
                    if bytes.is_empty() {
                        return Ok((info, content));
                    }
                    // It's no more than all that there is.
                    let _ = transfer.moves(bytes.len() as u64);
                    // It may have grown since it was opened.
                    if content.len() + bytes.len() > max {
                        return Err(too_large());
                    }
                    content.extend_from_slice(&bytes);
                }
            })
            .await?;
        self.count_transfer()?;
        self.told(call, &alias, &named, answer)
    }

    /// What the guest is told of a failure; the details are the operator's.
    fn told<T>(
        &mut self,
        call: StoreCall,
        alias: &str,
        key: &str,
        answer: std::result::Result<T, StoreError>,
    ) -> Result<T> {
        self.config.calls.answered(alias, call, &answer);
        let error = match answer {
            Ok(value) => {
                self.host_succeeded(alias);
                return Ok(value);
            }
            Err(error) => error,
        };
        let details = || format!("{:?}: {error}", shorten(key));
        Err(match error {
            StoreError::NotFound => Error::NotFound,
            StoreError::PreconditionFailed => Error::PreconditionFailed,
            StoreError::TooLarge(_) => Error::TooLarge,
            StoreError::AccessDenied(_) => {
                self.log.note("store", alias, &details());
                Error::AccessDenied
            }
            StoreError::Unavailable(_) => {
                self.log.note("store", alias, &details());
                self.host_failed(alias, format!("store {alias}: {error}"));
                Error::Unavailable
            }
            // The task may be tried again, which counts as any other try.
            StoreError::Conflict(_) => {
                self.log.note("store", alias, &details());
                Error::Unavailable
            }
            StoreError::Invalid(text) => Error::Other(text),
        }
        .into())
    }
}

/// Copies through this process what no store can copy within itself.
async fn stream(
    from: &dyn ObjectStore,
    key: &str,
    version: Option<&str>,
    to: &dyn ObjectStore,
    to_key: &str,
    condition: runtime::Condition,
    transfer: &Transfer,
) -> std::result::Result<std::result::Result<runtime::ObjectInfo, TooMuch>, StoreError> {
    let mut reader = from.read(key, version, None).await?;
    let info = reader.info();
    let options = runtime::PutOptions {
        content_type: info.content_type.clone(),
        metadata: info.metadata.clone(),
        condition,
    };
    let mut writer = to.write(to_key, options).await?;
    loop {
        let bytes = reader.read(Limits::READ_BYTES).await?;
        if bytes.is_empty() {
            return writer.finish().await.map(Ok);
        }
        if let Err(too_much) = transfer.moves(bytes.len() as u64) {
            return Ok(Err(too_much));
        }
        writer.write(bytes).await?;
    }
}

fn other(text: &str) -> Fault {
    Error::Other(text.to_owned()).into()
}

/// Takes only what every store can keep: S3 carries content type and metadata in HTTP headers.
fn checked(options: PutOptions) -> Result<runtime::PutOptions> {
    let printable = |text: &str| text.bytes().all(|b| matches!(b, b' '..=b'~'));
    if let Some(content_type) = &options.content_type
        && (content_type.is_empty() || content_type.len() > 256 || !printable(content_type))
    {
        return Err(other("a content type is 1 to 256 printable ASCII characters"));
    }
    // First of all, so that what follows looks at no more than a few entries, however many a guest hands over.
    let mut total = 0;
    for (name, value) in &options.metadata {
        total += name.len() + value.len();
        if name.is_empty() || total > MAX_METADATA_BYTES {
            return Err(other(
                "metadata is at most 2,048 bytes, names and values together, and no name is empty",
            ));
        }
    }
    for (index, (name, value)) in options.metadata.iter().enumerate() {
        let well_formed = name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'));
        if !well_formed || !printable(value) || value.trim() != value {
            return Err(other(
                "metadata is names of a-z, 0-9, '-', '_' and '.' with values of printable ASCII, without spaces around them",
            ));
        }
        if options.metadata[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(other("a name of the metadata is given twice"));
        }
    }
    Ok(runtime::PutOptions {
        content_type: options.content_type,
        metadata: options.metadata,
        condition: checked_condition(options.condition)?,
    })
}

/// A condition that a store can be asked for. No object has an etag that couldn't be in an HTTP header.
fn checked_condition(condition: Condition) -> Result<runtime::Condition> {
    let is_etag = |etag: &str| {
        (1..=MAX_KEY_BYTES).contains(&etag.len()) && etag.bytes().all(|b| b.is_ascii_graphic() && b != b'"')
    };
    match condition {
        Condition::Always => Ok(runtime::Condition::Always),
        Condition::IfAbsent => Ok(runtime::Condition::IfAbsent),
        Condition::IfMatch(etag) if is_etag(&etag) => Ok(runtime::Condition::IfMatch(etag)),
        Condition::IfMatch(_) => Err(Error::PreconditionFailed.into()),
    }
}

/// A version or a continuation that a store can be asked for: S3 has none that are longer.
fn checked_name(name: Option<String>) -> Result<Option<String>> {
    match name {
        Some(name) if name.len() > MAX_KEY_BYTES => {
            Err(other("a version or a continuation is at most 1,024 bytes"))
        }
        name => Ok(name),
    }
}

fn millis(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

impl From<runtime::ObjectInfo> for ObjectInfo {
    fn from(info: runtime::ObjectInfo) -> Self {
        Self {
            key: info.key,
            size: info.size,
            etag: info.etag,
            version: info.version,
            content_type: info.content_type,
            metadata: info.metadata,
            modified_at: info.modified_at.map(millis),
        }
    }
}

impl From<runtime::ObjectPage> for ObjectPage {
    fn from(page: runtime::ObjectPage) -> Self {
        let summary = |object: runtime::ObjectSummary| ObjectSummary {
            key: object.key,
            size: object.size,
            etag: object.etag,
            modified_at: object.modified_at.map(millis),
        };
        Self { objects: page.objects.into_iter().map(summary).collect(), continuation: page.continuation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(metadata: Vec<(String, String)>) -> PutOptions {
        PutOptions { content_type: None, metadata, condition: Condition::Always }
    }

    #[test]
    fn metadata_of_a_million_names_is_refused_without_comparing_them() {
        let names = (0..1_000_000).map(|n| (format!("{n}"), String::new())).collect();
        assert!(checked(put(names)).is_err());
        assert!(checked(put(vec![(String::new(), String::new()); 1_000_000])).is_err());
    }

    #[test]
    fn metadata_that_http_headers_cannot_carry_is_refused() {
        let one = |name: &str, value: &str| checked(put(vec![(name.into(), value.into())])).is_ok();
        assert!(one("a-b_c.1", "some text"));
        for (name, value) in [("A", "x"), ("a b", "x"), ("a", "ü"), ("a", "x\n"), ("a", " x")] {
            assert!(!one(name, value), "{name:?}: {value:?}");
        }
        assert!(checked(put(vec![("a".into(), "1".into()), ("a".into(), "2".into())])).is_err());
    }
}
