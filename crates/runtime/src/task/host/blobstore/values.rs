//! Contents of objects on their way to and from a guest.

use super::bindings::wasi::blobstore::types::{Host, HostIncomingValue, HostOutgoingValue};
use super::{Told, told};
use crate::ports::object_store::ObjectReader;
use crate::task::calls::StoreCall;
use crate::task::host::object_store::{Error, drain};
use crate::task::store::TaskState;
use crate::task::stream::{End, Input, Output, STREAM_BYTES};
use wasmtime::Result;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

/// A content that becomes an object when it is finished.
pub struct OutgoingValue {
    pub(super) output: Output,
    has_body: bool,
}

/// An opened object, or a part of one, that the guest hasn't begun to read.
pub struct IncomingValue {
    pub(super) reader: End<Box<dyn ObjectReader>>,
    pub(super) size: u64,
}

impl Host for TaskState {}

impl HostOutgoingValue for TaskState {
    async fn new_outgoing_value(&mut self) -> Result<Resource<OutgoingValue>> {
        let output = Output::awaiting(self.held.take_bytes(STREAM_BYTES)?);
        Ok(self.table.push(OutgoingValue { output, has_body: false })?)
    }

    async fn outgoing_value_write_body(
        &mut self,
        this: Resource<OutgoingValue>,
    ) -> Result<std::result::Result<Resource<DynOutputStream>, ()>> {
        let value = self.table.get_mut(&this)?;
        if std::mem::replace(&mut value.has_body, true) {
            return Ok(Err(()));
        }
        let stream: DynOutputStream = Box::new(value.output.clone());
        Ok(Ok(self.table.push_child(stream, &this)?))
    }

    /// Makes the object visible. A guest that still has the stream of the value is ended, as the draft says.
    async fn finish(&mut self, this: Resource<OutgoingValue>) -> Told<()> {
        let value = self.table.delete(this)?;
        let Some(output) = value.output.take() else {
            return Ok(Err("nothing is written: write-data did not name an object".into()));
        };
        told(self.complete(output).await)
    }

    /// A value that isn't finished leaves nothing.
    async fn drop(&mut self, this: Resource<OutgoingValue>) -> Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl HostIncomingValue for TaskState {
    async fn incoming_value_consume_sync(&mut self, this: Resource<IncomingValue>) -> Told<Vec<u8>> {
        let IncomingValue { reader, size } = self.table.delete(this)?;
        let End { name, end: mut reader, hold } = reader;
        let max = self.config.limits.object_bytes();
        if size > max as u64 {
            let text = format!("the content has more than {max} bytes: read it as a stream");
            return told(Err(Error::Other(text).into()));
        }
        let transfer = self.begin(&name.alias, None, u64::MAX);
        let answer = self
            .call_store(StoreCall::ReaderRead, &name.alias, async move {
                drain(&mut *reader, size, max, &transfer).await
            })
            .await?;
        drop(hold);
        self.count_transfer()?;
        told(self.answered(StoreCall::ReaderRead, &name.alias, &name.key, answer))
    }

    async fn incoming_value_consume_async(
        &mut self,
        this: Resource<IncomingValue>,
    ) -> Told<Resource<DynInputStream>> {
        let value = self.table.delete(this)?;
        let hold = self.held.take_bytes(STREAM_BYTES)?;
        let input = Input::default();
        input.connect(&self.streams, value.reader, hold);
        let stream: DynInputStream = Box::new(input);
        Ok(Ok(self.table.push(stream)?))
    }

    async fn size(&mut self, this: Resource<IncomingValue>) -> Result<u64> {
        Ok(self.table.get(&this)?.size)
    }

    async fn drop(&mut self, this: Resource<IncomingValue>) -> Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
