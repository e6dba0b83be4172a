//! Object events: decodes which objects a message announces, and encodes such announcements.
//!
//! The decoder reads the notifications of S3, MinIO and Ceph, directly or wrapped by SNS, and S3's events of
//! EventBridge. Sources: those of `records` and `changes`, and "EventBridge event message structure" in the S3 user
//! guide. Anything else is a plain message. A body that looks like an event and can't be decoded is
//! [`Decoded::Unclear`].

mod changes;
mod records;

pub use changes::{EVENT_KINDS, EventKind};
pub use records::Sender;

use crate::model::message::MAX_MESSAGE_BYTES;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::time::SystemTime;

/// Maximum number of objects that one message may announce. S3 announces one; each takes the host a few hundred bytes.
const MAX_OBJECTS: usize = 1000;
/// Longest text that is compared with the name of a service or an event; the real names are shorter.
const MAX_NAME_BYTES: usize = 256;

/// The meaning of a message's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Not an event.
    Plain,
    /// Looks like an event and can't be decoded, for this reason. A guest that took it for a plain message would find
    /// no objects and complete.
    Unclear(String),
    /// S3's test event, sent when notifications are configured. It needs no work.
    Test,
    /// The announced objects in order; at least one.
    Objects(Vec<ObjectEvent>),
}

/// One object and what happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectEvent {
    /// URL of the object, which is the store's URL and the key: `s3://bucket/key`, `dir:/path/key`.
    pub url: String,
    /// Version of the object, if the store keeps versions.
    pub version: Option<String>,
    /// Etag of the content at the time of the event.
    pub etag: Option<String>,
    /// Size in bytes at the time of the event.
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
    /// It was restored, tagged or the like.
    Other,
}

impl Change {
    /// Returns the name in the WIT interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Removed => "removed",
            Self::Other => "other",
        }
    }
}

/// The fields of all envelopes that are inspected, kept unparsed: a hostile body, parsed into values, would take a
/// hundred times its size. Unknown fields are ignored, as AWS asks.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "Records", borrow)]
    records: Option<&'a RawValue>,
    /// Set by S3's test event.
    #[serde(rename = "Event", borrow)]
    event: Option<&'a RawValue>,
    /// Set by SNS, as are the next two.
    #[serde(rename = "Type", borrow)]
    kind: Option<&'a RawValue>,
    #[serde(rename = "Message", borrow)]
    message: Option<&'a RawValue>,
    #[serde(rename = "MessageAttributes", borrow)]
    message_attributes: Option<&'a RawValue>,
    /// Set by EventBridge, as are the next two.
    #[serde(rename = "detail-type", borrow)]
    detail_type: Option<&'a RawValue>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
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

/// Decodes a message's body.
pub fn decode(body: &str) -> Decoded {
    // A body that was fetched from a store may be larger; it is no event.
    if body.len() > MAX_MESSAGE_BYTES {
        return Decoded::Plain;
    }
    match envelope(body) {
        None => Decoded::Plain,
        // An SNS notification that carries something else is delivered unchanged, with its wrapping.
        Some(envelope) => match envelope.carried() {
            Some(carried) => {
                let inner = serde_json::from_str::<String>(carried.message.get()).ok();
                let inner = inner.as_deref().and_then(self::envelope);
                inner.map_or(Decoded::Plain, |envelope| decode_envelope(&envelope))
            }
            None => decode_envelope(&envelope),
        },
    }
}

/// The text and the attributes that an envelope of SNS carries, not parsed.
#[derive(Clone, Copy)]
pub(crate) struct Carried<'a> {
    /// SNS writes a string; anyone who may send to the queue can write any value.
    pub(crate) message: &'a RawValue,
    pub(crate) attributes: Option<&'a RawValue>,
}

/// Returns the content of a body that is an envelope of SNS.
pub(crate) fn carried_by_sns(body: &str) -> Option<Carried<'_>> {
    if body.len() > MAX_MESSAGE_BYTES {
        return None;
    }
    envelope(body)?.carried()
}

