//! The commands with their flags and help.
//!
//! | module | owns |
//! |---|---|
//! | `tasks` | `run`, `serve`, `invoke`, `replay` and the flags that they share |
//! | `queues` | `enqueue` and `queue` |
//! | `walks` | the flags that `queue list`, `show`, `redrive` and `drop` share |
//! | `workers` | `pause`, `resume`, `cancel`, `health`, `top` and `report` |
//! | `authors` | `new`, `test` and `dev` |
//! | `components` | `inspect`, `compile`, `push` and `policy` |
//! | `manifests` | `manifest` |
//! | `simulate` | `simulate` |
//! | `help` | groups the flags in `--help` |

mod authors;
mod components;
pub(crate) mod help;
mod manifests;
mod queues;
mod simulate;
mod tasks;
mod walks;
mod workers;

pub(crate) use self::authors::{CaseArgs, DevArgs, Kind, Language, NewArgs, TestArgs};
#[cfg(feature = "compiler")]
pub(crate) use self::components::CompileArgs;
pub(crate) use self::components::{InspectArgs, PolicyArgs, PushArgs};
pub(crate) use self::manifests::{
    ContainerArgs, EcsArgs, KedaIdentity, KubernetesArgs, ManifestArgs, Platform,
};
pub(crate) use self::queues::{EnqueueArgs, QueueArgs, QueueCommand};
pub(crate) use self::simulate::{ModelArgs, SimulateArgs};
pub(crate) use self::tasks::{InvokeArgs, ReplayArgs, RunArgs, ServeArgs, TaskArgs};
pub(crate) use self::walks::WalkArgs;
pub(crate) use self::workers::{
    CancelArgs, ControlArgs, FargateSize, HealthArgs, ReportArgs, ReportBy, TopArgs,
};

use self::workers::CONTROL_HELP;
use clap::{Parser, Subcommand};
use clap_complete::Shell;

/// Runs every queue message, and every HTTP request, as its own WebAssembly instance.
///
/// Each is a task of its own, with its own memory and limits, and reaches only what you grant.
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
    Serve(Box<ServeArgs>),
    Invoke(Box<InvokeArgs>),
    Replay(Box<ReplayArgs>),
    Enqueue(EnqueueArgs),
    Queue(QueueArgs),
    New(NewArgs),
    Test(TestArgs),
    Dev(Box<DevArgs>),
    Inspect(Box<InspectArgs>),
    #[cfg(feature = "compiler")]
    Compile(CompileArgs),
    Push(PushArgs),
    Policy(Box<PolicyArgs>),
    Manifest(Box<ManifestArgs>),
    Report(ReportArgs),
    Simulate(Box<SimulateArgs>),
    /// Stop a worker from receiving messages and starting tasks; running tasks go on
    #[command(after_help = CONTROL_HELP)]
    Pause(ControlArgs),
    /// Let a paused worker receive messages and start tasks again
    #[command(after_help = CONTROL_HELP)]
    Resume(ControlArgs),
    Cancel(CancelArgs),
    Health(HealthArgs),
    Top(TopArgs),
    /// Print a shell completion script
    #[command(after_help = "Examples:\n  source <(wasmrun completions bash)")]
    Completions {
        /// The shell
        shell: Shell,
    },
}
