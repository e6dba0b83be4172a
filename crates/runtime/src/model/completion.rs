//! Completion groups: messages of which a sender wants to know when all of them have ended.
//!
//! Each message says the name of its group and the number of the group's messages, in two attributes. Senders may write
//! anything there.

use crate::model::key::Key;
use crate::model::message::{Attribute, AttributeValue, Message, OutgoingMessage};
use crate::model::notification::End;
use crate::model::outcome::OutcomeKind;
use crate::model::text::json;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::str::FromStr;

/// Maximum number of messages of a group. Their IDs are kept until the group is complete.
pub const MOST_MESSAGES: u32 = 10_000;
/// Maximum number of bytes of a group's name.
pub const MOST_NAME_BYTES: usize = 256;
/// Ending of the attribute with the number of messages.
const COUNT: &str = ".count";

/// The attributes in which messages name their completion group and its number of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSource {
    name: String,
    count: String,
}

impl FromStr for GroupSource {
    type Err = String;

    /// Reads the name of an attribute. The other attribute has the same name with `.count`.
    fn from_str(name: &str) -> Result<Self, String> {
        let count = format!("{name}{COUNT}");
        let value = AttributeValue::Text("x".into());
        let attributes = vec![Attribute { name: count.clone(), value }];
        let probe = OutgoingMessage { body: "x".into(), attributes, ..OutgoingMessage::default() };
        if name.is_empty() || probe.validate().is_err() {
            return Err("expected the name of an attribute, such as batch".into());
        }
        Ok(Self { name: name.to_owned(), count })
    }
}

/// Identity of a completion group. Messages of different keys never share a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId {
    /// Key of the messages; empty if the worker doesn't tell messages apart by key.
    pub key: String,
    /// Name of the group.
    pub name: String,
}

/// A message that has ended, and the group that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The group.
    pub group: GroupId,
    /// Number of the group's messages, as this message says.
    pub messages: u32,
    /// The queue's ID of the message, by which a message that is delivered twice counts once.
    pub message_id: String,
    /// How the message ended.
    pub end: End,
    /// How its last task ended.
    pub outcome: OutcomeKind,
}

impl Member {
    /// Returns whether this end counts in place of an earlier one. A message that completed before ended as it did then.
    pub fn counts_anew(&self) -> bool {
        self.outcome != OutcomeKind::Repeated
    }
}

/// A group of which all messages have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompleteGroup {
    /// The group.
    pub group: GroupId,
    /// Number of its messages by how they ended.
    pub ends: BTreeMap<End, u64>,
    /// Number of its messages by the outcome of their last tasks.
    pub outcomes: BTreeMap<OutcomeKind, u64>,
}

/// The notification about a complete group. Its serialization is the body of the message that the worker sends.
#[derive(Serialize)]
struct GroupNotification<'a> {
    complete_group: &'a str,
    queue: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    key: &'a str,
    messages: u64,
    ends: &'a BTreeMap<End, u64>,
    outcomes: &'a BTreeMap<OutcomeKind, u64>,
}

impl GroupSource {
    /// Returns the group of a message and the number of its messages, or `None` if the message names no group.
    ///
    /// # Errors
    ///
    /// Says why a message that names a group can't be counted.
    pub fn of(&self, message: &Message, key: Option<&Key>) -> Option<Result<(GroupId, u32), String>> {
        let name = text(message, &self.name)?;
        let id = || {
            if name.len() > MOST_NAME_BYTES {
                return Err(format!("the name of its group has more than {MOST_NAME_BYTES} bytes"));
            }
            // Digits without a sign and without leading zeros: a number has one form.
            let digits =
                text(message, &self.count).filter(|count| count.starts_with(|c| matches!(c, '1'..='9')));
            let messages = digits.and_then(|count| count.parse::<u32>().ok());
            let messages = messages.filter(|messages| (1..=MOST_MESSAGES).contains(messages));
            let wrong =
                || format!("its attribute {} is no whole number from 1 to {MOST_MESSAGES}", self.count);
            let key = key.map_or("", Key::as_str).to_owned();
            Ok((GroupId { key, name: name.to_owned() }, messages.ok_or_else(wrong)?))
        };
        Some(id())
    }
}

