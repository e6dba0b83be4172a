//! The worker: the way of a message, from its receipt to its settlement.
//!
//! [`Worker::run`] asks the queue for no more than it can start now; `process` runs one message's task under a lease
//! and settles the message. Delivery is at least once: whatever crashes, a message is settled only after what its
//! task wrote is durable.

mod attribution;
mod body;
mod breaker;
mod lease;
mod mean;
mod permits;
mod rate;
mod receive;
mod scale;
pub mod scaler;
mod settle;
mod status;
mod tally;
mod waiting;

pub use self::body::BodyStore;
pub use self::rate::Rate;
pub use self::scale::{ScaleOptions, Sizing};
pub use self::settle::Backoff;
pub use self::status::{FailedTask, InstancesStatus, NAMED, Receiving, RunningTask, Status};
pub use self::tally::{Count, Counts, Summary, Tally};

use self::attribution::{Attribution, Attributions};
use self::body::{BODY_STORE, Failed, body_store};
use self::breaker::{Breaker, Cause, Evidence, Probe};
use self::lease::Leases;
use self::mean::MeanTime;
use self::permits::{Permit, Permits, Unsettled};
use self::rate::Starts;
use self::scale::StatisticsWindow;
use self::settle::{
    DeadLettering, Decision, Operation, Rules, Settlement, Settling, dead_letter, decide, settle_all,
};
use self::status::Watched;
use self::waiting::{LeasedMessage, WaitingMessages};
use crate::model::message::{MAX_VISIBILITY, Message};
use crate::model::outcome::{Cancel, Outcome, OutcomeKind, Policy};
use crate::model::usage::{TaskObserver, TaskRecord, Usage};
use crate::ports::queue::{Queue, QueueAttributes, QueueError};
use crate::task::component::{Component, Report};
use async_trait::async_trait;
use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Once, OnceLock};
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// How long the last settlements may take once the worker gives up.
const LAST_SETTLEMENTS: Duration = Duration::from_secs(3);

/// How a worker works.
#[derive(Clone)]
pub struct WorkerOptions {
    /// What to call the component in dead letters.
    pub component_name: String,
    /// The most tasks at once.
    pub instances: NonZeroUsize,
    /// What moves the number up to that; `None`: it's fixed.
    pub scale: Option<ScaleOptions>,
    /// What follows from each outcome.
    pub policy: Policy,
    /// When a failed message is tried again.
    pub backoff: Backoff,
    /// End when the queue is empty, whatever its messages' state.
    pub until_empty: bool,
    /// How long running tasks may take once the worker stops.
    pub stop_timeout: Duration,
    /// A message isn't kept longer than this, counted from its receipt.
    pub max_visibility: Duration,
    /// What becomes of a task whose lease expired.
    pub on_lease_expired: OnLeaseExpired,
    /// Where bodies are that were too large for a message; `None`: what looks like a pointer to one is a body itself.
    pub bodies: Option<BodyStore>,
    /// Tasks that may fail in a row, none having completed meanwhile, before the worker slows down to one message at a time;
    /// fewer as long as none has completed at all. `None`: it never does.
    pub max_consecutive_failures: Option<NonZeroU32>,
    /// How fast tasks may start; `None`: as fast as they can.
    pub rate: Option<Rate>,
    /// Is asked before tasks start.
    pub starting: Option<Arc<dyn TasksStart>>,
    /// Ask the queue for its depth every few seconds, for those who watch.
    pub watch_depth: bool,
    /// Are told of each task's end.
    pub observers: Vec<Arc<dyn TaskObserver>>,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            component_name: "component".into(),
            instances: NonZeroUsize::MIN,
            scale: None,
            policy: Policy::default(),
            backoff: Backoff::default(),
            until_empty: false,
            // ECS kills 30 seconds after SIGTERM: five are left for the last settlements.
            stop_timeout: Duration::from_secs(25),
            max_visibility: MAX_VISIBILITY,
            on_lease_expired: OnLeaseExpired::default(),
            bodies: None,
            max_consecutive_failures: NonZeroU32::new(36),
            rate: None,
            starting: None,
            watch_depth: false,
            observers: Vec::new(),
        }
    }
}

/// What becomes of a task whose message may have gone to somebody else, as its visibility couldn't be extended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLeaseExpired {
    /// It's cancelled: what it did would be done twice.
    #[default]
    Cancel,
    /// It may finish. Its message is deleted if it still can be.
    Finish,
}

/// Somebody who has something to do before tasks start.
#[async_trait]
pub trait TasksStart: Send + Sync {
    /// Messages were received, and their tasks start when this returns. It's called each time, and must be quick.
    async fn before_tasks(&self);
}

