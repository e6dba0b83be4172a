//! Figures of the platforms, with their sources. AWS and Kubernetes publish some of them as defaults; times to start
//! are what others measured.

use std::time::Duration;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Time from the launch of a Fargate task until it runs: 53 to 62 s with an image of 413 MB, in ten runs
/// (elasticscale.com). Others report 60 to 90 s (aws/containers-roadmap#649).
pub const FARGATE_START: (Duration, Duration) = (seconds(53), seconds(62));
/// Time from the creation of a pod until it runs. An assumption, on which the polling interval of `wasmrun manifest
/// kubernetes` is based as well: a node with room exists, and the image is pulled.
pub const POD_START: (Duration, Duration) = (seconds(10), seconds(30));
/// Tasks that Fargate starts at once, and then in a second (AWS Fargate's quotas "burst rate" and "sustained rate").
pub const FARGATE_LAUNCHES: (f64, f64) = (100.0, 20.0);
/// Interval of the metrics of SQS and of Container Insights, and of the alarms on them.
pub const METRIC_PERIOD: Duration = seconds(60);
/// Number of periods after which a metric's value can be seen by an alarm: SQS's approximate numbers are right about a
/// minute late (API reference of GetQueueAttributes).
pub const METRIC_LATE_PERIODS: usize = 1;
/// Number of periods above the target until target tracking scales out (aws/copilot-cli#3376).
pub const TRACKING_OUT_PERIODS: usize = 3;
/// Number of periods below the target until target tracking scales in (aws/copilot-cli#3376,
/// aws/containers-roadmap#2113).
pub const TRACKING_IN_PERIODS: usize = 15;
/// Share of the target below which target tracking scales in: its low alarm is 10 % below the target, which keeps the
/// number of tasks from going up and down.
pub const TRACKING_IN_SHARE: f64 = 0.9;
/// Cooldowns after scaling out and in: `ScaleOutCooldown` and `ScaleInCooldown` of `deploy/ecs/batch.yaml`.
pub const TRACKING_COOLDOWNS: (Duration, Duration) = (seconds(60), seconds(300));
/// Number of periods in which messages wait and no worker runs, until the alarm of `deploy/ecs/batch.yaml` starts some.
pub const WAKE_PERIODS: usize = 3;
/// Cooldown of that alarm's policy.
pub const WAKE_COOLDOWN: Duration = seconds(180);
/// Workers that the alarm starts, by the least number of workers that the backlog needs: `StepAdjustments` of
/// `deploy/ecs/batch.yaml`.
pub const WAKE_STEPS: [(f64, u32); 4] = [(32.0, 32), (8.0, 8), (2.0, 2), (0.0, 1)];
/// Number of periods without a message until the last workers are stopped: the default of `IdleMinutes` of
/// `deploy/ecs/batch.yaml`.
pub const IDLE_PERIODS: usize = 15;
/// Step scaling: periods above and below the threshold until it acts, and the cooldowns after it. AWS has no default
/// but the cooldown of 300 s; these are those of an operator who wants to be quick out and slow in.
pub const STEP_PERIODS: (usize, usize) = (1, 5);
/// See [`STEP_PERIODS`].
pub const STEP_COOLDOWNS: (Duration, Duration) = (seconds(60), seconds(300));
/// Step scaling: percent of the workers to add, by the least ratio of the backlog's time to the acceptable latency.
pub const STEP_OUT_PERCENT: [(f64, f64); 3] = [(4.0, 200.0), (2.0, 100.0), (1.0, 50.0)];
/// Step scaling: ratio below which workers are removed, and percent of them.
pub const STEP_IN: (f64, f64) = (0.5, 25.0);
/// How often KEDA reads the queue's depth to start the first pod: `pollingInterval` of `wasmrun manifest kubernetes`.
pub const KEDA_POLL: Duration = seconds(30);
/// How long the queue must be empty until KEDA stops the last pod: `cooldownPeriod` of `wasmrun manifest kubernetes`.
pub const KEDA_COOLDOWN: Duration = seconds(300);
/// How often the horizontal pod autoscaler decides (Kubernetes: `--horizontal-pod-autoscaler-sync-period`).
pub const HPA_SYNC: Duration = seconds(15);
/// Relative difference from the target below which it does nothing (Kubernetes:
/// `--horizontal-pod-autoscaler-tolerance`).
pub const HPA_TOLERANCE: f64 = 0.1;
/// Largest step out in [`HPA_SYNC`]: this factor, or this number of pods if that is more (Kubernetes' defaults).
pub const HPA_OUT: (f64, u32) = (2.0, 4);
/// How long the highest recommendation holds: `stabilizationWindowSeconds` of `wasmrun manifest kubernetes`.
pub const HPA_STABILIZATION: Duration = seconds(300);
/// Largest step in: this share of the pods within this time (`scaleDown` of `wasmrun manifest kubernetes`).
pub const HPA_IN: (f64, Duration) = (0.5, seconds(60));
/// Shortest billed time of a Fargate task (AWS Fargate pricing).
pub const FARGATE_LEAST_BILLED: Duration = seconds(60);
/// Time of a call to SQS from a worker in the same region. An assumption: some milliseconds.
pub const SQS_LATENCY: Duration = Duration::from_millis(10);
/// Time of a call to a queue in a file, which waits for the disk.
pub const SQLITE_LATENCY: Duration = Duration::from_millis(2);
