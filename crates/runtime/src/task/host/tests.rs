//! Tests of which backend the failures of a task's calls are recorded of.

use super::bindings::wasmrun::task::object_store::{Condition, HostStore, PutOptions};
use super::object_store::StoreHandle;
use super::queue::{HostQueue, OutgoingMessage};
use super::*;
use crate::engine::{self, CodeOptions, Frames};
use crate::model::limits::Limits;
use crate::model::message::Message;
use crate::ports::memory::{FaultyStore, MemoryQueue, MemoryStore};
use crate::ports::object_store::StoreError;
use crate::task::by_key::Scope;
use crate::task::grant::{Grants, Mode, StoreGrant};
use crate::task::store::{Delivered, TaskConfig, task_store};
use futures_util::FutureExt;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::Store;
use wasmtime::component::Resource;

/// Returns the store of a task that may use these object stores and these queues.
fn task(stores: &[(&str, &FaultyStore)], queues: &[&str]) -> Store<TaskState> {
    let grant = |alias: &str, store: &FaultyStore| StoreGrant {
        alias: alias.into(),
        store: Arc::new(store.clone()),
        mode: Mode::ReadWrite,
        scope: Scope::All,
    };
    let queue = |alias: &str| Arc::new(MemoryQueue::new(alias, Duration::from_secs(1)));
    let grants = Grants {
        stores: stores.iter().map(|(alias, store)| ((*alias).into(), grant(alias, store))).collect(),
        queues: queues.iter().map(|alias| ((*alias).into(), queue(alias) as _)).collect(),
        ..Grants::default()
    };
    state(Limits::default(), grants)
}

/// Returns the store of a task with these limits and grants.
pub(super) fn state(limits: Limits, grants: Grants) -> Store<TaskState> {
    let engine = engine::on_demand(CodeOptions::default(), &limits, Frames::Named).expect("an engine");
    let config = TaskConfig { grants: Arc::new(grants), ..TaskConfig::within(limits) };
    let delivered = Arc::new(Delivered::plain(Arc::new(Message::new("m", ""))));
    task_store(&engine, &Arc::new(config), &delivered).expect("a store")
}

fn faulty(name: &str) -> FaultyStore {
    FaultyStore::new(MemoryStore::new(name))
}

fn down() -> StoreError {
    StoreError::Unavailable("down".into())
}

fn of(backend: &str, access: Access) -> Used {
    Used { backend: backend.into(), access }
}

fn opened(task: &mut TaskState, alias: &str) -> Resource<StoreHandle> {
    HostStore::open(task, alias.into()).expect("granted")
}

fn unconditional() -> PutOptions {
    PutOptions { content_type: None, cache_control: None, metadata: Vec::new(), condition: Condition::Always }
}

#[tokio::test]
async fn a_queue_that_works_says_nothing_about_the_store_with_the_same_alias() {
    let store = faulty("s");
    store.lose([down()]);
    let mut task = task(&[("out", &store)], &["out"]);
    let task = task.data_mut();
    let of_store = opened(task, "out");
    assert!(task.put(of_store, "key".into(), b"x".to_vec(), unconditional()).await.is_err());
    let of_queue = HostQueue::open(task, "out".into()).expect("granted");
    let message = OutgoingMessage {
        body: "hello".into(),
        attributes: Vec::new(),
        delay_seconds: None,
        group: None,
        deduplication_id: None,
    };
    task.send(of_queue, message).await.expect("sent");
    assert_eq!(task.host_error.as_ref().map(|error| &error.used), Some(&of("out", Access::Write)));
    assert_eq!(task.well, [of("queue out", Access::Write)]);
    // The worker counts the two apart.
    let backends: Vec<_> = task.config.grants.backends().collect();
    assert_eq!(backends, ["out", "queue out"]);
}

/// Copies between the stores `from` and `to`. Returns the task's host error, and what the task used successfully.
async fn copied(from: &FaultyStore, to: &FaultyStore) -> (Option<HostError>, Vec<Used>) {
    from.memory.insert("old", "content");
    let mut task = task(&[("from", from), ("to", to)], &[]);
    let task = task.data_mut();
    let (source, destination) = (opened(task, "from"), opened(task, "to"));
    let copied = task.copy(source, "old".into(), None, destination, "new".into(), Condition::Always).await;
    assert_eq!(copied.is_ok(), task.host_error.is_none());
    (task.host_error.take(), std::mem::take(&mut task.well))
}

#[tokio::test]
async fn a_copy_that_fails_blames_the_store_that_failed() {
    let (error, well) = copied(&faulty("from"), &faulty("to")).await;
    assert_eq!((error, &*well), (None, &[of("from", Access::Read), of("to", Access::Write)][..]));

    let unwritable = faulty("to");
    unwritable.lose([down()]);
    let (error, _) = copied(&faulty("from"), &unwritable).await;
    let error = error.expect("a failure");
    assert_eq!((error.used, &*error.text), (of("to", Access::Write), "store to: down"));

    let mut unreadable = faulty("from");
    unreadable.unreadable = true;
    let (error, _) = copied(&unreadable, &faulty("to")).await;
    let error = error.expect("a failure");
    assert_eq!((error.used, &*error.text), (of("from", Access::Read), "store from: down"));
    assert_eq!(error.kind, HostErrorKind::Unavailable { reading: Some("old".into()) });
}

#[tokio::test]
async fn a_call_that_is_abandoned_says_which_store_did_not_answer() {
    let mut hangs = faulty("from");
    hangs.hangs = Some("old".into());
    hangs.memory.insert("old", "content");
    let to = faulty("to");
    let mut task = task(&[("from", &hangs), ("to", &to)], &[]);
    let task = task.data_mut();
    assert!(task.unanswered().is_none());
    let (source, destination) = (opened(task, "from"), opened(task, "to"));
    let copy = task.copy(source, "old".into(), None, destination, "new".into(), Condition::Always);
    assert!(copy.now_or_never().is_none());
    assert_eq!(task.unanswered().map(|call| call.used), Some(of("from", Access::Read)));
    let (transfer, used) =
        (task.under_way.as_ref().map(|copy| copy.transfer.clone()), of("to", Access::Write));
    transfer.expect("under way").turn_to(Access::Write);
    assert_eq!(task.unanswered().map(|call| call.used), Some(used));
}
