//! The worker: receives messages, runs a task for each, and settles them.
//!
//! [`Worker::run`] asks a queue for no more messages than it can start tasks for now, except for those that it holds to
//! choose among: messages of several keys, and one message of each of several queues. `process` runs the task of one
//! message under a lease and settles the message. Delivery is at least once: a message is settled only after the
//! outputs of its task are durable, so that a crash at any point loses no message.
//!
//! | module, in the order of the path | owns |
//! |---|---|
//! | `receive`, `admission` | receiving; acquiring the permits, starts and admission that a receive needs |
//! | `permits`, `rate`, `breaker`, [`circuit`] | the permits, the rate of starts, and the circuit breaker of backends |
//! | `keyed`, `fill`, [`holding`], [`shares`] | the messages that are held for fair shares among keys |
//! | `budgets` | the budgets of keys for a period |
//! | `sources` | the queues, with their own settings and their turns |
//! | `lease` | the visibility of messages, and its renewal |
//! | `process`, `expiry`, `body` | the task of one message, its age, and its body |
//! | `once` | with `--once`: the ledger, the commit, and the sweep after crashes |
//! | `attribution`, `misconfiguration` | attributing host errors; errors that only the operator can fix |
//! | [`decision`], `settle`, `dead_letter`, `notify`, `completion` | deciding, settling, dead-lettering, notifying |
//! | `waiting` | the messages that wait for a failing backend |
//! | `scale`, [`scaler`], `pressure`, `mean` | scaling the concurrency limit |
//! | `status`, `tally` | the status and the counts |
//! | `control` | an operator's commands: pause, resume, cancel |
//! | `options` | settings, and the checks at the start |

mod admission;
mod attribution;
mod body;
mod breaker;
mod budgets;
pub mod circuit;
mod completion;
mod control;
mod dead_letter;
pub mod decision;
mod expiry;
mod fill;
pub mod holding;
mod keyed;
mod lease;
mod mean;
mod misconfiguration;
mod notify;
mod once;
mod options;
mod permits;
mod pressure;
mod process;
mod rate;
mod receive;
mod scale;
pub mod scaler;
mod settle;
pub mod shares;
mod sources;
mod status;
mod tally;
mod waiting;

pub use self::body::BodyStore;
pub use self::budgets::{BudgetOptions, MOST_ACCOUNTS_BYTES, OverBudget, OverBudgetStatus};
pub use self::completion::GroupOptions;
pub use self::control::NotCancelled;
pub use self::decision::Backoff;
pub use self::keyed::{KeyOptions, MOST_HELD_BYTES};
pub use self::notify::NotifyOptions;
pub use self::once::OnceOptions;
pub use self::options::{OnLeaseExpired, StartError, TasksStart, WorkerOptions};
pub use self::rate::Rate;
pub use self::receive::{LONG_POLL, MOST_POLLERS, SHORT_POLL};
pub use self::scale::{ScaleOptions, Sizing};
pub use self::sources::{MOST_QUEUES, Priority, WorkerQueue};
pub use self::status::{FailedTask, InstancesStatus, NAMED, QueueStatus, Receiving, RunningTask, Status};
pub use self::tally::{Count, Counts, Summary, Tally};

use self::attribution::Attributions;
use self::body::BODY_STORE;
use self::breaker::{Breaker, Cause};
use self::control::Pause;
use self::keyed::KeyedMessages;
use self::lease::Leases;
use self::mean::MeanTime;
use self::misconfiguration::Misconfiguration;
use self::notify::Notifier;
use self::once::{LEDGER, OnceRuns};
use self::options::{check_budgets, check_keys, check_notified, check_timeout};
use self::permits::Permits;
use self::rate::Starts;
use self::scale::StatisticsWindow;
use self::settle::{Settlement, Settling, settle_all};
use self::sources::Sources;
use self::status::StatusRecords;
use self::waiting::WaitingMessages;
use crate::ports::queue::{Depth, Queue, QueueAttributes, QueueError};
use crate::task::routes::Routes;
use futures_util::future::join_all;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// How long the last settlements may take, once all tasks have ended, before the worker gives up.
const LAST_SETTLEMENTS: Duration = Duration::from_secs(3);

