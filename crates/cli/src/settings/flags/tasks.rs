//! Flags of `run`, `serve`, `invoke` and `replay`.

use super::walks::WalkArgs;
use crate::settings::aws::AwsSettings;
use crate::settings::command::CommandArgs;
use crate::settings::engine::EngineSettings;
use crate::settings::grants::GrantArgs;
use crate::settings::limit_flags::LimitSettings;
use crate::settings::log::LogSettings;
use crate::settings::queues::QueueSetting;
use crate::settings::registry::RegistrySettings;
use crate::settings::serve::ServeSettings;
use crate::settings::text::typed;
use crate::settings::watch::{CollectorUrl, WatchSettings};
use crate::settings::worker::WorkerSettings;
use bytesize::ByteSize;
use clap::Args;
use std::path::PathBuf;
use std::time::SystemTime;
use wasmrun_runtime::model::key::KeySource;

/// Run a task for each message of a queue
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  wasmrun run thumbnail.wasm --queue sqlite:jobs.db \\
      --store input=dir:in:ro --store output=dir:out:rw
  wasmrun run thumbnail.wasm --queue sqlite:jobs.db \\
      --store input=dir:in:ro --store output=dir:out:rw --until-empty
  wasmrun run thumbnail.wasm \\
      --queue https://sqs.eu-west-1.amazonaws.com/123456789012/uploads \\
      --store input=s3://photos-in:ro --store output=s3://photos-out/thumbs:rw
  wasmrun run s3://components/thumbnail.wasm --queue uploads \\
      --store input=s3://photos-in:ro --store output=s3://photos-out:rw
  wasmrun run oci://ghcr.io/acme/thumbnail:1.2 --queue uploads \\
      --store input=s3://photos-in:ro --store output=s3://photos-out:rw
  wasmrun run --config wasmrun.toml --check
  wasmrun run --config wasmrun.toml --usage usage.jsonl
  wasmrun run --config wasmrun.toml --status 9464
  wasmrun run --config wasmrun.toml --status 0.0.0.0:9464 --emf Thumbnails

Exit codes: 0 success (messages may have been dead-lettered: the summary says so), 2 wrong usage or \
configuration, 3 a queue or a store can't be used, 4 ended as no task can complete.")]
pub(crate) struct RunArgs {
    /// Component: a .wasm file, s3://BUCKET/KEY (?version=ID or ?etag=ETAG pins its content), or
    /// oci://HOST/REPOSITORY:TAG (@sha256:DIGEST pins its content)
    #[arg(env = "WASMRUN_COMPONENT")]
    pub(crate) component: Option<PathBuf>,
    /// Queue: an SQS queue's URL, ARN or name; sqlite:PATH or sqlite:PATH#NAME. May be given up to 8 times: URL;strict
    /// comes before all others, which share messages by weight, from 1 to 1000: URL;weight=N
    #[arg(long, value_name = "URL", env = "WASMRUN_QUEUE", value_parser = typed::<QueueSetting>)]
    pub(crate) queue: Vec<QueueSetting>,
    /// Action for an outcome (retry, rejected, limit-exceeded, timed-out, trapped, expired): retry, dead-letter or
    /// drop
    #[arg(long, value_name = "OUTCOME=ACTION")]
    pub(crate) on: Vec<String>,
    /// Weight of a key of --key, from 1 to 1000: its share of the concurrency limit, compared with the shares of
    /// other keys; the key * stands for each key without a weight of its own [default: 1]
    #[arg(long, value_name = "KEY=N")]
    pub(crate) weight: Vec<String>,
    /// How much the tasks of a key of --key may use in a period: fuel:20G/1h, cpu:10m/1d, cost:2.50/30d (of a Fargate
    /// service, in the currency of --prices) or off; the key * stands for each other key. Needs --budget-store. off
    /// without a key: none of the budgets of variables and the file [default: no budgets]
    #[arg(long, value_name = "KEY=UNIT:AMOUNT/PERIOD")]
    pub(crate) budget: Vec<String>,
    #[command(flatten)]
    pub(crate) usage: UsageArgs,
    /// Check component, grants, queue, stores and limits, and exit
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    #[command(flatten)]
    pub(crate) worker: WorkerSettings,
    #[command(flatten)]
    pub(crate) watch: WatchSettings,
}

