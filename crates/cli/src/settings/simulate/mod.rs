//! What `wasmrun simulate` is told, as a plan.

use super::flags::{FargateSize, ModelArgs};
use super::text::{Written, expected};
use super::worker::WorkerSettings;
use crate::output::failure::Failure;
use clap::ValueEnum;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;
use wasmrun_local::sqlite::{POLL_MAX, POLL_MIN};
use wasmrun_runtime::ports::queue::BatchPolicy;
use wasmrun_runtime::worker::{LONG_POLL, SHORT_POLL, Sizing, WorkerOptions};
use wasmrun_simulate::plan::{
    Arrivals, Autoscaling, Backlog, Fleet, LONGEST, MAX_EVENTS_PER_HOUR, Notice, Plan, QueueModel, Service,
    WorkerModel,
};
use wasmrun_simulate::sources::{
    FARGATE_LEAST_BILLED, FARGATE_START, POD_START, SQLITE_LATENCY, SQS_LATENCY,
};

/// Maximum number of values of a sweep.
pub(crate) const MAX_POINTS: usize = 100;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Size of a worker: that of the ECS template.
const SIZE: FargateSize = FargateSize { vcpu: 1.0, gb: 2.0 };
/// Number of receives: the default of the ECS template's queue.
const MAX_RECEIVES: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);
/// Acceptable latency: the default of the ECS template.
const ACCEPTABLE_LATENCY: Duration = Duration::from_secs(60);

/// When messages arrive.
#[derive(Clone, Debug)]
pub(crate) struct ArrivalsSetting(Arrivals);

/// How long tasks take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ServiceSetting {
    Fixed(Duration),
    Exponential(Duration),
}

/// A number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share(f64);

/// A number of events in an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PerHour(f64);

/// A time, or the shortest and the longest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TimeRange(Duration, Duration);

/// Minimum and maximum number of workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct WorkersSetting(u32, u32);

/// A flag, and the values that are compared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sweep {
    pub(crate) key: String,
    pub(crate) values: Vec<String>,
}

/// Kind of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueueKind {
    Sqs,
    Sqlite,
}

/// What starts and stops workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AutoscalingSetting {
    /// A fixed number of workers
    None,
    /// The policies of deploy/ecs/batch.yaml
    TargetTracking,
    /// Step scaling of ECS on the same metric
    Step,
    /// KEDA, with the objects of `wasmrun manifest kubernetes`
    Keda,
}

/// Parses a rate as messages a second.
fn rate(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once('/')?;
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    number
        .parse::<f64>()
        .ok()
        .filter(|number| *number > 0.0 && number.is_finite())
        .map(|number| number / seconds)
}

impl Written for ArrivalsSetting {
    const FORM: &'static str =
        "steady:RATE, poisson:RATE, wave:RATE[,PERIOD] or burst:N[@TIME], with rates such as 20/s";

    fn read(text: &str) -> Result<Self, String> {
        let wrong = expected::<Self>;
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Self(match kind {
            "steady" => Arrivals::Steady { rate: rate(rest).ok_or_else(wrong)? },
            "poisson" => Arrivals::Poisson { rate: rate(rest).ok_or_else(wrong)? },
            "wave" => {
                let (each, period) = rest.split_once(',').unwrap_or((rest, "1d"));
                Arrivals::Wave { rate: rate(each).ok_or_else(wrong)?, period: Duration::read(period)? }
            }
            "burst" => {
                let (count, at) = rest.split_once('@').unwrap_or((rest, "0s"));
                Arrivals::Burst { count: count.parse().map_err(|_| wrong())?, at: Duration::read(at)? }
            }
            _ => return Err(wrong()),
        }))
    }
}

impl Written for ServiceSetting {
    const FORM: &'static str = "fixed:TIME or exponential:TIME";

    fn read(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("fixed", mean)) => Duration::read(mean).map(Self::Fixed),
            Some(("exponential", mean)) => Duration::read(mean).map(Self::Exponential),
            _ => Err(expected::<Self>()),
        }
    }
}

impl Written for Share {
    const FORM: &'static str = "a number from 0 to 1, such as 0.2";

    fn read(text: &str) -> Result<Self, String> {
        let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
        share.map(Self).ok_or_else(expected::<Self>)
    }
}

impl Written for PerHour {
    const FORM: &'static str = "a number from 0 to 3600";

    fn read(text: &str) -> Result<Self, String> {
        let rate = text.parse().ok().filter(|rate| (0.0..=MAX_EVENTS_PER_HOUR).contains(rate));
        rate.map(Self).ok_or_else(expected::<Self>)
    }
}

impl Written for TimeRange {
    const FORM: &'static str = "a duration, or SHORTEST..LONGEST";

    fn read(text: &str) -> Result<Self, String> {
        let (shortest, longest) = text.split_once("..").unwrap_or((text, text));
        let range = Self(Duration::read(shortest)?, Duration::read(longest)?);
        if range.0 > range.1 {
            return Err("the shortest is longer than the longest".into());
        }
        Ok(range)
    }
}

impl Written for WorkersSetting {
    const FORM: &'static str = "a number above zero, or MIN..MAX";

