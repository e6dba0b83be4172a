//! The status of a worker: its current state, for metrics, health checks and `wasmrun top`.
//!
//! Counts only grow. The number of tasks that a status lists is bounded.

use super::Worker;
use super::breaker::{Admission, Cause};
use super::budgets::OverBudgetStatus;
use super::scale::Sizing;
use super::sources::{Priority, Source};
use super::tally::Counts;
use crate::model::message::Message;
use crate::model::outcome::{Outcome, OutcomeKind};
use crate::ports::queue::Depth;
use crate::worker::scaler::{Because, Target};
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Maximum number of failed tasks, and of running tasks, in a status.
pub const NAMED: usize = 20;
/// Interval of the worker's heartbeat.
const BEAT: Duration = Duration::from_secs(1);

/// The current state of a worker: a field for each thing that metrics, health checks and pages show.
#[derive(Clone, Debug)]
pub struct Status {
    /// Time since the worker was created.
    pub uptime: Duration,
    /// Time since the last heartbeat of the worker's loop, which receives, renews and settles: up to a second, if all
    /// is well.
    pub beat_ago: Duration,
    /// How long the current receive has been under way; `None`: none is, as no permit is free or the worker waits for
    /// failing backends.
    pub receiving_for: Option<Duration>,
    /// Whether the worker receives messages.
    pub receiving: Receiving,
    /// Why the circuit is open: nothing is received, or one message at a time until a task completes; `None`: it is
    /// closed, or a message may probe a failing backend.
    pub circuit: Option<Cause>,
    /// Number of messages that wait in the worker until a failing backend works again. No task runs for them.
    pub waiting: usize,
    /// Number of messages that are held for fair shares among keys, or until a permit is free. No task runs for them.
    pub held: usize,
    /// The keys that have used up their budgets in the current periods.
    pub over_budget: OverBudgetStatus,
    /// Number of failed tasks since the last one that completed, without host errors.
    pub consecutive_failures: u32,
    /// Running tasks and the limits of their number.
    pub instances: InstancesStatus,
    /// The queue's depth, and the age of that answer. The worker asks for it only if that is needed: see
    /// [`watch_depth`](super::WorkerOptions::watch_depth).
    pub depth: Option<(Depth, Duration)>,
    /// Longest wait of the messages that were last received for the first time; zero if the last receive returned no
    /// message.
    pub waited: Option<Duration>,
    /// The tasks that have run longest: at most [`NAMED`].
    pub running: Vec<RunningTask>,
    /// The tasks that failed last, the newest first: at most [`NAMED`].
    pub failures: Vec<FailedTask>,
    /// Whether each queue has a dead-letter queue. Without one, rejected messages are retried.
    pub has_dead_letter_queue: bool,
    /// The queues, if there are several.
    pub queues: Vec<QueueStatus>,
    /// Counts since the worker began.
    pub counts: Counts,
}

/// One of several queues of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStatus {
    /// The queue's URL.
    pub url: String,
    /// When it is asked for messages.
    pub priority: Priority,
    /// Its depth, and the age of that answer.
    pub depth: Option<(Depth, Duration)>,
    /// Why nothing is received from it at full speed; `None`: it works.
    pub failing: Option<String>,
}

/// Whether a worker receives messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receiving {
    /// The worker receives, and the last receive was answered.
    Yes,
    /// The worker waits until a store or a queue works again, or tries one message at a time until a task completes, or
    /// an operator has paused it.
    Paused {
        /// The failure, or that an operator did it.
        why: String,
    },
    /// The worker is stopping.
    Stopping,
}

/// Running tasks and the limits of their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstancesStatus {
    /// Number of tasks that run.
    pub running: usize,
    /// The concurrency limit now.
    pub allowed: usize,
    /// Number of tasks that may always run.
    pub min: usize,
    /// Highest value of the concurrency limit.
    pub max: NonZeroUsize,
    /// The reason for the concurrency limit; `None`: it is fixed.
    pub because: Option<Because>,
}

/// A task that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningTask {
    /// The queue's id of its message.
    pub message_id: String,
    /// How often the message has been delivered, this time included.
    pub receive_count: u32,
    /// Time since the message was received.
    pub age: Duration,
}

/// A task that didn't complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedTask {
    /// The queue's id of its message.
    pub message_id: String,
    /// How often the message has been delivered, this time included.
    pub receive_count: u32,
    /// The outcome of the task.
    pub outcome: OutcomeKind,
    /// Why it failed. It may hold a guest's text: never write it as a raw line.
    pub reason: Option<String>,
    /// Time since the task ended.
    pub ago: Duration,
}

/// Records of the worker for its status.
#[derive(Debug)]
pub(super) struct StatusRecords {
    began: Instant,
    /// Time of the last heartbeat, in milliseconds since `began`.
    beat: AtomicU64,
    /// Start of the current receive, in milliseconds since `began`, plus one; 0: no receive is under way.
    receiving: AtomicU64,
    stopping: AtomicBool,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    /// Why the last receive failed, if it did.
    receive_failure: Option<String>,
    /// Whether the queue failed to return its depth when it was asked last.
    depth_failed: bool,
    waited: Option<(Duration, Instant)>,
    decision: Option<Target>,
    failures: VecDeque<(FailedTask, Instant)>,
}

impl Noted {
    /// Returns why the last call to the queue failed, if it did.
    fn queue_failure(&self) -> Option<String> {
        let depth = || self.depth_failed.then(|| "the queue does not report its depth".to_owned());
        self.receive_failure.clone().or_else(depth)
    }
}

