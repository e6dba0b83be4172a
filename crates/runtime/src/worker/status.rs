//! What a worker does now, for those who watch it.
//!
//! Counts only grow. What is kept of single tasks is bounded, whatever they do.

use super::Worker;
use super::breaker::{Admission, Cause};
use super::scale::Sizing;
use super::tally::Counts;
use crate::model::message::Message;
use crate::model::outcome::{Outcome, OutcomeKind};
use crate::ports::queue::{Delivery, Depth};
use crate::worker::scaler::{Because, Decision};
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// The last failures, and the running tasks that are named: so many.
pub const NAMED: usize = 20;
/// How often the worker shows that it lives.
const BEAT: Duration = Duration::from_secs(1);
/// What the queue said longer ago says nothing of now.
const DEPTH_IS_OLD: Duration = Duration::from_secs(30);

/// What a worker does now.
#[derive(Clone, Debug)]
pub struct Status {
    /// Since the worker was made.
    pub uptime: Duration,
    /// Since its loop, which receives, renews and settles, last had its turn: every second, if all is well.
    pub beat_ago: Duration,
    /// How long a receive has been under way; `None`: none is, as no permit is free, or as the worker waits for failing
    /// backends.
    pub receiving_for: Option<Duration>,
    /// Whether it receives messages.
    pub receiving: Receiving,
    /// Messages that the worker keeps, without a task, until a failing backend works again.
    pub waiting: usize,
    /// Tasks that failed since the last one completed, host errors aside.
    pub consecutive_failures: u32,
    /// Tasks at once.
    pub instances: InstancesStatus,
    /// The queue's depth, and how long ago it said so. It's asked where that is needed: see
    /// [`watch_depth`](super::WorkerOptions::watch_depth).
    pub depth: Option<(Depth, Duration)>,
    /// How long the message that was received last had waited, of those that came for the first time; zero if the
    /// last receive brought none.
    pub waited: Option<Duration>,
    /// Those of the running tasks that have run longest: the first [`NAMED`].
    pub running: Vec<RunningTask>,
    /// The tasks that failed last, the newest first: [`NAMED`] at most.
    pub failures: Vec<FailedTask>,
    /// Whether there is a dead-letter queue; without one, rejected messages are tried again.
    pub has_dead_letter_queue: bool,
    /// What was counted since the worker began.
    pub counts: Counts,
}

/// Whether a worker receives messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receiving {
    /// It does, and the last receive was answered.
    Yes,
    /// It waits until a store or a queue works again, or tries one message at a time until a task completes.
    Paused {
        /// What fails.
        why: String,
    },
    /// It was told to stop.
    Stopping,
}

/// Tasks at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstancesStatus {
    /// So many run.
    pub running: usize,
    /// So many may run now.
    pub allowed: usize,
    /// So many may always run.
    pub min: usize,
    /// More never may.
    pub max: NonZeroUsize,
    /// What decided how many may run now; `None`: the number is fixed.
    pub because: Option<Because>,
}

/// A task that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningTask {
    /// The queue's id of its message.
    pub message_id: String,
    /// How often the message has been delivered, this time included.
    pub receive_count: u32,
    /// Since it was received.
    pub age: Duration,
}

/// A task that didn't complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedTask {
    /// The queue's id of its message.
    pub message_id: String,
    /// How often the message has been delivered, this time included.
    pub receive_count: u32,
    /// How it ended.
    pub outcome: OutcomeKind,
    /// Why. It may hold a guest's text: never write it as a raw line.
    pub reason: Option<String>,
    /// When it ended.
    pub ago: Duration,
}

/// What the worker notes for those who watch it.
#[derive(Debug)]
pub(super) struct Watched {
    began: Instant,
    /// Milliseconds since it began.
    beat: AtomicU64,
    /// Milliseconds since it began, and one; 0: no receive is under way.
    receiving: AtomicU64,
    stopping: AtomicBool,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    /// Why the last receive failed, if it did.
    receive_failure: Option<String>,
    /// The queue didn't tell its depth when it was asked last.
    depth_failed: bool,
    depth: Option<(Depth, Instant)>,
    waited: Option<(Duration, Instant)>,
    decision: Option<Decision>,
    failures: VecDeque<(FailedTask, Instant)>,
}

impl Noted {
    /// What the queue didn't do when it was asked last.
    fn queue_failure(&self) -> Option<String> {
        let depth = || self.depth_failed.then(|| "the queue doesn't tell its depth".to_owned());
        self.receive_failure.clone().or_else(depth)
    }
}

