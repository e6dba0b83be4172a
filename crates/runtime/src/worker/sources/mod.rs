//! The queues that the worker receives from, and what differs between them.
//!
//! A message keeps its [`Source`] from its receive to its settlement: the queue that renews its lease and settles it, its
//! dead-letter queue, and the rules that hold for it.
//!
//! With one queue, a receive goes straight to it. With several, [`turns`] says which is asked next. A queue that returned no
//! message is empty, and `watch` waits there for the next message, so that no receive of another queue waits for it. A
//! queue that fails is left alone for a while, as [`health`] says.

mod health;
mod turns;
mod watch;

pub(super) use self::health::Fails;

use self::health::Health;
use self::turns::Turns;
use self::watch::Watches;
use super::attributes_of;
use super::breaker::Breaker;
use super::dead_letter::DeadLetterQueue;
use super::decision::Rules;
use super::holding::may_release;
use super::options::{StartError, WorkerOptions, check_queue};
use crate::model::message::{MAX_VISIBILITY, Message};
use crate::ports::queue::{BatchPolicy, Depth, Queue, QueueError};
use futures_util::future::join_all;
use parking_lot::Mutex;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Age at which a queue depth is out of date.
const DEPTH_IS_OLD: Duration = Duration::from_secs(30);
/// Maximum number of queues of one worker. Each keeps a connection busy while it is empty.
pub const MOST_QUEUES: usize = 8;

/// A queue of a worker.
#[derive(Clone)]
pub struct WorkerQueue {
    /// The queue.
    pub queue: Arc<dyn Queue>,
    /// Where its dead letters are sent; `None`: they are retried instead.
    pub dead_letter: Option<Arc<dyn Queue>>,
    /// When it is asked for messages, compared with the worker's other queues.
    pub priority: Priority,
}

/// When a queue is asked for messages, compared with the other queues of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Before all queues that follow: nothing is received from them while this queue has messages.
    Strict,
    /// After the strict queues, in turn with the others: the number of its messages compared with that of theirs, at most
    /// [`MOST_WEIGHT`](super::shares::MOST_WEIGHT).
    Weight(NonZeroU32),
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strict => f.write_str("strict"),
            Self::Weight(weight) => write!(f, "weight={weight}"),
        }
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::Weight(NonZeroU32::MIN)
    }
}

/// One of the worker's queues, and what holds for its messages.
pub(super) struct Source {
    /// Its place among the worker's queues.
    pub(super) index: usize,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) priority: Priority,
    pub(super) dead_letter: Option<DeadLetterQueue>,
    pub(super) rules: Rules,
    pub(super) visibility_timeout: Duration,
    /// Longest time that the worker keeps a message, counted from its receipt.
    pub(super) longest: Duration,
    /// Longest time that the queue keeps a message invisible, counted from its receipt.
    pub(super) max_visibility: Option<Duration>,
    /// `None` for the only queue: the circuit breaker looks after it.
    health: Option<Health>,
    /// Number of waits for messages in a row that brought none, since the last one was delivered, retried or
    /// released.
    empty: AtomicU32,
    depth: Mutex<Option<(Depth, Instant)>>,
}

/// The worker's queues.
pub(super) struct Sources {
    all: Vec<Arc<Source>>,
    /// How receives are batched: of several queues, what suits all of them.
    pub(super) policy: BatchPolicy,
    turns: Mutex<Turns>,
    watches: Watches,
}

impl Source {
    /// # Errors
    ///
    /// The queue or its dead-letter queue can't be used, or doesn't fit the settings.
    async fn of(
        (index, queue): (usize, WorkerQueue),
        is_only: bool,
        options: &WorkerOptions,
    ) -> Result<Self, StartError> {
        let WorkerQueue { queue, dead_letter, priority } = queue;
        let attributes = attributes_of(&*queue).await?;
        check_queue(&*queue, &attributes, dead_letter.as_deref(), options.on_lease_expired)?;
        let dead_letter = match dead_letter {
            Some(queue) => Some(DeadLetterQueue::of(queue).await?),
            None => None,
        };
        let longest = options.max_visibility.min(attributes.max_visibility.unwrap_or(MAX_VISIBILITY));
        Ok(Self {
            index,
            priority,
            rules: options.rules(&attributes, dead_letter.is_some()),
            dead_letter,
            visibility_timeout: attributes.visibility_timeout,
            longest: longest.min(MAX_VISIBILITY),
            max_visibility: attributes.max_visibility,
            health: (!is_only).then(Health::default),
            empty: AtomicU32::new(0),
            depth: Mutex::default(),
            queue,
        })
    }

