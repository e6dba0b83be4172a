use super::*;
use crate::model::event::{Change, ObjectEvent};
use crate::model::key::MOST_BYTES as CUT_AT;
use crate::ports::memory::MemoryStore;
use crate::ports::object_store::{PutOptions, StoreError};
use crate::task::grant::{Mode, Unannounced};
use bytes::Bytes;
use std::sync::Arc;

fn each_key(below: &str) -> Scope {
    Scope::EachKey { below: below.into() }
}

fn grants(stores: &[(&str, &str, Scope)]) -> Grants {
    let grant = |(alias, url, scope): &(&str, &str, Scope)| {
        let (alias, store) = ((*alias).to_owned(), Arc::new(MemoryStore::at(url)));
        (alias.clone(), StoreGrant { alias, store, mode: Mode::ReadWrite, scope: scope.clone() })
    };
    Grants { stores: stores.iter().map(grant).collect(), ..Grants::default() }
}

fn event(url: &str) -> ObjectEvent {
    let url = url.to_owned();
    ObjectEvent { url, version: None, etag: None, size: None, change: Change::Created, sequencer: None }
}

#[test]
fn keys_that_anything_could_take_for_another_name_no_part() {
    let cut = "x".repeat(CUT_AT + 1);
    for (key, bad) in [
        ("", UnusableKey::Missing),
        ("-", UnusableKey::Missing),
        (&cut, UnusableKey::TooLong),
        (&"x".repeat(MOST_BYTES + 1), UnusableKey::TooLong),
        (".", UnusableKey::Character),
        ("..", UnusableKey::Character),
        ("...", UnusableKey::Character),
        (".acme", UnusableKey::Character),
        ("acme.", UnusableKey::Character),
        ("acme ", UnusableKey::Character),
        (" acme", UnusableKey::Character),
        ("-acme", UnusableKey::Character),
        ("acme/", UnusableKey::Character),
        ("/acme", UnusableKey::Character),
        ("acme/beta", UnusableKey::Character),
        ("../beta", UnusableKey::Character),
        ("acme\\beta", UnusableKey::Character),
        ("acme%2fbeta", UnusableKey::Character),
        ("%2e%2e", UnusableKey::Character),
        ("%252e%252e", UnusableKey::Character),
        ("acme+beta", UnusableKey::Character),
        ("acme&amp;", UnusableKey::Character),
        ("acme;v=1", UnusableKey::Character),
        ("acme?x", UnusableKey::Character),
        ("acme#x", UnusableKey::Character),
        ("acme:x", UnusableKey::Character),
        ("acme=2e", UnusableKey::Character),
        ("acme~1", UnusableKey::Character),
        ("acme*", UnusableKey::Character),
        ("${acme}", UnusableKey::Character),
        ("{key}", UnusableKey::Character),
        ("acme\0", UnusableKey::Character),
        ("acme\n", UnusableKey::Character),
        ("acme\u{7f}", UnusableKey::Character),
        ("acm\u{e9}", UnusableKey::Character),
        ("acme\u{301}", UnusableKey::Character),
        ("\u{ff0e}\u{ff0e}", UnusableKey::Character),
        ("acme\u{2215}beta", UnusableKey::Character),
        ("\u{202e}acme", UnusableKey::Character),
        ("acme\u{200b}", UnusableKey::Character),
        ("ac\u{212a}e", UnusableKey::Character),
    ] {
        for tells_case in [false, true] {
            assert_eq!(check_key(&Key::new(key), tells_case), Err(bad), "{key:?}");
        }
    }
    for key in ["a", "acme", "acme-2.eu_west", "a..b", "0", "cat@acme.example", &"x".repeat(MOST_BYTES)] {
        assert_eq!(check_key(&Key::new(key), false), Ok(()), "{key}");
    }
    assert_eq!(check_key(&Key::new("Acme"), true), Ok(()));
    assert_eq!(check_key(&Key::new("Acme"), false), Err(UnusableKey::Case));
}

