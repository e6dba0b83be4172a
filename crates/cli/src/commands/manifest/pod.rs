//! The pods, and the Deployment that runs them.

use super::kubernetes::{Object, architecture, labels, metadata, object, selector};
use super::plan::{Plan, Work};
use crate::output::tree::{Tree, list, map, texts};
use crate::settings::flags::KubernetesArgs;
use wasmrun_registry::Digest;

/// Name of the configuration file in its folder.
pub(super) const CONFIG: &str = "wasmrun.toml";
/// Name of the port of a service's requests.
pub(super) const REQUESTS: &str = "requests";
const CONFIG_FOLDER: &str = "/etc/wasmrun";
const CACHE_FOLDER: &str = "/var/cache/wasmrun";
/// A folder in the volume, because the volume itself belongs to root and is open to all users, and wasmrun takes only a
/// cache that is closed to others.
const CACHE: &str = "/var/cache/wasmrun/code";
/// Time that the application next to a sidecar has to stop, in seconds, before the sidecar is asked to: Kubernetes'
/// default.
const APPLICATION_SECONDS: u64 = 30;
/// Time between the end of a service's pod and SIGTERM, in seconds: proxies and load balancers still send new requests
/// until they have heard of it.
pub(super) const LAST_REQUESTS_SECONDS: u64 = 10;
/// User and group in the image.
const USER: u64 = 65_532;

pub(super) fn deployment(args: &KubernetesArgs, plan: &Plan) -> Object {
    let is_service = plan.work.requests().is_some();
    let spec = map([]).with_some("replicas", args.sidecar.is_some().then_some(1_u64));
    // A service's new pod answers before an old one stops.
    let strategy = is_service.then(|| {
        let rolling = map([("maxUnavailable", Tree::Number(0)), ("maxSurge", "25%".into())]);
        map([("type", "RollingUpdate".into()), ("rollingUpdate", rolling)])
    });
    let spec = spec.with_some("strategy", strategy);
    let about = if is_service {
        "The service's pods. There is no number of replicas, because the autoscaler sets it."
    } else if args.sidecar.is_some() {
        "The application, with the worker as a native sidecar: an init container that keeps running. It starts before the\napplication and stops after it. It has no readiness probe: it would take the application out of its services."
    } else {
        "The workers. There is no number of replicas, because KEDA sets it."
    };
    Object {
        about,
        tree: object("apps/v1", "Deployment", metadata(args, plan))
            .with("spec", spec.with("selector", selector(plan)).with("template", template(args, plan))),
    }
}

/// Returns the template of the pods.
pub(super) fn template(args: &KubernetesArgs, plan: &Plan) -> Tree {
    // With a new configuration, pods are replaced: a worker reads it when it starts.
    let digest = plan
        .settings
        .file
        .as_ref()
        .map(|file| map([("wasmrun/config-sha256", Digest::of(file.as_bytes()).hex().into())]));
    map([
        ("metadata", map([("labels", labels(plan))]).with_some("annotations", annotations(args, digest))),
        ("spec", spec(args, plan)),
    ])
}

/// Adds to the annotations of a job's pods that they aren't to be moved to another node.
fn annotations(args: &KubernetesArgs, digest: Option<Tree>) -> Option<Tree> {
    if !args.job {
        return digest;
    }
    let annotations = digest.unwrap_or_else(|| map([]));
    let annotations = annotations.with("cluster-autoscaler.kubernetes.io/safe-to-evict", "false");
    Some(annotations.with("karpenter.sh/do-not-disrupt", "true"))
}