/// Returns the text or the number of an attribute, if it isn't empty.
fn text<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.attribute_text(name).filter(|text| !text.is_empty())
}

impl CompleteGroup {
    /// Returns the notification about the group as a message. `queue` is the URL of the messages' queue. For a FIFO queue,
    /// the ID of the group is both message group and deduplication ID.
    pub(crate) fn to_message(&self, queue: &str, fifo: bool) -> OutgoingMessage {
        let Self { group: GroupId { key, name }, ends, outcomes } = self;
        let messages = ends.values().sum();
        let body = json(&GroupNotification { complete_group: name, queue, key, messages, ends, outcomes });
        let mut outgoing = OutgoingMessage { body, ..OutgoingMessage::default() };
        if fifo {
            let digest = Sha256::new().chain_update(key).chain_update([0]).chain_update(name).finalize();
            let id = format!("group.{digest:x}");
            (outgoing.group, outgoing.deduplication_id) = (Some(id.clone()), Some(id));
        }
        outgoing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(attributes: &[(&str, &str)]) -> Message {
        let attribute = |&(name, value): &(&str, &str)| {
            let value = AttributeValue::Text(value.to_owned());
            Attribute { name: name.to_owned(), value }
        };
        Message { attributes: attributes.iter().map(attribute).collect(), ..Message::new("m", "") }
    }

    fn source() -> GroupSource {
        "batch".parse().expect("a name")
    }

    #[test]
    fn a_group_has_a_name_and_a_number_of_messages_within_bounds() {
        let of = |count: &str| source().of(&message(&[("batch", "a\n"), ("batch.count", count)]), None);
        let group = GroupId { key: String::new(), name: "a\n".into() };
        assert_eq!(of("10000"), Some(Ok((group, 10_000))));
        for wrong in ["0", "-1", "+1", "0001", "10001", "4294967297", "1.0", "1e3", "x", "", " 1"] {
            assert!(of(wrong).expect("a group").is_err(), "{wrong}");
        }
        assert!(source().of(&message(&[("batch", "a")]), None).expect("a group").is_err());
        assert_eq!(source().of(&message(&[("batch.count", "3")]), None), None);
        assert_eq!(source().of(&message(&[("batch", ""), ("batch.count", "3")]), None), None);
        let long = "x".repeat(MOST_NAME_BYTES + 1);
        assert!(
            source().of(&message(&[("batch", &long), ("batch.count", "1")]), None).expect("a group").is_err()
        );
    }

    #[test]
    fn an_attribute_must_have_room_for_its_ending() {
        for name in ["", "a b", ".a", "AWS.x", &"x".repeat(251)] {
            assert!(name.parse::<GroupSource>().is_err(), "{name:?}");
        }
        assert!("x".repeat(250).parse::<GroupSource>().is_ok());
    }

    proptest! {
        #[test]
        fn every_queue_takes_the_notification_of_a_group_whatever_its_name(
            name in "[\\PC\u{0}\u{ffff}]{1,64}",
            key in "[\\PC\u{0}\u{ffff}]{0,64}",
        ) {
            let group = GroupId { key, name: name.clone() };
            let (ends, outcomes) = ([(End::Completed, 3)].into(), [(OutcomeKind::Completed, 3)].into());
            for fifo in [false, true] {
                let group = CompleteGroup { group: group.clone(), ends: BTreeMap::clone(&ends), outcomes: BTreeMap::clone(&outcomes) };
                let sent = group.to_message("sqlite:q", fifo);
                prop_assert_eq!((sent.validate(), sent.fits(fifo)), (Ok(()), Ok(())));
                let body: serde_json::Value = serde_json::from_str(&sent.body).expect("JSON");
                prop_assert_eq!(&body["complete_group"], &name);
                prop_assert_eq!(&body["messages"], 3);
            }
        }
    }
}
