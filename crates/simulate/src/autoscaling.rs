//! How many workers are wanted: the rules of ECS's target tracking and step scaling, and of KEDA.

use crate::plan::{Autoscaling, Backlog, Fleet};
use crate::sources::{
    HPA_IN, HPA_OUT, HPA_STABILIZATION, HPA_TOLERANCE, IDLE_PERIODS, KEDA_COOLDOWN, METRIC_LATE_PERIODS,
    STEP_COOLDOWNS, STEP_IN, STEP_OUT_PERCENT, STEP_PERIODS, TRACKING_COOLDOWNS, TRACKING_IN_PERIODS,
    TRACKING_IN_SHARE, TRACKING_OUT_PERIODS, WAKE_COOLDOWN, WAKE_PERIODS, WAKE_STEPS,
};
use crate::time::nanos;
use std::collections::VecDeque;

/// Number of periods that are remembered: the longest that a rule looks at, and those that are late.
const PERIODS: usize = 15 + METRIC_LATE_PERIODS;

/// The metrics of one period.
#[derive(Clone, Copy, Debug, Default)]
struct Period {
    /// Mean and maximum of the messages that wait.
    visible: f64,
    most_visible: u64,
    /// Maximum of the messages in flight.
    most_in_flight: u64,
    /// Mean and maximum of the workers that run.
    running: f64,
    most_running: usize,
}

#[derive(Debug)]
pub(crate) struct Autoscaler {
    fleet: Fleet,
    periods: VecDeque<Period>,
    current: Period,
    elapsed: f64,
    /// Until when no scaling out, in or waking follows, in nanoseconds.
    out_until: u64,
    in_until: u64,
    wake_until: u64,
    /// Number of workers before the step that began the cooldown of scaling out.
    out_from: u32,
    /// Recommendations of the horizontal pod autoscaler, and when.
    recommended: VecDeque<(u64, u32)>,
    /// Numbers of pods of the last minute, and when.
    pods: VecDeque<(u64, u32)>,
    /// When the queue was last seen with messages.
    active_at: Option<u64>,
}

impl Autoscaler {
    pub(crate) fn new(fleet: Fleet) -> Self {
        Self {
            fleet,
            periods: VecDeque::new(),
            current: Period::default(),
            elapsed: 0.0,
            out_until: 0,
            in_until: 0,
            wake_until: 0,
            out_from: 0,
            recommended: VecDeque::new(),
            pods: VecDeque::new(),
            active_at: None,
        }
    }

    /// Records the state of the fleet for a time in nanoseconds.
    pub(crate) fn pass(&mut self, time: u64, visible: u64, in_flight: u64, running: usize) {
        // Only the rules of ECS read these metrics.
        if matches!(self.fleet.autoscaling, Autoscaling::None | Autoscaling::Keda { .. }) {
            return;
        }
        let time = time as f64;
        let period = &mut self.current;
        period.visible += visible as f64 * time;
        period.running += running as f64 * time;
        period.most_visible = period.most_visible.max(visible);
        period.most_in_flight = period.most_in_flight.max(in_flight);
        period.most_running = period.most_running.max(running);
        self.elapsed += time;
    }

    /// Records that a message seems to wait.
    pub(crate) fn saw_message(&mut self, now: u64) {
        self.active_at = Some(now);
        // What an alarm acts on is a period that it can see already.
        for period in self.periods.back_mut().into_iter().chain([&mut self.current]) {
            period.most_visible = period.most_visible.max(1);
        }
    }

    /// Ends a period of the metrics. Returns the number of workers that is wanted from now on, if it changes.
    pub(crate) fn minute(&mut self, now: u64, desired: u32) -> Option<u32> {
        let mut period = std::mem::take(&mut self.current);
        let elapsed = std::mem::take(&mut self.elapsed).max(1.0);
        period.visible /= elapsed;
        period.running /= elapsed;
        self.periods.push_back(period);
        if self.periods.len() > PERIODS {
            self.periods.pop_front();
        }
        let (scaled, backlog) = match self.fleet.autoscaling {
            Autoscaling::TargetTracking(backlog) => (self.track(now, desired, backlog), backlog),
            Autoscaling::Step(backlog) => (self.step(now, desired, backlog), backlog),
            Autoscaling::None | Autoscaling::Keda { .. } => return None,
        };
        // The first and the last worker have alarms of their own.
        scaled.or_else(|| self.wake(now, desired, backlog)).or_else(|| self.rest(desired))
    }

