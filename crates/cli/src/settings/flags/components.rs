//! Flags of `inspect`, `compile` and `policy`.

use super::tasks::RunArgs;
use crate::settings::engine::EngineSettings;
use crate::settings::log::LogSettings;
use clap::Args;
use std::path::PathBuf;

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
