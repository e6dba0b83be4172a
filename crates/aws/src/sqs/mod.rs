//! Implements the runtime's [`Queue`] with SQS.
//!
//! Each call sends one request per ten messages and checks each entry of the response: a batch call succeeds as a whole
//! even if all its entries fail. Source of all rules: the SQS API reference and developer guide.

mod address;
mod admin;
mod answer;
mod batches;
mod convert;
mod walk;

pub(crate) use self::address::Address as QueueAddress;
pub use self::address::QueuePlace;

use self::address::Address;
use self::answer::{Answer, queue_error, receipt_error};
use self::batches::batches;
use crate::config::{Aws, region};
use crate::endpoint::{Service, endpoint};
use crate::failure::{Failure, Operation};
use crate::response::{Origin, SqsResponses};
use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{Builder, StalledStreamProtectionConfig};
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message as SqsMessage,
    MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use wasmrun_runtime::model::message::{MAX_BATCH, MAX_VISIBILITY, OutgoingMessage};
use wasmrun_runtime::ports::queue::{
    BatchPolicy, Delivery, Depth, Queue, QueueAttributes, QueueError, Receipt, Redrive,
};

/// Longest wait of a receive. SQS supports 20 s, but has no way to learn that the client no longer listens. A poll that is
/// dropped still takes the next message, which is then hidden for its visibility timeout and counts a receive
/// (aws/aws-sdk-js#2350, aws/aws-sdk-java-v2#1395). So a poll is always awaited, and an idle worker takes this long to
/// stop: it must be less than 3 s. The cost is 1,800 requests an hour instead of 180.
pub const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Longest visibility of a message, counted from its receipt: twelve hours, less a margin for whole seconds and clock
/// differences. A renewal beyond twelve hours fails.
const LONGEST_VISIBILITY: Duration = MAX_VISIBILITY.saturating_sub(Duration::from_secs(10));
/// How long a receive that could ask for only a few messages waits for more tasks to end. The wait is shorter than a
/// request takes. With a full queue it saves a tenth of the receives and of the CPU time; a longer wait saves no more
/// (`cargo xtask bench queue`).
const RECEIVING_WAIT: Duration = Duration::from_millis(5);
/// How long a settlement waits for others to fill its batch. At 100 messages a second, six messages then need one call
/// instead of four or five, which costs a fifth less CPU time, and a message is deleted about 30 ms later. With 20 ms
/// there are two and a half times the calls. With 200 ms there are two fifths fewer calls, but a deletion comes up to
/// 40 ms later still, and a crash in that time repeats a completed task. A full queue fills its calls at any wait from
/// 20 ms on (`cargo xtask bench queue`).
const SETTLING_WAIT: Duration = Duration::from_millis(50);
/// How a worker batches its calls to a standard queue.
pub const BATCH_POLICY: BatchPolicy = BatchPolicy {
    receive_batch: MAX_BATCH,
    receiving_wait: RECEIVING_WAIT,
    settling_calls: 8,
    settling_wait: SETTLING_WAIT,
    empty_receives: 2,
};
/// Timeout of one attempt of a call.
const ATTEMPT: Duration = Duration::from_secs(10);
/// Longest time that a response is assumed to have been on its way, unless a quarter of the visibility timeout is
/// shorter. SQS counts a message's visibility from the moment of its response, and not from the request, which may have
/// waited for the message.
const LONGEST_ANSWER: Duration = Duration::from_secs(1);

/// Returns whether a text is the URL, the ARN or the name of an SQS queue.
pub fn is_queue_address(text: &str) -> bool {
    Address::parse(text).is_some()
}

/// An SQS queue.
#[derive(Debug)]
pub struct SqsQueue {
    client: Client,
    url: String,
    fifo: bool,
    /// Visibility timeout in milliseconds: the queue's when it was first asked, and 0 before. Leases rely on it, so each
    /// receive asks for it, also once the setting was changed.
    visibility_timeout: AtomicU64,
    /// Counts receive attempts. With `process`, a random number, it makes their ids unique.
    attempts: AtomicU64,
    process: u64,
}

