//! Writing, reading and deleting objects.

use super::*;
use std::time::Duration;

#[tokio::test]
async fn an_object_comes_back_with_its_content_type_cache_control_and_metadata() {
    let world = World::new();
    let options = PutOptions {
        content_type: Some("image/x-odd".into()),
        cache_control: Some("public, max-age=60".into()),
        metadata: vec![("name".into(), "größe \"1\"".into()), ("b".into(), String::new())],
        condition: Condition::Always,
    };
    let written = put_with(&world.store, "a/b/c.jpg", "content", options.clone()).await.unwrap();
    assert_eq!(written.key, "a/b/c.jpg");
    assert_eq!(written.size, 7);
    assert_eq!((&written.content_type, &written.metadata), (&options.content_type, &options.metadata));
    assert_eq!(written.cache_control, options.cache_control);
    assert!(written.modified_at.unwrap().elapsed().unwrap().as_secs() < 60);
    assert_eq!(world.store.head("a/b/c.jpg", None).await.unwrap(), written);
    assert_eq!(get(&world.store, "a/b/c.jpg").await.unwrap(), "content");
    assert_eq!(std::fs::read_to_string(world.path("a/b/c.jpg")).unwrap(), "content");
    let listed = world.store.list("", None, 10).await.unwrap().objects.remove(0);
    assert_eq!((listed.etag, listed.size, listed.modified_at), (written.etag, 7, written.modified_at));
    assert_eq!(world.temporaries(), 0);
}

#[tokio::test]
async fn files_of_other_programs_are_objects() {
    let world = World::new();
    world.place("in/photo.JPG", "pixels");
    let info = world.store.head("in/photo.JPG", None).await.unwrap();
    assert_eq!((info.size, info.content_type.as_deref()), (6, Some("image/jpeg")));
    assert_eq!(get(&world.store, "in/photo.JPG").await.unwrap(), "pixels");
    world.place("in/photo.JPG", "other pixels");
    assert_ne!(world.store.head("in/photo.JPG", None).await.unwrap().etag, info.etag);
}

#[tokio::test]
async fn attributes_of_other_programs_that_no_header_can_carry_are_left_out() {
    let world = World::new();
    world.place("photo.jpg", "pixels");
    let file = std::fs::File::open(world.path("photo.jpg")).unwrap();
    let long = "x".repeat(257);
    for value in ["a\r\nb: c", "\t", "", "größe", &long] {
        for name in ["user.mime_type", "user.wasmrun.cache-control"] {
            rustix::fs::fsetxattr(&file, name, value.as_bytes(), rustix::fs::XattrFlags::empty()).unwrap();
        }
        let info = world.store.head("photo.jpg", None).await.unwrap();
        assert_eq!(
            (info.content_type.as_deref(), info.cache_control),
            (Some("image/jpeg"), None),
            "{value:?}"
        );
    }
}

#[tokio::test]
async fn every_put_has_its_own_etag_even_of_the_same_content() {
    let world = World::new();
    let mut etags = std::collections::HashSet::new();
    for _ in 0..50 {
        assert!(etags.insert(put(&world.store, "x", "same").await.unwrap().etag));
    }
}

#[tokio::test]
async fn ranges_are_cut_at_the_end() {
    let world = World::new();
    put(&world.store, "x", "0123456789").await.unwrap();
    for (range, expected) in
        [(0..10, "0123456789"), (2..5, "234"), (8..100, "89"), (10..20, ""), (50..60, ""), (5..5, "")]
    {
        let reader = world.store.read("x", None, Some(range.clone())).await.unwrap();
        assert_eq!(reader.info().size, 10);
        assert_eq!(drain(reader).await, expected, "{range:?}");
    }
    let backwards = Range { start: 5, end: 2 };
    assert_eq!(drain(world.store.read("x", None, Some(backwards)).await.unwrap()).await, "");
}

#[tokio::test]
async fn a_reader_sees_one_object_whole_while_it_is_replaced_and_deleted() {
    let world = World::new();
    put(&world.store, "x", "the old content").await.unwrap();
    let reader = world.store.read("x", None, None).await.unwrap();
    put(&world.store, "x", "new").await.unwrap();
    let newer = world.store.read("x", None, None).await.unwrap();
    world.store.delete("x").await.unwrap();
    assert_eq!(drain(reader).await, "the old content");
    assert_eq!(drain(newer).await, "new");
}

