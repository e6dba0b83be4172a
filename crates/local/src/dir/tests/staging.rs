//! Objects that are staged before they are placed.

use super::*;
use std::time::Duration;
use wasmrun_runtime::ports::staging::{RunToken, StagedName, StagedNames};

const RUN: RunToken = RunToken { ledger: 7, run: 1 };

fn name(number: u32) -> StagedName {
    StagedName { run: RUN, number }
}

async fn stage(store: &DirStore, number: u32, key: &str, content: &str) -> Result<ObjectInfo, StoreError> {
    let options = PutOptions { content_type: Some("text/x-test".into()), ..PutOptions::default() };
    let mut writer = store.stage(name(number), key, options).await?;
    writer.write(Bytes::from(content.to_owned())).await?;
    writer.finish().await
}

async fn staged(store: &DirStore) -> Vec<StagedName> {
    store.staged(RUN.ledger, None, 1000, Duration::ZERO).await.unwrap().names
}

#[tokio::test]
async fn a_staged_object_appears_when_it_is_placed_with_its_metadata() {
    let world = World::new();
    let info = stage(&world.store, 1, "a/b", "hello").await.unwrap();
    assert_eq!((info.size, info.etag, info.key.as_str()), (5, None, "a/b"));
    assert_eq!(keys(&world.store, "").await, [""; 0]);
    assert_eq!((staged(&world.store).await, world.temporaries()), (vec![name(1)], 0));
    world.store.place(name(1), "a/b").await.unwrap();
    assert_eq!(get(&world.store, "a/b").await.unwrap(), "hello");
    let info = world.store.head("a/b", None).await.unwrap();
    assert_eq!(info.content_type.as_deref(), Some("text/x-test"));
    assert_eq!(staged(&world.store).await, []);
}

#[tokio::test]
async fn placing_again_does_not_replace_what_was_written_since() {
    let world = World::new();
    stage(&world.store, 1, "a", "ours").await.unwrap();
    world.store.place(name(1), "a").await.unwrap();
    put(&world.store, "a", "later").await.unwrap();
    world.store.place(name(1), "a").await.unwrap();
    assert_eq!(get(&world.store, "a").await.unwrap(), "later");
    world.store.delete("a").await.unwrap();
    world.store.place(name(1), "a").await.unwrap();
    world.store.place(name(1), "no/such/directory").await.unwrap();
    assert_eq!(keys(&world.store, "").await, [""; 0]);
}

#[tokio::test]
async fn several_workers_may_place_one_object_at_once() {
    let world = World::new();
    for round in 0..50 {
        stage(&world.store, round, "deep/er/a", "x").await.unwrap();
        let place = || world.store.place(name(round), "deep/er/a");
        let (first, second, third) = tokio::join!(place(), place(), place());
        assert_eq!([first, second, third], [Ok(()), Ok(()), Ok(())]);
        world.store.delete("deep/er/a").await.unwrap();
    }
    assert_eq!(staged(&world.store).await, []);
}

#[tokio::test]
async fn a_writer_that_is_dropped_and_an_object_that_is_discarded_leave_nothing() {
    let world = World::new();
    drop(world.store.stage(name(1), "a", PutOptions::default()).await.unwrap());
    stage(&world.store, 2, "b", "x").await.unwrap();
    world.store.discard(name(2)).await.unwrap();
    world.store.discard(name(2)).await.unwrap();
    world.store.clear_away().await;
    assert_eq!((staged(&world.store).await, world.temporaries()), (vec![], 0));
}

#[tokio::test]
async fn only_the_names_of_one_ledger_are_listed_in_order_and_in_pages() {
    let world = World::new();
    for number in [3, 1, 2] {
        stage(&world.store, number, "a", "x").await.unwrap();
    }
    let other = StagedName { run: RunToken { ledger: 8, run: 1 }, number: 0 };
    world.store.stage(other, "a", PutOptions::default()).await.unwrap().finish().await.unwrap();
    world.place(".wasmrun/staged/0000000000000007-not a name", "x");
    assert_eq!(staged(&world.store).await, [name(1), name(2), name(3)]);
    let after = |after, limit| world.store.staged(RUN.ledger, Some(name(after)), limit, Duration::ZERO);
    let second = StagedNames { names: vec![name(2)], goes_on_after: Some(name(2)) };
    assert_eq!(after(1, 1).await, Ok(second));
    assert_eq!(after(2, 2).await, Ok(StagedNames { names: vec![name(3)], goes_on_after: None }));
    assert_eq!(world.store.staged(9, None, 10, Duration::ZERO).await, Ok(StagedNames::default()));
}

#[tokio::test]
async fn what_could_not_be_placed_is_refused_before() {
    let world = World::new();
    put(&world.store, "file", "x").await.unwrap();
    put(&world.store, "directory/x", "x").await.unwrap();
    std::os::unix::fs::symlink("/tmp", world.path("link")).unwrap();
    for key in ["file/x", "file/x/y", "directory", "link", "link/x", "../x", "a//b", ".wasmrun/tmp/x", ""] {
        let refused = stage(&world.store, 1, key, "x").await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{key}: {refused:?}");
    }
    assert_eq!((staged(&world.store).await, world.temporaries()), (vec![], 0));
}
