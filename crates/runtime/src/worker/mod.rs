//! The worker: the way of a message, from its receipt to its settlement.
//!
//! [`Worker::run`] asks the queue for no more than it can start now; `process` runs one message's task under a lease
//! and settles the message. Delivery is at least once: whatever crashes, a message is settled only after what its
//! task wrote is durable.

mod attribution;
mod body;
mod breaker;
mod dead_letter;
mod lease;
mod mean;
mod misconfiguration;
mod options;
mod permits;
mod process;
mod rate;
mod receive;
mod scale;
pub mod scaler;
mod settle;
mod status;
mod tally;
mod waiting;

pub use self::body::BodyStore;
pub use self::options::{OnLeaseExpired, StartError, TasksStart, WorkerOptions};
pub use self::rate::Rate;
pub use self::scale::{ScaleOptions, Sizing};
pub use self::settle::Backoff;
pub use self::status::{FailedTask, InstancesStatus, NAMED, Receiving, RunningTask, Status};
pub use self::tally::{Count, Counts, Summary, Tally};

use self::attribution::Attributions;
use self::body::BODY_STORE;
use self::breaker::{Breaker, Cause};
use self::dead_letter::DeadLetterQueue;
use self::lease::Leases;
use self::mean::MeanTime;
use self::misconfiguration::Misconfiguration;
use self::options::check_timeout;
use self::permits::Permits;
use self::rate::Starts;
use self::scale::StatisticsWindow;
use self::settle::{Rules, Settlement, Settling, settle_all};
use self::status::Watched;
use self::waiting::WaitingMessages;
use crate::model::message::MAX_VISIBILITY;
use crate::ports::queue::{Queue, QueueAttributes};
use crate::task::component::Component;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the last settlements may take once the worker gives up.
const LAST_SETTLEMENTS: Duration = Duration::from_secs(3);

/// Runs the tasks of one queue's messages.
//
// Many fields, each a type of its own: all that the pollers and the tasks share is found here.
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
    misconfiguration: Misconfiguration,
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
            misconfiguration: Misconfiguration::default(),
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

    /// Why it has stopped, or nearly, where somebody has to mend something.
    fn stalled(&self) -> Option<String> {
        let none_completes = || match self.breaker.cause() {
            Some(Cause::Tasks) => Some(self.breaker.why()),
            Some(Cause::Backend) | None => None,
        };
        self.misconfiguration.why().map(str::to_owned).or_else(none_completes)
    }
}

async fn attributes_of(queue: &dyn Queue) -> Result<QueueAttributes, StartError> {
    queue.attributes().await.map_err(|error| StartError::Queue { url: queue.url().to_owned(), error })
}
