//! The streams of open files: of objects that are read, and of files that are written.

use super::descriptor::Descriptor;
use super::lookup::Found;
use super::types::ErrorCode;
use super::{FILE_BYTES, Fault, PIECE_BYTES, Result, of_store};
use crate::ports::object_store::ObjectInfo;
use crate::task::store::TaskState;
use crate::task::stream::{End, Input, Name, Output};
use std::sync::Arc;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::StreamError;

impl TaskState {
    /// Returns the content of a file that is being written.
    pub(super) fn output(&self, this: &Resource<Descriptor>) -> Result<Output> {
        match self.table.get(this)? {
            Descriptor { path, found: Found::Written } => {
                Ok(self.files.output(path).ok_or(ErrorCode::BadDescriptor)?)
            }
            Descriptor { found: Found::Directory, .. } => Err(ErrorCode::IsDirectory.into()),
            _ => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    /// Opens a stream of an object's content. It's independent of the file's other streams and of the descriptor, and
    /// holds its own part of what the task may hold.
    pub(super) async fn stream(&mut self, this: &Resource<Descriptor>, offset: u64) -> Result<Input> {
        let Descriptor { found: Found::Object(directory, info), .. } = self.table.get(this)? else {
            return Err(ErrorCode::BadDescriptor.into());
        };
        let (directory, info) = (directory.clone(), info.clone());
        let grant = self.grant(&directory)?;
        let file = self.held.take_bytes(FILE_BYTES)?;
        let name = Name::new(grant.alias.clone(), info.key.clone(), None);
        let range = (offset > 0).then_some(offset..info.size);
        let opened = self.open_reader(grant, info.key, info.version, range).await;
        let (end, hold) = opened.map_err(of_store)?;
        same(&info.etag, end.info())?;
        let input = Input::of_pieces(PIECE_BYTES);
        input.connect(&self.streams, End { name: Arc::new(name), end, hold }, file);
        Ok(input)
    }
}

/// Refuses an object that has been replaced since its file was opened: a part of each would be mixed.
pub(super) fn same(etag: &Option<String>, now: &ObjectInfo) -> Result<()> {
    if *etag == now.etag { Ok(()) } else { Err(ErrorCode::Io.into()) }
}

pub(super) fn stream_failed(error: StreamError) -> Fault {
    match error {
        StreamError::Trap(trap) => Fault::Trap(trap),
        StreamError::Closed | StreamError::LastOperationFailed(_) => ErrorCode::Io.into(),
    }
}
