//! What is simulated.

use crate::tenants::Tenants;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;
use wasmrun_runtime::ports::queue::BatchPolicy;
use wasmrun_runtime::worker::{Backoff, Sizing};

/// Longest simulation, and longest time in it.
pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// Maximum number of messages that arrive.
pub const MAX_MESSAGES: f64 = 20e9;
/// Maximum number of workers at once.
pub const MAX_WORKERS: u32 = 10_000;
/// Maximum of the concurrency limit.
pub const MAX_INSTANCES: usize = 100_000;
/// Maximum of a rate of messages, in messages a second.
pub const MAX_RATE: f64 = 1e7;
/// Maximum rate of interruptions and other events of a fleet, in events an hour.
pub const MAX_EVENTS_PER_HOUR: f64 = 3600.0;

/// A simulation.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The same seed gives the same result.
    pub seed: u64,
    /// How long messages arrive. The simulation goes on until all are settled.
    pub duration: Duration,
    /// How long it goes on after `duration`, at most.
    pub longest_drain: Duration,
    /// When messages without a key arrive: all of these together.
    pub arrivals: Vec<Arrivals>,
    /// How long tasks take.
    pub service: Service,
    /// Whose messages arrive in addition, each with a key; by default nobody's.
    pub tenants: Tenants,
    /// Share of the tasks that fail and ask for another try.
    pub failing: f64,
    /// The queue.
    pub queue: QueueModel,
    /// Each worker.
    pub worker: WorkerModel,
    /// The workers.
    pub fleet: Fleet,
}

/// When messages arrive.
#[derive(Clone, Debug)]
pub enum Arrivals {
    /// At equal intervals.
    Steady {
        /// Messages a second.
        rate: f64,
    },
    /// At random times.
    Poisson {
        /// Messages a second, on average.
        rate: f64,
    },
    /// At random times, with a rate that rises and falls between zero and twice the average like a sine.
    Wave {
        /// Messages a second, on average over a period.
        rate: f64,
        /// Time from one lowest rate to the next.
        period: Duration,
    },
    /// All at once.
    Burst {
        /// Number of messages.
        count: u64,
        /// When.
        at: Duration,
    },
    /// At recorded times in nanoseconds since the start, in order.
    Recorded(Arc<[u64]>),
}

/// How long tasks take when they don't wait for a thread: first on a thread, then waiting for others.
#[derive(Clone, Debug)]
pub enum Service {
    /// Always the same time.
    Fixed {
        /// The time.
        mean: Duration,
        /// Share of it on a thread.
        cpu: f64,
    },
    /// Exponentially distributed times.
    Exponential {
        /// Mean of the times.
        mean: Duration,
        /// Share of each on a thread.
        cpu: f64,
    },
    /// Recorded times on a thread and waiting, in microseconds. Each task takes one at random.
    Recorded(Arc<[(u64, u64)]>),
}

/// A queue.
#[derive(Clone, Copy, Debug)]
pub struct QueueModel {
    /// Time of a call, there and back.
    pub latency: Duration,
    /// How the worker batches its calls.
    pub batches: BatchPolicy,
    /// How long a receive of the first poller waits for messages.
    pub long_poll: Duration,
    /// How long a receive of another poller waits.
    pub short_poll: Duration,
    /// How a receive that waits learns of a message that was sent.
    pub notice: Notice,
    /// Number of receives after which a message is dead-lettered; `None`: never.
    pub max_receives: Option<NonZeroU32>,
    /// Whether the receive of a message counts that a worker released without fault of the message.
    pub counts_releases: bool,
    /// Whether a receive can go round the keys of messages, if they are groups. Otherwise it returns the oldest ones.
    pub sees_groups: bool,
}

/// How a receive that waits learns of a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The queue answers at once, like SQS's long poll.
    AtOnce,
    /// The receive looks at intervals, as another process sent the message. They double from the shortest to the longest.
    /// It looks at once after a settlement of its own worker.
    Looks {
        /// The first interval.
        shortest: Duration,
        /// The last one.
        longest: Duration,
    },
}

/// A worker.
#[derive(Clone, Copy, Debug)]
pub struct WorkerModel {
    /// Number of guest threads.
    pub threads: NonZeroUsize,
    /// Speed of a thread, in relation to the machine on which the tasks take their time.
    pub speed: f64,
    /// The concurrency limit and how it scales.
    pub sizing: Sizing,
    /// The delay before a failed message is retried.
    pub backoff: Backoff,
    /// How long running tasks may go on once the worker stops.
    pub stop_timeout: Duration,
}

