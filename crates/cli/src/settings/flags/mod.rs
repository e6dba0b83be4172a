//! What can be typed. What it means is `settings`' business.

pub(crate) mod help;

use crate::commands::report::{FargateSize, parse_fargate_size};
use crate::settings::limits::LimitSettings;
use crate::settings::{AwsSettings, EngineSettings, LogSettings, WorkerSettings, Written, typed};
use crate::wiring::watch::{WatchSettings, WorkerAddress};
use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Runs every queue message as its own WebAssembly instance.
///
/// Each message is a task of its own: with its own memory, limits on computing, memory and time, and nothing
/// granted but the stores, queues and environment keys that are named here.
#[derive(Debug, Parser)]
#[command(
    name = "wasmrun",
    max_term_width = 110,
    disable_version_flag = true,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Cli {
    /// Print the version; with --verbose also what the program was built from and with
    #[arg(short = 'V', long)]
    pub(crate) version: bool,
    #[arg(long, requires = "version", hide = true)]
    pub(crate) verbose: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Box<RunArgs>),
    Invoke(Box<InvokeArgs>),
    Enqueue(EnqueueArgs),
    Queue(QueueArgs),
    Inspect(InspectArgs),
    #[cfg(feature = "compiler")]
    Compile(CompileArgs),
    Policy(Box<PolicyArgs>),
    Report(ReportArgs),
    Health(HealthArgs),
    Top(TopArgs),
    /// Print a shell completion script
    #[command(after_help = "Examples:\n  source <(wasmrun completions bash)")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

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
  wasmrun run --config wasmrun.toml --check
  wasmrun run --config wasmrun.toml --usage usage.jsonl
  wasmrun run --config wasmrun.toml --listen 9464
  wasmrun run --config wasmrun.toml --listen 0.0.0.0:9464 --emf Thumbnails

Exit codes: 0 success (messages may have been dead-lettered: the summary says so), 2 wrong usage or
configuration, 3 a queue or a store can't be used, 4 ended as no task can complete.")]
pub(crate) struct RunArgs {
    /// Component: a .wasm file or s3://BUCKET/KEY; ?version=ID or ?etag=ETAG pins its content
    #[arg(env = "WASMRUN_COMPONENT")]
    pub(crate) component: Option<PathBuf>,
    /// Queue: an SQS queue's URL, ARN or name; sqlite:PATH or sqlite:PATH#NAME
    #[arg(long, value_name = "URL", env = "WASMRUN_QUEUE")]
    pub(crate) queue: Option<String>,
    /// Action for an outcome (retry, rejected, limit-exceeded, timed-out, trapped): retry, dead-letter or
    /// drop
    #[arg(long, value_name = "OUTCOME=ACTION")]
    pub(crate) on: Vec<String>,
    /// Append a JSON line for each task to this file: its outcome and usage
    #[arg(long, value_name = "FILE", env = "WASMRUN_USAGE")]
    pub(crate) usage: Option<PathBuf>,
    /// A usage file that would become larger is renamed to FILE.1, and FILE.1 to FILE.2; FILE.4 is the last that is
    /// kept [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "WASMRUN_USAGE_SIZE", value_parser = typed::<ByteSize>)]
    pub(crate) usage_size: Option<ByteSize>,
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

/// Check whether a worker is alive
#[derive(Debug, Args)]
#[command(after_help = "\
A container's health check, which needs no shell: [\"CMD\", \"/wasmrun\", \"health\"], with WASMRUN_LISTEN set for both.

Examples:
  wasmrun health
  wasmrun health 9464
  wasmrun health 10.0.0.7:9464

Exit codes: 0 it's alive, 1 it isn't or gives no answer within 2 s, 2 wrong usage.")]
pub(crate) struct HealthArgs {
    /// Address of the worker: what `run --listen` was given
    #[arg(value_name = "[HOST:]PORT", env = "WASMRUN_LISTEN", default_value = "9464", value_parser = typed::<WorkerAddress>)]
    pub(crate) address: WorkerAddress,
}

/// Show a worker that runs with `--listen`, live in a terminal
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wasmrun top
  wasmrun top 10.0.0.7:9464
  wasmrun top --once=5s

Exit codes: 0 success, 2 wrong usage, 3 the worker gives no answer.")]
pub(crate) struct TopArgs {
    /// Address of the worker: what `run --listen` was given
    #[arg(value_name = "[HOST:]PORT", env = "WASMRUN_LISTEN", default_value = "9464", value_parser = typed::<WorkerAddress>)]
    pub(crate) address: WorkerAddress,
    /// Print one screen as text after this time, and exit
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "2s", value_name = "DURATION", value_parser = typed::<Duration>)]
    pub(crate) once: Option<Duration>,
}

