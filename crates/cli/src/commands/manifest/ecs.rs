//! The ECS task definition, for Fargate.

use super::containers::{self, CACHE_VOLUME, COMPONENTS_VOLUME};
use super::fargate;
use super::plan::{Plan, STOP_MARGIN, account};
use crate::output::failure::Failure;
use crate::output::tree::{Tree, list, map, texts};
use crate::settings::deployment::Architecture;
use crate::settings::flags::EcsArgs;
use wasmrun_aws::partition;

/// Maximum of a container's `stopTimeout` on Fargate, in seconds ("Task definition parameters for Fargate").
const MAX_STOP_SECONDS: u64 = 120;

/// Returns the task definition as JSON.
pub(super) fn print(args: &EcsArgs, plan: &Plan) -> Result<String, Failure> {
    check(args, plan)?;
    let json = serde_json::to_string_pretty(&task_definition(args, plan)?);
    Ok(json.map_err(|error| Failure::usage(error.to_string()))? + "\n")
}

fn check(args: &EcsArgs, plan: &Plan) -> Result<(), Failure> {
    if args.sidecar.is_some() {
        plan.work.check_flag("sidecar")?;
    }
    if plan.has_routes {
        return Err(Failure::usage(
            "a task definition has the settings as flags, and routes are only in a file: put the file into an image of your own, and let its command be `run --config FILE`",
        ));
    }
    if plan.stop_seconds() > MAX_STOP_SECONDS {
        return Err(Failure::usage(format!(
            "--stop-timeout {} is too long for Fargate, which kills a container after {MAX_STOP_SECONDS}s: at most {}s",
            humantime::format_duration(plan.stop_timeout),
            MAX_STOP_SECONDS - STOP_MARGIN.as_secs(),
        )));
    }
    if plan.until_empty == Some(true) {
        let starts = if args.sidecar.is_some() { "ECS" } else { "a service" };
        return Err(Failure::usage(format!(
            "{starts} starts a worker again that ends with --until-empty: leave it out"
        )));
    }
    Ok(())
}

fn task_definition(args: &EcsArgs, plan: &Plan) -> Result<Tree, Failure> {
    let (cpu, memory) = fargate::size(args, plan)?;
    let name = plan.container.name.as_str();
    let architecture = match plan.container.architecture {
        Architecture::Amd64 => "X86_64",
        Architecture::Arm64 => "ARM64",
    };
    let task_role = role(plan, args.task_role.as_ref().map(|role| role.as_str()), "task")?;
    let execution_role = role(plan, args.execution_role.as_ref().map(|role| role.as_str()), "execution")?;
    let components = containers::of_application(args, plan).map(|_| COMPONENTS_VOLUME);
    let volumes = components.into_iter().chain([CACHE_VOLUME]).map(|name| map([("name", name.into())]));
    Ok(map([
        ("family", args.family.as_ref().map_or(name, |family| family.as_str()).into()),
        ("requiresCompatibilities", texts(["FARGATE"])),
        ("networkMode", "awsvpc".into()),
        ("cpu", cpu.to_string().into()),
        ("memory", memory.to_string().into()),
        (
            "runtimePlatform",
            map([("operatingSystemFamily", "LINUX".into()), ("cpuArchitecture", architecture.into())]),
        ),
        ("taskRoleArn", task_role.into()),
        ("executionRoleArn", execution_role.into()),
        ("volumes", list(volumes)),
        ("containerDefinitions", list(containers::all(args, plan))),
    ]))
}

/// Returns the role that a flag names, or one of the queue's account.
fn role(plan: &Plan, given: Option<&str>, kind: &str) -> Result<String, Failure> {
    if let Some(role) = given {
        return Ok(role.to_owned());
    }
    let account = plan
        .work
        .queue()
        .and_then(account)
        .ok_or_else(|| Failure::usage(format!("no queue names the account: add --{kind}-role ARN")))?;
    let partition = partition(plan.container.region.as_str());
    Ok(format!("arn:{partition}:iam::{account}:role/{}-{kind}", plan.container.name))
}
