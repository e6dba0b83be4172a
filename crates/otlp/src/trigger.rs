//! What starts tasks. It chooses the kind, the name and the attributes of a task's span.
//!
//! Names follow OpenTelemetry's semantic conventions for messaging and FaaS, in the version of the crate
//! `opentelemetry-semantic-conventions` (1.42.0): <https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>.

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use opentelemetry_semantic_conventions::attribute::{
    FAAS_INVOCATION_ID, FAAS_TRIGGER, MESSAGING_DESTINATION_NAME, MESSAGING_MESSAGE_BODY_SIZE,
    MESSAGING_MESSAGE_ID, MESSAGING_OPERATION_NAME, MESSAGING_OPERATION_TYPE, MESSAGING_SYSTEM,
};
use wasmrun_runtime::model::usage::TaskRecord;

/// What starts tasks.
///
/// Each has its conventions. For a task that answers an HTTP request, that would be a span of kind `SERVER` with
/// `http.request.method`, `url.path` and `http.response.status_code`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Messages of a queue.
    Queue(Queue),
    /// A person.
    Person,
}

/// How the span of a task begins.
pub(crate) struct Beginning {
    pub(crate) kind: SpanKind,
    pub(crate) name: String,
    pub(crate) attributes: Vec<KeyValue>,
}

impl Trigger {
    /// Describes the task's span: what is the same for all triggers isn't in it.
    pub(crate) fn begin(&self, record: &TaskRecord<'_>) -> Beginning {
        match self {
            Self::Queue(queue) => {
                let mut attributes = queue.operation(record.message_id, "process", "process");
                let bytes = i64::try_from(record.body.len()).unwrap_or(i64::MAX);
                attributes.push(KeyValue::new(MESSAGING_MESSAGE_BODY_SIZE, bytes));
                attributes.push(KeyValue::new(FAAS_TRIGGER, "pubsub"));
                Beginning { kind: SpanKind::Consumer, name: format!("process {}", queue.name), attributes }
            }
            Self::Person => {
                let id = KeyValue::new(FAAS_INVOCATION_ID, record.message_id.to_owned());
                let attributes = vec![id, KeyValue::new(FAAS_TRIGGER, "other")];
                Beginning {
                    kind: SpanKind::Internal,
                    name: format!("invoke {}", record.component),
                    attributes,
                }
            }
        }
    }
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    system: &'static str,
    pub(crate) name: String,
}

impl Queue {
    /// Takes the name out of a queue's URL: its last segment.
    pub fn of(url: &str) -> Self {
        match url.strip_prefix("sqlite:") {
            Some(path) => Self { system: "sqlite", name: last(path) },
            None => Self { system: "aws_sqs", name: last(url) },
        }
    }

    /// Returns the attributes of an operation on a message, with the type and the name of the operation.
    pub(crate) fn operation(&self, id: &str, kind: &'static str, name: &'static str) -> Vec<KeyValue> {
        vec![
            KeyValue::new(MESSAGING_SYSTEM, self.system),
            KeyValue::new(MESSAGING_DESTINATION_NAME, self.name.clone()),
            KeyValue::new(MESSAGING_OPERATION_TYPE, kind),
            KeyValue::new(MESSAGING_OPERATION_NAME, name),
            KeyValue::new(MESSAGING_MESSAGE_ID, id.to_owned()),
        ]
    }
}

fn last(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_named_by_the_last_segment_of_its_url() {
        let of = |url: &str| {
            let Queue { system, name } = Queue::of(url);
            format!("{system} {name}")
        };
        assert_eq!(of("https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo"), "aws_sqs jobs.fifo");
        assert_eq!(of("jobs"), "aws_sqs jobs");
        assert_eq!(of("sqlite:/var/lib/jobs.db#dead"), "sqlite jobs.db#dead");
        assert_eq!(of("sqlite:"), "sqlite ");
    }
}
