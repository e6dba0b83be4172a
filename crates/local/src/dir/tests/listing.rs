//! The order, pages and prefixes of listings.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

async fn page_through(store: &DirStore, prefix: &str, limit: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut continuation: Option<String> = None;
    loop {
        let page = store.list(prefix, continuation.as_deref(), limit).await.unwrap();
        assert!(page.objects.len() <= limit);
        assert!(page.continuation.is_none() || page.objects.len() == limit);
        all.extend(page.objects.into_iter().map(|object| object.key));
        match page.continuation {
            Some(next) => continuation = Some(next),
            None => return all,
        }
    }
}

#[tokio::test]
async fn keys_sort_by_their_bytes_and_not_by_their_directories() {
    let world = World::new();
    for key in ["a/c", "a-b", "a.b", "a0", "a/b/c", "a/b-c", "B", "ä"] {
        world.place(key, "1");
    }
    assert_eq!(keys(&world.store, "").await, ["B", "a-b", "a.b", "a/b-c", "a/b/c", "a/c", "a0", "ä"]);
    assert_eq!(keys(&world.store, "a").await, ["a-b", "a.b", "a/b-c", "a/b/c", "a/c", "a0"]);
    assert_eq!(keys(&world.store, "a/").await, ["a/b-c", "a/b/c", "a/c"]);
    assert_eq!(keys(&world.store, "a/b").await, ["a/b-c", "a/b/c"]);
    assert!(keys(&world.store, "a/b/c/").await.is_empty());
    assert!(keys(&world.store, "nothing").await.is_empty());
}

#[tokio::test]
async fn the_limit_is_that_of_s3() {
    let world = World::new();
    for i in 0..1003 {
        world.place(&format!("{i:04}"), "");
    }
    let page = world.store.list("", None, usize::MAX).await.unwrap();
    assert_eq!((page.objects.len(), page.continuation.as_deref()), (1000, Some("0999")));
    assert_eq!(world.store.list("", None, 0).await.unwrap(), ObjectPage::default());
    assert_eq!(page_through(&world.store, "", 334).await.len(), 1003);
}

#[tokio::test]
async fn many_empty_directories_hide_nothing_that_comes_after_them() {
    let world = World::new();
    for i in 0..300 {
        std::fs::create_dir(world.path(&format!("e{i:03}"))).unwrap();
    }
    world.place("z", "1");
    assert_eq!(page_through(&world.store, "", 1).await, ["z"]);
}

/// Without the bound, a program that makes many empty directories could have the whole directory read again for each
/// thousand of them.
#[tokio::test]
async fn a_page_that_has_cost_much_ends_short_and_the_next_one_goes_on() {
    let world = World::new();
    for i in 0..20_500 {
        std::fs::create_dir(world.path(&format!("e{i:05}"))).unwrap();
    }
    world.place("e00500/x", "1");
    world.place("z", "1");
    let (mut found, mut short) = (Vec::new(), 0);
    let mut continuation: Option<String> = None;
    loop {
        let page = world.store.list("", continuation.as_deref(), 1000).await.unwrap();
        found.extend(page.objects.into_iter().map(|object| object.key));
        let Some(next) = page.continuation else { break };
        assert!(Some(&next) > continuation.as_ref(), "{next} is no progress");
        (continuation, short) = (Some(next), short + 1);
    }
    assert_eq!(found, ["e00500/x", "z"]);
    // Each page reads a thousand directories; the last page finds the objects after them.
    assert!((19..=21).contains(&short), "{short}");
}

#[tokio::test]
async fn upper_directories_that_had_to_be_forgotten_are_read_again() {
    let world = World::new();
    let mut expected = BTreeSet::new();
    for depth in 0..8 {
        for i in 0..700 {
            let key = format!("{}{i:03}", "m/".repeat(depth));
            world.place(&key, "");
            expected.insert(key);
        }
    }
    for depth in 1..8 {
        let key = format!("{}z", "m/".repeat(depth));
        world.place(&key, "");
        expected.insert(key);
    }
    assert_eq!(page_through(&world.store, "", 1000).await, expected.into_iter().collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn pages_put_together_are_all_keys_in_order(
        candidates in proptest::collection::vec("[ab!/\u{E4}-]{1,8}", 0..40),
        limit in 1_usize..6,
        prefix in "[ab/-]{0,3}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            let mut expected = BTreeSet::new();
            for key in candidates {
                if Key::parse("", &key).is_ok() && put(&world.store, &key, "").await.is_ok() {
                    expected.insert(key);
                }
            }
            expected.retain(|key| key.starts_with(&prefix));
            let expected: Vec<_> = expected.into_iter().collect();
            prop_assert_eq!(page_through(&world.store, &prefix, limit).await, expected);
            Ok(())
        })?;
    }
}