impl Watched {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            beat: AtomicU64::new(0),
            receiving: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            noted: Mutex::default(),
        }
    }

    /// Shows that the worker's loop lives, until it's dropped.
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

    /// The first poller asks the queue for messages.
    pub(super) fn receive_begins(&self) {
        self.receiving.store(self.now_ms() + 1, Ordering::Relaxed);
    }

    /// It has its answer.
    pub(super) fn receive_ends(&self) {
        self.receiving.store(0, Ordering::Relaxed);
    }

    /// A receive was answered, with these.
    pub(super) fn receive_succeeded(&self, deliveries: &[Delivery]) {
        let now = SystemTime::now();
        // A message that comes again has waited for its next try, too.
        let first = deliveries.iter().filter(|delivery| delivery.message.receive_count <= 1);
        let waited = first.filter_map(|delivery| now.duration_since(delivery.message.sent_at).ok()).max();
        let mut noted = self.noted();
        (noted.receive_failure, noted.depth_failed) = (None, false);
        if deliveries.is_empty() {
            noted.waited = Some((Duration::ZERO, Instant::now()));
        } else if let Some(waited) = waited {
            noted.waited = Some((waited, Instant::now()));
        }
    }

    /// The queue and the stores were asked, and all answered.
    pub(super) fn all_answer(&self) {
        let mut noted = self.noted();
        (noted.receive_failure, noted.depth_failed) = (None, false);
    }

    /// A receive failed.
    pub(super) fn receive_failed(&self, why: String) {
        self.noted().receive_failure = Some(why);
    }

    pub(super) fn depth_is(&self, depth: Option<Depth>) {
        let mut noted = self.noted();
        noted.depth_failed = depth.is_none();
        if let Some(depth) = depth {
            noted.depth = Some((depth, Instant::now()));
        }
    }

    /// What the queue said lately.
    pub(super) fn depth(&self) -> Option<Depth> {
        let noted = self.noted();
        noted.depth.filter(|(_, at)| at.elapsed() < DEPTH_IS_OLD).map(|(depth, _)| depth)
    }

    /// What decided the number of tasks at once; `None`: it's fixed.
    pub(super) fn decided(&self, decision: Option<Decision>) {
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
    /// What it does now.
    pub fn status(&self) -> Status {
        let watched = &self.watched;
        let since = |ms: u64| Duration::from_millis(watched.now_ms().saturating_sub(ms));
        let receiving = watched.receiving.load(Ordering::Relaxed);
        let (running, named) = self.leases.running(NAMED);
        let sizing: Sizing = *self.sizing.borrow();
        let noted = watched.noted();
        // While the circuit is half-open, one message is received: there may be none for hours. A worker in which no task
        // completes is well only when one does.
        let is_open = matches!(self.breaker.admission(), Admission::Check(_))
            || self.breaker.cause() == Some(Cause::Tasks);
        let why = if is_open { Some(self.breaker.why()) } else { noted.queue_failure() };
        Status {
            uptime: watched.began.elapsed(),
            beat_ago: since(watched.beat.load(Ordering::Relaxed)),
            receiving_for: receiving.checked_sub(1).map(since),
            receiving: if watched.stopping.load(Ordering::Relaxed) {
                Receiving::Stopping
            } else {
                why.map_or(Receiving::Yes, |why| Receiving::Paused { why })
            },
            waiting: self.waiting.len(),
            consecutive_failures: self.breaker.failed_tasks(),
            instances: InstancesStatus {
                running,
                allowed: self.permits.limit(),
                min: sizing.least(),
                max: sizing.most,
                because: noted.decision.map(|decision| decision.because),
            },
            depth: noted
                .depth
                .map(|(depth, at)| (depth, at.elapsed()))
                .filter(|(_, ago)| *ago < DEPTH_IS_OLD),
            waited: noted.waited.map(|(waited, at)| {
                // While no permit is free nothing is received, and what waits gets older.
                let waits = noted.depth.is_some_and(|(depth, _)| depth.visible > 0);
                if waits { waited + at.elapsed() } else { waited }
            }),
            running: named,
            failures: noted
                .failures
                .iter()
                .map(|(failed, at)| FailedTask { ago: at.elapsed(), ..failed.clone() })
                .collect(),
            has_dead_letter_queue: self.dead_letter.is_some(),
            counts: self.tally.counts(),
        }
    }
}
