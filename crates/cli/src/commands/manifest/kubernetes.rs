//! Kubernetes objects, and the values of the Helm chart that renders the same ones.

use super::plan::{Plan, Work, check_address};
use super::{network, pod, scaling, service};
use crate::output::failure::Failure;
use crate::output::tree::{Tree, map, texts};
use crate::settings::deployment::Architecture;
use crate::settings::flags::{KedaIdentity, KubernetesArgs};

/// An object, and the comment above it.
pub(super) struct Object {
    pub(super) about: &'static str,
    pub(super) tree: Tree,
}

const HEADER: &str = "\
# Written by `wasmrun manifest kubernetes`. Change the configuration and print it again, or patch it with Kustomize.
";

/// Returns the objects as YAML, or the chart's values.
///
/// # Errors
///
/// Names a setting that can't work in a pod.
pub(super) fn print(args: &KubernetesArgs, plan: &Plan) -> Result<String, Failure> {
    check(args, plan)?;
    if args.helm_values {
        return Ok(format!("{VALUES_HEADER}{}", values(args, plan)?.to_yaml()));
    }
    let mut text = HEADER.to_owned();
    for Object { about, tree } in objects(args, plan)? {
        text.push_str("---\n");
        about.lines().for_each(|line| text.push_str(&format!("# {line}\n")));
        text.push_str(&tree.to_yaml());
    }
    Ok(text)
}

fn check(args: &KubernetesArgs, plan: &Plan) -> Result<(), Failure> {
    if let Some(status) = plan.status {
        check_address("--status", "probes", status)?;
    }
    if plan.work.requests().is_some() {
        service::check(args, plan)?;
    }
    match (args.job, plan.until_empty) {
        (false, Some(true)) => Err(Failure::usage(
            "a Deployment starts a worker again that ends with --until-empty: add --job, or leave it out",
        )),
        (true, Some(false)) => {
            Err(Failure::usage("a job ends when the queue is empty: leave out --until-empty=false"))
        }
        _ => Ok(()),
    }?;
    if args.max_pods == 0 || args.max_pods < min_pods(args, plan) {
        return Err(Failure::usage(format!(
            "--max-pods {} is too small: at least 1, and not less than --min-pods",
            args.max_pods
        )));
    }
    if args.messages_per_pod == 0 {
        return Err(Failure::usage("--messages-per-pod 0 is too small: at least 1"));
    }
    if args.keda_identity == KedaIdentity::Workload && args.role_arn.is_none() {
        return Err(Failure::usage(
            "--keda-identity workload needs the role of the service account: add --role-arn ARN",
        ));
    }
    Ok(())
}

/// Returns the number of pods that stay when there is nothing to do. A service has two, so that one may stop.
pub(super) fn min_pods(args: &KubernetesArgs, plan: &Plan) -> u16 {
    args.min_pods.unwrap_or(if plan.work.requests().is_some() { 2 } else { 0 })
}

/// Returns all objects, in the order in which a cluster can take them.
fn objects(args: &KubernetesArgs, plan: &Plan) -> Result<Vec<Object>, Failure> {
    let mut objects = vec![service_account(args, plan)];
    objects.extend(plan.settings.file.as_ref().map(|file| config_map(args, plan, file)));
    match &plan.work {
        Work::Queues(queues) if args.job => {
            objects.extend([scaling::authentication(args, plan), scaling::job(args, plan, queues)?]);
        }
        Work::Queues(_) if args.sidecar.is_some() => objects.push(pod::deployment(args, plan)),
        Work::Queues(queues) => objects.extend([
            pod::deployment(args, plan),
            scaling::authentication(args, plan),
            scaling::deployment(args, plan, queues)?,
            scaling::disruption_budget(args, plan),
        ]),
        Work::Requests(_) => objects.extend([
            pod::deployment(args, plan),
            service::service(args, plan),
            service::autoscaler(args, plan),
            scaling::disruption_budget(args, plan),
        ]),
    }
    if args.sidecar.is_none() {
        objects.push(network::policy(args, plan));
    }
    objects.push(network::pod_monitor(args, plan));
    Ok(objects)
}

/// Returns the metadata of an object.
pub(super) fn metadata(args: &KubernetesArgs, plan: &Plan) -> Tree {
    let namespace = args.namespace.as_ref().map(|namespace| namespace.as_str());
    map([("name", plan.container.name.as_str().into())])
        .with_some("namespace", namespace)
        .with("labels", labels(plan))
}

