//! Bodies that are too large for a message: the "extended client library" of SQS puts them into a store and sends where
//! they are.
//!
//! Who may send to the queue writes the pointer, so that it's believed only as far as it leads into the one store
//! that the user named. Source of the format: the PayloadS3Pointer class of Amazon's payload offloading library.

use crate::grant::check_key;
use crate::message::Message;
use crate::object_store::{ObjectStore, StoreError};
use crate::outcome::Outcome;
use serde::Deserialize;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

/// What the pointer's class is called, now and in versions before 2.0.
const CLASSES: [&str; 2] =
    ["software.amazon.payloadoffloading.PayloadS3Pointer", "com.amazon.sqs.javamessaging.MessageS3Pointer"];
/// The library's own attributes, now and in versions before 1.1: with the pointer they lose their meaning.
const ATTRIBUTES: [&str; 2] = ["ExtendedPayloadSize", "SQSLargePayloadSize"];
/// A pointer names a bucket and a key.
const MAX_POINTER_BYTES: usize = 4 << 10;
/// What is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Where large bodies lie.
#[derive(Clone)]
pub struct BodyStore {
    /// The store. Nothing else is read, whatever a message says.
    pub store: Arc<dyn ObjectStore>,
    /// The largest body that is fetched, in bytes.
    pub most_bytes: usize,
}

/// Of a pointer, what concerns us.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pointer {
    s3_bucket_name: String,
    s3_key: String,
}