/// Runs the tasks of the messages of its queues.
//
// Each of the many fields has a type of its own. Together they are all that the pollers and the tasks share.
pub struct Worker {
    sources: Sources,
    /// Sends a notification of each message that ends; `None`: nobody is told.
    notifier: Option<Notifier>,
    routes: Routes,
    options: WorkerOptions,
    leases: Arc<Leases>,
    breaker: Arc<Breaker>,
    /// Whether an operator has paused the worker.
    pause: Pause,
    attributions: Attributions,
    waiting: WaitingMessages,
    /// The messages that are held for fair shares; `None`: none are, and messages start in the queue's order.
    keyed: Option<Arc<KeyedMessages>>,
    /// The runs under `--once`; `None`: a message that is delivered again runs again.
    once: Option<Arc<OnceRuns>>,
    misconfiguration: Misconfiguration,
    starts: Option<Starts>,
    mean_wall: MeanTime,
    permits: Arc<Permits>,
    /// The concurrency limit and how it scales. [`Worker::resize`] changes them.
    sizing: watch::Sender<Sizing>,
    window: StatisticsWindow,
    tally: Arc<Tally>,
    records: StatusRecords,
    /// Lets the worker warn only once about pointers to bodies when no body store is configured.
    pointers_warned: Once,
    /// Runtime on which queues and stores are called.
    io: Handle,
}

/// State that the tasks of one run of the worker share.
struct InProgress {
    /// For each queue, sends settlements to [`settle_all`], which ends when the last task has dropped its sender. The
    /// permits bound the channels.
    settlements: Vec<mpsc::UnboundedSender<Settlement>>,
    /// Ends receiving when it is cancelled.
    stop: CancellationToken,
    /// Ends the running tasks when it is cancelled.
    abandon: CancellationToken,
}

impl InProgress {
    /// Has a message settled by its queue.
    fn settle(&self, settlement: Settlement) {
        // Can't fail: the receiver lives until all senders are dropped.
        let _ = self.settlements[settlement.source.index].send(settlement);
    }
}

impl Worker {
    /// Creates a worker on one queue, as [`Worker::of_queues`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Worker::of_queues`].
    pub async fn new(
        queue: Arc<dyn Queue>,
        dead_letter: Option<Arc<dyn Queue>>,
        routes: impl Into<Routes>,
        options: WorkerOptions,
    ) -> Result<Self, StartError> {
        let queue = WorkerQueue { queue, dead_letter, priority: Priority::default() };
        Self::of_queues(vec![queue], routes, options).await
    }

    /// Creates a worker on at most [`MOST_QUEUES`] queues, after checking that its settings fit them. `routes` are its
    /// components: a single one, or several with the messages that each handles.
    ///
    /// # Errors
    ///
    /// Fails if a queue can't be used, or if the settings don't fit it: such a mistake would show with each message.
    pub async fn of_queues(
        queues: Vec<WorkerQueue>,
        routes: impl Into<Routes>,
        options: WorkerOptions,
    ) -> Result<Self, StartError> {
        let routes = routes.into();
        let used = queues.iter().flat_map(|of| std::iter::once(&of.queue).chain(&of.dead_letter));
        let used: Vec<Arc<dyn Queue>> = used.cloned().collect();
        let sources = Sources::open(queues, &options).await?;
        check_notified(&options, &routes, used.iter()).await?;
        for source in sources.all() {
            check_timeout(routes.timeout(), source.longest, options.keys.is_some())?;
        }
        check_keys(&routes, options.keys.is_some())?;
        check_budgets(&options, &routes)?;
        let budgets = options.budgets.clone();
        let keyed = options.keys.clone().map(|keys| KeyedMessages::new(keys, budgets));
        let (tally, io) = (Arc::<Tally>::default(), Handle::current());
        let body_store = options.bodies.iter().map(|_| BODY_STORE.to_owned());
        let ledger = options.once.iter().map(|_| LEDGER.to_owned());
        let attributions = Attributions::of(routes.backends().into_iter().chain(body_store).chain(ledger));
        let once = options.once.clone().map(|once| OnceRuns::new(once, &options, &routes)).transpose()?;
        let leases = Leases::new(sources.all().to_vec(), tally.clone());
        let max_unsettled = sources.unsettled();
        let notifier = options.notify.clone().map(|notify| Notifier::start(notify, &io));
        let starts = options.rate.map(|rate| Starts::at(rate, Instant::now()));
        let sizing = Sizing { most: options.instances, scale: options.scale };
        Ok(Self {
            sources,
            notifier,
            routes,
            breaker: Arc::new(Breaker::new(options.max_consecutive_failures)),
            pause: Pause::default(),
            attributions,
            waiting: WaitingMessages::default(),
            keyed,
            once: once.map(Arc::new),
            misconfiguration: Misconfiguration::default(),
            options,
            leases,
            starts,
            mean_wall: MeanTime::default(),
            // The concurrency limit starts at its minimum.
            permits: Permits::new(sizing.least().max(1), max_unsettled),
            sizing: watch::Sender::new(sizing),
            window: StatisticsWindow::default(),
            tally,
            records: StatusRecords::new(),
            pointers_warned: Once::new(),
            io,
        })
    }