    pub(super) fn url(&self) -> &str {
        self.queue.url()
    }

    /// Returns whether a message may be released without a task.
    pub(super) fn may_release(&self, message: &Message) -> bool {
        let max_receives = self.rules.max_receives.filter(|_| self.queue.counts_releases());
        may_release(message.receive_count, max_receives)
    }

    /// Shortens a delay to one that the queue accepts: SQS refuses a delay that ends later than its longest visibility,
    /// counted from receipt.
    pub(super) fn possible(&self, delay: Duration, received_at: Instant) -> Duration {
        let left = self.max_visibility.map(|longest| longest.saturating_sub(received_at.elapsed()));
        left.map_or(delay, |left| delay.min(left))
    }

    /// Records that the queue fails: the circuit opens if the worker has no other.
    pub(super) fn failed(&self, breaker: &Breaker, fails: Fails, what: &str) {
        match &self.health {
            Some(health) => health.failed(self.url(), fails, what),
            None => breaker.queue_failed(what),
        }
    }

    /// Records that the queue deleted a message, or that its dead-letter queue took one.
    pub(super) fn succeeded(&self, at: Fails) {
        if let Some(health) = &self.health {
            health.succeeded(self.url(), at);
        }
    }

    /// Records the number of messages that a wait for some has brought.
    pub(super) fn waited(&self, messages: usize) {
        if messages == 0 {
            self.empty.fetch_add(1, Ordering::Relaxed);
        } else {
            self.reset_empty();
        }
    }

    /// Records that the queue is not empty: it has delivered a message, or one was retried or released.
    pub(super) fn reset_empty(&self) {
        self.empty.store(0, Ordering::Relaxed);
    }

    /// Returns how long the queue is left alone from now on: not at all if it works, or is the only one.
    pub(super) fn pause(&self) -> Duration {
        self.health.as_ref().map_or(Duration::ZERO, Health::pause)
    }

    /// Returns why the queue fails, if it is one of several and does.
    pub(super) fn why_failing(&self) -> Option<String> {
        self.health.as_ref().and_then(Health::why)
    }

    /// Returns the depth that the queue last reported, and the age of that answer, unless it is out of date.
    pub(super) fn recent_depth(&self) -> Option<(Depth, Duration)> {
        let reported = self.depth.lock().map(|(depth, at)| (depth, at.elapsed()));
        reported.filter(|(_, age)| *age < DEPTH_IS_OLD)
    }
}

impl Sources {
    /// Opens the queues of a worker.
    ///
    /// # Errors
    ///
    /// A queue can't be used, doesn't fit the settings or the other queues, or there are too many.
    pub(super) async fn open(queues: Vec<WorkerQueue>, options: &WorkerOptions) -> Result<Self, StartError> {
        check_together(&queues)?;
        let is_only = queues.len() == 1;
        let mut all = Vec::with_capacity(queues.len());
        for queue in queues.into_iter().enumerate() {
            all.push(Arc::new(Source::of(queue, is_only, options).await?));
        }
        Ok(Self::new(all))
    }

    fn new(all: Vec<Arc<Source>>) -> Self {
        let places = all.iter().map(|source| (source.priority, source.queue.batch_policy().batch()));
        let turns = Mutex::new(Turns::new(places));
        let policies = all.iter().map(|source| source.queue.batch_policy());
        let policy = policies.reduce(together).unwrap_or_default();
        Self { all, policy, turns, watches: Watches::default() }
    }

