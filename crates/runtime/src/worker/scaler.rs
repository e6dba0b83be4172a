//! The scaler: how many tasks may run at once.
//!
//! A function of what it is shown and of the little that it remembers. It knows no clock, no queue and no runtime: time
//! is what a snapshot says has passed, so that hours of a fleet can be computed in a test.
//!
//! Three things are weighed. *Demand*: what waits in the queue, and what receives brought, which is newer. *Use*: tasks
//! that compute need threads, and more of them at once than keep the threads busy only take time slices in turn, while tasks that
//! wait need no thread; which kind they are is measured, and nobody has to say it: of the time that permits are occupied,
//! which part asks for a thread? *Pressure*: where stores and queues fail or throttle, fewer tasks at once.

use std::collections::VecDeque;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// So many tasks for each thread are on it or wait for it, on average, before more are of no use: one computes, and half
/// the time another is ready when it ends.
const RUNNABLE_PER_THREAD: f64 = 1.5;
/// Of short tasks there are more: as many as give a thread so much to do while the worker wakes up, which costs as much as
/// such a task, and receives for several at once …
const LEAST_WORK: Duration = Duration::from_micros(200);
/// … but not more than that, of which the worker's part in each would hardly become less.
const MOST_RUNNABLE_PER_THREAD: f64 = 10.0;
/// What tasks were is forgotten by half in so much time.
const HALF_LIFE: Duration = Duration::from_secs(3);
/// How short they are is forgotten sooner: short ones are many, and as soon as they aren't, more at once are a burden.
const HALF_LIFE_OF_SHORT: Duration = Duration::from_millis(250);
/// Slots must have been occupied for so long, in all, to tell anything.
const LEAST_EVIDENCE: f64 = 0.02;
/// What use says is taken up when it differs by more than this part: less is noise.
const TOLERANCE: f64 = 0.25;
/// What so many tasks in a row need is what is needed.
const MANY: f64 = 20.0;
/// So large a part of the tasks fails because of stores or queues before it's pressure: single ones among many are bad
/// luck, as they are to the circuit breaker.
const LEAST_PRESSED: f64 = 0.1;
/// Pressure takes this part away, …
const SHRINK: f64 = 0.7;
/// … at most once in so much time, as its effect takes time to be seen …
const SHRINK_EVERY: Duration = Duration::from_secs(1);
/// … and success gives back so much a second.
const RECOVER_PER_SECOND: f64 = 0.1;
/// Less than this part of their time on a thread is none: a thousand such tasks need one thread.
const LEAST_SHARE: f64 = 1e-3;

/// What holds until the user says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaling {
    /// So many may always run. One may in any case.
    pub min: usize,
    /// More never do: what the user wants, and the host bears.
    pub max: NonZeroUsize,
    /// What guests compute on.
    pub threads: NonZeroUsize,
    /// What more tasks at once are for.
    pub goal: Goal,
    /// What was needed may be needed again for so long: the number falls when not more than a third of it was wanted within this
    /// time, and to the minimum when nothing has come for as long.
    pub scale_in_delay: Duration,
}

impl Scaling {
    /// With a minimum of one at least, and of the maximum at most.
    fn startable(self) -> Self {
        Self { min: self.min.clamp(1, self.max.get()), ..self }
    }
}

/// What more tasks at once are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Goal {
    /// Whatever waits starts, as far as it's of use.
    #[default]
    AtOnce,
    /// A message that arrives starts within this time.
    Latency(Duration),
    /// So many messages for each task that runs.
    Backlog(NonZeroU32),
}

/// What the scaler is shown. Counts are of what happened since the snapshot before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Since the snapshot before.
    pub elapsed: Duration,
    /// Messages that wait in the queue, as it said last; `None`: it hasn't, or long ago.
    pub waiting: Option<u64>,
    /// Messages of receives that brought all that was asked for: probably there are as many again.
    pub of_full_receives: u64,
    /// Receives that brought nothing.
    pub empty_receives: u64,
    /// Tasks that run now.
    pub running: usize,
    /// How long tasks held a permit, those that still run included, and receives that brought some.
    pub occupied: Duration,
    /// Of this, on a thread.
    pub computed: Duration,
    /// Of this, waiting for a thread.
    pub waited: Duration,
    /// Tasks that ended.
    pub ended: u64,
    /// How long these took, waiting for a thread left out.
    pub service: Duration,
    /// Of these, those that stores or queues failed.
    pub pressed: u64,
}

