//! How many workers are wanted: the rules of ECS's target tracking and step scaling, and of KEDA.

use crate::plan::{Autoscaling, Backlog, Fleet};
use crate::sources::{
    HPA_IN, HPA_OUT, HPA_STABILIZATION, HPA_TOLERANCE, IDLE_PERIODS, KEDA_COOLDOWN, METRIC_LATE_PERIODS,
    STEP_COOLDOWNS, STEP_IN, STEP_OUT_PERCENT, STEP_PERIODS, TRACKING_COOLDOWNS, TRACKING_IN_PERIODS,
    TRACKING_IN_SHARE, TRACKING_OUT_PERIODS, WAKE_COOLDOWN, WAKE_PERIODS, WAKE_STEPS,
};
use crate::work::nanos;
use std::collections::VecDeque;
use std::time::Duration;

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
            recommended: VecDeque::new(),
            pods: VecDeque::new(),
            active_at: None,
        }
    }

    /// Records the state of the fleet for a time in nanoseconds.
    pub(crate) fn pass(&mut self, time: u64, visible: u64, in_flight: u64, running: usize) {
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
            if now < self.out_until {
                return None;
            }
            let (_, percent) = STEP_OUT_PERCENT.into_iter().find(|(least, _)| last >= *least)?;
            self.out_until = now + nanos(STEP_COOLDOWNS.0);
            let more = (f64::from(desired) * percent / 100.0).floor().max(1.0);
            return Some(desired.saturating_add(more as u32));
        }
        let (below, percent) = STEP_IN;
        let is_low = self.held(STEP_PERIODS.1, &ratio, |ratio| ratio < below);
        if !is_low || now < self.in_until.max(self.out_until) || desired <= 1 {
            return None;
        }
        self.in_until = now + nanos(STEP_COOLDOWNS.1);
        let fewer = (f64::from(desired) * percent / 100.0).floor().max(1.0);
        Some(desired.saturating_sub(fewer as u32).max(1))
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
        let forget = |known: &mut VecDeque<(u64, u32)>, time: Duration| {
            let time = nanos(time);
            while known.front().is_some_and(|(at, _)| now - at > time) {
                known.pop_front();
            }
        };
        self.recommended.push_back((now, needed));
        forget(&mut self.recommended, HPA_STABILIZATION);
        forget(&mut self.pods, HPA_IN.1);
        self.pods.push_back((now, desired));
        if needed > desired {
            let (factor, pods) = HPA_OUT;
            let most = ((f64::from(desired) * factor) as u32).max(desired.saturating_add(pods));
            return Some(needed.min(most));
        }
        let highest = self.recommended.iter().map(|(_, pods)| *pods).max()?;
        let before = self.pods.iter().map(|(_, pods)| *pods).max()?;
        let least = (f64::from(before) * HPA_IN.0).ceil() as u32;
        let wanted = highest.max(least).min(desired);
        (wanted < desired).then_some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    const MINUTE: u64 = 60_000_000_000;

    fn autoscaler(autoscaling: Autoscaling) -> Autoscaler {
        Autoscaler::new(Fleet { min: 0, max: 100, autoscaling, ..crate::tests::plan().fleet })
    }

    fn backlog() -> Backlog {
        Backlog { acceptable_latency: Duration::from_secs(10), time_per_message: Duration::from_millis(100) }
    }

    /// Numbers that are wanted after each of some minutes with this backlog and these workers.
    fn minutes(
        scaler: &mut Autoscaler,
        from: u64,
        count: u64,
        visible: u64,
        running: u32,
    ) -> Vec<Option<u32>> {
        (from..from + count)
            .map(|minute| {
                scaler.pass(MINUTE, visible, 0, running as usize);
                scaler.minute((minute + 1) * MINUTE, running)
            })
            .collect()
    }

    /// The example of AWS's documentation: 1,500 messages, ten workers, 0.1 s for each, 10 s: five more.
    #[test]
    fn target_tracking_scales_out_after_three_periods_and_one_that_is_late() {
        let mut scaler = autoscaler(Autoscaling::TargetTracking(backlog()));
        assert_eq!(minutes(&mut scaler, 0, 4, 1500, 10), [None, None, None, Some(15)]);
        assert_eq!(minutes(&mut scaler, 4, 16, 100, 15)[14..], [None, Some(1)], "in after fifteen");
    }

    #[test]
    fn an_alarm_starts_the_first_workers_and_another_stops_the_last() {
        let mut scaler = autoscaler(Autoscaling::TargetTracking(backlog()));
        assert_eq!(minutes(&mut scaler, 0, 4, 1000, 0), [None, None, None, Some(8)]);
        let mut scaler = autoscaler(Autoscaling::Step(backlog()));
        assert_eq!(minutes(&mut scaler, 0, 16, 0, 1).last(), Some(&Some(0)));
    }

    #[test]
    fn steps_are_larger_where_more_waits() {
        for (visible, wanted) in [(1200, 15), (2500, 20), (5000, 30)] {
            let mut scaler = autoscaler(Autoscaling::Step(backlog()));
            assert_eq!(minutes(&mut scaler, 0, 2, visible, 10), [None, Some(wanted)], "{visible}");
        }
    }

    #[test]
    fn keda_starts_the_first_pod_at_a_poll_and_doubles_from_there() {
        let messages_per_worker = NonZeroU32::new(10).expect("not zero");
        let mut scaler = autoscaler(Autoscaling::Keda { messages_per_worker });
        assert_eq!(scaler.keda_poll(MINUTE, 1000, 0), Some(1));
        let mut pods = 1;
        let wanted: Vec<_> = (1..7)
            .map(|sync| {
                pods = scaler.hpa_sync(MINUTE + sync * MINUTE / 4, 1000, pods).unwrap_or(pods);
                pods
            })
            .collect();
        assert_eq!(wanted, [5, 10, 20, 40, 80, 100]);
        // Half of the pods in a minute, once the window is over, and the last after the cooldown.
        let at = |minute: u64| minute * MINUTE;
        assert_eq!(scaler.hpa_sync(at(5), 0, 100), None);
        assert_eq!(scaler.hpa_sync(at(11), 0, 100), Some(50));
        assert_eq!(scaler.hpa_sync(at(11) + MINUTE / 4, 0, 50), None);
        assert_eq!(scaler.keda_poll(at(20), 0, 1), Some(0));
    }
}
