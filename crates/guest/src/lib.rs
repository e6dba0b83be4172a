//! The SDK that a Rust guest of wasmrun depends on.
//!
//! A guest is a library crate (`crate-type = ["cdylib"]`) with one function that handles one message. [`handler!`]
//! takes the function's name. Everything else is ordinary Rust: `?` turns an error into the right [`Failure`].
//!
//! ```no_run
//! use wasmrun_guest::{Failure, Message, Store, handler, info};
//!
//! handler!(handle);
//!
//! /// Writes each announced text in upper case.
//! fn handle(message: Message) -> Result<(), Failure> {
//!     let output = Store::open("output")?;
//!     for object in message.created_objects() {
//!         let content = object.get()?.content;
//!         let text = String::from_utf8(content).map_err(Failure::reject)?;
//!         output
//!             .new_object(&object.key)
//!             .content_type("text/plain")
//!             .put(text.to_uppercase().as_bytes())?;
//!         info!("wrote {}", object.key);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! A guest builds with `cargo build --release --target wasm32-wasip2` and with `cargo component build --release`.
//! Neither needs WIT files or settings in the guest's own crate.
//!
//! A task's access is granted when the worker starts: stores and queues by alias, environment variables, which
//! `std::env::var` reads, and directories, whose files are a store's objects and which `std::fs` reads and writes.
//! Key-value buckets and HTTP requests are granted as well; this SDK has nothing for them, so a guest uses bindings for
//! `wasi:keyvalue` and `wasi:http`. Without a grant there are no files; there are never sockets or arguments. A message
//! may be delivered more than once, so the objects and messages that a guest writes should depend on the message alone.

pub mod bindings;
mod failure;
pub mod log;
mod message;
pub mod object_store;
pub mod queue;

pub use bindings::wasmrun::task::message::{AnnouncedObject, Attribute, AttributeValue, Change, Message};
pub use failure::Failure;
pub use object_store::{Condition, Object, ObjectInfo, ObjectSummary, Reader, Store, Writer};
pub use queue::{OutgoingMessage, Queue};

/// Makes a function the component's handler: `handler!(handle);`, once in a crate.
///
/// The function takes a [`Message`] and returns `Result<(), Failure>`, or a `Result` with any other error that converts
/// into a [`Failure`]. When it returns `Ok`, the message is deleted.
///
/// ```no_run
/// use wasmrun_guest::{Failure, Message, handler, info};
///
/// handler!(handle);
///
/// fn handle(message: Message) -> Result<(), Failure> {
///     info!("message {} says {}", message.id(), message.body());
///     Ok(())
/// }
/// ```
#[macro_export]
macro_rules! handler {
    ($handle:path) => {
        const _: () = {
            struct Component;

            impl $crate::bindings::exports::wasmrun::task::handler::Guest for Component {
                fn handle(
                    message: $crate::Message,
                ) -> ::core::result::Result<(), $crate::bindings::exports::wasmrun::task::handler::Failure>
                {
                    $handle(message).map_err(|error| $crate::Failure::from(error).into())
                }
            }

    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
