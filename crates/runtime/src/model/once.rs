//! Which messages are the same for `--once`: those with one ID, or with one text at a place that the operator chose.

use super::key::{Key, KeySource};
use super::message::Message;
use sha2::{Digest, Sha256};
use std::str::FromStr;

/// Scope of entries by ID. No source is written like this.
const BY_ID: &str = "id";

/// What tells messages apart for `--once`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnceKey {
    /// As the operator wrote it.
    text: String,
    /// `None`: the message's ID.
    source: Option<KeySource>,
}

impl Default for OnceKey {
    fn default() -> Self {
        Self { text: BY_ID.to_owned(), source: None }
    }
}

impl OnceKey {
    /// Returns the entry of a message of this queue. With `key`, only messages of the same key have the same text. A
    /// message without a text at the source is told apart by its ID, so that it is never taken for another one.
    pub fn entry(&self, queue_url: &str, key: Option<&Key>, message: &Message) -> EntryId {
        let entry = |text: &str| {
            let scope = [queue_url, &self.text].into_iter().chain(key.map(Key::as_str));
            (!text.is_empty()).then(|| EntryId::of(scope, text))
        };
        let found = self.source.as_ref().and_then(|source| source.find(message, |_| None, entry).flatten());
        found.unwrap_or_else(|| EntryId::of([queue_url, BY_ID], &message.id))
    }
}

impl FromStr for OnceKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == BY_ID {
            return Ok(Self::default());
        }
        match text.parse() {
            // Objects with one prefix are many. Whether S3 announces one object twice, their keys can't tell.
            Ok(KeySource::ObjectPrefix(_)) => {
                Err("the beginning of an object's key names many objects".into())
            }
            Ok(source) => Ok(Self { text: text.to_owned(), source: Some(source) }),
            Err(why) if why.starts_with("expected") => {
                Err("expected id, group, attribute:NAME or body:/json/pointer".into())
            }
            Err(why) => Err(why),
        }
    }
}

/// Identity of a ledger's entry: a digest, so that any text has an entry of the same size and of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub [u8; 32]);

impl EntryId {
    /// Returns the entry of a text. `scope` keeps equal texts of different origin apart.
    pub fn of<'a>(scope: impl IntoIterator<Item = &'a str>, text: &'a str) -> Self {
        let mut hash = Sha256::new();
        for part in scope.into_iter().chain([text]) {
            // With its length before it, no part can pass for the end of another.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// Digest of a message's ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageDigest(pub [u8; 16]);

impl MessageDigest {
    /// Returns the digest of a message's ID.
    pub fn of(message_id: &str) -> Self {
        let mut digest = [0; 16];
        digest.copy_from_slice(&Sha256::digest(message_id)[..16]);
        Self(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::{Attribute, AttributeValue};
    use proptest::prelude::*;

    const QUEUE: &str = "sqlite:/q.db";

    fn entry(source: &str, message: &Message) -> EntryId {
        source.parse::<OnceKey>().expect("a source").entry(QUEUE, None, message)
    }

    fn with_order(id: &str, order: &str) -> Message {
        let value = AttributeValue::Text(order.into());
        let attributes = vec![Attribute { name: "order".into(), value }];
        Message { attributes, ..Message::new(id, "x") }
    }

    #[test]
    fn messages_with_one_text_are_the_same_and_others_are_not() {
        let by_order = |id, order| entry("attribute:order", &with_order(id, order));
        assert_eq!(by_order("1", "a"), by_order("2", "a"));
        assert_ne!(by_order("1", "a"), by_order("1", "b"));
        assert_ne!(by_order("1", "a"), entry("id", &with_order("1", "a")), "the source counts");
        assert_ne!(by_order("1", "a"), entry("id", &Message::new("a", "")), "no text is another one's ID");
        let key: OnceKey = "id".parse().expect("a source");
        let message = Message::new("1", "x");
        let other = key.entry("sqlite:/other.db", None, &message);
        assert_ne!(key.entry(QUEUE, None, &message), other, "the queue counts");
        // Texts that are far longer than a key of fair shares.
        let long = "x".repeat(5_000);
        assert_ne!(by_order("1", &format!("{long}a")), by_order("1", &format!("{long}b")));
    }

    #[test]
    fn texts_of_different_keys_are_different_and_an_id_is_the_same_for_any_key() {
        let (acme, evil) = (Key::new("acme"), Key::new("evil"));
        let of = |source: &str, key: Option<&Key>, order| {
            let once: OnceKey = source.parse().expect("a source");
            once.entry(QUEUE, key, &with_order("1", order))
        };
        let by_order = |key, order| of("attribute:order", key, order);
        assert_eq!(by_order(Some(&acme), "42"), by_order(Some(&acme), "42"));
        assert_ne!(by_order(Some(&acme), "42"), by_order(Some(&evil), "42"));
        assert_ne!(by_order(Some(&acme), "42"), by_order(None, "42"));
        assert_ne!(by_order(Some(&Key::new("a")), "b42"), by_order(Some(&Key::new("ab")), "42"));
        // The queue gives IDs, not a sender. A worker that is started again with --key still knows them.
        assert_eq!(of("id", Some(&acme), "42"), of("id", None, "42"));
    }

    #[test]
    fn a_message_without_a_text_is_told_apart_by_its_id() {
        for source in ["attribute:order", "body:/order", "group"] {
            let of = |id: &str| entry(source, &Message::new(id, "no JSON"));
            assert_ne!(of("1"), of("2"), "{source}");
            assert_eq!(of("1"), entry("id", &Message::new("1", "")), "{source}");
        }
        assert_ne!(
            entry("attribute:order", &with_order("1", "")),
            entry("attribute:order", &with_order("2", ""))
        );
    }

    #[test]
    fn a_prefix_of_keys_is_no_source() {
        for text in ["", "ids", "object-prefix:1", "attribute:", "body:x"] {
            assert!(text.parse::<OnceKey>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn texts_of_any_scope_have_entries_of_their_own(a in ".{0,8}", b in ".{0,8}", c in ".{0,8}", d in ".{0,8}") {
            let of = |scope: &[&String], text| EntryId::of(scope.iter().map(|part| part.as_str()), text);
            prop_assert_eq!(of(&[&a], &b) == of(&[&c], &d), (&a, &b) == (&c, &d));
            prop_assert_ne!(of(&[&a, &c], &b), of(&[&a], &b));
            let joined = format!("{a}{b}");
            prop_assert_ne!(of(&[&a], &b), of(&[], &joined));
        }
    }
}
