//! Local stand-ins for SQS and S3, and the calls that tests make to them.

use super::{Command, Process, World, free_port, program, scratch, wait_until};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::QueueAttributeName;
use aws_smithy_http_client::{Builder, tls};
use std::collections::HashMap;
use std::path::Path;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const REGION: &str = "eu-west-1";
/// Account ID that the servers use in ARNs.
pub(crate) const ACCOUNT: &str = "000000000000";

/// Clients for a server of SQS, S3 or both, which is started for one test and stopped with it.
pub(crate) struct Amazon {
    pub(crate) endpoint: String,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) s3: aws_sdk_s3::Client,
    runtime: Runtime,
    _server: Process,
    _directory: TempDir,
}

impl Amazon {
    /// Starts ministack: SQS, S3 and the notifications of a bucket to a queue. Prints that the test is skipped and
    /// returns `None` if ministack isn't installed.
    pub(crate) fn start() -> Option<Self> {
        Self::with("ministack", |command, port, _| {
            command
                .env("BIND_HOST", "127.0.0.1")
                .env("MINISTACK_HOST", "127.0.0.1")
                .env("GATEWAY_PORT", port.to_string())
                .env("LOG_LEVEL", "WARNING")
        })
    }

    /// Starts ministack with [what workers need](Self::create_jobs). Returns a world for them, the server and the URL of
    /// the queue.
    #[track_caller]
    pub(crate) fn with_jobs(visibility_seconds: u32, max_receives: u32) -> Option<(World, Self, String)> {
        let amazon = Self::start()?;
        let queue = amazon.create_jobs(visibility_seconds, max_receives);
        Some((World::new(), amazon, queue))
    }

    /// Creates the queue `jobs`, with its dead-letter queue, and the buckets `bucket-in` and `bucket-out`. Returns the URL
    /// of the queue.
    #[track_caller]
    pub(crate) fn create_jobs(&self, visibility_seconds: u32, max_receives: u32) -> String {
        self.create_buckets();
        self.create_queue("jobs", visibility_seconds, max_receives)
    }

    /// Creates the buckets `bucket-in` and `bucket-out`.
    #[track_caller]
    pub(crate) fn create_buckets(&self) {
        for bucket in ["bucket-in", "bucket-out"] {
            self.create_bucket(bucket);
        }
    }

    /// Starts moto: SQS and S3 for small loads, and STS.
    pub(crate) fn moto() -> Option<Self> {
        Self::with("moto_server", |command, port, _| {
            command.args(["-H", "127.0.0.1", "-p", &port.to_string()])
        })
    }

    /// Starts SeaweedFS: an S3 server that refuses requests that aren't signed with its secret.
    pub(crate) fn seaweed() -> Option<Self> {
        let amazon = Self::with("weed", |command, port, directory| {
            let identity = r#"{"identities":[{"name":"t","credentials":[{"accessKey":"test","secretKey":"test"}],"actions":["Admin","Read","Write","List","Tagging"]}]}"#;
            std::fs::write(directory.join("s3.json"), identity).expect("written");
            std::fs::create_dir(directory.join("data")).expect("a directory");
            let [master, volume, filer] = [(); 3].map(|()| free_port());
            command
                .args([
                    "server",
                    "-ip=127.0.0.1",
                    "-ip.bind=127.0.0.1",
                    "-dir=data",
                    "-s3",
                    "-s3.config=s3.json",
                ])
                .args(["-volume.max=0", "-master.volumeSizeLimitMB=64", "-volume.preStopSeconds=0"])
                .arg(format!("-s3.port={port}"))
                .arg(format!("-master.port={master}"))
                .arg(format!("-volume.port={volume}"))
                .arg(format!("-filer.port={filer}"))
        })?;
        // SeaweedFS listens long before it can serve requests.
        wait_until("a bucket can be created", || amazon.tries_to_create("ready"));
        Some(amazon)
    }

