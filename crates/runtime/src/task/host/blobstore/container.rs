//! The objects of a container.

use super::bindings::wasi::blobstore::container::{
    ContainerMetadata, Host, HostContainer, HostStreamObjectNames, ObjectMetadata,
};
use super::values::{IncomingValue, OutgoingValue};
use super::{StoreHandle, Told, told};
use crate::ports::object_store::{MAX_PAGE, PutOptions};
use crate::task::grant::{Mode, StoreGrant};
use crate::task::host::bindings::wasmrun::task::object_store::HostStore;
use crate::task::host::object_store::{Error, Fault};
use crate::task::store::TaskState;
use crate::task::stream::{End, Name};
use std::sync::Arc;
use wasmtime::Result;
use wasmtime::component::Resource;

/// A listing in progress.
pub struct Names {
    grant: StoreGrant,
    /// Where the next page begins; `None` at the beginning.
    continuation: Option<String>,
    is_over: bool,
}

impl Host for TaskState {}

impl HostContainer for TaskState {
    async fn name(&mut self, this: Resource<StoreHandle>) -> Told<String> {
        Ok(Ok(self.table.get(&this)?.0.alias.clone()))
    }

    /// No store says when it was made.
    async fn info(&mut self, this: Resource<StoreHandle>) -> Told<ContainerMetadata> {
        Ok(Ok(ContainerMetadata { name: self.table.get(&this)?.0.alias.clone(), created_at: 0 }))
    }

    async fn get_data(
        &mut self,
        this: Resource<StoreHandle>,
        name: String,
        start: u64,
        end: u64,
    ) -> Told<Resource<IncomingValue>> {
        if start > end {
            return Ok(Err("the range ends before it starts".into()));
        }
        let range = start..end.saturating_add(1);
        let opened = async {
            let grant = self.granted(&this, Mode::reads, &name)?;
            let alias = grant.alias.clone();
            let part = (range.start > 0 || range.end < u64::MAX).then(|| range.clone());
            let (end, hold) = self.open_reader(grant, name.clone(), None, part).await?;
            let size = range.end.min(end.info().size).saturating_sub(range.start);
            let name = Arc::new(Name::new(alias, name, None));
            Ok(self.table.push(IncomingValue { reader: End { name, end, hold }, size })?)
        };
        told(opened.await)
    }

    async fn write_data(
        &mut self,
        this: Resource<StoreHandle>,
        name: String,
        data: Resource<OutgoingValue>,
    ) -> Told<()> {
        if self.table.get(&data)?.output.is_connected() {
            return Ok(Err("the value is written to an object already".into()));
        }
        let opened = async {
            let grant = self.granted(&this, Mode::writes, &name)?;
            let alias = grant.alias.clone();
            let (end, hold) = self.open_writer(grant, name.clone(), PutOptions::default()).await?;
            let name = Arc::new(Name::new(alias, name, None));
            self.table.get(&data)?.output.connect(&self.streams, End { name, end, hold });
            Ok(())
        };
        told(opened.await)
    }

    async fn list_objects(&mut self, this: Resource<StoreHandle>) -> Told<Resource<Names>> {
        let names = self
            .allowed(&this, Mode::reads)
            .and_then(|grant| Ok(self.table.push(Names { grant, continuation: None, is_over: false })?));
        told(names)
    }

    async fn delete_object(&mut self, this: Resource<StoreHandle>, name: String) -> Told<()> {
        told(self.delete(this, name).await)
    }

    async fn delete_objects(&mut self, this: Resource<StoreHandle>, names: Vec<String>) -> Told<()> {
        let deleted = async {
            for name in names {
                let grant = self.granted(&this, Mode::writes, &name)?;
                self.delete_from(grant, name).await?;
            }
            Ok(())
        };
        told(deleted.await)
    }

    async fn has_object(&mut self, this: Resource<StoreHandle>, name: String) -> Told<bool> {
        match self.head(this, name, None).await {
            Ok(_) => Ok(Ok(true)),
            Err(Fault::Error(Error::NotFound)) => Ok(Ok(false)),
            Err(fault) => told(Err(fault)),
        }
    }

    async fn object_info(&mut self, this: Resource<StoreHandle>, name: String) -> Told<ObjectMetadata> {
        let container = self.table.get(&this)?.0.alias.clone();
        told(self.head(this, name, None).await.map(|info| ObjectMetadata {
            name: info.key,
            container,
            created_at: info.modified_at.unwrap_or_default() / 1000,
            size: info.size,
        }))
    }

    async fn clear(&mut self, this: Resource<StoreHandle>) -> Told<()> {
        let alias = self.table.get(&this)?.0.alias.clone();
        self.not_offered("clear", &alias)
    }

    async fn drop(&mut self, this: Resource<StoreHandle>) -> Result<()> {
        HostStore::drop(self, this).await
    }
}

impl TaskState {
    /// Reads at most one page of a listing. Returns the names, and whether the listing is over.
    async fn next_names(
        &mut self,
        this: &Resource<Names>,
        most: u64,
    ) -> std::result::Result<(Vec<String>, bool), Fault> {
        let Names { grant, continuation, is_over } = self.table.get(this)?;
        if *is_over || most == 0 {
            return Ok((Vec::new(), *is_over));
        }
        let (grant, continuation) = (grant.clone(), continuation.clone());
        let limit = usize::try_from(most).unwrap_or(usize::MAX).min(MAX_PAGE);
        let page = self.list_page(grant, String::new(), continuation, limit).await?;
        let names = self.table.get_mut(this)?;
        names.is_over = page.continuation.is_none();
        names.continuation = page.continuation;
        Ok((page.objects.into_iter().map(|object| object.key).collect(), names.is_over))
    }
}

impl HostStreamObjectNames for TaskState {
    async fn read_stream_object_names(
        &mut self,
        this: Resource<Names>,
        len: u64,
    ) -> Told<(Vec<String>, bool)> {
        told(self.next_names(&this, len).await)
    }

    async fn skip_stream_object_names(&mut self, this: Resource<Names>, num: u64) -> Told<(u64, bool)> {
        let skipped = self.next_names(&this, num).await;
        told(skipped.map(|(names, is_over)| (names.len() as u64, is_over)))
    }

    async fn drop(&mut self, this: Resource<Names>) -> Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
