//! The scaler: decides how many tasks may run at once.
//!
//! It is a function of a [`Snapshot`] and of the little that it remembers. It has no clock, no queue and no runtime: a
//! snapshot says how much time has passed, so that a test can compute hours of a fleet.
//!
//! Three things are weighed:
//!
//! - *Demand*: the messages that wait in the queue, and those that the last receives returned, which is newer.
//! - *Use*: tasks that compute need threads. More of them than keep the threads busy only wait for a time slice. Tasks
//!   that wait for the host need no thread. The scaler measures which kind the tasks are: the share of the time permits
//!   are held in which a task is on a thread or waits for one.
//! - *Pressure*: while stores or queues fail or throttle, fewer tasks run at once.

use super::pressure::Pressure;
use std::collections::VecDeque;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// Interval of the scaler's decisions while tasks run, …
pub const BUSY: Duration = Duration::from_millis(50);
/// … and while none runs. A receive that returned all that was asked for cuts it short.
pub const IDLE: Duration = Duration::from_secs(1);
/// Interval at which the queue is asked for its depth, if the goal or the status needs it.
pub const ASK_EVERY: Duration = Duration::from_secs(10);
/// Longest time that a receive takes without waiting for messages to come. A longer receive waited for messages:
/// meanwhile its permits count as free.
pub const LONGEST_REQUEST: Duration = Duration::from_millis(100);

/// Average number of tasks for each thread, running or ready, beyond which more are useless: one computes, and half the
/// time another is ready when it ends.
const RUNNABLE_PER_THREAD: f64 = 1.5;
/// If tasks are short, each thread gets enough of them to last this long: in that time the worker wakes up, which costs
/// as much as such a task, and receives several messages at once …
const LEAST_WORK: Duration = Duration::from_micros(200);
/// … but not more than this number. Beyond it, the worker's part in the cost of a task would hardly shrink.
const MOST_RUNNABLE_PER_THREAD: f64 = 10.0;
/// Half-life of what is known about tasks.
const HALF_LIFE: Duration = Duration::from_secs(3);
/// Half-life of what is known about how short tasks are. Many short tasks run at once, and are a burden as soon as they
/// aren't short any more.
const HALF_LIFE_OF_SHORT: Duration = Duration::from_millis(250);
/// Time in seconds for which permits must have been held, in all, before the use of threads is measured.
const LEAST_EVIDENCE: f64 = 0.02;
/// Relative change of the measured use that is taken up. A smaller change is noise.
const TOLERANCE: f64 = 0.25;
/// The highest demand is remembered for at least the time of this number of tasks in a row.
const MANY: f64 = 20.0;
/// Smallest share of its time for which a task is assumed to need a thread: a thousand such tasks need one thread.
const LEAST_SHARE: f64 = 1e-3;

/// The bounds and the goal of the scaler, until the user changes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaling {
    /// Number of tasks that may always run. One may in any case.
    pub min: usize,
    /// Maximum number of tasks: what the user wants, and what the host can bear.
    pub max: NonZeroUsize,
    /// Number of guest threads.
    pub threads: NonZeroUsize,
    /// The goal of the scaler.
    pub goal: Goal,
    /// How long a number that was needed may be needed again. The number falls when not more than a third of it was
    /// wanted within this time, and to the minimum when there was nothing to do for as long.
    pub scale_in_delay: Duration,
}

impl Scaling {
    /// Returns the same with a minimum of at least one and at most the maximum.
    fn startable(self) -> Self {
        Self { min: self.min.clamp(1, self.max.get()), ..self }
    }
}

/// The goal of the scaler, from which the number of tasks for a backlog follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Goal {
    /// Each waiting message starts at once, as far as more tasks are useful.
    #[default]
    AtOnce,
    /// A message that arrives starts within this time.
    Latency(Duration),
    /// Number of messages, waiting or running, for each concurrent task.
    Backlog(NonZeroU32),
}

/// The statistics that the scaler sees. Counts are of what happened since the previous snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Time since the previous snapshot.
    pub elapsed: Duration,
    /// Number of messages that wait in the queue, from its last answer; `None`: there is no recent answer.
    pub waiting: Option<u64>,
    /// Number of messages from receives that returned all that was asked for. Probably as many again wait.
    pub of_full_receives: u64,
    /// Number of receives that returned no message.
    pub empty_receives: u64,
    /// Number of tasks that run now.
    pub running: usize,
    /// How long permits were held, in all: by tasks, including those that still run, and by receives that returned
    /// messages.
    pub occupied: Duration,
    /// Part of `occupied` on a thread.
    pub computed: Duration,
    /// Part of `occupied` waiting for a thread.
    pub waited: Duration,
    /// Number of tasks that ended.
    pub ended: u64,
    /// How long these tasks took, in all, without waiting for a thread.
    pub service: Duration,
    /// Number of these tasks that failed because of stores or queues.
    pub pressed: u64,
}