fn spec(args: &KubernetesArgs, plan: &Plan) -> Tree {
    let containers = match &args.sidecar {
        None => map([("containers", list([worker(args, plan)]))]),
        Some(image) => map([
            ("initContainers", list([worker(args, plan)])),
            ("containers", list([application(plan, image.as_str())])),
        ]),
    };
    let restart = args.job.then_some("Never");
    let of_application = if args.sidecar.is_some() { APPLICATION_SECONDS } else { 0 };
    let last_requests = if plan.work.requests().is_some() { LAST_REQUESTS_SECONDS } else { 0 };
    let grace = plan.stop_seconds() + of_application + last_requests;
    let head = map([
        ("serviceAccountName", plan.container.name.as_str().into()),
        ("automountServiceAccountToken", false.into()),
        // Variables of services would look like settings.
        ("enableServiceLinks", false.into()),
    ]);
    let spec = head
        .with_some("restartPolicy", restart)
        .with("terminationGracePeriodSeconds", grace)
        .with(
            "nodeSelector",
            map([("kubernetes.io/os", "linux".into()), ("kubernetes.io/arch", architecture(plan).into())]),
        )
        .with(
            "securityContext",
            map([
                ("runAsNonRoot", true.into()),
                ("runAsUser", USER.into()),
                ("runAsGroup", USER.into()),
                ("seccompProfile", map([("type", "RuntimeDefault".into())])),
            ]),
        );
    let Tree::Map(containers) = containers else { return spec };
    let spec = containers.into_iter().fold(spec, |spec, (key, value)| spec.with(&key, value));
    let volumes = volumes(plan);
    if volumes.is_empty() { spec } else { spec.with("volumes", Tree::List(volumes)) }
}

/// Returns the security context that Pod Security's level `restricted` asks of containers, with a read-only root.
fn confined() -> Tree {
    map([
        ("allowPrivilegeEscalation", false.into()),
        ("readOnlyRootFilesystem", true.into()),
        ("capabilities", map([("drop", texts(["ALL"]))])),
    ])
}

fn worker(args: &KubernetesArgs, plan: &Plan) -> Tree {
    let is_sidecar = args.sidecar.is_some();
    let variable = |name: &str, value: &str| map([("name", name.into()), ("value", expanded(value).into())]);
    let container = map([("name", "wasmrun".into()), ("image", plan.container.image.as_str().into())])
        .with("imagePullPolicy", "IfNotPresent")
        .with_some("restartPolicy", is_sidecar.then_some("Always"))
        .with("args", texts(arguments(args, plan)))
        .with(
            "env",
            list([variable("AWS_REGION", &plan.container.region), variable("WASMRUN_CACHE", cache(plan))]),
        )
        .with("ports", Tree::List(ports(plan)))
        .with_some("lifecycle", plan.work.requests().map(|_| last_requests()));
    let container = if is_sidecar {
        // A startup probe would keep the application from starting until the worker has. Two minutes to compile.
        container.with("livenessProbe", probe("/healthz", 10, 3).with("initialDelaySeconds", 120_u64))
    } else {
        container
            // Five minutes to fetch and compile the component.
            .with("startupProbe", probe("/healthz", 2, 150))
            .with("livenessProbe", probe("/healthz", 10, 3))
            .with("readinessProbe", probe("/readyz", 10, 3))
    };
    let container =
        container.with("resources", resources(&cpu(plan), &memory(plan))).with("securityContext", confined());
    let mounts = mounts(plan);
    if mounts.is_empty() { container } else { container.with("volumeMounts", Tree::List(mounts)) }
}

/// Returns the ports of the container: the status, and a service's requests.
fn ports(plan: &Plan) -> Vec<Tree> {
    let port =
        |name: &str, port: u16| map([("name", name.into()), ("containerPort", u64::from(port).into())]);
    let requests = plan.work.requests().map(|address| port(REQUESTS, address.port()));
    std::iter::once(port("http", plan.port())).chain(requests).collect()
}

/// Returns what a service's container waits for before SIGTERM.
fn last_requests() -> Tree {
    map([("preStop", map([("sleep", map([("seconds", LAST_REQUESTS_SECONDS.into())]))]))])
}