    /// Returns the values of the last `count` periods that can be seen, or `None` if there are too few or a value is
    /// missing.
    fn seen<T>(&self, count: usize, value: impl Fn(&Period) -> Option<T>) -> Option<Vec<T>> {
        let seen = self.periods.len().checked_sub(METRIC_LATE_PERIODS)?;
        self.periods.range(seen.checked_sub(count)?..seen).map(value).collect()
    }

    /// Returns whether this held in each of the last `count` periods that can be seen.
    fn held<T>(&self, count: usize, value: impl Fn(&Period) -> Option<T>, holds: impl Fn(T) -> bool) -> bool {
        self.seen(count, value).is_some_and(|values| values.into_iter().all(holds))
    }

    /// Returns the ratio of the time that the running workers need for the backlog to the acceptable latency. There is
    /// none without workers. At least one message is assumed, so that the last worker isn't stopped.
    fn ratio(backlog: Backlog) -> impl Fn(&Period) -> Option<f64> {
        move |period| {
            let time = period.visible.max(1.0) * backlog.time_per_message.as_secs_f64();
            (period.running > 0.0).then(|| time / period.running / backlog.acceptable_latency.as_secs_f64())
        }
    }

    /// Target tracking: the number of workers with which the ratio would be 1.
    fn track(&mut self, now: u64, desired: u32, backlog: Backlog) -> Option<u32> {
        let ratio = Self::ratio(backlog);
        let wanted = |period: &Period| Some((ratio(period)? * period.running).ceil() as u32);
        let last = self.seen(1, wanted)?[0].max(1);
        if self.held(TRACKING_OUT_PERIODS, &ratio, |ratio| ratio > 1.0) {
            if now < self.out_until || last <= desired {
                return None;
            }
            self.out_until = now + nanos(TRACKING_COOLDOWNS.0);
            return Some(last);
        }
        let is_low = self.held(TRACKING_IN_PERIODS, &ratio, |ratio| ratio < TRACKING_IN_SHARE);
        if !is_low || now < self.in_until.max(self.out_until) || last >= desired {
            return None;
        }
        self.in_until = now + nanos(TRACKING_COOLDOWNS.1);
        Some(last)
    }

    /// Step scaling: adds or removes some percent of the workers.
    fn step(&mut self, now: u64, desired: u32, backlog: Backlog) -> Option<u32> {
        let ratio = Self::ratio(backlog);
        let last = self.seen(1, &ratio)?[0];
        if self.held(STEP_PERIODS.0, &ratio, |ratio| ratio > 1.0) {
            let (_, percent) = STEP_OUT_PERCENT.into_iter().find(|(least, _)| last >= *least)?;
            // During the cooldown only a larger step is taken, and what the last one has added is part of it.
            let from = if now < self.out_until { self.out_from } else { desired };
            let wanted = from.saturating_add(percent_of(from, percent));
            if wanted <= desired {
                return None;
            }
            (self.out_from, self.out_until) = (from, now + nanos(STEP_COOLDOWNS.0));
            return Some(wanted);
        }
        let (below, percent) = STEP_IN;
        let is_low = self.held(STEP_PERIODS.1, &ratio, |ratio| ratio < below);
        if !is_low || now < self.in_until.max(self.out_until) || desired <= 1 {
            return None;
        }
        self.in_until = now + nanos(STEP_COOLDOWNS.1);
        Some(desired.saturating_sub(percent_of(desired, percent)).max(1))
    }

