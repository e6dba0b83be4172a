//! The plan of a simulation, from the flags and what usage files say.

use super::tenants::{RecordedTenant, mean_times};
use super::{AutoscalingSetting, PerHour, QueueKind, TimeRange, WorkersSetting};
use crate::output::failure::Failure;
use crate::settings::flags::{FargateSize, ModelArgs};
use crate::settings::worker::WorkerSettings;
use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;
use wasmrun_local::sqlite::{POLL_MAX, POLL_MIN};
use wasmrun_runtime::model::key::Key;
use wasmrun_runtime::ports::queue::BatchPolicy;
use wasmrun_runtime::worker::{LONG_POLL, SHORT_POLL, Sizing, WorkerOptions};
use wasmrun_simulate::plan::{
    Arrivals, Autoscaling, Backlog, Fleet, LONGEST, Notice, Plan, QueueModel, Service, WorkerModel,
};
use wasmrun_simulate::sources::{
    FARGATE_LEAST_BILLED, FARGATE_START, POD_START, SQLITE_LATENCY, SQS_LATENCY,
};
use wasmrun_simulate::tenants::Tenants;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Size of a worker: that of the ECS template.
const SIZE: FargateSize = FargateSize { vcpu: 1.0, gb: 2.0 };
/// Number of receives: the default of the ECS template's queue.
const MAX_RECEIVES: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);
/// Acceptable latency: the default of the ECS template.
const ACCEPTABLE_LATENCY: Duration = Duration::from_secs(60);

/// What usage files say: when messages arrived, in nanoseconds since the first, and the times of tasks.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// The messages that are no tenant's.
    pub(crate) arrivals: Arc<[u64]>,
    /// The times of all tasks, on a thread and waiting, in microseconds.
    pub(crate) times: Arc<[(u64, u64)]>,
    /// The messages with keys; none if keys were not asked for.
    pub(crate) tenants: BTreeMap<Key, RecordedTenant>,
}

impl Recorded {
    /// Returns when the last message arrived.
    fn last(&self) -> Option<u64> {
        let of_tenants = self.tenants.values().map(|tenant| &tenant.arrivals);
        std::iter::once(&self.arrivals)
            .chain(of_tenants)
            .filter_map(|arrivals| arrivals.last())
            .max()
            .copied()
    }
}

impl ModelArgs {
    /// Returns the size of a worker.
    pub(crate) fn fargate_size(&self) -> FargateSize {
        self.size.unwrap_or(SIZE)
    }

    /// Returns whether calls of the queue are paid for.
    pub(crate) fn pays_for_calls(&self) -> bool {
        self.queue != Some(QueueKind::Sqlite)
    }

    /// Returns the plan.
    ///
    /// # Errors
    ///
    /// Says which flags are missing or contradict each other.
    pub(crate) fn plan(&self, recorded: &Recorded) -> Result<Plan, Failure> {
        let last = recorded.last().filter(|_| self.replays());
        if self.replays() && last.is_none() {
            return Err(Failure::usage(
                "no message arrives: add --arrivals, such as poisson:20/s, or --usage FILE",
            ));
        }
        let tenants = self.tenants(recorded)?;
        let arrivals: Vec<Arrivals> = if self.replays() && !recorded.arrivals.is_empty() {
            vec![Arrivals::Recorded(recorded.arrivals.clone())]
        } else {
            self.arrivals.iter().map(|arrivals| arrivals.0.clone()).collect()
        };
        let recorded_for = last.map(|last| Duration::from_nanos(last) + Duration::from_millis(1));
        let duration = self.duration.or(recorded_for).unwrap_or(HOUR);
        let service = self.service(recorded, &arrivals, &tenants)?;
        let times = mean_times(&service, &arrivals, &tenants, duration);
        let worker = self.worker()?;
        let plan = Plan {
            seed: self.seed.unwrap_or(1),
            duration,
            longest_drain: duration.max(DAY).min(LONGEST),
            arrivals,
            failing: self.failures.map_or(0.0, |share| share.0),
            queue: self.queue_model(),
            fleet: self.fleet(times, &worker)?,
            service,
            tenants,
            worker,
        };
        plan.check().map_err(|wrong| Failure::usage(wrong.to_string()))?;
        Ok(plan)
    }

    /// Returns the share of a task's time on a thread.
    pub(super) fn cpu_share(&self) -> f64 {
        self.cpu.map_or(1.0, |share| share.0)
    }

    /// Returns how long the tasks take that have no times of their own.
    fn service(
        &self,
        recorded: &Recorded,
        arrivals: &[Arrivals],
        tenants: &Tenants,
    ) -> Result<Service, Failure> {
        match (self.service, &*recorded.times) {
            (Some(service), _) => Ok(service.with_cpu(self.cpu_share())),
            (None, []) => {
                let all = tenants.all.iter().map(|tenant| tenant.service.as_ref());
                let all_known: Option<Vec<&Service>> = all.collect();
                let any = all_known.and_then(|all| all.first().copied()).filter(|_| arrivals.is_empty());
                any.cloned().ok_or_else(|| {
                    Failure::usage(
                        "the tasks take no known time: add --service, such as exponential:200ms, or --usage FILE",
                    )
                })
            }
            (None, _) if self.cpu.is_some() => {
                Err(Failure::usage("--cpu needs --service: usage files say how long tasks compute"))
            }
            (None, _) => Ok(Service::Recorded(recorded.times.clone())),
        }
    }

