//! The adapter for components of Spin's SQS trigger: they export `handle-queue-message` of the world
//! `fermyon:spin-sqs/spin-sqs@2.0.0`.
//!
//! Spin knows no announced objects, so the body is always the text that was sent.

pub(super) use self::bindings::{SpinSqs, SpinSqsPre};

use self::bindings::fermyon::spin_sqs::sqs_types::{
    Error, Message, MessageAction, MessageAttribute, MessageAttributeValue,
};
use super::host::{Failure, Handled, milliseconds};
use super::store::{Delivered, TaskState};
use crate::model::message::{self as runtime, Attribute, AttributeValue};
use wasmtime::Store;

mod bindings {
    wasmtime::component::bindgen!({
        path: "worlds/spin-sqs",
        world: "spin-sqs",
        exports: { default: async },
    });
}

/// The name of the world.
pub(super) const WORLD: &str = "fermyon:spin-sqs/spin-sqs@2.0.0";
/// The function that a component of this world exports.
pub(super) const EXPORT: &str = "handle-queue-message";

/// Calls the handler. The world has no way to reject a message: what isn't to be deleted is retried.
pub(super) async fn run(instance: &SpinSqs, store: &mut Store<TaskState>, delivered: &Delivered) -> Handled {
    let message = Message::from(&*delivered.message);
    let reason = match instance.call_handle_queue_message(store, &message).await? {
        Ok(MessageAction::Delete) => return Ok(Ok(())),
        Ok(MessageAction::Leave) => "the handler left the message in the queue".to_owned(),
        Err(Error::Other(text)) => text,
    };
    Ok(Err(Failure::retry(reason)))
}

impl From<&runtime::Message> for Message {
    /// Lists system attributes first, as Spin does: a sender's attribute of the same name can't stand for one. Spin
    /// gives no type with them.
    fn from(message: &runtime::Message) -> Self {
        let system = [
            ("ApproximateReceiveCount", Some(message.receive_count.to_string())),
            ("SentTimestamp", Some(milliseconds(message.sent_at).to_string())),
            ("MessageGroupId", message.group.clone()),
            ("AWSTraceHeader", message.trace_header.clone()),
        ];
        let system = system.into_iter().filter_map(|(name, value)| {
            let value = MessageAttributeValue::Str(value?);
            Some(MessageAttribute { name: name.to_owned(), data_type: None, value })
        });
        Self {
            id: Some(message.id.clone()),
            message_attributes: system.chain(message.attributes.iter().map(Into::into)).collect(),
            body: Some(message.body.clone()),
        }
    }
}

impl From<&Attribute> for MessageAttribute {
    fn from(attribute: &Attribute) -> Self {
        let (data_type, value) = match &attribute.value {
            AttributeValue::Text(text) => ("String", MessageAttributeValue::Str(text.clone())),
            AttributeValue::Number(text) => ("Number", MessageAttributeValue::Str(text.clone())),
            AttributeValue::Binary(bytes) => ("Binary", MessageAttributeValue::Binary(bytes.clone())),
        };
        Self { name: attribute.name.clone(), data_type: Some(data_type.to_owned()), value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_queue_says_of_a_message_comes_before_what_its_sender_says() {
        let forged = Attribute { name: "SentTimestamp".into(), value: AttributeValue::Text("0".into()) };
        let mut message =
            runtime::Message { attributes: vec![forged], ..runtime::Message::new("id", "body") };
        message.group = Some("tenant".into());
        let seen = Message::from(&message);
        let names: Vec<_> = seen.message_attributes.iter().map(|attribute| &*attribute.name).collect();
        assert_eq!(names, ["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId", "SentTimestamp"]);
        let types: Vec<_> = seen.message_attributes.iter().map(|attribute| &attribute.data_type).collect();
        assert_eq!(types, [&None, &None, &None, &Some("String".to_owned())]);
    }
}
