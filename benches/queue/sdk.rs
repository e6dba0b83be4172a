//! Amazon's SDK for Rust: filling queues, and the loop that does nothing but receive and delete.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, QueueAttributeName as Attribute, SendMessageBatchRequestEntry,
};
use aws_smithy_http_client::{Builder, tls};
use tokio::task::JoinSet;

const BATCH: usize = 10;
/// Loops beside each other, so that the server and the two cores have something to do.
const LOOPS: usize = 4;

pub(crate) struct Sqs {
    client: Client,
}

impl Sqs {
    pub(crate) fn at(endpoint: &str) -> Self {
        let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(Builder::new().tls_provider(provider).build_https())
            .credentials_provider(Credentials::new("test", "test", None, None, "benchmark"))
            .region(Region::new("eu-west-1"))
            .endpoint_url(endpoint);
        Self { client: Client::from_conf(config.build()) }
    }

    /// Creates a queue with so many messages in it, and returns its URL, which is where the server is.
    pub(crate) async fn filled(&self, name: &str, messages: usize) -> String {
        let queue = self.client.create_queue().queue_name(name).send().await.expect("a queue");
        let url = queue.queue_url.expect("a URL");
        let entries: Vec<_> = (0..BATCH)
            .map(|index| SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body("x"))
            .map(|entry| entry.build().expect("all fields"))
            .collect();
        for _ in 0..messages / BATCH {
            let request = self.client.send_message_batch().queue_url(&url).set_entries(Some(entries.clone()));
            request.send().await.expect("sent");
        }
        url
    }

    /// Sends one message.
    pub(crate) async fn send(&self, url: &str) {
        self.client.send_message().queue_url(url).message_body("x").send().await.expect("sent");
    }

    pub(crate) async fn is_empty(&self, url: &str) -> bool {
        let names =
            [Attribute::ApproximateNumberOfMessages, Attribute::ApproximateNumberOfMessagesNotVisible];
        let request =
            self.client.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.into()));
        let attributes = request.send().await.expect("attributes").attributes.unwrap_or_default();
        attributes.values().all(|count| count == "0")
    }
}

/// Receives and deletes until it's killed.
pub(crate) async fn bare_loop(url: &str) {
    let sqs = Sqs::at(&std::env::var("AWS_ENDPOINT_URL").expect("an endpoint"));
    let mut loops = JoinSet::new();
    for _ in 0..LOOPS {
        let (client, url) = (sqs.client.clone(), url.to_owned());
        loops.spawn(async move {
            loop {
                let request = client.receive_message().queue_url(&url).max_number_of_messages(BATCH as i32);
                let messages = request.wait_time_seconds(20).send().await.expect("messages").messages;
                let entries: Vec<_> = messages
                    .unwrap_or_default()
                    .into_iter()
                    .enumerate()
                    .map(|(index, message)| {
                        let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
                        entry.set_receipt_handle(message.receipt_handle).build().expect("all fields")
                    })
                    .collect();
                if !entries.is_empty() {
                    let request = client.delete_message_batch().queue_url(&url).set_entries(Some(entries));
                    request.send().await.expect("deleted");
                }
            }
        });
    }
    loops.join_next().await;
}
