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
