//! Notifications of S3.

use serde_json::{Value, json};

/// The notification that objects were created in a bucket. Each object has its `key`, and may have more, such as `size`.
pub(crate) fn event(bucket: &str, objects: &[Value]) -> Value {
    let record = |object: &Value| {
        json!({"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
               "s3": {"bucket": {"name": bucket}, "object": object}})
    };
    json!({"Records": objects.iter().map(record).collect::<Vec<_>>()})
}
