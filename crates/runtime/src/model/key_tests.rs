use super::*;
use crate::model::message::{Attribute, AttributeValue};
use proptest::prelude::*;

fn key(source: &str, message: &Message) -> String {
    let source: KeySource = source.parse().expect("a source");
    let in_bucket = |url: &str| Some(url.strip_prefix("s3://photos/")?.to_owned());
    source.key(message, in_bucket).as_str().to_owned()
}

fn body(source: &str, body: &str) -> String {
    key(source, &Message::new("m", body))
}

#[test]
fn a_source_is_one_of_four() {
    for text in ["group", "attribute:tenant", "object-prefix:2", "body:/a/b", "body:/"] {
        assert!(text.parse::<KeySource>().is_ok(), "{text}");
    }
    let long = format!("body:/{}", "a".repeat(MOST_SOURCE_BYTES));
    let deep = format!("body:{}", "/a".repeat(MOST_SEGMENTS + 1));
    for text in [
        "",
        "groups",
        "group:x",
        "attribute:",
        "attribute",
        "object-prefix:0",
        "body:",
        "body:a",
        &long,
        &deep,
    ] {
        assert!(text.parse::<KeySource>().is_err(), "{text}");
    }
}

#[test]
fn a_message_without_a_key_has_the_key_of_all_such_messages() {
    for source in ["group", "attribute:tenant", "object-prefix:1", "body:/tenant"] {
        assert_eq!(body(source, "hello"), "-", "{source}");
    }
    let mut message = Message::new("m", "x");
    message.group = Some(String::new());
    assert_eq!(key("group", &message), "-");
    let binary = AttributeValue::Binary(vec![1]);
    message.attributes = vec![Attribute { name: "tenant".into(), value: binary }];
    assert_eq!(key("attribute:tenant", &message), "-");
    assert!(Key::new("").is_none());
}

#[test]
fn groups_attributes_and_prefixes_are_keys() {
    let mut message = Message::new("m", "x");
    message.group = Some("acme".into());
    message.attributes = vec![
        Attribute { name: "tenant".into(), value: AttributeValue::Text("umbrella".into()) },
        Attribute { name: "number".into(), value: AttributeValue::Number("7".into()) },
    ];
    assert_eq!(key("group", &message), "acme");
    assert_eq!(key("attribute:tenant", &message), "umbrella");
    assert_eq!(key("attribute:number", &message), "7");
    for (object, segments, expected) in [
        ("acme/2026/cat.jpg", 1, "acme"),
        ("acme/2026/cat.jpg", 2, "acme/2026"),
        ("acme/2026/cat.jpg", 9, "acme/2026"),
        ("cat.jpg", 1, "-"),
        ("/cat.jpg", 1, "-"),
    ] {
        let event = serde_json::json!({"Records": [{
            "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "photos"}, "object": {"key": object}},
        }]});
        assert_eq!(body(&format!("object-prefix:{segments}"), &event.to_string()), expected, "{object}");
    }
}

#[test]
fn a_json_pointer_finds_texts_numbers_and_booleans() {
    let json = r#"{"a": {"b": ["x", {"c": 7}]}, "t": "acme", "n": -15, "f": -1.5, "big": 123456789012345678901234567890, "b": true, "nil": null, "": "empty", "a/b": "slash", "m~n": "tilde", "é": "\u00e9"}"#;
    for (pointer, expected) in [
        ("/t", "acme"),
        ("/a/b/0", "x"),
        ("/a/b/1/c", "7"),
        ("/n", "-15"),
        // Rounded, it would be the key of others.
        ("/f", "-"),
        ("/big", "-"),
        ("/b", "true"),
        ("/", "empty"),
        ("/a~1b", "slash"),
        ("/m~0n", "tilde"),
        ("/é", "é"),
        ("/nil", "-"),
        ("/a", "-"),
        ("/a/b", "-"),
        ("/a/b/00", "-"),
        ("/a/b/+0", "-"),
        ("/a/b/2", "-"),
        ("/t/x", "-"),
        ("/missing", "-"),
    ] {
        assert_eq!(body(&format!("body:{pointer}"), json), expected, "{pointer}");
    }
    assert_eq!(body("body:/t", r#"{"t": "first", "t": "last"}"#), "last");
    assert_eq!(body("body:/0", r#"["x"]"#), "x");
}

#[test]
fn a_hostile_body_has_no_key() {
    let deep = "[".repeat(MAX_MESSAGE_BYTES / 2) + &"]".repeat(MAX_MESSAGE_BYTES / 2);
    let nested = format!(r#"{{"x": {deep}, "t": "acme"}}"#);
    let huge = format!(r#"{{"t": "acme", "x": "{}"}}"#, "a".repeat(MAX_MESSAGE_BYTES));
    for json in [
        &deep[..],
        &nested,
        &huge,
        r#"{"t": "acme"} x"#,
        r#"{"t": "acme""#,
        r#"{"t": "\ud800"}"#,
        r#"{"t": 1e999}"#,
    ] {
        assert_eq!(body("body:/t", json), "-", "{} bytes", json.len());
    }
    let deep = format!(r#"{{"x": {}1{}, "t": "acme"}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(body("body:/t", &deep), "acme", "a value next to the pointer's may be nested deeply");
}

proptest! {
    #[test]
    fn a_key_is_short_and_shown_in_one_line(text in any::<String>(), times in 1..200_usize) {
        let key = Key::new(&text.repeat(times));
        prop_assert!((1..=MOST_BYTES).contains(&key.as_str().len()));
        prop_assert!(!key.to_string().contains(|c: char| c.is_control()));
    }

    #[test]
    fn any_body_and_pointer_give_a_key(json in any::<String>(), pointer in "(/[a-z0-9~]{0,3}){1,4}") {
        let source: KeySource = format!("body:{pointer}").parse().expect("a source");
        prop_assert!(source.key(&Message::new("m", json), |_| None).as_str().len() <= MOST_BYTES);
    }

    #[test]
    fn a_pointer_finds_what_serde_json_finds(names in proptest::collection::vec("[a-c]", 1..4), value in "[a-z]{1,5}") {
        let json = names.iter().rev().fold(serde_json::json!(value), |inner, name| serde_json::json!({name: inner, "z": [1]}));
        let pointer: String = names.iter().map(|name| format!("/{name}")).collect();
        let found = json.pointer(&pointer).and_then(|value| value.as_str()).expect("there");
        prop_assert_eq!(body(&format!("body:{pointer}"), &json.to_string()), found);
    }
}