/// Why a worker can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings don't fit the queue.
    #[error("{0}")]
    Settings(String),
    /// The queue doesn't answer, or can't be used.
    #[error("cannot use the queue {url}: {error}")]
    Queue {
        /// Its URL.
        url: String,
        /// What it says.
        error: QueueError,
    },
}

/// Runs the tasks of one queue's messages.
pub struct Worker {
    queue: Arc<dyn Queue>,
    dead_letter: Option<DeadLetterQueue>,
    component: Arc<Component>,
    options: WorkerOptions,
    rules: Rules,
    leases: Arc<Leases>,
    /// The queue's own, counted from receipt.
    max_visibility: Option<Duration>,
    breaker: Arc<Breaker>,
    attributions: Attributions,
    waiting: WaitingMessages,
    /// A grant that is missing was told in the log: once is enough.
    slip_is_logged: AtomicBool,
    /// Why it ended by itself, where only the operator can go on.
    hopeless: OnceLock<String>,
    /// Probes in a row that failed for what only the operator can mend.
    hopeless_probes: AtomicU32,
    starts: Option<Starts>,
    mean_wall: MeanTime,
    permits: Arc<Permits>,
    /// Tasks at once, which may be set anew.
    sizing: watch::Sender<Sizing>,
    window: StatisticsWindow,
    tally: Arc<Tally>,
    watched: Watched,
    /// The warning that bodies are in a store that nobody named.
    pointers_warned: Once,
    /// Where queues and stores live.
    io: Handle,
}

/// Where rejected messages go.
struct DeadLetterQueue {
    queue: Arc<dyn Queue>,
    fifo: bool,
}

/// What the tasks of one run of the worker share.
struct InProgress {
    /// Settling ends when the last task has dropped this. Bounded by the permits.
    settlements: mpsc::UnboundedSender<Settlement>,
    /// Ends the receiving.
    stop: CancellationToken,
    /// Ends the running tasks.
    abandon: CancellationToken,
}

impl Worker {
    /// Makes a worker ready, and checks that its settings fit the queue's.
    ///
    /// # Errors
    ///
    /// What would go wrong with each message is found here.
    pub async fn new(
        queue: Arc<dyn Queue>,
        dead_letter: Option<Arc<dyn Queue>>,
        component: Arc<Component>,
        options: WorkerOptions,
    ) -> Result<Self, StartError> {
        let attributes = attributes_of(&*queue).await?;
        if attributes.visibility_timeout < Duration::from_secs(1) {
            return Err(StartError::Settings(format!(
                "the visibility timeout of the queue {} is less than a second: each message would be delivered many times; set it to a few times what a task takes",
                queue.url()
            )));
        }
        if attributes.fifo && options.on_lease_expired == OnLeaseExpired::Finish {
            return Err(StartError::Settings(format!(
                "the queue {} is FIFO, and a task that goes on though its lease expired breaks the order of its group: leave --on-lease-expired at cancel",
                queue.url()
            )));
        }
        if dead_letter.as_ref().is_some_and(|dead_letter| dead_letter.url() == queue.url()) {
            return Err(StartError::Settings(format!(
                "the queue {} can't be its own dead-letter queue",
                queue.url()
            )));
        }
        let dead_letter = match dead_letter {
            Some(queue) => {
                let fifo = attributes_of(&*queue).await?.fifo;
                Some(DeadLetterQueue { queue, fifo })
            }
            None => None,
        };
        // Without a dead-letter queue nothing is deleted that didn't complete: it's tried again.
        let policy = match &dead_letter {
            Some(_) => options.policy,
            None => options.policy.without_dead_letters(),
        };
        let rules = Rules {
            policy,
            backoff: options.backoff,
            max_receives: attributes.redrive.as_ref().map(|redrive| redrive.max_receives),
            dead_letter: dead_letter.is_some(),
        };
        let longest = options.max_visibility.min(attributes.max_visibility.unwrap_or(MAX_VISIBILITY));
        check_timeout(component.limits().timeout, longest)?;
        let (tally, io) = (Arc::<Tally>::default(), Handle::current());
        let grants = component.grants();
        let body_store = options.bodies.iter().map(|_| BODY_STORE.to_owned());
        let aliases = grants.stores.keys().chain(grants.queues.keys()).cloned();
        let attributions = Attributions::of(aliases.chain(body_store));
        let leases = Leases::new(queue.clone(), attributes.visibility_timeout, longest, tally.clone());
        let max_visibility = attributes.max_visibility;
        let max_unsettled = queue.batch_policy().unsettled();
        let starts = options.rate.map(|rate| Starts::at(rate, Instant::now()));
        let sizing = Sizing { most: options.instances, scale: options.scale };
        Ok(Self {
            queue,
            dead_letter,
            component,
            breaker: Arc::new(Breaker::new(options.max_consecutive_failures)),
            attributions,
            waiting: WaitingMessages::default(),
            slip_is_logged: AtomicBool::new(false),
            hopeless: OnceLock::new(),
            hopeless_probes: AtomicU32::new(0),
            options,
            rules,
            leases,
            max_visibility,
            starts,
            mean_wall: MeanTime::default(),
            // It begins with what stays warm.
            permits: Permits::new(sizing.least().max(1), max_unsettled),
            sizing: watch::Sender::new(sizing),
            window: StatisticsWindow::default(),
            tally,
            watched: Watched::new(),
            pointers_warned: Once::new(),
            io,
        })
    }

