//! Host functions: the implementation of the WIT interfaces on top of the backends.
//!
//! Three kinds of failure are distinguished. An error that the guest may know is an error of the interface. A violation
//! that a guest can only commit on purpose is a trap that names a limit. A host error ends the task as such.
//!
//! | module | interface |
//! |---|---|
//! | `message`, `object_store`, `queue` | `wasmrun:task` |
//! | `blobstore` | `wasi:blobstore` |
//! | `config` | `wasi:config` |
//! | `files` | `wasi:filesystem`, with the grants of `task::directory` |
//! | `http` | `wasi:http`, with the grants of `task::http` |
//! | `keyvalue` | `wasi:keyvalue` |
//! | `logging` | `wasi:logging` |

#[expect(unreachable_pub, reason = "the generated bindings re-export the handles")]
mod blobstore;
pub(super) mod config;
#[expect(unreachable_pub, reason = "the generated bindings re-export the handles")]
pub(super) mod files;
mod http;
#[expect(unreachable_pub, reason = "the generated bindings re-export the handles")]
pub(super) mod keyvalue;
pub(super) mod logging;
#[expect(unreachable_pub, reason = "the generated bindings re-export the handles")]
mod message;
#[expect(unreachable_pub, reason = "the generated bindings re-export the handles")]
pub(super) mod object_store;
#[expect(unreachable_pub, reason = "the generated bindings re-export the handles")]
pub(super) mod queue;

pub(crate) use self::http::{Counted, Direction, Meter, TaskHttp, request_head_bytes};
pub(crate) use self::message::MessageHandle;
pub(crate) use bindings::exports::wasmrun::task::handler::Failure;
pub(crate) use bindings::{Task, TaskPre};

use self::bindings::exports::wasmrun::task::handler::RetryRequest;
use crate::model::host_error::{Access, HostError, HostErrorKind, Used};
use crate::model::limits::Limit;
use crate::model::outcome::shorten;
use crate::task::calls::StoreCall;
use crate::task::grant::backend_name;
use crate::task::messaging;
use crate::task::store::{TaskState, UnderWay};
use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::{HasSelf, Linker, ResourceTableError};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit",
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

/// Returns a time as guests are told it: in milliseconds since 1970.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// What a handler returned, or the error that ended it.
pub(crate) type Handled = wasmtime::Result<Result<(), Failure>>;

impl Failure {
    /// Creates the failure of a message that is tried again after the worker's own delay. A handler may give no reason.
    pub(crate) fn retry(reason: String) -> Self {
        let reason =
            if reason.is_empty() { "the handler failed without a reason".to_owned() } else { reason };
        Self::Retry(RetryRequest { delay_seconds: None, reason })
    }
}

/// Trap of a guest that exceeded a limit in a host call.
#[derive(Debug, thiserror::Error)]
#[error("the task exceeded its limit of {0}")]
pub(crate) struct LimitHit(pub(crate) Limit);

/// Trap of a guest that can't continue because the host itself failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct HostFault(pub(crate) String);

/// Context of an error that is the host's fault: it occurred before guest code ran, or came from the system.
#[derive(Debug, thiserror::Error)]
#[error("the instance cannot be made")]
pub(crate) struct NotStarted;

/// Classifies an error of instantiation. If code of the guest has run, it may have caused the error, so the guest is to
/// blame, unless the system refused memory.
pub(crate) fn not_started(error: wasmtime::Error, has_run: bool) -> wasmtime::Error {
    let is_of_system = error.chain().any(|cause| {
        cause.is::<std::io::Error>() || cause.is::<rustix::io::Errno>() || cause.is::<wasmtime::OutOfMemory>()
    });
    if has_run && !is_of_system { error } else { error.context(NotStarted) }
}

/// Failure of a guest's call; `E` is the error of the interface.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum Fault<E> {
    /// The guest receives this error.
    Error(E),
    /// The task ends with this trap.
    Trap(wasmtime::Error),
}

