//! Notifications: what the worker says about a message that has ended for good.

use crate::model::message::{Message, OutgoingMessage};
use crate::model::outcome::{Outcome, OutcomeKind};
use crate::model::outputs::{Output, Outputs};
use crate::model::text::json;
use crate::model::trace::Trace;
use crate::model::usage::Usage;
use serde::{Deserialize, Serialize};

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Its task completed, and the message is deleted.
    Completed,
    /// The message is in the dead-letter queue.
    DeadLettered,
    /// The message is deleted though its task didn't complete, as an action for its outcome says.
    Dropped,
}

impl End {
    /// All ways to end.
    pub const ALL: [Self; 3] = [Self::Completed, Self::DeadLettered, Self::Dropped];

    /// Returns the name in notifications.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::DeadLettered => "dead-lettered",
            Self::Dropped => "dropped",
        }
    }
}

/// The notification about one message. Its serialization is the body of the message that the worker sends, with a field
/// for each key.
#[derive(Clone, Debug, Serialize)]
pub struct Notification<'a> {
    /// The queue's ID of the message.
    pub message_id: &'a str,
    /// URL of the queue.
    pub queue: &'a str,
    /// Key of the message, if the worker tells messages apart by key. The sender chooses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// The message group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<&'a str>,
    /// How the message ended.
    pub end: End,
    /// How its last task ended.
    pub outcome: OutcomeKind,
    /// The reason in words. It may hold a guest's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// Number of deliveries of the message.
    pub receive_count: u32,
    /// Name of the component with its digest; `-` if no route matches the message and there is no default component.
    pub component: &'a str,
    /// Name of the route that the message took. `None` without routes, and if none matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'a str>,
    /// What the last task consumed.
    pub usage: Consumed,
    /// The objects that the last task wrote.
    pub outputs: &'a [Output],
    /// Number of writes whose objects aren't listed.
    pub outputs_omitted: u64,
    /// The task's position in its trace, in W3C's form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// What a task consumed: the part of its [`Usage`] that notifications have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Consumed {
    /// Fuel.
    pub fuel: u64,
    /// CPU time in microseconds.
    pub cpu_us: u64,
    /// Time from the task's start to its end, in microseconds.
    pub wall_us: u64,
    /// Peak of linear memory in bytes.
    pub peak_memory_bytes: u64,
}

impl From<&Usage> for Consumed {
    fn from(usage: &Usage) -> Self {
        let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            fuel: usage.fuel,
            cpu_us: micros(usage.cpu),
            wall_us: micros(usage.wall),
            peak_memory_bytes: usage.peak_memory_bytes,
        }
    }
}