    /// Changes the concurrency limit, up to the limit that the worker was made with. Tasks that run go on. Returns what holds
    /// from now on.
    pub fn resize(&self, sizing: Sizing) -> Sizing {
        let sizing = Sizing { most: sizing.most.min(self.options.instances), ..sizing };
        self.sizing.send_replace(sizing);
        sizing
    }

    /// Whether it has messages whose tasks run.
    pub fn is_busy(&self) -> bool {
        self.leases.any_runs()
    }

    /// What was done until now; it goes on counting.
    pub fn tally(&self) -> Arc<Tally> {
        self.tally.clone()
    }

    /// Works until `stop` is cancelled (or the queue is empty, if so asked), then waits for the running tasks. When
    /// `abandon` is cancelled, or the stop timeout is over, they are cancelled and their messages released.
    pub async fn run(self: Arc<Self>, stop: CancellationToken, abandon: CancellationToken) -> Summary {
        // The worker may end by itself as well.
        let stop = stop.child_token();
        let (sender, receiver) = mpsc::unbounded_channel();
        let in_progress =
            Arc::new(InProgress { settlements: sender, stop: stop.clone(), abandon: abandon.clone() });
        let (settled, give_up) = (CancellationToken::new(), CancellationToken::new());

        let tasks = TaskTracker::new();
        let work = async {
            self.receive(&tasks, &in_progress, &stop).await;
            tasks.close();
            tasks.wait().await;
            drop(in_progress);
            tokio::select! {
                () = settled.cancelled() => {}
                () = tokio::time::sleep(LAST_SETTLEMENTS) => give_up.cancel(),
            }
        };
        let settle = async {
            let (queue, breaker, tally) = (&*self.queue, &*self.breaker, &*self.tally);
            settle_all(Settling { queue, breaker, tally, give_up: &give_up }, receiver).await;
            settled.cancel();
        };
        tokio::select! {
            // One task, so that a task's end is one event for it: settle the message, and receive the next.
            _ = async { tokio::join!(work, settle) } => {}
            () = self.leases.keep_renewing() => {}
            () = self.watch(&tasks, &stop, &abandon) => {}
            () = self.scale(&tasks) => {}
            () = self.ask_depth() => {}
            () = self.watched.beat() => {}
        }
        self.component.clear_away().await;
        Summary { stalled: self.stalled(), ..self.tally.summary() }
    }

    /// Cancels the running tasks when they take too long once the worker stops.
    async fn watch(&self, tasks: &TaskTracker, stop: &CancellationToken, abandon: &CancellationToken) {
        stop.cancelled().await;
        self.watched.stops();
        tokio::time::sleep(self.options.stop_timeout).await;
        if !abandon.is_cancelled() {
            let running = tasks.len();
            tracing::warn!(running, "stop timeout expired: releasing the messages of running tasks");
            abandon.cancel();
        }
        std::future::pending().await
    }

