use super::*;
use crate::model::message::{Attribute, AttributeValue};
use proptest::prelude::*;

fn texts(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn with_attributes(attributes: Vec<(String, AttributeValue)>) -> Message {
    let attributes = attributes.into_iter().map(|(name, value)| Attribute { name, value }).collect();
    Message { attributes, ..Message::new("m", "body") }
}

fn with_text(name: &str, text: &str) -> Message {
    with_attributes(vec![(name.into(), AttributeValue::Text(text.into()))])
}

/// A message that announces these objects of the bucket `b`.
fn announcing(keys: &[&str]) -> Message {
    let record = |key: &&str| {
        format!(
            r#"{{"eventVersion":"2.1","eventName":"ObjectCreated:Put","eventSource":"aws:s3","s3":{{"bucket":{{"name":"b"}},"object":{{"key":"{key}"}}}}}}"#
        )
    };
    let records: Vec<_> = keys.iter().map(record).collect();
    Message::new("m", format!(r#"{{"Records":[{}]}}"#, records.join(",")))
}

fn holds(condition: Condition, message: &Message) -> bool {
    first_match([&[condition][..]], message, |_, url| url.strip_prefix("s3://b/in/")).is_some()
}

#[test]
fn an_attribute_is_compared_as_a_whole_by_its_text_or_number() {
    let kind = || Condition::Attribute("kind".into(), texts(&["invoice", "7"]));
    assert!(holds(kind(), &with_text("kind", "invoice")));
    assert!(holds(kind(), &with_attributes(vec![("kind".into(), AttributeValue::Number("7".into()))])));
    for (name, text) in [("kind", "invoices"), ("kind", ""), ("kind", "Invoice"), ("Kind", "invoice")] {
        assert!(!holds(kind(), &with_text(name, text)), "{name}={text}");
    }
    let binary = AttributeValue::Binary(b"invoice".to_vec());
    assert!(!holds(kind(), &with_attributes(vec![("kind".into(), binary)])));
    assert!(!holds(kind(), &Message::new("m", "invoice")));
}

#[test]
fn a_group_is_compared_as_a_whole() {
    let group = |group: Option<&str>| Message { group: group.map(Into::into), ..Message::new("m", "") };
    let acme = || Condition::Group(texts(&["acme"]));
    assert!(holds(acme(), &group(Some("acme"))));
    assert!(!holds(acme(), &group(Some("acme2"))) && !holds(acme(), &group(None)));
}

#[test]
fn a_content_type_is_compared_without_parameters_and_without_case() {
    let of =
        |text: &str, of: &[&str]| holds(Condition::ContentType(texts(of)), &with_text("content-type", text));
    for text in ["image/png", "IMAGE/PNG", "image/png; charset=x", " image/png ;"] {
        assert!(of(text, &["image/png"]) && of(text, &["text/plain", "image/*"]), "{text}");
    }
    assert!(of("image/pngx", &["image/*"]) && !of("image/pngx", &["image/png"]));
    for text in ["image", "", ";image/png", "imagé/png", "é", "text/image/png"] {
        assert!(!of(text, &["image/png", "image/*"]), "{text}");
    }
    assert!(!holds(Condition::ContentType(texts(&["image/*"])), &with_text("Content-Type", "image/png")));
}

#[test]
fn every_announced_object_must_match_in_a_store_of_the_route() {
    let (jpg, acme) =
        (|| Condition::ObjectSuffix(texts(&[".jpg", ".png"])), || Condition::ObjectPrefix(texts(&["acme/"])));
    assert!(holds(jpg(), &announcing(&["in/a.jpg"])) && holds(jpg(), &announcing(&["in/a.jpg", "in/b.png"])));
    assert!(holds(acme(), &announcing(&["in/acme/a.jpg"])));
    for keys in [&["in/a.jpg", "in/b.pdf"][..], &["in/b.pdf"], &["in/a.jpg", "out/b.jpg"], &["out/b.jpg"]] {
        assert!(!holds(jpg(), &announcing(keys)), "{keys:?}");
    }
    // A prefix that lies before the store is none.
    assert!(!holds(Condition::ObjectPrefix(texts(&["in/"])), &announcing(&["in/acme/a.jpg"])));
    for body in ["a.jpg", "{}", r#"{"Event":"s3:TestEvent"}"#, r#"{"Records":[{"s3":5}]}"#] {
        assert!(!holds(jpg(), &Message::new("m", body)), "{body}");
    }
}

#[test]
fn all_conditions_of_a_route_must_hold() {
    let both = [Condition::Group(texts(&["acme"])), Condition::Attribute("kind".into(), texts(&["a"]))];
    let message = Message { group: Some("acme".into()), ..with_text("kind", "a") };
    let matches = |message: &Message| first_match([&both[..]], message, |_, _| None).is_some();
    assert!(matches(&message));
    assert!(!matches(&Message { group: None, ..message.clone() }));
    assert!(!matches(&Message { attributes: Vec::new(), ..message }));
}

fn any_texts() -> impl Strategy<Value = BTreeSet<String>> {
    proptest::collection::btree_set(prop_oneof!["[ab/.*]{0,3}", any::<String>()], 0..4)
}

fn any_condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        (prop_oneof!["[ab]", Just(CONTENT_TYPE.to_owned())], any_texts())
            .prop_map(|(name, texts)| Condition::Attribute(name, texts)),
        any_texts().prop_map(Condition::Group),
        any_texts().prop_map(Condition::ObjectPrefix),
        any_texts().prop_map(Condition::ObjectSuffix),
        any_texts().prop_map(Condition::ContentType),
    ]
}

fn any_message() -> impl Strategy<Value = Message> {
    let name = prop_oneof!["[ab]", Just(CONTENT_TYPE.to_owned()), any::<String>()];
    let text = prop_oneof!["[ab/.]{0,3}", any::<String>()];
    let value = prop_oneof![
        text.clone().prop_map(AttributeValue::Text),
        text.clone().prop_map(AttributeValue::Number),
        any::<Vec<u8>>().prop_map(AttributeValue::Binary),
    ];
    let attributes = proptest::collection::vec((name, value), 0..4);
    let announced = proptest::collection::vec("(in/)?[ab./]{1,4}", 1..4)
        .prop_map(|keys| announcing(&keys.iter().map(String::as_str).collect::<Vec<_>>()).body);
    let body = prop_oneof![announced, any::<String>()];
    (attributes, proptest::option::of(text), body).prop_map(|(attributes, group, body)| Message {
        group,
        body,
        ..with_attributes(attributes)
    })
}

proptest! {
    /// Whatever a message holds, the answer is the first route that matches alone, and no other route changes it.
    #[test]
    fn the_first_route_that_matches_counts(
        routes in proptest::collection::vec(proptest::collection::vec(any_condition(), 1..3), 0..6),
        message in any_message(),
    ) {
        let found =
            first_match(routes.iter().map(Vec::as_slice), &message, |_, url| url.strip_prefix("s3://b/in/"));
        let alone = routes.iter().position(|conditions| {
            conditions.iter().all(|condition| holds(condition.clone(), &message))
        });
        prop_assert_eq!(found, alone);
    }
}
