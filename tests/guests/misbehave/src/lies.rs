//! Uses handles and pointers that this task doesn't own. Rust forbids this, but Wasm doesn't.

use std::hint::black_box;

use wasmrun_guest::bindings::wasmrun::task::object_store as raw;
use wasmrun_guest::{Failure, Message};

fn options() -> raw::PutOptions {
    raw::PutOptions {
        content_type: None,
        cache_control: None,
        metadata: Vec::new(),
        condition: raw::Condition::Always,
    }
}

fn store() -> Result<raw::Store, Failure> {
    raw::Store::open("output").map_err(|_| Failure::reject("no output"))
}

fn took(what: &str) -> Result<(), Failure> {
    Err(Failure::reject(format!("the host took {what}")))
}

/// `use-after-drop`: calls a store after dropping it.
pub(crate) fn use_after_drop() -> Result<(), Failure> {
    let store = store()?;
    let handle = store.handle();
    drop(store);
    use_handle(handle)
}

/// `use-handle N`: calls handle N as if it were a store.
pub(crate) fn use_handle(handle: u32) -> Result<(), Failure> {
    // SAFETY: none. The host must know which handles it gave out.
    let store = unsafe { raw::Store::from_handle(handle) };
    black_box(store.head("x", None).is_ok());
    took("a handle that isn't one")
}

/// `use-message-as-store`: calls the message's handle as if it were a store.
pub(crate) fn use_message_as_store(message: &Message) -> Result<(), Failure> {
    use_handle(message.handle())
}

/// `drop-twice`: drops a store twice.
pub(crate) fn drop_twice() -> Result<(), Failure> {
    let store = store()?;
    let handle = store.handle();
    drop(store);
    // SAFETY: none, as above.
    drop(unsafe { raw::Store::from_handle(handle) });
    took("a handle twice")
}

/// `finish-twice`: finishes a writer that the first call consumed.
pub(crate) fn finish_twice() -> Result<(), Failure> {
    let failed = |_| Failure::reject("not written");
    let writer = store()?.write("finished", &options()).map_err(failed)?;
    let handle = writer.handle();
    raw::Writer::finish(writer).map_err(failed)?;
    // SAFETY: none, as above.
    let writer = unsafe { raw::Writer::from_handle(handle) };
    black_box(raw::Writer::finish(writer).is_ok());
    took("a writer twice")
}

/// `copy-to-itself`: passes one handle twice in one call. This is allowed, and the store decides.
pub(crate) fn copy_to_itself() -> Result<(), Failure> {
    let store = store()?;
    let copied = store.copy("object", None, &store, "object", &raw::Condition::Always);
    Err(Failure::reject(format!("{:?}", copied.map(|info| info.size).map_err(|error| error.to_string()))))
}

/// `realloc N ALIGN`: calls the allocator that the component exports for the host.
pub(crate) fn realloc(bytes: usize, align: usize) -> Result<(), Failure> {
    #[cfg(target_arch = "wasm32")]
    {
        unsafe extern "C" {
            fn cabi_realloc(old: *mut u8, old_bytes: usize, align: usize, bytes: usize) -> *mut u8;
        }
        // SAFETY: none. The call affects only this task's own memory.
        let pointer = unsafe { cabi_realloc(std::ptr::null_mut(), 0, align, bytes) };
        black_box(pointer);
    }
    Err(Failure::reject(format!("got {bytes} bytes, aligned to {align}")))
}
