//! Key-value buckets. What every bucket must do is also shown of the bucket in memory.

use super::World;
use crate::sqlite::SqliteBucket;
use bytes::Bytes;
use std::sync::Arc;
use wasmrun_runtime::ports::keyvalue::{KeyValueBucket, KeyValueError};
use wasmrun_runtime::ports::memory::MemoryBucket;

/// A bucket in memory and one in a file.
fn both(world: &World) -> [Arc<dyn KeyValueBucket>; 2] {
    [Arc::new(MemoryBucket::default()), Arc::new(bucket(world))]
}

fn bucket(world: &World) -> SqliteBucket {
    SqliteBucket::open(&world.url("cache.db"), true).unwrap()
}

async fn set(bucket: &dyn KeyValueBucket, key: &str, value: &'static str) {
    bucket.set(vec![(key.into(), value.into())]).await.unwrap();
}

async fn get(bucket: &dyn KeyValueBucket, key: &str) -> Option<Bytes> {
    bucket.get(vec![key.into()], 1000).await.unwrap().remove(0).map(|entry| entry.value)
}

#[tokio::test]
async fn a_value_is_never_taken_for_an_earlier_one() {
    let world = World::new();
    for bucket in both(&world) {
        assert_eq!(bucket.version("key".into()).await, Ok(None));
        set(&*bucket, "key", "a").await;
        let first = bucket.version("key".into()).await.unwrap();
        assert!(first.is_some());
        let swap = |expected| bucket.swap("key".into(), expected, "b".into());
        assert_eq!(swap(None).await, Err(KeyValueError::Changed));
        // The same value, written anew.
        bucket.delete(vec!["key".into()]).await.unwrap();
        assert_eq!(swap(first).await, Err(KeyValueError::Changed));
        set(&*bucket, "key", "a").await;
        assert_eq!(swap(first).await, Err(KeyValueError::Changed));
        let entry = bucket.get(vec!["key".into()], 1).await.unwrap().remove(0).unwrap();
        assert_eq!(swap(Some(entry.version)).await, Ok(()));
        assert_eq!(get(&*bucket, "key").await, Some("b".into()));
        assert_eq!(bucket.swap("new".into(), None, "c".into()).await, Ok(()));
        assert_eq!(get(&*bucket, "new").await, Some("c".into()));
    }
}

#[tokio::test]
async fn an_answer_is_as_large_as_asked_for_or_none() {
    let world = World::new();
    for bucket in both(&world) {
        set(&*bucket, "a", "12345").await;
        set(&*bucket, "b", "").await;
        let keys = || ["a", "none", "b", "a"].map(str::to_owned).to_vec();
        assert_eq!(bucket.get(keys(), 9).await, Err(KeyValueError::TooLarge));
        let found = bucket.get(keys(), 10).await.unwrap();
        let found: Vec<_> = found.into_iter().map(|entry| entry.map(|entry| entry.value)).collect();
        let five = Bytes::from("12345");
        assert_eq!(found, [Some(five.clone()), None, Some(Bytes::new()), Some(five)]);
    }
}

#[tokio::test]
async fn pages_hold_each_key_once_whatever_is_written_or_deleted_meanwhile() {
    let world = World::new();
    for bucket in both(&world) {
        let key = |number: usize| format!("key {number}");
        bucket.set((0..7).map(|number| (key(number), Bytes::new())).collect()).await.unwrap();
        let first = bucket.list(0, 3).await.unwrap();
        assert_eq!(first.keys.len(), 3);
        bucket.delete(vec![key(4)]).await.unwrap();
        set(&*bucket, &key(0), "again").await;
        let second = bucket.list(first.next.unwrap(), 3).await.unwrap();
        assert_eq!((second.keys.len(), second.next), (3, None));
        let mut all = [first.keys, second.keys].concat();
        all.sort();
        assert_eq!(all, [0, 1, 2, 3, 5, 6].map(key));
        assert_eq!(bucket.list(u64::MAX, 3).await.unwrap().keys, Vec::<String>::new());
    }
}

#[tokio::test]
async fn numbers_of_several_connections_add_up() {
    let world = World::new();
    let connections = [bucket(&world), bucket(&world), bucket(&world)].map(Arc::new);
    let tasks = connections.map(|bucket| {
        tokio::spawn(async move {
            for _ in 0..50 {
                bucket.increment("n".into(), 1).await.unwrap();
            }
        })
    });
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(get(&bucket(&world), "n").await, Some("150".into()));
    let wrong = bucket(&world);
    set(&wrong, "text", "x").await;
    assert!(matches!(wrong.increment("text".into(), 1).await, Err(KeyValueError::Invalid(_))));
    assert_eq!(get(&wrong, "text").await, Some("x".into()));
}

#[tokio::test]
async fn a_missing_file_is_created_by_the_first_call_and_only_once() {
    let world = World::new();
    let path = world.dir.path().join("cache.db");
    let read_only = SqliteBucket::open(&world.url("cache.db"), false);
    assert!(matches!(read_only, Err(KeyValueError::Unusable(_))));
    let bucket = bucket(&world);
    assert!(!path.exists());
    assert_eq!(get(&bucket, "key").await, None);
    assert!(path.exists());
    set(&bucket, "key", "x").await;
    // A file that disappears isn't replaced by an empty one.
    std::fs::rename(&path, world.dir.path().join("moved.db")).unwrap();
    let gone = bucket.get(vec!["key".into()], 10).await;
    assert!(matches!(gone, Err(KeyValueError::Unavailable(_))), "{gone:?}");
    assert!(!path.exists());
    std::fs::rename(world.dir.path().join("moved.db"), &path).unwrap();
    assert_eq!(get(&bucket, "key").await, Some("x".into()));
}
