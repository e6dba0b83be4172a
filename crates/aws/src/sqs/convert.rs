//! Converts messages between the SQS SDK and the runtime.

use super::address::is_fifo_url;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    Message as SqsMessage, MessageAttributeValue, MessageSystemAttributeName as System,
    MessageSystemAttributeNameForSends as ForSends, MessageSystemAttributeValue,
    SendMessageBatchRequestEntry,
};
use serde_json::Value;
use std::time::{Duration, Instant, SystemTime};
use wasmrun_runtime::model::message::{
    Attribute, AttributeValue, Message, OUTCOME_ATTRIBUTE, OutgoingMessage,
};
use wasmrun_runtime::ports::queue::{Delivery, Receipt};
use wasmrun_runtime::ports::walk::Found;

/// Converts a received message. Returns `None` if it has no receipt, which would be a fault of the service: such a
/// message can't be settled.
pub(super) fn delivery(message: SqsMessage, visible_at: Instant) -> Option<Delivery> {
    let receipt = Receipt(message.receipt_handle.clone()?);
    Some(Delivery { message: received(message), receipt, visible_at })
}

/// Converts a received message for a walk.
pub(super) fn found(message: SqsMessage) -> Found {
    let system = message.attributes.as_ref();
    // SQS records where its own redrive moved a message from.
    let moved_from = system.and_then(|system| system.get(&System::DeadLetterQueueSourceArn)).cloned();
    Found::new(received(message), moved_from)
}

fn received(message: SqsMessage) -> Message {
    let system = message.attributes.unwrap_or_default();
    let number = |name: System| system.get(&name).and_then(|text| text.parse::<u64>().ok());
    let mut attributes: Vec<Attribute> = message
        .message_attributes
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(name, value)| Some(Attribute { name, value: attribute(value)? }))
        .collect();
    // SQS returns attributes in no particular order.
    attributes.sort_by(|one, other| one.name.cmp(&other.name));
    Message {
        id: message.message_id.unwrap_or_default(),
        body: message.body.unwrap_or_default(),
        attributes,
        receive_count: number(System::ApproximateReceiveCount)
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(1)
            .max(1),
        sent_at: number(System::SentTimestamp)
            .and_then(|ms| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)))
            .unwrap_or_else(SystemTime::now),
        group: system.get(&System::MessageGroupId).cloned(),
        trace_header: system.get(&System::AwsTraceHeader).cloned(),
    }
}

/// Converts an attribute's value. Returns `None` if it has no value, or a type that SQS doesn't document. A custom
/// suffix of the type, as in `Number.int`, is dropped.
fn attribute(value: MessageAttributeValue) -> Option<AttributeValue> {
    let is_number = value.data_type == "Number" || value.data_type.starts_with("Number.");
    match (value.string_value, value.binary_value) {
        (Some(number), _) if is_number => Some(AttributeValue::Number(number)),
        (Some(text), _) => Some(AttributeValue::Text(text)),
        (None, Some(bytes)) => Some(AttributeValue::Binary(bytes.into_inner())),
        (None, None) => None,
    }
}

/// Converts a message to an entry of a send batch.
pub(super) fn entry(index: usize, message: &OutgoingMessage) -> SendMessageBatchRequestEntry {
    let mut entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(&message.body);
    for Attribute { name, value } in &message.attributes {
        let builder = MessageAttributeValue::builder();
        let value = match value {
            AttributeValue::Text(text) => builder.data_type("String").string_value(text),
            AttributeValue::Number(number) => builder.data_type("Number").string_value(number),
            AttributeValue::Binary(bytes) => {
                builder.data_type("Binary").binary_value(Blob::new(bytes.as_slice()))
            }
        };
        let Ok(value) = value.build() else { unreachable!("the type is set") };
        entry = entry.message_attributes(name, value);
    }
    if let Some(header) = &message.trace_header {
        entry = entry.message_system_attributes(ForSends::AwsTraceHeader, trace_header(header));
    }
    let entry = entry
        .set_delay_seconds(message.delay.map(|delay| delay.as_millis().div_ceil(1000) as i32))
        .set_message_group_id(message.group.clone())
        .set_message_deduplication_id(message.deduplication_id.clone());
    let Ok(entry) = entry.build() else { unreachable!("id and body are set") };
    entry
}

