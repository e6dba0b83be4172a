//! Bodies in a store: the "extended client libraries" of SQS and SNS put a body that is too large for a message into
//! S3, and send a pointer to it.
//!
//! Anybody who may send to the queue can write a pointer. So it is followed only into the one store that the user
//! named. Sources of the forms: `PayloadS3Pointer` of Amazon's payload offloading library for Java, which Amazon's
//! clients for Java and Python write, with the name of the class; and clients for .NET and Python that write the object
//! alone. All of them set a reserved attribute. SNS wraps the message and its attributes, unless the subscription has
//! raw message delivery.

use super::on_io;
use crate::model::event::{self, Carried};
use crate::model::host_error::{Access, HostError, HostErrorKind, Used};
use crate::model::message::Message;
use crate::model::outcome::{Outcome, shorten};
use crate::model::task_trace::HostCall;
use crate::ports::object_store::{ObjectStore, StoreError, read_at_most};
use crate::task::calls::{CallResult, StoreCall};
use crate::task::grant::check_key;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Names of the pointer's class: the current one, and that of versions before 2.0.
const CLASSES: [&str; 2] =
    ["software.amazon.payloadoffloading.PayloadS3Pointer", "com.amazon.sqs.javamessaging.MessageS3Pointer"];
/// Names of the reserved attribute: the current one, and that of versions before 1.1. It is removed once the body is
/// fetched.
const ATTRIBUTES: [&str; 2] = ["ExtendedPayloadSize", "SQSLargePayloadSize"];
/// Maximum size of a pointer: a bucket and a key.
const MAX_POINTER_BYTES: usize = 4 << 10;

/// The store that holds large bodies.
#[derive(Clone)]
pub struct BodyStore {
    /// The store. No other store is read, whatever a message says.
    pub store: Arc<dyn ObjectStore>,
    /// The largest body that is fetched, in bytes.
    pub most_bytes: usize,
}

/// The fields of a pointer that are used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pointer {
    s3_bucket_name: String,
    s3_key: String,
}

/// Position of the pointer in a message.
enum Place {
    /// The body is the pointer.
    Body,
    /// The text in an envelope of SNS, at this range of the body, quotes included.
    Envelope(Range<usize>),
}

impl BodyStore {
    /// Returns the same store for bodies of at most this number of bytes, if that is fewer.
    pub(super) fn at_most(&self, bytes: usize) -> Self {
        Self { store: self.store.clone(), most_bytes: self.most_bytes.min(bytes) }
    }

    /// Returns the message with its body, which is fetched from the store if the message holds a pointer.
    pub(super) async fn fetch(&self, message: &Arc<Message>, io: &Handle) -> Result<Arc<Message>, Failed> {
        let Some((pointer, place)) = pointer_in(message)? else { return Ok(message.clone()) };
        let url = format!("s3://{}/{}", pointer.s3_bucket_name, pointer.s3_key);
        let key = url.strip_prefix(self.store.url()).filter(|key| check_key(key).is_ok());
        let Some(key) = key.map(str::to_owned) else {
            tracing::warn!(message_id = message.id, object = url, "the body store does not hold the body");
            let text = format!(
                "the body store {} does not hold the body {:?}: set --body-store to where senders put bodies",
                self.store.url(),
                shorten(&url)
            );
            return Err(Failed {
                host_error: Some(error(HostErrorKind::NotGranted, text)),
                ..rejected("its body lies outside of the body store")
            });
        };
        let (store, most) = (self.store.clone(), self.most_bytes);
        let reading = on_io(io, async move { read(&*store, &key, most).await });
        let answer = reading.await.map_err(|error| unavailable(&error.to_string()))?;
        let result = CallResult::of_store(&answer);
        let fetched = self.with_body(message, answer, place);
        fetched.map_err(|failed| Failed { read: Some(result), ..failed })
    }