/// Answer HTTP requests, each with a task of its own
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  wasmrun serve hello.wasm
  wasmrun serve upload.wasm --listen 0.0.0.0:8080 --status 9464 \\
      --store uploads=s3://photos-in:wo --send jobs=uploads \\
      --env BUCKET=photos-in
  wasmrun serve oci://ghcr.io/acme/upload:1.2 --store uploads=dir:in:wo \\
      --send jobs=sqlite:jobs.db --env BUCKET=dir:$PWD/in \\
      --timeout 10s --instances 64
  wasmrun serve --config service.toml --check

Exit codes: 0 success, 2 wrong usage or configuration, 3 a store or a queue can't be used, or the address is \
in use.")]
pub(crate) struct ServeArgs {
    /// Component that exports wasi:http/incoming-handler: a .wasm file, s3://BUCKET/KEY or
    /// oci://HOST/REPOSITORY:TAG
    #[arg(env = "WASMRUN_COMPONENT")]
    pub(crate) component: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) serve: ServeSettings,
    #[command(flatten)]
    pub(crate) usage: UsageArgs,
    /// Check component, grants, stores and limits, and exit
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    #[command(flatten)]
    pub(crate) worker: WorkerSettings,
    #[command(flatten)]
    pub(crate) watch: WatchSettings,
}

/// Run one task without a queue
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wasmrun invoke forward.wasm --message 'hello' --send next=sqlite:next.db
  wasmrun invoke thumbnail.wasm --message @event.json --json \\
      --store input=dir:in:ro --store output=dir:out:rw
  wasmrun invoke upload.wasm --http 'PUT /cat.jpg' --message 'content' \\
      --store uploads=dir:in:wo --send jobs=sqlite:jobs.db \\
      --env BUCKET=dir:$PWD/in

Exit codes: 0 the task completed, 1 it failed, 2 wrong usage or configuration, 3 a store can't be used.")]
pub(crate) struct InvokeArgs {
    /// Component: a .wasm file, s3://BUCKET/KEY or oci://HOST/REPOSITORY:TAG
    #[arg(env = "WASMRUN_COMPONENT")]
    pub(crate) component: Option<PathBuf>,
    /// Body of the message, or of the request: text, @FILE, or - for standard input
    #[arg(long, short, value_name = "TEXT", required_unless_present = "http")]
    pub(crate) message: Option<String>,
    /// Let a service answer this HTTP request, and print its response: 'METHOD /PATH', or a path
    #[arg(long, value_name = "REQUEST", conflicts_with = "attribute")]
    pub(crate) http: Option<String>,
    /// Add a header to the request of --http
    #[arg(long, value_name = "NAME: VALUE", requires = "http")]
    pub(crate) header: Vec<String>,
    /// Add an attribute to the message
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) attribute: Vec<String>,
    /// Message group
    #[arg(long, value_name = "GROUP", conflicts_with = "http")]
    pub(crate) group: Option<String>,
    /// Find the message's key here, as `run --key` does: group, attribute:NAME, object-prefix:N or body:/json/pointer.
    /// It takes the place of {key} in the prefixes of stores
    #[arg(long, value_name = "SOURCE", env = "WASMRUN_KEY", value_parser = typed::<KeySource>)]
    pub(crate) key: Option<KeySource>,
    /// ID of the message: with --deterministic, it seeds random numbers
    #[arg(long, value_name = "ID", default_value = "invoke")]
    pub(crate) message_id: String,
    /// Time at which the message was sent, such as 2026-11-24T15:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) sent_at: Option<SystemTime>,
    /// Print outcome and usage as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Send the task's trace to this collector (OTLP over HTTP), with /v1/traces added [default: off]
    #[arg(long, value_name = "URL", value_parser = typed::<CollectorUrl>)]
    pub(crate) otlp: Option<CollectorUrl>,
    #[command(flatten)]
    pub(crate) task: TaskArgs,
}

