//! The ECS task definition, for Fargate.

use super::plan::{Plan, Work, account};
use crate::output::failure::Failure;
use crate::output::tree::{Tree, list, map, texts};
use crate::settings::deployment::Architecture;
use crate::settings::flags::EcsArgs;

/// Cache of compiled code in the image, which a volume takes its owner and its mode from.
const CACHE: &str = "/var/cache/wasmrun";
/// Maximum of a container's `stopTimeout` on Fargate, in seconds ("Task definition parameters for Fargate").
const MAX_STOP_SECONDS: u64 = 120;

/// Returns the task definition as JSON.
pub(super) fn print(args: &EcsArgs, plan: &Plan) -> Result<String, Failure> {
    let json = serde_json::to_string_pretty(&task_definition(args, plan)?);
    Ok(json.map_err(|error| Failure::usage(error.to_string()))? + "\n")
}

fn task_definition(args: &EcsArgs, plan: &Plan) -> Result<Tree, Failure> {
    let stop_seconds = plan.stop_seconds();
    if stop_seconds > MAX_STOP_SECONDS {
        return Err(Failure::usage(format!(
            "--stop-timeout {} is too long for Fargate, which kills a container after {MAX_STOP_SECONDS}s: at most {}s",
            humantime::format_duration(plan.stop_timeout),
            MAX_STOP_SECONDS - super::plan::STOP_MARGIN.as_secs(),
        )));
    }
    if plan.until_empty == Some(true) {
        return Err(Failure::usage(
            "a service starts a worker again that ends with --until-empty: leave it out",
        ));
    }
    let (cpu, memory) = fargate_size(plan)?;
    let role = |given: Option<&str>, kind: &str| match (given, plan.work.queue().and_then(account)) {
        (Some(role), _) => Ok(role.to_owned()),
        (None, Some(account)) => {
            let partition = match plan.region.split('-').next() {
                Some("cn") => "aws-cn",
                _ if plan.region.starts_with("us-gov-") => "aws-us-gov",
                _ => "aws",
            };
            Ok(format!("arn:{partition}:iam::{account}:role/{}-{kind}", plan.name))
        }
        (None, None) => Err(Failure::usage(format!("no queue names the account: add --{kind}-role ARN"))),
    };
    let family = args.family.as_ref().map_or(plan.name.as_str(), |family| family.as_str());
    let architecture = match plan.architecture {
        Architecture::Amd64 => "X86_64",
        Architecture::Arm64 => "ARM64",
    };
    Ok(map([
        ("family", family.into()),
        ("requiresCompatibilities", texts(["FARGATE"])),
        ("networkMode", "awsvpc".into()),
        ("cpu", cpu.to_string().into()),
        ("memory", memory.to_string().into()),
        (
            "runtimePlatform",
            map([("operatingSystemFamily", "LINUX".into()), ("cpuArchitecture", architecture.into())]),
        ),
        ("taskRoleArn", role(args.task_role.as_ref().map(|role| role.as_str()), "task")?.into()),
        (
            "executionRoleArn",
            role(args.execution_role.as_ref().map(|role| role.as_str()), "execution")?.into(),
        ),
        ("volumes", list([map([("name", "cache".into())])])),
        ("containerDefinitions", list([container(args, plan, stop_seconds)])),
    ]))
}

fn container(args: &EcsArgs, plan: &Plan, stop_seconds: u64) -> Tree {
    let mut settings = plan.typed.clone().over(plan.in_file.clone());
    // These are variables, because `wasmrun health` reads one of them, and the cache is the volume.
    settings.remove("listen");
    settings.remove("cache");
    let (name, words) = match plan.work {
        Work::Queue(_) => ("run", settings.words()),
        Work::Requests(address) => {
            settings.serve_at(address);
            ("serve", settings.words_of_serve())
        }
    };
    let command = [name.to_owned(), plan.component.clone()].into_iter().chain(words);
    let cache = if plan.is_cache_off { "off" } else { CACHE };
    let listen = match (plan.listen, &plan.work) {
        (Some(listen), _) => listen.to_string(),
        // On 127.0.0.1 alone: only `wasmrun health` needs it.
        (None, Work::Queue(_)) => plan.port().to_string(),
        // The load balancer needs it as well.
        (None, Work::Requests(_)) => format!("0.0.0.0:{}", plan.port()),
    };
    let variable = |name: &str, value: &str| map([("name", name.into()), ("value", value.into())]);
    let log_group = args
        .log_group
        .as_ref()
        .map_or_else(|| format!("/wasmrun/{}", plan.name), |group| group.as_str().to_owned());
    let requests = plan.work.requests().map(|address| {
        list([map([("containerPort", u64::from(address.port()).into()), ("protocol", "tcp".into())])])
    });
    let container = map([
        ("name", "wasmrun".into()),
        ("image", plan.image.as_str().into()),
        ("essential", true.into()),
        ("command", texts(command)),
        (
            "environment",
            list([
                variable("AWS_REGION", &plan.region),
                variable("WASMRUN_CACHE", cache),
                variable("WASMRUN_LISTEN", &listen),
            ]),
        ),
        ("user", "65532".into()),
        ("readonlyRootFilesystem", true.into()),
        ("linuxParameters", map([("capabilities", map([("drop", texts(["ALL"]))]))])),
        (
            "mountPoints",
            list([map([
                ("sourceVolume", "cache".into()),
                ("containerPath", CACHE.into()),
                ("readOnly", false.into()),
            ])]),
        ),
        (
            "healthCheck",
            map([
                ("command", texts(["CMD", "/wasmrun", "health"])),
                ("interval", Tree::Number(10)),
                ("timeout", Tree::Number(5)),
                ("retries", Tree::Number(3)),
                ("startPeriod", Tree::Number(60)),
            ]),
        ),
        ("stopTimeout", stop_seconds.into()),
        (
            "logConfiguration",
            map([
                ("logDriver", "awslogs".into()),
                (
                    "options",
                    map([
                        ("awslogs-group", log_group.into()),
                        ("awslogs-region", plan.region.as_str().into()),
                        ("awslogs-stream-prefix", "worker".into()),
                        ("mode", "non-blocking".into()),
                        ("max-buffer-size", "8m".into()),
                    ]),
                ),
            ]),
        ),
    ]);
    container.with_some("portMappings", requests)
}

/// Returns CPU units and MiB, if Fargate has tasks of this size ("Task CPU and memory" in the developer guide of ECS).
fn fargate_size(plan: &Plan) -> Result<(u64, u64), Failure> {
    let (cpu, memory) = (plan.cpu.0 * 1024 / 1000, plan.memory.0);
    let (least, most, step) = match cpu {
        256 => (512, 2048, 512),
        512 => (1024, 4096, 1024),
        1024 => (2048, 8192, 1024),
        2048 => (4096, 16_384, 1024),
        4096 => (8192, 30_720, 1024),
        8192 => (16_384, 61_440, 4096),
        16_384 => (32_768, 122_880, 8192),
        _ => {
            return Err(Failure::usage(
                "Fargate has no tasks with this --container-cpu: 0.25, 0.5, 1, 2, 4, 8 or 16",
            ));
        }
    };
    // A quarter of a vCPU has 512, 1024 or 2048 MiB.
    if (least..=most).contains(&memory) && memory.is_multiple_of(step) && (cpu, memory) != (256, 1536) {
        return Ok((cpu, memory));
    }
    Err(Failure::usage(format!(
        "Fargate has no tasks with --container-memory {memory}MiB and this --container-cpu: {least}MiB to {most}MiB, in steps of {step}MiB"
    )))
}
