//! Virtual time, and the events in it.

use crate::arena::{Arena, Key};
use crate::arrivals::{Group, Stream};
use crate::autoscaling::Autoscaler;
use crate::calendar::Calendar;
use crate::measure::Measure;
use crate::plan::{Autoscaling, Plan, Service};
use crate::queue::Queue;
use crate::receive::{Receive, Taken};
use crate::report::Report;
use crate::sources::{HPA_SYNC, KEDA_POLL, METRIC_PERIOD};
use crate::tenants::Senders;
use crate::time::{nanos, nanos_of};
use crate::work::{Call, Task};
use crate::worker::{Settlement, Worker};
use crate::{Progress, SimulateError};
use fastrand::Rng;
use std::time::Duration;
use wasmrun_runtime::model::key::KeySource;
use wasmrun_runtime::model::outcome::Policy;
use wasmrun_runtime::worker::decision::Rules;
use wasmrun_runtime::worker::scaler::{BUSY, IDLE};

/// Maximum number of groups of messages that wait, each of some 30 bytes.
const MAX_ENTRIES: usize = 15_000_000;
/// Number of events between two reports of progress.
const PROGRESS_EVERY: u64 = 1 << 20;

/// Something that happens at a time. The keys are those of workers, receives, tasks and calls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Arrive,
    Visible,
    Receive(Key),
    PollEnds(Key),
    Take(Key),
    Fill(Key),
    Computed(Key),
    TaskEnds(Key),
    SettlingDue(Key),
    Settled(Key),
    Decide(Key),
    Ready(Key),
    StopTimeout(Key),
    Interrupt(Key),
    Minute,
    KedaPoll,
    HpaSync,
    Stray,
    Deploy,
}

/// All that exists at a time, for events to read and to change: a field for each thing.
pub(crate) struct World<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) rules: Rules,
    /// Number of messages that may be unsettled with which another task may start.
    pub(crate) max_unsettled: usize,
    /// Time of a call, in nanoseconds.
    pub(crate) latency: u64,
    /// Time for which messages arrive, in nanoseconds.
    pub(crate) duration: u64,
    pub(crate) now: u64,
    pub(crate) calendar: Calendar<Event>,
    pub(crate) queue: Queue,
    pub(crate) senders: Senders,
    /// Number of messages that workers hold.
    pub(crate) held: u64,
    pub(crate) workers: Arena<Worker>,
    pub(crate) receives: Arena<Receive>,
    pub(crate) tasks: Arena<Task>,
    pub(crate) calls: Arena<Call>,
    pub(crate) autoscaler: Autoscaler,
    pub(crate) measure: Measure,
    /// Number of workers that are wanted, and of deploys so far.
    pub(crate) desired: u32,
    pub(crate) version: u64,
    /// Whether workers are to be stopped that are busy and protected.
    pub(crate) stops_when_idle: bool,
    /// Starts that the platform's quota allows now, and when that was right.
    pub(crate) launches: (f64, u64),
    stream: Stream,
    group: Option<Group>,
    // Each kind of chance has its own numbers, so that a change of one thing leaves the others as they were.
    pub(crate) service_rng: Rng,
    pub(crate) chance_rng: Rng,
    pub(crate) fleet_rng: Rng,
    /// Kept to be used again.
    pub(crate) taken: Vec<Taken>,
    pub(crate) ended: Vec<Key>,
    pub(crate) batches: Vec<Vec<Settlement>>,
}

impl<'a> World<'a> {
    pub(crate) fn new(plan: &'a Plan) -> Self {
        let mut seeds = Rng::with_seed(plan.seed);
        let mut rng = || Rng::with_seed(seeds.u64(..));
        let rules = Rules {
            policy: Policy::default(),
            backoff: plan.worker.backoff,
            max_receives: plan.queue.max_receives.map(|most| most.get()),
            dead_letter: plan.queue.max_receives.is_some(),
        };
        let keys = plan.tenants.keys.as_ref();
        let goes_round = plan.queue.sees_groups && keys.is_some_and(|keys| keys.source == KeySource::Group);
        Self {
            plan,
            rules,
            max_unsettled: plan.queue.batches.unsettled(),
            latency: nanos(plan.queue.latency),
            duration: nanos(plan.duration),
            now: 0,
            calendar: Calendar::new(&delays(plan)),
            queue: if goes_round { Queue::by_sender() } else { Queue::default() },
            senders: Senders::new(&plan.tenants),
            held: 0,
            workers: Arena::default(),
            receives: Arena::default(),
            tasks: Arena::default(),
            calls: Arena::default(),
            autoscaler: Autoscaler::new(plan.fleet),
            measure: Measure::new(plan),
            desired: plan.fleet.min,
            version: 0,
            stops_when_idle: false,
            launches: (crate::sources::FARGATE_LAUNCHES.0, 0),
            stream: Stream::new(plan, rng()),
            group: None,
            service_rng: rng(),
            chance_rng: rng(),
            fleet_rng: rng(),
            taken: Vec::new(),
            ended: Vec::new(),
            batches: Vec::new(),
        }
    }

