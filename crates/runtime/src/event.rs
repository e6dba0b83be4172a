//! Object events: which objects a message announces. The one decoder and the one encoder.
//!
//! It reads S3's notifications, directly or wrapped by SNS, and EventBridge's "Object Created" and "Object Deleted".
//! Sources: "Event message structure" and "EventBridge event message structure" in the S3 user guide.
//! Anything else is a plain message: never an error, and never a lost message.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;
use std::time::SystemTime;

/// What a message's body turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Not an event.
    Plain,
    /// Looks like an event and isn't one that we understand: to be delivered as it is, and logged with this reason.
    Unclear(String),
    /// S3 sends one when notifications are configured: there is nothing to do.
    Test,
    /// The objects it announces, in order; at least one.
    Objects(Vec<ObjectEvent>),
}

/// One object and what happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectEvent {
    /// The store's URL and the key: `s3://bucket/key`, `dir:/path/key`.
    pub url: String,
    /// Where the store keeps versions.
    pub version: Option<String>,
    /// Of the content at that time.
    pub etag: Option<String>,
    /// In bytes, at that time.
    pub size: Option<u64>,
    /// What happened.
    pub change: Change,
    /// Orders the events of one key.
    pub sequencer: Option<String>,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was written.
    Created,
    /// It was deleted.
    Removed,
    /// Restored, tagged, …
    Other,
}

/// The parts of all envelopes that we look at. Unknown fields are ignored, as AWS asks.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "Records")]
    records: Option<Vec<serde_json::Value>>,
    /// Of S3's test event.
    #[serde(rename = "Event")]
    event: Option<serde_json::Value>,
    /// Of SNS.
    #[serde(rename = "Type")]
    kind: Option<serde_json::Value>,
    #[serde(rename = "Message")]
    message: Option<serde_json::Value>,
    /// Of EventBridge.
    #[serde(rename = "detail-type")]
    detail_type: Option<serde_json::Value>,
    source: Option<serde_json::Value>,
    detail: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_version: String,
    event_name: String,
    s3: RecordS3,
}

