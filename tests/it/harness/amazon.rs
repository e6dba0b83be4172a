//! A server that stands in for Amazon's, on this machine alone, and what a test does with it.

use super::{Command, Process, scratch, wait_until};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::QueueAttributeName;
use aws_smithy_http_client::{Builder, tls};
use std::collections::HashMap;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const REGION: &str = "eu-west-1";
/// What the server's name for "nobody in particular" is.
pub(crate) const ACCOUNT: &str = "000000000000";

/// SQS and S3 of a server of its own: ministack. Ended with the test.
pub(crate) struct Amazon {
    pub(crate) endpoint: String,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) s3: aws_sdk_s3::Client,
    runtime: Runtime,
    _server: Process,
    _directory: TempDir,
}

impl Amazon {
    /// `None`: it isn't installed here, and the test says that it's skipped.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = program("ministack") else {
            assert!(std::env::var_os("WASMRUN_SKIP_NOTHING").is_none(), "ministack isn't installed");
            println!("Skipped: ministack isn't installed (cargo xtask test does that, with Python).");
            return None;
        };
        // Somebody else may take it in between, but hardly does.
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let directory = tempfile::tempdir_in(scratch()).expect("a directory");
        let server = Command::new(program, directory.path())
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("LOG_LEVEL", "WARNING")
            .start();
        wait_until("the server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        let endpoint = format!("http://127.0.0.1:{port}");
        let credentials = Credentials::new("test", "test", None, None, "tests");
        let http = || {
            let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
            Builder::new().tls_provider(provider).build_https()
        };
        let sqs = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(http())
            .credentials_provider(credentials.clone())
            .region(Region::new(REGION))
            .endpoint_url(&endpoint);
        let s3 = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(http())
            .credentials_provider(credentials)
            .region(Region::new(REGION))
            .force_path_style(true)
            .endpoint_url(&endpoint);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Some(Self {
            endpoint,
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            runtime: runtime.expect("threads"),
            _server: server,
            _directory: directory,
        })
    }

    /// What a program needs in its environment to use it.
    pub(crate) fn environment(&self, command: Command) -> Command {
        command
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", REGION)
            .env("AWS_EC2_METADATA_DISABLED", "true")
    }

    pub(crate) fn wait<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    /// Creates a queue whose messages go to the queue `dead` after so many receives. Returns its URL.
    pub(crate) fn create_queue(&self, name: &str, visibility_seconds: u32, max_receives: u32) -> String {
        self.wait(async {
            self.sqs.create_queue().queue_name("dead").send().await.expect("a queue");
            let dead = arn("dead");
            let policy = format!(r#"{{"deadLetterTargetArn":"{dead}","maxReceiveCount":"{max_receives}"}}"#);
            let created = self
                .sqs
                .create_queue()
                .queue_name(name)
                .attributes(QueueAttributeName::VisibilityTimeout, visibility_seconds.to_string())
                .attributes(QueueAttributeName::RedrivePolicy, policy)
                .send()
                .await;
            created.expect("a queue").queue_url.expect("a URL")
        })
    }

    pub(crate) fn send(&self, url: &str, body: &str) {
        let sent = self.wait(self.sqs.send_message().queue_url(url).message_body(body).send());
        sent.expect("sent");
    }

    /// Visible, in flight, and delayed.
    pub(crate) fn depth(&self, url: &str) -> [u64; 3] {
        let request = self.sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
        let attributes = self.wait(request.send()).expect("attributes").attributes.expect("attributes");
        [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ]
        .map(|name| attributes[&name].parse().expect("a number"))
    }

    /// The bodies in a queue and their attributes, which are received by this.
    pub(crate) fn receive(&self, url: &str) -> Vec<(String, HashMap<String, String>)> {
        let request = self.sqs.receive_message().queue_url(url).max_number_of_messages(10);
        let answer = self.wait(request.message_attribute_names("All").send()).expect("messages");
        let messages = answer.messages.unwrap_or_default().into_iter();
        let text = |value: aws_sdk_sqs::types::MessageAttributeValue| value.string_value.unwrap_or_default();
        messages
            .map(|message| {
                let attributes = message.message_attributes.unwrap_or_default().into_iter();
                let attributes = attributes.map(|(name, value)| (name, text(value))).collect();
                (message.body.unwrap_or_default(), attributes)
            })
            .collect()
    }

    pub(crate) fn create_bucket(&self, bucket: &str) {
        use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
        let place = CreateBucketConfiguration::builder();
        let place = place.location_constraint(BucketLocationConstraint::from(REGION)).build();
        let request = self.s3.create_bucket().bucket(bucket).create_bucket_configuration(place);
        self.wait(request.send()).expect("a bucket");
    }

    /// The bucket tells the queue of each object that is created in it.
    pub(crate) fn notify(&self, bucket: &str, queue: &str) {
        use aws_sdk_s3::types::{Event, NotificationConfiguration, QueueConfiguration};
        let queue = QueueConfiguration::builder().queue_arn(arn(queue)).events(Event::S3ObjectCreated);
        let configuration = NotificationConfiguration::builder()
            .queue_configurations(queue.build().expect("all fields"))
            .build();
        let request = self.s3.put_bucket_notification_configuration().bucket(bucket);
        self.wait(request.notification_configuration(configuration).send()).expect("set");
    }

    pub(crate) fn put(&self, bucket: &str, key: &str, content: impl Into<Vec<u8>>) {
        let request = self.s3.put_object().bucket(bucket).key(key).body(ByteStream::from(content.into()));
        self.wait(request.send()).expect("put");
    }

    /// Content and media type; `None`: there is no such object.
    pub(crate) fn get(&self, bucket: &str, key: &str) -> Option<(Vec<u8>, Option<String>)> {
        self.wait(async {
            let answer = self.s3.get_object().bucket(bucket).key(key).send().await.ok()?;
            let content_type = answer.content_type.clone();
            Some((answer.body.collect().await.expect("its content").to_vec(), content_type))
        })
    }

    pub(crate) fn keys(&self, bucket: &str) -> Vec<String> {
        let answer = self.wait(self.s3.list_objects_v2().bucket(bucket).send()).expect("a list");
        answer.contents.unwrap_or_default().into_iter().filter_map(|object| object.key).collect()
    }

    /// Uploads in parts that nobody has ended.
    pub(crate) fn unfinished(&self, bucket: &str) -> usize {
        let answer = self.wait(self.s3.list_multipart_uploads().bucket(bucket).send()).expect("a list");
        answer.uploads.unwrap_or_default().len()
    }
}

pub(crate) fn arn(queue: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}")
}

/// One of those that `cargo xtask test` installs.
fn program(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("WASMRUN_SERVERS")?).join(name);
    path.is_file().then_some(path)
}
