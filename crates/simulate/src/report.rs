//! The result of a simulation. Times are in seconds.

use serde::Serialize;

/// The result of a simulation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Seed of the simulation.
    pub seed: u64,
    /// Simulated time until all messages were settled, or until it was ended.
    pub simulated_seconds: f64,
    /// What was counted.
    #[serde(flatten)]
    pub counts: Counts,
    /// Number of messages that were not settled when the simulation ended.
    pub left: u64,
    /// Time from arrival to deletion, of messages whose task completed.
    pub latency: Option<Spread>,
    /// Time from arrival to the start of the message's first task.
    pub wait: Option<Spread>,
    /// Number of messages that wait.
    pub backlog: Mean,
    /// Number of tasks that run.
    pub concurrency: Mean,
    /// Number of workers that are ready.
    pub workers: Mean,
    /// Time of all tasks.
    pub task_seconds: f64,
    /// Rows of tenants; none without tenants.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<TenantRow>,
    /// Values over time.
    pub series: Series,
}

/// What is counted while a fleet is simulated: a field for each count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Number of messages that arrived.
    pub arrived: u64,
    /// Number of messages whose task completed and that were deleted.
    pub completed: u64,
    /// Number of messages that were dead-lettered.
    pub dead_lettered: u64,
    /// Time of all workers, from launch to end.
    pub worker_seconds: f64,
    /// The same as it is billed: whole seconds, and at least the shortest billed time of each.
    pub billed_seconds: f64,
    /// Number of workers that were launched.
    pub launched: u64,
    /// Number of workers that ended without a message.
    pub idle_starts: u64,
    /// Number of workers that were started though no message waited.
    pub stray_starts: u64,
    /// Number of changes of the number of workers that is wanted.
    pub scalings: u64,
    /// Number of interruptions.
    pub interruptions: u64,
    /// Number of rolling deploys.
    pub deploys: u64,
    /// Number of tasks that were cancelled because the stop timeout expired.
    pub cancelled: u64,
    /// Time of these tasks.
    pub wasted_seconds: f64,
    /// Number of messages that were to be retried, each time.
    pub retries: u64,
    /// Number of calls that receive, …
    pub receives: u64,
    /// … and that brought no message.
    pub empty_receives: u64,
    /// Number of calls that delete messages, make them visible or send dead letters.
    pub settling_calls: u64,
}

impl Counts {
    /// Number of messages that were settled.
    pub fn settled(&self) -> u64 {
        self.completed + self.dead_lettered
    }

    /// Number of calls of the queue.
    pub fn requests(&self) -> u64 {
        self.receives + self.settling_calls
    }
}

/// Percentiles of a time, within 0.1 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Maximum.
    pub max: f64,
}

/// The tenants of a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TenantRow {
    /// Name of the row: `-` for messages without a key.
    pub name: String,
    /// Number of tenants in the row.
    pub keys: u64,
    /// Number of their messages that arrived.
    pub arrived: u64,
    /// Time from arrival to the start of the message's first task, within 1 %.
    pub wait: Option<Spread>,
    /// Share of the time of all tasks that ended while messages arrive: from 0 to 1.
    pub task_share: f64,
    /// Maximum number of their tasks at once, of all workers.
    pub most_tasks: u64,
}

/// Mean over time, and maximum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mean {
    /// Mean over time.
    pub mean: f64,
    /// Maximum.
    pub max: f64,
}

/// Values over time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// Length of a step.
    pub step_seconds: f64,
    /// Means of each step.
    pub points: Vec<Point>,
}

/// Means of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Point {
    /// Number of messages that wait.
    pub backlog: f64,
    /// Number of tasks that run.
    pub concurrency: f64,
    /// Number of workers that are ready.
    pub workers: f64,
}
