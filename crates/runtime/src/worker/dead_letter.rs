//! Dead letters: sends messages to the dead-letter queue, with the reason.

use super::decision::Decision;
use super::options::StartError;
use super::settle::observe_call;
use super::sources::Fails;
use super::waiting::LeasedMessage;
use super::{Worker, attributes_of, on_io};
use crate::model::dead_letter::DeadLetter;
use crate::model::message::{MAX_ATTRIBUTES, Message, OUTCOME_ATTRIBUTE, OutgoingMessage};
use crate::model::usage::Settled;
use crate::ports::queue::{Queue, QueueError};
use crate::task::component::Report;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The queue that dead letters are sent to.
pub(super) struct DeadLetterQueue {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) fifo: bool,
}

impl DeadLetterQueue {
    /// # Errors
    ///
    /// The queue can't be used.
    pub(super) async fn of(queue: Arc<dyn Queue>) -> Result<Self, StartError> {
        let fifo = attributes_of(&*queue).await?.fifo;
        Ok(Self { queue, fifo })
    }
}

/// Builds a dead letter: the message as it was received, with an attribute that says what happened. `fifo`: its queue is a
/// FIFO queue.
fn dead_letter(message: &Message, record: &DeadLetter, fifo: bool) -> OutgoingMessage {
    let mut dead = OutgoingMessage {
        body: message.body.clone(),
        attributes: message
            .attributes
            .iter()
            .filter(|attribute| attribute.name != OUTCOME_ATTRIBUTE)
            .cloned()
            .collect(),
        group: message.group.clone(),
        trace_header: message.trace_header.clone(),
        ..OutgoingMessage::default()
    };
    if fifo {
        dead.group.get_or_insert_with(|| message.id.clone());
        // If a crash lets the message be dead-lettered twice, it arrives once.
        dead.deduplication_id = Some(message.id.clone());
    }
    dead.attributes.push(record.to_attribute());
    if dead.attributes.len() > MAX_ATTRIBUTES || dead.validate().is_err() {
        tracing::warn!(
            message_id = message.id,
            outcome = record.outcome.as_str(),
            "dead-lettering without the reason: the message has no room for it"
        );
        dead.attributes.pop();
    }
    dead
}

/// Sends a dead letter. One that the queue refuses is sent again without the reason: the queue may take only smaller
/// messages than the one that the message came from.
async fn send(queue: &dyn Queue, mut dead: OutgoingMessage, message_id: &str) -> Result<String, QueueError> {
    match send_once(queue, &dead).await {
        Err(QueueError::InvalidMessage(why))
            if dead.attributes.pop_if(|last| last.name == OUTCOME_ATTRIBUTE).is_some() =>
        {
            let url = queue.url();
            tracing::warn!(
                message_id,
                queue = url,
                why,
                "the dead letter was refused: sending it without the reason"
            );
            send_once(queue, &dead).await
        }
        answer => answer,
    }
}

async fn send_once(queue: &dyn Queue, dead: &OutgoingMessage) -> Result<String, QueueError> {
    let answer = queue.send(std::slice::from_ref(dead)).await.pop();
    answer.unwrap_or_else(|| Err(QueueError::unanswered()))
}