    /// Returns the queue if there is only one.
    pub(super) fn only(&self) -> Option<&Arc<Source>> {
        match &*self.all {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Returns all queues, in the order in which the user named them.
    pub(super) fn all(&self) -> &[Arc<Source>] {
        &self.all
    }

    /// Returns the URLs of the queues, as one text for people.
    pub(super) fn urls(&self) -> String {
        self.all.iter().map(|source| source.url()).collect::<Vec<_>>().join(", ")
    }

    /// Returns how many messages may be unsettled after their tasks ended.
    pub(super) fn unsettled(&self) -> usize {
        self.all.iter().map(|source| source.queue.batch_policy().unsettled()).sum()
    }

    /// Returns the smallest batch of a receive: the more pollers are needed.
    pub(super) fn smallest_batch(&self) -> usize {
        self.all.iter().map(|source| source.queue.batch_policy().batch()).min().unwrap_or(1)
    }

    /// Returns whether each message that is rejected is sent to a dead-letter queue.
    pub(super) fn have_dead_letter_queues(&self) -> bool {
        self.all.iter().all(|source| source.dead_letter.is_some())
    }

    /// Returns how many messages there are in all queues.
    ///
    /// # Errors
    ///
    /// That of the first queue that fails, with its URL.
    pub(super) async fn depth(&self) -> Result<Depth, (String, QueueError)> {
        let mut sum = Depth::default();
        for source in &self.all {
            let depth = source.queue.depth().await;
            sum = sum + depth.map_err(|error| (source.url().to_owned(), error))?;
        }
        Ok(sum)
    }

    /// Asks each queue for its depth, for at most `patience`. Returns whether any answers.
    pub(super) async fn ask_depths(&self, patience: Duration) -> bool {
        let asking = self.all.iter().map(|source| async {
            let answer = tokio::time::timeout(patience, source.queue.depth()).await;
            let depth = answer.ok().and_then(Result::ok);
            if let Some(depth) = depth {
                *source.depth.lock() = Some((depth, Instant::now()));
            }
            depth.is_some()
        });
        join_all(asking).await.contains(&true)
    }

    /// Returns the sum of the depths that the queues last reported, and the age of the oldest of them, without those that
    /// are out of date.
    pub(super) fn recent_depth(&self) -> Option<(Depth, Duration)> {
        let depths = self.all.iter().filter_map(|source| source.recent_depth());
        depths.reduce(|(sum, oldest), (depth, age)| (sum + depth, oldest.max(age)))
    }

    /// Returns why no queue works, if there are several and all of them fail.
    pub(super) fn why_failing(&self) -> Option<String> {
        let whys: Option<Vec<String>> = self.all.iter().map(|source| source.why_failing()).collect();
        whys.and_then(|whys| whys.into_iter().next())
    }

    /// Returns whether no queue had a message in its last waits for some. Whether the queues are empty, or only without the
    /// groups that were left out, their depths say.
    pub(super) fn are_empty(&self) -> bool {
        self.all
            .iter()
            .all(|source| source.empty.load(Ordering::Relaxed) >= source.queue.batch_policy().empty_receives)
    }
}

/// Returns how receives are batched that may go to one of two queues.
fn together(one: BatchPolicy, other: BatchPolicy) -> BatchPolicy {
    BatchPolicy {
        receive_batch: one.receive_batch.max(other.receive_batch),
        receiving_wait: one.receiving_wait.min(other.receiving_wait),
        ..one
    }
}

/// Refuses queues that don't fit each other.
fn check_together(queues: &[WorkerQueue]) -> Result<(), StartError> {
    if !(1..=MOST_QUEUES).contains(&queues.len()) {
        return Err(StartError::Settings(format!(
            "a worker receives from 1 to {MOST_QUEUES} queues, and {} are named: give the others a worker of their own",
            queues.len()
        )));
    }
    for (index, WorkerQueue { queue, .. }) in queues.iter().enumerate() {
        let url = queue.url();
        if queues[..index].iter().any(|before| before.queue.url() == url) {
            return Err(StartError::Settings(format!(
                "the queue {url} is named twice: name each queue once, with the priority that it is to have"
            )));
        }
        let takes = |of: &&WorkerQueue| of.dead_letter.as_ref().is_some_and(|dead| dead.url() == url);
        if let Some(of) = queues.iter().filter(|of| of.queue.url() != url).find(takes) {
            return Err(StartError::Settings(format!(
                "the queue {url} is the dead-letter queue of {}, whose rejected messages the worker would receive again: leave it out, or give it a worker of its own",
                of.queue.url()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
impl Source {
    /// Creates the source of a worker's only queue, for tests.
    pub(super) fn of_test(
        queue: Arc<dyn Queue>,
        visibility_timeout: Duration,
        longest: Duration,
    ) -> Arc<Self> {
        let rules = WorkerOptions::default().rules(&Default::default(), false);
        Arc::new(Self {
            index: 0,
            queue,
            priority: Priority::default(),
            dead_letter: None,
            rules,
            visibility_timeout,
            longest: longest.min(MAX_VISIBILITY),
            max_visibility: None,
            health: None,
            empty: AtomicU32::new(0),
            depth: Mutex::default(),
        })
    }
}

#[cfg(test)]
mod tests;