    /// Runs one message's task and settles the message. The guest computes on the thread that polls this.
    async fn process(
        self: Arc<Self>,
        leased: LeasedMessage,
        permit: Permit,
        probe: Option<Probe>,
        in_progress: Arc<InProgress>,
    ) {
        let message = leased.message.clone();
        let on_lease_expired = self.options.on_lease_expired;
        let cancelled = async {
            tokio::select! {
                () = leased.lease.expired(), if on_lease_expired == OnLeaseExpired::Cancel => Cancel::LeaseExpired,
                () = in_progress.abandon.cancelled() => Cancel::Drain,
            }
        };
        let report = self.run_task(&message, cancelled).await;
        let (report, attribution) = self.attribute(&message, report).await;
        // The breaker learns of it before the permit is free for the next message.
        self.note(&message, &report, attribution);
        if probe.is_some() {
            self.end_if_hopeless(&report, &in_progress.stop);
        }
        let unsettled = self.permits.unsettled();
        drop(permit);

        let decision =
            decide(&report.outcome, attribution, message.receive_count, &self.rules, fastrand::f64());
        let first = self.options.backoff.first;
        let mut decision = self.breaker.hold_back(decision, &report.outcome, probe.is_some(), first);
        let called = report.usage.calls > 0;
        let mut evidence = Evidence::of(&report.outcome, attribution, report.ran, called);
        let mut waits = attribution == Attribution::Host;
        if decision == Decision::DeadLetter {
            // The lease is still renewed meanwhile. A crash after this duplicates, and never loses.
            decision = self.dead_letter(&message, &report.outcome, &in_progress.abandon).await;
            if decision != Decision::DeadLetter {
                (evidence, waits) = (Evidence::None, true);
            }
        }
        let mut leased = leased;
        if let Decision::Release(_) = decision
            && waits
            && self.breaker.cause() == Some(Cause::Backend)
        {
            match self.waiting.add(leased) {
                None => return,
                // It's the oldest of those that wait, or this one itself.
                Some(other) => leased = other,
            }
        }
        let operation = match decision {
            Decision::Delete | Decision::DeadLetter => Operation::Delete,
            Decision::Retry(delay) => Operation::Retry(self.possible(delay, leased.received_at)),
            Decision::Release(delay) => Operation::Release(self.possible(delay, leased.received_at)),
            Decision::Leave => {
                self.tally.counters.leases_expired.add(1);
                return;
            }
        };
        if let Some(settlement) = self.settlement(leased, operation, unsettled).await {
            // The receiver lives until all senders are gone.
            let _ = in_progress.settlements.send(Settlement { evidence, probe, ..settlement });
        }
    }

    /// Ends a message's lease, to settle the message; `None`: the lease expired.
    async fn settlement(
        &self,
        leased: LeasedMessage,
        operation: Operation,
        unsettled: Unsettled,
    ) -> Option<Settlement> {
        let LeasedMessage { message, receipt, lease, .. } = leased;
        let ours_until = match lease.release().await {
            Some(ours_until) => ours_until,
            // Nobody may have received it since: one try.
            None if self.options.on_lease_expired == OnLeaseExpired::Finish
                && operation == Operation::Delete =>
            {
                Instant::now()
            }
            None => {
                self.tally.counters.leases_expired.add(1);
                tracing::warn!(
                    message_id = message.id,
                    "lease expired before the message was settled: it is delivered again"
                );
                return None;
            }
        };
        if operation != Operation::Delete {
            self.tally.counters.released.add(1);
        }
        Some(Settlement {
            message_id: message.id.clone(),
            receipt,
            operation,
            ours_until,
            evidence: Evidence::None,
            probe: None,
            _unsettled: unsettled,
        })
    }

    /// Runs the task of a message, once it has its body.
    async fn run_task(&self, message: &Arc<Message>, cancelled: impl Future<Output = Cancel>) -> Report {
        let began = Instant::now();
        let Some(bodies) = &self.options.bodies else {
            if body::is_elsewhere(message) {
                self.pointers_warned.call_once(|| {
                    tracing::warn!(
                        message_id = message.id,
                        "delivered a pointer to a body in S3: --body-store fetches such bodies"
                    );
                });
            }
            return self.component.run(message.clone(), cancelled).await;
        };
        let mut cancelled = pin!(cancelled);
        let fetched = tokio::select! {
            fetched = bodies.fetch(message, &self.io) => fetched,
            why = &mut cancelled => Err(Failed { outcome: Outcome::Cancelled { why }, host_error: None }),
            () = tokio::time::sleep(self.component.limits().timeout) => {
                let what = "body store: it gives no answer".into();
                Err(Failed { outcome: Outcome::HostFailed { what }, host_error: None })
            }
        };
        match fetched {
            Ok(fetched) => {
                if !Arc::ptr_eq(&fetched, message) {
                    self.attributions.succeeded(&[body_store()]);
                }
                self.component.run(fetched, cancelled).await
            }
            Err(Failed { outcome, host_error }) => {
                let queued = SystemTime::now().duration_since(message.sent_at).unwrap_or_default();
                let wall = began.elapsed();
                let usage = Usage { queued, blocked: wall, wall, ..Usage::default() };
                Report::of_no_instance(outcome, usage, host_error)
            }
        }
    }

