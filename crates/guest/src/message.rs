//! Shortcuts on what the queue delivered. The getters themselves are generated.

use crate::object_store::{Error, Object, ObjectInfo, Reader, Store};
use crate::{AnnouncedObject, Attribute, AttributeValue, Message};

impl Message {
    /// The attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<AttributeValue> {
        self.attributes()
            .into_iter()
            .find(|attribute| attribute.name == name)
            .map(|attribute| attribute.value)
    }
}

impl AnnouncedObject {
    /// The whole object, in the version that was announced.
    ///
    /// # Errors
    ///
    /// As [`Store::get`], and as [`Store::open`].
    pub fn get(&self) -> Result<Object, Error> {
        Store::open(&self.store)?.get(self)
    }

    /// Reads the object from its start, in the version that was announced and whatever its size.
    ///
    /// # Errors
    ///
    /// As [`Store::read`], and as [`Store::open`].
    pub fn read(&self) -> Result<Reader, Error> {
        Store::open(&self.store)?.read(self)
    }

    /// What is known of the object, in the version that was announced.
    ///
    /// # Errors
    ///
    /// As [`Store::head`], and as [`Store::open`].
    pub fn head(&self) -> Result<ObjectInfo, Error> {
        Store::open(&self.store)?.head(self)
    }
}

impl AnnouncedObject {
    /// Whether what happened here happened after what another event of the same key says; `sequencer` is the other's.
    ///
    /// Events of a key may arrive in any order, and more than once. Without a sequencer this can't be told, and is true.
    /// Source: "Event message structure" in S3's user guide.
    pub fn is_newer_than(&self, sequencer: &str) -> bool {
        self.sequencer.as_deref().is_none_or(|own| is_after(own, sequencer))
    }
}

/// Hexadecimal numbers that are read from the left: the shorter one is continued with zeros.
fn is_after(one: &str, other: &str) -> bool {
    let length = one.len().max(other.len());
    let digits = |text: &'_ str| {
        let digits = text.bytes().map(|digit| digit.to_ascii_uppercase());
        digits.chain(std::iter::repeat(b'0')).take(length).collect::<Vec<_>>()
    };
    digits(one) > digits(other)
}

impl Attribute {
    /// An attribute of that name and value: text, or bytes.
    pub fn new(name: impl Into<String>, value: impl Into<AttributeValue>) -> Self {
        Attribute { name: name.into(), value: value.into() }
    }
}

impl AttributeValue {
    /// The text, unless the value is binary.
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