/// Run the task of a dead letter again, without a worker
#[derive(Debug, Args)]
#[command(after_help = "\
With an ID that `queue list` printed:
  wasmrun replay sqlite:jobs.db#dead 0b9c4a52-7c6f-4a3e-9f0e-2d5d3c1f8a11 thumbnail.wasm \\
      --store input=dir:in:ro --store output=dir:scratch:rw

The task gets the message as its worker received it last. Its reads and writes are real: grant what the worker \
grants, and a scratch store for outputs. The dead letter stays in its queue; on SQS, looking at it counts as a \
receive.

Exit codes: 0 the task completed, 1 it failed, 2 wrong usage or configuration, 3 a queue or a store can't be used.")]
pub(crate) struct ReplayArgs {
    /// URL of the dead-letter queue
    #[arg(value_name = "DEAD_LETTER_QUEUE")]
    pub(crate) dead_letter_queue: String,
    /// ID of the dead letter, as `queue list` prints it
    pub(crate) id: String,
    /// Component: a .wasm file, s3://BUCKET/KEY or oci://HOST/REPOSITORY:TAG
    #[arg(env = "WASMRUN_COMPONENT")]
    pub(crate) component: Option<PathBuf>,
    /// Time at which the message was sent, such as 2026-11-24T15:00:00Z [default: that of the source message]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) sent_at: Option<SystemTime>,
    /// Print outcome and usage as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Find the message's key here, as `run --key` does: group, attribute:NAME, object-prefix:N or body:/json/pointer.
    /// It takes the place of {key} in the prefixes of stores
    #[arg(long, value_name = "SOURCE", env = "WASMRUN_KEY", value_parser = typed::<KeySource>)]
    pub(crate) key: Option<KeySource>,
    #[command(flatten)]
    pub(crate) walk: WalkArgs,
    #[command(flatten)]
    pub(crate) task: TaskArgs,
}

/// Where the usage of each task is recorded.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct UsageArgs {
    /// Append a JSON line for each task to this file: its outcome and usage
    #[arg(long, value_name = "FILE", env = "WASMRUN_USAGE")]
    pub(crate) usage: Option<PathBuf>,
    /// Maximum size of the usage file: before it becomes larger, it is renamed to FILE.1, and FILE.1 to FILE.2; FILE.4
    /// is the last that is kept [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "WASMRUN_USAGE_SIZE", value_parser = typed::<ByteSize>)]
    pub(crate) usage_size: Option<ByteSize>,
}

/// What `run`, `serve`, `invoke` and `replay` share.
//
// A field for each flag or group of flags.
#[derive(Clone, Debug, Args)]
pub(crate) struct TaskArgs {
    /// Configuration file (TOML); flags win over WASMRUN_* variables, which win over the file
    #[arg(long, value_name = "FILE", env = "WASMRUN_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) grants: GrantArgs,
    /// Pass the body of an object event to the guest, next to the objects that it announces
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", env = "WASMRUN_RAW_BODY")]
    pub(crate) raw_body: Option<bool>,
    /// Make a task's results depend on its message alone: random numbers are seeded with its ID, clocks and
    /// timers are virtual and start at its sent time, and floating point is the same on all machines
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", env = "WASMRUN_DETERMINISTIC")]
    pub(crate) deterministic: Option<bool>,
    #[command(flatten)]
    pub(crate) command: CommandArgs,
    #[command(flatten)]
    pub(crate) limits: LimitSettings,
    #[command(flatten)]
    pub(crate) engine: EngineSettings,
    #[command(flatten)]
    pub(crate) aws: AwsSettings,
    #[command(flatten)]
    pub(crate) registry: RegistrySettings,
    #[command(flatten)]
    pub(crate) log: LogSettings,
}

/// Parses a point in time: RFC 3339, or the less strict form that humantime accepts.
fn parse_time(text: &str) -> Result<SystemTime, String> {
    humantime::parse_rfc3339_weak(text).map_err(|_| "expected a time such as 2026-11-24T15:00:00Z".into())
}
