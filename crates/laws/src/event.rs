//! Bodies of messages.

use crate::split;
use std::time::SystemTime;
use wasmrun_runtime::model::event::{Decoded, decode, notification};

/// Decodes the bytes as a body; and announces an object in a store, named by the bytes before and after the first line
/// end.
pub fn event(bytes: &[u8]) {
    if let Ok(body) = std::str::from_utf8(bytes)
        && let Decoded::Objects(events) = decode(body)
    {
        assert!(!events.is_empty(), "an event announces something");
        for event in &events {
            assert!(event.url.contains(':') && event.url.contains('/'), "{:?} is no URL", event.url);
            // Nothing that a body says grows by being read, but for the scheme.
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
