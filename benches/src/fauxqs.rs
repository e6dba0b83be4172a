//! A real server of SQS that is fast enough for benchmarks (fauxqs), and queues on it.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{QueueAttributeName as Attribute, SendMessageBatchRequestEntry};
use aws_smithy_http_client::{Builder, tls};
use std::env;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::guests;

/// Where `cargo xtask bench` has put the packages of npm and PyPI.
const PACKAGES: &str = "WASMRUN_BENCH_SERVERS";
const BATCH: usize = 10;
const LOOK_EVERY: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(30);

/// A port of this machine that nobody listens on.
///
/// # Panics
///
/// There is none.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

/// What `cargo xtask bench` installs for the benchmarks that need it.
pub struct Packages {
    /// A folder of npm.
    pub node: PathBuf,
    /// The interpreter of an environment of PyPI's packages.
    pub python: PathBuf,
}

impl Packages {
    /// `None`: they aren't installed.
    pub fn find() -> Option<Self> {
        let folder = PathBuf::from(env::var_os(PACKAGES)?);
        Some(Self { node: folder.join("node"), python: folder.join("python/bin/python") })
    }
}

/// The server, and where it is. Ended when dropped.
pub struct Server {
    child: Child,
    /// Its URL.
    pub endpoint: String,
}

impl Server {
    /// Starts one, on this machine alone.
    ///
    /// # Panics
    ///
    /// It doesn't start.
    pub fn start(packages: &Packages) -> Self {
        let port = free_port();
        // Packages are found beside the script.
        let script = packages.node.join("server.mjs");
        std::fs::copy(guests::repository().join("benches/src/fauxqs/server.mjs"), &script).expect("a script");
        let child = Command::new("node").arg(script).arg(port.to_string()).stdin(Stdio::null()).spawn();
        let server =
            Self { child: child.expect("node starts"), endpoint: format!("http://127.0.0.1:{port}") };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < PATIENCE, "the server doesn't listen");
            std::thread::sleep(LOOK_EVERY);
        }
        server
    }

    /// What a program needs in its environment to find it.
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

/// Amazon's SDK for Rust, which fills queues and looks at them.
pub struct Sqs {
    /// Of the SDK.
    pub client: Client,
}

impl Sqs {
    /// For the server there.
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

    /// Creates a queue, and returns its URL, which is where the server is.
    pub async fn create(&self, name: &str) -> String {
        let queue = self.client.create_queue().queue_name(name).send().await.expect("a queue");
        queue.queue_url.expect("a URL")
    }

    /// Sends so many messages with this body.
    pub async fn fill(&self, url: &str, body: &str, messages: usize) {
        let entries: Vec<_> = (0..BATCH)
            .map(|index| SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(body))
            .map(|entry| entry.build().expect("all fields"))
            .collect();
        for _ in 0..messages / BATCH {
            let request = self.client.send_message_batch().queue_url(url).set_entries(Some(entries.clone()));
            request.send().await.expect("sent");
        }
    }

    /// Sends one message.
    pub async fn send(&self, url: &str) {
        self.client.send_message().queue_url(url).message_body("x").send().await.expect("sent");
    }

    /// Whether nothing is in it or under way.
    pub async fn is_empty(&self, url: &str) -> bool {
        let names =
            [Attribute::ApproximateNumberOfMessages, Attribute::ApproximateNumberOfMessagesNotVisible];
        let request =
            self.client.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.into()));
        let attributes = request.send().await.expect("attributes").attributes.unwrap_or_default();
        attributes.values().all(|count| count == "0")
    }
}
