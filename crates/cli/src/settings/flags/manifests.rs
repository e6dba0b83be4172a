//! Flags of `manifest`.

use super::tasks::RunArgs;
use crate::settings::deployment::{
    Architecture, Family, Image, LogGroup, Memory, Name, Namespace, Region, Role, Vcpu,
};
use crate::settings::text::typed;
use clap::{Args, Subcommand, ValueEnum};

/// Print the manifest of a worker on Kubernetes or ECS
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Takes the flags of `run`, and calls no service. What a configuration doesn't say, such as the image, is a \
flag with a default. `wasmrun policy` with the same flags prints the rights that the worker's role needs. \
A configuration with the table [serve] and without a queue is that of a service: the container runs \
`wasmrun serve`.

Examples:
  wasmrun manifest kubernetes --config worker.toml | kubectl apply -f -
  wasmrun manifest kubernetes --config worker.toml --job
  wasmrun manifest ecs --config worker.toml > task-definition.json

Exit codes: 0 success, 2 wrong usage or configuration, or a setting that can't work there.")]
pub(crate) struct ManifestArgs {
    /// The platform
    #[command(subcommand)]
    pub(crate) platform: Platform,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Platform {
    Kubernetes(Box<KubernetesArgs>),
    Ecs(Box<EcsArgs>),
}

/// What the manifests of both platforms need besides the settings of the worker.
#[derive(Clone, Debug, Args)]
pub(crate) struct ContainerArgs {
    /// Name of the worker and its resources
    #[arg(long, value_name = "NAME", default_value = "wasmrun", value_parser = typed::<Name>)]
    pub(crate) name: Name,
    /// Container image of wasmrun [default: wasmrun, in this version, in the ECR of the queue's account and region]
    #[arg(long, value_name = "IMAGE", value_parser = typed::<Image>)]
    pub(crate) image: Option<Image>,
    /// Processor of the image
    #[arg(long, value_name = "ARCHITECTURE", default_value = "amd64")]
    pub(crate) architecture: Architecture,
    /// vCPUs of the container
    #[arg(long, value_name = "N", default_value = "1", value_parser = typed::<Vcpu>)]
    pub(crate) container_cpu: Vcpu,
    /// Memory of the container, which bounds the number of concurrent tasks
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = typed::<Memory>)]
    pub(crate) container_memory: Memory,
    /// Region of AWS [default: the queue's, or AWS_REGION]
    #[arg(long, value_name = "REGION", value_parser = typed::<Region>)]
    pub(crate) region: Option<Region>,
}

/// Print Kubernetes objects (YAML): a Deployment or jobs that KEDA scales, and all that belongs to them
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Needs Kubernetes 1.29 or later and KEDA 2.13 or later in the cluster, and for the PodMonitor the Prometheus \
operator. A service needs Kubernetes 1.30 or later and the metrics server instead of KEDA. The cluster's \
namespace is that of `kubectl`, unless --namespace names one.

Examples:
  wasmrun manifest kubernetes --config worker.toml --name thumbnails \\
      --role-arn arn:aws:iam::123456789012:role/thumbnails
  wasmrun manifest kubernetes --config worker.toml --pod-identity --job
  wasmrun manifest kubernetes --config worker.toml --sidecar my-app:1.0.0
  wasmrun manifest kubernetes --config worker.toml --helm-values
  wasmrun manifest kubernetes --config service.toml --region eu-west-1 \\
      --image wasmrun:0.1.0

