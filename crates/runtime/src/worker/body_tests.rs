use super::*;
use crate::model::message::{Attribute, AttributeValue};
use crate::ports::memory::MemoryStore;
use crate::ports::object_store::PutOptions;
use bytes::Bytes;

fn message(body: &str, reserved: &str) -> Arc<Message> {
    let number = |name: &str| Attribute { name: name.into(), value: AttributeValue::Number("5".into()) };
    let mut attributes = vec![number("kept")];
    attributes.extend((!reserved.is_empty()).then(|| number(reserved)));
    Arc::new(Message { attributes, ..Message::new("m", body) })
}

async fn fetched_of(message: Arc<Message>) -> Result<Arc<Message>, Failed> {
    let store = MemoryStore::at("s3://bodies/large/");
    let long = "x".repeat(1001);
    for (key, content) in
        [("a", &b"hello \"you\""[..]), ("not-text", b"\xff"), ("long", long.as_bytes()), ("nul", &[0; 500])]
    {
        let mut writer = store.write(key, PutOptions::default()).await.expect("a writer");
        writer.write(Bytes::copy_from_slice(content)).await.expect("written");
        writer.finish().await.expect("an object");
    }
    let bodies = BodyStore { store: Arc::new(store), most_bytes: 1000 };
    bodies.fetch(&message, &Handle::current()).await
}

async fn fetched(body: &str) -> Result<Arc<Message>, Failed> {
    fetched_of(message(body, "")).await
}

fn pointing_to(class: &str, bucket: &str, key: &str) -> String {
    serde_json::json!([class, {"s3BucketName": bucket, "s3Key": key, "more": 1}]).to_string()
}

fn object_form(key: &str) -> String {
    serde_json::json!({"s3BucketName": "bodies", "s3Key": key}).to_string()
}

/// Returns the body of a message as SNS delivers it without raw message delivery.
fn wrapped(text: &str, attribute: &str) -> String {
    let attributes = serde_json::json!({attribute: {"Type": "Number", "Value": "300000"}});
    serde_json::json!({"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:eu-west-1:1:t",
                       "Message": text, "Timestamp": "2026-01-01T00:00:00Z", "MessageAttributes": attributes})
    .to_string()
}

fn reason(outcome: Result<Arc<Message>, Failed>) -> String {
    match outcome {
        Err(Failed { outcome: Outcome::Rejected { reason }, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_pointer_is_replaced_by_what_it_points_to() {
    for class in CLASSES {
        for reserved in ["", ATTRIBUTES[0], ATTRIBUTES[1]] {
            let message = message(&pointing_to(class, "bodies", "large/a"), reserved);
            let message = fetched_of(message).await.expect("a message");
            assert_eq!(message.body, "hello \"you\"");
            assert_eq!(message.attributes.len(), 1, "the library's own attribute is gone");
        }
    }
    for reserved in ATTRIBUTES {
        for body in [object_form("large/a"), pointing_to("com.example.Pointer", "bodies", "large/a")] {
            let message = fetched_of(message(&body, reserved)).await.expect("a message");
            assert_eq!((message.body.as_str(), message.attributes.len()), ("hello \"you\"", 1));
        }
    }
}

#[tokio::test]
async fn a_pointer_in_an_envelope_of_sns_is_replaced_there() {
    for (pointer, attribute) in [
        (pointing_to(CLASSES[0], "bodies", "large/a"), ATTRIBUTES[0]),
        (object_form("large/a"), ATTRIBUTES[1]),
        // The class name alone marks the body as a pointer.
        (pointing_to(CLASSES[0], "bodies", "large/a"), "other"),
    ] {
        let message = fetched(&wrapped(&pointer, attribute)).await.expect("a message");
        let envelope: serde_json::Value = serde_json::from_str(&message.body).expect("an envelope");
        assert_eq!(envelope["Message"], "hello \"you\"", "{}", message.body);
        assert_eq!(envelope["TopicArn"], "arn:aws:sns:eu-west-1:1:t");
    }
    let elsewhere = wrapped(&pointing_to(CLASSES[0], "other", "large/a"), ATTRIBUTES[0]);
    assert_eq!(reason(fetched(&elsewhere).await), "its body lies outside of the body store");
    // Escaping makes six times as many of these 500 bytes.
    let escaped = wrapped(&object_form("large/nul"), ATTRIBUTES[0]);
    assert!(reason(fetched(&escaped).await).contains("--body-size"));
}

#[tokio::test]
async fn what_should_be_a_pointer_and_is_none_is_rejected_by_name() {
    let long = pointing_to(CLASSES[0], "bodies", &"x".repeat(MAX_POINTER_BYTES));
    let half = serde_json::json!({"s3BucketName": "bodies"}).to_string();
    for body in ["", "x", "{}", "[]", "null", &half, &long] {
        for reserved in ATTRIBUTES {
            let direct = reason(fetched_of(message(body, reserved)).await);
            let in_envelope = reason(fetched(&wrapped(body, reserved)).await);
            assert!(direct.contains(reserved) && direct == in_envelope, "{body}: {direct}");
        }
    }
}

#[tokio::test]
async fn what_is_no_pointer_stays_as_it_is() {
    let long = format!("[{}]", "1,".repeat(MAX_POINTER_BYTES));
    let (object, text) = (object_form("large/a"), wrapped("hello", "other"));
    let object_in_envelope = wrapped(&object, "other");
    for body in [
        "",
        "x",
        "[]",
        "[1]",
        "[[[[",
        r#"["x",{"s3BucketName":"bodies","s3Key":"large/a"}]"#,
        r#"{"Type":"Notification","Message":7,"MessageAttributes":[]}"#,
        &long,
        &object,
        &text,
        &object_in_envelope,
    ] {
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
        let refused = fetched(&pointing_to(CLASSES[0], bucket, key)).await;
        assert_eq!(reason(refused), "its body lies outside of the body store", "{bucket} {key}");
    }
}

#[tokio::test]
async fn a_body_that_can_never_be_delivered_is_rejected_with_the_reason() {
    for (key, why) in [
        ("large/gone", "is not in the body store"),
        ("large/not-text", "is not text"),
        ("large/long", "--body-size"),
    ] {
        let outcome = fetched(&pointing_to(CLASSES[0], "bodies", key)).await.expect_err("rejected").outcome;
        assert!(matches!(&outcome, Outcome::Rejected { reason } if reason.contains(why)), "{outcome:?}");
    }
}
