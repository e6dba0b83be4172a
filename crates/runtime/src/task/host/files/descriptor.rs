//! Open files and directories.

use super::content::{same, stream_failed};
use super::lookup::Found;
use super::path::{Place, join};
use super::properties::hash;
use super::types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, Filesize, HostDescriptor,
    MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use super::{Listing, Result, of_store};
use crate::model::limits::Limits;
use crate::ports::object_store::ObjectInfo;
use crate::task::calls::StoreCall;
use crate::task::store::TaskState;
use bytes::Bytes;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, OutputStream, Pollable};

/// An open file or directory.
pub struct Descriptor {
    /// Path from the root.
    pub(super) path: String,
    pub(super) found: Found,
}

impl HostDescriptor for TaskState {
    async fn read_via_stream(
        &mut self,
        this: Resource<Descriptor>,
        offset: Filesize,
    ) -> Result<Resource<DynInputStream>> {
        let input: DynInputStream = match &self.table.get(&this)?.found {
            Found::Directory => return Err(ErrorCode::IsDirectory.into()),
            Found::Written => return Err(ErrorCode::Unsupported.into()),
            Found::Message(text) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
                Box::new(MemoryInputPipe::new(text.slice(start..)))
            }
            Found::Object(_, info) if offset >= info.size => Box::new(MemoryInputPipe::new(Bytes::new())),
            Found::Object(..) => Box::new(self.stream(&this, offset).await?),
        };
        Ok(self.table.push(input)?)
    }

    async fn write_via_stream(
        &mut self,
        this: Resource<Descriptor>,
        offset: Filesize,
    ) -> Result<Resource<DynOutputStream>> {
        let output = self.output(&this)?;
        if offset != output.accepted() {
            return Err(ErrorCode::InvalidSeek.into());
        }
        let output: DynOutputStream = Box::new(output);
        Ok(self.table.push(output)?)
    }

    async fn append_via_stream(&mut self, this: Resource<Descriptor>) -> Result<Resource<DynOutputStream>> {
        let output: DynOutputStream = Box::new(self.output(&this)?);
        Ok(self.table.push(output)?)
    }

    async fn advise(
        &mut self,
        _this: Resource<Descriptor>,
        _offset: Filesize,
        _length: Filesize,
        _advice: Advice,
    ) -> Result<()> {
        Ok(())
    }

    /// Does nothing: a file is durable when its task completes.
    async fn sync_data(&mut self, _this: Resource<Descriptor>) -> Result<()> {
        Ok(())
    }

    async fn get_flags(&mut self, this: Resource<Descriptor>) -> Result<DescriptorFlags> {
        let Descriptor { path, found } = self.table.get(&this)?;
        Ok(match found {
            Found::Directory => match self.place(path) {
                Some(Place::In(directory, _)) if directory.mode.writes() => {
                    DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY
                }
                _ => DescriptorFlags::READ,
            },
            Found::Message(_) | Found::Object(..) => DescriptorFlags::READ,
            Found::Written => DescriptorFlags::WRITE,
        })
    }

    async fn get_type(&mut self, this: Resource<Descriptor>) -> Result<DescriptorType> {
        Ok(match self.table.get(&this)?.found {
            Found::Directory => DescriptorType::Directory,
            Found::Message(_) | Found::Object(..) | Found::Written => DescriptorType::RegularFile,
        })
    }

    /// Accepts the size that a file has: content can only be appended.
    async fn set_size(&mut self, this: Resource<Descriptor>, size: Filesize) -> Result<()> {
        if self.output(&this)?.accepted() == size { Ok(()) } else { Err(ErrorCode::Unsupported.into()) }
    }

    async fn set_times(
        &mut self,
        _this: Resource<Descriptor>,
        _accessed: NewTimestamp,
        _modified: NewTimestamp,
    ) -> Result<()> {
        Err(ErrorCode::Unsupported.into())
    }

    async fn read(
        &mut self,
        this: Resource<Descriptor>,
        length: Filesize,
        offset: Filesize,
    ) -> Result<(Vec<u8>, bool)> {
        let length = length.min(Limits::READ_BYTES as u64);
        let end = offset.saturating_add(length);
        let (directory, info) = match &self.table.get(&this)?.found {
            Found::Directory => return Err(ErrorCode::IsDirectory.into()),
            Found::Written => return Err(ErrorCode::Unsupported.into()),
            Found::Message(text) => {
                let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(text.len());
                return Ok((text[at(offset)..at(end)].to_vec(), at(end) == text.len()));
            }
            Found::Object(directory, info) => (directory, info),
        };
        let ObjectInfo { size, version, etag, key, .. } = info.clone();
        if length == 0 || offset >= size {
            return Ok((Vec::new(), offset >= size));
        }
        let grant = self.grant(directory)?;
        let range = offset..end.min(size);
        let read = self.fetch_from(StoreCall::GetRange, grant, key, version, Some(range)).await;
        let (info, content) = read.map_err(of_store)?;
        same(&etag, &info)?;
        let is_end = offset + content.len() as u64 >= size;
        Ok((content, is_end))
    }

    async fn write(
        &mut self,
        this: Resource<Descriptor>,
        buffer: Vec<u8>,
        offset: Filesize,
    ) -> Result<Filesize> {
        let mut output = self.output(&this)?;
        if offset != output.accepted() {
            return Err(ErrorCode::InvalidSeek.into());
        }
        let length = buffer.len() as u64;
        let mut rest = Bytes::from(buffer);
        while !rest.is_empty() {
            output.ready().await;
            // A buffer may be much larger than what the task may still write.
            self.count_streams()?;
            let permit = output.check_write().map_err(stream_failed)?.min(rest.len());
            output.write(rest.split_to(permit)).map_err(stream_failed)?;
        }
        Ok(length)
    }

    async fn read_directory(&mut self, this: Resource<Descriptor>) -> Result<Resource<Listing>> {
        let Descriptor { path, found: Found::Directory } = self.table.get(&this)? else {
            return Err(ErrorCode::NotDirectory.into());
        };
        let path = path.clone();
        let listing = self.listing(&path)?;
        Ok(self.table.push(listing)?)
    }

    /// Does nothing: a file is durable when its task completes.
    async fn sync(&mut self, _this: Resource<Descriptor>) -> Result<()> {
        Ok(())
    }

    /// Remembers the directory. A store has no directories: there is one where objects are below it.
    async fn create_directory_at(&mut self, this: Resource<Descriptor>, path: String) -> Result<()> {
        let (path, _) = self.joined(&this, &path)?;
        match self.found(&path).await? {
            Some(_) => Err(ErrorCode::Exist.into()),
            None => {
                self.writable(&path)?;
                let most = self.config.limits.handles;
                if self.files.make(path, most) { Ok(()) } else { Err(ErrorCode::Quota.into()) }
            }
        }
    }

    async fn stat(&mut self, this: Resource<Descriptor>) -> Result<DescriptorStat> {
        let Descriptor { path, found } = self.table.get(&this)?;
        Ok(self.stat_of(path, found))
    }

    async fn stat_at(
        &mut self,
        this: Resource<Descriptor>,
        _flags: PathFlags,
        path: String,
    ) -> Result<DescriptorStat> {
        let (path, must_be_directory) = self.joined(&this, &path)?;
        let found = self.found(&path).await?.ok_or(ErrorCode::NoEntry)?;
        if must_be_directory && !matches!(found, Found::Directory) {
            return Err(ErrorCode::NotDirectory.into());
        }
        Ok(self.stat_of(&path, &found))
    }

    async fn set_times_at(
        &mut self,
        _this: Resource<Descriptor>,
        _flags: PathFlags,
        _path: String,
        _accessed: NewTimestamp,
        _modified: NewTimestamp,
    ) -> Result<()> {
        Err(ErrorCode::Unsupported.into())
    }

    async fn link_at(
        &mut self,
        _this: Resource<Descriptor>,
        _flags: PathFlags,
        _path: String,
        _new: Resource<Descriptor>,
        _new_path: String,
    ) -> Result<()> {
        Err(ErrorCode::Unsupported.into())
    }

    async fn open_at(
        &mut self,
        this: Resource<Descriptor>,
        _flags: PathFlags,
        path: String,
        open: OpenFlags,
        access: DescriptorFlags,
    ) -> Result<Resource<Descriptor>> {
        let (path, ends_as_directory) = self.joined(&this, &path)?;
        let must_be_directory = ends_as_directory || open.contains(OpenFlags::DIRECTORY);
        let writes = access.contains(DescriptorFlags::WRITE) || open.contains(OpenFlags::TRUNCATE);
        let found = match self.found(&path).await? {
            Some(_) if open.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE) => {
                return Err(ErrorCode::Exist.into());
            }
            Some(Found::Directory) if writes => return Err(ErrorCode::IsDirectory.into()),
            Some(Found::Directory) => Found::Directory,
            Some(_) if must_be_directory => return Err(ErrorCode::NotDirectory.into()),
            Some(found @ (Found::Message(_) | Found::Object(..))) if !writes => found,
            Some(Found::Message(_)) => return Err(ErrorCode::ReadOnly.into()),
            Some(Found::Written) if !writes => return Err(ErrorCode::Busy.into()),
            // An object is replaced as a whole.
            Some(_) if !open.contains(OpenFlags::TRUNCATE) => return Err(ErrorCode::Unsupported.into()),
            None if !open.contains(OpenFlags::CREATE) => return Err(ErrorCode::NoEntry.into()),
            None if must_be_directory => return Err(ErrorCode::IsDirectory.into()),
            Some(_) | None => {
                self.create(&path, open.contains(OpenFlags::EXCLUSIVE)).await?;
                Found::Written
            }
        };
        Ok(self.table.push(Descriptor { path, found })?)
    }

    async fn readlink_at(&mut self, _this: Resource<Descriptor>, _path: String) -> Result<String> {
        Err(ErrorCode::Invalid.into())
    }

    async fn remove_directory_at(&mut self, this: Resource<Descriptor>, path: String) -> Result<()> {
        let (path, _) = self.joined(&this, &path)?;
        match self.found(&path).await? {
            None => Err(ErrorCode::NoEntry.into()),
            Some(Found::Directory) if self.files.unmake(&path) => Ok(()),
            Some(Found::Directory) => Err(ErrorCode::Unsupported.into()),
            Some(_) => Err(ErrorCode::NotDirectory.into()),
        }
    }

    async fn rename_at(
        &mut self,
        _this: Resource<Descriptor>,
        _path: String,
        _new: Resource<Descriptor>,
        _new_path: String,
    ) -> Result<()> {
        Err(ErrorCode::Unsupported.into())
    }

    async fn symlink_at(&mut self, _this: Resource<Descriptor>, _old: String, _new: String) -> Result<()> {
        Err(ErrorCode::Unsupported.into())
    }

    /// Removes a file that this task has written. An object can't be removed.
    async fn unlink_file_at(&mut self, this: Resource<Descriptor>, path: String) -> Result<()> {
        let (path, _) = self.joined(&this, &path)?;
        match self.found(&path).await? {
            None => Err(ErrorCode::NoEntry.into()),
            Some(Found::Directory) => Err(ErrorCode::IsDirectory.into()),
            Some(Found::Written) => {
                self.files.remove(&path);
                Ok(())
            }
            Some(Found::Message(_) | Found::Object(..)) => {
                self.writable(&path)?;
                Err(ErrorCode::Unsupported.into())
            }
        }
    }

    async fn is_same_object(
        &mut self,
        this: Resource<Descriptor>,
        other: Resource<Descriptor>,
    ) -> wasmtime::Result<bool> {
        Ok(self.table.get(&this)?.path == self.table.get(&other)?.path)
    }

    async fn metadata_hash(&mut self, this: Resource<Descriptor>) -> Result<MetadataHashValue> {
        let Descriptor { path, found } = self.table.get(&this)?;
        Ok(hash(path, found))
    }

    async fn metadata_hash_at(
        &mut self,
        this: Resource<Descriptor>,
        _flags: PathFlags,
        path: String,
    ) -> Result<MetadataHashValue> {
        let (path, _) = self.joined(&this, &path)?;
        let found = self.found(&path).await?.ok_or(ErrorCode::NoEntry)?;
        Ok(hash(&path, &found))
    }

    fn drop(&mut self, this: Resource<Descriptor>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl TaskState {
    /// Joins a path to that of a directory. See [`join`].
    fn joined(&self, base: &Resource<Descriptor>, path: &str) -> Result<(String, bool)> {
        match self.table.get(base)? {
            Descriptor { path: base, found: Found::Directory } => Ok(join(base, path)?),
            _ => Err(ErrorCode::NotDirectory.into()),
        }
    }
}
