//! The values of `simulate`'s flags, and the plan that they make.
//!
//! | module | owns |
//! |---|---|
//! | `plan` | the plan of a simulation |
//! | `tenants` | tenants, their keys and how these share a worker |

mod plan;
mod tenants;

pub(crate) use self::plan::Recorded;
pub(crate) use self::tenants::{KeyOrOff, MOST_RECORDED_KEYS, RecordedTenant, TenantSetting};

use super::text::{Written, expected};
use clap::ValueEnum;
use std::time::Duration;
use wasmrun_simulate::plan::{Arrivals, MAX_EVENTS_PER_HOUR, Service};

/// Maximum number of values of a sweep.
pub(crate) const MAX_POINTS: usize = 100;

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
pub(crate) struct Fraction(f64);

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

impl ServiceSetting {
    /// Returns the times of tasks that are on a thread for this share of them.
    fn with_cpu(self, cpu: f64) -> Service {
        match self {
            Self::Fixed(mean) => Service::Fixed { mean, cpu },
            Self::Exponential(mean) => Service::Exponential { mean, cpu },
        }
    }
}

impl Written for Fraction {
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
