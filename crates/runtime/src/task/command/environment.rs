//! The variables that describe a message to a command.

use crate::model::message::AttributeValue;
use crate::model::text::hex;
use crate::task::host::milliseconds;
use crate::task::store::Delivered;
use serde_json::{Map, Value, json};

/// Beginning of the names of all these variables. None is granted.
pub(super) const PREFIX: &str = "WASMRUN_";
/// Maximum number of bytes of these variables, names and values together. A variable that exceeds it is left out.
pub(super) const MAX_BYTES: usize = 128 << 10;

/// Returns the environment of a command: the granted keys, and the variables of its message.
pub(crate) fn variables(granted: &[(String, String)], delivered: &Delivered) -> Vec<(String, String)> {
    let mut variables = Variables { all: Vec::new(), left: MAX_BYTES, left_out: Vec::new() };
    let message = &delivered.message;
    variables.add("MESSAGE_ID", message.id.clone());
    variables.add("RECEIVE_COUNT", message.receive_count.to_string());
    variables.add("SENT_AT", milliseconds(message.sent_at).to_string());
    if let Some(group) = &message.group {
        variables.add("GROUP", group.clone());
    }
    if let [object, ..] = &*delivered.objects {
        variables.add("OBJECT_STORE", object.alias.clone());
        variables.add("OBJECT_KEY", object.key.clone());
        variables.add("OBJECT_CHANGE", object.change.as_str().to_owned());
        let optional = [("VERSION", &object.version), ("ETAG", &object.etag)];
        for (name, value) in optional {
            value.iter().for_each(|value| variables.add(&format!("OBJECT_{name}"), value.clone()));
        }
        object.size.iter().for_each(|size| variables.add("OBJECT_SIZE", size.to_string()));
    }
    variables.add("MESSAGE", describe(delivered).to_string());
    for attribute in &message.attributes {
        if let Some(text) = attribute.value.as_text() {
            variables.add(&format!("ATTRIBUTE_{}", attribute.name), text.to_owned());
        }
    }
    if !variables.left_out.is_empty() {
        let names = variables.left_out.join(" ");
        tracing::warn!(
            message_id = message.id,
            names,
            "left out variables of the message that are too large"
        );
    }
    granted.iter().cloned().chain(variables.all).collect()
}

struct Variables {
    all: Vec<(String, String)>,
    /// Bytes that may still be added.
    left: usize,
    /// Names of the variables that were too large.
    left_out: Vec<String>,
}

impl Variables {
    fn add(&mut self, name: &str, value: String) {
        let name = format!("{PREFIX}{name}");
        match self.left.checked_sub(name.len() + value.len()) {
            Some(left) => {
                self.left = left;
                self.all.push((name, value));
            }
            None => self.left_out.push(name.chars().take(64).collect()),
        }
    }
}

/// Describes the message without its body. Binary attributes are in hexadecimal digits.
pub(crate) fn describe(delivered: &Delivered) -> Value {
    let message = &delivered.message;
    let attributes: Map<String, Value> = message
        .attributes
        .iter()
        .map(|attribute| {
            let value = match &attribute.value {
                AttributeValue::Text(text) | AttributeValue::Number(text) => json!(text),
                AttributeValue::Binary(bytes) => json!({ "hex": hex(bytes) }),
            };
            (attribute.name.clone(), value)
        })
        .collect();
    let objects: Vec<Value> = delivered
        .objects
        .iter()
        .map(|object| {
            json!({
                "store": object.alias, "key": object.key, "version": object.version, "etag": object.etag,
                "size": object.size, "change": object.change.as_str(), "sequencer": object.sequencer,
            })
        })
        .collect();
    json!({
        "id": message.id, "receive_count": message.receive_count, "sent_at": milliseconds(message.sent_at),
        "group": message.group, "attributes": attributes, "objects": objects,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::{Attribute, Message};
    use std::sync::Arc;

    fn delivered(attributes: Vec<Attribute>) -> Delivered {
        let message = Message { attributes, group: Some("tenant".into()), ..Message::new("m", "body") };
        Delivered::plain(Arc::new(message))
    }

    fn attribute(name: &str, value: AttributeValue) -> Attribute {
        Attribute { name: name.into(), value }
    }

    #[test]
    fn a_message_is_described_without_its_body() {
        let granted = [("KEY".into(), "value".into())];
        let delivered = delivered(vec![
            attribute("tenant", AttributeValue::Text("a=b\n".into())),
            attribute("raw", AttributeValue::Binary(vec![0, 255])),
        ]);
        let all = variables(&granted, &delivered);
        let of = |name: &str| {
            all.iter().filter(|(key, _)| key == name).map(|(_, value)| &**value).collect::<Vec<_>>()
        };
        assert_eq!(of("KEY"), ["value"]);
        assert_eq!(of("WASMRUN_GROUP"), ["tenant"]);
        assert_eq!(of("WASMRUN_MESSAGE_ID"), ["m"]);
        assert_eq!(of("WASMRUN_RECEIVE_COUNT"), ["1"]);
        assert_eq!(of("WASMRUN_ATTRIBUTE_tenant"), ["a=b\n"]);
        assert!(of("WASMRUN_ATTRIBUTE_raw").is_empty() && of("WASMRUN_OBJECT_KEY").is_empty());
        let message: Value = serde_json::from_str(of("WASMRUN_MESSAGE")[0]).expect("JSON");
        assert_eq!(message["attributes"], json!({"tenant": "a=b\n", "raw": {"hex": "00ff"}}));
        assert!(!message.to_string().contains("body"));
    }

    #[test]
    fn attributes_of_a_megabyte_are_left_out_and_the_rest_stays() {
        let large = attribute("large", AttributeValue::Text("x".repeat(1 << 20)));
        let small = attribute("small", AttributeValue::Text("y".into()));
        let all = variables(&[], &delivered(vec![large, small]));
        let bytes: usize = all.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(bytes <= MAX_BYTES, "{bytes}");
        assert!(all.iter().any(|(name, _)| name == "WASMRUN_ATTRIBUTE_small"));
        assert!(!all.iter().any(|(name, _)| name == "WASMRUN_ATTRIBUTE_large" || name == "WASMRUN_MESSAGE"));
    }
}
