//! The adapter for `wasi:messaging` 0.2.0-draft: components that export its `incoming-handler`, and the interfaces with
//! which any component sends.
//!
//! A topic is the alias of a granted queue. What a message holds is text with attributes that are text: that is all that
//! both the draft and a queue can say.
//!
//! | module | owns |
//! |---|---|
//! | `envelope` | a message, as delivered or as the guest has made it |
//! | `host` | the host functions |

#[expect(unreachable_pub, reason = "the generated bindings re-export the handles")]
mod envelope;
#[expect(unreachable_pub, reason = "the generated bindings re-export the handles")]
mod host;

pub(super) use self::bindings::{MessagingRequestReply, MessagingRequestReplyPre};

use self::bindings::wasi::messaging::{producer, request_reply, types};
use self::envelope::Envelope;
use super::host::{Failure, Handled};
use super::store::{Delivered, TaskState};
use std::sync::Arc;
use types::Error;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Result, Store};

mod bindings {
    wasmtime::component::bindgen!({
        path: "worlds/wasi-messaging",
        world: "messaging-request-reply",
        imports: {
            "wasi:messaging/producer": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        with: {
            "wasi:messaging/types.client": super::host::Client,
            "wasi:messaging/types.message": super::envelope::Envelope,
            "wasi:messaging/request-reply.request-options": super::host::RequestOptions,
        },
        trappable_error_type: {
            "wasi:messaging/types.error" => super::host::Fault,
        },
    });
}

/// The name of the world.
pub(super) const WORLD: &str = "wasi:messaging/messaging-core@0.2.0-draft";
/// The interface that a component of this world exports.
pub(super) const EXPORT: &str = "wasi:messaging/incoming-handler@0.2.0-draft";

/// Adds the interfaces that a component may import.
pub(super) fn add_to_linker(linker: &mut Linker<TaskState>) -> Result<()> {
    types::add_to_linker::<_, HasSelf<_>>(linker, TaskState::called)?;
    producer::add_to_linker::<_, HasSelf<_>>(linker, TaskState::called)?;
    request_reply::add_to_linker::<_, HasSelf<_>>(linker, TaskState::called)
}

/// Calls the handler. The world has no way to reject a message: after an error it's retried.
pub(super) async fn run(
    instance: &MessagingRequestReply,
    store: &mut Store<TaskState>,
    delivered: Arc<Delivered>,
) -> Handled {
    let message = store.data_mut().table.push(Envelope::of(delivered))?;
    let reason = match instance.wasi_messaging_incoming_handler().call_handle(store, message).await? {
        Ok(()) => return Ok(Ok(())),
        Err(Error::Timeout) => "timeout".to_owned(),
        Err(Error::Connection(text)) => format!("connection: {text}"),
        Err(Error::PermissionDenied(text)) => format!("permission denied: {text}"),
        Err(Error::Other(text)) => text,
    };
    Ok(Err(Failure::retry(reason)))
}