    /// Returns the message with the body that the store has answered.
    fn with_body(
        &self,
        message: &Arc<Message>,
        answer: Result<Option<String>, StoreError>,
        place: Place,
    ) -> Result<Arc<Message>, Failed> {
        let retry = |reason: String| Outcome::Retry { delay: None, reason };
        match answer {
            Ok(Some(fetched)) => {
                let body = match place {
                    Place::Body => fetched,
                    Place::Envelope(text) => enclosed(&message.body, text, &fetched, self.most_bytes)
                        .ok_or_else(|| rejected("its body is larger than --body-size with SNS's envelope"))?,
                };
                let attributes = message.attributes.iter().filter(|attribute| !is_reserved(&attribute.name));
                let attributes = attributes.cloned().collect();
                Ok(Arc::new(Message { body, attributes, ..Message::clone(message) }))
            }
            Ok(None) => Err(rejected("its body is not text")),
            Err(StoreError::NotFound) => Err(rejected("its body is not in the body store")),
            Err(StoreError::TooLarge(_)) => Err(rejected("its body is larger than --body-size")),
            // Without the right to list, S3 gives the same answer for an object that doesn't exist. Other messages show
            // which it is.
            Err(StoreError::AccessDenied(why) | StoreError::KeyDenied(why)) => Err(Failed {
                host_error: Some(error(
                    HostErrorKind::Refused { reading: None },
                    format!("body store: {why}"),
                )),
                ..Failed::of(retry("the body store refuses to hand out its body".into()))
            }),
            Err(StoreError::Conflict(why)) => {
                Err(Failed::of(retry(format!("its body cannot be read: {why}"))))
            }
            Err(StoreError::Invalid(why)) => Err(rejected(&format!("its body cannot be read: {why}"))),
            Err(error) => Err(unavailable(&error.to_string())),
        }
    }
}

/// Why a message has no body. Its task ends with this outcome before there is an instance.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) outcome: Outcome,
    pub(super) host_error: Option<Box<HostError>>,
    /// Result of the call to the store, if it has answered.
    pub(super) read: Option<CallResult>,
}

impl Failed {
    pub(super) fn of(outcome: Outcome) -> Self {
        Self { outcome, host_error: None, read: None }
    }
}

/// Name of the body store in [`HostError`]. It can't be an alias, as an alias contains no space.
pub(super) const BODY_STORE: &str = "body store";

/// Returns the use of the body store: bodies are only read.
pub(super) fn body_store() -> Used {
    Used { backend: BODY_STORE.into(), access: Access::Read }
}

/// Returns the call that fetched a body, for the task's trace.
pub(super) fn fetch_call(took: Duration, result: CallResult) -> HostCall {
    HostCall {
        kind: "store",
        name: StoreCall::Get.as_str(),
        target: BODY_STORE.into(),
        began: Duration::ZERO,
        took,
        result: result.as_str(),
        pieces: 1,
    }
}

fn error(kind: HostErrorKind, text: String) -> Box<HostError> {
    Box::new(HostError { used: body_store(), kind, text })
}

fn rejected(reason: &str) -> Failed {
    Failed::of(Outcome::Rejected { reason: reason.into() })
}

/// The store can't be reached, or doesn't answer.
fn unavailable(what: &str) -> Failed {
    let text = format!("body store: {what}");
    let kind = HostErrorKind::Unavailable { reading: None };
    Failed { host_error: Some(error(kind, text.clone())), ..Failed::of(Outcome::HostFailed { what: text }) }
}

fn is_reserved(attribute: &str) -> bool {
    ATTRIBUTES.contains(&attribute)
}

/// Returns whether an extended client says that the message's body is in a store.
pub(super) fn is_elsewhere(message: &Message) -> bool {
    message.attributes.iter().any(|attribute| is_reserved(&attribute.name))
}

/// Returns the pointer in a message, if there is one.
///
/// # Errors
///
/// Fails if a reserved attribute says that there is a pointer, and the message holds none.
fn pointer_in(message: &Message) -> Result<Option<(Pointer, Place)>, Failed> {
    let body = &*message.body;
    let envelope = event::carried_by_sns(body);
    let reserved = is_elsewhere(message) || envelope.is_some_and(|envelope| says_so(&envelope));
    let found = match envelope {
        None => pointer(body, reserved).map(|pointer| (pointer, Place::Body)),
        Some(envelope) => in_envelope(body, &envelope, reserved),
    };
    if reserved && found.is_none() {
        let names = ATTRIBUTES.join(" or ");
        return Err(rejected(&format!(
            "the attribute {names} says that its body is in S3, and the message holds no pointer to it"
        )));
    }
    Ok(found)
}

