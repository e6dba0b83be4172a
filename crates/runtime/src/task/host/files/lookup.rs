//! What there is at a path, as the stores say.

use super::path::{Place, place};
use super::types::ErrorCode;
use super::{Result, StoreFault, of_store};
use crate::ports::object_store::ObjectInfo;
use crate::task::directory::Directory;
use crate::task::grant::{BadKey, StoreGrant, check_key};
use crate::task::host::object_store::Error;
use crate::task::store::TaskState;
use bytes::Bytes;
use std::sync::Arc;

/// What there is at a path.
pub(super) enum Found {
    Directory,
    Message(Bytes),
    Object(Arc<Directory>, ObjectInfo),
    Written,
}

impl TaskState {
    /// Returns what a path from the root names.
    pub(super) fn place(&self, path: &str) -> Option<Place> {
        place(&self.config.grants.directories, self.config.command.is_some(), path)
    }

    /// Returns the grant of a directory's store. The directory's own mode allows no more than the store's.
    pub(super) fn grant(&self, directory: &Directory) -> Result<StoreGrant> {
        Ok(self.config.grants.stores.get(&directory.store).cloned().ok_or(ErrorCode::Access)?)
    }

    /// Returns the key of a file.
    pub(super) fn key(&self, directory: &Directory, rest: &str) -> Result<String> {
        let key = format!("{}{rest}", directory.prefix);
        match check_key(&key) {
            Ok(()) => Ok(key),
            Err(BadKey::TooLong) => Err(ErrorCode::NameTooLong.into()),
            Err(_) => Err(ErrorCode::Invalid.into()),
        }
    }

    /// Returns what there is at a path.
    pub(super) async fn found(&mut self, path: &str) -> Result<Option<Found>> {
        let (directory, rest) = match self.place(path) {
            None => return Ok(None),
            Some(Place::Above) => return Ok(Some(Found::Directory)),
            Some(Place::Message) => return Ok(Some(Found::Message(self.message_file()?))),
            Some(Place::In(directory, rest)) => (directory, rest),
        };
        if rest.is_empty() || self.files.has_made(path) {
            return Ok(Some(Found::Directory));
        }
        if self.files.has_written(path) {
            return Ok(Some(Found::Written));
        }
        let key = self.key(&directory, &rest)?;
        if !directory.mode.reads() {
            return Ok(None);
        }
        let grant = self.grant(&directory)?;
        let below = format!("{key}/");
        match self.head_of(grant.clone(), key, None).await {
            Err(StoreFault::Error(Error::NotFound)) => {}
            head => return Ok(Some(Found::Object(directory, head.map_err(of_store)?))),
        }
        let page = self.list_page(grant, below, None, 1).await.map_err(of_store)?;
        Ok((!page.objects.is_empty()).then_some(Found::Directory))
    }

    /// Returns the description of the message.
    fn message_file(&mut self) -> Result<Bytes> {
        let delivered = self.delivered.clone();
        Ok(self.files.message(&delivered).ok_or(ErrorCode::FileTooLarge)?)
    }

    /// Returns the granted directory that holds a path, if it can be written to.
    pub(super) fn writable(&mut self, path: &str) -> Result<(Arc<Directory>, String)> {
        match self.place(path) {
            Some(Place::In(directory, rest)) if directory.mode.writes() => Ok((directory, rest)),
            Some(Place::In(directory, _)) => {
                let missing = format!(
                    "the component writes to the directory {directory}, which is granted as ro: grant it as rw"
                );
                self.not_granted("store", &directory.store, &format!("{directory} is ro"), missing);
                Err(ErrorCode::ReadOnly.into())
            }
            _ => Err(ErrorCode::ReadOnly.into()),
        }
    }
}
