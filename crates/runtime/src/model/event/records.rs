//! Records of a notification, in Amazon S3's form and in the variants of MinIO and Ceph.
//!
//! Sources: "Event message structure" in the S3 user guide; `cmd/event-notification.go` of MinIO; `rgw_notify.cc`,
//! `rgw_pubsub.cc` and "Bucket Notifications" in the documentation of Ceph.

use super::{Bucket, Decoded, MAX_OBJECTS, ObjectEvent, changes, is_object, object_url, text};
use percent_encoding::percent_decode_str;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;

/// A service whose notifications are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// S3 itself, and servers that identify as S3.
    Amazon,
    /// MinIO, which wraps its records with a copy of their name and key. The copy isn't needed.
    MinIo,
    /// Ceph's object gateway.
    Ceph,
}

impl Sender {
    const ALL: [Self; 3] = [Self::Amazon, Self::MinIo, Self::Ceph];

    /// The service's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amazon => "Amazon S3",
            Self::MinIo => "MinIO",
            Self::Ceph => "Ceph",
        }
    }

    /// Returns the `eventSource` in the service's records.
    fn source(self) -> &'static str {
        match self {
            Self::Amazon => "aws:s3",
            Self::MinIo => "minio:s3",
            Self::Ceph => "ceph:s3",
        }
    }

    /// Decodes a key as this service encodes it. Returns `None` if it isn't UTF-8.
    fn key(self, written: &str) -> Option<String> {
        match self {
            // application/x-www-form-urlencoded; MinIO encodes slashes too.
            Self::Amazon | Self::MinIo => form_decode(written),
            // Ceph doesn't encode keys.
            Self::Ceph => Some(written.to_owned()),
        }
    }
}

/// The sender of a record.
enum Origin {
    Known(Sender),
    /// An unknown service that uses S3's form, with its `eventSource`.
    LooksLikeS3(Option<String>),
    /// Not a record of an object store.
    Other,
}

/// The first elements of a list, at most one more than [`MAX_OBJECTS`].
pub(super) struct FirstRecords<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for FirstRecords<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = FirstRecords<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut records = Vec::new();
                while let Some(record) = list.next_element()? {
                    records.push(record);
                    if records.len() > MAX_OBJECTS {
                        while list.next_element::<IgnoredAny>()?.is_some() {}
                        break;
                    }
                }
                Ok(FirstRecords(records))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// The fields that identify the sender of a record.
#[derive(Deserialize)]
struct Source<'a> {
    #[serde(rename = "eventSource", borrow)]
    event_source: Option<&'a RawValue>,
    #[serde(borrow)]
    s3: Option<&'a RawValue>,
}

/// The fields of `s3` that all services set.
#[derive(Deserialize)]
struct Form<'a> {
    #[serde(borrow)]
    bucket: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
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
#[serde(rename_all = "camelCase")]
struct RecordObject {
    key: String,
    #[serde(default)]
    size: Size,
    /// Early versions of Ceph wrote `etag`.
    #[serde(alias = "etag")]
    e_tag: Option<String>,
    version_id: Option<String>,
    sequencer: Option<String>,
}