fn in_envelope(body: &str, envelope: &Carried<'_>, reserved: bool) -> Option<(Pointer, Place)> {
    let written = envelope.message.get();
    // JSON may write each character as an escape of six bytes.
    if written.len() > 6 * MAX_POINTER_BYTES {
        return None;
    }
    let pointer = pointer(&serde_json::from_str::<String>(written).ok()?, reserved)?;
    // `written` borrows from `body`, but only its address says where it is.
    let start = written.as_ptr().addr().checked_sub(body.as_ptr().addr())?;
    let place = start..start + written.len();
    (body.get(place.clone()) == Some(written)).then_some((pointer, Place::Envelope(place)))
}

/// Returns whether an envelope of SNS holds a reserved attribute.
fn says_so(envelope: &Carried<'_>) -> bool {
    struct Names(bool);
    impl<'de> Deserialize<'de> for Names {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Map;
            impl<'de> Visitor<'de> for Map {
                type Value = Names;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("attributes")
                }

                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                    let mut reserved = false;
                    while let Some((name, IgnoredAny)) = map.next_entry::<Cow<'de, str>, IgnoredAny>()? {
                        reserved |= is_reserved(&name);
                    }
                    Ok(Names(reserved))
                }
            }
            deserializer.deserialize_map(Map)
        }
    }
    let attributes = envelope.attributes.map(RawValue::get);
    attributes
        .is_some_and(|attributes| serde_json::from_str(attributes).is_ok_and(|Names(reserved)| reserved))
}

/// Parses a pointer of the form `["CLASS", {"s3BucketName": …, "s3Key": …}]`. If a reserved attribute is set, the
/// object alone and other class names are accepted as well.
fn pointer(body: &str, reserved: bool) -> Option<Pointer> {
    if body.len() > MAX_POINTER_BYTES {
        return None;
    }
    match body.trim_start().chars().next()? {
        '[' => {
            let (class, pointer): (String, Pointer) = serde_json::from_str(body).ok()?;
            (reserved || CLASSES.contains(&&*class)).then_some(pointer)
        }
        '{' if reserved => serde_json::from_str(body).ok(),
        _ => None,
    }
}

/// Returns the envelope with its text at `place` replaced, as SNS would have sent a smaller body. Returns `None` if it
/// would be larger than `most`.
fn enclosed(envelope: &str, place: Range<usize>, text: &str, most: usize) -> Option<String> {
    struct Length(usize);
    impl io::Write for Length {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    // Escaping may make the text six times as long, so the length is computed before memory is allocated.
    let mut length = Length(0);
    serde_json::to_writer(&mut length, text).ok()?;
    let length = envelope.len() - place.len() + length.0;
    if length > most {
        return None;
    }
    let mut whole = Vec::with_capacity(length);
    whole.extend_from_slice(&envelope.as_bytes()[..place.start]);
    serde_json::to_writer(&mut whole, text).ok()?;
    whole.extend_from_slice(&envelope.as_bytes()[place.end..]);
    String::from_utf8(whole).ok()
}

/// Reads an object of at most `most` bytes. Returns `None` if it isn't UTF-8.
async fn read(store: &dyn ObjectStore, key: &str, most: usize) -> Result<Option<String>, StoreError> {
    let mut reader = store.read(key, None, None).await?;
    let size = reader.info().size;
    if size > most as u64 {
        return Err(StoreError::TooLarge(format!("it has {size} bytes")));
    }
    let body = read_at_most(&mut *reader, most).await?;
    let body = body.ok_or_else(|| StoreError::TooLarge("it has more bytes than it says".into()))?;
    Ok(String::from_utf8(body).ok())
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
