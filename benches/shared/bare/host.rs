//! The functions of our interfaces that benchmarks call: one announced object that can be read, and a store that discards
//! what is written. All others trap.

use super::State;
use bindings::wasmrun::task::message::{AnnouncedObject, Change};
use bindings::wasmrun::task::object_store::{Error, ObjectInfo, PutOptions};
use bytes::Bytes;
use std::hint::black_box;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, Resource, ResourceType};
use wasmtime::{Result, StoreContextMut, bail};

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

type Context<'a> = StoreContextMut<'a, State>;
/// What a function of an object store returns.
type Answer<T> = Result<(std::result::Result<T, Error>,)>;

pub(super) fn add_to_linker(linker: &mut Linker<State>, component: &Component) -> Result<()> {
    linker.allow_shadowing(true);
    add_traps(linker, component)?;
    let mut message = linker.instance("wasmrun:task/message@0.1.0")?;
    message.resource("message", ResourceType::host::<Message>(), drop_resource::<Message>)?;
    message.func_wrap("[method]message.body", |store: Context<'_>, (_,): (Resource<Message>,)| {
        Ok((store.data().input.body.clone(),))
    })?;
    message.func_wrap("[method]message.objects", |store: Context<'_>, (_,): (Resource<Message>,)| {
        Ok((store.data().input.object.iter().map(announced).collect::<Vec<_>>(),))
    })?;

    let mut objects = linker.instance("wasmrun:task/object-store@0.1.0")?;
    objects.resource("store", ResourceType::host::<Objects>(), drop_resource::<Objects>)?;
    objects.resource("reader", ResourceType::host::<Reader>(), drop_resource::<Reader>)?;
    objects.func_wrap("[static]store.open", |mut store: Context<'_>, (_,): (String,)| -> Answer<_> {
        Ok((Ok(store.data_mut().table.push(Objects)?),))
    })?;
    objects.func_wrap("[method]store.read", read)?;
    objects.func_wrap("[method]store.put", put)?;
    objects.func_wrap("[method]reader.info", |store: Context<'_>, (reader,): (Resource<Reader>,)| {
        Ok((info(KEY, store.data().table.get(&reader)?.size),))
    })?;
    objects.func_wrap("[method]reader.read", read_on)?;
    Ok(())
}

/// Defines all that the component imports of our interfaces. The linker's own function for that isn't used: it defines the
/// versions of WASI anew that the linker would have found compatible.
fn add_traps(linker: &mut Linker<State>, component: &Component) -> Result<()> {
    let engine = component.engine();
    for (name, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        if !name.starts_with("wasmrun:") {
            continue;
        }
        let mut instance = linker.instance(name)?;
        for (item, export) in interface.exports(engine) {
            match export.ty {
                ComponentItem::ComponentFunc(_) => {
                    instance.func_new(item, |_, _, _, _| bail!("no benchmark calls this"))?;
                }
                ComponentItem::Resource(_) => {
                    instance.resource(item, ResourceType::host::<()>(), |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn drop_resource<T: 'static>(mut store: Context<'_>, rep: u32) -> Result<()> {
    store.data_mut().table.delete(Resource::<T>::new_own(rep))?;
    Ok(())
}

fn announced(object: &Bytes) -> AnnouncedObject {
    AnnouncedObject {
        store: "input".into(),
        key: KEY.into(),
        version: None,
        etag: None,
        size: Some(object.len() as u64),
        change: Change::Created,
        sequencer: None,
    }
}

fn info(key: &str, size: usize) -> ObjectInfo {
    ObjectInfo {
        key: key.into(),
        size: size as u64,
        etag: None,
        version: None,
        content_type: None,
        cache_control: None,
        metadata: Vec::new(),
        modified_at: None,
    }
}

fn read(mut store: Context<'_>, _: (Resource<Objects>, String, Option<String>)) -> Answer<Resource<Reader>> {
    let Some(object) = store.data().input.object.clone() else { return Ok((Err(Error::NotFound),)) };
    Ok((Ok(store.data_mut().table.push(Reader { size: object.len(), rest: object })?),))
}

fn read_on(mut store: Context<'_>, (reader, max): (Resource<Reader>, u64)) -> Answer<Vec<u8>> {
    let rest = &mut store.data_mut().table.get_mut(&reader)?.rest;
    let length = rest.len().min(usize::try_from(max).unwrap_or(usize::MAX));
    Ok((Ok(rest.split_to(length).into()),))
}

fn put(
    _: Context<'_>,
    (_, key, content, _): (Resource<Objects>, String, Vec<u8>, PutOptions),
) -> Answer<ObjectInfo> {
    Ok((Ok(info(&key, black_box(content).len())),))
}
