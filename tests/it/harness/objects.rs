//! S3 in memory.

use super::lock;
use super::stub::{Answer, Request};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Objects by their paths, such as `/bucket/key`: as much of S3 as tasks and a ledger need. Its lists are empty.
#[derive(Clone, Default)]
pub(crate) struct Objects(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Objects {
    pub(crate) fn put(&self, path: &str, content: impl Into<Vec<u8>>) {
        lock(&self.0).insert(path.to_owned(), content.into());
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        lock(&self.0).keys().cloned().collect()
    }

    pub(crate) fn answer(&self, request: &Request) -> Answer {
        const ETAG: &str = "\"e\"";
        let path = request.target.split('?').next().unwrap_or_default();
        let mut objects = lock(&self.0);
        match request.method.as_str() {
            "GET" if request.target.contains("list-type=2") => Answer::new(200, "<ListBucketResult/>"),
            "PUT" => {
                objects.insert(path.to_owned(), request.body.clone());
                Answer::new(200, "").with("ETag", ETAG)
            }
            "DELETE" => {
                objects.remove(path);
                Answer::new(204, "")
            }
            _ => match objects.get(path) {
                Some(content) if request.header("range") == "bytes=0-0" && !content.is_empty() => {
                    let range = format!("bytes 0-0/{}", content.len());
                    Answer::new(206, &content[..1]).with("Content-Range", range).with("ETag", ETAG)
                }
                Some(content) => Answer::new(200, content.clone()).with("ETag", ETAG),
                None => Answer::no_such_key(),
            },
        }
    }
}