/// Run one task without a queue
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wasmrun invoke forward.wasm --message 'hello' --send next=sqlite:next.db
  wasmrun invoke thumbnail.wasm --message @event.json --json \\
      --store input=dir:in:ro --store output=dir:out:rw

Exit codes: 0 the task completed, 1 it failed, 2 wrong usage or configuration, 3 a store can't be used.")]
pub(crate) struct InvokeArgs {
    /// Component: a .wasm file or s3://BUCKET/KEY
    #[arg(env = "WASMRUN_COMPONENT")]
    pub(crate) component: Option<PathBuf>,
    /// Body of the message: text, @FILE, or - for standard input
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) message: String,
    /// Add an attribute to the message
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) attribute: Vec<String>,
    /// Id of the message: with --deterministic, it seeds random numbers
    #[arg(long, value_name = "ID", default_value = "invoke")]
    pub(crate) message_id: String,
    /// Time at which the message was sent, such as 2026-11-24T15:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) sent_at: Option<SystemTime>,
    /// Print outcome and usage as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) task: TaskArgs,
}

/// What `run` and `invoke` share.
#[derive(Clone, Debug, Args)]
pub(crate) struct TaskArgs {
    /// Configuration file (TOML); flags win over WASMRUN_* variables, which win over the file
    #[arg(long, value_name = "FILE", env = "WASMRUN_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Grant a store: s3://BUCKET, s3://BUCKET/PREFIX (or the ARN of an access point in the bucket's place), with settings
    /// behind a `?` (region, addressing, bucket, encryption, kms-key and acl: see the page Stores of the documentation),
    /// or dir:PATH; with the mode ro, wo or rw
    #[arg(long, value_name = "ALIAS=URL:MODE")]
    pub(crate) store: Vec<String>,
    /// Grant a queue to send to
    #[arg(long, value_name = "ALIAS=URL")]
    pub(crate) send: Vec<String>,
    /// Use a store in S3 or a queue to send to with the rights of a role instead of the worker's own
    #[arg(long, value_name = "ALIAS=ARN")]
    pub(crate) assume_role: Vec<String>,
    /// Grant an environment key, with a value or with the worker's own
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Pass the body of an object event to the guest, next to the objects that it announces
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", env = "WASMRUN_RAW_BODY")]
    pub(crate) raw_body: Option<bool>,
    /// Make a task's results depend on its message alone: random numbers are seeded with its id, clocks and
    /// timers are virtual and start at its sent time, and floating point is the same on all machines
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", env = "WASMRUN_DETERMINISTIC")]
    pub(crate) deterministic: Option<bool>,
    #[command(flatten)]
    pub(crate) limits: LimitSettings,
    #[command(flatten)]
    pub(crate) engine: EngineSettings,
    #[command(flatten)]
    pub(crate) aws: AwsSettings,
    #[command(flatten)]
    pub(crate) log: LogSettings,
}

/// Send messages: a text, or one for each object of a store
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true).args(["message", "store"]),
    after_help = "\
A sqlite: queue that doesn't exist is created, with a dead-letter queue `dead` next to it.

