//! The host's side of the WIT interfaces, implemented once, above the backends.
//!
//! Three kinds of failure are kept apart: what the guest may know is an error of the interface; what a guest can only
//! do wrong on purpose is a trap that names a limit; and what is the host's own fault ends the task as such.

#[expect(unreachable_pub, reason = "the generated bindings re-export the handles")]
mod message;
#[expect(unreachable_pub, reason = "the generated bindings re-export the handles")]
mod object_store;
#[expect(unreachable_pub, reason = "the generated bindings re-export the handles")]
mod queue;

pub(crate) use self::message::MessageHandle;
pub(crate) use bindings::exports::wasmrun::task::handler::Failure;
pub(crate) use bindings::{Task, TaskPre};

use crate::limits::Limit;
use crate::state::{HostFailure, TaskState};
use std::future::Future;
use std::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::{HasSelf, Linker, ResourceTableError};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "task",
        imports: {
            "wasmrun:task/message": trappable,
            "wasmrun:task/object-store.[method]reader.info": trappable,
            "wasmrun:task/object-store.[static]store.open": trappable,
            "wasmrun:task/queue.[static]queue.open": trappable,
            default: async | trappable,
        },
        exports: { default: async },
        with: {
            "wasmrun:task/message.message": super::message::MessageHandle,
            "wasmrun:task/object-store.store": super::object_store::StoreHandle,
            "wasmrun:task/object-store.reader": super::object_store::ReaderHandle,
            "wasmrun:task/object-store.writer": super::object_store::WriterHandle,
            "wasmrun:task/queue.queue": super::queue::QueueHandle,
        },
        trappable_error_type: {
            "wasmrun:task/object-store.error" => super::object_store::Fault,
            "wasmrun:task/queue.error" => super::queue::Fault,
        },
    });
}

/// The trap of a guest that ran into a limit in a host call.
#[derive(Debug, thiserror::Error)]
#[error("the task exceeded its limit of {0}")]
pub(crate) struct LimitHit(pub(crate) Limit);

/// The trap of a guest that can't go on since the host itself failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct HostFault(pub(crate) String);

/// The context of an error that came before the guest ran.
#[derive(Debug, thiserror::Error)]
#[error("the instance can't be made")]
pub(crate) struct NotStarted;

/// What a call of a guest ends with that doesn't succeed; `E` is the error of the interface.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum Fault<E> {
    /// The guest is told.
    Error(E),
    /// The guest ends.
    Trap(wasmtime::Error),
}

impl<E> Fault<E> {
    /// The error that the guest is told, or the trap that ends it.
    fn told(self) -> wasmtime::Result<E> {
        match self {
            Self::Error(error) => Ok(error),
            Self::Trap(trap) => Err(trap),
        }
    }
}

impl<E> From<HostFault> for Fault<E> {
    fn from(fault: HostFault) -> Self {
        Self::Trap(fault.into())
    }
}

impl<E> From<ResourceTableError> for Fault<E> {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

/// Offers our interfaces and WASI 0.2.
pub(crate) fn add_to_linker(linker: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    Task::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl TaskState {
    /// Carries out a call to a backend on the threads where its connections live. It's abandoned with the task.
    async fn call<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, HostFault> {
        let began = Instant::now();
        self.in_call_since = Some(began);
        let result = AbortOnDropHandle::new(self.config.io.spawn(work)).await;
        self.in_call_since = None;
        self.usage.calls += 1;
        self.usage.host += began.elapsed();
        result.map_err(|error| HostFault(format!("a call of the host was lost: {error}")))
    }

    /// A call to what has this alias failed for the host's reasons.
    fn host_failed(&mut self, alias: &str, what: String) {
        self.host_failure = Some(HostFailure { alias: alias.to_owned(), what });
    }

    /// A call to what has this alias succeeded: what failed there before is over.
    fn host_succeeded(&mut self, alias: &str) {
        if self.host_failure.as_ref().is_some_and(|failure| failure.alias == alias) {
            self.host_failure = None;
        }
    }
}
