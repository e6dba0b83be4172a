//! An SQS queue that works, except where a test's script answers instead.

use super::lock;
use super::stub::{Answer, Request, Stub};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How long a receive waits for messages. The real service waits for up to 20 seconds.
const WAIT: Duration = Duration::from_millis(20);

/// A queue whose messages stay invisible until a client releases them.
pub(crate) struct ScriptedSqs {
    stub: Stub,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Value>,
    in_flight: HashMap<String, Value>,
    /// Number of calls by operation.
    asked: HashMap<String, usize>,
    received: u64,
    /// Notified when a client releases a message.
    returned: Arc<Condvar>,
}

/// A call to the service, with the number of earlier calls of the same operation.
pub(crate) struct Call<'a> {
    pub(crate) operation: &'a str,
    pub(crate) input: &'a Value,
    pub(crate) before: usize,
}

/// Creates an error in the format of SQS.
pub(crate) fn refusal(status: u16, code: &str) -> Answer {
    let body = json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": "said by the test"});
    Answer::new(status, body.to_string()).with("content-type", "application/x-amz-json-1.0")
}

/// Creates the answer to a batch call in which the entries at these indexes failed with this code.
pub(crate) fn partly(input: &Value, failed: &[usize], code: &str, sender_fault: bool) -> Answer {
    let entries = input["Entries"].as_array().expect("entries");
    let of = |fails: bool| {
        let entries = entries.iter().enumerate();
        entries
            .filter(move |(index, _)| failed.contains(index) == fails)
            .map(|(_, entry)| entry["Id"].clone())
    };
    let successful: Vec<_> = of(false).map(|id| json!({"Id": id, "MessageId": "sent"})).collect();
    let failed = of(true).map(
        |id| json!({"Id": id, "Code": code, "SenderFault": sender_fault, "Message": "said by the test"}),
    );
    ok(&json!({"Successful": successful, "Failed": failed.collect::<Vec<_>>()}))
}

fn ok(body: &Value) -> Answer {
    Answer::new(200, body.to_string()).with("content-type", "application/x-amz-json-1.0")
}

impl ScriptedSqs {
    /// Creates a queue with these messages. Each is a body, or an object as `ReceiveMessage` returns it, without its
    /// receipt. If `script` returns an answer, the call is answered with it and the queue doesn't change.
    pub(crate) fn holding(
        visibility_seconds: u64,
        messages: impl IntoIterator<Item = Value>,
        script: impl Fn(&Call<'_>) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let waiting = messages.into_iter().enumerate().map(|(index, message)| {
            let mut message = if message.is_string() { json!({"Body": message}) } else { message };
            message["MessageId"] = json!(format!("message-{index}"));
            message
        });
        let state = Arc::new(Mutex::new(State { waiting: waiting.collect(), ..State::default() }));
        let shared = state.clone();
        let stub = Stub::answering(move |request| {
            let operation = operation(request);
            let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let before = {
                let mut state = lock(&shared);
                let asked = state.asked.entry(operation.clone()).or_default();
                *asked += 1;
                *asked - 1
            };
            let call = Call { operation: &operation, input: &input, before };
            script(&call).unwrap_or_else(|| usual(&operation, &input, visibility_seconds, &shared))
        });
        Self { stub, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/000000000000/jobs", self.stub.endpoint())
    }

    /// The inputs of all calls of this operation.
    pub(crate) fn asked(&self, name: &str) -> Vec<Value> {
        let seen = self.stub.seen();
        let seen = seen.iter().filter(|request| operation(request) == name);
        seen.map(|request| serde_json::from_slice(&request.body).expect("JSON")).collect()
    }

    /// The receipts in each call of this operation.
    pub(crate) fn receipts(&self, name: &str) -> Vec<Vec<String>> {
        let of = |input: &Value| {
            let entries = input["Entries"].as_array().expect("entries").iter();
            entries.map(|entry| entry["ReceiptHandle"].as_str().expect("a receipt").to_owned()).collect()
        };
        self.asked(name).iter().map(of).collect()
    }

    /// The access key that signed each request.
    pub(crate) fn access_keys(&self) -> Vec<String> {
        self.stub.seen().iter().map(|request| request.access_key().to_owned()).collect()
    }

    /// Number of receives, counting each receive of the same message.
    pub(crate) fn received(&self) -> u64 {
        lock(&self.state).received
    }

    /// Number of visible and of in-flight messages.
    pub(crate) fn depth(&self) -> [usize; 2] {
        let state = lock(&self.state);
        [state.waiting.len(), state.in_flight.len()]
    }
}

fn operation(request: &Request) -> String {
    request.header("x-amz-target").trim_start_matches("AmazonSQS.").to_owned()
}

fn usual(operation: &str, input: &Value, visibility_seconds: u64, state: &Mutex<State>) -> Answer {
    let entries = || input["Entries"].as_array().cloned().unwrap_or_default();
    match operation {
        "GetQueueAttributes" => {
            let state = lock(state);
            ok(&json!({"Attributes": {
                "VisibilityTimeout": visibility_seconds.to_string(),
                "ApproximateNumberOfMessages": state.waiting.len().to_string(),
                "ApproximateNumberOfMessagesNotVisible": state.in_flight.len().to_string(),
                "ApproximateNumberOfMessagesDelayed": "0",
            }}))
        }
        "ReceiveMessage" => {
            let most = input["MaxNumberOfMessages"].as_u64().expect("a number");
            let mut state = lock(state);
            if state.waiting.is_empty() {
                let returned = Arc::clone(&state.returned);
                let waited = returned.wait_timeout(state, WAIT).unwrap_or_else(PoisonError::into_inner);
                state = waited.0;
            }
            if state.waiting.is_empty() {
                return ok(&json!({}));
            }
            let mut messages = Vec::new();
            while let Some(mut message) = state.waiting.pop_front() {
                state.received += 1;
                let receipt = format!("receipt-{}", state.received);
                state.in_flight.insert(receipt.clone(), message.clone());
                message["ReceiptHandle"] = json!(receipt);
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time");
                message["Attributes"]["SentTimestamp"] = json!(now.as_millis().to_string());
                messages.push(message);
                if messages.len() as u64 == most {
                    break;
                }
            }
            ok(&json!({"Messages": messages}))
        }
        "DeleteMessageBatch" | "ChangeMessageVisibilityBatch" => {
            let mut state = lock(state);
            for entry in entries() {
                let receipt = entry["ReceiptHandle"].as_str().expect("a receipt");
                let is_over = operation == "DeleteMessageBatch" || entry["VisibilityTimeout"] == 0;
                if is_over
                    && let Some(message) = state.in_flight.remove(receipt)
                    && operation != "DeleteMessageBatch"
                {
                    state.waiting.push_back(message);
                    state.returned.notify_one();
                }
            }
            partly(input, &[], "", false)
        }
        "SendMessageBatch" => partly(input, &[], "", false),
        other => refusal(400, &format!("Unknown{other}")),
    }
}