#[tokio::test]
async fn a_file_that_another_program_cuts_short_ends_early_and_cleanly() {
    let world = World::new();
    world.place("x", "0123456789");
    let mut reader = world.store.read("x", None, None).await.unwrap();
    assert_eq!(reader.read(4).await.unwrap(), "0123");
    std::fs::write(world.path("x"), "01234").unwrap();
    assert_eq!(reader.read(4).await.unwrap(), "4");
    assert!(reader.read(4).await.unwrap().is_empty());
    std::fs::write(world.path("x"), "0123456789").unwrap();
    assert!(reader.read(4).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_missing_is_not_found() {
    let world = World::new();
    put(&world.store, "dir/x", "1").await.unwrap();
    for key in ["no", "no/such", "dir", "dir/x/y"] {
        assert_eq!(world.store.head(key, None).await, Err(StoreError::NotFound), "{key}");
        assert_eq!(get(&world.store, key).await, Err(StoreError::NotFound), "{key}");
        world.store.delete(key).await.unwrap();
    }
    assert_eq!(get(&world.store, "dir/x").await.unwrap(), "1");
    assert!(matches!(world.store.head("dir/x", Some("1")).await, Err(StoreError::Invalid(_))));
}

#[tokio::test]
async fn nothing_is_visible_before_the_end_or_of_what_is_dropped() {
    let world = World::new();
    let mut writer = world.store.write("a/x", PutOptions::default()).await.unwrap();
    writer.write(Bytes::from_static(b"part")).await.unwrap();
    assert!(keys(&world.store, "").await.is_empty());
    assert_eq!(world.temporaries(), 1);
    drop(writer);
    while world.temporaries() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(!world.path("a").exists());
}

#[tokio::test]
async fn a_write_whose_caller_has_gone_leaves_nothing() {
    let world = World::new();
    put(&world.store, "x", "old").await.unwrap();
    let mut writer = world.store.write("x", PutOptions::default()).await.unwrap();
    writer.write(Bytes::from_static(b"new")).await.unwrap();
    // The lock delays the rename of the write until its caller has gone.
    let lock =
        lock::Lock::take(&world.store.root.enter().unwrap(), lock::Hold::Alone, &Call::default()).unwrap();
    let mut finish = writer.finish();
    assert!(tokio::time::timeout(Duration::ZERO, &mut finish).await.is_err());
    drop(finish);
    drop(lock);
    while world.temporaries() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(get(&world.store, "x").await.unwrap(), "old");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_puts_if_absent_one_succeeds() {
    let world = World::new();
    for key in ["x", "a/b/c"] {
        let puts = (0..8).map(|i| {
            let store = open(&world.path(""));
            tokio::spawn(async move {
                put_with(&store, key, &i.to_string(), on(Condition::IfAbsent)).await.map(|_| i)
            })
        });
        let mut winners = Vec::new();
        for put in puts.collect::<Vec<_>>() {
            match put.await.unwrap() {
                Ok(winner) => winners.push(winner.to_string()),
                Err(error) => assert_eq!(error, StoreError::PreconditionFailed),
            }
        }
        assert_eq!(winners, [get(&world.store, key).await.unwrap()]);
    }
    assert_eq!(world.temporaries(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn increments_under_an_etag_are_never_lost() {
    let world = World::new();
    put(&world.store, "n", "0").await.unwrap();
    let counters = (0..4).map(|_| {
        let store = open(&world.path(""));
        tokio::spawn(async move {
            let mut done = 0;
            while done < 10 {
                let reader = store.read("n", None, None).await.unwrap();
                let etag = reader.info().etag.clone().unwrap();
                let next = drain(reader).await.parse::<u32>().unwrap() + 1;
                match put_with(&store, "n", &next.to_string(), on(Condition::IfMatch(etag))).await {
                    Ok(_) => done += 1,
                    Err(error) => assert_eq!(error, StoreError::PreconditionFailed),
                }
            }
        })
    });
    for counter in counters.collect::<Vec<_>>() {
        counter.await.unwrap();
    }
    assert_eq!(get(&world.store, "n").await.unwrap(), "40");
}

#[tokio::test]
async fn a_put_if_match_needs_the_object() {
    let world = World::new();
    let refused = put_with(&world.store, "a/x", "1", on(Condition::IfMatch("e".into()))).await;
    assert_eq!(refused, Err(StoreError::PreconditionFailed));
    put(&world.store, "a/x", "1").await.unwrap();
    let refused = put_with(&world.store, "a/x", "2", on(Condition::IfMatch("e".into()))).await;
    assert_eq!(refused, Err(StoreError::PreconditionFailed));
    assert_eq!(get(&world.store, "a/x").await.unwrap(), "1");
}

#[tokio::test]
async fn directories_go_with_their_last_object_and_never_with_others() {
    let world = World::new();
    for key in ["a/b/c/x", "a/y"] {
        put(&world.store, key, "1").await.unwrap();
    }
    world.store.delete("a/b/c/x").await.unwrap();
    assert!(!world.path("a/b").exists() && world.path("a/y").exists());
    world.store.delete("a/y").await.unwrap();
    assert!(!world.path("a").exists() && world.path("").exists());
    put(&world.store, "a", "now an object").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn puts_and_deletes_in_one_directory_do_not_get_in_each_others_way() {
    let world = World::new();
    let tasks = (0..4).map(|i| {
        let store = open(&world.path(""));
        tokio::spawn(async move {
            let key = format!("a/b/{i}");
            for _ in 0..10 {
                put(&store, &key, "1").await.unwrap();
                store.delete(&key).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert!(keys(&world.store, "").await.is_empty());
    assert!(!world.path("a").exists());
}

#[tokio::test]
async fn an_object_beside_objects_below_it_is_refused_with_a_reason() {
    let world = World::new();
    put(&world.store, "a", "1").await.unwrap();
    let Err(StoreError::Invalid(text)) = put(&world.store, "a/b", "2").await else {
        panic!("a is an object")
    };
    assert_eq!(
        text,
        r#"cannot write "a/b": "a" is an object, and in a directory there can be none below it"#
    );
    put(&world.store, "d/x", "1").await.unwrap();
    let Err(StoreError::Invalid(text)) = put(&world.store, "d", "2").await else { panic!("d/ has objects") };
    assert!(text.starts_with(r#"cannot write "d": there are objects below "d"/"#), "{text}");
    std::fs::create_dir(world.path("empty")).unwrap();
    put(&world.store, "empty", "2").await.unwrap();
    assert_eq!(world.temporaries(), 0);
}

#[tokio::test]
async fn metadata_that_a_file_cannot_keep_is_refused() {
    let world = World::new();
    let metadata =
        |bytes| PutOptions { metadata: vec![("n".into(), "v".repeat(bytes))], ..PutOptions::default() };
    let kept = put_with(&world.store, "x", "1", metadata(2047)).await.unwrap();
    assert_eq!(kept.metadata[0].1.len(), 2047);
    assert!(matches!(put_with(&world.store, "y", "1", metadata(4000)).await, Err(StoreError::Invalid(_))));
    assert_eq!(keys(&world.store, "").await, ["x"]);
}
