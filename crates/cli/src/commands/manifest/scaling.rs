//! KEDA's objects, which set the number of pods from the queue's depth, and the disruption budget.
//!
//! Source: KEDA 2.20, "AWS SQS Queue", "AWS (IRSA) Pod Identity Webhook", "ScaledObject specification" and "ScaledJob
//! specification".

use super::kubernetes::{Object, metadata, min_pods, object, selector};
use super::plan::{Plan, Queue};
use super::pod;
use crate::output::failure::Failure;
use crate::output::tree::{Tree, list, map};
use crate::settings::flags::{KedaIdentity, KubernetesArgs};

/// How often KEDA reads the queue's depth, in seconds. It's KEDA's default, and a pod takes about as long to start.
const POLLING_SECONDS: u64 = 30;
/// How long the number of pods stays high after it was last needed, in seconds: as long as the scale-in delay of a
/// worker.
const SCALE_IN_SECONDS: u64 = 300;

pub(super) fn authentication(args: &KubernetesArgs, plan: &Plan) -> Object {
    let identity = map([("provider", "aws".into()), ("identityOwner", owner(args).into())]);
    Object {
        about: "With which role KEDA reads the queue's depth: it needs sqs:GetQueueAttributes.",
        tree: object("keda.sh/v1alpha1", "TriggerAuthentication", metadata(args, plan))
            .with("spec", map([("podIdentity", identity)])),
    }
}

/// Returns whose role reads the queue's depth, as KEDA names it.
pub(super) fn owner(args: &KubernetesArgs) -> &'static str {
    match args.keda_identity {
        KedaIdentity::Keda => "keda",
        KedaIdentity::Workload => "workload",
    }
}

pub(super) fn deployment(args: &KubernetesArgs, plan: &Plan, queues: &[Queue]) -> Result<Object, Failure> {
    // Messages that wait are in the queue already, so nothing is gained by waiting.
    let behavior = behavior();
    let spec = map([
        ("scaleTargetRef", map([("name", plan.container.name.as_str().into())])),
        ("pollingInterval", POLLING_SECONDS.into()),
        ("cooldownPeriod", SCALE_IN_SECONDS.into()),
        ("minReplicaCount", u64::from(min_pods(args, plan)).into()),
        ("maxReplicaCount", u64::from(args.max_pods).into()),
        ("advanced", map([("horizontalPodAutoscalerConfig", map([("behavior", behavior)]))])),
        ("triggers", triggers(args, plan, queues)?),
    ]);
    Ok(Object {
        about: "The number of pods: from zero with the first message, one for each queueLength messages. Messages in flight count,\nso that a pod with running tasks is not the one too many.",
        tree: object("keda.sh/v1alpha1", "ScaledObject", metadata(args, plan)).with("spec", spec),
    })
}

/// Returns how fast the number of pods changes: it grows at once, and shrinks slowly.
pub(super) fn behavior() -> Tree {
    let policy =
        map([("type", "Percent".into()), ("value", Tree::Number(50)), ("periodSeconds", Tree::Number(60))]);
    map([
        ("scaleUp", map([("stabilizationWindowSeconds", Tree::Number(0))])),
        // A pod that is stopped releases what it can't finish, so few are stopped at a time.
        (
            "scaleDown",
            map([("stabilizationWindowSeconds", SCALE_IN_SECONDS.into()), ("policies", list([policy]))]),
        ),
    ])
}

pub(super) fn job(args: &KubernetesArgs, plan: &Plan, queues: &[Queue]) -> Result<Object, Failure> {
    let target = map([
        ("parallelism", Tree::Number(1)),
        ("completions", Tree::Number(1)),
        // The messages of a job that failed are in the queue again, and KEDA starts another job for them.
        ("backoffLimit", Tree::Number(0)),
        ("template", pod::template(args, plan)),
    ]);
    let spec = map([
        ("jobTargetRef", target),
        ("pollingInterval", POLLING_SECONDS.into()),
        ("minReplicaCount", Tree::Number(0)),
        ("maxReplicaCount", u64::from(args.max_pods).into()),
        ("successfulJobsHistoryLimit", Tree::Number(3)),
        ("failedJobsHistoryLimit", Tree::Number(5)),
        // A change of this object doesn't end running jobs.
        ("rollout", map([("strategy", "gradual".into())])),
        // Messages in flight count, and running jobs are subtracted.
        ("scalingStrategy", map([("strategy", "default".into())])),
        ("triggers", triggers(args, plan, queues)?),
    ]);
    Ok(Object {
        about: "Jobs: each works until the queue is empty. No pod is stopped while it has tasks, which suits tasks that take\nminutes.",
        tree: object("keda.sh/v1alpha1", "ScaledJob", metadata(args, plan)).with("spec", spec),
    })
}

/// Returns a trigger for each queue. KEDA takes the largest number of pods that one of them asks for.
fn triggers(args: &KubernetesArgs, plan: &Plan, queues: &[Queue]) -> Result<Tree, Failure> {
    Ok(Tree::List(queues.iter().map(|queue| trigger(args, plan, queue)).collect::<Result<_, _>>()?))
}

fn trigger(args: &KubernetesArgs, plan: &Plan, queue: &Queue) -> Result<Tree, Failure> {
    // KEDA takes all of these as texts.
    let settings = map([
        ("queueURL", queue_url(queue)?.into()),
        ("queueLength", args.messages_per_pod.to_string().into()),
        ("activationQueueLength", "0".into()),
        ("scaleOnInFlight", "true".into()),
        // A delayed message can't be received yet.
        ("scaleOnDelayed", "false".into()),
        ("awsRegion", region(plan, queue).into()),
    ])
    .with_some("awsEndpoint", plan.endpoint.as_deref());
    Ok(map([
        ("type", "aws-sqs-queue".into()),
        ("metadata", settings),
        ("authenticationRef", map([("name", plan.container.name.as_str().into())])),
    ]))
}

/// Returns the region of the queue.
pub(super) fn region<'a>(plan: &'a Plan, queue: &'a Queue) -> &'a str {
    queue.place.region.as_deref().unwrap_or(&plan.container.region)
}

/// Returns the queue as KEDA takes it: a URL with account and name as its path, or a name.
pub(super) fn queue_url(queue: &Queue) -> Result<&str, Failure> {
    let Some(url) = queue.place.url.as_deref() else {
        if queue.address.starts_with("arn:") {
            return Err(Failure::usage(format!(
                "KEDA takes no ARN, and the URL of {} is not known: name the queue by its URL",
                queue.address
            )));
        }
        return Ok(&queue.address);
    };
    if url.splitn(4, '/').nth(3).is_some_and(|path| path.split('/').count() == 2) {
        return Ok(url);
    }
    Err(Failure::usage(format!("KEDA takes no queue such as {url}: its URL must end in /ACCOUNT/NAME")))
}

pub(super) fn disruption_budget(args: &KubernetesArgs, plan: &Plan) -> Object {
    let spec = map([
        ("maxUnavailable", Tree::Number(1)),
        ("selector", selector(plan)),
        // A pod that isn't ready waits for a queue or a store, and may do so on another node.
        ("unhealthyPodEvictionPolicy", "AlwaysAllow".into()),
    ]);
    Object {
        about: "When nodes are drained, one pod at a time stops.",
        tree: object("policy/v1", "PodDisruptionBudget", metadata(args, plan)).with("spec", spec),
    }
}
