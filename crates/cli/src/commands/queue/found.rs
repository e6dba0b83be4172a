//! Formats messages of queues: as JSON, as a line of a list, and in full.
//!
//! All text comes from senders and guests. It is cut where it must fit a line, and escaped by
//! [`Output`](crate::output::Output).

use crate::output::Output;
use serde_json::{Value, json};
use std::time::SystemTime;
use wasmrun_runtime::model::message::{AttributeValue, Message, OUTCOME_ATTRIBUTE};
use wasmrun_runtime::model::text::first_chars;
use wasmrun_runtime::ports::walk::Found;

/// Maximum number of characters of a text in a list.
const MAX_TEXT: usize = 120;
/// The header of a list.
pub(super) const HEADER: &str =
    "ID                                    SENT                  RECEIVES  OUTCOME         COMPONENT: REASON";

/// Formats a message as JSON, which is always one line.
pub(super) fn message(message: &Message) -> Value {
    let attributes: serde_json::Map<String, Value> = message
        .attributes
        .iter()
        .map(|attribute| {
            let value = match &attribute.value {
                AttributeValue::Text(text) | AttributeValue::Number(text) => json!(text),
                AttributeValue::Binary(bytes) => json!({"binary_bytes": bytes.len()}),
            };
            (attribute.name.clone(), value)
        })
        .collect();
    json!({
        "id": message.id,
        "sent_at": time(message.sent_at),
        "receive_count": message.receive_count,
        "group": message.group,
        "attributes": attributes,
        "body": message.body,
    })
}

/// Formats a message of a walk as JSON, with the dead letter's record.
pub(super) fn as_json(found: &Found) -> Value {
    let mut value = message(&found.message);
    value["dead_letter"] = json!(found.dead_letter);
    value["moved_from"] = json!(found.moved_from);
    value
}

/// Formats a message as a line of a list.
pub(super) fn line(found: &Found) -> String {
    let Found { message, moved_from, dead_letter } = found;
    let (outcome, why) = match (dead_letter, moved_from) {
        (Some(dead), _) => {
            let reason = dead.reason.as_deref().unwrap_or("-");
            (dead.outcome.as_str(), format!("{}: {}", cut(&dead.component), cut(reason)))
        }
        (None, Some(queue)) => ("-", format!("moved by the redrive policy of {}", cut(queue))),
        (None, None) => ("-", "-".into()),
    };
    let (id, sent_at, receives) = (cut(&message.id), time(message.sent_at), message.receive_count);
    format!("{id:<36}  {sent_at:<20}  {receives:>8}  {outcome:<14}  {why}")
}

/// Prints a message in full. Lines of its body are indented, so that none looks like a line of this program.
pub(super) fn print(found: &Found, output: &Output) {
    let Found { message, moved_from, dead_letter } = found;
    let line = |name: &str, value: &str| output.line(format_args!("{name:<13} {value}"));
    line("id", &message.id);
    line("sent", &time(message.sent_at));
    line("receives", &message.receive_count.to_string());
    if let Some(group) = &message.group {
        line("group", group);
    }
    if let Some(queue) = moved_from {
        line("moved from", &format!("{queue}, by its redrive policy"));
    }
    if let Some(dead) = dead_letter {
        line("outcome", dead.outcome.as_str());
        line("reason", dead.reason.as_deref().unwrap_or("-"));
        line("component", &dead.component);
        if let Some(route) = &dead.route {
            line("route", route);
        }
        if let Some(key) = &dead.key {
            line("key", key);
        }
        line("source queue", &dead.queue);
        line("source id", &format!("{}, received {} times", dead.message_id, dead.receive_count));
        line("source sent", dead.sent_at.as_deref().unwrap_or("-"));
    }
    let is_shown = |name: &str| dead_letter.is_some() && name == OUTCOME_ATTRIBUTE;
    for attribute in message.attributes.iter().filter(|attribute| !is_shown(&attribute.name)) {
        let value = match &attribute.value {
            AttributeValue::Text(text) | AttributeValue::Number(text) => text.clone(),
            AttributeValue::Binary(bytes) => format!("({} bytes)", bytes.len()),
        };
        line("attribute", &format!("{} = {value}", attribute.name));
    }
    output.print("body");
    for text in message.body.split('\n') {
        output.line(format_args!("  {text}"));
    }
}

fn time(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).and_then(|time| time.round(jiff::Unit::Second));
    time.map(|time| time.to_string()).unwrap_or_default()
}

/// Returns the beginning of a text.
fn cut(text: &str) -> String {
    first_chars(text, MAX_TEXT)
}
