//! Keys: whose message it is, for fair shares and caps.
//!
//! A key comes from whoever sends the message. It is at most [`MOST_BYTES`] long, is escaped where people read it, and
//! is found without building the message's body in memory.

use crate::model::event::{Decoded, decode};
use crate::model::message::{MAX_MESSAGE_BYTES, Message};
use crate::model::text::OneLine;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;

/// Maximum number of bytes of a key. SQS's message groups have at most 128. A longer text is cut.
pub const MOST_BYTES: usize = 256;
/// Maximum number of bytes of a JSON pointer or of an attribute's name.
const MOST_SOURCE_BYTES: usize = 256;
/// Maximum number of segments of a JSON pointer, far below the depth at which the JSON parser gives up.
const MOST_SEGMENTS: usize = 32;
/// The key of messages without one.
const NONE: &str = "-";

/// The key of a message. Messages without one share the key `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// Creates a key from the first [`MOST_BYTES`] of a text.
    pub fn new(text: &str) -> Self {
        match &text[..text.floor_char_boundary(MOST_BYTES)] {
            "" => Self::none(),
            text => Self(text.into()),
        }
    }

    /// Returns the key of messages without one.
    pub fn none() -> Self {
        Self(NONE.into())
    }

    /// Returns whether this is the key of messages without one.
    pub fn is_none(&self) -> bool {
        &*self.0 == NONE
    }

    /// Returns the text, not escaped.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Escapes what could forge a log line.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        OneLine(&self.0).fmt(f)
    }
}

/// Where the key of a message is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The message group.
    Group,
    /// The text or number of the attribute with this name.
    Attribute(String),
    /// This number of segments at the beginning of the announced object's key. The last segment, which is the object's
    /// own name, isn't one of them. If the message announces several objects, the first counts.
    ObjectPrefix(NonZeroU32),
    /// The text, whole number of 64 bits or boolean at this place of a JSON body: the segments of a JSON pointer.
    Body(Vec<String>),
}

impl KeySource {
    /// Returns the key of a message. `object_key` returns the key of an object in its store by the object's URL.
    pub fn key(&self, message: &Message, object_key: impl Fn(&str) -> Option<String>) -> Key {
        self.find(message, object_key, Key::new).unwrap_or_else(Key::none)
    }

    /// Returns what `make` makes of the whole text at the source; `None` if the message has none there.
    pub fn find<T>(
        &self,
        message: &Message,
        object_key: impl Fn(&str) -> Option<String>,
        make: impl Fn(&str) -> T,
    ) -> Option<T> {
        match self {
            Self::Group => message.group.as_deref().map(make),
            Self::Attribute(name) => message.attribute_text(name).map(make),
            Self::ObjectPrefix(segments) => match decode(&message.body) {
                Decoded::Objects(objects) => {
                    let key = objects.first().and_then(|object| object_key(&object.url));
                    key.map(|key| make(prefix(&key, *segments)))
                }
                Decoded::Plain | Decoded::Unclear(_) | Decoded::Test => None,
            },
            Self::Body(pointer) => at_pointer(&message.body, pointer, &make),
        }
    }
}

impl FromStr for KeySource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "expected group, attribute:NAME, object-prefix:N with N from 1, or body:/json/pointer".to_owned()
        };
        match text.split_once(':') {
            None if text == "group" => Ok(Self::Group),
            Some((_, place)) if place.len() > MOST_SOURCE_BYTES => {
                Err(format!("it is longer than {MOST_SOURCE_BYTES} bytes"))
            }
            Some(("attribute", name)) if !name.is_empty() => Ok(Self::Attribute(name.to_owned())),
            Some(("object-prefix", segments)) => {
                segments.parse().map(Self::ObjectPrefix).map_err(|_| wrong())
            }
            Some(("body", pointer)) => {
                let segments = pointer.strip_prefix('/').ok_or_else(wrong)?;
                // RFC 6901: `~1` is decoded before `~0`.
                let segments =
                    segments.split('/').map(|segment| segment.replace("~1", "/").replace("~0", "~"));
                let segments: Vec<String> = segments.collect();
                if segments.len() > MOST_SEGMENTS {
                    return Err(format!("the JSON pointer has more than {MOST_SEGMENTS} segments"));
                }
                Ok(Self::Body(segments))
            }
            _ => Err(wrong()),
        }
    }
}

/// Returns the first segments of an object's key, without its last segment.
fn prefix(key: &str, segments: NonZeroU32) -> &str {
    let Some((folders, _)) = key.rsplit_once('/') else { return "" };
    let most = usize::try_from(segments.get()).unwrap_or(usize::MAX);
    match folders.match_indices('/').nth(most - 1) {
        Some((end, _)) => &folders[..end],
        None => folders,
    }
}

/// Returns what `make` makes of the text at a JSON pointer of a body. Of members with the same name, the last counts, as
/// in most parsers.
fn at_pointer<T>(body: &str, pointer: &[String], make: &dyn Fn(&str) -> T) -> Option<T> {
    // A body that was fetched from a store may be larger. Its key would have to be in the message itself.
    if body.len() > MAX_MESSAGE_BYTES {
        return None;
    }
    let mut json = serde_json::Deserializer::from_str(body);
    let found = At { pointer, make }.deserialize(&mut json).ok()?;
    json.end().ok()?;
    found
}

/// Finds the value at a pointer. Everything else is skipped, which takes no memory.
struct At<'a, T> {
    pointer: &'a [String],
    make: &'a dyn Fn(&str) -> T,
}

impl<'a, T> At<'a, T> {
    fn found(&self, text: &str) -> Option<T> {
        self.pointer.is_empty().then(|| (self.make)(text))
    }

    /// Returns a finder for the value below this one.
    fn below(&self) -> At<'a, T> {
        At { pointer: &self.pointer[1..], make: self.make }
    }
}

impl<'de, T> DeserializeSeed<'de> for At<'_, T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T> Visitor<'de> for At<'_, T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.found(text))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(self.found(if value { "true" } else { "false" }))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(self.found(&number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(self.found(&number.to_string()))
    }

    /// A fraction, or a number beyond 64 bits: rounded, it would be the key of others.
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_next) = map.next_key_seed(IsNamed(self.pointer.first().map(String::as_str)))? {
            if is_next {
                found = map.next_value_seed(self.below())?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        // A number with leading zeros is no index.
        let wanted = self.pointer.first().filter(|text| *text == "0" || !text.starts_with(['0', '+']));
        let wanted = wanted.and_then(|text| text.parse::<usize>().ok());
        let mut found = None;
        for index in 0.. {
            if wanted == Some(index) {
                let Some(item) = items.next_element_seed(self.below())? else { break };
                found = item;
            } else if items.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

/// Compares the name of a member with this one, without copying it.
struct IsNamed<'a>(Option<&'a str>);

impl<'de> DeserializeSeed<'de> for IsNamed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsNamed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(self.0 == Some(name))
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
