//! `wasi:config`.

use crate::bindings::wasi::config::store;
use wasmrun_guest::Failure;

pub(crate) fn get(key: &str) -> Result<(), Failure> {
    let value = store::get(key).map_err(|error| Failure::reject(format!("{error:?}")))?;
    Err(Failure::reject(format!("{value:?}")))
}

pub(crate) fn all() -> Result<(), Failure> {
    let values = store::get_all().map_err(|error| Failure::reject(format!("{error:?}")))?;
    Err(Failure::reject(format!("{values:?}")))
}

/// Asks for all values, and for one with a key of this many bytes, without end.
pub(crate) fn endless(bytes: usize) -> Result<(), Failure> {
    let key = "k".repeat(bytes);
    loop {
        let _ = store::get_all();
        let _ = store::get(&key);
    }
}