    fn read(text: &str) -> Result<Self, String> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let number = |text: &str| text.parse::<u32>().map_err(|_| expected::<Self>());
        match Self(number(min)?, number(max)?) {
            Self(_, 0) => Err(expected::<Self>()),
            Self(min, max) if min > max => Err("the minimum is larger than the maximum".into()),
            workers => Ok(workers),
        }
    }
}

impl Written for Sweep {
    const FORM: &'static str = "KEY=A,B,C, with at most 100 values";

    fn read(text: &str) -> Result<Self, String> {
        let (key, values) = text.split_once('=').ok_or_else(expected::<Self>)?;
        let between = if values.contains(';') { ';' } else { ',' };
        let values: Vec<String> = values.split(between).map(|value| value.trim().to_owned()).collect();
        if key.is_empty() || values.len() > MAX_POINTS || values.iter().any(String::is_empty) {
            return Err(expected::<Self>());
        }
        Ok(Self { key: key.trim_start_matches("--").to_owned(), values })
    }
}

/// What usage files say: when messages arrived, in nanoseconds since the first, and the times of tasks.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) arrivals: Vec<u64>,
    pub(crate) times: Vec<(u64, u64)>,
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
        let arrivals: Vec<Arrivals> = match (&*self.arrivals, &*recorded.arrivals) {
            ([], []) => {
                return Err(Failure::usage(
                    "no message arrives: add --arrivals, such as poisson:20/s, or --usage FILE",
                ));
            }
            ([], times) => vec![Arrivals::Recorded(times.into())],
            (given, _) => given.iter().map(|arrivals| arrivals.0.clone()).collect(),
        };
        let last = recorded.arrivals.last().filter(|_| self.arrivals.is_empty());
        let recorded_for = last.map(|last| Duration::from_nanos(*last) + Duration::from_millis(1));
        let duration = self.duration.or(recorded_for).unwrap_or(HOUR);
        let cpu = self.cpu.map_or(1.0, |share| share.0);
        let service = match (self.service, &*recorded.times) {
            (Some(ServiceSetting::Fixed(mean)), _) => Service::Fixed { mean, cpu },
            (Some(ServiceSetting::Exponential(mean)), _) => Service::Exponential { mean, cpu },
            (None, []) => {
                return Err(Failure::usage(
                    "the tasks take no known time: add --service, such as exponential:200ms, or --usage FILE",
                ));
            }
            (None, _) if self.cpu.is_some() => {
                return Err(Failure::usage("--cpu needs --service: usage files say how long tasks compute"));
            }
            (None, times) => Service::Recorded(times.into()),
        };
        let worker = self.worker()?;
        let plan = Plan {
            seed: self.seed.unwrap_or(1),
            duration,
            longest_drain: duration.max(DAY).min(LONGEST),
            arrivals,
            failing: self.failures.map_or(0.0, |share| share.0),
            queue: self.queue_model(),
            fleet: self.fleet(&service, &worker)?,
            service,
            worker,
        };
        plan.check().map_err(|wrong| Failure::usage(wrong.to_string()))?;
        Ok(plan)
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
            },
            QueueKind::Sqlite => QueueModel {
                latency: self.queue_latency.unwrap_or(SQLITE_LATENCY),
                batches: BatchPolicy::default(),
                long_poll: LONG_POLL,
                short_poll: SHORT_POLL,
                notice: Notice::Looks { shortest: POLL_MIN, longest: POLL_MAX },
                max_receives,
                counts_releases: false,
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

    fn fleet(&self, service: &Service, worker: &WorkerModel) -> Result<Fleet, Failure> {
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
        let (compute, wait) = service.means();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        assert!(
            ArrivalsSetting::read("burst:1000@5m").is_ok() && ArrivalsSetting::read("wave:1e9/d").is_ok()
        );
        for wrong in [
            "",
            "poisson",
            "poisson:",
            "poisson:5",
            "poisson:0/s",
            "steady:-1/s",
            "steady:NaN/s",
            "steady:1/w",
        ] {
            assert!(ArrivalsSetting::read(wrong).is_err(), "{wrong}");
        }
        assert!(
            ArrivalsSetting::read("burst:1e3").is_err() && ArrivalsSetting::read("wave:1/s,soon").is_err()
        );
        assert_eq!(ServiceSetting::read("fixed:2s"), Ok(ServiceSetting::Fixed(Duration::from_secs(2))));
        assert_eq!(WorkersSetting::read("0..9"), Ok(WorkersSetting(0, 9)));
        for wrong in ["0", "2..1", "-1", "x", "1..99999999999"] {
            assert!(WorkersSetting::read(wrong).is_err(), "{wrong}");
        }
        let sweep = |text: &str| Sweep::read(text).map(|sweep| sweep.values.len());
        assert_eq!((sweep("size=1,2;2,4"), sweep("instances=1,2,4")), (Ok(2), Ok(3)));
        assert!(sweep("instances").is_err() && sweep("instances=1,,2").is_err());
        assert!(sweep(&format!("instances={}", vec!["1"; 101].join(","))).is_err());
    }
}
