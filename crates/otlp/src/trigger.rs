//! What starts tasks. It chooses the kind, the name and the attributes of a task's span.
//!
//! Names follow OpenTelemetry's semantic conventions for messaging, HTTP and FaaS, in the version of the crate
//! `opentelemetry-semantic-conventions` (1.42.0): <https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>
//! and <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>.

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use opentelemetry_semantic_conventions::attribute::{
    FAAS_INVOCATION_ID, FAAS_TRIGGER, HTTP_REQUEST_METHOD, HTTP_REQUEST_METHOD_ORIGINAL,
    HTTP_RESPONSE_STATUS_CODE, MESSAGING_DESTINATION_NAME, MESSAGING_MESSAGE_BODY_SIZE, MESSAGING_MESSAGE_ID,
    MESSAGING_OPERATION_NAME, MESSAGING_OPERATION_TYPE, MESSAGING_SYSTEM, URL_PATH, URL_SCHEME,
};
use wasmrun_runtime::model::usage::TaskRecord;

/// Methods that the conventions know. Any other is `_OTHER`, so that clients can't make up names of spans.
const METHODS: [&str; 10] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"];

/// What starts tasks. Each has its conventions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Messages of a queue.
    Queue(Queue),
    /// HTTP requests.
    Requests,
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
                // A worker with several queues says of each task from which its message is.
                let queue = &record.queue.map_or_else(|| queue.clone(), Queue::of);
                let mut attributes = queue.operation(record.message_id, "process", "process");
                let bytes = i64::try_from(record.body.len()).unwrap_or(i64::MAX);
                attributes.push(KeyValue::new(MESSAGING_MESSAGE_BODY_SIZE, bytes));
                attributes.push(KeyValue::new(FAAS_TRIGGER, "pubsub"));
                Beginning { kind: SpanKind::Consumer, name: format!("process {}", queue.name), attributes }
            }
            Self::Requests => of_request(record),
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

/// Describes the span of a task that answers a request. The message's body is the request's method and path.
fn of_request(record: &TaskRecord<'_>) -> Beginning {
    let (method, path) = record.body.split_once(' ').unwrap_or_default();
    let known = METHODS.into_iter().find(|&known| known == method);
    let mut attributes = vec![
        KeyValue::new(HTTP_REQUEST_METHOD, known.unwrap_or("_OTHER")),
        KeyValue::new(URL_PATH, path.to_owned()),
        KeyValue::new(URL_SCHEME, "http"),
        KeyValue::new(FAAS_INVOCATION_ID, record.message_id.to_owned()),
        KeyValue::new(FAAS_TRIGGER, "http"),
    ];
    if known.is_none() {
        attributes.push(KeyValue::new(HTTP_REQUEST_METHOD_ORIGINAL, method.to_owned()));
    }
    if let Some(status) = record.usage.http.status {
        attributes.push(KeyValue::new(HTTP_RESPONSE_STATUS_CODE, i64::from(status)));
    }
    // Of many paths, each would be a name of its own.
    Beginning { kind: SpanKind::Server, name: known.unwrap_or("HTTP").to_owned(), attributes }
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    system: &'static str,
    pub(crate) name: String,
}

impl Queue {
    /// Takes the name out of a queue's URL: its last segment. A URL without a path is that of a server to which
    /// notifications are posted.
    pub fn of(url: &str) -> Self {
        let is_server = url.split_once("://").is_some_and(|(_, rest)| !rest.contains('/'));
        match url.strip_prefix("sqlite:") {
            Some(path) => Self { system: "sqlite", name: last(path) },
            None if is_server => Self { system: "http", name: last(url) },
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
        assert_eq!(of("https://hooks.example:8443"), "http hooks.example:8443");
    }
}