/// The workers, and what starts and stops them.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// Minimum number of workers, with which the simulation starts.
    pub min: u32,
    /// Maximum number of workers.
    pub max: u32,
    /// What decides between them.
    pub autoscaling: Autoscaling,
    /// Shortest and longest time from the decision to start a worker until it receives.
    pub start_up: (Duration, Duration),
    /// Interruptions of a running worker in an hour, on average.
    pub interruptions_per_hour: f64,
    /// Time between two rolling deploys; `None`: there are none.
    pub deploy_every: Option<Duration>,
    /// How often in an hour a worker is started for nothing when none runs.
    pub stray_starts_per_hour: f64,
    /// Shortest time for which a worker is billed.
    pub least_billed: Duration,
}

/// What decides how many workers run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Autoscaling {
    /// Nothing: the minimum runs.
    None,
    /// The policies of `deploy/ecs/batch.yaml`: target tracking, and two alarms for the first and the last worker.
    TargetTracking(Backlog),
    /// Step scaling on the same metric.
    Step(Backlog),
    /// KEDA with the objects of `wasmrun manifest kubernetes`.
    Keda {
        /// Messages, waiting or in flight, for each worker.
        messages_per_worker: NonZeroU32,
    },
}

/// What ECS scales on: the time that the running workers need for the messages that wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backlog {
    /// How long that time may be.
    pub acceptable_latency: Duration,
    /// Mean time that a worker takes for a message. As tasks run side by side, it's less than a task takes.
    pub time_per_message: Duration,
}

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(String);

/// Fails with what is `wrong` unless the condition holds.
pub(crate) fn ensure(holds: bool, wrong: impl Into<String>) -> Result<(), PlanError> {
    if holds { Ok(()) } else { Err(PlanError(wrong.into())) }
}

/// Checks a number between 0 and 1.
fn ensure_share(share: f64) -> Result<(), PlanError> {
    ensure((0.0..=1.0).contains(&share), "a share is 0 to 1")
}

impl Arrivals {
    /// Returns how many messages arrive in a time, on average.
    pub fn expected(&self, duration: Duration) -> f64 {
        match self {
            Self::Steady { rate } | Self::Poisson { rate } | Self::Wave { rate, .. } => {
                rate * duration.as_secs_f64()
            }
            Self::Burst { count, .. } => *count as f64,
            Self::Recorded(times) => times.len() as f64,
        }
    }

    fn check(&self, duration: Duration) -> Result<(), PlanError> {
        if let Self::Steady { rate } | Self::Poisson { rate } | Self::Wave { rate, .. } = self {
            ensure(
                *rate > 0.0 && *rate <= MAX_RATE,
                format!(
                    "a rate of arrivals is above 0 and at most {MAX_RATE:.0} messages a second, and not {rate}"
                ),
            )?;
        }
        match self {
            Self::Wave { period, .. } => ensure(
                (Duration::from_secs(1)..=LONGEST).contains(period),
                "the period of a wave is one second to one year",
            ),
            Self::Burst { at, .. } => {
                ensure(*at < duration, "a burst comes before messages end to arrive: lengthen the duration")
            }
            _ => Ok(()),
        }
    }
}

impl Service {
    fn check(&self) -> Result<(), PlanError> {
        match self {
            Self::Fixed { mean, cpu } | Self::Exponential { mean, cpu } => {
                ensure(*mean <= LONGEST, "the mean time of a task is at most a year")?;
                ensure_share(*cpu)
            }
            Self::Recorded(times) => ensure(!times.is_empty(), "there is no recorded task"),
        }
    }

    /// Returns the mean time on a thread and the mean time waiting, in seconds.
    pub fn means(&self) -> (f64, f64) {
        match self {
            Self::Fixed { mean, cpu } | Self::Exponential { mean, cpu } => {
                (mean.as_secs_f64() * cpu, mean.as_secs_f64() * (1.0 - cpu))
            }
            Self::Recorded(times) => {
                let mean = |of: fn(&(u64, u64)) -> u64| {
                    times.iter().map(|times| of(times) as f64 / 1e6).sum::<f64>() / times.len().max(1) as f64
                };
                (mean(|times| times.0), mean(|times| times.1))
            }
        }
    }
}

