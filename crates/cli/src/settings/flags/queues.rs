//! Flags of `enqueue` and `queue`.

use super::walks::{SelectArgs, WalkArgs};
use crate::settings::aws::AwsSettings;
use crate::settings::text::typed;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

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

/// What a walk over a queue of SQS does, which help says for each command that walks.
macro_rules! on_sqs {
    ($examples:literal) => {
        concat!(
            $examples,
            "

On SQS the command receives messages to look at them, and each receive counts. It makes the messages that it \
doesn't move or delete visible again when it ends, also on SIGINT and SIGTERM. If it is killed, they are \
invisible until about --max-time after its start. Of a FIFO queue it sees the first ten messages of each \
message group. On sqlite: nothing changes by looking."
        )
    };
}

const LIST_HELP: &str = on_sqs!(
    "\
Examples:
  wasmrun queue list sqlite:jobs.db#dead
  wasmrun queue list dead --outcome rejected --since 24h --limit 20
  wasmrun queue list dead --reason 'disk is full' --json"
);
const SHOW_HELP: &str = on_sqs!(
    "\
With an ID that `queue list` printed:
  wasmrun queue show dead 0b9c4a52-7c6f-4a3e-9f0e-2d5d3c1f8a11"
);
const REDRIVE_HELP: &str = on_sqs!(
    "\
Examples:
  wasmrun queue redrive sqlite:jobs.db#dead
  wasmrun queue redrive dead --reason 'disk is full'
  wasmrun queue redrive dead --outcome timed-out --to uploads

A message is sent to its source queue and then deleted from the dead-letter queue: if the command is killed in \
between, both queues have it. It starts again, with a receive count of zero and without the attribute `wasmrun`."
);
const DROP_HELP: &str = on_sqs!(
    "\
Examples:
  wasmrun queue drop sqlite:jobs.db#dead --reason 'no image'
  wasmrun queue drop dead --id 5fea7756-0ea4-451a-a703-a558b933e274

`wasmrun queue purge` deletes all messages of a queue."
);

/// Create and inspect queues, and look at, move back or delete dead letters
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wasmrun queue create sqlite:jobs.db --visibility-timeout 5m --max-receives 3
  wasmrun queue stats sqlite:jobs.db
  wasmrun queue stats uploads
  wasmrun queue list dead --outcome rejected --since 24h
  wasmrun queue redrive dead --reason 'disk is full'
  wasmrun queue drop dead --reason 'no image' --limit 100")]
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
    /// Print the next messages that a sqlite: queue would deliver, as JSON lines
    Peek {
        /// URL of the queue
        url: String,
        /// Maximum number of messages
        #[arg(long, short = 'n', value_name = "N", default_value_t = 10, value_parser = typed::<usize>)]
        max: usize,
    },
    /// List the messages of a dead-letter queue, with outcome and reason
    #[command(after_help = LIST_HELP)]
    List {
        /// URL of the dead-letter queue
        url: String,
        #[command(flatten)]
        select: SelectArgs,
        /// Maximum number of messages to list
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = typed::<u64>)]
        limit: u64,
        /// Print whole messages as JSON lines
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        walk: WalkArgs,
    },
    /// Print one message of a dead-letter queue: outcome, reason, attributes and body
    #[command(after_help = SHOW_HELP)]
    Show {
        /// URL of the dead-letter queue
        url: String,
        /// ID of the message, as `queue list` prints it
        id: String,
        /// Print the message as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        walk: WalkArgs,
    },
    /// Move messages of a dead-letter queue back to their source queues
    #[command(after_help = REDRIVE_HELP)]
    Redrive {
        /// URL of the dead-letter queue
        url: String,
        #[command(flatten)]
        select: SelectArgs,
        /// Move the messages to this queue instead
        #[arg(long, value_name = "URL")]
        to: Option<String>,
        /// Maximum number of messages to move [default: all]
        #[arg(long, value_name = "N", value_parser = typed::<u64>)]
        limit: Option<u64>,
        /// Print the numbers as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        walk: WalkArgs,
    },
    /// Delete messages of a dead-letter queue that a filter selects
    #[command(after_help = DROP_HELP)]
    Drop {
        /// URL of the dead-letter queue
        url: String,
        #[command(flatten)]
        select: SelectArgs,
        /// Maximum number of messages to delete [default: all]
        #[arg(long, value_name = "N", value_parser = typed::<u64>)]
        limit: Option<u64>,
        /// Print the numbers as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        walk: WalkArgs,
    },
    /// Delete all messages of a queue
    Purge {
        /// URL of the queue
        url: String,
    },
}