Exit codes: 0 success, 2 wrong usage or configuration, or a setting that can't work in a pod.")]
// A field for each flag or group of flags.
pub(crate) struct KubernetesArgs {
    #[command(flatten)]
    pub(crate) container: ContainerArgs,
    /// Namespace of all objects [default: left out]
    #[arg(long, value_name = "NAMESPACE", value_parser = typed::<Namespace>)]
    pub(crate) namespace: Option<Namespace>,
    /// Role that the pods assume with their service account's web identity (IRSA)
    #[arg(long, value_name = "ARN", conflicts_with = "pod_identity", value_parser = typed::<Role>)]
    pub(crate) role_arn: Option<Role>,
    /// Let pods reach the agent of EKS Pod Identity, which gives them the role that is associated with the service account
    #[arg(long)]
    pub(crate) pod_identity: bool,
    /// Whose role reads the queue's depth: the KEDA operator's own, or the pods', which must trust the operator
    #[arg(long, value_name = "OWNER", default_value = "keda")]
    pub(crate) keda_identity: KedaIdentity,
    /// Print a ScaledJob instead of a Deployment: each job ends when the queue is empty
    #[arg(long, conflicts_with = "sidecar")]
    pub(crate) job: bool,
    /// Print a Deployment of this application's image, with the worker as a native sidecar, and without scaling
    #[arg(long, value_name = "IMAGE", value_parser = typed::<Image>)]
    pub(crate) sidecar: Option<Image>,
    /// Number of pods that stay when there is nothing to do [default: 0, and 2 of a service]
    #[arg(long, value_name = "N", conflicts_with = "job")]
    pub(crate) min_pods: Option<u16>,
    /// Maximum number of pods
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) max_pods: u16,
    /// Number of messages for each pod: those that a pod can handle in the time that a message may wait
    #[arg(long, value_name = "N", default_value_t = 600)]
    pub(crate) messages_per_pod: u32,
    /// Namespace from which Prometheus may read the metrics
    #[arg(long, value_name = "NAMESPACE", default_value = "monitoring", value_parser = typed::<Namespace>)]
    pub(crate) monitoring_namespace: Namespace,
    /// Print values for the Helm chart in deploy/kubernetes/chart instead of objects
    #[arg(long, conflicts_with_all = ["job", "sidecar", "namespace"])]
    pub(crate) helm_values: bool,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Whose role reads the queue's depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KedaIdentity {
    /// The KEDA operator's own
    Keda,
    /// The one of the pods' service account
    Workload,
}

/// Print an ECS task definition for Fargate (JSON)
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
A task has no configuration file: the file's settings become flags of the container's command.

Examples:
  wasmrun manifest ecs --config worker.toml > task-definition.json
  wasmrun manifest ecs --config worker.toml --name thumbnails \\
      --container-cpu 2 --container-memory 4GiB --stop-timeout 110s
  wasmrun manifest ecs --config worker.toml --sidecar my-app:1.0.0 \\
      --container-cpu 0.25 --container-memory 1GiB

Exit codes: 0 success, 2 wrong usage or configuration, or a setting that can't work on Fargate.")]
pub(crate) struct EcsArgs {
    #[command(flatten)]
    pub(crate) container: ContainerArgs,
    /// Family of the task definition [default: the name]
    #[arg(long, value_name = "FAMILY", value_parser = typed::<Family>)]
    pub(crate) family: Option<Family>,
    /// Role of the worker [default: NAME-task in the queue's account]
    #[arg(long, value_name = "ARN", value_parser = typed::<Role>)]
    pub(crate) task_role: Option<Role>,
    /// Role with which ECS pulls the image and writes logs [default: NAME-execution in the queue's account]
    #[arg(long, value_name = "ARN", value_parser = typed::<Role>)]
    pub(crate) execution_role: Option<Role>,
    /// Print the task of this application's image, with the worker as a sidecar: the application goes on if the
    /// worker ends. A component that is a file is one of this image
    #[arg(long, value_name = "IMAGE", value_parser = typed::<Image>)]
    pub(crate) sidecar: Option<Image>,
    /// vCPUs of the sidecar and its application together [default: twice those of the container]
    #[arg(long, value_name = "N", requires = "sidecar", value_parser = typed::<Vcpu>)]
    pub(crate) task_cpu: Option<Vcpu>,
    /// Memory of the sidecar and its application together [default: twice that of the container]
    #[arg(long, value_name = "SIZE", requires = "sidecar", value_parser = typed::<Memory>)]
    pub(crate) task_memory: Option<Memory>,
    /// Log group in CloudWatch [default: /wasmrun/NAME]
    #[arg(long, value_name = "GROUP", value_parser = typed::<LogGroup>)]
    pub(crate) log_group: Option<LogGroup>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}
