//! Outputs: the objects that a task wrote.

use crate::model::text::json;
use serde::Serialize;

/// Maximum number of bytes of the outputs of one task as JSON. With it, a notification fits into 64 KiB, which SQS bills
/// as one request.
const MAX_BYTES: usize = 32 << 10;

/// The outputs of one task: a bounded number of them, and the number of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    listed: Vec<Output>,
    bytes: usize,
    omitted: u64,
}

/// An object that a task wrote. It was durable when the task went on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Alias of the store.
    pub store: String,
    /// Key of the object, relative to the store. The guest chooses it: never write it as a raw line.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// A tag that changes whenever the content changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Version, if the store keeps versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl Outputs {
    /// Returns the outputs in the order in which they were last written.
    pub fn listed(&self) -> &[Output] {
        &self.listed
    }

    /// Returns the number of writes whose objects aren't listed, as there were too many.
    pub fn omitted(&self) -> u64 {
        self.omitted
    }

    /// Adds an object that was written. It takes the place of an earlier one with the same store and key.
    pub(crate) fn wrote(&mut self, output: Output) {
        self.deleted(&output.store, &output.key);
        let bytes = bytes(&output);
        if self.bytes + bytes > MAX_BYTES {
            self.omitted += 1;
        } else {
            self.bytes += bytes;
            self.listed.push(output);
        }
    }

    /// Removes an object that was deleted.
    pub(crate) fn deleted(&mut self, store: &str, key: &str) {
        if let Some(at) = self.listed.iter().position(|output| output.store == store && output.key == key) {
            self.bytes -= bytes(&self.listed.remove(at));
        }
    }
}

/// Size of an output in a list as JSON.
fn bytes(output: &Output) -> usize {
    json(output).len() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn output(key: &str, size: u64) -> Output {
        Output { store: "out".into(), key: key.into(), size, etag: None, version: None }
    }

    #[test]
    fn an_object_is_listed_once_as_it_was_last_written_and_not_once_it_is_deleted() {
        let mut outputs = Outputs::default();
        for (key, size) in [("a", 1), ("b", 2), ("a", 3)] {
            outputs.wrote(output(key, size));
        }
        assert_eq!(outputs.listed(), [output("b", 2), output("a", 3)]);
        outputs.deleted("out", "b");
        outputs.deleted("other", "a");
        assert_eq!((outputs.listed(), outputs.omitted()), (&[output("a", 3)][..], 0));
    }

    proptest! {
        #[test]
        fn however_many_and_whatever_their_keys_the_list_is_bounded_and_none_goes_uncounted(
            keys in proptest::collection::vec("[\\PC\u{0}\u{1b}\u{ffff}]{0,400}", 0..300),
        ) {
            let mut outputs = Outputs::default();
            keys.iter().for_each(|key| outputs.wrote(output(key, 1)));
            let different: std::collections::BTreeSet<_> = keys.iter().collect();
            prop_assert!(json(outputs.listed()).len() <= MAX_BYTES + 2);
            prop_assert!(outputs.listed().len() as u64 + outputs.omitted() >= different.len() as u64);
        }
    }
}
