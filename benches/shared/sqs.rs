//! A real SQS server that is fast enough for benchmarks (fauxqs), and queues on it.

use super::packages::Packages;
use super::program::{Killed, free_address, until};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{QueueAttributeName as Attribute, SendMessageBatchRequestEntry};
use aws_smithy_http_client::{Builder, tls};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use tokio::runtime::Runtime;
use wasmrun_runtime::model::message::MAX_BATCH;

/// The variable that names the server to a child process.
const ENDPOINT: &str = "AWS_ENDPOINT_URL";

/// The server, with a client of the AWS SDK for Rust, which fills and inspects queues.
pub(crate) struct Server {
    _process: Killed,
    endpoint: String,
    pub(crate) client: Client,
    pub(crate) runtime: Runtime,
}

impl Server {
    /// Starts a server that only this machine reaches.
    pub(crate) fn start(packages: &Packages) -> Self {
        let address = free_address();
        let mut node = packages.node("shared/fauxqs.mjs");
        let process = Killed::start(node.arg(address.port().to_string()).stdin(Stdio::null()));
        until("the start of the server", || TcpStream::connect(address).is_ok());
        let endpoint = format!("http://{address}");
        let (client, runtime) = (client(&endpoint), Runtime::new().expect("threads"));
        Self { _process: process, endpoint, client, runtime }
    }

    /// Adds to the environment what a program needs to find the server.
    pub(crate) fn in_environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env(ENDPOINT, &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_DEFAULT_REGION", "eu-west-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
    }

    /// Creates an empty queue, and returns its URL.
    pub(crate) fn queue(&self, name: &str) -> String {
        let queue = self.runtime.block_on(self.client.create_queue().queue_name(name).send());
        queue.expect("a queue").queue_url.expect("a URL")
    }

    /// Sends messages with this body.
    pub(crate) fn fill(&self, url: &str, body: &str, messages: usize) {
        let entries: Vec<_> = (0..MAX_BATCH)
            .map(|index| SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(body))
            .map(|entry| entry.build().expect("all fields"))
            .collect();
        for _ in 0..messages / MAX_BATCH {
            let request = self.client.send_message_batch().queue_url(url).set_entries(Some(entries.clone()));
            self.runtime.block_on(request.send()).expect("sent");
        }
    }

    /// Whether the queue has no message, visible or in flight.
    pub(crate) fn is_empty(&self, url: &str) -> bool {
        let names =
            [Attribute::ApproximateNumberOfMessages, Attribute::ApproximateNumberOfMessagesNotVisible];
        let request =
            self.client.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.into()));
        let attributes = self.runtime.block_on(request.send()).expect("attributes").attributes;
        attributes.unwrap_or_default().values().all(|count| count == "0")
    }
}

/// The server's URL, in the environment of a child process.
pub(crate) fn endpoint() -> String {
    std::env::var(ENDPOINT).expect("an endpoint")
}

/// A client of the server at this URL.
pub(crate) fn client(endpoint: &str) -> Client {
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(Builder::new().tls_provider(provider).build_https())
        .credentials_provider(Credentials::new("test", "test", None, None, "benchmark"))
        .region(Region::new("eu-west-1"))
        .endpoint_url(endpoint);
    Client::from_conf(config.build())
}
