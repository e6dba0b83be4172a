//! What may connect to the pods, what the pods may connect to, and who reads their metrics.

use super::kubernetes::{Object, metadata, object, selector};
use super::plan::Plan;
use crate::output::tree::{Tree, list, map, texts};
use crate::settings::flags::KubernetesArgs;

/// Link-local addresses. They include the instance metadata service (169.254.169.254) and the credentials of ECS
/// (169.254.170.2) and EKS Pod Identity (169.254.170.23).
const LINK_LOCAL: &str = "169.254.0.0/16";
/// The same in IPv6: link-local addresses, and those of AWS's services on an instance, such as fd00:ec2::254.
const LINK_LOCAL_6: [&str; 2] = ["fe80::/10", "fd00:ec2::/32"];
/// Addresses and port of the agent of EKS Pod Identity ("EKS Pod Identity" in the user guide of EKS).
const POD_IDENTITY: [&str; 2] = ["169.254.170.23/32", "fd00:ec2::23/128"];
const POD_IDENTITY_PORT: u64 = 80;
/// Address of NodeLocal DNSCache, where a cluster has it.
const NODE_LOCAL_DNS: &str = "169.254.20.10/32";

const OF_WORKER: &str = "In: only requests for metrics. Out: only DNS and the ports that the settings need, and never the metadata service.\nA network policy can't name AWS's hosts: what these ports reach, the role and the grants bound.";
const OF_SERVICE: &str = "In: requests from everywhere, and requests for metrics. Out: only DNS and the ports that the settings need, and never\nthe metadata service. A network policy can't name AWS's hosts: what these ports reach, the role and the grants bound.";

pub(super) fn policy(args: &KubernetesArgs, plan: &Plan) -> Object {
    let port = |protocol: &str, port: u64| map([("protocol", protocol.into()), ("port", port.into())]);
    let block = |addresses: &str| map([("ipBlock", map([("cidr", addresses.into())]))]);
    let except = |addresses: &str, except: Tree| {
        map([("ipBlock", map([("cidr", addresses.into()), ("except", except)]))])
    };
    let namespace = |name: &str| map([("matchLabels", map([("kubernetes.io/metadata.name", name.into())]))]);
    let metrics = map([
        ("from", list([map([("namespaceSelector", namespace(args.monitoring_namespace.as_str()))])])),
        ("ports", list([port("TCP", plan.port().into())])),
    ]);
    let requests =
        plan.work.requests().map(|address| map([("ports", list([port("TCP", address.port().into())]))]));
    let about = if requests.is_some() { OF_SERVICE } else { OF_WORKER };
    let dns = map([
        (
            "to",
            list([
                map([
                    ("namespaceSelector", namespace("kube-system")),
                    ("podSelector", map([("matchLabels", map([("k8s-app", "kube-dns".into())]))])),
                ]),
                block(NODE_LOCAL_DNS),
            ]),
        ),
        ("ports", list([port("UDP", 53), port("TCP", 53)])),
    ]);
    let services = map([
        ("to", list([except("0.0.0.0/0", texts([LINK_LOCAL])), except("::/0", texts(LINK_LOCAL_6))])),
        ("ports", Tree::List(plan.ports.iter().map(|number| port("TCP", u64::from(*number))).collect())),
    ]);
    let mut egress = vec![dns, services];
    if args.pod_identity {
        egress.push(map([
            ("to", list(POD_IDENTITY.map(block))),
            ("ports", list([port("TCP", POD_IDENTITY_PORT)])),
        ]));
    }
    let spec = map([
        ("podSelector", selector(plan)),
        ("policyTypes", texts(["Ingress", "Egress"])),
        ("ingress", Tree::List(std::iter::once(metrics).chain(requests).collect())),
        ("egress", Tree::List(egress)),
    ]);
    Object {
        about,
        tree: object("networking.k8s.io/v1", "NetworkPolicy", metadata(args, plan)).with("spec", spec),
    }
}

pub(super) fn pod_monitor(args: &KubernetesArgs, plan: &Plan) -> Object {
    let endpoint = map([("port", "http".into()), ("path", "/metrics".into()), ("interval", "30s".into())]);
    let spec = map([("selector", selector(plan)), ("podMetricsEndpoints", list([endpoint]))]);
    Object {
        about: "Lets the Prometheus operator read the metrics. Leave it out in a cluster without that operator.",
        tree: object("monitoring.coreos.com/v1", "PodMonitor", metadata(args, plan)).with("spec", spec),
    }
}
