//! Message attributes as the file holds them: JSON that a person can read.

use serde::{Deserialize, Serialize};
use wasmrun_runtime::model::message::{Attribute, AttributeValue};
use wasmrun_runtime::model::text::hex;

/// One attribute as JSON: `{"name": …, "text": …}`, the same with `number`, or `{"name": …, "hex": …}`.
#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    #[serde(flatten)]
    value: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Value {
    Text(String),
    Number(String),
    Hex(String),
}

pub(super) fn encode(attributes: &[Attribute]) -> String {
    let stored: Vec<_> = attributes
        .iter()
        .map(|attribute| Stored {
            name: attribute.name.clone(),
            value: match &attribute.value {
                AttributeValue::Text(text) => Value::Text(text.clone()),
                AttributeValue::Number(number) => Value::Number(number.clone()),
                AttributeValue::Binary(bytes) => Value::Hex(hex(bytes)),
            },
        })
        .collect();
    serde_json::to_string(&stored).unwrap_or_else(|_| "[]".into())
}

/// Reads the attributes of a message. JSON in another form than [`encode`] writes was changed by hand. The message is
/// then delivered without attributes, as it would otherwise block the queue.
pub(super) fn decode(json: &str, message_id: &str) -> Vec<Attribute> {
    let attributes = serde_json::from_str::<Vec<Stored>>(json)
        .ok()
        .and_then(|stored| stored.into_iter().map(restore).collect::<Option<Vec<_>>>());
    attributes.unwrap_or_else(|| {
        tracing::warn!(message_id, "left out unreadable message attributes of the queue file");
        Vec::new()
    })
}

/// Returns the attributes without the one called `name`.
pub(super) fn without(json: &str, name: &str, message_id: &str) -> String {
    let mut attributes = decode(json, message_id);
    attributes.retain(|attribute| attribute.name != name);
    encode(&attributes)
}

fn restore(stored: Stored) -> Option<Attribute> {
    let value = match stored.value {
        Value::Text(text) => AttributeValue::Text(text),
        Value::Number(number) => AttributeValue::Number(number),
        Value::Hex(hex) => AttributeValue::Binary(from_hex(&hex)?),
    };
    Some(Attribute { name: stored.name, value })
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| Some((digit(pair[0])? << 4) | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn attributes_come_back_as_they_were(
            texts in proptest::collection::vec(("[a-z]{1,8}", ".{1,20}"), 0..5),
            bytes in proptest::collection::vec(any::<u8>(), 1..40),
        ) {
            let mut attributes: Vec<_> = texts
                .into_iter()
                .map(|(name, text)| Attribute { name, value: AttributeValue::Text(text) })
                .collect();
            attributes.push(Attribute { name: "binary".into(), value: AttributeValue::Binary(bytes) });
            prop_assert_eq!(decode(&encode(&attributes), "id"), attributes);
        }
    }

    #[test]
    fn attributes_spoilt_by_hand_are_left_out() {
        for json in [
            "",
            "{}",
            "[1]",
            r#"[{"name":"a"}]"#,
            r#"[{"name":"a","hex":"xyz"}]"#,
            r#"[{"name":"a","hex":"é"}]"#,
        ] {
            assert_eq!(decode(json, "id"), []);
        }
    }
}
