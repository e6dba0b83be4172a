//! `wasi:logging`: log lines of a guest with a level and a context, within the bounds of its standard error.

use super::TaskState;
use crate::task::log;
use wasmtime::StoreContextMut;
use wasmtime::component::{HasSelf, Linker};

mod bindings {
    wasmtime::component::bindgen!({ path: "worlds/wasi-logging", world: "imports" });
}

use bindings::wasi::logging::logging::{self, Host, Level};

/// The interface's name before it had a version, which wasmCloud's older tools import.
pub(crate) const UNVERSIONED: &str = "wasi:logging/logging";

impl Host for TaskState {
    fn log(&mut self, level: Level, context: String, message: String) {
        let level = match level {
            Level::Trace => log::Level::Trace,
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error | Level::Critical => log::Level::Error,
        };
        self.log.message(level, &context, &message);
    }
}

pub(super) fn add_to_linker(linker: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    logging::add_to_linker::<_, HasSelf<_>>(linker, TaskState::called)?;
    linker.instance(UNVERSIONED)?.func_wrap(
        "log",
        |mut store: StoreContextMut<'_, TaskState>, (level, context, message): (Level, String, String)| {
            store.data_mut().called().log(level, context, message);
            Ok(())
        },
    )
}
