//! Host functions of `wasi:blobstore` 0.2.0-draft: they read and write as those of `wasmrun:task/object-store` do.
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
use super::bindings::wasmrun::task::object_store::HostStore;
use super::object_store::{self, Error, Fault, StoreHandle};
use crate::model::outcome::shorten;
use crate::ports::object_store::Condition;
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

impl TaskState {
    /// Refuses what no grant can allow.
    fn not_offered<T>(&mut self, what: &str, container: &str) -> Told<T> {
        self.refuse("store", &shorten(container), &format!("{what} is not offered"));
        Ok(Err(format!("{what} is not offered: containers are stores that the operator grants with --store")))
    }

    /// Copies an object, and with `move_it` deletes it afterwards.
    async fn transfer(&mut self, src: ObjectId, dest: ObjectId, move_it: bool) -> Told<()> {
        let transferred = async {
            let from = self.store_named(&src.container)?;
            let to = self.store_named(&dest.container)?;
            if move_it {
                // A copy that can't be followed by the deletion is no part of a move.
                self.for_key(from.clone(), Mode::writes, &src.object)?;
            }
            let from = self.for_key(from, Mode::reads, &src.object)?;
            let to = self.for_key(to, Mode::writes, &dest.object)?;
            let key = src.object.clone();
            self.copy_between(from.clone(), key, None, to, dest.object, Condition::Always).await?;
            if move_it { self.delete_from(from, src.object).await } else { Ok(()) }
        };
        told(transferred.await)
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
        self.transfer(src, dest, false).await
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
        self.transfer(src, dest, true).await
    }
}

#[cfg(test)]
mod tests {
    use super::containers::{HostContainer, HostStreamObjectNames};
    use super::*;
    use crate::model::limits::Limits;
    use crate::ports::memory::MemoryStore;
    use crate::task::by_key::Scope;
    use crate::task::grant::{Grants, StoreGrant};
    use crate::task::host::tests::state;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_guest_that_holds_all_its_handles_can_still_list_and_copy() {
        let memory = MemoryStore::new("s");
        memory.insert("old", "content");
        let (alias, of) = ("s".to_owned(), Arc::new(memory.clone()));
        let grant = StoreGrant { alias, store: of, mode: Mode::ReadWrite, scope: Scope::All };
        let grants = Grants { stores: [("s".into(), grant)].into(), ..Grants::default() };
        let mut store = state(Limits { handles: 3, ..Limits::default() }, grants);
        let task = store.data_mut();
        let container = task.get_container("s".into()).await.expect("no trap").expect("granted");
        let names = HostContainer::list_objects(task, container).await.expect("no trap").expect("listed");
        let _last = task.get_container("s".into()).await.expect("no trap").expect("granted");
        let listed = task.read_stream_object_names(names, 10).await.expect("no trap");
        assert_eq!(listed, Ok((vec!["old".to_owned()], true)));
        let object = |name: &str| ObjectId { container: "s".into(), object: name.into() };
        assert_eq!(task.copy_object(object("old"), object("new")).await.expect("no trap"), Ok(()));
        assert_eq!(memory.content("new"), Some("content".into()));
    }
}