/// Returns the labels of all objects. They select the pods.
pub(super) fn labels(plan: &Plan) -> Tree {
    map([
        ("app.kubernetes.io/name", "wasmrun".into()),
        ("app.kubernetes.io/instance", plan.container.name.as_str().into()),
    ])
}

/// Returns the selector of the pods.
pub(super) fn selector(plan: &Plan) -> Tree {
    map([("matchLabels", labels(plan))])
}

/// Returns an object with `apiVersion` and `kind` first.
pub(super) fn object(api_version: &str, kind: &str, metadata: Tree) -> Tree {
    map([("apiVersion", api_version.into()), ("kind", kind.into()), ("metadata", metadata)])
}

fn service_account(args: &KubernetesArgs, plan: &Plan) -> Object {
    let annotations =
        args.role_arn.as_ref().map(|role| map([("eks.amazonaws.com/role-arn", role.as_str().into())]));
    let metadata = metadata(args, plan).with_some("annotations", annotations);
    Object {
        about: "The identity of the pods in AWS: EKS gives a role's credentials to pods with this service account. They don't\nneed the API server, so they get no token for it; EKS's own token is mounted apart from that.",
        tree: object("v1", "ServiceAccount", metadata).with("automountServiceAccountToken", false),
    }
}

fn config_map(args: &KubernetesArgs, plan: &Plan, file: &str) -> Object {
    Object {
        about: "The configuration file.",
        tree: object("v1", "ConfigMap", metadata(args, plan)).with("data", map([(pod::CONFIG, file.into())])),
    }
}

const VALUES_HEADER: &str = "\
# Written by `wasmrun manifest kubernetes --helm-values`: what the configuration needs. Values that follow from the
# configuration (stopSeconds, port, egressPorts, queue, service) must change together with it, so print them again.
";

/// Returns the values of the chart. Those that only a worker on a queue needs are left out for a service.
fn values(args: &KubernetesArgs, plan: &Plan) -> Result<Tree, Failure> {
    let role = args.role_arn.as_ref().map_or("", |role| role.as_str());
    let queues = plan.work.queues().iter().map(|queue| {
        Ok(map([
            ("url", scaling::queue_url(queue)?.into()),
            ("region", scaling::region(plan, queue).into()),
            ("endpoint", plan.endpoint.as_deref().unwrap_or_default().into()),
        ]))
    });
    let mut queues = queues.collect::<Result<Vec<Tree>, Failure>>()?.into_iter();
    let queue = queues.next();
    let more_queues: Vec<Tree> = queues.collect();
    let keda_identity = queue.is_some().then(|| scaling::owner(args));
    let messages_per_pod = queue.is_some().then_some(u64::from(args.messages_per_pod));
    Ok(map([
        ("name", plan.container.name.as_str().into()),
        ("image", plan.container.image.as_str().into()),
        ("architecture", architecture(plan).into()),
        ("config", plan.settings.file.as_deref().unwrap_or_default().into()),
        ("args", texts(pod::arguments(args, plan))),
        ("region", plan.container.region.as_str().into()),
        ("cache", pod::cache(plan).into()),
        ("port", u64::from(plan.port()).into()),
        ("stopSeconds", plan.stop_seconds().into()),
        ("cpu", pod::cpu(plan).into()),
        ("memory", pod::memory(plan).into()),
        ("roleArn", role.into()),
        ("podIdentity", args.pod_identity.into()),
    ])
    .with_some("kedaIdentity", keda_identity)
    .with_some("queue", queue)
    .with_some("moreQueues", (!more_queues.is_empty()).then_some(Tree::List(more_queues)))
    .with("service", service::values(plan))
    .with("minPods", u64::from(min_pods(args, plan)))
    .with("maxPods", u64::from(args.max_pods))
    .with_some("messagesPerPod", messages_per_pod)
    .with("egressPorts", Tree::List(plan.ports.iter().map(|port| u64::from(*port).into()).collect()))
    .with("monitoringNamespace", args.monitoring_namespace.as_str())
    .with("podMonitor", true)
    .with("prometheusRule", false)
    .with("dashboard", false))
}

/// Returns the value of the label `kubernetes.io/arch`.
pub(super) fn architecture(plan: &Plan) -> &'static str {
    match plan.container.architecture {
        Architecture::Amd64 => "amd64",
        Architecture::Arm64 => "arm64",
    }
}