impl SqsQueue {
    /// Opens an existing queue by its URL, its ARN or its name, with the rights of `role` or the worker's own.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unusable`] if the text is no address of a queue, if no region is known, or if the configuration is
    /// invalid. [`QueueError::Unavailable`] if the role can't be assumed. The error of the service if the lookup of a
    /// name or an ARN fails.
    pub async fn open(text: &str, aws: &Aws, role: Option<&str>) -> Result<Self, QueueError> {
        let address = Address::of(text).map_err(QueueError::Unusable)?;
        let sdk = aws.sdk(role, address.region.as_deref()).await?;
        let region = region(&sdk, address.region.as_deref()).map_err(QueueError::Unusable)?;
        // Each attempt has a timeout, so the SDK needn't watch the throughput of a small response.
        let mut config = Builder::from(&sdk)
            .region(region)
            .interceptor(Origin)
            .interceptor(SqsResponses)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        // A configured endpoint takes precedence over the queue's URL.
        let configured = endpoint(&sdk, Service::Sqs).map_err(QueueError::Unusable)?;
        if configured.is_none() {
            let server = address.server(sdk.use_fips() == Some(true)).map_err(QueueError::Unusable)?;
            if let Some(server) = server {
                // The SDK refuses an endpoint URL together with these settings.
                config = config.endpoint_url(server).use_fips(false).use_dual_stack(false);
            }
        }
        let timeouts = sdk.timeout_config().map(TimeoutConfig::to_builder).unwrap_or_default();
        let timeouts = timeouts.operation_attempt_timeout(ATTEMPT).build();
        let client = Client::from_conf(config.timeout_config(timeouts).build());
        let fifo = address.is_fifo();
        let url = url(&client, address).await?;
        let process = fastrand::u64(..);
        Ok(Self {
            client,
            url,
            fifo,
            visibility_timeout: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
            process,
        })
    }

    /// Returns the URL of another queue, on the server of this queue: an SQS-compatible server may return a URL with a
    /// host name that only the server can resolve.
    async fn url_of(&self, arn: &str) -> Result<String, QueueError> {
        let Some(address) = Address::parse(arn).filter(|address| address.url.is_none()) else {
            return Err(QueueError::Unusable(format!("its redrive policy names {arn:?}, which is no queue")));
        };
        let found = match url(&self.client, address).await {
            Ok(found) => found,
            Err(error @ QueueError::Unavailable(_)) => return Err(error),
            // The error is reported when the queue is used, which may never happen.
            Err(_) => return Ok(arn.to_owned()),
        };
        let ours = Address::parse(&self.url).and_then(|address| address.endpoint);
        let path = found.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map(|(_, path)| path);
        Ok(match (ours, path) {
            (Some(ours), Some(path)) => format!("{ours}/{path}"),
            _ => found,
        })
    }

    /// Returns the earliest time at which a delivery received now becomes visible again.
    fn visible_at(&self, asked: Instant, visibility_timeout: Duration) -> Instant {
        let answered = Instant::now();
        let on_its_way = (answered - asked).min(LONGEST_ANSWER).min(visibility_timeout / 4);
        answered + visibility_timeout - on_its_way
    }

    async fn visibility_timeout(&self) -> Result<Duration, QueueError> {
        match self.visibility_timeout.load(Ordering::Relaxed) {
            0 => Ok(self.attributes().await?.visibility_timeout),
            known => Ok(Duration::from_millis(known)),
        }
    }

    async fn numbers(
        &self,
        names: &[QueueAttributeName],
    ) -> Result<HashMap<QueueAttributeName, String>, QueueError> {
        let request = self.client.get_queue_attributes().queue_url(&self.url);
        let request = names.iter().cloned().fold(request, |request, name| request.attribute_names(name));
        let answer = request.send().await;
        let answer = answer.map_err(|error| queue_error(Failure::from(error)))?;
        Ok(answer.attributes.unwrap_or_default())
    }
}

#[async_trait]
impl Queue for SqsQueue {
    fn url(&self) -> &str {
        &self.url
    }