/// A number of bytes. Ceph's documentation shows it as a string.
#[derive(Default)]
struct Size(Option<u64>);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Size, E> {
                Ok(Size(Some(number)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Size, E> {
                let number = text.parse().map_err(|_| E::custom("a size that is no number of bytes"))?;
                Ok(Size(Some(number)))
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<Size, E> {
                Ok(Size(None))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

/// Decodes the records of a notification.
pub(super) fn decode(FirstRecords(records): FirstRecords<'_>) -> Decoded {
    let unclear = |reason: &str| Decoded::Unclear(reason.into());
    let origins: Vec<_> = records.iter().map(|record| origin(record)).collect();
    // An application may use the field `Records` for its own purposes.
    if origins.iter().all(|origin| matches!(origin, Origin::Other)) {
        return Decoded::Plain;
    }
    if records.len() > MAX_OBJECTS {
        return Decoded::Unclear(format!("it has more than {MAX_OBJECTS} records"));
    }
    let mut events = Vec::with_capacity(records.len());
    for (record, origin) in records.into_iter().zip(origins) {
        let sender = match origin {
            Origin::Known(sender) => sender,
            Origin::LooksLikeS3(source) => {
                let source = source.map_or("no source".into(), |source| format!("the source {source:?}"));
                let known = Sender::ALL.map(Sender::source).join(", ");
                return Decoded::Unclear(format!("it has {source}, and only {known} are supported"));
            }
            Origin::Other => return unclear("it has records of S3 and of others"),
        };
        let record: Record = match serde_json::from_str(record.get()) {
            Ok(record) => record,
            Err(error) => return Decoded::Unclear(format!("a record cannot be parsed: {error}")),
        };
        // Amazon's rule: the same major version, any minor version.
        if record.event_version.split('.').next() != Some("2") {
            return unclear("a record has another major version than 2");
        }
        let object = record.s3.object;
        let Some(key) = sender.key(&object.key) else { return unclear("a key is not UTF-8") };
        if key.is_empty() {
            // MinIO sends such records for events of a bucket.
            return unclear("a record names no object");
        }
        // Ceph writes an empty string for an absent value.
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        events.push(ObjectEvent {
            url: object_url(&record.s3.bucket.name, &key),
            version: filled(object.version_id),
            etag: filled(object.e_tag),
            size: object.size.0,
            change: changes::of_type(&record.event_name),
            sequencer: filled(object.sequencer),
        });
    }
    Decoded::Objects(events)
}

fn origin(record: &RawValue) -> Origin {
    let Ok(Source { event_source, s3 }) = serde_json::from_str(record.get()) else { return Origin::Other };
    let source = text(event_source);
    if let Some(sender) = Sender::ALL.into_iter().find(|sender| source.as_deref() == Some(sender.source())) {
        return Origin::Known(sender);
    }
    let form: Option<Form<'_>> = s3.and_then(|s3| serde_json::from_str(s3.get()).ok());
    match form {
        Some(form) if is_object(form.bucket) && is_object(form.object) => Origin::LooksLikeS3(source),
        _ => Origin::Other,
    }
}

/// Decodes a key as S3 encodes it in notifications: `+` is a space, and `%XX` a byte.
fn form_decode(key: &str) -> Option<String> {
    let key = key.replace('+', " ");
    percent_decode_str(&key).decode_utf8().ok().map(|key| key.into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{Change, decode};
    use super::*;
    use serde_json::{Value, json};

    fn only(body: &Value) -> ObjectEvent {
        match decode(&body.to_string()) {
            Decoded::Objects(mut events) if events.len() == 1 => events.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn reason(body: &Value) -> String {
        match decode(&body.to_string()) {
            Decoded::Unclear(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    /// A notification in the form of MinIO's webhook.
    fn of_minio(event_name: &str, key: &str) -> Value {
        json!({"EventName": event_name, "Key": format!("photos/{key}"), "Records": [{
            "eventVersion": "2.0", "eventSource": "minio:s3", "awsRegion": "",
            "eventTime": "2026-07-24T04:49:17.167Z", "eventName": event_name,
            "userIdentity": {"principalId": "minio"},
            "requestParameters": {"principalId": "minio", "region": "", "sourceIPAddress": "172.18.0.1"},
            "responseElements": {"x-amz-request-id": "18C523D720EC8A19"},
            "s3": {"s3SchemaVersion": "1.0", "configurationId": "Config",
                   "bucket": {"name": "photos", "ownerIdentity": {"principalId": "minio"}, "arn": "arn:aws:s3:::photos"},
                   "object": {"key": key, "size": 1024, "eTag": "45", "contentType": "image/jpeg",
                              "userMetadata": {"content-type": "image/jpeg"}, "sequencer": "18C523D720F2"}},
            "source": {"host": "172.18.0.1", "port": "", "userAgent": "MinIO"}}]})
    }

    /// A notification as in Ceph's documentation.
    fn of_ceph(event_name: &str, key: &str) -> Value {
        json!({"Records": [{
            "eventVersion": "2.1", "eventSource": "ceph:s3", "awsRegion": "zonegroup1",
            "eventTime": "2019-11-22T13:47:35.124724Z", "eventName": event_name,
            "userIdentity": {"principalId": "tester"}, "requestParameters": {"sourceIPAddress": ""},
            "s3": {"s3SchemaVersion": "1.0", "configurationId": "mynotif1",
                   "bucket": {"name": "mybucket1", "arn": "arn:aws:s3:zonegroup1::mybucket1", "id": "503a4c37"},
                   "object": {"key": key, "size": "1024", "eTag": "37b5", "versionId": "",
                              "sequencer": "F7E6D75DC742D108", "metadata": [], "tags": []}},
            "eventId": "", "opaqueData": "me@example.com"}]})
    }

    #[test]
    fn minio_encodes_the_whole_key() {
        let event = only(&of_minio("s3:ObjectCreated:Put", "in%2Fa+b%2Bc+%C3%BC.jpg"));
        assert_eq!(event.url, "s3://photos/in/a b+c ü.jpg");
        assert_eq!((event.size, event.version, event.change), (Some(1024), None, Change::Created));
        assert_eq!(only(&of_minio("s3:ObjectRemoved:Delete", "k")).change, Change::Removed);
        assert!(reason(&of_minio("s3:BucketCreated:*", "")).contains("names no object"));
    }

    #[test]
    fn ceph_writes_a_key_as_it_is() {
        let event = only(&of_ceph("ObjectCreated:Put", "in/a+b%20c ü.jpg"));
        assert_eq!(event.url, "s3://mybucket1/in/a+b%20c ü.jpg");
        assert_eq!((event.size, event.version.as_deref()), (Some(1024), None));
        assert_eq!(event.etag.as_deref(), Some("37b5"));
        assert_eq!(only(&of_ceph("s3:ObjectRemoved:DeleteMarkerCreated", "k")).change, Change::Removed);
        let mut early = of_ceph("s3:ObjectCreated:Put", "k");
        early["Records"][0]["s3"]["object"] = json!({"key": "k", "size": 5, "etag": "e"});
        assert_eq!(only(&early).etag.as_deref(), Some("e"));
    }

    #[test]
    fn an_event_of_an_unknown_source_that_looks_like_one_of_s3_is_named() {
        let mut body = of_ceph("ObjectCreated:Put", "k");
        body["Records"][0]["eventSource"] = "acme:s3".into();
        assert!(reason(&body).contains("\"acme:s3\""), "{}", reason(&body));
        assert!(reason(&body).contains("minio:s3"), "{}", reason(&body));
        body["Records"][0].as_object_mut().expect("a record").remove("eventSource");
        assert!(reason(&body).contains("no source"), "{}", reason(&body));
        // An application's own records aren't S3's just because they have a field `s3`.
        for s3 in [
            json!("s3://bucket/key"),
            json!({"bucket": "b", "object": "k"}),
            json!({"bucket": {}}),
            json!(null),
        ] {
            body["Records"][0]["s3"] = s3;
            assert_eq!(decode(&body.to_string()), Decoded::Plain, "{body}");
        }
    }

    #[test]
    fn a_size_that_is_none_is_no_event() {
        for size in [json!("many"), json!(-1), json!(1.5), json!([])] {
            let mut body = of_ceph("ObjectCreated:Put", "k");
            body["Records"][0]["s3"]["object"]["size"] = size;
            assert!(reason(&body).contains("cannot be parsed"), "{body}");
        }
    }
}
