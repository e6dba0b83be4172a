use super::*;
use crate::ports::memory::MemoryStore;
use crate::ports::object_ledger::ObjectLedger;
use crate::ports::staging::Staging;
use crate::task::by_key::Scope;
use crate::task::grant::Mode;
use std::time::Duration;

const RUN: RunToken = RunToken { ledger: 1, run: 2 };

/// A ledger with a staging area, which stores with one of their own don't use.
fn ledger() -> Arc<dyn Ledger> {
    Arc::new(ObjectLedger::new(Arc::new(MemoryStore::new("ledger")), Duration::from_secs(60)))
}

/// A store of a run, and the store behind it.
fn staging() -> (Arc<dyn ObjectStore>, MemoryStore, Arc<StagedOutputs>) {
    let memory = MemoryStore::new("out");
    let grant = StoreGrant {
        alias: "output".into(),
        store: Arc::new(memory.clone()),
        mode: Mode::ReadWrite,
        scope: Scope::All,
    };
    let grants = Grants { stores: [("output".into(), grant)].into(), ..Grants::default() };
    let outputs = Arc::new(StagedOutputs::new(RUN, ledger(), &grants));
    let store = outputs.grants(&grants).stores["output"].store.clone();
    (store, memory, outputs)
}

async fn put(store: &dyn ObjectStore, key: &str, content: &'static str) -> Result<ObjectInfo, StoreError> {
    let mut writer = store.write(key, PutOptions::default()).await?;
    writer.write(Bytes::from_static(content.as_bytes())).await?;
    writer.finish().await
}

async fn staged_numbers(memory: &MemoryStore) -> Vec<u32> {
    let names = memory.staged(RUN.ledger, None, 1000, Duration::ZERO).await.expect("names");
    names.names.into_iter().map(|name| name.number).collect()
}

#[tokio::test]
async fn what_a_run_writes_and_deletes_is_seen_by_nobody_before_it_is_placed() {
    let (store, memory, outputs) = staging();
    memory.insert("old", "old");
    put(&*store, "new", "new").await.expect("staged");
    store.delete("old").await.expect("noted");
    assert_eq!((memory.content("new"), memory.content("old")), (None, Some("old".into())));
    assert_eq!(store.head("new", None).await, Err(StoreError::NotFound), "nor by the run itself");
    assert_eq!(store.list("", None, 10).await.expect("a page").objects.len(), 1);
    let list = outputs.list(None);
    let of = |key: &str, staged: Option<u32>| StagedOutput {
        store: 0,
        key: key.into(),
        staged,
        bytes: staged.map_or(0, |_| 3),
    };
    assert_eq!(list.outputs, [of("new", Some(0)), of("old", None)]);
    assert_eq!(list.stores, ["memory:out/"]);
}

#[tokio::test]
async fn the_last_output_of_a_key_counts_and_the_others_leave_nothing() {
    let (store, memory, outputs) = staging();
    for content in ["1", "2", "3"] {
        put(&*store, "a", content).await.expect("staged");
    }
    put(&*store, "b", "x").await.expect("staged");
    store.delete("b").await.expect("noted");
    assert_eq!(staged_numbers(&memory).await, [2]);
    let staged: Vec<_> = outputs.list(None).outputs.into_iter().map(|output| output.staged).collect();
    assert_eq!(staged, [Some(2), None]);
    outputs.discard().await;
    assert_eq!(staged_numbers(&memory).await, [0_u32; 0]);
}

#[tokio::test]
async fn keys_that_exclude_each_other_in_a_directory_are_refused_while_the_task_runs() {
    for (first, second) in [("a", "a/b"), ("a/b", "a"), ("a/b/c", "a"), ("a", "a/b/c")] {
        let (store, memory, _) = staging();
        put(&*store, first, "x").await.expect("staged");
        put(&*store, "a-", "x").await.expect("staged");
        let refused = put(&*store, second, "x").await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{first} {second}: {refused:?}");
        assert_eq!(staged_numbers(&memory).await, [0, 1], "{first} {second}");
    }
}

#[tokio::test]
async fn a_condition_is_refused_and_so_are_more_outputs_than_a_commit_holds() {
    let (store, memory, outputs) = staging();
    for condition in [Condition::IfAbsent, Condition::IfMatch("x".into())] {
        let refused = store.write("a", PutOptions { condition, ..PutOptions::default() }).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))));
    }
    for number in 0..MOST_OUTPUTS {
        store.delete(&format!("{number}")).await.expect("noted");
    }
    assert!(matches!(store.delete("one more").await, Err(StoreError::Invalid(_))));
    assert!(matches!(put(&*store, "one more", "x").await, Err(StoreError::Invalid(_))));
    put(&*store, "7", "instead of a deletion").await.expect("staged");
    assert_eq!(staged_numbers(&memory).await.len(), 1);
    assert_eq!(outputs.list(None).outputs.len(), MOST_OUTPUTS);
}

#[tokio::test]
async fn a_store_that_may_only_be_read_does_not_stage() {
    let memory = MemoryStore::new("in");
    let grant = StoreGrant {
        alias: "input".into(),
        store: Arc::new(memory),
        mode: Mode::ReadOnly,
        scope: Scope::All,
    };
    let grants = Grants { stores: [("input".into(), grant.clone())].into(), ..Grants::default() };
    let outputs = Arc::new(StagedOutputs::new(RUN, ledger(), &grants));
    assert!(Arc::ptr_eq(&outputs.grants(&grants).stores["input"].store, &grant.store));
}

#[tokio::test]
async fn a_part_of_a_store_stages_by_the_keys_of_the_whole_store() {
    let (store, memory, outputs) = staging();
    memory.insert("acme/old", "old");
    let part = store.part("acme/");
    let info = put(&*part, "new", "new").await.expect("staged");
    assert_eq!((&*info.key, memory.content("acme/new")), ("new", None));
    part.delete("old").await.expect("noted");
    assert_eq!(memory.content("acme/old"), Some("old".into()));
    let of = |key: &str, staged: Option<u32>| StagedOutput {
        store: 0,
        key: key.into(),
        staged,
        bytes: staged.map_or(0, |_| 3),
    };
    let list = outputs.list(None);
    assert_eq!(list.outputs, [of("acme/new", Some(0)), of("acme/old", None)]);
    assert_eq!(list.stores, ["memory:out/"]);
}