    /// A delay that the queue takes: SQS refuses one that reaches beyond the longest time from receipt.
    fn possible(&self, delay: Duration, received_at: Instant) -> Duration {
        let left = self.max_visibility.map(|longest| longest.saturating_sub(received_at.elapsed()));
        left.map_or(delay, |left| delay.min(left))
    }

    /// Sends a message to the dead-letter queue. If that fails, or takes too long, it's tried again later.
    async fn dead_letter(
        &self,
        message: &Message,
        outcome: &Outcome,
        abandon: &CancellationToken,
    ) -> Decision {
        let Some(DeadLetterQueue { queue, fifo }) = &self.dead_letter else {
            return Decision::Retry(self.options.backoff.longest);
        };
        let component = &self.options.component_name;
        let way = DeadLettering { queue: self.queue.url(), component, fifo: *fifo };
        let dead = dead_letter(message, outcome, &way);
        // The guests' threads are not for backends.
        let sending = {
            let queue = queue.clone();
            AbortOnDropHandle::new(self.io.spawn(async move { queue.send(&[dead]).await.pop() }))
        };
        let (message_id, queue) = (&message.id, queue.url());
        let answer = tokio::select! {
            answer = sending => answer.unwrap_or_default(),
            () = abandon.cancelled() => return Decision::Release(Duration::ZERO),
        };
        match answer {
            Some(Ok(id)) => {
                self.tally.counters.dead_lettered.add(1);
                let (outcome, reason) = (outcome.kind().as_str(), outcome.reason());
                tracing::warn!(message_id, dead_letter_id = id, outcome, reason, "dead-lettered the message");
                Decision::DeadLetter
            }
            Some(Err(error @ QueueError::InvalidMessage(_))) => {
                // No outage: this message alone. The queue's own redrive takes it in the end.
                tracing::error!(message_id, queue, %error, "the dead-letter queue refused the message");
                Decision::Retry(self.options.backoff.longest)
            }
            answer => {
                let error = match answer {
                    Some(Err(error)) => error.to_string(),
                    _ => "it gave no answer".to_owned(),
                };
                tracing::warn!(message_id, queue, error, "cannot dead-letter the message");
                self.breaker.queue_failed("the dead-letter queue doesn't take messages");
                Decision::Release(self.options.backoff.first)
            }
        }
    }

    /// Counts, logs and learns from a task's end.
    fn note(&self, message: &Message, report: &Report, attribution: Attribution) {
        self.tally.count(report);
        self.mean_wall.add(report.usage.wall);
        self.window.ended(report);
        let Report { outcome, usage, .. } = report;
        if !self.options.observers.is_empty() {
            let component = &self.options.component_name;
            let record = TaskRecord::new(&message.id, message.receive_count, component, outcome, usage);
            self.options.observers.iter().for_each(|observer| observer.ended(&record));
        }
        let (message_id, receive_count) = (&message.id, message.receive_count);
        let (fuel, cpu_us, wall_us) =
            (usage.fuel, usage.cpu.as_micros() as u64, usage.wall.as_micros() as u64);
        match outcome.kind() {
            OutcomeKind::Completed => {
                tracing::debug!(message_id, receive_count, fuel, cpu_us, wall_us, "task completed");
            }
            kind => {
                self.watched.task_failed(message, outcome);
                let (outcome, reason) = (kind.as_str(), report.outcome.reason());
                tracing::warn!(
                    message_id,
                    receive_count,
                    outcome,
                    reason,
                    fuel,
                    cpu_us,
                    wall_us,
                    "task did not complete"
                );
            }
        }
        self.breaker.task_ended(outcome, attribution, report.host_error.as_ref(), report.ran);
    }

    /// Why it has stopped, or nearly, where somebody has to mend something.
    fn stalled(&self) -> Option<String> {
        let none_completes = || match self.breaker.cause() {
            Some(Cause::Tasks) => Some(self.breaker.why()),
            Some(Cause::Backend) | None => None,
        };
        self.hopeless.get().cloned().or_else(none_completes)
    }
}

fn check_timeout(timeout: Duration, longest: Duration) -> Result<(), StartError> {
    if timeout <= longest {
        return Ok(());
    }
    let (timeout, longest) = (timeout.as_secs_f64(), longest.as_secs_f64());
    Err(StartError::Settings(format!(
        "a task may take {timeout} s, and its message is kept from others for {longest} s (at most 12 hours): shorten --timeout, or lengthen --max-visibility"
    )))
}

async fn attributes_of(queue: &dyn Queue) -> Result<QueueAttributes, StartError> {
    queue.attributes().await.map_err(|error| StartError::Queue { url: queue.url().to_owned(), error })
}
