use super::*;
use crate::ports::memory::MemoryStore;

fn grants(stores: &[(&str, &str, Mode)]) -> Grants {
    let grant = |&(alias, url, mode): &(&str, &str, Mode)| {
        (
            alias.to_owned(),
            StoreGrant {
                alias: alias.into(),
                store: Arc::new(MemoryStore::at(url)),
                mode,
                scope: Scope::All,
            },
        )
    };
    Grants { stores: stores.iter().map(grant).collect(), ..Grants::default() }
}

fn event(url: &str) -> ObjectEvent {
    ObjectEvent {
        url: url.into(),
        version: None,
        etag: None,
        size: None,
        change: Change::Created,
        sequencer: None,
    }
}

fn names(grants: &Grants, url: &str) -> Result<(String, String), Unannounced> {
    grants.announce(vec![event(url)]).map(|mut objects| {
        let object = objects.remove(0);
        (object.alias, object.key)
    })
}

#[test]
fn the_readable_grant_with_the_longest_prefix_names_an_object() {
    let grants = grants(&[
        ("all", "s3://b/", Mode::ReadOnly),
        ("in", "s3://b/in/", Mode::ReadWrite),
        ("secret", "s3://b/in/secret/", Mode::WriteOnly),
    ]);
    assert_eq!(names(&grants, "s3://b/x"), Ok(("all".into(), "x".into())));
    assert_eq!(names(&grants, "s3://b/in/x"), Ok(("in".into(), "x".into())));
    assert_eq!(names(&grants, "s3://b/in/secret/x"), Ok(("in".into(), "secret/x".into())));
}

#[test]
fn an_object_outside_every_grant_is_refused() {
    let grants = grants(&[("in", "s3://b/in/", Mode::ReadOnly)]);
    for url in ["s3://b/other", "s3://b/in", "s3://b2/in/x", "s3://b//in/x", "s3://b/./in/x"] {
        assert_eq!(names(&grants, url), Err(Unannounced { url: url.into(), bad_key: None }));
    }
}

#[test]
fn an_object_of_a_bad_key_is_refused_by_what_is_wrong_with_it() {
    let inner = grants(&[("in", "s3://b/in/", Mode::ReadOnly)]);
    let both = grants(&[("in", "s3://b/in/", Mode::ReadOnly), ("all", "s3://b/", Mode::ReadOnly)]);
    for (url, bad_key) in [
        ("s3://b/in/../x", BadKey::Climbs),
        ("s3://b/in/", BadKey::Empty),
        ("s3://b/in/./", BadKey::Nameless),
    ] {
        assert_eq!(names(&inner, url), Err(Unannounced { url: url.into(), bad_key: Some(bad_key) }));
    }
    assert_eq!(names(&both, "s3://b/in/"), Ok(("all".into(), "in/".into())));
    assert!(names(&both, "s3://b/in/../x").is_err());
}

#[test]
fn odd_keys_of_s3_are_announced_as_they_are() {
    let grants = grants(&[("in", "s3://b/in/", Mode::ReadOnly), ("all", "s3://b/", Mode::ReadOnly)]);
    for (url, alias, key) in [
        ("s3://b/in//x", "in", "/x"),
        ("s3://b/in/./x", "in", "./x"),
        ("s3://b/in/a//b/", "in", "a//b/"),
        ("s3://b//in/x", "all", "/in/x"),
        ("s3://b/./in/x", "all", "./in/x"),
    ] {
        assert_eq!(names(&grants, url), Ok((alias.into(), key.into())));
    }
}

#[test]
fn what_is_wrong_with_a_key_is_told() {
    let long = "x".repeat(MAX_KEY_BYTES + 1);
    for (key, bad) in [
        ("..", BadKey::Climbs),
        ("../x", BadKey::Climbs),
        ("a/../b", BadKey::Climbs),
        ("a/..", BadKey::Climbs),
        (&"../".repeat(MAX_KEY_BYTES), BadKey::Climbs),
        ("", BadKey::Empty),
        (".", BadKey::Nameless),
        ("/", BadKey::Nameless),
        (".//./", BadKey::Nameless),
        ("a\0b", BadKey::Nul),
        (&long, BadKey::TooLong),
    ] {
        assert_eq!(check_key(key), Err(bad), "{key}");
    }
    for key in [
        "a", "a/b", "..a", "a..", "...", "%2e%2e/x", "a\\..\\b", "ü/ñ", "/a", "//a", "./a", "a/.", "a//b",
        "a/",
    ] {
        assert_eq!(check_key(key), Ok(()), "{key}");
    }
}

#[test]
fn whatever_a_key_begins_with_is_a_prefix() {
    for prefix in ["", "/", ".", "..", "a/..", "a/", "//", "./", "a/b"] {
        assert_eq!(check_prefix(prefix), Ok(()), "{prefix}");
    }
    for (prefix, bad) in [("../", BadKey::Climbs), ("a/../b", BadKey::Climbs), ("a\0", BadKey::Nul)] {
        assert_eq!(check_prefix(prefix), Err(bad), "{prefix}");
    }
}