impl QueueModel {
    fn check(&self) -> Result<(), PlanError> {
        match self.notice {
            Notice::Looks { shortest, longest } => ensure(
                !shortest.is_zero() && shortest <= longest,
                "a receive looks for messages at intervals above 0, of which the shortest is not above the longest",
            ),
            Notice::AtOnce => Ok(()),
        }
    }
}

impl Fleet {
    fn check(&self) -> Result<(), PlanError> {
        ensure(
            (1..=MAX_WORKERS).contains(&self.max) && self.min <= self.max,
            format!("the number of workers is 1 to {MAX_WORKERS}, and its minimum not above its maximum"),
        )?;
        ensure(
            self.autoscaling != Autoscaling::None || self.min == self.max,
            "without autoscaling, the number of workers is fixed",
        )?;
        ensure(
            self.start_up.0 <= self.start_up.1,
            "the shortest start of a worker is longer than the longest",
        )?;
        let hourly = |rate: f64| (0.0..=MAX_EVENTS_PER_HOUR).contains(&rate);
        ensure(
            hourly(self.interruptions_per_hour) && hourly(self.stray_starts_per_hour),
            format!("interruptions and stray starts are 0 to {MAX_EVENTS_PER_HOUR} an hour"),
        )?;
        ensure(
            self.deploy_every.is_none_or(|every| every >= Duration::from_secs(60)),
            "deploys are at least a minute apart",
        )?;
        match self.autoscaling {
            Autoscaling::TargetTracking(backlog) | Autoscaling::Step(backlog) => ensure(
                backlog.acceptable_latency >= Duration::from_millis(1) && !backlog.time_per_message.is_zero(),
                "the acceptable latency is at least 1 ms, and the time for a message above zero",
            ),
            Autoscaling::None | Autoscaling::Keda { .. } => Ok(()),
        }
    }
}

impl Plan {
    /// Checks that each number is one that can be simulated.
    ///
    /// # Errors
    ///
    /// Says what is wrong, of the first number that isn't.
    pub fn check(&self) -> Result<(), PlanError> {
        let of_tenants = self.tenants.all.iter().flat_map(|tenant| &tenant.arrivals);
        for arrivals in self.arrivals.iter().chain(of_tenants) {
            arrivals.check(self.duration)?;
        }
        let of_tenants = self.tenants.all.iter().filter_map(|tenant| tenant.service.as_ref());
        for service in std::iter::once(&self.service).chain(of_tenants) {
            service.check()?;
        }
        for (name, time) in [
            ("the simulation", self.duration),
            ("the time to settle all messages", self.longest_drain),
            ("a call of the queue", self.queue.latency),
            ("a receive", self.queue.long_poll.max(self.queue.short_poll)),
            ("the stop timeout", self.worker.stop_timeout),
            ("the start of a worker", self.fleet.start_up.1),
            ("the time between two deploys", self.fleet.deploy_every.unwrap_or_default()),
        ] {
            ensure(time <= LONGEST, format!("{name} is at most a year"))?;
        }
        ensure(!self.duration.is_zero(), "the simulation must last longer than 0 s")?;
        let without_key: f64 = self.arrivals.iter().map(|arrivals| arrivals.expected(self.duration)).sum();
        let messages = without_key + self.tenants.expected(self.duration);
        ensure(
            messages <= MAX_MESSAGES,
            format!("{messages:.3e} messages would arrive: at most {MAX_MESSAGES:.0e} can be simulated"),
        )?;
        self.tenants.check(messages)?;
        ensure_share(self.failing)?;
        ensure(
            self.failing < 1.0 || self.queue.max_receives.is_some(),
            "if every task fails, messages must be dead-lettered after a number of receives",
        )?;
        self.queue.check()?;
        self.fleet.check()?;
        ensure(
            self.worker.sizing.most.get() <= MAX_INSTANCES,
            format!("the concurrency limit is at most {MAX_INSTANCES}"),
        )?;
        ensure(
            (0.001..=1000.0).contains(&self.worker.speed) && self.worker.threads.get() <= 1024,
            "a worker has at most 1024 threads, each of 0.001 to 1000 times the recorded speed",
        )
    }
}
