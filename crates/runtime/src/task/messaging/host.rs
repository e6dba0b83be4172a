//! Host functions of `wasi:messaging`: they send as those of `wasmrun:task/queue` do.

use super::bindings::wasi::messaging::types::{Error, Host, HostClient, HostMessage};
use super::bindings::wasi::messaging::{producer, request_reply};
use super::envelope::Envelope;
use crate::task::host::queue::{self, Attribute, AttributeValue, OutgoingMessage};
use crate::task::host::{self as runtime};
use crate::task::store::TaskState;
use wasmtime::Result;
use wasmtime::component::Resource;

/// A connection. There is nothing to connect to but the granted queues, so the name has no meaning.
pub struct Client {
    is_connected: bool,
}

/// Options of a request, which is never made.
pub struct RequestOptions;

/// Failure of a call.
pub type Fault = runtime::Fault<Error>;

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Host for TaskState {
    fn convert_error(&mut self, fault: Fault) -> Result<Error> {
        fault.into_guest_error()
    }
}

impl HostClient for TaskState {
    fn connect(&mut self, _name: String) -> std::result::Result<Resource<Client>, Fault> {
        Ok(self.table.push(Client { is_connected: true })?)
    }

    fn disconnect(&mut self, this: Resource<Client>) -> std::result::Result<(), Fault> {
        self.table.get_mut(&this)?.is_connected = false;
        Ok(())
    }

    fn drop(&mut self, this: Resource<Client>) -> Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl HostMessage for TaskState {
    fn new(&mut self, data: Vec<u8>) -> Result<Resource<Envelope>> {
        let mut envelope = Envelope::default();
        envelope.set_data(data, &self.held)?;
        Ok(self.table.push(envelope)?)
    }

    /// A worker has one queue, which has no alias.
    fn topic(&mut self, this: Resource<Envelope>) -> Result<Option<String>> {
        self.table.get(&this)?;
        Ok(None)
    }

    fn content_type(&mut self, this: Resource<Envelope>) -> Result<Option<String>> {
        Ok(self.table.get(&this)?.content_type())
    }

    fn set_content_type(&mut self, this: Resource<Envelope>, content_type: String) -> Result<()> {
        self.table.get_mut(&this)?.set_content_type(content_type, &self.held)
    }

    fn data(&mut self, this: Resource<Envelope>) -> Result<Vec<u8>> {
        Ok(self.table.get(&this)?.data())
    }

    fn set_data(&mut self, this: Resource<Envelope>, data: Vec<u8>) -> Result<()> {
        self.table.get_mut(&this)?.set_data(data, &self.held)
    }

    fn metadata(&mut self, this: Resource<Envelope>) -> Result<Option<Vec<(String, String)>>> {
        let metadata = self.table.get(&this)?.metadata();
        Ok((!metadata.is_empty()).then_some(metadata))
    }

    fn add_metadata(&mut self, this: Resource<Envelope>, key: String, value: String) -> Result<()> {
        self.table.get_mut(&this)?.add(key, value, &self.held)
    }

    fn set_metadata(&mut self, this: Resource<Envelope>, meta: Vec<(String, String)>) -> Result<()> {
        self.table.get_mut(&this)?.set_metadata(meta, &self.held)
    }

    fn remove_metadata(&mut self, this: Resource<Envelope>, key: String) -> Result<()> {
        self.table.get_mut(&this)?.remove(&key, &self.held)
    }

    fn drop(&mut self, this: Resource<Envelope>) -> Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl producer::Host for TaskState {
    async fn send(
        &mut self,
        client: Resource<Client>,
        topic: String,
        message: Resource<Envelope>,
    ) -> std::result::Result<(), Fault> {
        let message = self.table.delete(message)?;
        if !self.table.get(&client)?.is_connected {
            return Err(Error::Connection("the client is disconnected".into()).into());
        }
        let (body, attributes) = message.into_parts().map_err(Error::Other)?;
        let attributes = attributes
            .into_iter()
            .map(|(name, value)| Attribute { name, value: AttributeValue::Text(value) })
            .collect();
        let message =
            OutgoingMessage { body, attributes, delay_seconds: None, group: None, deduplication_id: None };
        let queue = self.queue_named(&topic).map_err(of_queue)?;
        self.send_to(&topic, queue, message).await.map(drop).map_err(of_queue)
    }
}

/// Converts a failure of the queue's interface.
fn of_queue(fault: queue::Fault) -> Fault {
    match fault {
        queue::Fault::Trap(trap) => Fault::Trap(trap),
        queue::Fault::Error(error) => Fault::Error(match error {
            queue::Error::AccessDenied => Error::PermissionDenied("no grant names this topic".into()),
            queue::Error::Unavailable => Error::Connection("the queue cannot be used now".into()),
            queue::Error::InvalidMessage(text) | queue::Error::Other(text) => Error::Other(text),
        }),
    }
}

/// A queue has no replies.
fn no_replies<T>() -> std::result::Result<T, Fault> {
    Err(Error::Other("request-reply is not offered: queues have no replies, send to a granted topic".into())
        .into())
}

impl request_reply::Host for TaskState {
    fn request(
        &mut self,
        _client: Resource<Client>,
        _topic: String,
        _message: Resource<Envelope>,
        _options: Option<Resource<RequestOptions>>,
    ) -> std::result::Result<Vec<Resource<Envelope>>, Fault> {
        no_replies()
    }

    fn reply(
        &mut self,
        _reply_to: Resource<Envelope>,
        message: Resource<Envelope>,
    ) -> std::result::Result<(), Fault> {
        self.table.delete(message)?;
        no_replies()
    }
}

impl request_reply::HostRequestOptions for TaskState {
    fn new(&mut self) -> Result<Resource<RequestOptions>> {
        Ok(self.table.push(RequestOptions)?)
    }

    fn set_timeout_ms(&mut self, _this: Resource<RequestOptions>, _timeout_ms: u32) -> Result<()> {
        Ok(())
    }

    fn set_expected_replies(&mut self, _this: Resource<RequestOptions>, _expected: u32) -> Result<()> {
        Ok(())
    }

    fn drop(&mut self, this: Resource<RequestOptions>) -> Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