/// How many, and why not more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// So many tasks may run at once.
    pub instances: NonZeroUsize,
    /// What decided it.
    pub because: Because,
}

/// What decided how many tasks may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// There is nothing for more.
    Demand,
    /// It was needed a while ago, and may be again.
    ScaleInDelay,
    /// More would wait for a thread.
    Threads,
    /// Stores or queues fail.
    Pressure,
    /// The user or the host allows no more.
    Maximum,
}

impl Because {
    /// Each of them.
    pub const ALL: [Self; 5] =
        [Self::Demand, Self::ScaleInDelay, Self::Threads, Self::Pressure, Self::Maximum];

    /// The word that a status uses.
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

/// Decides.
#[derive(Clone, Debug)]
pub struct Scaler {
    scaling: Scaling,
    instances: usize,
    /// Lately, in seconds.
    occupied: f64,
    runnable: f64,
    computed: f64,
    /// Tasks that ended while that was computed.
    computed_for: f64,
    /// Of the tasks that ended lately, in seconds.
    service: f64,
    ended: f64,
    /// Of the tasks that ended within a second or so, those that stores or queues failed.
    pressed: f64,
    pressed_of: f64,
    /// How long tasks have run without one that ended.
    unended: Duration,
    /// As many as keep the threads busy; `None`: too little has run yet.
    useful: Option<f64>,
    /// Pressure's bound; `None`: there is none.
    ceiling: Option<f64>,
    /// All time that has passed.
    now: Duration,
    shrunk_at: Option<Duration>,
    /// When there was last anything to do.
    busy_at: Option<Duration>,
    /// When so many were wanted; each less than those before it, so that the first is the highest.
    wanted: VecDeque<(Duration, usize)>,
}

impl Scaler {
    /// At the minimum.
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
            pressed: 0.0,
            pressed_of: 0.0,
            unended: Duration::ZERO,
            useful: None,
            ceiling: None,
            now: Duration::ZERO,
            shrunk_at: None,
            busy_at: None,
            wanted: VecDeque::new(),
        }
    }

    /// Other bounds, or another goal. What was learned stays.
    pub fn set(&mut self, scaling: Scaling) {
        let max = scaling.max.get();
        self.scaling = scaling.startable();
        self.instances = self.instances.clamp(self.scaling.min, max);
        for (_, wanted) in &mut self.wanted {
            *wanted = (*wanted).min(max);
        }
    }

    /// What is to hold from now on.
    pub fn decide(&mut self, snapshot: &Snapshot) -> Decision {
        self.now = self.now.saturating_add(snapshot.elapsed);
        self.learn(snapshot);
        self.feel_pressure(snapshot);
        let demand = self.demand(snapshot);
        if demand > 0 || snapshot.ended > 0 {
            self.busy_at = Some(self.now);
        }
        let warm = self.warm(step(demand));
        let Scaling { min, max, .. } = self.scaling;
        let (most, because) = self.bound(max.get());
        let at_rest = self.busy_at.is_none_or(|busy| self.now - busy >= self.scaling.scale_in_delay)
            && demand == 0
            && snapshot.ended == 0;
        // What is allowed and not used costs nothing, and a number that moves with each wave shows nothing.
        let kept = if warm > self.instances / 3 { warm.max(self.instances) } else { warm };
        let wanted = if at_rest { min } else { kept.max(min) };
        let (instances, because) = if wanted > most {
            (most.max(min), because)
        } else if step(demand) < wanted && wanted > min {
            (wanted, Because::ScaleInDelay)
        } else {
            (wanted, Because::Demand)
        };
        // At once, but not by more than what was measured can stand for.
        self.instances = instances.min(self.instances.saturating_mul(2)).max(min);
        let instances = NonZeroUsize::new(self.instances).unwrap_or(NonZeroUsize::MIN);
        Decision { instances, because }
    }

    /// What tasks do lately: compute, or wait.
    fn learn(&mut self, snapshot: &Snapshot) {
        let left_after =
            |half_life: Duration| 0.5_f64.powf(snapshot.elapsed.as_secs_f64() / half_life.as_secs_f64());
        let left = left_after(HALF_LIFE);
        // While nothing ends or runs, what was known stays known.
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
        let left = left_after(HALF_LIFE_OF_SHORT);
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

    /// As many as keep the threads busy if they do nothing but compute.
    fn busy_threads(&self) -> f64 {
        // What is still computed counts, so that quick ones don't speak for slow ones beside them.
        let short = match self.computed > 0.0 {
            true => LEAST_WORK.as_secs_f64() * self.computed_for / self.computed,
            false => 0.0,
        };
        self.scaling.threads.get() as f64 * short.clamp(RUNNABLE_PER_THREAD, MOST_RUNNABLE_PER_THREAD)
    }

    /// Fewer at once where stores or queues fail, more again where they don't.
    fn feel_pressure(&mut self, snapshot: &Snapshot) {
        let left = 0.5_f64.powf(snapshot.elapsed.as_secs_f64() / SHRINK_EVERY.as_secs_f64());
        self.pressed = self.pressed * left + snapshot.pressed as f64;
        self.pressed_of = self.pressed_of * left + snapshot.ended as f64;
        if snapshot.pressed > 0 && self.pressed >= self.pressed_of * LEAST_PRESSED {
            let is_new = self.shrunk_at.is_none_or(|at| self.now - at >= SHRINK_EVERY);
            if is_new {
                self.shrunk_at = Some(self.now);
                self.ceiling = Some((self.instances as f64 * SHRINK).max(1.0));
            }
        } else if snapshot.ended > 0
            && let Some(ceiling) = &mut self.ceiling
        {
            *ceiling *= 1.0 + RECOVER_PER_SECOND * snapshot.elapsed.as_secs_f64().min(1.0);
            if *ceiling >= self.scaling.max.get() as f64 {
                self.ceiling = None;
            }
        }
    }

    /// How many the messages ask for.
    fn demand(&self, snapshot: &Snapshot) -> usize {
        let waiting = if snapshot.of_full_receives > 0 {
            snapshot.waiting.unwrap_or_default().max(snapshot.of_full_receives)
        } else if snapshot.empty_receives > 0 {
            // Newer than what the queue said.
            0
        } else {
            snapshot.waiting.unwrap_or_default()
        };
        let running = snapshot.running as u64;
        let wanted = match self.scaling.goal {
            Goal::AtOnce => running.saturating_add(waiting),
            Goal::Backlog(each) => running.saturating_add(waiting).div_ceil(each.get().into()),
            // What waits is started by so many in this time. A float that is no number becomes 0.
            Goal::Latency(within) => {
                (waiting as f64 * self.service_time() / within.as_secs_f64()).ceil() as u64
            }
        };
        // What runs is needed, whatever the goal says of what waits: or else a number that meets the goal would not stay.
        let least = running.max(u64::from(waiting > 0));
        usize::try_from(wanted.max(least)).unwrap_or(usize::MAX).min(self.scaling.max.get())
    }

    /// What a task takes, in seconds, waiting for a thread left out. Those that don't end take as long as they have until now.
    fn service_time(&self) -> f64 {
        let mean = if self.ended > 0.0 { self.service / self.ended } else { 0.0 };
        mean.max(self.unended.as_secs_f64())
    }

    /// The highest that was wanted within the time that is kept, or while many tasks ran: few of them show nothing.
    fn warm(&mut self, wanted: usize) -> usize {
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

    /// The most that are of use, and what bounds them.
    fn bound(&self, max: usize) -> (usize, Because) {
        // Until it's known they may do nothing but compute.
        let useful = self.useful.unwrap_or_else(|| self.busy_threads());
        [(Some(useful), Because::Threads), (self.ceiling, Because::Pressure)]
            .into_iter()
            .filter_map(|(bound, because)| Some(((bound?.round() as usize).max(1), because)))
            .fold((max, Because::Maximum), |least, other| if other.0 < least.0 { other } else { least })
    }
}

/// Up to the next of 1, 2, 3, 4, 6, 8, 12, 16, …: small ups and downs change nothing.
fn step(wanted: usize) -> usize {
    let power = wanted.checked_next_power_of_two().unwrap_or(wanted);
    let between = power / 4 * 3;
    if between >= wanted.max(1) { between } else { power }
}

#[cfg(test)]
#[path = "scaler_tests.rs"]
mod tests;
