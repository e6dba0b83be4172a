//! Host functions of `wasi:blobstore` 0.2.0-draft: they read and write through those of `wasmrun:task/object-store`.
//!
//! A container is the alias of a granted store. Creating, deleting and emptying containers are errors.
//!
//! | module | owns |
//! |---|---|
//! | `container` | the objects of a container, and their names |
//! | `values` | contents on their way, in whole or as streams |

mod container;
mod values;

use self::bindings::wasi::blobstore::blobstore::{Host, ObjectId};
use self::bindings::wasi::blobstore::{blobstore, container as containers, types};
use super::bindings::wasmrun::task::object_store::{Condition, HostStore};
use super::object_store::{self, Error, Fault, StoreHandle};
use crate::model::outcome::shorten;
use crate::task::grant::Mode;
use crate::task::store::TaskState;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker, Resource};

mod bindings {
    wasmtime::component::bindgen!({
        path: "worlds/wasi-blobstore",
        world: "imports",
        imports: { default: async | trappable },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:blobstore/container.container": crate::task::host::object_store::StoreHandle,
            "wasi:blobstore/container.stream-object-names": super::container::Names,
            "wasi:blobstore/types.outgoing-value": super::values::OutgoingValue,
            "wasi:blobstore/types.incoming-value": super::values::IncomingValue,
        },
    });
}

/// The result of a call whose error is text.
type Told<T> = Result<std::result::Result<T, String>>;

/// Adds the interfaces that a component may import.
pub(super) fn add_to_linker(linker: &mut Linker<TaskState>) -> Result<()> {
    types::add_to_linker::<_, HasSelf<_>>(linker, TaskState::called)?;
    containers::add_to_linker::<_, HasSelf<_>>(linker, TaskState::called)?;
    blobstore::add_to_linker::<_, HasSelf<_>>(linker, TaskState::called)
}

/// Converts a failure of the store's interface.
fn told<T>(result: std::result::Result<T, Fault>) -> Told<T> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Fault::Trap(trap)) => Err(trap),
        Err(Fault::Error(Error::AccessDenied)) => {
            Ok(Err("access denied: no grant of a container allows this, or the store refuses it".into()))
        }
        Err(Fault::Error(error)) => Ok(Err(object_store::in_words(&error).0)),
    }
}

/// Borrows a handle for a call of the store's interface.
fn borrowed(store: &Resource<StoreHandle>) -> Resource<StoreHandle> {
    Resource::new_borrow(store.rep())
}

impl TaskState {
    /// Refuses what no grant can allow.
    fn not_offered<T>(&mut self, what: &str, container: &str) -> Told<T> {
        self.refuse("store", &shorten(container), &format!("{what} is not offered"));
        Ok(Err(format!("{what} is not offered: containers are stores that the operator grants with --store")))
    }

    /// Copies an object, and with `move_it` deletes it afterwards.
    async fn transfer(
        &mut self,
        from: &Resource<StoreHandle>,
        to: &Resource<StoreHandle>,
        (key, to_key): (String, String),
        move_it: bool,
    ) -> std::result::Result<(), Fault> {
        if move_it {
            // A copy that can't be followed by the deletion is no part of a move.
            self.granted(from, Mode::writes, &key)?;
        }
        let copied = key.clone();
        self.copy(borrowed(from), copied, None, borrowed(to), to_key, Condition::Always).await?;
        if move_it { self.delete(borrowed(from), key).await } else { Ok(()) }
    }

    /// Opens both containers for a transfer, and closes them again.
    async fn between(&mut self, src: ObjectId, dest: ObjectId, move_it: bool) -> Told<()> {
        let from = match HostStore::open(self, src.container) {
            Ok(from) => from,
            Err(fault) => return told(Err(fault)),
        };
        let to = match HostStore::open(self, dest.container) {
            Ok(to) => to,
            Err(fault) => {
                HostStore::drop(self, from).await?;
                return told(Err(fault));
            }
        };
        let done = self.transfer(&from, &to, (src.object, dest.object), move_it).await;
        HostStore::drop(self, from).await?;
        HostStore::drop(self, to).await?;
        told(done)
    }
}

impl Host for TaskState {
    async fn create_container(&mut self, name: String) -> Told<Resource<StoreHandle>> {
        self.not_offered("create-container", &name)
    }

    async fn get_container(&mut self, name: String) -> Told<Resource<StoreHandle>> {
        told(HostStore::open(self, name))
    }

    async fn delete_container(&mut self, name: String) -> Told<()> {
        self.not_offered("delete-container", &name)
    }

    async fn container_exists(&mut self, name: String) -> Told<bool> {
        Ok(Ok(self.config.grants.stores.contains_key(&name)))
    }

    async fn copy_object(&mut self, src: ObjectId, dest: ObjectId) -> Told<()> {
        self.between(src, dest, false).await
    }

    /// Two containers may overlap, and a grant doesn't say so: a move between them could delete the object's only copy.
    async fn move_object(&mut self, src: ObjectId, dest: ObjectId) -> Told<()> {
        if src.container != dest.container {
            return Ok(Err(
                "move-object between containers is not offered: copy the object, then delete it".into()
            ));
        }
        if src.object == dest.object {
            return Ok(Err("move-object: source and destination are the same object".into()));
        }
        self.between(src, dest, true).await
    }
}
