//! Whole objects that are read for the guest, or copied.

use super::values::checked_name;
use super::{LimitHit, ObjectInfo, Result, StoreHandle};
use crate::model::host_error::Access;
use crate::model::limits::{Limit, Limits};
use crate::ports::object_store::{self as runtime, ObjectReader, StoreError, TooMuch, Transfer};
use crate::task::calls::StoreCall;
use crate::task::grant::{Mode, StoreGrant};
use crate::task::store::{TaskState, UnderWay};
use std::ops::Range;
use std::sync::Arc;
use wasmtime::component::Resource;

impl TaskState {
    /// Begins a transfer, whose bytes are counted when the call ends.
    pub(in crate::task::host) fn begin(&mut self, from: &str, to: Option<&str>, most: u64) -> Arc<Transfer> {
        let transfer = Arc::new(Transfer::of_at_most(most));
        let under_way = UnderWay { transfer: transfer.clone(), from: from.into(), to: to.map(str::to_owned) };
        self.under_way = Some(under_way);
        transfer
    }

    /// Reads a whole object, or a range of one.
    pub(super) async fn fetch(
        &mut self,
        call: StoreCall,
        this: Resource<StoreHandle>,
        key: String,
        version: Option<String>,
        range: Option<Range<u64>>,
    ) -> Result<(runtime::ObjectInfo, Vec<u8>)> {
        let grant = self.granted(&this, Mode::reads, &key)?;
        let version = checked_name(version)?;
        self.fetch_from(call, grant, key, version, range).await
    }

    /// Reads a whole object, or a range of one, from a store that may be read.
    pub(in crate::task::host) async fn fetch_from(
        &mut self,
        call: StoreCall,
        grant: StoreGrant,
        key: String,
        version: Option<String>,
        range: Option<Range<u64>>,
    ) -> Result<(runtime::ObjectInfo, Vec<u8>)> {
        let StoreGrant { alias, store, .. } = grant;
        let max = self.config.limits.object_bytes();
        let named = key.clone();
        let transfer = self.begin(&alias, None, u64::MAX);
        let answer = self
            .call_store(call, &alias, async move {
                let mut reader = store.read(&key, version.as_deref(), range.clone()).await?;
                let info = reader.info().clone();
                let size = match range {
                    Some(range) => range.end.min(info.size).saturating_sub(range.start),
                    None => info.size,
                };
                Ok((info, drain(&mut *reader, size, max, &transfer).await?))
            })
            .await?;
        self.count_transfer()?;
        self.answered(call, &alias, &named, answer)
    }

    /// Copies an object from a store that may be read to one that may be written.
    pub(in crate::task::host) async fn copy_between(
        &mut self,
        from: StoreGrant,
        key: String,
        version: Option<String>,
        to: StoreGrant,
        to_key: String,
        condition: runtime::Condition,
    ) -> Result<ObjectInfo> {
        let limits = &self.config.limits;
        let left = (
            limits.read_bytes.saturating_sub(self.usage.bytes_read),
            limits.write_bytes.saturating_sub(self.usage.bytes_written),
        );
        let (from_alias, to_alias) = (from.alias, to.alias);
        let (named, to_named) = (key.clone(), to_key.clone());
        let transfer = self.begin(&from_alias, Some(&to_alias), left.0.min(left.1));
        let progress = transfer.clone();
        let answer = self
            .call_store(StoreCall::Copy, &from_alias, async move {
                let (from, to, version) = (&*from.store, &*to.store, version.as_deref());
                from.copy(&key, version, to, &to_key, &condition, &transfer).await
            })
            .await?;
        self.count_transfer()?;
        let result = self.config.calls.answered(&from_alias, StoreCall::Copy, &answer);
        self.record_call("store", StoreCall::Copy.as_str(), &from_alias, result);
        match answer {
            Ok(Ok(info)) => {
                self.host_succeeded(&from_alias, Access::Read);
                self.host_succeeded(&to_alias, Access::Write);
                Ok(self.wrote(&to_alias, info).into())
            }
            Ok(Err(TooMuch)) => {
                let limit = if left.0 <= left.1 { Limit::ReadSize } else { Limit::WriteSize };
                Err(wasmtime::Error::from(LimitHit(limit)).into())
            }
            Err(error) => Err(match progress.access() {
                Access::Write => self.store_failed(&to_alias, Access::Write, &to_named, &error),
                access => self.store_failed(&from_alias, access, &named, &error),
            }),
        }
    }
}

/// Reads what is left of an object, `size` bytes if it hasn't changed, but at most `max`.
pub(in crate::task::host) async fn drain(
    reader: &mut dyn ObjectReader,
    size: u64,
    max: usize,
    transfer: &Transfer,
) -> std::result::Result<Vec<u8>, StoreError> {
    let too_large = || StoreError::TooLarge(format!("it has more than {max} bytes"));
    let size = usize::try_from(size).ok().filter(|&size| size <= max).ok_or_else(too_large)?;
    let mut content = Vec::with_capacity(size);
    loop {
        let bytes = reader.read(Limits::READ_BYTES).await?;
        if bytes.is_empty() {
            return Ok(content);
        }
        // Can't fail: this transfer has no limit of its own.
        let _ = transfer.moves(bytes.len() as u64);
        // The object may have grown since it was opened.
        if content.len() + bytes.len() > max {
            return Err(too_large());
        }
        content.extend_from_slice(&bytes);
    }
}
