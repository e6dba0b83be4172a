//! Which objects a message may announce.

use serde_json::json;
use std::sync::{Arc, LazyLock};
use wasmrun_runtime::model::event::{Decoded, decode};
use wasmrun_runtime::model::key::Key;
use wasmrun_runtime::ports::memory::MemoryStore;
use wasmrun_runtime::ports::object_store::MAX_KEY_BYTES;
use wasmrun_runtime::task::by_key::{Scope, check_key as check_part};
use wasmrun_runtime::task::grant::{Grants, Mode, StoreGrant, check_key};

/// Stores within each other, and stores next to each other whose URLs begin alike.
const STORES: [(&str, &str, Mode); 6] = [
    ("all", "s3://b/", Mode::WriteOnly),
    ("in", "s3://b/in/", Mode::ReadOnly),
    ("inner", "s3://b/in/inner/", Mode::ReadWrite),
    ("secret", "s3://b/in/secret/", Mode::WriteOnly),
    ("other", "s3://b2/in/", Mode::ReadOnly),
    ("dir", "dir:/srv/in/", Mode::ReadOnly),
];

static GRANTS: LazyLock<Grants> = LazyLock::new(|| {
    let stores = STORES.map(|(alias, url, mode)| {
        let store = Arc::new(MemoryStore::at(url));
        (alias.to_owned(), StoreGrant { alias: alias.into(), store, mode, scope: Scope::All })
    });
    Grants { stores: stores.into(), ..Grants::default() }
});

/// Stores of which a task reaches its key's part, next to one that all tasks reach.
static BY_KEY: LazyLock<Grants> = LazyLock::new(|| {
    let each = |below: &str| Scope::EachKey { below: below.into() };
    let stores = [("in", "s3://b/in/", each("new/")), ("all", "s3://b2/in/", Scope::All)];
    let stores = stores.map(|(alias, url, scope)| {
        let (store, mode) = (Arc::new(MemoryStore::at(url)), Mode::ReadOnly);
        (alias.to_owned(), StoreGrant { alias: alias.into(), store, mode, scope })
    });
    Grants { stores: stores.into(), ..Grants::default() }
});

/// Uses the bytes as a body, as a key in notifications of a bucket and of a directory, and as a guest's key.
pub fn grant(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    announced_by(text);
    for bucket in ["b", "b2", "b/in", "dir:/srv/in", "dir:/srv"] {
        let record = |key: &str| {
            json!({"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
                   "s3": {"bucket": {"name": bucket}, "object": {"key": key}}})
        };
        announced_by(&json!({"Records": [record(text)]}).to_string());
        // Keys below the inner grants, which may try to leave them.
        announced_by(
            &json!({"Records": [record(&format!("in/{text}")), record(&format!("in/inner/{text}"))]})
                .to_string(),
        );
        announced_by(
            &json!({"source": "aws.s3", "detail-type": "Object Created",
                    "detail": {"bucket": {"name": bucket}, "object": {"key": format!("in/{text}")}}})
            .to_string(),
        );
    }
    if check_key(text).is_ok() {
        stays_below(text);
    }
    names_its_own_part(text);
}

/// Checks that a message's key names a part of a store that no decoder, proxy or file system takes for another place.
fn names_its_own_part(text: &str) {
    let key = Key::new(text);
    for tells_case in [false, true] {
        if check_part(&key, tells_case).is_err() {
            continue;
        }
        let part = key.as_str();
        let of_key = BY_KEY.of_key(&Key::new(part)).expect("a key that names a part");
        assert_eq!(of_key.stores["in"].store.url(), format!("s3://b/in/{part}/new/"));
        assert_eq!(part, text, "a key that was cut names a part");
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
        assert!(part.chars().all(is_plain), "{part:?} may be decoded again");
        // FAT and SMB drop dots at the end.
        assert_eq!(part.trim_end_matches('.'), part);
        assert!(tells_case || part == part.to_lowercase(), "{part:?} may be another key in lower case");
        // Whatever a client or a proxy makes of the path, an object of this part stays in it.
        for merges in [false, true] {
            let path = format!("/bucket/{part}/in/x");
            assert_eq!(normalised(&path, merges), path, "{part:?} leads elsewhere");
        }
    }
}

