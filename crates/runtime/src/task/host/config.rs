//! `wasi:config`: the values that the operator grants by name. A guest reads them and can't change them.

use super::TaskState;
use wasmtime::StoreContextMut;
use wasmtime::component::{HasSelf, Linker};

mod bindings {
    wasmtime::component::bindgen!({ path: "worlds/wasi-config", world: "imports" });
}

use bindings::wasi::config::store::{self, Error, Host};

/// Other names under which toolchains import the same functions: the tag 0.2.0-draft, Spin's snapshot of it, and the
/// interface's earlier name.
pub(crate) const OTHER_NAMES: [&str; 3] = [
    "wasi:config/store@0.2.0-draft",
    "wasi:config/store@0.2.0-draft-2024-09-27",
    "wasi:config/runtime@0.2.0-draft",
];

impl Host for TaskState {
    fn get(&mut self, key: String) -> Result<Option<String>, Error> {
        Ok(self.config.grants.config_values.get(&key).cloned())
    }

    fn get_all(&mut self) -> Result<Vec<(String, String)>, Error> {
        let values = self.config.grants.config_values.iter();
        Ok(values.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

pub(super) fn add_to_linker(linker: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    store::add_to_linker::<_, HasSelf<_>>(linker, TaskState::called)?;
    for name in OTHER_NAMES {
        let mut instance = linker.instance(name)?;
        instance.func_wrap("get", |mut store: StoreContextMut<'_, TaskState>, (key,): (String,)| {
            Ok((store.data_mut().called().get(key),))
        })?;
        instance.func_wrap("get-all", |mut store: StoreContextMut<'_, TaskState>, (): ()| {
            Ok((store.data_mut().called().get_all(),))
        })?;
    }
    Ok(())
}