    fn queue_model(&self) -> QueueModel {
        let max_receives = Some(self.max_receives.unwrap_or(MAX_RECEIVES));
        match self.queue.unwrap_or(QueueKind::Sqs) {
            QueueKind::Sqs => QueueModel {
                latency: self.queue_latency.unwrap_or(SQS_LATENCY),
                batches: wasmrun_aws::BATCH_POLICY,
                long_poll: wasmrun_aws::LONGEST_WAIT,
                // SQS counts in seconds.
                short_poll: Duration::from_secs(SHORT_POLL.as_secs() + 1),
                notice: Notice::AtOnce,
                max_receives,
                counts_releases: true,
                sees_groups: false,
            },
            QueueKind::Sqlite => QueueModel {
                latency: self.queue_latency.unwrap_or(SQLITE_LATENCY),
                batches: BatchPolicy::default(),
                long_poll: LONG_POLL,
                short_poll: SHORT_POLL,
                notice: Notice::Looks { shortest: POLL_MIN, longest: POLL_MAX },
                max_receives,
                counts_releases: false,
                sees_groups: true,
            },
        }
    }

    fn worker(&self) -> Result<WorkerModel, Failure> {
        let settings = WorkerSettings {
            instances: self.instances,
            target_latency: self.target_latency,
            backlog_per_instance: self.backlog_per_instance,
            scale_in_delay: self.scale_in_delay,
            ..WorkerSettings::default()
        };
        let defaults = WorkerOptions::default();
        // A part of a vCPU is one thread that is slower.
        let vcpu = self.fargate_size().vcpu;
        let threads = NonZeroUsize::new(vcpu as usize).unwrap_or(NonZeroUsize::MIN);
        Ok(WorkerModel {
            threads,
            speed: vcpu / threads.get() as f64,
            sizing: Sizing { most: settings.instances()?, scale: settings.scale()? },
            backoff: self.backoff.unwrap_or(defaults.backoff),
            stop_timeout: self.stop_timeout.unwrap_or(defaults.stop_timeout),
        })
    }

    /// Returns the number of messages that a worker works off in the acceptable latency, unless another is given: the
    /// rule for `--messages-per-pod` of `wasmrun manifest kubernetes`.
    fn messages_per_worker(&self, backlog: Backlog) -> NonZeroU32 {
        let messages = backlog.acceptable_latency.as_secs_f64() / backlog.time_per_message.as_secs_f64();
        // A float that doesn't fit becomes the nearest number that does.
        let worked_off = NonZeroU32::new(messages.round() as u32).unwrap_or(NonZeroU32::MIN);
        self.messages_per_worker.unwrap_or(worked_off)
    }

    /// Returns the fleet. `times` are the mean time of a task on a thread and its mean time waiting, in seconds.
    fn fleet(&self, times: (f64, f64), worker: &WorkerModel) -> Result<Fleet, Failure> {
        let setting = self.autoscaling.unwrap_or(AutoscalingSetting::None);
        let WorkersSetting(min, max) = self.workers.unwrap_or(WorkersSetting(1, 1));
        let wrong = if setting == AutoscalingSetting::None && min != max {
            Some(format!("--workers {min}..{max} needs --autoscaling: without it, the number is fixed"))
        } else if setting == AutoscalingSetting::None
            && (self.acceptable_latency.is_some() || self.time_per_message.is_some())
        {
            Some("--acceptable-latency and --time-per-message need --autoscaling".into())
        } else if setting != AutoscalingSetting::Keda && self.messages_per_worker.is_some() {
            Some("--messages-per-worker needs --autoscaling keda".into())
        } else {
            None
        };
        if let Some(wrong) = wrong {
            return Err(Failure::usage(wrong));
        }
        // Threads and permits: what is used up first says how long a worker takes for a message.
        let (compute, wait) = times;
        let compute = compute / worker.speed;
        let threads = worker.threads.get() as f64;
        let each = (compute / threads).max((compute + wait) / worker.sizing.most.get() as f64);
        let time_per_message =
            self.time_per_message.unwrap_or(Duration::from_secs_f64(each.clamp(1e-6, 1e6)));
        let acceptable_latency = self.acceptable_latency.unwrap_or(ACCEPTABLE_LATENCY);
        let backlog = Backlog { acceptable_latency, time_per_message };
        let (autoscaling, start_up) = match setting {
            AutoscalingSetting::None => (Autoscaling::None, FARGATE_START),
            AutoscalingSetting::TargetTracking => (Autoscaling::TargetTracking(backlog), FARGATE_START),
            AutoscalingSetting::Step => (Autoscaling::Step(backlog), FARGATE_START),
            AutoscalingSetting::Keda => {
                (Autoscaling::Keda { messages_per_worker: self.messages_per_worker(backlog) }, POD_START)
            }
        };
        let hourly = |rate: Option<PerHour>| rate.map_or(0.0, |rate| rate.0);
        Ok(Fleet {
            min,
            max,
            autoscaling,
            start_up: self.start_up.map_or(start_up, |TimeRange(shortest, longest)| (shortest, longest)),
            interruptions_per_hour: hourly(self.interruptions),
            deploy_every: self.deploy_every,
            stray_starts_per_hour: hourly(self.stray_starts),
            least_billed: FARGATE_LEAST_BILLED,
        })
    }
}
