//! Messages to the queues that the task was granted.

use std::fmt;
use std::time::Duration;

use crate::bindings::wasmrun::task::queue as raw;
use crate::failure::whole_seconds;
use crate::{Attribute, AttributeValue};

pub use raw::{Error as ErrorKind, OutgoingMessage};

/// Maximum number of messages in one batch.
pub const MAX_BATCH: usize = 10;

/// The longest delay that the host accepts, which is that of SQS.
const MAX_DELAY: Duration = Duration::from_secs(900);

/// A granted queue.
#[derive(Debug)]
pub struct Queue {
    alias: String,
    inner: raw::Queue,
}

impl Queue {
    /// Opens the queue with the given alias.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AccessDenied`] if no queue with this alias was granted.
    pub fn open(alias: &str) -> Result<Self, Error> {
        let inner = raw::Queue::open(alias).map_err(|kind| Error::new("open", alias, kind))?;
        Ok(Queue { alias: alias.to_owned(), inner })
    }

    /// Sends one message and returns its id. When it returns, the message is durable.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use wasmrun_guest::{Failure, OutgoingMessage, Queue};
    ///
    /// # fn send() -> Result<(), Failure> {
    /// let queue = Queue::open("next")?;
    /// queue.send("just a text")?;
    /// queue.send(OutgoingMessage::new("a text").attribute("colour", "blue").delay(Duration::from_secs(60)))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidMessage`] if the queue would never accept the message, [`ErrorKind::Unavailable`] if the
    /// queue accepts no messages for now.
    pub fn send(&self, message: impl Into<OutgoingMessage>) -> Result<String, Error> {
        self.inner.send(&message.into()).map_err(|kind| self.error(kind))
    }

    /// Sends at most [`MAX_BATCH`] messages. The results are in the order of the messages, and each may fail on its
    /// own.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send), if the batch failed as a whole.
    pub fn send_batch(&self, messages: &[OutgoingMessage]) -> Result<Vec<Result<String, Error>>, Error> {
        let answers = self.inner.send_batch(messages).map_err(|kind| self.error(kind))?;
        Ok(answers.into_iter().map(|answer| answer.map_err(|kind| self.error(kind))).collect())
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new("send to", &self.alias, kind)
    }
}

impl OutgoingMessage {
    /// Creates a message with the given body. Everything else keeps the queue's default.
    pub fn new(body: impl Into<String>) -> Self {
        OutgoingMessage {
            body: body.into(),
            attributes: Vec::new(),
            delay_seconds: None,
            group: None,
            deduplication_id: None,
        }
    }

    /// Adds an attribute. A message has at most ten, and none may be called `wasmrun`, which the worker uses itself.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<AttributeValue>) -> Self {
        self.attributes.push(Attribute::new(name, value));
        self
    }

    /// Sets the delay before the message can be received, in whole seconds, rounded up, and at most 900.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay_seconds = Some(whole_seconds(delay, MAX_DELAY));
        self
    }

    /// Sets the message group. A FIFO queue requires one.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Sets the deduplication id. A FIFO queue drops a message if one with the same id was sent in the last five
    /// minutes.
    #[must_use]
    pub fn deduplication_id(mut self, id: impl Into<String>) -> Self {
        self.deduplication_id = Some(id.into());
        self
    }
}

impl From<&str> for OutgoingMessage {
    fn from(body: &str) -> Self {
        OutgoingMessage::new(body)
    }
}

impl From<String> for OutgoingMessage {
    fn from(body: String) -> Self {
        OutgoingMessage::new(body)
    }
}

/// Why a send failed, and on which queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    action: &'static str,
    alias: String,
    kind: ErrorKind,
}

impl Error {
    pub(crate) fn new(action: &'static str, alias: &str, kind: ErrorKind) -> Self {
        Error { action, alias: alias.to_owned(), kind }
    }

    /// Returns the error as the host reported it.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} queue {}: ", self.action, self.alias)?;
        match &self.kind {
            ErrorKind::AccessDenied => f.write_str("the task has no such grant"),
            ErrorKind::InvalidMessage(why) => write!(f, "the message is invalid: {why}"),
            ErrorKind::Unavailable => f.write_str("the queue is unavailable for now"),
            ErrorKind::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_of_a_message_is_rounded_up_and_bounded() {
        let delay = |delay| OutgoingMessage::new("hello").delay(delay).delay_seconds;
        assert_eq!(delay(Duration::ZERO), Some(0));
        assert_eq!(delay(Duration::from_millis(1_001)), Some(2));
        assert_eq!(delay(Duration::from_secs(900)), Some(900));
        assert_eq!(delay(Duration::MAX), Some(900));
    }
}