    /// A request takes about ten milliseconds, and is billed the same for one message and for ten.
    fn batch_policy(&self) -> BatchPolicy {
        // One receive can bring several messages of one group of a FIFO queue. A single message blocks the rest of its
        // group in the queue until it is settled, as the order requires.
        if self.fifo {
            BatchPolicy { receive_batch: 1, receiving_wait: Duration::ZERO, ..BATCH_POLICY }
        } else {
            BATCH_POLICY
        }
    }

    async fn attributes(&self) -> Result<QueueAttributes, QueueError> {
        use QueueAttributeName::{RedrivePolicy, VisibilityTimeout};
        // Asking a standard queue for an attribute of FIFO queues is an error.
        let attributes = self.numbers(&[VisibilityTimeout, RedrivePolicy]).await?;
        let seconds = attributes.get(&VisibilityTimeout).and_then(|seconds| seconds.parse::<u64>().ok());
        let seconds = seconds.ok_or_else(|| {
            QueueError::Unavailable("it does not say how long its messages stay invisible".into())
        })?;
        let found = seconds.saturating_mul(1000);
        let known = self.visibility_timeout.compare_exchange(0, found, Ordering::Relaxed, Ordering::Relaxed);
        let visibility_timeout = Duration::from_millis(known.err().unwrap_or(found));
        let redrive = match attributes.get(&RedrivePolicy).filter(|policy| !policy.is_empty()) {
            Some(policy) => {
                let (arn, max_receives) = convert::redrive_policy(policy).ok_or_else(|| {
                    QueueError::Unusable(format!("its redrive policy is not understood: {policy:?}"))
                })?;
                Some(Redrive { dead_letter: self.url_of(&arn).await?, max_receives })
            }
            None => None,
        };
        Ok(QueueAttributes {
            visibility_timeout,
            max_visibility: Some(LONGEST_VISIBILITY),
            redrive,
            fifo: self.fifo,
        })
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesDelayed as Delayed,
            ApproximateNumberOfMessagesNotVisible as InFlight,
        };
        let numbers = self.numbers(&[Visible, InFlight, Delayed]).await?;
        let number = |name| {
            let number = numbers.get(&name).and_then(|number| number.parse().ok());
            number.ok_or_else(|| QueueError::Unavailable("it does not say how many messages it has".into()))
        };
        Ok(Depth { visible: number(Visible)?, in_flight: number(InFlight)?, delayed: number(Delayed)? })
    }

    /// Receives messages, and waits for the response even after `stop` is cancelled: ending a long poll early could
    /// lose messages that the service is about to return.
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        _stop: &CancellationToken,
    ) -> Result<Vec<Delivery>, QueueError> {
        let visibility_timeout = self.visibility_timeout().await?;
        let asked = Instant::now();
        let messages = self.receive_messages(max, wait, visibility_timeout).await?;
        let visible_at = self.visible_at(asked, visibility_timeout);
        Ok(messages.into_iter().filter_map(|message| convert::delivery(message, visible_at)).collect())
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>> {
        settled(receipts, |batch| async move {
            let entries = batch.iter().enumerate().map(|(index, receipt)| {
                let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
                entry.receipt_handle(&receipt.0).build()
            });
            let Ok(entries) = entries.collect() else { unreachable!("both fields are set") };
            let request = self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
            let answer = request.send().await?;
            Ok((answer.successful.into_iter().map(|entry| (entry.id, ())).collect(), answer.failed))
        })
        .await
    }

    async fn set_visibility(&self, messages: &[(Receipt, Duration)]) -> Vec<Result<(), QueueError>> {
        settled(messages, |batch| async move {
            let entries = batch.iter().enumerate().map(|(index, (receipt, visibility))| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(index.to_string());
                entry.receipt_handle(&receipt.0).visibility_timeout(seconds(*visibility)).build()
            });
            let Ok(entries) = entries.collect() else { unreachable!("both fields are set") };
            let request = self.client.change_message_visibility_batch();
            let request = request.queue_url(&self.url).set_entries(Some(entries));
            let answer = request.send().await?;
            Ok((answer.successful.into_iter().map(|entry| (entry.id, ())).collect(), answer.failed))
        })
        .await
    }

    async fn send(&self, messages: &[OutgoingMessage]) -> Vec<Result<String, QueueError>> {
        // An invalid message could make SQS refuse its whole batch.
        let refused: Vec<_> = messages.iter().map(|message| message.fits(self.fifo).err()).collect();
        let fitting: Vec<OutgoingMessage> = messages
            .iter()
            .zip(&refused)
            .filter(|(_, refused)| refused.is_none())
            .map(|(message, _)| message.clone())
            .collect();
        let sent = self.send_to(&self.url, &fitting, OutgoingMessage::billed_bytes, convert::entry).await;
        let mut sent = sent.into_iter();
        let unanswered = || Err(QueueError::Unavailable("the service gave no answer".into()));
        refused
            .into_iter()
            .map(|refused| match refused {
                Some(why) => Err(QueueError::InvalidMessage(why.into())),
                None => sent.next().unwrap_or_else(unanswered),
            })
            .collect()
    }
}

