//! Host functions with which a guest sends messages: they check grant and message, and delegate to the queue.

pub(crate) use super::bindings::wasmrun::task::message::{Attribute, AttributeValue};
use super::bindings::wasmrun::task::queue::Host;
pub(crate) use super::bindings::wasmrun::task::queue::{Error, HostQueue, OutgoingMessage};
use super::{HostFault, listed};
use crate::model::host_error::{Access, HostErrorKind};
use crate::model::message::{self as runtime, MAX_BATCH, OUTCOME_ATTRIBUTE};
use crate::model::outcome::shorten;
use crate::ports::queue::{Queue, QueueError};
use crate::task::calls::CallResult;
use crate::task::grant::backend_name;
use crate::task::store::TaskState;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::component::Resource;

/// A guest's handle to a granted queue.
#[derive(Clone)]
pub struct QueueHandle {
    alias: String,
    queue: Arc<dyn Queue>,
}

/// Failure of a call to a queue.
pub type Fault = super::Fault<Error>;

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Host for TaskState {
    fn convert_error(&mut self, fault: Fault) -> wasmtime::Result<Error> {
        fault.into_guest_error()
    }
}

impl HostQueue for TaskState {
    fn open(&mut self, alias: String) -> Result<Resource<QueueHandle>, Fault> {
        let queue = self.queue_named(&alias)?;
        Ok(self.table.push(QueueHandle { alias, queue })?)
    }

    async fn send(&mut self, this: Resource<QueueHandle>, message: OutgoingMessage) -> Result<String, Fault> {
        let QueueHandle { alias, queue } = self.table.get(&this)?.clone();
        self.send_to(&alias, queue, message).await
    }

    async fn send_batch(
        &mut self,
        this: Resource<QueueHandle>,
        messages: Vec<OutgoingMessage>,
    ) -> Result<Vec<Result<String, Error>>, Fault> {
        if messages.len() > MAX_BATCH {
            return Err(Error::InvalidMessage(format!("a batch holds at most {MAX_BATCH} messages")).into());
        }
        let QueueHandle { alias, queue } = self.table.get(&this)?.clone();
        self.send_all(&alias, queue, messages).await
    }

    async fn drop(&mut self, this: Resource<QueueHandle>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl TaskState {
    /// Returns a granted queue.
    pub(crate) fn queue_named(&mut self, alias: &str) -> Result<Arc<dyn Queue>, Fault> {
        let queues = &self.config.grants.queues;
        if let Some(queue) = queues.get(alias) {
            return Ok(queue.clone());
        }
        let granted = listed(queues.keys().map(String::as_str));
        let missing = format!(
            "the component sends to the queue {alias:?}, which is not granted: add --send {alias}=URL (granted: {granted})",
            alias = shorten(alias)
        );
        self.not_granted("queue", alias, "no such grant", missing);
        Err(Error::AccessDenied.into())
    }

    /// Sends a message to a granted queue. Returns the message's ID.
    pub(crate) async fn send_to(
        &mut self,
        alias: &str,
        queue: Arc<dyn Queue>,
        message: OutgoingMessage,
    ) -> Result<String, Fault> {
        match self.send_all(alias, queue, vec![message]).await?.pop() {
            Some(answer) => Ok(answer?),
            None => Err(wasmtime::Error::from(HostFault("a queue gave no answer".into())).into()),
        }
    }

    /// Sends the valid messages. The answers are in the order of all messages.
    async fn send_all(
        &mut self,
        alias: &str,
        queue: Arc<dyn Queue>,
        messages: Vec<OutgoingMessage>,
    ) -> Result<Vec<Result<String, Error>>, Fault> {
        let backend = backend_name("queue", alias);
        let messages: Vec<runtime::OutgoingMessage> = messages.into_iter().map(Into::into).collect();
        let most = self.config.limits.message_bytes;
        let checks: Vec<_> = messages.iter().map(|message| check(message, most)).collect();
        let mut valid: Vec<_> =
            messages.into_iter().zip(&checks).filter(|(_, check)| check.is_ok()).map(|(m, _)| m).collect();
        if let Some(trace) = &self.trace {
            valid.iter_mut().for_each(|message| trace.pass_on(message));
        }
        let bytes: usize = valid.iter().map(runtime::OutgoingMessage::billed_bytes).sum();

        let mut answers = if valid.is_empty() {
            self.call_queue(alias, 0, 0, async { Vec::new() }).await?
        } else {
            self.call_queue(alias, valid.len(), bytes, async move { queue.send(&valid).await }).await?
        }
        .into_iter();
        // A batch is one call in a trace, which failed if one of its messages did.
        let mut result = CallResult::Ok;
        let answers = checks
            .into_iter()
            .map(|check| {
                let answer = match check {
                    Err(reason) => Err(QueueError::InvalidMessage(reason)),
                    Ok(()) => answers.next().unwrap_or_else(|| Err(QueueError::unanswered())),
                };
                let sent = self.config.calls.sent(alias, &answer);
                if answer.is_ok() {
                    self.host_succeeded(&backend, Access::Write);
                } else {
                    result = sent;
                }
                answer.map_err(|error| self.tell(alias, error))
            })
            .collect();
        self.record_call("queue", "send", alias, result);
        Ok(answers)
    }

    /// Converts an error for the guest; its details go to the operator only.
    fn tell(&mut self, alias: &str, error: QueueError) -> Error {
        match error {
            QueueError::InvalidMessage(reason) => Error::InvalidMessage(reason),
            error => {
                self.log.call_failed("queue", alias, &error.to_string());
                let kind = HostErrorKind::Unavailable { reading: None };
                let backend = backend_name("queue", alias);
                self.host_failed(&backend, Access::Write, kind, format!("queue {alias}: {error}"));
                Error::Unavailable
            }
        }
    }
}

/// Checks for messages that the worker or the user's limit forbids, and for those that every queue would refuse.
fn check(message: &runtime::OutgoingMessage, most: usize) -> Result<(), String> {
    if message.attributes.iter().any(|attribute| attribute.name == OUTCOME_ATTRIBUTE) {
        return Err(format!(
            "the attribute {OUTCOME_ATTRIBUTE:?} is the worker's own: it says why a message was dead-lettered"
        ));
    }
    let bytes = message.billed_bytes();
    if bytes > most {
        return Err(format!("the message has {bytes} bytes, more than its limit of {most}"));
    }
    message.validate()
}

impl From<OutgoingMessage> for runtime::OutgoingMessage {
    fn from(message: OutgoingMessage) -> Self {
        Self {
            body: message.body,
            attributes: message.attributes.into_iter().map(Into::into).collect(),
            delay: message.delay_seconds.map(|seconds| Duration::from_secs(seconds.into())),
            group: message.group,
            deduplication_id: message.deduplication_id,
            trace_header: None,
        }
    }
}
