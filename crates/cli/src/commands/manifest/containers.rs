//! The containers of an ECS task: the worker, and in a sidecar its application.

use super::fargate::units;
use super::plan::{Plan, Work};
use crate::output::tree::{Tree, list, map, texts};
use crate::settings::flags::EcsArgs;
use std::net::SocketAddr;

/// Volume of compiled code.
pub(super) const CACHE_VOLUME: &str = "cache";
/// Cache of compiled code in the image, which a volume takes its owner and its mode from.
const CACHE: &str = "/var/cache/wasmrun";
/// Volume of the component that comes with the application.
pub(super) const COMPONENTS_VOLUME: &str = "components";
const COMPONENTS: &str = "/components";
/// Name of the container that copies the component.
const COPY: &str = "component";
/// The least time that a container must have run to be started again, in seconds: ECS's minimum.
const RESTART_SECONDS: u64 = 60;
/// A wrong configuration or component stays wrong when the worker is started again.
const USAGE_EXIT_CODE: u64 = 2;

/// Returns all containers of the task.
pub(super) fn all(args: &EcsArgs, plan: &Plan) -> Vec<Tree> {
    let Some(image) = args.sidecar.as_ref().map(|image| image.as_str()) else {
        return vec![worker(args, plan)];
    };
    let copy = of_application(args, plan).map(|path| copy(args, plan, image, path));
    [application(args, plan, image)].into_iter().chain(copy).chain([worker(args, plan)]).collect()
}

/// Returns the path of the component in the application's image, if it's a file: its image is the one that the user
/// builds.
pub(super) fn of_application<'a>(args: &EcsArgs, plan: &'a Plan) -> Option<&'a str> {
    let component = plan.component.as_str();
    (args.sidecar.is_some() && component.starts_with('/')).then_some(component)
}

fn application(args: &EcsArgs, plan: &Plan, image: &str) -> Tree {
    // The containers of a task share its network.
    let address = format!("http://127.0.0.1:{}", plan.port());
    map([("name", "app".into()), ("image", image.into()), ("essential", true.into())])
        .with("environment", list([variable("WASMRUN_ADDRESS", &address)]))
        .with("logConfiguration", logs(args, plan, "app"))
}

/// Returns a container that copies the component out of the application's image and ends, so that both always have the
/// same version.
fn copy(args: &EcsArgs, plan: &Plan, image: &str, path: &str) -> Tree {
    map([("name", COPY.into()), ("image", image.into()), ("essential", false.into())])
        .with("entryPoint", texts(["cp"]))
        .with("command", texts([path, &copied(path)]))
        // A volume that no image declares belongs to root.
        .with("user", "0")
        .with("readonlyRootFilesystem", true)
        .with("linuxParameters", no_capabilities())
        .with("mountPoints", list([mount(COMPONENTS_VOLUME, COMPONENTS, false)]))
        .with("logConfiguration", logs(args, plan, COPY))
}