/// Returns the size of a received message as SQS counts it: body and attributes.
pub(super) fn original_bytes(message: &SqsMessage) -> usize {
    let value_bytes = |value: &MessageAttributeValue| {
        let text = value.string_value.as_ref().map_or(0, String::len);
        text + value.binary_value.as_ref().map_or(0, |bytes| bytes.as_ref().len()) + value.data_type.len()
    };
    let attributes = message.message_attributes.iter().flatten();
    message.body.as_ref().map_or(0, String::len)
        + attributes.map(|(name, value)| name.len() + value_bytes(value)).sum::<usize>()
}

/// Converts a received message to an entry of a send batch to the queue with this URL: with its body and attributes as
/// they are, but without the dead letter's record.
pub(super) fn original_entry(index: usize, message: &SqsMessage, url: &str) -> SendMessageBatchRequestEntry {
    let system = message.attributes.as_ref();
    let system = |name: System| system.and_then(|system| system.get(&name)).cloned();
    let mut attributes = message.message_attributes.clone().unwrap_or_default();
    attributes.remove(OUTCOME_ATTRIBUTE);
    let mut entry = SendMessageBatchRequestEntry::builder()
        .id(index.to_string())
        .message_body(message.body.clone().unwrap_or_default())
        .set_message_attributes((!attributes.is_empty()).then_some(attributes))
        .set_message_group_id(system(System::MessageGroupId));
    if let Some(header) = system(System::AwsTraceHeader) {
        entry = entry.message_system_attributes(ForSends::AwsTraceHeader, trace_header(header));
    }
    if is_fifo_url(url) {
        // A message that is sent twice because its deletion failed arrives once.
        entry = entry.set_message_deduplication_id(message.message_id.clone());
    }
    let Ok(entry) = entry.build() else { unreachable!("id and body are set") };
    entry
}

fn trace_header(header: impl Into<String>) -> MessageSystemAttributeValue {
    let value = MessageSystemAttributeValue::builder().data_type("String").string_value(header).build();
    let Ok(value) = value else { unreachable!("the type is set") };
    value
}

/// Parses a redrive policy: the ARN of the dead-letter queue, and the number of receives after which messages go there.
pub(super) fn redrive_policy(policy: &str) -> Option<(String, u32)> {
    let policy: Value = serde_json::from_str(policy).ok()?;
    let arn = policy["deadLetterTargetArn"].as_str()?;
    // SQS accepts both a number and a string, and returns the value as it was set.
    let max_receives = match &policy["maxReceiveCount"] {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    Some((arn.to_owned(), u32::try_from(max_receives?).ok().filter(|&max| max > 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redrive_policy_is_read_however_its_number_is_written() {
        for number in ["3", r#""3""#] {
            let arn = "arn:aws:sqs:eu-west-1:123456789012:dead";
            let policy = format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":{number}}}"#);
            assert_eq!(redrive_policy(&policy), Some((arn.to_owned(), 3)));
        }
        for policy in ["", "{}", "[]", r#"{"deadLetterTargetArn":"a","maxReceiveCount":0}"#] {
            assert_eq!(redrive_policy(policy), None, "{policy}");
        }
    }

    /// Standard queues have groups too: SQS's fair queues go by them.
    #[test]
    fn the_group_of_a_message_is_delivered() {
        let message = SqsMessage::builder().receipt_handle("r").attributes(System::MessageGroupId, "acme");
        let delivery = delivery(message.build(), Instant::now()).expect("a delivery");
        assert_eq!(delivery.message.group.as_deref(), Some("acme"));
    }

    #[test]
    fn a_message_without_anything_but_a_receipt_is_delivered() {
        let delivery = delivery(SqsMessage::builder().receipt_handle("r").build(), Instant::now());
        let message = delivery.expect("a delivery").message;
        assert_eq!((message.receive_count, message.body.as_str(), message.group), (1, "", None));
        assert!(super::delivery(SqsMessage::builder().body("x").build(), Instant::now()).is_none());
    }
}
