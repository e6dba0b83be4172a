//! Messages: those that a queue delivers and those that tasks send.
//!
//! SQS's bounds apply to every backend, so that a task that works on one queue works on another. Source: the limits of
//! the `SendMessage` API and "Amazon SQS message quotas" in SQS's developer guide.

use std::time::{Duration, SystemTime};

/// Maximum number of bytes of a message, body and attributes together: 1 MiB.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Maximum number of attributes of a message.
pub const MAX_ATTRIBUTES: usize = 10;
/// Longest delay of a message: 15 minutes.
pub const MAX_DELAY: Duration = Duration::from_secs(900);
/// Longest visibility timeout of a message: 12 hours.
pub const MAX_VISIBILITY: Duration = Duration::from_secs(12 * 3600);
/// Maximum number of entries in a batch.
pub const MAX_BATCH: usize = 10;
/// The attribute in which the worker records why it dead-lettered a message.
pub const OUTCOME_ATTRIBUTE: &str = "wasmrun";

/// A message as the queue delivered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The queue's ID of the message, the same for each delivery.
    pub id: String,
    /// The text of the message.
    pub body: String,
    /// The attributes in the queue's order; their names are unique.
    pub attributes: Vec<Attribute>,
    /// Number of deliveries of the message, including this one.
    pub receive_count: u32,
    /// When the message was sent.
    pub sent_at: SystemTime,
    /// The message group.
    pub group: Option<String>,
    /// The X-Ray header, which SQS carries next to the attributes.
    pub trace_header: Option<String>,
}

/// A named value that accompanies a message's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// At most 256 characters: letters, digits, `_`, `-` and `.`.
    pub name: String,
    /// Its value.
    pub value: AttributeValue,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// SQS's type `String`.
    Text(String),
    /// SQS's type `Number`: digits, which a guest sees as text.
    Number(String),
    /// SQS's type `Binary`.
    Binary(Vec<u8>),
}

/// A message to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// The text of the message: not empty, and only characters that XML 1.0 allows.
    pub body: String,
    /// The attributes: at most [`MAX_ATTRIBUTES`].
    pub attributes: Vec<Attribute>,
    /// How long the queue withholds the message from receivers: at most [`MAX_DELAY`].
    pub delay: Option<Duration>,
    /// The message group, which a FIFO queue requires.
    pub group: Option<String>,
    /// A FIFO queue drops a message whose deduplication ID was used in the last five minutes.
    pub deduplication_id: Option<String>,
    /// The X-Ray header. Queues other than SQS drop it, and it doesn't count towards the message's size.
    pub trace_header: Option<String>,
}

impl Message {
    /// Creates a message that was sent now, is delivered for the first time, and has only a body.
    pub fn new(id: impl Into<String>, body: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            body: body.into(),
            attributes: Vec::new(),
            receive_count: 1,
            sent_at: SystemTime::now(),
            group: None,
            trace_header: None,
        }
    }
}

impl Message {
    /// Returns the number of bytes of the body and the attributes.
    pub fn bytes(&self) -> usize {
        let attributes = self.attributes.iter().map(|attribute| attribute.name.len() + attribute.value.len());
        self.body.len() + attributes.sum::<usize>()
    }

    /// Returns the text or the number of an attribute; `None`: the message has no such attribute, or it is binary.
    pub fn attribute_text(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|attribute| attribute.name == name)?.value.as_text()
    }
}

impl AttributeValue {
    /// Returns the text or the number, as a guest sees it; `None`: the value is binary.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(text) | Self::Number(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

impl Attribute {
    /// Size as SQS counts it: name, type and value.
    fn billed_bytes(&self) -> usize {
        let kind = match self.value {
            AttributeValue::Text(_) => "String".len(),
            AttributeValue::Number(_) => "Number".len(),
            AttributeValue::Binary(_) => "Binary".len(),
        };
        self.name.len() + kind + self.value.len()
    }
}

impl OutgoingMessage {
    /// Returns the size that counts against [`MAX_MESSAGE_BYTES`]: body and attributes.
    pub fn billed_bytes(&self) -> usize {
        self.body.len() + self.attributes.iter().map(Attribute::billed_bytes).sum::<usize>()
    }