fn application(plan: &Plan, image: &str) -> Tree {
    let address = format!("http://127.0.0.1:{}", plan.port());
    map([("name", "app".into()), ("image", image.into())])
        .with("imagePullPolicy", "IfNotPresent")
        .with("env", list([map([("name", "WASMRUN_ADDRESS".into()), ("value", address.into())])]))
        .with("resources", resources("500m", "512Mi"))
        .with("securityContext", confined())
}

/// Returns the arguments of the container: the configuration file, and the settings that aren't in it.
pub(super) fn arguments(args: &KubernetesArgs, plan: &Plan) -> Vec<String> {
    let mut typed = plan.settings.typed.clone();
    typed.remove("cache");
    typed.remove("until-empty");
    let (name, settings) = match plan.work {
        Work::Queues(_) => ("run", typed.words()),
        Work::Requests(address) => {
            // The address, unless the file has it.
            if !plan.settings.in_file.has_requests() {
                typed.serve_at(address);
            }
            ("serve", typed.words_of_serve())
        }
    };
    let mut words = vec![name.to_owned()];
    if plan.is_component_typed {
        words.push(plan.component.clone());
    }
    if plan.settings.file.is_some() {
        words.extend(["--config".to_owned(), format!("{CONFIG_FOLDER}/{CONFIG}")]);
    }
    words.extend(settings);
    if plan.status.is_none() {
        words.extend(["--status".to_owned(), format!("0.0.0.0:{}", plan.port())]);
    }
    if args.job {
        words.push("--until-empty".into());
    }
    words.iter().map(|word| expanded(word)).collect()
}

/// Writes a text so that Kubernetes expands it to itself: it replaces `$(NAME)` by a variable, and `$$` by `$`.
fn expanded(text: &str) -> String {
    text.replace('$', "$$")
}

fn probe(path: &str, period_seconds: u64, failures: u64) -> Tree {
    map([
        ("httpGet", map([("path", path.into()), ("port", "http".into())])),
        ("periodSeconds", period_seconds.into()),
        ("timeoutSeconds", Tree::Number(5)),
        ("failureThreshold", failures.into()),
    ])
}

/// Returns requests and limits. They are the same: the worker computes the number of its threads and tasks from the
/// limits, which the node must therefore have.
fn resources(cpu: &str, memory: &str) -> Tree {
    let amounts = || map([("cpu", cpu.into()), ("memory", memory.into())]);
    map([("requests", amounts()), ("limits", amounts())])
}

/// Returns the vCPUs as a Kubernetes quantity, in its canonical form.
pub(super) fn cpu(plan: &Plan) -> String {
    match plan.container.cpu.0 {
        whole if whole.is_multiple_of(1000) => (whole / 1000).to_string(),
        thousandths => format!("{thousandths}m"),
    }
}

/// Returns the memory as a Kubernetes quantity, in its canonical form.
pub(super) fn memory(plan: &Plan) -> String {
    match plan.container.memory.0 {
        whole if whole.is_multiple_of(1024) => format!("{}Gi", whole / 1024),
        mib => format!("{mib}Mi"),
    }
}

/// Returns the folder of compiled code, or `off`.
pub(super) fn cache(plan: &Plan) -> &'static str {
    if plan.is_cache_off { "off" } else { CACHE }
}

fn volumes(plan: &Plan) -> Vec<Tree> {
    let cache = (!plan.is_cache_off)
        .then(|| map([("name", "cache".into()), ("emptyDir", map([("sizeLimit", "512Mi".into())]))]));
    let config = plan.settings.file.as_ref().map(|_| {
        map([("name", "config".into()), ("configMap", map([("name", plan.container.name.as_str().into())]))])
    });
    cache.into_iter().chain(config).collect()
}

fn mounts(plan: &Plan) -> Vec<Tree> {
    let cache =
        (!plan.is_cache_off).then(|| map([("name", "cache".into()), ("mountPath", CACHE_FOLDER.into())]));
    let config = plan.settings.file.as_ref().map(|_| {
        map([("name", "config".into()), ("mountPath", CONFIG_FOLDER.into()), ("readOnly", true.into())])
    });
    cache.into_iter().chain(config).collect()
}
