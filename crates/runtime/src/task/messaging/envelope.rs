//! A message of `wasi:messaging`.

use crate::model::message::Attribute;
use crate::model::route::CONTENT_TYPE;
use crate::task::holds::{Hold, Holdings};
use crate::task::store::Delivered;
use std::sync::Arc;
use wasmtime::Result;

/// Bytes that an entry of metadata takes in addition to its text and its place in the list.
const ENTRY_BYTES: usize = 256;

type Metadata = Vec<(String, String)>;

/// A message. What the guest hasn't set is as delivered.
#[derive(Default)]
pub struct Envelope {
    delivered: Option<Arc<Delivered>>,
    data: Option<Stored<Vec<u8>>>,
    content_type: Option<Stored<String>>,
    metadata: Option<Stored<Metadata>>,
}

/// A value of the guest that the host stores, and that counts among what its handles hold.
struct Stored<T> {
    value: T,
    _hold: Hold,
}

impl Envelope {
    /// Returns the message of the task.
    pub(super) fn of(delivered: Arc<Delivered>) -> Self {
        Self { delivered: Some(delivered), ..Self::default() }
    }

    fn attributes(&self) -> &[Attribute] {
        self.delivered.as_ref().map_or(&[], |delivered| &delivered.message.attributes)
    }

    pub(super) fn data(&self) -> Vec<u8> {
        match (&self.data, &self.delivered) {
            (Some(data), _) => data.value.clone(),
            (None, Some(delivered)) => delivered.body().as_bytes().to_vec(),
            (None, None) => Vec::new(),
        }
    }

    pub(super) fn set_data(&mut self, data: Vec<u8>, holdings: &Holdings) -> Result<()> {
        self.data = None;
        self.data = Some(Stored { _hold: holdings.take_bytes(data.capacity())?, value: data });
        Ok(())
    }

    pub(super) fn content_type(&self) -> Option<String> {
        if let Some(content_type) = &self.content_type {
            return Some(content_type.value.clone());
        }
        let (_, text) =
            self.attributes().iter().filter_map(text_of).find(|(name, _)| *name == CONTENT_TYPE)?;
        Some(text.to_owned())
    }

    pub(super) fn set_content_type(&mut self, content_type: String, holdings: &Holdings) -> Result<()> {
        self.content_type = None;
        let hold = holdings.take_bytes(content_type.capacity())?;
        self.content_type = Some(Stored { value: content_type, _hold: hold });
        Ok(())
    }