Examples:
  wasmrun enqueue --queue sqlite:jobs.db --message 'hello'
  wasmrun enqueue --queue sqlite:jobs.db --store input=dir:in --prefix 2026/
  wasmrun enqueue --queue sqlite:jobs.db --store input=dir:in \\
      --watch --seen announced.jsonl"
)]
pub(crate) struct EnqueueArgs {
    /// URL of the queue
    #[arg(long, value_name = "URL", env = "WASMRUN_QUEUE")]
    pub(crate) queue: String,
    /// Body of a message: text, @FILE, or - for standard input; may be given several times
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) message: Vec<String>,
    /// Send an object event for each object of this store, as S3 would
    #[arg(long, value_name = "ALIAS=URL")]
    pub(crate) store: Option<String>,
    /// Announce only objects whose keys start with this prefix
    #[arg(long, requires = "store", conflicts_with = "message", default_value = "")]
    pub(crate) prefix: String,
    /// Keep running, and send an event for each object that arrives or changes
    #[arg(long, requires = "store", conflicts_with = "message")]
    pub(crate) watch: bool,
    /// Remember in this file what was announced, and don't announce it again. Without it, each start announces all objects
    #[arg(long, requires = "store", conflicts_with = "message", value_name = "FILE")]
    pub(crate) seen: Option<PathBuf>,
    /// Interval at which --watch lists the store
    #[arg(long, requires = "watch", value_name = "DURATION", value_parser = typed::<Duration>, default_value = "1s")]
    pub(crate) every: Duration,
    /// Add an attribute to each message
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) attribute: Vec<String>,
    /// Message group
    #[arg(long)]
    pub(crate) group: Option<String>,
    /// Delay before the messages can be received
    #[arg(long, value_name = "DURATION", value_parser = typed::<Duration>)]
    pub(crate) delay: Option<Duration>,
    #[command(flatten)]
    pub(crate) aws: AwsSettings,
}

/// Create, inspect, redrive and purge queues
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wasmrun queue create sqlite:jobs.db --visibility-timeout 5m --max-receives 3
  wasmrun queue stats sqlite:jobs.db
  wasmrun queue stats uploads
  wasmrun queue peek sqlite:jobs.db#dead
  wasmrun queue redrive sqlite:jobs.db#dead
  wasmrun queue redrive sqlite:jobs.db#dead --to sqlite:jobs.db")]
pub(crate) struct QueueArgs {
    #[command(subcommand)]
    pub(crate) command: QueueCommand,
    #[command(flatten)]
    pub(crate) aws: AwsSettings,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Create a sqlite: queue, and its dead-letter queue if that is in the same file
    Create {
        /// URL of the queue
        url: String,
        /// How long a received message stays invisible to others [default: 30s]
        #[arg(long, value_name = "DURATION", value_parser = typed::<Duration>)]
        visibility_timeout: Option<Duration>,
        /// Number of receives after which a message goes to the dead-letter queue [default: 5]
        #[arg(long, value_name = "N", value_parser = typed::<u32>)]
        max_receives: Option<u32>,
        /// URL of the dead-letter queue, or none [default: `dead` in the same file]
        #[arg(long, value_name = "URL")]
        dead_letter: Option<String>,
        /// Deliver the messages of a group in order
        #[arg(long)]
        fifo: bool,
    },
    /// Print a queue's depth and settings
    Stats {
        /// URL of the queue
        url: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the next messages of a sqlite: queue without receiving them, as JSON lines
    Peek {
        /// URL of the queue
        url: String,
        /// Maximum number of messages
        #[arg(long, short = 'n', value_name = "N", default_value_t = 10, value_parser = typed::<usize>)]
        max: usize,
    },
    /// Move the messages of a sqlite: dead-letter queue back to their source queues
    Redrive {
        /// URL of the dead-letter queue
        url: String,
        /// Move all messages to this queue instead
        #[arg(long, value_name = "URL")]
        to: Option<String>,
    },
    /// Delete all messages of a queue
    Purge {
        /// URL of the queue
        url: String,
    },
}

/// Print a component's imports, exports and required grants
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  wasmrun inspect thumbnail.wasm")]
pub(crate) struct InspectArgs {
    /// Component: a .wasm file
    pub(crate) component: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) engine: EngineSettings,
    #[command(flatten)]
    pub(crate) log: LogSettings,
}

/// Precompile a component for faster startup
#[cfg(feature = "compiler")]
#[derive(Debug, Args)]
#[command(after_help = "\
The file is native code for this version of wasmrun and for CPUs that can do what this one can;
with --portable, for all of this architecture. `run --precompiled` runs it without looking at what
it does: take it from nobody else.

Examples:
  wasmrun compile thumbnail.wasm -o thumbnail.cwasm
  wasmrun compile thumbnail.wasm -o thumbnail.cwasm --portable
  wasmrun run thumbnail.cwasm --precompiled --queue uploads \\
      --store input=s3://photos-in:ro --store output=s3://photos-out:rw