impl<E> Fault<E> {
    /// Returns the error for the guest, or the trap that ends the task.
    pub(super) fn into_guest_error(self) -> wasmtime::Result<E> {
        match self {
            Self::Error(error) => Ok(error),
            Self::Trap(trap) => Err(trap),
        }
    }
}

impl<E> From<wasmtime::Error> for Fault<E> {
    fn from(trap: wasmtime::Error) -> Self {
        Self::Trap(trap)
    }
}

impl<E> From<ResourceTableError> for Fault<E> {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

/// Adds wasmrun's interfaces, WASI 0.2 with its HTTP client, and proposals of WASI to a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    // Timers may run on the task's own clock, and files are objects.
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<_, HasSelf<_>>(linker, TaskState::called)?;
    files::add_to_linker(linker)?;
    http::add_to_linker(linker)?;
    linker.allow_shadowing(false);
    config::add_to_linker(linker)?;
    logging::add_to_linker(linker)?;
    keyvalue::add_to_linker(linker)?;
    Task::add_to_linker::<_, HasSelf<_>>(linker, TaskState::called)?;
    blobstore::add_to_linker(linker)?;
    messaging::add_to_linker(linker)
}

impl TaskState {
    /// Carries out a call to a store: counts the call, and ends a task that exceeds its limit of calls.
    pub(super) async fn call_store<T: Send + 'static>(
        &mut self,
        call: StoreCall,
        alias: &str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> wasmtime::Result<T> {
        self.count_store_call(alias)?;
        self.call(Used { backend: alias.to_owned(), access: call.access() }, work).await
    }

    /// Counts a call to a store, and ends a task that exceeds its limit of calls.
    pub(super) fn count_store_call(&mut self, alias: &str) -> wasmtime::Result<()> {
        usage_of(&mut self.usage.stores, alias).calls += 1;
        self.check_store_calls()
    }

    /// Ends a task that has made more calls to stores and buckets than its limit.
    fn check_store_calls(&self) -> wasmtime::Result<()> {
        let to_stores: u64 = self.usage.stores.values().map(|usage| usage.calls).sum();
        let to_buckets: u64 = self.usage.buckets.values().map(|usage| usage.calls).sum();
        self.within(to_stores + to_buckets, self.config.limits.store_calls, Limit::StoreCalls)
    }