    fn with(name: &str, command: impl FnOnce(Command, u16, &Path) -> Command) -> Option<Self> {
        let program = program(name)?;
        let port = free_port();
        let directory = tempfile::tempdir_in(scratch()).expect("a directory");
        let server = command(Command::new(program, directory.path()), port, directory.path());
        let server = server.start_server(port);
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

    /// Adds the credentials, region and endpoint of this server to a command's environment.
    pub(crate) fn environment(&self, command: Command) -> Command {
        signed(command).env("AWS_ENDPOINT_URL", &self.endpoint)
    }

    pub(crate) fn wait<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    /// Creates a queue that moves a message to the queue `dead` after `max_receives` receives. Returns its URL.
    pub(crate) fn create_queue(&self, name: &str, visibility_seconds: u32, max_receives: u32) -> String {
        self.wait(async {
            let dead = self.sqs.create_queue().queue_name("dead").send().await.expect("a queue");
            let dead = self.arn_of(&dead.queue_url.expect("a URL")).await;
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

    /// Asks the server for a queue's ARN, as each server uses an account of its own.
    async fn arn_of(&self, url: &str) -> String {
        let request = self.sqs.get_queue_attributes().queue_url(url);
        let answer = request.attribute_names(QueueAttributeName::QueueArn).send().await;
        answer.expect("attributes").attributes.expect("attributes")[&QueueAttributeName::QueueArn].clone()
    }

    pub(crate) fn send(&self, url: &str, body: &str) {
        self.send_with(url, body, &[]);
    }

    /// Sends a message with attributes, each with its name, type and value. Returns its ID.
    pub(crate) fn send_with(&self, url: &str, body: &str, attributes: &[(&str, &str, &str)]) -> String {
        use aws_sdk_sqs::types::MessageAttributeValue;
        let request = self.sqs.send_message().queue_url(url).message_body(body);
        let request = attributes.iter().fold(request, |request, (name, kind, text)| {
            let value = MessageAttributeValue::builder().data_type(*kind).string_value(*text).build();
            request.message_attributes(*name, value.expect("a type"))
        });
        self.wait(request.send()).expect("sent").message_id.expect("an ID")
    }

    /// Sends messages in batches of ten.
    pub(crate) fn send_all(&self, url: &str, bodies: impl Iterator<Item = String>) {
        self.send_all_with(url, "", bodies.map(|body| (body, String::new())));
    }

    /// Sends messages in batches of ten, each with its own value of an attribute, unless the value is empty.
    pub(crate) fn send_all_with(
        &self,
        url: &str,
        attribute: &str,
        messages: impl Iterator<Item = (String, String)>,
    ) {
        use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
        let value = |text: String| {
            let value = MessageAttributeValue::builder().data_type("String").string_value(text).build();
            [(attribute.to_owned(), value.expect("a type"))].into()
        };
        let entry = |(index, (body, text)): (usize, (String, String))| {
            let entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(body);
            let attributes = (!text.is_empty()).then(|| value(text));
            entry.set_message_attributes(attributes).build().expect("all fields")
        };
        let entries: Vec<_> = messages.enumerate().map(entry).collect();
        for batch in entries.chunks(10) {
            let request = self.sqs.send_message_batch().queue_url(url).set_entries(Some(batch.to_vec()));
            let answer = self.wait(request.send()).expect("sent");
            assert_eq!(answer.successful.len(), batch.len());
        }
    }

    /// Receives all visible messages and returns the receive count of each, including this receive.
    pub(crate) fn receive_counts(&self, url: &str) -> Vec<u32> {
        use aws_sdk_sqs::types::MessageSystemAttributeName::ApproximateReceiveCount;
        let mut counts = Vec::new();
        loop {
            let request = self.sqs.receive_message().queue_url(url).max_number_of_messages(10);
            let request = request.message_system_attribute_names(ApproximateReceiveCount);
            let messages = self.wait(request.send()).expect("messages").messages.unwrap_or_default();
            if messages.is_empty() {
                return counts;
            }
            counts.extend(messages.into_iter().map(|message| {
                let attributes = message.attributes.expect("attributes");
                attributes[&ApproximateReceiveCount].parse::<u32>().expect("a number")
            }));
        }
    }

    /// Host and port of the server.
    pub(crate) fn address(&self) -> &str {
        self.endpoint.trim_start_matches("http://")
    }

    /// Number of visible, in-flight and delayed messages.
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

    /// URL of a queue of ministack.
    pub(crate) fn url(&self, queue: &str) -> String {
        format!("{}/{ACCOUNT}/{queue}", self.endpoint)
    }

    /// Receives up to ten messages of the dead-letter queue of ministack, as [`Self::receive`] does.
    pub(crate) fn dead_letters(&self) -> Vec<(String, HashMap<String, String>)> {
        self.receive(&self.url("dead"))
    }

    /// Receives up to ten messages and returns their bodies and attributes.
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

    #[track_caller]
    pub(crate) fn create_bucket(&self, bucket: &str) {
        assert!(self.tries_to_create(bucket), "{bucket} cannot be created");
    }

    fn tries_to_create(&self, bucket: &str) -> bool {
        use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
        let place = CreateBucketConfiguration::builder();
        let place = place.location_constraint(BucketLocationConstraint::from(REGION)).build();
        let request = self.s3.create_bucket().bucket(bucket).create_bucket_configuration(place);
        self.wait(request.send()).is_ok()
    }

    /// Waits until a queue has this number of visible messages, such as notifications of a bucket.
    #[track_caller]
    pub(crate) fn wait_for_messages(&self, url: &str, messages: u64) {
        wait_until("the messages are there", || self.depth(url)[0] >= messages);
    }

    /// Makes the bucket notify the queue of each object created in it.
    pub(crate) fn notify(&self, bucket: &str, queue: &str) {
        self.notify_if(bucket, queue, None);
    }

    fn notify_if(
        &self,
        bucket: &str,
        queue: &str,
        filter: Option<aws_sdk_s3::types::NotificationConfigurationFilter>,
    ) {
        use aws_sdk_s3::types::{Event, NotificationConfiguration, QueueConfiguration};
        let arn = self.wait(async {
            let found = self.sqs.get_queue_url().queue_name(queue).send().await.expect("a queue");
            self.arn_of(&found.queue_url.expect("a URL")).await
        });
        let queue = QueueConfiguration::builder().queue_arn(arn).events(Event::S3ObjectCreated);
        let queue = queue.set_filter(filter);
        let configuration = NotificationConfiguration::builder()
            .queue_configurations(queue.build().expect("all fields"))
            .build();
        let request = self.s3.put_bucket_notification_configuration().bucket(bucket);
        self.wait(request.notification_configuration(configuration).send()).expect("set");
    }

    /// Makes the bucket notify the queue of each created object whose key has this prefix.
    pub(crate) fn notify_of(&self, bucket: &str, prefix: &str, queue: &str) {
        use aws_sdk_s3::types::{FilterRule, FilterRuleName, NotificationConfigurationFilter, S3KeyFilter};
        let rule = FilterRule::builder().name(FilterRuleName::Prefix).value(prefix).build();
        let filter = S3KeyFilter::builder().filter_rules(rule).build();
        self.notify_if(bucket, queue, Some(NotificationConfigurationFilter::builder().key(filter).build()));
    }

    /// Enables versioning of the bucket.
    pub(crate) fn keep_versions(&self, bucket: &str) {
        use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
        let versioning = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let request = self.s3.put_bucket_versioning().bucket(bucket).versioning_configuration(versioning);
        self.wait(request.send()).expect("set");
    }

    /// Puts an object and returns its version.
    pub(crate) fn put_version(&self, bucket: &str, key: &str, content: impl Into<Vec<u8>>) -> String {
        let request = self.s3.put_object().bucket(bucket).key(key).body(ByteStream::from(content.into()));
        self.wait(request.send()).expect("put").version_id.expect("a version")
    }

    pub(crate) fn put(&self, bucket: &str, key: &str, content: impl Into<Vec<u8>>) {
        let request = self.s3.put_object().bucket(bucket).key(key).body(ByteStream::from(content.into()));
        self.wait(request.send()).expect("put");
    }

    /// Content and media type of an object. Returns `None` if there is no such object.
    pub(crate) fn get(&self, bucket: &str, key: &str) -> Option<(Vec<u8>, Option<String>)> {
        self.wait(async {
            let answer = self.s3.get_object().bucket(bucket).key(key).send().await.ok()?;
            let content_type = answer.content_type.clone();
            Some((answer.body.collect().await.expect("its content").to_vec(), content_type))
        })
    }

    pub(crate) fn keys(&self, bucket: &str) -> Vec<String> {
        self.wait(async {
            let (mut keys, mut next) = (Vec::new(), None);
            loop {
                let request = self.s3.list_objects_v2().bucket(bucket).set_continuation_token(next);
                let answer = request.send().await.expect("a list");
                keys.extend(answer.contents.unwrap_or_default().into_iter().filter_map(|object| object.key));
                next = answer.next_continuation_token;
                if next.is_none() {
                    return keys;
                }
            }
        })
    }

    /// Number of multipart uploads that were neither completed nor aborted.
    pub(crate) fn unfinished(&self, bucket: &str) -> usize {
        let answer = self.wait(self.s3.list_multipart_uploads().bucket(bucket).send()).expect("a list");
        answer.uploads.unwrap_or_default().len()
    }
}

pub(crate) fn arn(queue: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}")
}

/// Sets credentials and a region, but no endpoint, and disables the instance metadata service.
pub(crate) fn signed(command: Command) -> Command {
    command
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", REGION)
        .env("AWS_EC2_METADATA_DISABLED", "true")
}
