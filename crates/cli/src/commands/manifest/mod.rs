//! `wasmrun manifest`: prints what a worker needs on Kubernetes or ECS, so that files and flags can't disagree.
//!
//! | module | owns |
//! |---|---|
//! | `plan` | what both platforms need: the container's command and its settings |
//! | `fits` | settings that can't work in a container |
//! | `ecs` | the task definition; `containers` and `fargate`, its sizes, are parts of it |
//! | `kubernetes` | the objects, and the values of the Helm chart; `pod`, `scaling`, `service` and `network` are parts of it |

mod containers;
mod ecs;
mod fargate;
mod fits;
mod kubernetes;
mod network;
mod plan;
mod pod;
mod scaling;
mod service;

use self::plan::Plan;
use crate::output::failure::Failure;
use crate::output::to_stdout;
use crate::settings::as_flags::Flags;
use crate::settings::flags::{ManifestArgs, Platform, help};
use std::process::ExitCode;

pub(crate) fn manifest(args: ManifestArgs) -> Result<ExitCode, Failure> {
    let text = match args.platform {
        Platform::Kubernetes(args) => {
            let plan = Plan::new(&args.container, args.run.clone(), typed("kubernetes")?)?;
            kubernetes::print(&args, &plan)?
        }
        Platform::Ecs(args) => {
            ecs::print(&args, &Plan::new(&args.container, args.run.clone(), typed("ecs")?)?)?
        }
    };
    to_stdout(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// Returns the settings that were typed or are variables, in the words of the command line.
fn typed(platform: &str) -> Result<Flags, Failure> {
    let matches = help::command().try_get_matches().ok();
    let of_platform = matches.as_ref().and_then(|matches| {
        matches.subcommand_matches("manifest").and_then(|manifest| manifest.subcommand_matches(platform))
    });
    of_platform.map(Flags::typed).unwrap_or_else(|| Ok(Flags::default()))
}