/// The number of tasks that may run at once, and what decided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Number of tasks that may run at once.
    pub instances: NonZeroUsize,
    /// The reason for the number.
    pub because: Because,
}

/// The reason for the number of tasks that may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// No more tasks are needed.
    Demand,
    /// This number was needed a while ago, and may be needed again.
    ScaleInDelay,
    /// More tasks would wait for a thread.
    Threads,
    /// Stores or queues fail.
    Pressure,
    /// The user or the host allows no more.
    Maximum,
}

impl Because {
    /// All variants.
    pub const ALL: [Self; 5] =
        [Self::Demand, Self::ScaleInDelay, Self::Threads, Self::Pressure, Self::Maximum];

    /// Returns the word for it in a status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Demand => "demand",
            Self::ScaleInDelay => "scale-in-delay",
            Self::Threads => "threads",
            Self::Pressure => "pressure",
            Self::Maximum => "maximum",
        }
    }
}

/// Decides how many tasks may run at once.
//
// A field for each thing that it remembers.
#[derive(Clone, Debug)]
pub struct Scaler {
    scaling: Scaling,
    instances: usize,
    /// Recent time in seconds, like `runnable` and `computed`. Older time counts less.
    occupied: f64,
    runnable: f64,
    computed: f64,
    /// Number of tasks that ended in the time of `computed`.
    computed_for: f64,
    /// Time of the `ended` recent tasks, in seconds.
    service: f64,
    ended: f64,
    /// How long tasks have run since one last ended.
    unended: Duration,
    /// Number of tasks that keeps the threads busy; `None`: too little has run yet.
    useful: Option<f64>,
    pressure: Pressure,
    /// All time that has passed.
    now: Duration,
    /// When there was last something to do.
    busy_at: Option<Duration>,
    /// The numbers that were wanted, and when. Each is less than those before it, so that the first is the highest.
    wanted: VecDeque<(Duration, usize)>,
}

impl Scaler {
    /// Creates a scaler that starts at the minimum.
    pub fn new(scaling: Scaling) -> Self {
        let scaling = scaling.startable();
        Self {
            scaling,
            instances: scaling.min,
            occupied: 0.0,
            runnable: 0.0,
            computed: 0.0,
            computed_for: 0.0,
            service: 0.0,
            ended: 0.0,
            unended: Duration::ZERO,
            useful: None,
            pressure: Pressure::default(),
            now: Duration::ZERO,
            busy_at: None,
            wanted: VecDeque::new(),
        }
    }

    /// Changes the bounds and the goal. The measurements are kept.
    pub fn set(&mut self, scaling: Scaling) {
        let max = scaling.max.get();
        self.scaling = scaling.startable();
        self.instances = self.instances.clamp(self.scaling.min, max);
        for (_, wanted) in &mut self.wanted {
            *wanted = (*wanted).min(max);
        }
    }

    /// Decides how many tasks may run from now on.
    pub fn decide(&mut self, snapshot: &Snapshot) -> Target {
        self.now = self.now.saturating_add(snapshot.elapsed);
        self.learn(snapshot);
        self.pressure.record(snapshot, self.now, self.instances, self.scaling.max);
        let demand = self.demand(snapshot);
        if demand > 0 || snapshot.ended > 0 {
            self.busy_at = Some(self.now);
        }
        let recent = self.highest_wanted(step(demand));
        let Scaling { min, max, .. } = self.scaling;
        let (most, because) = self.bound(max.get());
        let is_idle = self.busy_at.is_none_or(|busy| self.now - busy >= self.scaling.scale_in_delay)
            && demand == 0
            && snapshot.ended == 0;
        // A limit that isn't used up costs nothing, and a limit that moves with each wave of messages shows nothing. So
        // it falls only if no more than a third of it was wanted.
        let kept = if recent > self.instances / 3 { recent.max(self.instances) } else { recent };
        let wanted = if is_idle { min } else { kept.max(min) };
        let (instances, because) = if wanted > most {
            (most.max(min), because)
        } else if step(demand) < wanted && wanted > min {
            (wanted, Because::ScaleInDelay)
        } else {
            (wanted, Because::Demand)
        };
        // The number rises at once, but at most doubles: the measurements say little about more tasks than that.
        self.instances = instances.min(self.instances.saturating_mul(2)).max(min);
        let instances = NonZeroUsize::new(self.instances).unwrap_or(NonZeroUsize::MIN);
        Target { instances, because }
    }