fn announced_by(body: &str) {
    let Decoded::Objects(events) = decode(body) else { return };
    let urls: Vec<_> = events.iter().map(|event| event.url.clone()).collect();
    let inner = BY_KEY.of_key(&Key::new("inner")).expect("a plain key");
    for object in inner.announce(events.clone()).unwrap_or_default() {
        let place = if object.alias == "in" { "s3://b/in/inner/new/" } else { "s3://b2/in/" };
        assert!(urls.contains(&format!("{place}{}", object.key)), "another key's object is announced");
        stays_below(&object.key);
    }
    match GRANTS.announce(events) {
        Err(refused) => assert!(urls.contains(&refused.url)),
        Ok(objects) => {
            assert_eq!(objects.len(), urls.len());
            for (object, url) in objects.iter().zip(&urls) {
                let grant = &GRANTS.stores[&object.alias];
                assert!(grant.mode.reads(), "{url} is announced to one who cannot read it");
                assert_eq!(format!("{}{}", grant.store.url(), object.key), *url);
                stays_below(&object.key);
            }
        }
    }
}

/// Checks that a key stays below the place where it is appended, whatever a proxy or a client makes of the path, and
/// that it names more than the place itself.
fn stays_below(key: &str) {
    assert!(!key.is_empty() && key.len() <= MAX_KEY_BYTES && !key.contains('\0'), "{key:?}");
    for place in ["/bucket/", "/bucket/prefix/", "/"] {
        for merges in [false, true] {
            let path = normalised(&format!("{place}{key}"), merges);
            let below = path.strip_prefix(place);
            let below = below.unwrap_or_else(|| panic!("{key:?} leads elsewhere: {path:?}"));
            assert!(!below.trim_matches('/').is_empty(), "{key:?} is the grant's own place");
        }
    }
}

/// Removes the dot segments of a path as RFC 3986 (5.2.4) does. If `merges` is set, merges repeated slashes first, as
/// many servers do.
fn normalised(path: &str, merges: bool) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<_> = path.split('/').skip(1).collect();
    for (index, segment) in segments.iter().copied().enumerate() {
        let is_last = index + 1 == segments.len();
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            "" if merges && !is_last => continue,
            segment => {
                kept.push(segment);
                continue;
            }
        }
        if is_last {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_is_announced() {
        let body = r#"{"Records":[{"eventVersion":"2.1","eventName":"ObjectCreated:Put","eventSource":"aws:s3",
            "s3":{"bucket":{"name":"b"},"object":{"key":"in/inner/x"}}}]}"#;
        let Decoded::Objects(events) = decode(body) else { panic!("an event") };
        let objects = GRANTS.announce(events).expect("granted");
        assert_eq!((objects[0].alias.as_str(), objects[0].key.as_str()), ("inner", "x"));
        announced_by(body);
    }

    #[test]
    #[should_panic(expected = "elsewhere")]
    fn what_leads_elsewhere_breaks_the_property() {
        stays_below("a/../../b");
    }

    #[test]
    fn paths_are_normalised_as_the_rfc_has_it() {
        for (path, merges, normal) in [
            ("/a/b/c/./../../g", false, "/a/g"),
            ("/a/b/..", false, "/a/"),
            ("/a/b/.", false, "/a/b/"),
            ("/..", false, "/"),
            ("/a//b", false, "/a//b"),
            ("/a//b/", true, "/a/b/"),
            ("/a/.", true, "/a/"),
        ] {
            assert_eq!(normalised(path, merges), normal, "{path}");
        }
    }
}