    /// Carries out a call to a queue that sends this number of messages and bytes in all.
    async fn call_queue<T: Send + 'static>(
        &mut self,
        alias: &str,
        messages: usize,
        bytes: usize,
        work: impl Future<Output = T> + Send + 'static,
    ) -> wasmtime::Result<T> {
        self.config.calls.sent_bytes(alias, bytes as u64);
        self.usage.bytes_written += bytes as u64;
        let usage = usage_of(&mut self.usage.queues, alias);
        usage.calls += 1;
        usage.messages += messages as u64;
        usage.bytes_written += bytes as u64;
        // A call that sends nothing counts as one message.
        let sent = self.usage.queues.values().map(|usage| usage.messages.max(usage.calls)).sum();
        self.within(sent, self.config.limits.sent_messages, Limit::SentMessages)?;
        self.within(self.usage.bytes_written, self.config.limits.write_bytes, Limit::WriteSize)?;
        let used = Used { backend: backend_name("queue", alias), access: Access::Write };
        self.call(used, work).await
    }

    /// Counts the bytes that a call moved, however it ended, and ends a task that exceeds its limits.
    pub(crate) fn count_transfer(&mut self) -> wasmtime::Result<()> {
        let Some(UnderWay { transfer, from, to }) = self.under_way.take() else { return Ok(()) };
        self.count_read(&from, transfer.moved())?;
        to.map_or(Ok(()), |to| self.count_written(&to, transfer.moved()))
    }

    /// Counts bytes read from a store, and ends a task that exceeds its limit.
    pub(super) fn count_read(&mut self, alias: &str, bytes: u64) -> wasmtime::Result<()> {
        self.config.calls.read(alias, bytes);
        self.usage.bytes_read += bytes;
        usage_of(&mut self.usage.stores, alias).bytes_read += bytes;
        self.within(self.usage.bytes_read, self.config.limits.read_bytes, Limit::ReadSize)
    }

    /// Counts bytes written to a store, and ends a task that exceeds its limit.
    pub(super) fn count_written(&mut self, alias: &str, bytes: u64) -> wasmtime::Result<()> {
        self.config.calls.written(alias, bytes);
        self.usage.bytes_written += bytes;
        usage_of(&mut self.usage.stores, alias).bytes_written += bytes;
        self.within(self.usage.bytes_written, self.config.limits.write_bytes, Limit::WriteSize)
    }

    fn within(&self, used: u64, most: u64, limit: Limit) -> wasmtime::Result<()> {
        if used > most { Err(LimitHit(limit).into()) } else { Ok(()) }
    }

    /// Carries out a call to a backend on the threads that own its connections. The call is abandoned if the task ends.
    async fn call<T: Send + 'static>(
        &mut self,
        used: Used,
        work: impl Future<Output = T> + Send + 'static,
    ) -> wasmtime::Result<T> {
        self.usage.calls += 1;
        let now = Instant::now();
        self.in_call = Some((now, used));
        self.called_at = Some(now);
        let result = AbortOnDropHandle::new(self.config.io.spawn(work)).await;
        self.in_call = None;
        result.map_err(|error| HostFault(format!("a call of the host was lost: {error}")).into())
    }

    /// Counts and logs a call without a grant.
    fn refuse(&mut self, kind: &'static str, alias: &str, why: &str) {
        self.usage.refusals += 1;
        self.log.call_refused(kind, alias, why);
    }

    /// Refuses a call that no grant covers. `missing` is a sentence for the operator, who may have mistyped a grant.
    fn not_granted(&mut self, kind: &'static str, alias: &str, why: &str, missing: String) {
        let alias = shorten(alias);
        self.refuse(kind, &alias, why);
        let backend = backend_name(kind, &alias);
        self.host_failed(&backend, Access::Write, HostErrorKind::NotGranted, missing);
    }

    /// Records a failed call whose cause is on the host's or the operator's side. An outage isn't replaced by a later
    /// error of another kind.
    fn host_failed(&mut self, backend: &str, access: Access, kind: HostErrorKind, text: String) {
        let is_outage = |kind: &HostErrorKind| matches!(kind, HostErrorKind::Unavailable { .. });
        if self.host_error.as_ref().is_none_or(|error| !is_outage(&error.kind) || is_outage(&kind)) {
            let used = Used { backend: backend.to_owned(), access };
            self.host_error = Some(HostError { used, kind, text });
        }
    }

    /// Records a successful call, which clears an earlier host error of the same backend and access.
    fn host_succeeded(&mut self, backend: &str, access: Access) {
        let is_this = |used: &Used| used.backend == backend && used.access == access;
        if self.host_error.as_ref().is_some_and(|error| is_this(&error.used)) {
            self.host_error = None;
        }
        // At most three entries for each grant.
        if !self.well.iter().any(is_this) {
            self.well.push(Used { backend: backend.to_owned(), access });
        }
    }
}

/// Lists the granted aliases for a sentence to the operator.
fn listed(aliases: impl Iterator<Item = impl AsRef<str>>) -> String {
    let aliases: Vec<_> = aliases.map(|alias| alias.as_ref().to_owned()).collect();
    if aliases.is_empty() { "none".into() } else { aliases.join(", ") }
}

/// Returns the task's usage of the store or queue with this alias.
fn usage_of<'a, U: Default>(usage: &'a mut BTreeMap<String, U>, alias: &str) -> &'a mut U {
    usage.entry(alias.to_owned()).or_default()
}

#[cfg(test)]
mod tests;