impl<'a> Notification<'a> {
    /// Creates the notification about a message. `outputs` are those of its last task.
    pub fn new(
        message: &'a Message,
        queue: &'a str,
        end: End,
        (outcome, usage): (&'a Outcome, &Usage),
        outputs: Option<&'a Outputs>,
    ) -> Self {
        Self {
            message_id: &message.id,
            queue,
            key: None,
            group: message.group.as_deref(),
            end,
            outcome: outcome.kind(),
            reason: outcome.reason(),
            receive_count: message.receive_count,
            component: "",
            route: None,
            usage: usage.into(),
            outputs: outputs.map_or(&[], Outputs::listed),
            outputs_omitted: outputs.map_or(0, Outputs::omitted),
            traceparent: None,
        }
    }

    /// Returns the same without the parts of which the sender or the guest chooses the length, for a queue that takes only
    /// short messages.
    #[must_use]
    pub fn shortened(self) -> Self {
        let omitted = self.outputs_omitted.saturating_add(self.outputs.len() as u64);
        Self { key: None, reason: None, outputs: &[], outputs_omitted: omitted, ..self }
    }

    /// Returns the notification as a message in the message's own group, which belongs to the trace. A FIFO queue drops
    /// what a crash sends twice.
    pub(crate) fn to_message(&self, fifo: bool, trace: Option<&Trace>) -> OutgoingMessage {
        let group = self.group.map(str::to_owned);
        let mut outgoing = OutgoingMessage { body: json(self), group, ..OutgoingMessage::default() };
        if fifo {
            outgoing.group.get_or_insert_with(|| self.message_id.to_owned());
            let Self { message_id, receive_count, outcome, .. } = self;
            outgoing.deduplication_id = Some(format!("{message_id}.{receive_count}.{outcome}"));
        }
        if let Some(trace) = trace {
            trace.pass_on(&mut outgoing);
        }
        outgoing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::{Attribute, AttributeValue};
    use proptest::prelude::*;
    use serde_json::Value;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn message() -> Message {
        let value = AttributeValue::Text(TRACE.into());
        let attributes = vec![Attribute { name: "traceparent".into(), value }];
        Message { attributes, receive_count: 2, group: Some("acme".into()), ..Message::new("m", "body") }
    }

    fn outputs(keys: &[String]) -> Outputs {
        let mut outputs = Outputs::default();
        for key in keys {
            let etag = Some("\"e\"".into());
            outputs.wrote(Output { store: "out".into(), key: key.clone(), size: 7, etag, version: None });
        }
        outputs
    }

    #[test]
    fn a_notification_is_in_the_group_and_the_trace_of_its_message_without_its_body() {
        let (message, usage) = (message(), Usage { fuel: 9, ..Usage::default() });
        let outputs = outputs(&["a.png".into()]);
        let ended = (&Outcome::Completed, &usage);
        let notification = Notification::new(&message, "sqlite:q", End::Completed, ended, Some(&outputs));
        let sent = notification.to_message(false, Trace::of(&message).as_ref());
        assert_eq!((sent.group.as_deref(), sent.deduplication_id.as_deref()), (Some("acme"), None));
        let AttributeValue::Text(parent) = &sent.attributes[0].value else { panic!("text") };
        assert!(parent.starts_with(&TRACE[..36]) && parent != TRACE, "{parent}");
        let body: Value = serde_json::from_str(&sent.body).expect("JSON");
        assert_eq!(
            body["outputs"],
            serde_json::json!([{"store": "out", "key": "a.png", "size": 7, "etag": "\"e\""}])
        );
        assert_eq!((&body["end"], &body["outcome"]), (&"completed".into(), &"completed".into()));
        assert_eq!((&body["receive_count"], &body["usage"]["fuel"]), (&2.into(), &9.into()));
        assert!(body.get("reason").is_none() && body.get("body").is_none());
        let fifo = Notification { group: None, ..notification }.to_message(true, None);
        assert_eq!(fifo.group.as_deref(), Some("m"));
        assert_eq!(fifo.deduplication_id.as_deref(), Some("m.2.completed"));
    }

    proptest! {
        #[test]
        fn every_queue_takes_a_notification_whatever_guest_and_sender_write(
            keys in proptest::collection::vec("[\\PC\u{0}\u{1b}\u{fffe}\u{ffff}]{0,300}", 0..200),
            key in "[\\PC\u{0}\u{ffff}]{0,64}",
            reason in "[\\PC\u{0}\u{7f}\u{ffff}]{0,256}",
        ) {
            let (message, usage, outputs) = (message(), Usage::default(), outputs(&keys));
            let outcome = Outcome::Rejected { reason: reason.clone() };
            let notification = Notification {
                key: Some(&key),
                ..Notification::new(&message, "q", End::DeadLettered, (&outcome, &usage), Some(&outputs))
            };
            for fifo in [false, true] {
                let sent = notification.to_message(fifo, Trace::of(&message).as_ref());
                prop_assert_eq!((sent.validate(), sent.fits(fifo)), (Ok(()), Ok(())));
                prop_assert!(sent.billed_bytes() <= 64 << 10);
                let body: Value = serde_json::from_str(&sent.body).expect("JSON");
                prop_assert_eq!((&body["reason"], &body["key"]), (&reason.clone().into(), &key.clone().into()));
            }
            let short = notification.shortened().to_message(true, None);
            prop_assert!(short.billed_bytes() < 1024);
        }
    }
}
