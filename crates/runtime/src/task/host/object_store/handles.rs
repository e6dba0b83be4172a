//! Readers and writers that a guest holds open, and what they may hold of the host together.

use super::Result;
use super::values::other;
use crate::model::limits::Limits;
use crate::ports::object_store::{self as runtime, ObjectReader, ObjectWriter};
use crate::task::calls::StoreCall;
use crate::task::holds::Hold;
use crate::task::host::bindings::wasmrun::task::object_store::{HostReader, HostWriter, ObjectInfo};
use crate::task::store::TaskState;
use bytes::Bytes;
use wasmtime::component::Resource;

/// A guest's handle to an object that it reads.
pub struct ReaderHandle {
    pub(super) alias: String,
    #[expect(dead_code, reason = "it is returned when it is dropped")]
    pub(super) hold: Hold,
    pub(super) info: runtime::ObjectInfo,
    /// `None` during a call and after a failure.
    pub(super) reader: Option<Box<dyn ObjectReader>>,
}

/// A guest's handle to an object that it writes.
pub struct WriterHandle {
    pub(super) alias: String,
    pub(super) hold: Hold,
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
            .call_store(StoreCall::ReaderRead, &alias, async move {
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
        self.table.delete(this)?;
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
            .call_store(StoreCall::WriterWrite, &alias, async move {
                let answer = writer.write(Bytes::from(content)).await;
                (writer, answer)
            })
            .await?;
        self.answered(StoreCall::WriterWrite, &alias, &key, answer)?;
        self.table.get_mut(&this)?.writer = Some(writer);
        Ok(())
    }

    async fn finish(&mut self, this: Resource<WriterHandle>) -> Result<ObjectInfo> {
        let WriterHandle { alias, hold, key, writer } = self.table.delete(this)?;
        drop(hold);
        let Some(writer) = writer else {
            return Err(other("the writer has failed before"));
        };
        let answer =
            self.call_store(StoreCall::WriterFinish, &alias, async move { writer.finish().await }).await?;
        let info = self.answered(StoreCall::WriterFinish, &alias, &key, answer)?;
        Ok(self.wrote(&alias, info).into())
    }

    async fn drop(&mut self, this: Resource<WriterHandle>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
