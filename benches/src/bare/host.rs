//! The host's side of our interfaces, no larger than a benchmark needs: one announced object that can be read, and a
//! store that forgets what is put there.

use super::State;
use bindings::wasmrun::task::message::{AnnouncedObject, Attribute, Change, HostMessage};
use bindings::wasmrun::task::object_store::{
    Condition, Error, HostReader, HostStore, HostWriter, Object, ObjectInfo, ObjectPage, PutOptions,
};
use bindings::wasmrun::task::queue::{self, HostQueue, OutgoingMessage};
use bytes::Bytes;
use std::hint::black_box;
use wasmtime::Result;
use wasmtime::component::Resource;

pub(super) mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "task",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "wasmrun:task/message.message": super::Message,
            "wasmrun:task/object-store.store": super::Objects,
            "wasmrun:task/object-store.reader": super::Reader,
        },
    });
}

pub struct Message;

pub struct Objects;

pub struct Reader {
    size: usize,
    rest: Bytes,
}

const KEY: &str = "photograph";

fn info(key: &str, size: usize) -> ObjectInfo {
    ObjectInfo {
        key: key.into(),
        size: size as u64,
        etag: None,
        version: None,
        content_type: None,
        metadata: Vec::new(),
        modified_at: None,
    }
}

/// What no benchmark calls.
fn absent<T>() -> Result<std::result::Result<T, Error>> {
    Ok(Err(Error::Other("not in a benchmark".into())))
}

impl bindings::wasmrun::task::message::Host for State {}

impl HostMessage for State {
    fn id(&mut self, _: Resource<Message>) -> Result<String> {
        Ok("message".into())
    }

    fn body(&mut self, _: Resource<Message>) -> Result<String> {
        Ok(self.input.body.clone())
    }

    fn attributes(&mut self, _: Resource<Message>) -> Result<Vec<Attribute>> {
        Ok(Vec::new())
    }

    fn receive_count(&mut self, _: Resource<Message>) -> Result<u32> {
        Ok(1)
    }

    fn sent_at(&mut self, _: Resource<Message>) -> Result<u64> {
        Ok(0)
    }

    fn group(&mut self, _: Resource<Message>) -> Result<Option<String>> {
        Ok(None)
    }

    fn objects(&mut self, _: Resource<Message>) -> Result<Vec<AnnouncedObject>> {
        let announced = |object: &Bytes| AnnouncedObject {
            store: "input".into(),
            key: KEY.into(),
            version: None,
            etag: None,
            size: Some(object.len() as u64),
            change: Change::Created,
            sequencer: None,
        };
        Ok(self.input.object.iter().map(announced).collect())
    }

    fn drop(&mut self, message: Resource<Message>) -> Result<()> {
        self.table.delete(message)?;
        Ok(())
    }
}

impl bindings::wasmrun::task::object_store::Host for State {}

impl HostStore for State {
    fn open(&mut self, _: String) -> Result<std::result::Result<Resource<Objects>, Error>> {
        Ok(Ok(self.table.push(Objects)?))
    }

    fn read(
        &mut self,
        _: Resource<Objects>,
        _: String,
        _: Option<String>,
    ) -> Result<std::result::Result<Resource<Reader>, Error>> {
        let Some(object) = self.input.object.clone() else { return Ok(Err(Error::NotFound)) };
        Ok(Ok(self.table.push(Reader { size: object.len(), rest: object })?))
    }

    fn put(
        &mut self,
        _: Resource<Objects>,
        key: String,
        content: Vec<u8>,
        _: PutOptions,
    ) -> Result<std::result::Result<ObjectInfo, Error>> {
        Ok(Ok(info(&key, black_box(content).len())))
    }

    fn head(
        &mut self,
        _: Resource<Objects>,
        _: String,
        _: Option<String>,
    ) -> Result<std::result::Result<ObjectInfo, Error>> {
        absent()
    }

    fn get(
        &mut self,
        _: Resource<Objects>,
        _: String,
        _: Option<String>,
    ) -> Result<std::result::Result<Object, Error>> {
        absent()
    }

    fn get_range(
        &mut self,
        _: Resource<Objects>,
        _: String,
        _: Option<String>,
        _: u64,
        _: u64,
    ) -> Result<std::result::Result<Vec<u8>, Error>> {
        absent()
    }

    fn write(
        &mut self,
        _: Resource<Objects>,
        _: String,
        _: PutOptions,
    ) -> Result<std::result::Result<Resource<Writer>, Error>> {
        absent()
    }

    fn list_objects(
        &mut self,
        _: Resource<Objects>,
        _: String,
        _: Option<String>,
        _: u32,
    ) -> Result<std::result::Result<ObjectPage, Error>> {
        absent()
    }

    fn delete(&mut self, _: Resource<Objects>, _: String) -> Result<std::result::Result<(), Error>> {
        absent()
    }

    fn copy(
        &mut self,
        _: Resource<Objects>,
        _: String,
        _: Option<String>,
        _: Resource<Objects>,
        _: String,
        _: Condition,
    ) -> Result<std::result::Result<ObjectInfo, Error>> {
        absent()
    }

    fn drop(&mut self, store: Resource<Objects>) -> Result<()> {
        self.table.delete(store)?;
        Ok(())
    }
}

impl HostReader for State {
    fn info(&mut self, reader: Resource<Reader>) -> Result<ObjectInfo> {
        Ok(info(KEY, self.table.get(&reader)?.size))
    }

    fn read(&mut self, reader: Resource<Reader>, max: u64) -> Result<std::result::Result<Vec<u8>, Error>> {
        let rest = &mut self.table.get_mut(&reader)?.rest;
        let length = rest.len().min(usize::try_from(max).unwrap_or(usize::MAX));
        Ok(Ok(rest.split_to(length).into()))
    }

    fn drop(&mut self, reader: Resource<Reader>) -> Result<()> {
        self.table.delete(reader)?;
        Ok(())
    }
}

type Writer = bindings::wasmrun::task::object_store::Writer;

impl HostWriter for State {
    fn write(&mut self, _: Resource<Writer>, _: Vec<u8>) -> Result<std::result::Result<(), Error>> {
        absent()
    }

    fn finish(&mut self, _: Resource<Writer>) -> Result<std::result::Result<ObjectInfo, Error>> {
        absent()
    }

    fn drop(&mut self, _: Resource<Writer>) -> Result<()> {
        Ok(())
    }
}

impl queue::Host for State {}

impl HostQueue for State {
    fn open(&mut self, _: String) -> Result<std::result::Result<Resource<queue::Queue>, queue::Error>> {
        Ok(Err(queue::Error::AccessDenied))
    }

    fn send(
        &mut self,
        _: Resource<queue::Queue>,
        _: OutgoingMessage,
    ) -> Result<std::result::Result<String, queue::Error>> {
        Ok(Err(queue::Error::AccessDenied))
    }

    fn send_batch(
        &mut self,
        _: Resource<queue::Queue>,
        _: Vec<OutgoingMessage>,
    ) -> Result<std::result::Result<Vec<std::result::Result<String, queue::Error>>, queue::Error>> {
        Ok(Err(queue::Error::AccessDenied))
    }

    fn drop(&mut self, _: Resource<queue::Queue>) -> Result<()> {
        Ok(())
    }
}