fn worker(args: &EcsArgs, plan: &Plan) -> Tree {
    let is_sidecar = args.sidecar.is_some();
    let copied = of_application(args, plan).map(copied);
    let cache = if plan.is_cache_off { "off" } else { CACHE };
    let status = match (plan.status, &plan.work) {
        (Some(status), _) => status.to_string(),
        // On 127.0.0.1 alone: only `wasmrun health` needs it.
        (None, Work::Queues(_)) => plan.port().to_string(),
        // The load balancer needs it as well.
        (None, Work::Requests(_)) => format!("0.0.0.0:{}", plan.port()),
    };
    let variables = [
        variable("AWS_REGION", &plan.container.region),
        variable("WASMRUN_CACHE", cache),
        variable("WASMRUN_STATUS", &status),
    ];
    let components = copied.as_ref().map(|_| mount(COMPONENTS_VOLUME, COMPONENTS, true));
    let mounts = components.into_iter().chain([mount(CACHE_VOLUME, CACHE, false)]);
    let depends = copied
        .as_ref()
        .map(|_| list([map([("containerName", COPY.into()), ("condition", "SUCCESS".into())])]));
    map([("name", "wasmrun".into()), ("image", plan.container.image.as_str().into())])
        // The application goes on if its sidecar ends.
        .with("essential", !is_sidecar)
        .with_some("restartPolicy", is_sidecar.then(restart_policy))
        .with_some("dependsOn", depends)
        .with("command", texts(command(plan, copied.as_ref().unwrap_or(&plan.component))))
        .with("environment", list(variables))
        .with_some("cpu", is_sidecar.then(|| units(plan.container.cpu)))
        // A hard limit: if it's exceeded, the worker is killed and not the application.
        .with_some("memory", is_sidecar.then_some(plan.container.memory.0))
        .with("user", "65532")
        .with("readonlyRootFilesystem", true)
        .with("linuxParameters", no_capabilities())
        .with("mountPoints", list(mounts))
        .with("healthCheck", health_check())
        .with("stopTimeout", plan.stop_seconds())
        .with("logConfiguration", logs(args, plan, if is_sidecar { "wasmrun" } else { "worker" }))
        .with_some("portMappings", plan.work.requests().map(ports))
}

fn command(plan: &Plan, component: &str) -> Vec<String> {
    let mut settings = plan.settings.typed.clone().over(plan.settings.in_file.clone());
    // These are variables, because `wasmrun health` reads one of them, and the cache is the volume.
    settings.remove("status");
    settings.remove("cache");
    let (name, words) = match plan.work {
        Work::Queues(_) => ("run", settings.words()),
        Work::Requests(address) => {
            settings.serve_at(address);
            ("serve", settings.words_of_serve())
        }
    };
    [name.to_owned(), component.to_owned()].into_iter().chain(words).collect()
}

/// Returns the port of a service's requests.
fn ports(requests: SocketAddr) -> Tree {
    list([map([("containerPort", u64::from(requests.port()).into()), ("protocol", "tcp".into())])])
}

/// Returns the path to which the component is copied.
fn copied(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    format!("{COMPONENTS}/{name}")
}

fn restart_policy() -> Tree {
    map([
        ("enabled", true.into()),
        ("ignoredExitCodes", list([USAGE_EXIT_CODE.into()])),
        ("restartAttemptPeriod", RESTART_SECONDS.into()),
    ])
}

fn health_check() -> Tree {
    map([
        ("command", texts(["CMD", "/wasmrun", "health"])),
        ("interval", Tree::Number(10)),
        ("timeout", Tree::Number(5)),
        ("retries", Tree::Number(3)),
        // The component is fetched and compiled before the worker answers.
        ("startPeriod", Tree::Number(60)),
    ])
}

fn logs(args: &EcsArgs, plan: &Plan, prefix: &str) -> Tree {
    let named = args.log_group.as_ref().map(|group| group.as_str().to_owned());
    let group = named.unwrap_or_else(|| format!("/wasmrun/{}", plan.container.name));
    let options = map([
        ("awslogs-group", group.into()),
        ("awslogs-region", plan.container.region.as_str().into()),
        ("awslogs-stream-prefix", prefix.into()),
        // The containers don't block on their logs.
        ("mode", "non-blocking".into()),
        ("max-buffer-size", "8m".into()),
    ]);
    map([("logDriver", "awslogs".into()), ("options", options)])
}

fn variable(name: &str, value: &str) -> Tree {
    map([("name", name.into()), ("value", value.into())])
}

fn mount(volume: &str, path: &str, is_read_only: bool) -> Tree {
    map([("sourceVolume", volume.into()), ("containerPath", path.into()), ("readOnly", is_read_only.into())])
}

fn no_capabilities() -> Tree {
    map([("capabilities", map([("drop", texts(["ALL"]))]))])
}
