//! Starts and stops of workers: by the number that is wanted, by interruptions and by deploys.

use crate::arena::Key;
use crate::plan::Autoscaling;
use crate::service::exponential;
use crate::sources::{FARGATE_LAUNCHES, HPA_SYNC, KEDA_POLL, METRIC_PERIOD};
use crate::time::{nanos, nanos_of, seconds};
use crate::worker::{State, Worker};
use crate::world::{Event, World};
use std::cmp::Reverse;
use std::time::Duration;

impl World<'_> {
    fn is_ecs(&self) -> bool {
        !matches!(self.plan.fleet.autoscaling, Autoscaling::Keda { .. })
    }

    /// Starts the workers with which the simulation begins. They are ready at once.
    pub(crate) fn launch_first(&mut self) {
        let first: Vec<Key> = (0..self.desired).map(|_| self.add()).collect();
        for key in first {
            self.ready(key);
        }
    }

    fn add(&mut self) -> Key {
        self.measure.counts.launched += 1;
        self.workers.insert(Worker::new(self.plan, self.version, self.now))
    }

    /// Launches a worker, which is ready after a while, or later if the platform's quota is used up.
    fn launch(&mut self) {
        let (shortest, longest) = self.plan.fleet.start_up;
        let mut start = shortest.as_secs_f64() + (longest - shortest).as_secs_f64() * self.fleet_rng.f64();
        if self.is_ecs() {
            let (burst, rate) = FARGATE_LAUNCHES;
            let (left, at) = self.launches;
            let left = (left + seconds(self.now - at) * rate).min(burst) - 1.0;
            self.launches = (left, self.now);
            start += (-left).max(0.0) / rate;
        }
        let worker = self.add();
        self.calendar.add(self.now.saturating_add(nanos_of(start)), Event::Ready(worker));
    }

    /// A worker begins to receive.
    pub(crate) fn ready(&mut self, key: Key) {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(key).filter(|worker| worker.state == State::Starting) else {
            return;
        };
        worker.state = State::Running;
        worker.advance(now);
        let scales = worker.scaling.as_mut().map(|scaled| scaled.begin(now)).is_some();
        self.measure.workers += 1;
        self.measure.most_workers = self.measure.most_workers.max(self.measure.workers);
        self.schedule_by_chance(self.plan.fleet.interruptions_per_hour, Event::Interrupt(key));
        if scales {
            self.schedule_decision(key, wasmrun_runtime::worker::scaler::IDLE);
        }
        self.fill(key);
        self.poll(key);
        self.reconcile();
    }

    /// Stops a worker: it receives no more, and ends when its tasks have ended.
    fn stop(&mut self, key: Key) {
        let Some(worker) = self.workers.get_mut(key) else { return };
        match worker.state {
            State::Stopping => return,
            State::Starting => {
                self.gone(key);
                return;
            }
            State::Running => worker.state = State::Stopping,
        }
        self.measure.workers -= 1;
        self.release_all_held(key);
        self.calendar.add(self.now + nanos(self.plan.worker.stop_timeout), Event::StopTimeout(key));
        self.worked(key);
    }

    /// A worker may have ended its last task.
    pub(crate) fn worked(&mut self, key: Key) {
        let Some(worker) = self.workers.get(key).filter(|worker| worker.is_idle()) else { return };
        if worker.state == State::Stopping {
            self.gone(key);
        } else if self.stops_when_idle {
            self.reconcile();
        }
    }

    fn gone(&mut self, key: Key) {
        let Some(worker) = self.workers.remove(key) else { return };
        self.bill(&worker);
        self.reconcile();
    }

    fn bill(&mut self, worker: &Worker) {
        let time = Duration::from_nanos(self.now - worker.launched_at);
        self.measure.counts.worker_seconds += time.as_secs_f64();
        self.measure.counts.billed_seconds += time.max(self.plan.fleet.least_billed).as_secs_f64().ceil();
        self.measure.counts.idle_starts += u64::from(!worker.has_worked);
    }

    /// Bills the workers that are left at the end.
    pub(crate) fn bill_all(&mut self) {
        let keys: Vec<Key> = self.workers.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(worker) = self.workers.remove(key) {
                self.bill(&worker);
            }
        }
    }

    /// Changes the number of workers that are wanted.
    fn want(&mut self, desired: u32) {
        let desired = desired.clamp(self.plan.fleet.min, self.plan.fleet.max);
        if desired != self.desired {
            self.measure.counts.scalings += 1;
            self.desired = desired;
            self.reconcile();
        }
    }

    /// Starts and stops workers so that those that are wanted run, all of the newest version.
    ///
    /// A rolling deploy starts as many as are wanted next to those that run, and stops an old one for each that is
    /// ready: at least 100 % and at most 200 % run.
    pub(crate) fn reconcile(&mut self) {
        let desired = self.desired as usize;
        let (mut new, mut new_ready, mut old) = (Vec::new(), 0, Vec::new());
        for (key, worker) in self.workers.iter() {
            if worker.state == State::Stopping {
                continue;
            }
            // Stopped first: those that start, then those that do nothing, then the oldest.
            let order = (worker.state != State::Starting, !worker.is_idle(), worker.launched_at, key);
            if worker.version == self.version {
                new_ready += usize::from(worker.state == State::Running);
                new.push(order);
            } else {
                old.push(order);
            }
        }
        for _ in new.len()..desired.min((2 * desired).saturating_sub(old.len())) {
            self.launch();
        }
        self.stops_when_idle = false;
        let surplus_new = new.len().saturating_sub(desired);
        let surplus_old = (old.len() + new_ready).saturating_sub(desired).min(old.len());
        for (mut workers, surplus) in [(new, surplus_new), (old, surplus_old)] {
            if surplus == 0 {
                continue;
            }
            workers.sort_unstable_by_key(|&(runs, busy, launched_at, key)| {
                (runs, busy, Reverse(launched_at), key)
            });
            for &(_, busy, _, key) in workers.iter().take(surplus) {
                // A worker protects its ECS task from scale-in and deploys while it works. Kubernetes has no such thing.
                if busy && self.is_ecs() {
                    self.stops_when_idle = true;
                } else {
                    self.stop_unreconciled(key);
                }
            }
        }
    }

    /// Stops a worker on behalf of [`Self::reconcile`], which needn't be called again for it.
    fn stop_unreconciled(&mut self, key: Key) {
        let is_over =
            self.workers.get(key).is_some_and(|worker| worker.state == State::Starting || worker.is_idle());
        if !is_over {
            self.stop(key);
            return;
        }
        if let Some(worker) = self.workers.remove(key) {
            self.measure.workers -= usize::from(worker.state == State::Running);
            self.bill(&worker);
        }
    }

    /// Spot takes a worker's machine. The service starts another one at once.
    pub(crate) fn interrupt(&mut self, key: Key) {
        if self.workers.get(key).is_some_and(|worker| worker.state == State::Running) {
            self.measure.counts.interruptions += 1;
            self.stop(key);
            self.reconcile();
        }
    }

    pub(crate) fn deploy(&mut self) {
        let Some(every) = self.plan.fleet.deploy_every else { return };
        self.version += 1;
        self.measure.counts.deploys += 1;
        self.calendar.add(self.now + nanos(every), Event::Deploy);
        self.reconcile();
    }

    pub(crate) fn schedule_stray(&mut self) {
        self.schedule_by_chance(self.plan.fleet.stray_starts_per_hour, Event::Stray);
    }

    /// Schedules the next of the events that happen this often in an hour, at random.
    fn schedule_by_chance(&mut self, hourly: f64, event: Event) {
        if hourly > 0.0 {
            let after = nanos_of(exponential(&mut self.fleet_rng) / hourly * 3600.0);
            self.calendar.add(self.now.saturating_add(after), event);
        }
    }

    /// The autoscaler sees a message where there is none. It matters only where no worker runs.
    pub(crate) fn stray(&mut self) {
        self.schedule_stray();
        if self.desired == 0 {
            self.measure.counts.stray_starts += 1;
            self.autoscaler.saw_message(self.now);
            self.want(1);
        }
    }

    pub(crate) fn minute(&mut self) {
        self.calendar.add(self.now + nanos(METRIC_PERIOD), Event::Minute);
        if let Some(desired) = self.autoscaler.minute(self.now, self.desired) {
            self.want(desired);
        }
    }

    pub(crate) fn keda_poll(&mut self) {
        self.calendar.add(self.now + nanos(KEDA_POLL), Event::KedaPoll);
        let length = self.queue.visible() + self.queue.in_flight();
        if let Some(desired) = self.autoscaler.keda_poll(self.now, length, self.desired) {
            self.want(desired);
        }
    }

    pub(crate) fn hpa_sync(&mut self) {
        self.calendar.add(self.now + nanos(HPA_SYNC), Event::HpaSync);
        let length = self.queue.visible() + self.queue.in_flight();
        if let Some(desired) = self.autoscaler.hpa_sync(self.now, length, self.desired) {
            self.want(desired);
        }
    }
}
