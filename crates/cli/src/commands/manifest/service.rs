//! What a service has instead of a queue: an address in the cluster, and an autoscaler that follows the CPU.

use super::kubernetes::{Object, labels, metadata, min_pods, object};
use super::plan::{self, Plan};
use super::{pod, scaling};
use crate::output::failure::Failure;
use crate::output::tree::{Tree, list, map};
use crate::settings::flags::{KedaIdentity, KubernetesArgs};

/// Port of the service in the cluster.
const PORT: u64 = 80;
/// CPU time of the pods that the autoscaler keeps, in per cent of what they request. What is left bears the requests
/// that come while a new pod starts.
const CPU_PERCENT: u64 = 60;

/// Refuses flags that are for workers on a queue.
pub(super) fn check(args: &KubernetesArgs, plan: &Plan) -> Result<(), Failure> {
    let of_queues = [
        ("job", args.job),
        ("sidecar", args.sidecar.is_some()),
        ("keda-identity", args.keda_identity != KedaIdentity::Keda),
    ];
    if let Some((flag, _)) = of_queues.into_iter().find(|(_, is_set)| *is_set) {
        plan.work.check_flag(flag)?;
    }
    if min_pods(args, plan) == 0 {
        return Err(Failure::usage("--min-pods 0 is too small: a service without pods answers no request"));
    }
    Ok(())
}

/// Returns the chart's values of a service, which are also there, but off, for a worker on a queue.
pub(super) fn values(plan: &Plan) -> Tree {
    let address = plan.work.requests();
    map([
        ("enabled", address.is_some().into()),
        ("port", u64::from(address.unwrap_or(plan::REQUESTS).port()).into()),
        ("preStopSeconds", pod::LAST_REQUESTS_SECONDS.into()),
        ("cpuPercent", CPU_PERCENT.into()),
    ])
}

pub(super) fn service(args: &KubernetesArgs, plan: &Plan) -> Object {
    let port = map([
        ("name", "http".into()),
        ("port", PORT.into()),
        ("targetPort", pod::REQUESTS.into()),
        ("appProtocol", "http".into()),
    ]);
    let spec = map([("selector", labels(plan)), ("ports", list([port]))]);
    Object {
        about: "The address of the service in the cluster, for an Ingress or a Gateway, which also ends TLS.",
        tree: object("v1", "Service", metadata(args, plan)).with("spec", spec),
    }
}

pub(super) fn autoscaler(args: &KubernetesArgs, plan: &Plan) -> Object {
    let target = map([
        ("apiVersion", "apps/v1".into()),
        ("kind", "Deployment".into()),
        ("name", plan.container.name.as_str().into()),
    ]);
    let goal = map([("type", "Utilization".into()), ("averageUtilization", CPU_PERCENT.into())]);
    let cpu =
        map([("type", "Resource".into()), ("resource", map([("name", "cpu".into()), ("target", goal)]))]);
    let spec = map([
        ("scaleTargetRef", target),
        ("minReplicas", u64::from(min_pods(args, plan)).into()),
        ("maxReplicas", u64::from(args.max_pods).into()),
        ("metrics", list([cpu])),
        ("behavior", scaling::behavior()),
    ]);
    Object {
        about: "The number of pods, by their CPU time. It needs the metrics server. For a component that waits for others more than it\ncomputes, use another metric, such as wasmrun_instances_running.",
        tree: object("autoscaling/v2", "HorizontalPodAutoscaler", metadata(args, plan)).with("spec", spec),
    }
}