#[tokio::test]
async fn a_task_reaches_its_keys_part_and_no_other() {
    let store = MemoryStore::at("s3://b/t/");
    for key in ["acme/in/a", "acme/secret", "beta/in/b", "acme2/in/c", "in/d", "acme"] {
        store.insert(key, key.to_owned());
    }
    let grant = StoreGrant {
        alias: "input".into(),
        store: Arc::new(store.clone()),
        mode: Mode::ReadWrite,
        scope: each_key("in/"),
    };
    let all = Grants { stores: [("input".to_owned(), grant)].into(), ..Grants::default() };
    assert!(all.are_by_key());
    let acme = all.of_key(&Key::new("acme")).expect("plain");
    assert!(!acme.are_by_key());
    let part = &acme.stores["input"].store;
    assert_eq!(part.url(), "s3://b/t/acme/in/");
    let listed = part.list("", None, 10).await.expect("a page");
    assert_eq!(listed.objects.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(part.head("a", None).await.expect("an object").key, "a");
    for other in ["b", "beta/in/b", "../../beta/in/b", "/beta/in/b", "secret", ""] {
        assert_eq!(part.head(other, None).await, Err(StoreError::NotFound), "{other}");
    }
    let mut writer = part.write("new", PutOptions::default()).await.expect("a writer");
    writer.write(Bytes::from_static(b"x")).await.expect("written");
    assert_eq!(writer.finish().await.expect("finished").key, "new");
    assert!(store.content("acme/in/new").is_some());
    part.delete("beta/in/b").await.expect("nothing to delete");
    assert!(store.content("beta/in/b").is_some());
    // The worker's control reads are of the whole store.
    assert_eq!(acme.stores["input"].scope.whole("a"), "acme/in/a");
    let (part, key) = all.stores["input"].place_of("acme/in/a".into());
    assert_eq!((part.url(), key.as_str()), ("s3://b/t/acme/in/", "a"));
}

#[test]
fn an_object_of_another_key_is_not_announced() {
    let all = grants(&[("input", "s3://b/t/", each_key("")), ("other", "s3://c/", Scope::All)]);
    let acme = all.of_key(&Key::new("acme")).expect("plain");
    let named = acme.announce(vec![event("s3://b/t/acme/x"), event("s3://c/y")]).expect("granted");
    let named: Vec<_> = named.iter().map(|object| (object.alias.as_str(), object.key.as_str())).collect();
    assert_eq!(named, [("input", "x"), ("other", "y")]);
    for url in [
        "s3://b/t/beta/x",
        "s3://b/t/acme",
        "s3://b/t/acme2/x",
        "s3://b/t/ACME/x",
        "s3://b/t//acme/x",
        "s3://b/t/./acme/x",
        "s3://b/t/beta/../acme/x",
        "s3://b/t/%61cme/x",
    ] {
        let refused = Err(Unannounced { url: url.into(), bad_key: None });
        // One such object among its own is enough.
        assert_eq!(acme.announce(vec![event("s3://b/t/acme/x"), event(url)]), refused);
        assert!(all.hold_for_some_key(url), "{url}");
    }
    assert!(acme.announce(vec![event("s3://b/t/acme/../beta/x")]).is_err());
    assert!(!all.hold_for_some_key("s3://c/y") && !all.hold_for_some_key("s3://b/x"));
}

#[test]
fn a_key_that_names_no_part_is_refused_with_the_alias() {
    let all = grants(&[("all", "s3://c/", Scope::All), ("input", "s3://b/t/", each_key(""))]);
    let refused = all.of_key(&Key::none()).err();
    assert_eq!(refused, Some(("input", UnusableKey::Missing)));
    let none = grants(&[("all", "s3://c/", Scope::All)]);
    assert!(!none.are_by_key() && none.of_key(&Key::none()).is_ok());
}

#[test]
fn stores_that_a_key_could_be_named_after_are_refused() {
    for (other, scope) in [
        ("s3://b/", Scope::All),
        ("s3://b/t/", Scope::All),
        ("s3://b/t/shared/", Scope::All),
        ("s3://b/t/shared/", each_key("")),
        ("s3://b/", each_key("")),
    ] {
        let error = check(&grants(&[("input", "s3://b/t/", each_key("in/")), ("other", other, scope)]));
        let error = error.expect_err(other);
        assert!(error.contains("separate prefixes") && error.contains(other), "{error}");
    }
    let apart = grants(&[
        ("input", "s3://b/t/", each_key("in/")),
        ("output", "s3://b/t/", each_key("out/")),
        ("nested", "s3://b/t/", each_key("")),
        ("shared", "s3://b/shared/", Scope::All),
        ("alike", "s3://b/t2/", Scope::All),
        ("bucket", "s3://b2/t/", Scope::All),
    ]);
    assert_eq!(check(&apart), Ok(()));
    assert_eq!(apart.parts_overlap("s3://b/"), Some("input"));
    assert_eq!(apart.parts_overlap("s3://b/bodies/"), None);
    assert_eq!(apart.to_string().split(", ").next(), Some("alike=s3://b/t2/:rw"));
    assert!(apart.to_string().contains("input=s3://b/t/{key}/in/:rw"), "{apart}");
}

#[test]
fn of_the_parts_of_keys_any_is_seen_from_within() {
    let scope = Scope::EachKey { below: "in/".into() };
    assert_eq!(scope.seen("acme/in/a/b.jpg"), Some("a/b.jpg"));
    for outside in ["acme/out/b.jpg", "acme/inner/b.jpg", "in/b.jpg", "b.jpg", ""] {
        assert_eq!(scope.seen(outside), None, "{outside}");
    }
    assert_eq!(Scope::EachKey { below: String::new() }.seen("acme/in/b.jpg"), Some("in/b.jpg"));
    assert_eq!(Scope::All.seen("acme/in/b.jpg"), Some("acme/in/b.jpg"));
}
