//! Directories that don't exist, vanish, and come back.

use super::*;
use crate::give_up;
use std::time::Duration;

fn refused(url: &str) -> String {
    match DirStore::open(url) {
        Err(StoreError::Invalid(text)) => text,
        other => panic!("{url} should be refused: {other:?}"),
    }
}

#[test]
fn opening_says_what_is_wrong() {
    let world = World::new();
    world.place("file", "");
    let url = |name: &str| format!("dir:{}", world.path(name).display());
    assert!(refused(&url("no/such")).contains("create it"));
    assert!(refused(&url("file")).contains("is not a directory"));
    for url in ["", "dir:", "x", "s3://x", "dir:a\0b"] {
        assert!(refused(url).contains("dir:PATH"), "{url:?}");
    }
}

#[test]
fn the_url_is_absolute_and_ends_with_a_slash() {
    let world = World::new();
    let url = format!("dir:{}/", world.path("").canonicalize().unwrap().display());
    for way in ["", "."] {
        assert_eq!(open(&world.path(way)).url(), url);
    }
    assert_eq!(DirStore::open("dir:/").unwrap().url(), "dir:/");
    assert!(DirStore::open("dir:.").unwrap().path().is_absolute());
}

#[tokio::test]
async fn a_store_that_is_only_read_is_not_written_to() {
    let world = World::new();
    world.place("x", "1");
    world.store.probe(false).await.unwrap();
    get(&world.store, "x").await.unwrap();
    world.store.delete("no/such").await.unwrap();
    assert_eq!(std::fs::read_dir(world.path("")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_directory_that_vanishes_is_unavailable_and_comes_back() {
    let world = World::new();
    put(&world.store, "a/x", "1").await.unwrap();
    let mut writer = world.store.write("a/y", PutOptions::default()).await.unwrap();
    writer.write(Bytes::from_static(b"2")).await.unwrap();
    let (here, away) = (world.path(""), world.dir.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    let unavailable = |result: Result<(), StoreError>| {
        assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}")
    };
    unavailable(world.store.probe(false).await);
    unavailable(world.store.head("a/x", None).await.map(drop));
    unavailable(world.store.head("no", None).await.map(drop));
    unavailable(world.store.read("a/x", None, None).await.map(drop));
    unavailable(world.store.list("", None, 10).await.map(drop));
    unavailable(world.store.delete("a/x").await);
    unavailable(put(&world.store, "z", "1").await.map(drop));
    unavailable(writer.finish().await.map(drop));
    std::fs::rename(&away, &here).unwrap();
    world.store.probe(true).await.unwrap();
    assert_eq!(keys(&world.store, "").await, ["a/x"]);
    put(&world.store, "a/y", "2").await.unwrap();
}

#[tokio::test]
async fn a_directory_that_was_replaced_is_used_but_not_for_a_write_begun_in_the_old_one() {
    let world = World::new();
    put(&world.store, "x", "old").await.unwrap();
    let writer = world.store.write("y", PutOptions::default()).await.unwrap();
    std::fs::rename(world.path(""), world.dir.path().join("old")).unwrap();
    std::fs::create_dir(world.path("")).unwrap();
    assert!(matches!(writer.finish().await, Err(StoreError::Unavailable(_))));
    assert_eq!(get(&world.store, "x").await, Err(StoreError::NotFound));
    put(&world.store, "x", "new").await.unwrap();
    assert_eq!(keys(&world.store, "").await, ["x"]);
    assert!(!world.dir.path().join("old/y").exists());
}

#[tokio::test]
async fn what_killed_processes_left_is_swept_and_what_is_in_use_is_not() {
    let world = World::new();
    let mut writer = world.store.write("x", PutOptions::default()).await.unwrap();
    for i in 0..3 {
        world.place(&format!(".wasmrun/tmp/left{i}"), "1");
    }
    open(&world.path("")).probe(true).await.unwrap();
    assert_eq!(world.temporaries(), 1);
    writer.write(Bytes::from_static(b"1")).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(get(&world.store, "x").await.unwrap(), "1");
    assert_eq!(world.temporaries(), 0);
}

/// A call whose future is dropped, as when a task ends, goes on on its thread until it learns that it was abandoned.
#[tokio::test]
async fn a_call_that_nobody_waits_for_any_more_is_told_so() {
    let world = World::new();
    let (begins, has_begun) = tokio::sync::oneshot::channel();
    let (ends, has_ended) = tokio::sync::oneshot::channel();
    let call = world.store.in_root(move |_, call| {
        let _ = begins.send(());
        while call.check("list", "").is_ok() {
            std::thread::yield_now();
        }
        let _ = ends.send(());
        Ok(())
    });
    tokio::select! {
        _ = call => panic!("it ends when it's abandoned"),
        begun = has_begun => begun.unwrap(),
    }
    tokio::time::timeout(Duration::from_secs(30), has_ended).await.unwrap().unwrap();
}

#[test]
fn nobody_stands_in_line_for_a_lock_that_is_of_no_use_any_more() {
    let world = World::new();
    let (root, call) = (world.store.root.enter().unwrap(), Call::default());
    let _held = lock::Lock::take(&root, lock::Hold::Alone, &call).unwrap();
    call.abandon(&Arc::default());
    match lock::Lock::take(&root, lock::Hold::Together, &call) {
        Err(StoreError::Unavailable(why)) => assert!(why.contains("abandoned"), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// Each call is abandoned right before it would change something.
#[tokio::test]
async fn a_call_that_was_abandoned_neither_writes_nor_deletes() {
    let world = World::new();
    world.place("x", "1");
    let root = world.store.root.enter().unwrap();
    let call = Call::default();
    let put = Put::begin(Arc::clone(&world.store.root), Key::parse("", "x").unwrap(), PutOptions::default())
        .unwrap();
    call.abandon(&Arc::default());
    let unavailable = |result| assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    unavailable(write::delete(&root, &Key::parse("", "x").unwrap(), &call));
    unavailable(put.finish(&call).map(drop));
    assert_eq!(get(&world.store, "x").await.unwrap(), "1");
    assert_eq!(world.temporaries(), 0);
}

#[tokio::test]
async fn on_a_disk_that_hangs_no_call_begins_and_files_are_closed_and_removed_on_a_thread_for_that() {
    let world = World::new();
    world.place("x", "1");
    let mut reader = world.store.read("x", None, None).await.unwrap();
    let [mut writer, finished, left] =
        [put_begun(&world, "a").await, put_begun(&world, "b").await, put_begun(&world, "c").await];
    let store = &world.store;
    let hanging = store.blocking.fill().await;
    let dropping = store.blocking.hold_drops();
    give_up(store.head("x", None));
    give_up(store.read("x", None, None));
    give_up(store.write("x", PutOptions::default()));
    give_up(store.list("", None, 10));
    give_up(store.delete("x"));
    give_up(store.probe(true));
    give_up(reader.read(1));
    assert_eq!(store.blocking.counts(), (hanging.len(), 1));
    give_up(writer.write(Bytes::from_static(b"2")));
    give_up(finished.finish());
    drop((left, reader));
    assert_eq!(store.blocking.counts(), (hanging.len(), 5));
    assert_eq!(world.temporaries(), 3);
    drop((hanging, dropping));
    store.blocking.rest().await;
    assert_eq!(world.temporaries(), 0);
    assert_eq!(keys(store, "").await, ["x"]);
}

#[tokio::test]
async fn where_files_are_not_closed_no_more_are_opened() {
    let world = World::new();
    world.place("x", "1");
    let (store, blocking) = (&world.store, &world.store.blocking);
    let dropping = blocking.fill_drops();
    let opened = async { tokio::join!(store.read("x", None, None), store.probe(true), put(store, "y", "2")) };
    let mut opened = std::pin::pin!(opened);
    tokio::select! {
        biased;
        _ = &mut opened => panic!("they wait"),
        head = store.head("x", None) => assert_eq!(head.unwrap().size, 1),
    }
    assert_eq!(blocking.catching_up(), 3);
    drop(dropping);
    let (read, probed, put) = opened.await;
    assert_eq!(drain(read.unwrap()).await, "1");
    probed.unwrap();
    put.unwrap();
}

#[test]
fn a_listing_that_nobody_waits_for_any_more_reads_no_directory() {
    let world = World::new();
    std::fs::create_dir(world.path("empty")).unwrap();
    let call = Call::default();
    let page = || world.store.root.inside(|entered| list::page(entered, "empty/", None, 10, &call));
    assert!(page().unwrap().objects.is_empty());
    call.abandon(&Arc::default());
    assert!(matches!(page(), Err(StoreError::Unavailable(_))));
}