    /// Learns from a snapshot how much of their time tasks compute or wait.
    fn learn(&mut self, snapshot: &Snapshot) {
        let left = left_after(snapshot.elapsed, HALF_LIFE);
        // While no task ends or runs, nothing is forgotten.
        if snapshot.ended == 0 && snapshot.running > 0 {
            self.unended = self.unended.saturating_add(snapshot.elapsed);
        } else {
            self.unended = Duration::ZERO;
        }
        if snapshot.ended > 0 {
            self.service = self.service * left + snapshot.service.as_secs_f64();
            self.ended = self.ended * left + snapshot.ended as f64;
        }
        if snapshot.occupied.is_zero() {
            return;
        }
        self.occupied = self.occupied * left + snapshot.occupied.as_secs_f64();
        let runnable = snapshot.computed.saturating_add(snapshot.waited);
        self.runnable = self.runnable * left + runnable.as_secs_f64();
        let left = left_after(snapshot.elapsed, HALF_LIFE_OF_SHORT);
        self.computed = self.computed * left + snapshot.computed.as_secs_f64();
        self.computed_for = self.computed_for * left + snapshot.ended as f64;
        if self.occupied < LEAST_EVIDENCE {
            return;
        }
        let share = (self.runnable / self.occupied).max(LEAST_SHARE);
        let useful = self.busy_threads() / share;
        let differs = |known: f64| useful > known * (1.0 + TOLERANCE) || useful < known * (1.0 - TOLERANCE);
        if self.useful.is_none_or(differs) {
            self.useful = Some(useful);
        }
    }

    /// Returns the number of tasks that keeps the threads busy if they only compute.
    fn busy_threads(&self) -> f64 {
        // Tasks that still run count in `computed`, so that quick tasks don't hide slow ones next to them.
        let short = match self.computed > 0.0 {
            true => LEAST_WORK.as_secs_f64() * self.computed_for / self.computed,
            false => 0.0,
        };
        self.scaling.threads.get() as f64 * short.clamp(RUNNABLE_PER_THREAD, MOST_RUNNABLE_PER_THREAD)
    }

    /// Returns the number of tasks that the messages ask for.
    fn demand(&self, snapshot: &Snapshot) -> usize {
        let waiting = if snapshot.of_full_receives > 0 {
            snapshot.waiting.unwrap_or_default().max(snapshot.of_full_receives)
        } else if snapshot.empty_receives > 0 {
            // An empty receive is newer than the depth.
            0
        } else {
            snapshot.waiting.unwrap_or_default()
        };
        let running = snapshot.running as u64;
        let wanted = match self.scaling.goal {
            Goal::AtOnce => running.saturating_add(waiting),
            Goal::Backlog(each) => running.saturating_add(waiting).div_ceil(each.get().into()),
            // This number of tasks starts the waiting messages within this time. A float that is no number becomes 0.
            Goal::Latency(within) => {
                (waiting as f64 * self.service_time() / within.as_secs_f64()).ceil() as u64
            }
        };
        // Running tasks are needed, whatever the goal says about waiting messages. Otherwise a number that meets the
        // goal would not stay.
        let least = running.max(u64::from(waiting > 0));
        usize::try_from(wanted.max(least)).unwrap_or(usize::MAX).min(self.scaling.max.get())
    }

    /// Returns the mean time of a task in seconds, without waiting for a thread. Tasks that don't end count with the
    /// time that they have run so far.
    fn service_time(&self) -> f64 {
        let mean = if self.ended > 0.0 { self.service / self.ended } else { 0.0 };
        mean.max(self.unended.as_secs_f64())
    }

    /// Returns the highest number that was wanted within the scale-in delay, or within the time of [`MANY`] tasks if
    /// that is longer: few tasks show nothing.
    fn highest_wanted(&mut self, wanted: usize) -> usize {
        let many = Duration::try_from_secs_f64(self.service_time() * MANY).unwrap_or(Duration::MAX);
        let kept = self.scaling.scale_in_delay.max(many);
        while self.wanted.back().is_some_and(|&(_, lower)| lower <= wanted) {
            self.wanted.pop_back();
        }
        self.wanted.push_back((self.now, wanted));
        while self.wanted.front().is_some_and(|&(at, _)| self.now - at > kept) {
            self.wanted.pop_front();
        }
        self.wanted.front().map_or(wanted, |&(_, highest)| highest)
    }

    /// Returns the highest number of tasks that is useful, and what bounds it.
    fn bound(&self, max: usize) -> (usize, Because) {
        // Until their use is measured, tasks are assumed to only compute.
        let useful = self.useful.unwrap_or_else(|| self.busy_threads());
        [(Some(useful), Because::Threads), (self.pressure.bound(), Because::Pressure)]
            .into_iter()
            .filter_map(|(bound, because)| Some(((bound?.round() as usize).max(1), because)))
            .fold((max, Because::Maximum), |least, other| if other.0 < least.0 { other } else { least })
    }
}

/// Returns the share that counts of what was known this time before, by its half-life.
pub(super) fn left_after(elapsed: Duration, half_life: Duration) -> f64 {
    (-elapsed.as_secs_f64() / half_life.as_secs_f64()).exp2()
}

/// Rounds up to the next of 1, 2, 3, 4, 6, 8, 12, 16, …: small ups and downs change nothing.
fn step(wanted: usize) -> usize {
    let power = wanted.checked_next_power_of_two().unwrap_or(wanted);
    let between = power / 4 * 3;
    if between >= wanted.max(1) { between } else { power }
}

#[cfg(test)]
#[path = "scaler_tests.rs"]
mod tests;
