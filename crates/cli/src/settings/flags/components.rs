//! Flags of `inspect`, `compile`, `push` and `policy`.

use super::tasks::RunArgs;
use crate::settings::aws::AwsSettings;
use crate::settings::engine::CompileSettings;
use crate::settings::limit_flags::LimitSettings;
use crate::settings::log::LogSettings;
use crate::settings::registry::RegistrySettings;
use clap::Args;
use std::path::PathBuf;

/// Print a component's imports, exports, required grants and parts
#[derive(Debug, Args)]
#[command(after_help = "\
A component that can't run, for its imports, its exports or the number of its parts, isn't compiled.

Examples:
  wasmrun inspect thumbnail.wasm
  wasmrun inspect thumbnail.wasm --memory 64MiB --json
  wasmrun inspect oci://ghcr.io/acme/thumbnail:1.2

Exit codes: 0 the component can run within these limits, 2 it can't, or wrong usage, 3 the component can't be fetched.")]
pub(crate) struct InspectArgs {
    /// Component: a .wasm file, s3://BUCKET/KEY or oci://HOST/REPOSITORY:TAG
    pub(crate) component: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) limits: LimitSettings,
    #[command(flatten)]
    pub(crate) engine: CompileSettings,
    #[command(flatten)]
    pub(crate) aws: AwsSettings,
    #[command(flatten)]
    pub(crate) registry: RegistrySettings,
    #[command(flatten)]
    pub(crate) log: LogSettings,
}

/// Precompile a component for faster startup
#[cfg(feature = "compiler")]
#[derive(Debug, Args)]
#[command(after_help = "\
The file is native code for this version of wasmrun, and for CPUs with the features of this one, or, \
with --portable, for each CPU of this architecture. `run --precompiled` runs it unchecked: only run \
files that you compiled yourself.

Examples:
  wasmrun compile thumbnail.wasm -o thumbnail.cwasm
  wasmrun compile thumbnail.wasm -o thumbnail.cwasm --portable
  wasmrun run thumbnail.cwasm --precompiled --queue uploads \\
      --store input=s3://photos-in:ro --store output=s3://photos-out:rw

Exit codes: 0 success, 2 wrong usage or component, 3 the file can't be written or the component can't be \
fetched.")]
pub(crate) struct CompileArgs {
    /// Component: a .wasm file, s3://BUCKET/KEY or oci://HOST/REPOSITORY:TAG
    pub(crate) component: PathBuf,
    /// File to write the code to
    #[arg(long, short, value_name = "FILE.cwasm")]
    pub(crate) output: PathBuf,
    /// Compile for each CPU of this architecture, not only for this one (somewhat slower code)
    #[arg(long)]
    pub(crate) portable: bool,
    /// Compile for `run --deterministic`
    #[arg(long)]
    pub(crate) deterministic: bool,
    #[command(flatten)]
    pub(crate) engine: CompileSettings,
    #[command(flatten)]
    pub(crate) aws: AwsSettings,
    #[command(flatten)]
    pub(crate) registry: RegistrySettings,
    #[command(flatten)]
    pub(crate) log: LogSettings,
}

/// Push a component to a registry
#[derive(Debug, Args)]
#[command(after_help = "\
Writes the layout of Wasm OCI artefacts, which `wkg` and `oras` read, and prints the digest. Pushing the \
same component again writes the same artefact. The component's own metadata (authors, description, \
licenses, source, revision, version) become annotations; SOURCE_DATE_EPOCH is the time when it was made. \
Credentials: those of `docker login` and its helpers, and for ECR those of AWS. For workers with \
--verify-key, sign the printed digest with `cosign sign`.

Examples:
  wasmrun push thumbnail.wasm oci://ghcr.io/acme/thumbnail:1.2
  wasmrun push thumbnail.wasm \\
      oci://123456789012.dkr.ecr.eu-west-1.amazonaws.com/thumbnail:1.2

Exit codes: 0 success, 2 wrong usage or component, 3 the registry can't be used.")]
pub(crate) struct PushArgs {
    /// Component: a .wasm file
    pub(crate) component: PathBuf,
    /// Where to push it: oci://HOST/REPOSITORY:TAG
    #[arg(value_name = "REFERENCE")]
    pub(crate) to: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) aws: AwsSettings,
    /// Send requests to the registry without TLS [default: only if the registry is on a loopback address]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", env = "WASMRUN_REGISTRY_PLAIN_HTTP")]
    pub(crate) registry_plain_http: Option<bool>,
    #[command(flatten)]
    pub(crate) log: LogSettings,
}

/// Print the least IAM policy that a worker needs
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Takes the flags of `run`, and calls no service. So name the dead-letter queue with --dead-letter, \
queues by their URL or ARN, and a bucket's KMS key with `?encryption=kms&kms-key=ARN` in the store's \
URL. For a queue with a KMS key, add kms:Decrypt on the key, and kms:GenerateDataKey to send. \
A service has no queue: its policy is that of its component, its stores and the queues that it sends to. \
Leave out the flags that only `serve` has, such as --listen.

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
    /// Add what scale-in protection needs in this ECS cluster
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// Print the policy of this role of --assume-role, not that of the worker's own role
    #[arg(long, value_name = "ARN")]
    pub(crate) role: Option<String>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}
