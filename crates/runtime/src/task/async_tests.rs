//! What a guest with async functions does to the host in the locked version of the engine, and so why the engine's
//! component-model-async is off.
//!
//! A test that fails here means that a newer version of the engine mends what the test shows: delete it. When none is
//! left, decide again whether async components may run. `docs/src/internals/decisions/async.md` says what else must hold.

use super::store::{self, Delivered, TaskConfig, TaskState};
use crate::engine;
use crate::model::limits::Limits;
use crate::model::message::Message;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use wasmtime::component::{
    Component, ComponentNamedList, Linker, Lower, Source, StreamConsumer, StreamReader, StreamResult,
};
use wasmtime::{Store, StoreContextMut};

/// Writes to a stream, and then cancels a *read* of its writable end. The engine then takes that end for a readable one,
/// so the guest can pass it to the host, and reads what it wrote before the host does.
const WRONG_END: &str = r#"(component
    (type $bytes (stream u8))
    (import "take" (func $take (param "from" $bytes)))
    (core module $memory (memory (export "memory") 1))
    (core instance $memory (instantiate $memory))
    (alias core export $memory "memory" (core memory $memory))
    (core func $take (canon lower (func $take)))
    (core func $new (canon stream.new $bytes))
    (core func $read (canon stream.read $bytes async (memory $memory)))
    (core func $write (canon stream.write $bytes async (memory $memory)))
    (core func $cancel-read (canon stream.cancel-read $bytes))
    (core module $guest
        (import "host" "take" (func $take (param i32)))
        (import "host" "new" (func $new (result i64)))
        (import "host" "read" (func $read (param i32 i32 i32) (result i32)))
        (import "host" "write" (func $write (param i32 i32 i32) (result i32)))
        (import "host" "cancel-read" (func $cancel-read (param i32) (result i32)))
        (func (export "run") (result i32) (local $ends i64) (local $readable i32) (local $writable i32)
            (local.set $ends (call $new))
            (local.set $readable (i32.wrap_i64 (local.get $ends)))
            (local.set $writable (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
            (drop (call $write (local.get $writable) (i32.const 0) (i32.const 4)))
            (drop (call $cancel-read (local.get $writable)))
            (call $take (local.get $writable))
            (drop (call $read (local.get $readable) (i32.const 0) (i32.const 4)))
            (i32.const 1 (; yield ;)))
        (func (export "callback") (param i32 i32 i32) (result i32) (i32.const 1)))
    (core instance $guest (instantiate $guest (with "host" (instance
        (export "take" (func $take))
        (export "new" (func $new))
        (export "read" (func $read))
        (export "write" (func $write))
        (export "cancel-read" (func $cancel-read))))))
    (func (export "run") async (canon lift (core func $guest "run") async (callback (core func $guest "callback")))))"#;

/// Calls an async function of an inner component as often as its argument says. Each call has completed when it returns,
/// so the guest never holds a handle of it.
const COMPLETED_SUBTASKS: &str = r#"(component
    (component $callee
        (core func $return (canon task.return))
        (core module $guest
            (import "host" "return" (func $return))
            (func (export "run") (result i32) (call $return) (i32.const 0 (; exit ;)))
            (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
        (core instance $guest (instantiate $guest (with "host" (instance (export "return" (func $return))))))
        (func (export "run") async
            (canon lift (core func $guest "run") async (callback (core func $guest "callback")))))
    (component $caller
        (import "callee" (func $callee async))
        (core func $callee (canon lower (func $callee) async))
        (core func $return (canon task.return))
        (core module $guest
            (import "host" "callee" (func $callee (result i32)))
            (import "host" "return" (func $return))
            (func (export "run") (param $calls i32) (result i32)
                (loop $again
                    (if (i32.ne (call $callee) (i32.const 2 (; returned ;))) (then unreachable))
                    (br_if $again (local.tee $calls (i32.sub (local.get $calls) (i32.const 1)))))
                (call $return)
                (i32.const 0))
            (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
        (core instance $guest (instantiate $guest (with "host" (instance
            (export "callee" (func $callee))
            (export "return" (func $return))))))
        (func (export "run") async (param "calls" u32)
            (canon lift (core func $guest "run") async (callback (core func $guest "callback")))))
    (instance $callee (instantiate $callee))
    (instance $caller (instantiate $caller (with "callee" (func $callee "run"))))
    (export "run" (func $caller "run")))"#;

/// Takes all that there is, and asks first how much that is.
struct Consumer;

impl StreamConsumer<TaskState> for Consumer {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut store: StoreContextMut<'_, TaskState>,
        mut source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if finish {
            return Poll::Ready(Ok(StreamResult::Cancelled));
        }
        let mut bytes = Vec::with_capacity(source.remaining(&mut store));
        source.read(&mut store, &mut bytes)?;
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

/// Calls `run` of the component in a store as tasks have, which `prepare` changes.
async fn run<A>(text: &str, argument: A, prepare: impl FnOnce(&mut Store<TaskState>)) -> wasmtime::Result<()>
where
    A: ComponentNamedList + Lower + Send + Sync + 'static,
{
    let limits = Limits { fuel: 1_000_000, ..Limits::default() };
    let engine = engine::with_async(&limits)?;
    let component = Component::new(&engine, wat::parse_str(text).expect("text"))?;
    let config = TaskConfig::within(limits);
    let delivered = Arc::new(Delivered::plain(Arc::new(Message::new("m", ""))));
    let mut store = store::task_store(&engine, &Arc::new(config), &delivered)?;
    prepare(&mut store);
    let mut linker = Linker::new(&engine);
    linker.root().func_wrap(
        "take",
        |mut store: StoreContextMut<'_, TaskState>, (from,): (StreamReader<u8>,)| {
            from.pipe(&mut store, Consumer)?;
            Ok(())
        },
    )?;
    let instance = linker.instantiate_async(&mut store, &component).await?;
    instance.get_typed_func::<A, ()>(&mut store, "run")?.call_async(&mut store, argument).await
}

/// GHSA-xrvr-8678-5wp8, "Panic when a component cancels a stream or future copy on the wrong end", mended in 48.0.9 and
/// 50.0.2.
#[tokio::test]
async fn a_guest_that_cancels_on_the_wrong_end_of_a_stream_makes_the_host_panic() {
    let ended = tokio::spawn(async { run(WRONG_END, (), |_| {}).await }).await;
    assert!(ended.is_err_and(|error| error.is_panic()), "the engine isolates this: see the comment above");
}

/// The host keeps some 400 bytes for each call between components that has completed, until the store is dropped. No
/// limit on handles counts them. The capacity of the engine's own table does, but it ends a guest for the number of
/// calls that it has made, and not for what it holds.
#[tokio::test]
async fn calls_between_components_that_have_completed_stay_in_the_hosts_memory() {
    let small = |store: &mut Store<TaskState>| {
        store.concurrent_resource_table().expect("async").set_max_capacity(1_000);
    };
    run(COMPLETED_SUBTASKS, (100_u32,), small).await.expect("few calls");
    let error =
        run(COMPLETED_SUBTASKS, (2_000_u32,), small).await.expect_err("the engine frees completed calls");
    assert!(format!("{error:#}").contains("no free keys"), "{error:#}");
}