    /// Checks for everything that SQS would refuse, so that a task learns of it before anything is sent.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with the message.
    pub fn validate(&self) -> Result<(), String> {
        if self.body.is_empty() {
            return Err("the body is empty".into());
        }
        valid_text("the body", &self.body)?;
        let size = self.billed_bytes();
        if size > MAX_MESSAGE_BYTES {
            return Err(format!(
                "the message is {size} bytes with its attributes, more than {MAX_MESSAGE_BYTES}"
            ));
        }
        if self.attributes.len() > MAX_ATTRIBUTES {
            return Err(format!(
                "the message has {} attributes, more than {MAX_ATTRIBUTES}",
                self.attributes.len()
            ));
        }
        for (index, attribute) in self.attributes.iter().enumerate() {
            valid_attribute(attribute)?;
            if self.attributes[..index].iter().any(|earlier| earlier.name == attribute.name) {
                return Err(format!("the attribute {:?} is given twice", attribute.name));
            }
        }
        if self.delay.is_some_and(|delay| delay > MAX_DELAY) {
            return Err(format!("the delay is longer than {} seconds", MAX_DELAY.as_secs()));
        }
        if let Some(group) = &self.group {
            valid_id("the message group", group)?;
        }
        if let Some(id) = &self.deduplication_id {
            valid_id("the deduplication id", id)?;
        }
        Ok(())
    }
}

impl OutgoingMessage {
    /// Checks SQS's rules that differ between standard and FIFO queues.
    ///
    /// # Errors
    ///
    /// Says what is wrong, without a full stop.
    pub fn fits(&self, fifo: bool) -> Result<(), &'static str> {
        if fifo && self.group.is_none() {
            return Err("the queue is FIFO, so the message needs a message group");
        }
        if fifo && self.delay.is_some_and(|delay| !delay.is_zero()) {
            return Err("the queue is FIFO, so a single message cannot be delayed");
        }
        if !fifo && self.deduplication_id.is_some() {
            return Err("the queue is not FIFO, so a deduplication id has no meaning");
        }
        Ok(())
    }
}

/// Checks that a text has only characters of XML 1.0, as the `SendMessage` API lists them.
fn valid_text(what: &str, text: &str) -> Result<(), String> {
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..);
    match text.chars().find(|&c| !allowed(c)) {
        Some(c) => Err(format!("{what} holds {:?}, which queues do not accept", c)),
        None => Ok(()),
    }
}

fn valid_attribute(attribute: &Attribute) -> Result<(), String> {
    let name = &attribute.name;
    let lower = name.to_ascii_lowercase();
    let well_formed = (1..=256).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        && !lower.starts_with("aws.")
        && !lower.starts_with("amazon.");
    if !well_formed {
        return Err(format!(
            "the attribute name {:?} is not allowed: 1 to 256 letters, digits, '_', '-' and single '.', not starting with AWS. or Amazon.",
            name.chars().take(64).collect::<String>()
        ));
    }
    if attribute.value.len() == 0 {
        return Err(format!("the attribute {name:?} is empty"));
    }
    match &attribute.value {
        AttributeValue::Text(text) | AttributeValue::Number(text) => {
            valid_text(&format!("the attribute {name:?}"), text)
        }
        AttributeValue::Binary(_) => Ok(()),
    }
}

/// Checks a message group or deduplication ID: 1 to 128 letters, digits and ASCII punctuation.
fn valid_id(what: &str, id: &str) -> Result<(), String> {
    if (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(format!("{what} must be 1 to 128 ASCII letters, digits and punctuation marks"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str) -> OutgoingMessage {
        OutgoingMessage { body: body.into(), ..OutgoingMessage::default() }
    }

    fn text(name: &str, value: &str) -> Attribute {
        Attribute { name: name.into(), value: AttributeValue::Text(value.into()) }
    }

    #[test]
    fn what_sqs_accepts_is_accepted() {
        let mut m = message("hello\n\u{1F600}");
        m.attributes = vec![text("a.b-c_1", "x")];
        m.delay = Some(MAX_DELAY);
        m.group = Some("tenant-1".into());
        assert_eq!(m.validate(), Ok(()));
    }

    #[test]
    fn what_sqs_refuses_is_refused_before_it_is_sent() {
        assert!(message("").validate().is_err());
        assert!(message("nul \0").validate().is_err());
        assert!(message("not a character \u{FFFF}").validate().is_err());
        assert!(message(&"x".repeat(MAX_MESSAGE_BYTES + 1)).validate().is_err());
        for name in ["", "a b", ".a", "a.", "a..b", "AWS.x", "amazon.x", "ä", &"x".repeat(257)] {
            let mut m = message("x");
            m.attributes = vec![text(name, "v")];
            assert!(m.validate().is_err(), "{name:?}");
        }
        let mut m = message("x");
        m.attributes = vec![text("a", "1"), text("a", "2")];
        assert!(m.validate().is_err());
        m.attributes = (0..11).map(|i| text(&format!("a{i}"), "v")).collect();
        assert!(m.validate().is_err());
        m.attributes = vec![];
        m.delay = Some(MAX_DELAY + Duration::from_secs(1));
        assert!(m.validate().is_err());
        m.delay = None;
        m.group = Some("a b".into());
        assert!(m.validate().is_err());
    }
}
