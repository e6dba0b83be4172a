//! A real SQS server that is fast enough for benchmarks (fauxqs), and queues on it.

use crate::packages::Packages;
use crate::program::{free_address, until};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{QueueAttributeName as Attribute, SendMessageBatchRequestEntry};
use aws_smithy_http_client::{Builder, tls};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use wasmrun_runtime::model::message::MAX_BATCH;

/// The server. Killed when dropped.
pub struct Server {
    child: Child,
    /// Its URL.
    pub endpoint: String,
}

impl Server {
    /// Starts a server that only this machine reaches.
    pub fn start(packages: &Packages) -> Self {
        let address = free_address();
        let mut command = packages.node("src/fauxqs/server.mjs");
        let child = command.arg(address.port().to_string()).stdin(Stdio::null()).spawn();
        let server = Self { child: child.expect("node"), endpoint: format!("http://{address}") };
        until("the start of the server", || TcpStream::connect(address).is_ok());
        server
    }

    /// Adds to the environment what a program needs to find the server.
    pub fn in_environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_DEFAULT_REGION", "eu-west-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The AWS SDK for Rust, which fills and inspects queues.
pub struct Sqs {
    /// The client of the SDK.
    pub client: Client,
}

impl Sqs {
    /// A client of the server at this URL.
    pub fn at(endpoint: &str) -> Self {
        let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(Builder::new().tls_provider(provider).build_https())
            .credentials_provider(Credentials::new("test", "test", None, None, "benchmark"))
            .region(Region::new("eu-west-1"))
            .endpoint_url(endpoint);
        Self { client: Client::from_conf(config.build()) }
    }

    /// Creates a queue with messages in it, and returns its URL.
    pub async fn filled(&self, name: &str, body: &str, messages: usize) -> String {
        let queue = self.client.create_queue().queue_name(name).send().await.expect("a queue");
        let url = queue.queue_url.expect("a URL");
        self.fill(&url, body, messages).await;
        url
    }

    /// Sends messages with this body.
    pub async fn fill(&self, url: &str, body: &str, messages: usize) {
        let entries: Vec<_> = (0..MAX_BATCH)
            .map(|index| SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(body))
            .map(|entry| entry.build().expect("all fields"))
            .collect();
        for _ in 0..messages / MAX_BATCH {
            let request = self.client.send_message_batch().queue_url(url).set_entries(Some(entries.clone()));
            request.send().await.expect("sent");
        }
    }

    /// Whether the queue has no message, visible or in flight.
    pub async fn is_empty(&self, url: &str) -> bool {
        let names =
            [Attribute::ApproximateNumberOfMessages, Attribute::ApproximateNumberOfMessagesNotVisible];
        let request =
            self.client.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.into()));
        let attributes = request.send().await.expect("attributes").attributes.unwrap_or_default();
        attributes.values().all(|count| count == "0")
    }
}