    /// Starts the first workers: messages wait, and none runs.
    fn wake(&mut self, now: u64, desired: u32, backlog: Backlog) -> Option<u32> {
        let needed = |period: &Period| {
            let time = period.most_visible as f64 * backlog.time_per_message.as_secs_f64();
            let waits = period.most_running == 0 && period.most_visible > 0;
            waits.then(|| time / backlog.acceptable_latency.as_secs_f64())
        };
        let needed = *self.seen(WAKE_PERIODS, needed)?.last()?;
        let (_, more) = WAKE_STEPS.into_iter().find(|(least, _)| needed >= *least)?;
        if now < self.wake_until {
            return None;
        }
        self.wake_until = now + nanos(WAKE_COOLDOWN);
        Some(desired.saturating_add(more))
    }

    /// Stops the last workers: nothing waits or is in flight.
    fn rest(&self, desired: u32) -> Option<u32> {
        let idle = |period: &Period| Some(period.most_visible == 0 && period.most_in_flight == 0);
        (self.held(IDLE_PERIODS, idle, |idle| idle) && desired > self.fleet.min).then_some(self.fleet.min)
    }

    fn messages_per_worker(&self) -> u64 {
        match self.fleet.autoscaling {
            Autoscaling::Keda { messages_per_worker } => u64::from(messages_per_worker.get()),
            _ => 1,
        }
    }

    /// KEDA starts the first pod, and stops all after its cooldown.
    pub(crate) fn keda_poll(&mut self, now: u64, length: u64, desired: u32) -> Option<u32> {
        if length > 0 {
            self.active_at = Some(now);
        }
        let idle_since = self.active_at.unwrap_or_default();
        if desired == 0 && length > 0 {
            Some(1)
        } else if length == 0
            && now - idle_since >= nanos(KEDA_COOLDOWN)
            && desired > 0
            && self.fleet.min == 0
        {
            Some(0)
        } else {
            None
        }
    }

    /// The horizontal pod autoscaler decides between one pod and the maximum.
    pub(crate) fn hpa_sync(&mut self, now: u64, length: u64, desired: u32) -> Option<u32> {
        if desired == 0 {
            self.recommended.clear();
            self.pods.clear();
            return None;
        }
        let each = self.messages_per_worker();
        let ratio = length as f64 / (each as f64 * f64::from(desired));
        let needed = u32::try_from(length.div_ceil(each)).unwrap_or(u32::MAX);
        let needed = if (ratio - 1.0).abs() <= HPA_TOLERANCE { desired } else { needed };
        let needed = needed.clamp(self.fleet.min.max(1), self.fleet.max);
        let forget = |known: &mut VecDeque<(u64, u32)>, is_old: &dyn Fn(u64) -> bool| {
            while known.front().is_some_and(|(at, _)| is_old(now - at)) {
                known.pop_front();
            }
        };
        self.recommended.push_back((now, needed));
        forget(&mut self.recommended, &|age| age > nanos(HPA_STABILIZATION));
        forget(&mut self.pods, &|age| age >= nanos(HPA_IN.1));
        self.pods.push_back((now, desired));
        if needed > desired {
            let (factor, pods) = HPA_OUT;
            let most = ((f64::from(desired) * factor).ceil() as u32).max(desired.saturating_add(pods));
            return Some(needed.min(most));
        }
        let highest = self.recommended.iter().map(|(_, pods)| *pods).max()?;
        let before = self.pods.iter().map(|(_, pods)| *pods).max()?;
        let wanted = highest.max(least_pods(before, HPA_IN.0)).min(desired);
        (wanted < desired).then_some(wanted)
    }
}

/// Returns the change of a capacity by some percent, as Application Auto Scaling rounds it: towards zero, but at least one.
fn percent_of(capacity: u32, percent: f64) -> u32 {
    ((f64::from(capacity) * percent / 100.0) as u32).max(1)
}

/// Returns the smallest number of pods that a policy leaves which removes this share of them, as the horizontal pod
/// autoscaler rounds it: the number that is removed is rounded up.
fn least_pods(before: u32, share: f64) -> u32 {
    (f64::from(before) * (1.0 - share)).floor() as u32
}

#[cfg(test)]
#[path = "autoscaling_tests.rs"]
mod tests;