    pub(crate) fn run(mut self, progress: &mut dyn FnMut(Progress)) -> Result<Report, SimulateError> {
        let duration = self.duration;
        let end = duration.saturating_add(nanos(self.plan.longest_drain));
        self.begin();
        let mut events = 0u64;
        while let Some((at, number, event)) = self.calendar.next() {
            // All is settled at the end of the arrivals, or later.
            let over = at >= duration && self.group.is_none() && self.queue.unsettled() == 0;
            if at > end || over {
                // What follows changes nothing but the time until which workers are paid for.
                let last = if over { duration.max(self.now) } else { end };
                self.pass(last);
                break;
            }
            if self.is_void(number, event) {
                continue;
            }
            self.pass(at);
            self.happen(event);
            events += 1;
            if events.is_multiple_of(PROGRESS_EVERY) {
                progress(Progress {
                    now: Duration::from_nanos(self.now),
                    settled: self.measure.counts.settled(),
                });
                let entries = self.queue.entries();
                if entries > MAX_ENTRIES {
                    let after = Duration::from_nanos(self.now);
                    return Err(SimulateError::Backlog { most: MAX_ENTRIES, after });
                }
            }
        }
        self.bill_all();
        let left = self.queue.unsettled() + self.group.map_or(0, |group| group.count);
        Ok(self.measure.report(self.now, left, self.plan))
    }

    /// Schedules what happens by itself, and starts the first workers, which are ready at once.
    fn begin(&mut self) {
        let fleet = self.plan.fleet;
        self.launch_first();
        self.group = self.stream.next();
        if let Some(group) = self.group {
            self.calendar.add(group.at, Event::Arrive);
        }
        match fleet.autoscaling {
            Autoscaling::None => {}
            Autoscaling::TargetTracking(_) | Autoscaling::Step(_) => {
                self.calendar.add(nanos(METRIC_PERIOD), Event::Minute);
            }
            Autoscaling::Keda { .. } => {
                self.calendar.add(nanos(KEDA_POLL), Event::KedaPoll);
                self.calendar.add(nanos(HPA_SYNC), Event::HpaSync);
            }
        }
        self.schedule_stray();
        if let Some(every) = fleet.deploy_every {
            self.calendar.add(nanos(every), Event::Deploy);
        }
    }

    /// Returns whether what an event is about has ended before, or was scheduled anew.
    fn is_void(&self, number: u64, event: Event) -> bool {
        match event {
            Event::PollEnds(receive) => self.receives.get(receive).is_none(),
            Event::Computed(worker) => {
                self.workers.get(worker).is_none_or(|worker| worker.compute_event != number)
            }
            Event::Decide(worker) => {
                self.workers.get(worker).is_none_or(|worker| worker.decide_event != number)
            }
            _ => false,
        }
    }

    /// Lets time pass.
    fn pass(&mut self, at: u64) {
        let visible = self.queue.visible();
        self.autoscaler.pass(at - self.now, visible, self.queue.in_flight(), self.measure.workers);
        self.measure.pass(self.now, at, visible + self.held);
        self.now = at;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive => {
                if let Some(Group { arrived, count, sender, .. }) = self.group {
                    self.queue.arrive(sender, arrived, count);
                    self.measure.arrived(self.senders.row(sender), count);
                    self.group = self.stream.next();
                    if let Some(group) = self.group {
                        self.calendar.add(group.at, Event::Arrive);
                    }
                    self.offer();
                }
            }
            Event::Visible => {
                if self.queue.wake(self.now) > 0 {
                    self.came_back();
                }
            }
            Event::Receive(receive) | Event::PollEnds(receive) => self.receive(receive),
            Event::Take(receive) => self.take(receive),
            Event::Fill(worker) => self.fill_is_due(worker),
            Event::Computed(worker) => self.computed(worker),
            Event::TaskEnds(task) => self.end(task),
            Event::SettlingDue(worker) => self.settle_batches(worker, true),
            Event::Settled(call) => self.settled(call),
            Event::Decide(worker) => self.decide(worker),
            Event::Ready(worker) => self.ready(worker),
            Event::StopTimeout(worker) => self.cancel_tasks(worker),
            Event::Interrupt(worker) => self.interrupt(worker),
            Event::Minute => self.minute(),
            Event::KedaPoll => self.keda_poll(),
            Event::HpaSync => self.hpa_sync(),
            Event::Stray => self.stray(),
            Event::Deploy => self.deploy(),
        }
    }
}

/// Returns the times in nanoseconds after which many events follow another one.
fn delays(plan: &Plan) -> Vec<u64> {
    let queue = &plan.queue;
    let calls = [queue.latency, queue.latency / 2, queue.batches.settling_wait];
    let waits = [queue.long_poll, queue.short_poll, BUSY, IDLE];
    let task = match plan.service {
        Service::Fixed { mean, cpu } => Some(nanos_of(mean.as_secs_f64() * (1.0 - cpu))),
        Service::Exponential { .. } | Service::Recorded(_) => None,
    };
    calls.into_iter().chain(waits).map(nanos).chain(task).collect()
}