#[derive(Deserialize)]
struct RecordS3 {
    bucket: Bucket,
    object: RecordObject,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordObject {
    key: String,
    size: Option<u64>,
    e_tag: Option<String>,
    version_id: Option<String>,
    sequencer: Option<String>,
}

#[derive(Deserialize)]
struct Detail {
    bucket: Bucket,
    object: DetailObject,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct DetailObject {
    key: String,
    size: Option<u64>,
    etag: Option<String>,
    version_id: Option<String>,
    sequencer: Option<String>,
}

/// Reads a message's body.
pub fn decode(body: &str) -> Decoded {
    match envelope(body) {
        None => Decoded::Plain,
        Some(envelope) if is(&envelope.kind, "Notification") => match &envelope.message {
            // Whatever SNS carries that isn't an event stays as it came, wrapping included.
            Some(serde_json::Value::String(inner)) => {
                self::envelope(inner).map_or(Decoded::Plain, decode_envelope)
            }
            _ => Decoded::Plain,
        },
        Some(envelope) => decode_envelope(envelope),
    }
}

fn envelope(body: &str) -> Option<Envelope> {
    // Most plain messages end here, without a parser.
    body.trim_start().starts_with('{').then(|| serde_json::from_str(body).ok()).flatten()
}

fn is(value: &Option<serde_json::Value>, text: &str) -> bool {
    value.as_ref().and_then(|value| value.as_str()) == Some(text)
}

fn decode_envelope(envelope: Envelope) -> Decoded {
    if is(&envelope.event, "s3:TestEvent") && envelope.records.is_none() {
        return Decoded::Test;
    }
    if let Some(records) = envelope.records {
        return decode_records(records);
    }
    if is(&envelope.source, "aws.s3") {
        return match (envelope.detail_type.as_ref().and_then(|t| t.as_str()), envelope.detail) {
            (Some(detail_type), Some(detail)) => decode_detail(detail_type, detail),
            _ => Decoded::Unclear("an EventBridge event of S3 without its details".into()),
        };
    }
    Decoded::Plain
}

fn decode_records(records: Vec<serde_json::Value>) -> Decoded {
    let from_s3 =
        |record: &serde_json::Value| record.get("eventSource").and_then(|s| s.as_str()) == Some("aws:s3");
    // An application may well have Records of its own.
    if records.is_empty() || !records.iter().any(from_s3) {
        return Decoded::Plain;
    }
    let mut events = Vec::with_capacity(records.len());
    for record in records {
        if !from_s3(&record) {
            return Decoded::Unclear("records of S3 and of others in one message".into());
        }
        let record: Record = match serde_json::from_value(record) {
            Ok(record) => record,
            Err(error) => {
                return Decoded::Unclear(format!("a record of S3 that can't be read: {error}"));
            }
        };
        // AWS's rule: the same major version, any minor version.
        if record.event_version.split('.').next() != Some("2") {
            return Decoded::Unclear("a record of S3 of another major version than 2".into());
        }
        let Some(key) = form_decode(&record.s3.object.key) else {
            return Decoded::Unclear("an object's key that isn't UTF-8".into());
        };
        // "ObjectCreated:Put"; older services wrote "s3:ObjectCreated:Put".
        let name = record.event_name.strip_prefix("s3:").unwrap_or(&record.event_name);
        events.push(ObjectEvent {
            url: object_url(&record.s3.bucket.name, &key),
            version: record.s3.object.version_id,
            etag: record.s3.object.e_tag,
            size: record.s3.object.size,
            change: match name.split(':').next() {
                Some("ObjectCreated") => Change::Created,
                Some("ObjectRemoved") => Change::Removed,
                _ => Change::Other,
            },
            sequencer: record.s3.object.sequencer,
        });
    }
    Decoded::Objects(events)
}

fn decode_detail(detail_type: &str, detail: serde_json::Value) -> Decoded {
    let detail: Detail = match serde_json::from_value(detail) {
        Ok(detail) => detail,
        Err(error) => {
            return Decoded::Unclear(format!("an EventBridge event of S3 that can't be read: {error}"));
        }
    };
    Decoded::Objects(vec![ObjectEvent {
        // The key is not URL-encoded here.
        url: object_url(&detail.bucket.name, &detail.object.key),
        version: detail.object.version_id,
        etag: detail.object.etag,
        size: detail.object.size,
        change: match detail_type {
            "Object Created" => Change::Created,
            "Object Deleted" => Change::Removed,
            _ => Change::Other,
        },
        sequencer: detail.object.sequencer,
    }])
}

/// Buckets have names without `:`; where `wasmrun enqueue` wrote the event, a store's URL is in the bucket's place.
fn object_url(bucket: &str, key: &str) -> String {
    if bucket.contains(':') {
        format!("{}/{key}", bucket.trim_end_matches('/'))
    } else {
        format!("s3://{bucket}/{key}")
    }
}

/// `+` is a space, and `%XX` a byte, as S3 encodes keys in notifications.
fn form_decode(key: &str) -> Option<String> {
    let key = key.replace('+', " ");
    percent_decode_str(&key).decode_utf8().ok().map(|key| key.into_owned())
}

/// What S3 leaves as it is in a notification's key.
const KEPT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/').remove(b' ');

/// The notification that S3 would send for an object that was written, with a store's URL in the bucket's place.
pub fn notification(store_url: &str, key: &str, size: u64, etag: Option<&str>, at: SystemTime) -> String {
    let bucket = store_url.trim_end_matches('/');
    let time = jiff::Timestamp::try_from(at).unwrap_or_default();
    json!({"Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "local",
        "eventTime": time.to_string(),
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": bucket},
            "object": {
                "key": utf8_percent_encode(key, KEPT).to_string().replace(' ', "+"),
                "size": size,
                "eTag": etag,
                "sequencer": format!("{:016X}", time.as_microsecond()),
            },
        },
    }]})
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(bucket: &str, key: &str) -> serde_json::Value {
        json!({"eventVersion": "2.3", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "future": 1,
               "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 3, "eTag": "e", "versionId": "v", "sequencer": "0A"}}})
    }

    fn urls(body: &str) -> Vec<String> {
        match decode(body) {
            Decoded::Objects(events) => events.into_iter().map(|event| event.url).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_notification_announces_each_of_its_records() {
        let body =
            json!({"Records": [record("b", "in/a+b%2B%C3%BC.jpg"), record("b", "in%2Fa%20b")]}).to_string();
        assert_eq!(urls(&body), ["s3://b/in/a b+ü.jpg", "s3://b/in/a b"]);
        let Decoded::Objects(events) = decode(&body) else { panic!("objects") };
        assert_eq!(
            events[0],
            ObjectEvent {
                url: "s3://b/in/a b+ü.jpg".into(),
                version: Some("v".into()),
                etag: Some("e".into()),
                size: Some(3),
                change: Change::Created,
                sequencer: Some("0A".into()),
            }
        );
    }

    #[test]
    fn a_notification_wrapped_by_sns_is_the_same() {
        let inner = json!({"Records": [record("b", "k")]}).to_string();
        let body = json!({"Type": "Notification", "MessageId": "m", "Message": inner}).to_string();
        assert_eq!(urls(&body), ["s3://b/k"]);
        let test =
            json!({"Type": "Notification", "Message": "{\"Event\":\"s3:TestEvent\",\"Bucket\":\"b\"}"})
                .to_string();
        assert_eq!(decode(&test), Decoded::Test);
        let plain = json!({"Type": "Notification", "Message": "hello"}).to_string();
        assert_eq!(decode(&plain), Decoded::Plain);
    }

    #[test]
    fn an_eventbridge_key_is_taken_as_it_is() {
        let body = json!({"source": "aws.s3", "detail-type": "Object Deleted",
                          "detail": {"bucket": {"name": "b"}, "object": {"key": "a+b%20c", "version-id": "v"}}});
        assert_eq!(urls(&body.to_string()), ["s3://b/a+b%20c"]);
        let Decoded::Objects(events) = decode(&body.to_string()) else { panic!("objects") };
        assert_eq!((events[0].change, events[0].version.as_deref()), (Change::Removed, Some("v")));
    }

    #[test]
    fn the_test_event_is_recognised() {
        assert_eq!(decode(r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}"#), Decoded::Test);
    }

    #[test]
    fn what_is_not_an_event_stays_plain() {
        for body in [
            "",
            "hello",
            "{",
            "{}",
            "[]",
            "null",
            r#"{"Records": []}"#,
            r#"{"Records": [{"id": 1}]}"#,
            r#"{"Records": 3}"#,
        ] {
            assert_eq!(decode(body), Decoded::Plain, "{body}");
        }
    }

    #[test]
    fn what_looks_like_an_event_and_is_not_is_said() {
        let mut other_version = record("b", "k");
        other_version["eventVersion"] = "3.0".into();
        let mut no_key = record("b", "k");
        no_key["s3"]["object"] = json!({});
        for broken in [other_version, no_key, record("b", "%FF")] {
            let body = json!({"Records": [record("b", "k"), broken]}).to_string();
            assert!(matches!(decode(&body), Decoded::Unclear(_)), "{body}");
        }
        let mixed = json!({"Records": [record("b", "k"), {"eventSource": "aws:sqs"}]}).to_string();
        assert!(matches!(decode(&mixed), Decoded::Unclear(_)));
    }

    proptest! {
        #[test]
        fn what_we_announce_is_what_we_read(key in "\\PC{1,40}", dir in "[a-z/ +%]{0,10}") {
            let store = format!("dir:/{dir}x/");
            let body = notification(&store, &key, 7, Some("e"), SystemTime::now());
            prop_assert_eq!(urls(&body), [format!("{store}{key}")]);
        }

        #[test]
        fn no_body_makes_it_panic(body in "\\PC*") {
            decode(&body);
        }
    }
}