impl StatusRecords {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            beat: AtomicU64::new(0),
            receiving: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            noted: Mutex::default(),
        }
    }

    /// Records the heartbeat of the worker's loop, until this future is dropped.
    pub(super) async fn beat(&self) {
        let mut beats = tokio::time::interval(BEAT);
        loop {
            beats.tick().await;
            self.beat.store(self.now_ms(), Ordering::Relaxed);
        }
    }

    pub(super) fn stops(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Records that the first poller asks the queue for messages.
    pub(super) fn receive_begins(&self) {
        self.receiving.store(self.now_ms() + 1, Ordering::Relaxed);
    }

    /// Records that the first poller has its answer.
    pub(super) fn receive_ends(&self) {
        self.receiving.store(0, Ordering::Relaxed);
    }

    /// Records a receive that returned these messages.
    pub(super) fn receive_succeeded<'a>(&self, messages: impl Iterator<Item = &'a Message>) {
        let now = SystemTime::now();
        let mut messages = messages.peekable();
        let is_empty = messages.peek().is_none();
        // The wait of a retried message includes its backoff, so it isn't counted.
        let first = messages.filter(|message| message.receive_count <= 1);
        let waited = first.filter_map(|message| now.duration_since(message.sent_at).ok()).max();
        let mut noted = self.noted();
        (noted.receive_failure, noted.depth_failed) = (None, false);
        if is_empty {
            noted.waited = Some((Duration::ZERO, Instant::now()));
        } else if let Some(waited) = waited {
            noted.waited = Some((waited, Instant::now()));
        }
    }

    /// Records that the queue and all stores answered a check.
    pub(super) fn all_answer(&self) {
        let mut noted = self.noted();
        (noted.receive_failure, noted.depth_failed) = (None, false);
    }

    /// Records a receive that failed.
    pub(super) fn receive_failed(&self, why: String) {
        self.noted().receive_failure = Some(why);
    }

    /// Records that the queue was asked for its depth.
    pub(super) fn depth_asked(&self, is_answered: bool) {
        self.noted().depth_failed = !is_answered;
    }

    /// Records the reason for the concurrency limit; `None`: it is fixed.
    pub(super) fn decided(&self, decision: Option<Target>) {
        self.noted().decision = decision;
    }

    pub(super) fn task_failed(&self, message: &Message, outcome: &Outcome) {
        let failed = FailedTask {
            message_id: message.id.clone(),
            receive_count: message.receive_count,
            outcome: outcome.kind(),
            reason: outcome.reason().map(str::to_owned),
            ago: Duration::ZERO,
        };
        let mut noted = self.noted();
        noted.failures.truncate(NAMED - 1);
        noted.failures.push_front((failed, Instant::now()));
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock()
    }
}

impl Worker {
    /// Returns the state of each queue, if there are several.
    fn queue_statuses(&self) -> Vec<QueueStatus> {
        let all = self.sources.all().iter().filter(|_| self.sources.only().is_none());
        let of = |source: &Arc<Source>| QueueStatus {
            url: source.url().to_owned(),
            priority: source.priority,
            depth: source.recent_depth(),
            failing: source.why_failing(),
        };
        all.map(of).collect()
    }

    /// Returns the current state of the worker.
    pub fn status(&self) -> Status {
        let records = &self.records;
        let since = |ms: u64| Duration::from_millis(records.now_ms().saturating_sub(ms));
        let receiving = records.receiving.load(Ordering::Relaxed);
        let (running, named) = self.leases.running(NAMED);
        let depth = self.sources.recent_depth();
        let sizing: Sizing = *self.sizing.borrow();
        let noted = records.noted();
        // A half-open circuit doesn't count as paused: the worker waits for one message, and there may be none for
        // hours. But if no task completes, the worker is paused until one does.
        let circuit = self.breaker.cause().filter(|cause| {
            *cause == Cause::Tasks || matches!(self.breaker.admission(), Admission::Check(_))
        });
        let why = if self.pause.is_on() {
            Some("an operator has paused it".to_owned())
        } else if circuit.is_some() {
            Some(self.breaker.why())
        } else {
            noted.queue_failure().or_else(|| self.sources.why_failing())
        };
        Status {
            uptime: records.began.elapsed(),
            beat_ago: since(records.beat.load(Ordering::Relaxed)),
            receiving_for: receiving.checked_sub(1).map(since),
            receiving: if records.stopping.load(Ordering::Relaxed) {
                Receiving::Stopping
            } else {
                why.map_or(Receiving::Yes, |why| Receiving::Paused { why })
            },
            circuit,
            waiting: self.waiting.len(),
            held: self.keyed.as_ref().map_or(0, |keyed| keyed.len()) + self.sources.held(),
            over_budget: self.keyed.as_ref().map(|keyed| keyed.over_budget()).unwrap_or_default(),
            consecutive_failures: self.breaker.failed_tasks(),
            instances: InstancesStatus {
                running,
                allowed: self.permits.limit(),
                min: sizing.least(),
                max: sizing.most,
                because: noted.decision.map(|decision| decision.because),
            },
            depth,
            waited: noted.waited.map(|(waited, at)| {
                // While no permit is free, nothing is received, and the waiting messages get older.
                let waits = depth.is_some_and(|(depth, _)| depth.visible > 0);
                if waits { waited + at.elapsed() } else { waited }
            }),
            running: named,
            failures: noted
                .failures
                .iter()
                .map(|(failed, at)| FailedTask { ago: at.elapsed(), ..failed.clone() })
                .collect(),
            has_dead_letter_queue: self.sources.have_dead_letter_queues(),
            queues: self.queue_statuses(),
            counts: self.tally.counts(),
        }
    }
}
