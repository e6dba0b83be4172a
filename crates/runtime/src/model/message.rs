//! What travels through a queue: the messages that arrive and those that tasks send.
//!
//! The bounds are those of SQS, for every backend, so that a task that works on one queue works on another.
//! Source: the limits of the `SendMessage` API and "Amazon SQS message quotas" in its developer guide.

use std::time::{Duration, SystemTime};

/// A message's body and attributes together are at most 1 MiB.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// A message carries at most ten attributes.
pub const MAX_ATTRIBUTES: usize = 10;
/// A message is delayed by at most 15 minutes.
pub const MAX_DELAY: Duration = Duration::from_secs(900);
/// A message is invisible for at most 12 hours.
pub const MAX_VISIBILITY: Duration = Duration::from_secs(12 * 3600);
/// A batch holds at most ten entries.
pub const MAX_BATCH: usize = 10;
/// The attribute in which the worker says why it dead-lettered a message.
pub const OUTCOME_ATTRIBUTE: &str = "wasmrun";

/// A message as the queue delivered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The queue's id: the same for each delivery.
    pub id: String,
    /// The text that was sent.
    pub body: String,
    /// In the order in which the queue gave them; names are unique.
    pub attributes: Vec<Attribute>,
    /// How often it was delivered, this time included.
    pub receive_count: u32,
    /// When it was sent.
    pub sent_at: SystemTime,
    /// The message group.
    pub group: Option<String>,
    /// X-Ray's header, which SQS carries beside the attributes.
    pub trace_header: Option<String>,
}

/// A name and a value beside the body.
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
    /// Not empty; characters as XML 1.0 allows.
    pub body: String,
    /// At most [`MAX_ATTRIBUTES`].
    pub attributes: Vec<Attribute>,
    /// For so long nobody receives it: at most [`MAX_DELAY`].
    pub delay: Option<Duration>,
    /// The message group: needed on a FIFO queue.
    pub group: Option<String>,
    /// A FIFO queue drops what was sent with the same id within five minutes.
    pub deduplication_id: Option<String>,
    /// X-Ray's header. Queues other than SQS drop it, and it doesn't count to the message's size.
    pub trace_header: Option<String>,
}

impl Message {
    /// One that is delivered for the first time, was sent now, and has nothing beside its body.
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

impl AttributeValue {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) | Self::Number(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

impl Attribute {
    /// As SQS counts it: name, type and value.
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
    /// The size that counts against [`MAX_MESSAGE_BYTES`]: body and attributes.
    pub fn billed_bytes(&self) -> usize {
        self.body.len() + self.attributes.iter().map(Attribute::billed_bytes).sum::<usize>()
    }

    /// Checks what SQS would refuse, so that a task learns of it before anything is sent.
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
    /// The rules that differ between standard and FIFO queues, as SQS has them.
    ///
    /// # Errors
    ///
    /// What is wrong, without a full stop.
    pub fn fits(&self, fifo: bool) -> Result<(), &'static str> {
        if fifo && self.group.is_none() {
            return Err("the queue is FIFO, so the message needs a message group");
        }
        if fifo && self.delay.is_some_and(|delay| !delay.is_zero()) {
            return Err("the queue is FIFO, so a single message can't be delayed");
        }
        if !fifo && self.deduplication_id.is_some() {
            return Err("the queue isn't FIFO, so a deduplication id has no meaning");
        }
        Ok(())
    }
}

/// XML 1.0's characters, as the `SendMessage` API lists them.
fn valid_text(what: &str, text: &str) -> Result<(), String> {
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..);
    match text.chars().find(|&c| !allowed(c)) {
        Some(c) => Err(format!("{what} holds {:?}, which queues don't accept", c)),
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
            "the attribute name {:?} isn't allowed: 1 to 256 letters, digits, '_', '-' and single '.', not starting with AWS. or Amazon.",
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

/// Groups and deduplication ids: 1 to 128 letters, digits and ASCII punctuation.
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