impl BodyStore {
    /// The message with its body, wherever that is.
    pub(super) async fn fetch(&self, message: &Arc<Message>, io: &Handle) -> Result<Arc<Message>, Outcome> {
        let Some(pointer) = pointer(&message.body) else { return Ok(message.clone()) };
        let url = format!("s3://{}/{}", pointer.s3_bucket_name, pointer.s3_key);
        let key = url.strip_prefix(self.store.url()).filter(|key| check_key(key).is_ok());
        let Some(key) = key.map(str::to_owned) else {
            tracing::warn!(message_id = message.id, object = url, "The body store doesn't hold the body.");
            return Err(rejected("its body lies outside of the body store"));
        };
        // The guests' threads are not for backends.
        let reading = {
            let (store, most) = (self.store.clone(), self.most_bytes);
            AbortOnDropHandle::new(io.spawn(async move { read(&*store, &key, most).await }))
        };
        let failed = |what: String| Outcome::HostFailed { what: format!("body store: {what}") };
        match reading.await.map_err(|error| failed(error.to_string()))? {
            Ok(Some(body)) => {
                let attributes = message.attributes.iter();
                let attributes = attributes.filter(|attribute| !ATTRIBUTES.contains(&&*attribute.name));
                let attributes = attributes.cloned().collect();
                Ok(Arc::new(Message { body, attributes, ..Message::clone(message) }))
            }
            Ok(None) => Err(rejected("its body isn't text")),
            Err(StoreError::NotFound) => Err(rejected("its body isn't in the body store")),
            Err(StoreError::TooLarge(_)) => Err(rejected("its body is larger than --body-size")),
            // S3 says no more to those who may not list: the object may just not be there. It's this message's matter, and
            // not an outage.
            Err(StoreError::AccessDenied(_)) => Err(Outcome::Retry {
                delay: None,
                reason: "the body store refuses to hand out its body".into(),
            }),
            Err(StoreError::Conflict(why)) => {
                Err(Outcome::Retry { delay: None, reason: format!("its body can't be read: {why}") })
            }
            Err(StoreError::Invalid(why)) => Err(rejected(&format!("its body can't be read: {why}"))),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

fn rejected(reason: &str) -> Outcome {
    Outcome::Rejected { reason: reason.into() }
}

/// `["CLASS", {"s3BucketName": …, "s3Key": …}]`
fn pointer(body: &str) -> Option<Pointer> {
    if body.len() > MAX_POINTER_BYTES || !body.trim_start().starts_with('[') {
        return None;
    }
    let (class, pointer): (String, Pointer) = serde_json::from_str(body).ok()?;
    CLASSES.contains(&&*class).then_some(pointer)
}

/// `None`: it isn't UTF-8.
async fn read(store: &dyn ObjectStore, key: &str, most: usize) -> Result<Option<String>, StoreError> {
    let mut reader = store.read(key, None, None).await?;
    let size = reader.info().size;
    if size > most as u64 {
        return Err(StoreError::TooLarge(format!("it has {size} bytes")));
    }
    let mut body = Vec::with_capacity(size as usize);
    loop {
        let piece = reader.read(PIECE_BYTES).await?;
        if piece.is_empty() {
            return Ok(String::from_utf8(body).ok());
        }
        if body.len() + piece.len() > most {
            return Err(StoreError::TooLarge("it has more bytes than it says".into()));
        }
        body.extend_from_slice(&piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::message::{Attribute, AttributeValue};
    use crate::object_store::PutOptions;
    use bytes::Bytes;

    fn message(body: &str) -> Arc<Message> {
        let number = |name: &str| Attribute { name: name.into(), value: AttributeValue::Number("5".into()) };
        let attributes = vec![number("ExtendedPayloadSize"), number("kept")];
        Arc::new(Message { attributes, ..Message::new("m", body) })
    }

    async fn fetched(body: &str) -> Result<Arc<Message>, Outcome> {
        let store = MemoryStore::at("s3://bodies/large/");
        let long = "x".repeat(101);
        for (key, content) in [("a", &b"hello"[..]), ("not-text", b"\xff"), ("long", long.as_bytes())] {
            let mut writer = store.write(key, PutOptions::default()).await.expect("a writer");
            writer.write(Bytes::copy_from_slice(content)).await.expect("written");
            writer.finish().await.expect("an object");
        }
        let bodies = BodyStore { store: Arc::new(store), most_bytes: 100 };
        bodies.fetch(&message(body), &Handle::current()).await
    }

    fn pointing_to(class: &str, bucket: &str, key: &str) -> String {
        serde_json::json!([class, {"s3BucketName": bucket, "s3Key": key, "more": 1}]).to_string()
    }

    #[tokio::test]
    async fn a_pointer_is_replaced_by_what_it_points_to() {
        for class in CLASSES {
            let message = fetched(&pointing_to(class, "bodies", "large/a")).await.expect("a message");
            assert_eq!(message.body, "hello");
            assert_eq!(message.attributes.len(), 1, "the library's own attribute is gone");
        }
    }

    #[tokio::test]
    async fn what_is_no_pointer_stays_as_it_is() {
        let long = format!("[{}]", "1,".repeat(MAX_POINTER_BYTES));
        for body in
            ["", "x", "[]", "[1]", "[[[[", r#"["x",{"s3BucketName":"bodies","s3Key":"large/a"}]"#, &long]
        {
            assert_eq!(fetched(body).await.expect("a message").body, body);
        }
    }

    #[tokio::test]
    async fn a_pointer_leads_nowhere_but_into_the_store() {
        for (bucket, key) in [
            ("other", "large/a"),
            ("bodies", "a"),
            ("bodies", "large/../a"),
            ("bodies", "large/"),
            ("bodies/large/..", "large/a"),
            ("bodies", ""),
        ] {
            let outcome = fetched(&pointing_to(CLASSES[0], bucket, key)).await.expect_err("refused");
            let Outcome::Rejected { reason } = outcome else { panic!("{bucket} {key}: {outcome:?}") };
            assert_eq!(reason, "its body lies outside of the body store");
        }
    }

    #[tokio::test]
    async fn a_body_that_can_never_be_delivered_is_rejected_with_the_reason() {
        for (key, why) in [
            ("large/gone", "isn't in the body store"),
            ("large/not-text", "isn't text"),
            ("large/long", "--body-size"),
        ] {
            let outcome = fetched(&pointing_to(CLASSES[0], "bodies", key)).await.expect_err("rejected");
            assert!(matches!(&outcome, Outcome::Rejected { reason } if reason.contains(why)), "{outcome:?}");
        }
    }
}
