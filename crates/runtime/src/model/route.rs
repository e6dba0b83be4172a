//! Routes: which of several components handles a message. The first route whose conditions all hold counts.
//!
//! Everything that is compared comes from whoever sends the message, so a condition never fails: it holds or it doesn't.
//! Texts are compared in place, without copying them.

use crate::model::event::{Decoded, decode};
use crate::model::message::Message;
use std::cell::OnceCell;
use std::collections::BTreeSet;

/// Maximum number of routes.
pub const MOST_ROUTES: usize = 64;
/// Maximum number of texts of a condition.
pub const MOST_TEXTS: usize = 64;
/// Maximum number of bytes of a text of a condition, and of an attribute's name.
pub const MOST_TEXT_BYTES: usize = 256;
/// The attribute in which a message carries its content type, as in `wasi:messaging`.
pub const CONTENT_TYPE: &str = "content-type";

/// What a message must be like. Each condition has several texts, of which one must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The text or the number of the attribute with this name is one of these texts.
    Attribute(String, BTreeSet<String>),
    /// The message group is one of these.
    Group(BTreeSet<String>),
    /// The key of each announced object begins with one of these.
    ObjectPrefix(BTreeSet<String>),
    /// The key of each announced object ends with one of these.
    ObjectSuffix(BTreeSet<String>),
    /// The attribute [`CONTENT_TYPE`], without its parameters, is one of these. Case doesn't matter, and `image/*` stands
    /// for all types that begin with `image/`.
    ContentType(BTreeSet<String>),
}

impl Condition {
    /// Returns whether the condition is about the objects that a message announces.
    pub fn is_of_objects(&self) -> bool {
        matches!(self, Self::ObjectPrefix(_) | Self::ObjectSuffix(_))
    }

    /// Returns whether the condition holds. `key_of` returns the key of an object in its store by the object's URL, or
    /// `None` if the route's tasks can't read the object: the condition doesn't hold then.
    fn holds<'u>(
        &self,
        message: &Message,
        announced: &'u Announced<'_>,
        key_of: impl Fn(&'u str) -> Option<&'u str>,
    ) -> bool {
        // Every object must match, so that no message takes a route with an object that the route isn't for.
        let all = |matches: &dyn Fn(&str) -> bool| {
            let urls = announced.urls();
            !urls.is_empty() && urls.iter().all(|url| key_of(url).is_some_and(matches))
        };
        match self {
            Self::Attribute(name, texts) => {
                message.attribute_text(name).is_some_and(|text| texts.contains(text))
            }
            Self::Group(groups) => message.group.as_ref().is_some_and(|group| groups.contains(group)),
            Self::ObjectPrefix(prefixes) => all(&|key| prefixes.iter().any(|prefix| key.starts_with(prefix))),
            Self::ObjectSuffix(suffixes) => all(&|key| suffixes.iter().any(|suffix| key.ends_with(suffix))),
            Self::ContentType(types) => message
                .attribute_text(CONTENT_TYPE)
                .is_some_and(|text| types.iter().any(|of| is_type(text, of))),
        }
    }
}

/// The objects that a message announces. The body is decoded when a condition asks for them first.
struct Announced<'a> {
    body: &'a str,
    urls: OnceCell<Vec<String>>,
}

impl Announced<'_> {
    fn urls(&self) -> &[String] {
        self.urls.get_or_init(|| match decode(self.body) {
            Decoded::Objects(objects) => objects.into_iter().map(|object| object.url).collect(),
            Decoded::Plain | Decoded::Unclear(_) | Decoded::Test => Vec::new(),
        })
    }
}

/// Returns the position of the first route whose conditions all hold, if there is one. `routes` are the conditions of each
/// route. `key_of` returns the key of an object in a store of the route at this position, by the object's URL.
pub fn first_match<'r>(
    routes: impl IntoIterator<Item = &'r [Condition]>,
    message: &Message,
    key_of: impl for<'u> Fn(usize, &'u str) -> Option<&'u str>,
) -> Option<usize> {
    let announced = Announced { body: &message.body, urls: OnceCell::new() };
    routes.into_iter().enumerate().position(|(route, conditions)| {
        conditions.iter().all(|condition| condition.holds(message, &announced, |url| key_of(route, url)))
    })
}

/// Returns whether a content type is `of`, or one of the types that `of` stands for.
fn is_type(text: &str, of: &str) -> bool {
    let text = text.split(';').next().unwrap_or_default().trim();
    match of.strip_suffix('*') {
        Some(beginning) => {
            text.get(..beginning.len()).is_some_and(|text| text.eq_ignore_ascii_case(beginning))
        }
        None => text.eq_ignore_ascii_case(of),
    }
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
