//! Flags of `enqueue` and `queue`.

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
