//! Dead letters: what the worker records about a message that it sends to a dead-letter queue.

use crate::model::message::{Attribute, AttributeValue, Message, OUTCOME_ATTRIBUTE};
use crate::model::outcome::{Outcome, OutcomeKind};
use serde::{Deserialize, Serialize};

/// The record of a dead letter: the value of the attribute [`OUTCOME_ATTRIBUTE`], as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// How the last task ended.
    pub outcome: OutcomeKind,
    /// The reason in words. It may hold a guest's text: never write it as a raw line.
    pub reason: Option<String>,
    /// Number of receives before the message was dead-lettered.
    pub receive_count: u32,
    /// ID of the message in its source queue.
    pub message_id: String,
    /// When the message was sent to its source queue (RFC 3339). `None` in records of a time that can't be written so.
    #[serde(default)]
    pub sent_at: Option<String>,
    /// URL of the source queue.
    pub queue: String,
    /// Name of the component.
    pub component: String,
    /// Name of the route that the message took. `None` without routes, and if none matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Key of the message, if the worker tells messages apart by key. The sender chooses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl DeadLetter {
    /// Begins the record of a message of a queue that is dead-lettered as its task ended so. It has no route and no key.
    pub fn new(message: &Message, outcome: &Outcome, queue: &str, component: &str) -> Self {
        Self {
            outcome: outcome.kind(),
            reason: outcome.reason().map(Into::into),
            receive_count: message.receive_count,
            message_id: message.id.clone(),
            sent_at: jiff::Timestamp::try_from(message.sent_at).ok().map(|time| time.to_string()),
            queue: queue.into(),
            component: component.into(),
            route: None,
            key: None,
        }
    }

    /// Reads the record from a message's attribute. Returns `None` if there is none, or none that a worker wrote: the
    /// attribute of a message may hold any text.
    pub fn of(message: &Message) -> Option<Self> {
        serde_json::from_str(message.attribute_text(OUTCOME_ATTRIBUTE)?).ok()
    }

    /// Returns the record as an attribute.
    pub fn to_attribute(&self) -> Attribute {
        let json = serde_json::to_string(self).unwrap_or_default();
        Attribute { name: OUTCOME_ATTRIBUTE.into(), value: AttributeValue::Text(json) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(value: AttributeValue) -> Message {
        let attributes = vec![Attribute { name: OUTCOME_ATTRIBUTE.into(), value }];
        Message { attributes, ..Message::new("m", "body") }
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(reason in any::<Option<String>>(), queue in any::<String>()) {
            let dead = DeadLetter {
                outcome: OutcomeKind::Trapped,
                reason,
                receive_count: 3,
                message_id: "m".into(),
                sent_at: Some("2026-11-24T15:00:00.25Z".into()),
                queue,
                component: "c.wasm".into(),
                route: Some("r".into()),
                key: Some("k".into()),
            };
            prop_assert_eq!(DeadLetter::of(&message(dead.to_attribute().value)), Some(dead));
        }

        #[test]
        fn any_other_text_is_no_record(text in any::<String>()) {
            prop_assert_eq!(DeadLetter::of(&message(AttributeValue::Text(text))), None);
        }
    }

    #[test]
    fn what_a_sender_writes_is_no_record_unless_it_is_complete() {
        let deep = "[".repeat(200_000);
        for text in ["", "{}", "null", r#"{"outcome":"rejected"}"#, r#"{"outcome":"\u0000"}"#, &deep] {
            assert_eq!(DeadLetter::of(&message(AttributeValue::Text(text.into()))), None);
        }
        assert_eq!(DeadLetter::of(&message(AttributeValue::Binary(b"{}".to_vec()))), None);
        assert_eq!(DeadLetter::of(&Message::new("m", "body")), None);
    }
}
