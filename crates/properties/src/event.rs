//! Bodies of messages.

use crate::split;
use std::time::SystemTime;
use wasmrun_runtime::model::event::{Decoded, decode, notification};

/// Decodes the bytes as a body. Also announces an object in a store: the bytes before the first line end are the
/// store's URL, and those after it the key.
pub fn event(bytes: &[u8]) {
    if let Ok(body) = std::str::from_utf8(bytes)
        && let Decoded::Objects(events) = decode(body)
    {
        assert!(!events.is_empty(), "an event announces something");
        for event in &events {
            assert!(event.url.contains(':') && event.url.contains('/'), "{:?} is no URL", event.url);
            // Decoding makes nothing in a body longer, except that it adds the scheme.
            assert!(event.url.len() <= body.len() + "s3://".len(), "{:?} is longer than its body", event.url);
        }
    }

    let (store, key) = split(bytes, b'\n');
    if let (Ok(store), Ok(key)) = (std::str::from_utf8(store), std::str::from_utf8(key))
        && store.contains(':')
        && !key.is_empty()
    {
        let body = notification(store, key, 7, Some("etag"), SystemTime::UNIX_EPOCH);
        let Decoded::Objects(events) = decode(&body) else { panic!("{body} announces nothing") };
        let announced: Vec<_> = events.iter().map(|event| event.url.as_str()).collect();
        assert_eq!(announced, [format!("{}/{key}", store.trim_end_matches('/'))]);
    }
}
