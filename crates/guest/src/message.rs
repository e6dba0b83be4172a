//! Shortcuts for delivered messages and the objects that they announce. The getters themselves are generated.

use crate::object_store::{Error, Object, ObjectInfo, Reader, Store};
use crate::{AnnouncedObject, Attribute, AttributeValue, Change, Message};

impl Message {
    /// Returns the value of the attribute called `name`.
    pub fn attribute(&self, name: &str) -> Option<AttributeValue> {
        self.attributes()
            .into_iter()
            .find(|attribute| attribute.name == name)
            .map(|attribute| attribute.value)
    }

    /// Returns the announced objects that there are to read: all but those whose change is [`Change::Removed`].
    pub fn created_objects(&self) -> Vec<AnnouncedObject> {
        self.objects().into_iter().filter(|object| object.change != Change::Removed).collect()
    }
}

impl AnnouncedObject {
    /// Reads the whole object, in the version that was announced.
    ///
    /// # Errors
    ///
    /// Those of [`Store::get`] and [`Store::open`].
    pub fn get(&self) -> Result<Object, Error> {
        Store::open(&self.store)?.get(self)
    }

    /// Opens the object for reading from its start, whatever its size, in the version that was announced.
    ///
    /// # Errors
    ///
    /// Those of [`Store::read`] and [`Store::open`].
    pub fn read(&self) -> Result<Reader, Error> {
        Store::open(&self.store)?.read(self)
    }

    /// Looks up the object's size, etag and metadata, in the version that was announced.
    ///
    /// # Errors
    ///
    /// Those of [`Store::head`] and [`Store::open`].
    pub fn head(&self) -> Result<ObjectInfo, Error> {
        Store::open(&self.store)?.head(self)
    }
}

impl AnnouncedObject {
    /// Reports whether this event is newer than another event of the same key, given the other event's `sequencer`.
    ///
    /// Events of a key may arrive in any order, and more than once. An event without a sequencer counts as newer, as
    /// its order is unknown. Source: "Event message structure" in S3's user guide.
    pub fn is_newer_than(&self, sequencer: &str) -> bool {
        self.sequencer.as_deref().is_none_or(|own| is_after(own, sequencer))
    }
}

/// Compares two hexadecimal numbers from the left. The shorter number is padded with zeros on the right.
fn is_after(one: &str, other: &str) -> bool {
    let length = one.len().max(other.len());
    let digits = |text: &'_ str| {
        let digits = text.bytes().map(|digit| digit.to_ascii_uppercase());
        digits.chain(std::iter::repeat(b'0')).take(length).collect::<Vec<_>>()
    };
    digits(one) > digits(other)
}

impl Attribute {
    /// Creates an attribute from a name and a value, which is text or bytes.
    pub fn new(name: impl Into<String>, value: impl Into<AttributeValue>) -> Self {
        Attribute { name: name.into(), value: value.into() }
    }
}

impl AttributeValue {
    /// Returns the text, or `None` if the value is binary.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            AttributeValue::Text(text) => Some(text),
            AttributeValue::Binary(_) => None,
        }
    }
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        AttributeValue::Text(text.to_owned())
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        AttributeValue::Text(text)
    }
}

impl From<Vec<u8>> for AttributeValue {
    fn from(bytes: Vec<u8>) -> Self {
        AttributeValue::Binary(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::is_after;

    #[test]
    fn sequencers_are_compared_from_the_left_and_the_shorter_one_goes_on_with_zeros() {
        assert!(is_after("0055AED6DCD90281E6", "0055AED6DCD90281E5"));
        assert!(!is_after("0055AED6DCD90281E5", "0055AED6DCD90281E5"));
        assert!(!is_after("0055AED6DCD90281E5", "0055AED6DCD90281E6"));
        assert!(is_after("0055AED6DCD90281E501", "0055AED6DCD90281E5"));
        assert!(!is_after("0055AED6DCD90281E500", "0055AED6DCD90281E5"));
        assert!(!is_after("0055aed6dcd90281e5", "0055AED6DCD90281E5"));
    }
}