impl<'a> Envelope<'a> {
    fn carried(&self) -> Option<Carried<'a>> {
        let message = self.message.filter(|_| is(self.kind, "Notification"))?;
        Some(Carried { message, attributes: self.message_attributes })
    }
}

fn envelope(body: &str) -> Option<Envelope<'_>> {
    // Most plain messages are recognised here, without a parser.
    body.trim_start().starts_with('{').then(|| serde_json::from_str(body).ok()).flatten()
}

/// Parses a short string, such as a name.
fn text(value: Option<&RawValue>) -> Option<String> {
    let value = value?.get();
    (value.len() <= MAX_NAME_BYTES).then(|| serde_json::from_str(value).ok()).flatten()
}

fn is(value: Option<&RawValue>, name: &str) -> bool {
    text(value).is_some_and(|value| value == name)
}

fn is_object(value: Option<&RawValue>) -> bool {
    value.is_some_and(|value| value.get().starts_with('{'))
}

fn decode_envelope(envelope: &Envelope<'_>) -> Decoded {
    if is(envelope.event, "s3:TestEvent") && envelope.records.is_none() {
        return Decoded::Test;
    }
    if let Some(records) = envelope.records {
        return serde_json::from_str(records.get()).map_or(Decoded::Plain, records::decode);
    }
    if is(envelope.source, "aws.s3") {
        return match (text(envelope.detail_type), envelope.detail) {
            // CloudTrail's events have the same source and announce no object.
            (Some(detail_type), _) if !detail_type.starts_with("Object ") => Decoded::Plain,
            (Some(detail_type), Some(detail)) => decode_detail(&detail_type, detail),
            _ => Decoded::Unclear("it is an EventBridge event without detail-type or detail".into()),
        };
    }
    Decoded::Plain
}

fn decode_detail(detail_type: &str, detail: &RawValue) -> Decoded {
    let detail: Detail = match serde_json::from_str(detail.get()) {
        Ok(detail) => detail,
        Err(error) => {
            return Decoded::Unclear(format!("its detail cannot be parsed: {error}"));
        }
    };
    Decoded::Objects(vec![ObjectEvent {
        // The key is not URL-encoded here.
        url: object_url(&detail.bucket.name, &detail.object.key),
        version: detail.object.version_id,
        etag: detail.object.etag,
        size: detail.object.size,
        change: changes::of_detail_type(detail_type),
        sequencer: detail.object.sequencer,
    }])
}

/// Builds an object's URL. Bucket names hold no `:`; an event of `wasmrun enqueue` has a store's URL in the bucket's
/// place.
fn object_url(bucket: &str, key: &str) -> String {
    if bucket.contains(':') {
        format!("{}/{key}", bucket.trim_end_matches('/'))
    } else {
        format!("s3://{bucket}/{key}")
    }
}

/// Characters that stay unencoded in a notification's key, as S3 does it. The space becomes `+` afterwards.
const KEPT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/').remove(b' ');

/// Encodes the notification that S3 would send for a written object, with a store's URL in the bucket's place.
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
    fn what_cloudtrail_says_of_s3_announces_nothing() {
        let body = |detail_type: &str| {
            json!({"source": "aws.s3", "detail-type": detail_type, "detail": {"eventName": "PutObject",
                   "requestParameters": {"bucketName": "b", "key": "k"}}})
            .to_string()
        };
        assert_eq!(decode(&body("AWS API Call via CloudTrail")), Decoded::Plain);
        assert!(matches!(decode(&body("Object Created")), Decoded::Unclear(_)));
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
            r#"{"Records": [0, [0], {"": 0}]}"#,
        ] {
            assert_eq!(decode(body), Decoded::Plain, "{body}");
        }
        let large = json!({"Records": [record("b", &"k".repeat(MAX_MESSAGE_BYTES))]}).to_string();
        assert_eq!(decode(&large), Decoded::Plain, "no event is that large");
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
        let many = |count| json!({"Records": vec![record("b", "k"); count]}).to_string();
        assert_eq!(urls(&many(MAX_OBJECTS)).len(), MAX_OBJECTS);
        assert!(matches!(decode(&many(MAX_OBJECTS + 1)), Decoded::Unclear(_)));
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
