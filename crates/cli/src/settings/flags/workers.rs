//! Flags of `pause`, `resume`, `cancel`, `health`, `top` and `report`.

use crate::settings::text::{Written, typed};
use crate::settings::watch::WorkerAddress;
use clap::{Args, ValueEnum};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use wasmrun_runtime::model::outcome::Action;

/// Help of `pause` and `resume`.
pub(super) const CONTROL_HELP: &str = "\
A pause ends with `resume`, or when the worker starts again. Messages that the worker holds keep their leases.

Examples:
  wasmrun run thumbnail.wasm --queue sqlite:jobs.db --control control.sock
  wasmrun pause --control control.sock
  wasmrun resume --control control.sock

Exit codes: 0 success, 2 wrong usage, 3 no worker answers.";

/// Where a worker takes requests of an operator.
#[derive(Debug, Args)]
pub(crate) struct ControlArgs {
    /// Control socket of the worker: what `run --control` was given
    #[arg(long, value_name = "FILE", env = "WASMRUN_CONTROL")]
    pub(crate) control: PathBuf,
}

/// End the task of a message that a worker holds
#[derive(Debug, Args)]
#[command(after_help = "\
The message's outcome is `cancelled`. A message that waits in the worker ends when its task would start. If the \
task ends by itself first, its own outcome counts. `wasmrun top` and the log show the IDs of messages.

Examples:
  wasmrun cancel 5fea7756-0ea4-451a-a703-a558b933e274 --control control.sock
  wasmrun cancel 17 --then drop --control control.sock

Exit codes: 0 success, 1 the worker refuses, 2 wrong usage, 3 no worker answers.")]
pub(crate) struct CancelArgs {
    /// ID of the message
    #[arg(value_name = "MESSAGE")]
    pub(crate) message: String,
    /// What happens to the message: dead-letter, retry or drop
    #[arg(long, value_name = "ACTION", default_value = "dead-letter", value_parser = typed::<Action>)]
    pub(crate) then: Action,
    #[command(flatten)]
    pub(crate) control: ControlArgs,
}

/// Check whether a worker is alive
#[derive(Debug, Args)]
#[command(after_help = "\
A container's health check, which needs no shell: [\"CMD\", \"/wasmrun\", \"health\"], with WASMRUN_STATUS set for both.

Examples:
  wasmrun health
  wasmrun health 9464
  wasmrun health 10.0.0.7:9464

Exit codes: 0 it's alive, 1 it isn't or gives no answer within 2 s, 2 wrong usage.")]
pub(crate) struct HealthArgs {
    /// Address of the worker: what `--status` was given
    #[arg(value_name = "[HOST:]PORT", env = "WASMRUN_STATUS", default_value = "9464", value_parser = typed::<WorkerAddress>)]
    pub(crate) address: WorkerAddress,
}

/// Show a worker that runs with `--status`, live in a terminal
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wasmrun top
  wasmrun top 10.0.0.7:9464
  wasmrun top --once=5s

Exit codes: 0 success, 2 wrong usage, 3 the worker gives no answer.")]
pub(crate) struct TopArgs {
    /// Address of the worker: what `--status` was given
    #[arg(value_name = "[HOST:]PORT", env = "WASMRUN_STATUS", default_value = "9464", value_parser = typed::<WorkerAddress>)]
    pub(crate) address: WorkerAddress,
    /// Print one screen as text after this time, and exit
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "2s", value_name = "DURATION", value_parser = typed::<Duration>)]
    pub(crate) once: Option<Duration>,
}

/// Print totals, outcomes, the heaviest tasks and costs from usage files
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wasmrun report usage.jsonl
  wasmrun report usage.jsonl.2 usage.jsonl.1 usage.jsonl --top 20
  wasmrun report usage.jsonl --by key --top 50
  grep '\"thumbnail.wasm\"' usage.jsonl | wasmrun report - --json
  wasmrun report usage.jsonl --prices eu-west-1.toml \\
      --fargate-size 1,2 --lambda-size 1024

Lines that are no records are counted and left out. Costs are computed from a table of list prices: the report \
says of which region and when, and what is assumed. The table is crates/cli/src/prices.toml in the repository.

Exit codes: 0 success, 2 wrong usage, or no record in the files, 3 a file can't be read to its end.")]
pub(crate) struct ReportArgs {
    /// Usage files that `run --usage` wrote, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Split tasks, outcomes, consumption and costs by the key of `run --key`, by route or by component, largest cost first
    #[arg(long, value_name = "FIELD", value_enum)]
    pub(crate) by: Option<ReportBy>,
    /// Number of the heaviest tasks to list, and of keys, routes or components [default: 5 tasks, 20 of the others]
    #[arg(long, value_name = "N", value_parser = |text: &str| within(text, 1..=1000_usize))]
    pub(crate) top: Option<usize>,
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

/// Field of usage records by which a report is split.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ReportBy {
    /// The message's key
    Key,
    /// The route that handled the message
    Route,
    /// The component that ran
    Component,
}

impl ReportBy {
    /// Returns the field's name in records.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Route => "route",
            Self::Component => "component",
        }
    }

    /// Returns the name of several values of the field.
    pub(crate) fn fields(self) -> &'static str {
        match self {
            Self::Key => "keys",
            Self::Route => "routes",
            Self::Component => "components",
        }
    }
}

/// Size of a Fargate task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FargateSize {
    pub(crate) vcpu: f64,
    pub(crate) gb: f64,
}

impl FargateSize {
    /// Returns whether a price table may have this size.
    pub(crate) fn is_possible(self) -> bool {
        [self.vcpu, self.gb].iter().all(|number| (0.001..=10_000.0).contains(number))
    }
}

/// Parses `VCPU,GB`.
pub(super) fn parse_fargate_size(text: &str) -> Result<FargateSize, String> {
    let number = |text: &str| text.trim().parse().ok();
    let size = text.split_once(',').and_then(|(vcpu, gb)| Some((number(vcpu)?, number(gb)?)));
    let size = size.map(|(vcpu, gb)| FargateSize { vcpu, gb }).filter(|size| size.is_possible());
    size.ok_or_else(|| "write VCPU,GB, such as 0.25,0.5".to_owned())
}

/// Parses a whole number within a range.
fn within<T: Written + PartialOrd + Display>(text: &str, allowed: RangeInclusive<T>) -> Result<T, String> {
    T::read(text)
        .ok()
        .filter(|number| allowed.contains(number))
        .ok_or_else(|| format!("expected a whole number from {} to {}", allowed.start(), allowed.end()))
}
