//! Readers and writers that a guest holds open, and what they may hold of the host together.

use super::Result;
use super::values::other;
use crate::model::limits::{Footprint, Limit, Limits};
use crate::ports::object_store::{self as runtime, ObjectReader, ObjectWriter};
use crate::task::calls::StoreCall;
use crate::task::host::LimitHit;
use crate::task::host::bindings::wasmrun::task::object_store::{HostReader, HostWriter, ObjectInfo};
use crate::task::store::TaskState;
use bytes::Bytes;
use wasmtime::component::Resource;

/// A guest's handle to an object that it reads.
pub struct ReaderHandle {
    pub(super) alias: String,
    pub(super) holds: Footprint,
    pub(super) info: runtime::ObjectInfo,
    /// `None` during a call and after a failure.
    pub(super) reader: Option<Box<dyn ObjectReader>>,
}

/// A guest's handle to an object that it writes.
pub struct WriterHandle {
    pub(super) alias: String,
    pub(super) holds: Footprint,
    pub(super) key: String,
    /// `None` during a call and after a failure.
    pub(super) writer: Option<Box<dyn ObjectWriter>>,
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
        let content = self.answered(StoreCall::ReaderRead, &alias, &key, answer)?;
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
        self.answered(StoreCall::WriterWrite, &alias, &key, answer)?;
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
        Ok(self.answered(StoreCall::WriterFinish, &alias, &key, answer)?.into())
    }

    async fn drop(&mut self, this: Resource<WriterHandle>) -> wasmtime::Result<()> {
        let handle = self.table.delete(this)?;
        self.closed(handle.holds);
        Ok(())
    }
}

impl TaskState {
    /// Ends a task that opens more readers and writers than its limits allow.
    pub(super) fn may_open(&self, one: Footprint) -> wasmtime::Result<()> {
        let (held, most) = (self.held, self.config.limits.held());
        if held.bytes + one.bytes > most.bytes || held.files + one.files > most.files {
            return Err(LimitHit(Limit::Handles).into());
        }
        Ok(())
    }

    pub(crate) fn opened(&mut self, one: Footprint) {
        self.held.bytes += one.bytes;
        self.held.files += one.files;
    }

    fn closed(&mut self, one: Footprint) {
        self.held.bytes = self.held.bytes.saturating_sub(one.bytes);
        self.held.files = self.held.files.saturating_sub(one.files);
    }
}