    /// Changes the concurrency limit, to at most the limit that the worker was created with. Running tasks go on.
    /// Returns the sizing that holds from now on.
    pub fn resize(&self, sizing: Sizing) -> Sizing {
        let sizing = Sizing { most: sizing.most.min(self.options.instances), ..sizing };
        self.sizing.send_replace(sizing);
        sizing
    }

    /// Lets the status say that the worker stops, before [`Worker::run`] is told to.
    pub fn will_stop(&self) {
        self.records.stops();
    }

    /// Returns whether the task of any message runs.
    pub fn is_busy(&self) -> bool {
        self.leases.any_runs()
    }

    /// Returns the URLs of the queues.
    pub fn queues(&self) -> Vec<String> {
        self.sources.all().iter().map(|source| source.url().to_owned()).collect()
    }

    /// Returns how many messages there are in all queues.
    ///
    /// # Errors
    ///
    /// The URL of the first queue that fails, and its error.
    pub async fn depth(&self) -> Result<Depth, (String, QueueError)> {
        self.sources.depth().await
    }

    /// Returns the counts of this worker, which go on counting.
    pub fn tally(&self) -> Arc<Tally> {
        self.tally.clone()
    }

    /// Runs until `stop` is cancelled, or until the queue is empty with [`WorkerOptions::until_empty`], and then waits
    /// for the running tasks. When `abandon` is cancelled or the stop timeout expires, the running tasks are cancelled
    /// and their messages are released.
    pub async fn run(self: Arc<Self>, stop: CancellationToken, abandon: CancellationToken) -> Summary {
        // The worker cancels its own token when it ends by itself.
        let stop = stop.child_token();
        let channels = self.sources.all().iter().map(|_| mpsc::unbounded_channel());
        let (settlements, receivers): (Vec<_>, Vec<_>) = channels.unzip();
        let in_progress = Arc::new(InProgress { settlements, stop: stop.clone(), abandon: abandon.clone() });
        let (settled, give_up) = (CancellationToken::new(), CancellationToken::new());

        let tasks = TaskTracker::new();
        let work = async {
            self.receive(&tasks, &in_progress).await;
            tasks.close();
            tasks.wait().await;
            drop(in_progress);
            tokio::select! {
                () = settled.cancelled() => {}
                () = tokio::time::sleep(LAST_SETTLEMENTS) => give_up.cancel(),
            }
        };
        let settle = async {
            let settling = self.sources.all().iter().zip(receivers).map(|(source, receiver)| {
                let settling = Settling {
                    source,
                    breaker: &self.breaker,
                    tally: &self.tally,
                    observers: &self.options.observers,
                    give_up: &give_up,
                };
                settle_all(settling, receiver)
            });
            join_all(settling).await;
            settled.cancel();
        };
        tokio::select! {
            // Both run in one tokio task, so that the end of a Wasm task wakes it once: to settle the message, and to
            // receive the next.
            _ = async { tokio::join!(work, settle) } => {}
            () = self.leases.keep_renewing() => {}
            () = self.enforce_stop_timeout(&tasks, &stop, &abandon) => {}
            () = self.scale(&tasks) => {}
            () = self.ask_depth() => {}
            () = self.sweep_groups() => {}
            () = self.sweep_once() => {}
            () = self.records.beat() => {}
        }
        self.charge_last().await;
        self.routes.clear_away().await;
        Summary { stalled: self.stalled(), ..self.tally.summary() }
    }

    /// Cancels the running tasks when the stop timeout expires.
    async fn enforce_stop_timeout(
        &self,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        abandon: &CancellationToken,
    ) {
        stop.cancelled().await;
        self.records.stops();
        tokio::time::sleep(self.options.stop_timeout).await;
        if !abandon.is_cancelled() {
            let running = tasks.len();
            tracing::warn!(running, "stop timeout expired: releasing the messages of running tasks");
            abandon.cancel();
        }
        std::future::pending().await
    }

    /// Returns why the worker makes no progress, if an operator must act.
    fn stalled(&self) -> Option<String> {
        let none_completes = || match self.breaker.cause() {
            Some(Cause::Tasks) => Some(self.breaker.why()),
            Some(Cause::Backend) | None => None,
        };
        self.misconfiguration.why().map(str::to_owned).or_else(none_completes)
    }
}

/// Calls a backend on the I/O threads, never on the guest thread that waits for the answer. The call ends when this future
/// is dropped.
///
/// # Errors
///
/// The call has panicked.
async fn on_io<T: Send + 'static>(
    io: &Handle,
    call: impl Future<Output = T> + Send + 'static,
) -> Result<T, JoinError> {
    AbortOnDropHandle::new(io.spawn(call)).await
}

async fn attributes_of(queue: &dyn Queue) -> Result<QueueAttributes, StartError> {
    queue.attributes().await.map_err(|error| StartError::Queue { url: queue.url().to_owned(), error })
}