    /// Returns the attributes that are text. The content type isn't one of them.
    pub(super) fn metadata(&self) -> Metadata {
        if let Some(metadata) = &self.metadata {
            return metadata.value.clone();
        }
        let texts = self.attributes().iter().filter_map(text_of).filter(|(name, _)| *name != CONTENT_TYPE);
        texts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    pub(super) fn set_metadata(&mut self, metadata: Metadata, holdings: &Holdings) -> Result<()> {
        self.metadata = None;
        // A list from which entries were removed keeps their places.
        let places = metadata.capacity().saturating_mul(size_of::<(String, String)>());
        let bytes = metadata.iter().map(bytes_of).fold(places, usize::saturating_add);
        self.metadata = Some(Stored { value: metadata, _hold: holdings.take_bytes(bytes)? });
        Ok(())
    }

    /// Sets one entry.
    pub(super) fn add(&mut self, key: String, value: String, holdings: &Holdings) -> Result<()> {
        let mut metadata = self.take_metadata();
        match metadata.iter_mut().find(|(name, _)| *name == key) {
            Some((_, earlier)) => *earlier = value,
            None => metadata.push((key, value)),
        }
        self.set_metadata(metadata, holdings)
    }

    /// Removes an entry, if there is one.
    pub(super) fn remove(&mut self, key: &str, holdings: &Holdings) -> Result<()> {
        let mut metadata = self.take_metadata();
        metadata.retain(|(name, _)| name != key);
        self.set_metadata(metadata, holdings)
    }

    fn take_metadata(&mut self) -> Metadata {
        self.metadata.take().map_or_else(|| self.metadata(), |held| held.value)
    }

    /// Returns body and attributes for a queue.
    ///
    /// # Errors
    ///
    /// The data isn't text.
    pub(super) fn into_parts(mut self) -> std::result::Result<(String, Vec<(String, String)>), String> {
        let data = self.data.take().map_or_else(|| self.data(), |held| held.value);
        let body = String::from_utf8(data)
            .map_err(|_| "the data is not UTF-8, and queues carry text: encode it, for example in base64")?;
        let content_type = self.content_type().map(|text| (CONTENT_TYPE.to_owned(), text));
        let mut attributes = self.take_metadata();
        attributes.extend(content_type);
        Ok((body, attributes))
    }
}

fn bytes_of((key, value): &(String, String)) -> usize {
    key.capacity().saturating_add(value.capacity()).saturating_add(ENTRY_BYTES)
}

fn text_of(attribute: &Attribute) -> Option<(&str, &str)> {
    Some((&attribute.name, attribute.value.as_text()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::limits::Footprint;
    use crate::model::message::{AttributeValue, Message};

    fn text(name: &str, value: &str) -> Attribute {
        Attribute { name: name.into(), value: AttributeValue::Text(value.into()) }
    }

    fn holdings(bytes: usize) -> Holdings {
        Holdings::new(Footprint { bytes, files: 0 })
    }

    fn delivered() -> Envelope {
        let binary = Attribute { name: "b".into(), value: AttributeValue::Binary(vec![1]) };
        let attributes = vec![text("a", "1"), text(CONTENT_TYPE, "text/plain"), binary];
        let message = Message { attributes, ..Message::new("id", "body") };
        Envelope::of(Arc::new(Delivered::plain(Arc::new(message))))
    }

    #[test]
    fn a_message_that_is_passed_on_keeps_its_content_type_and_its_texts() {
        let envelope = delivered();
        assert_eq!(envelope.content_type().as_deref(), Some("text/plain"));
        assert_eq!(envelope.metadata(), [("a".into(), "1".into())]);
        let (body, attributes) = envelope.into_parts().expect("text");
        assert_eq!(body, "body");
        let expected = [("a", "1"), (CONTENT_TYPE, "text/plain")].map(|(k, v)| (k.into(), v.into()));
        assert_eq!(attributes, expected);
    }

    #[test]
    fn what_the_guest_sets_replaces_what_was_delivered() {
        let (mut envelope, holdings) = (delivered(), holdings(1 << 20));
        envelope.add("a".into(), "2".into(), &holdings).expect("fits");
        envelope.add("c".into(), "3".into(), &holdings).expect("fits");
        envelope.remove("a", &holdings).expect("fits");
        envelope.set_content_type("x/y".into(), &holdings).expect("fits");
        envelope.set_data(b"other".to_vec(), &holdings).expect("fits");
        let (body, attributes) = envelope.into_parts().expect("text");
        assert_eq!(body, "other");
        assert_eq!(attributes, [("c", "3"), (CONTENT_TYPE, "x/y")].map(|(k, v)| (k.into(), v.into())));
    }

    #[test]
    fn all_that_the_host_keeps_is_bounded_and_returned() {
        let holdings = holdings(1000);
        let mut envelope = delivered();
        for _ in 0..10 {
            envelope.set_data(vec![0; 600], &holdings).expect("the earlier data is gone");
        }
        assert!(envelope.set_content_type("x".repeat(500), &holdings).is_err());
        assert!(envelope.set_metadata(vec![(String::new(), String::new()); 5], &holdings).is_err());
        drop(envelope);
        delivered().set_data(vec![0; 1000], &holdings).expect("fits again");
    }

    #[test]
    fn the_places_of_removed_metadata_count_as_long_as_the_host_keeps_them() {
        let holdings = holdings(1 << 20);
        let mut envelope = delivered();
        envelope.set_metadata(vec![("a".into(), String::new()); 3000], &holdings).expect("fits");
        envelope.remove("a", &holdings).expect("fits");
        assert!(delivered().set_data(vec![0; 1 << 20], &holdings).is_err());
        drop(envelope);
        delivered().set_data(vec![0; 1 << 20], &holdings).expect("fits again");
    }
}