impl SqsQueue {
    /// Receives messages, and hides them for `visibility`.
    async fn receive_messages(
        &self,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<SqsMessage>, QueueError> {
        // SQS takes whole seconds. Zero is a short poll, which asks only some of its hosts.
        let wait = match wait {
            Duration::ZERO => wait,
            wait => Duration::from_secs(wait.min(LONGEST_WAIT).as_secs().max(1)),
        };
        let mut request = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(max.clamp(1, MAX_BATCH) as i32)
            .wait_time_seconds(wait.as_secs() as i32)
            .visibility_timeout(seconds(visibility))
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All");
        if self.fifo {
            // With the same attempt id, a retry gets the messages of a lost response.
            let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
            request = request.receive_request_attempt_id(format!("{:016x}-{attempt}", self.process));
        }
        let answer = request.send().await;
        let answer = answer.map_err(|error| queue_error(Failure::from(error)))?;
        Ok(answer.messages.unwrap_or_default())
    }

    /// Sends messages to the queue with this URL, each independently, and returns their IDs.
    async fn send_to<T: Sync>(
        &self,
        url: &str,
        messages: &[T],
        billed_bytes: fn(&T) -> usize,
        entry: impl Fn(usize, &T) -> SendMessageBatchRequestEntry + Send + Sync,
    ) -> Vec<Result<String, QueueError>> {
        let mut answers = Vec::with_capacity(messages.len());
        for batch in batches(messages, billed_bytes) {
            let entries = batch.iter().enumerate().map(|(index, message)| entry(index, message)).collect();
            let request = self.client.send_message_batch().queue_url(url).set_entries(Some(entries));
            let answer = request.send().await.map(|answer| {
                let sent = answer.successful.into_iter().map(|entry| (entry.id, entry.message_id));
                (sent.collect(), answer.failed)
            });
            answers.extend(answer::entries(batch.len(), answer::send_error, answer));
        }
        answers
    }
}

/// Returns a visibility as SQS takes it, in whole seconds. Rounded up, so that no message becomes visible too early.
fn seconds(visibility: Duration) -> i32 {
    visibility.min(MAX_VISIBILITY).as_millis().div_ceil(1000) as i32
}

/// Sends a batch call for every ten entries, and returns the result for each entry.
async fn settled<'a, T, E, Call>(
    entries: &'a [T],
    call: impl Fn(&'a [T]) -> Call,
) -> Vec<Result<(), QueueError>>
where
    E: Operation,
    Call: Future<Output = Result<Answer<()>, SdkError<E, HttpResponse>>>,
{
    let mut answers = Vec::with_capacity(entries.len());
    for batch in entries.chunks(MAX_BATCH) {
        answers.extend(answer::entries(batch.len(), receipt_error, call(batch).await));
    }
    answers
}

/// Returns the URL of a queue, and looks it up if the address has none.
async fn url(client: &Client, address: Address) -> Result<String, QueueError> {
    if let Some(url) = address.url {
        return Ok(url);
    }
    let request = client.get_queue_url().queue_name(address.name);
    let request = request.set_queue_owner_aws_account_id(address.account);
    let answer = request.send().await;
    let answer = answer.map_err(|error| queue_error(Failure::from(error)))?;
    answer.queue_url.ok_or_else(|| QueueError::NotFound("the service names no URL for it".into()))
}