Exit codes: 0 success, 2 wrong usage or component, 3 the file can't be written.")]
pub(crate) struct CompileArgs {
    /// Component: a .wasm file
    pub(crate) component: PathBuf,
    /// Where the code is written to
    #[arg(long, short, value_name = "FILE.cwasm")]
    pub(crate) output: PathBuf,
    /// For every CPU of this architecture, not for this one alone: somewhat slower code
    #[arg(long)]
    pub(crate) portable: bool,
    /// As `run --deterministic` needs it
    #[arg(long)]
    pub(crate) deterministic: bool,
    #[command(flatten)]
    pub(crate) engine: EngineSettings,
    #[command(flatten)]
    pub(crate) log: LogSettings,
}

/// Print the least IAM policy that a worker needs
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
It takes what `run` takes. Nothing is asked of Amazon: a dead-letter queue is known from
--dead-letter alone, and queues by their URL or ARN. A bucket's own key of KMS is known from
`?encryption=kms&kms-key=ARN` in the store's URL; for a queue with a key, add kms:Decrypt on it, and
kms:GenerateDataKey to send, yourself.

Examples:
  wasmrun policy --cluster thumbnails \\
      --queue https://sqs.eu-west-1.amazonaws.com/123456789012/uploads \\
      --dead-letter https://sqs.eu-west-1.amazonaws.com/123456789012/dead \\
      --store input=s3://photos-in:ro --store output=s3://photos-out/thumbs:rw
  wasmrun policy --config wasmrun.toml > policy.json
  wasmrun policy --config wasmrun.toml \\
      --role arn:aws:iam::123456789012:role/thumbs

Exit codes: 0 success, 2 wrong usage or configuration.")]
pub(crate) struct PolicyArgs {
    /// In a service of ECS in this cluster, as scale-in protection needs it
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// What this role of --assume-role needs, instead of what the worker's own needs
    #[arg(long, value_name = "ARN")]
    pub(crate) role: Option<String>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Print totals, outcomes, the heaviest tasks and costs from usage files
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wasmrun report usage.jsonl
  wasmrun report usage.jsonl.2 usage.jsonl.1 usage.jsonl --top 20
  grep '\"thumbnail.wasm\"' usage.jsonl | wasmrun report - --json
  wasmrun report usage.jsonl --prices eu-west-1.toml \\
      --fargate-size 1,2 --lambda-size 1024

Lines that are no records are counted and left out. Costs are computed from a table of list prices: the report
says of which region and when, and what is assumed. The table is crates/cli/src/prices.toml in the repository.

Exit codes: 0 success, 2 wrong usage, or no record in the files, 3 a file can't be read to its end.")]
pub(crate) struct ReportArgs {
    /// Usage files that `run --usage` wrote, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Number of the heaviest tasks to list
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = |text: &str| within(text, 1..=1000_usize))]
    pub(crate) top: usize,
    /// Price table (TOML) to use instead of the built-in one
    #[arg(long, value_name = "FILE")]
    pub(crate) prices: Option<PathBuf>,
    /// Size of a Fargate task for each message [default: the smallest that fits the largest task]
    #[arg(long, value_name = "VCPU,GB", value_parser = parse_fargate_size)]
    pub(crate) fargate_size: Option<FargateSize>,
    /// Memory of a Lambda function, in MB [default: the smallest that fits the largest task]
    #[arg(long, value_name = "MB", value_parser = |text: &str| within(text, 1..=1_000_000_u32))]
    pub(crate) lambda_size: Option<u32>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A point in time.
fn parse_time(text: &str) -> Result<SystemTime, String> {
    humantime::parse_rfc3339_weak(text).map_err(|_| "expected a time such as 2026-11-24T15:00:00Z".into())
}

/// A number with bounds.
fn within<T: Written + PartialOrd + std::fmt::Display>(
    text: &str,
    allowed: RangeInclusive<T>,
) -> Result<T, String> {
    T::read(text)
        .ok()
        .filter(|number| allowed.contains(number))
        .ok_or_else(|| format!("expected a whole number from {} to {}", allowed.start(), allowed.end()))
}