impl Worker {
    /// Sends a message to the dead-letter queue.
    ///
    /// # Errors
    ///
    /// Returns a decision to try again later if that fails or `abandon` is cancelled.
    pub(super) async fn send_dead_letter(
        &self,
        leased: &LeasedMessage,
        report: &Report,
        abandon: &CancellationToken,
    ) -> Result<(), Decision> {
        let LeasedMessage { message, source, .. } = leased;
        let Some(DeadLetterQueue { queue, fifo }) = &source.dead_letter else {
            return Err(Decision::Retry(self.options.backoff.longest));
        };
        let outcome = &report.outcome;
        let record = DeadLetter {
            route: report.route.as_deref().map(Into::into),
            key: leased.key().map(|key| key.as_str().into()),
            ..DeadLetter::new(message, outcome, source.url(), &report.component)
        };
        let dead = dead_letter(message, &record, *fifo);
        let (sender, id) = (queue.clone(), message.id.clone());
        let sending = on_io(&self.io, async move { send(&*sender, dead, &id).await });
        let (message_id, queue, began) = (&message.id, queue.url(), Instant::now());
        let answer = tokio::select! {
            answer = sending => answer.unwrap_or_else(|_| Err(QueueError::unanswered())),
            () = abandon.cancelled() => return Err(Decision::Release(Duration::ZERO)),
        };
        if let Some(trace) = report.exported_trace() {
            let (operation, took) = ("dead-letter", began.elapsed());
            let call = Settled { trace, message_id, queue, operation, took, error: None };
            observe_call(&self.options.observers, call, &answer);
        }
        match answer {
            Ok(id) => {
                self.tally.counters.dead_lettered.add(1);
                source.succeeded(Fails::DeadLettering);
                let (outcome, reason) = (outcome.kind().as_str(), outcome.reason());
                tracing::warn!(message_id, dead_letter_id = id, outcome, reason, "dead-lettered the message");
                Ok(())
            }
            Err(error @ QueueError::InvalidMessage(_)) => {
                // This isn't an outage: only this message is refused. The queue's own redrive moves it in the end.
                tracing::error!(message_id, queue, %error, "the dead-letter queue refused the message");
                Err(Decision::Retry(self.options.backoff.longest))
            }
            Err(error) => {
                let error = error.to_string();
                tracing::warn!(message_id, queue, error, "cannot dead-letter the message");
                let what = "the dead-letter queue does not take messages";
                source.failed(&self.breaker, Fails::DeadLettering, what);
                // It comes again when its queue is tried again.
                Err(Decision::Release(self.options.backoff.first.max(source.pause())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::{Attribute, AttributeValue};
    use crate::model::outcome::Outcome;
    use crate::ports::memory::MemoryQueue;
    use crate::ports::queue::{Delivery, Depth, QueueAttributes, Receipt};
    use async_trait::async_trait;

    fn message() -> Message {
        let attributes = vec![Attribute { name: "a".into(), value: AttributeValue::Binary(vec![1]) }];
        Message { attributes, receive_count: 3, ..Message::new("m", "body") }
    }

    fn dead_letter_of(message: &Message, outcome: &Outcome, fifo: bool) -> OutgoingMessage {
        let record = DeadLetter::new(message, outcome, "memory:q", "c.wasm");
        dead_letter(message, &DeadLetter { key: Some("k".into()), ..record }, fifo)
    }

    #[test]
    fn a_deduplication_id_is_for_fifo_queues_only() {
        let mut message = message();
        message.group = Some("g".into());
        assert_eq!(dead_letter_of(&message, &Outcome::TimedOut, false).deduplication_id, None);
        let dead = dead_letter_of(&message, &Outcome::TimedOut, true);
        assert_eq!((dead.group.as_deref(), dead.deduplication_id.as_deref()), (Some("g"), Some("m")));
        message.group = None;
        assert_eq!(dead_letter_of(&message, &Outcome::TimedOut, true).group.as_deref(), Some("m"));
    }

    #[test]
    fn a_dead_letter_carries_the_message_and_one_attribute_that_says_why() {
        let mut message = message();
        let stale = Attribute { name: OUTCOME_ATTRIBUTE.into(), value: AttributeValue::Text("old".into()) };
        message.attributes.push(stale);
        let dead = dead_letter_of(&message, &Outcome::Rejected { reason: "no \"image\"\n".into() }, false);
        assert_eq!((dead.body.as_str(), dead.attributes.len()), ("body", 2));
        let AttributeValue::Text(why) = &dead.attributes[1].value else { panic!("text") };
        let why: serde_json::Value = serde_json::from_str(why).expect("JSON");
        assert_eq!(why["outcome"], "rejected");
        assert_eq!(why["reason"], "no \"image\"\n");
        assert_eq!((&why["receive_count"], &why["key"]), (&3.into(), &"k".into()));
        let sent_at: jiff::Timestamp = why["sent_at"].as_str().expect("text").parse().expect("a time");
        assert_eq!(std::time::SystemTime::from(sent_at), message.sent_at);
    }

    /// A dead-letter queue that takes messages of at most this many bytes.
    struct Small(MemoryQueue, usize);

    #[async_trait]
    impl Queue for Small {
        fn url(&self) -> &str {
            self.0.url()
        }

        async fn attributes(&self) -> Result<QueueAttributes, QueueError> {
            self.0.attributes().await
        }

        async fn depth(&self) -> Result<Depth, QueueError> {
            self.0.depth().await
        }

        async fn receive(
            &self,
            max: usize,
            wait: Duration,
            stop: &CancellationToken,
        ) -> Result<Vec<Delivery>, QueueError> {
            self.0.receive(max, wait, stop).await
        }

        async fn delete(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>> {
            self.0.delete(receipts).await
        }

        async fn set_visibility(&self, messages: &[(Receipt, Duration)]) -> Vec<Result<(), QueueError>> {
            self.0.set_visibility(messages).await
        }

        async fn send(&self, messages: &[OutgoingMessage]) -> Vec<Result<String, QueueError>> {
            if messages.iter().any(|message| message.billed_bytes() > self.1) {
                return vec![Err(QueueError::InvalidMessage("too long".into())); messages.len()];
            }
            self.0.send(messages).await
        }
    }

    #[tokio::test]
    async fn a_dead_letter_that_its_queue_refuses_is_sent_without_the_reason() {
        let message = message();
        let dead = dead_letter_of(&message, &Outcome::Rejected { reason: "r".repeat(500) }, false);
        let original = message.body.len() + 100;
        for (most, attributes) in [(dead.billed_bytes(), 2), (original, 1)] {
            let queue = Small(MemoryQueue::new("dead", Duration::from_secs(30)), most);
            send(&queue, dead.clone(), "m").await.expect("sent");
            let sent = queue.0.visible();
            assert_eq!((sent.len(), sent[0].attributes.len(), &*sent[0].body), (1, attributes, "body"));
        }
        let queue = Small(MemoryQueue::new("dead", Duration::from_secs(30)), 1);
        assert!(matches!(send(&queue, dead, "m").await, Err(QueueError::InvalidMessage(_))));
        assert!(queue.0.visible().is_empty());
    }

    #[test]
    fn a_message_without_room_is_dead_lettered_without_the_reason() {
        let mut message = message();
        message.attributes = (0..10)
            .map(|i| Attribute { name: format!("a{i}"), value: AttributeValue::Text("x".into()) })
            .collect();
        assert_eq!(dead_letter_of(&message, &Outcome::TimedOut, false).attributes.len(), 10);
        message.attributes.clear();
        message.body = "x".repeat(crate::model::message::MAX_MESSAGE_BYTES);
        let dead = dead_letter_of(&message, &Outcome::TimedOut, false);
        assert_eq!((dead.attributes.len(), dead.validate()), (0, Ok(())));
    }
}
