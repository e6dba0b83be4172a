//! The concurrency limit of a worker, and the goal that the scaler follows.

use super::range::at_most;
use super::text::{Written, expected};
use super::worker::WorkerSettings;
use crate::output::failure::Failure;
use std::num::NonZeroUsize;
use std::time::Duration;
use wasmrun_runtime::worker::ScaleOptions;
use wasmrun_runtime::worker::scaler::Goal;

/// Maximum of the concurrency limit: a larger number is a typing error.
const MAX_INSTANCES: usize = 100_000;
/// Maximum of the concurrency limit that is `auto`. The host's memory usually sets a lower limit.
const AUTO_INSTANCES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);
/// Default of `--scale-in-delay`: Kubernetes' default stabilization window before it scales in.
const SCALE_IN_DELAY: Duration = Duration::from_secs(300);

/// Setting of the concurrency limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum InstancesSetting {
    /// Scales from 0 to what the host's memory allows, at most [`AUTO_INSTANCES`].
    #[default]
    Auto,
    Fixed(NonZeroUsize),
    /// Scales between a minimum and a maximum. With a minimum of 0, one permit is kept so that a task can start.
    Between(usize, NonZeroUsize),
}

impl Written for InstancesSetting {
    const FORM: &'static str = "a number above zero, MIN..MAX or auto";
    const MAY_BE_NUMBER: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        let wrong = expected::<Self>;
        match text.split_once("..") {
            None if text == "auto" => Ok(Self::Auto),
            None => text.parse().map(Self::Fixed).map_err(|_| wrong()),
            Some((min, max)) => {
                let (min, max): (usize, NonZeroUsize) =
                    (min.parse().map_err(|_| wrong())?, max.parse().map_err(|_| wrong())?);
                if min > max.get() {
                    return Err("the minimum is larger than the maximum".into());
                }
                Ok(Self::Between(min, max))
            }
        }
    }
}

impl WorkerSettings {
    /// Whether the settings ask for a concurrency limit, or for as many tasks as fit into the host's memory.
    pub(crate) fn names_instances(&self) -> bool {
        !matches!(self.instances.unwrap_or_default(), InstancesSetting::Auto)
    }

    /// Returns the highest concurrency limit that the settings ask for.
    pub(crate) fn instances(&self) -> Result<NonZeroUsize, Failure> {
        let most = match self.instances.unwrap_or_default() {
            InstancesSetting::Auto => AUTO_INSTANCES,
            InstancesSetting::Fixed(number) | InstancesSetting::Between(_, number) => number,
        };
        at_most(most, MAX_INSTANCES, "instances")
    }

    /// Returns the options of the scaler. Returns `None` if the concurrency limit is fixed.
    pub(crate) fn scale(&self) -> Result<Option<ScaleOptions>, Failure> {
        let goal = match (self.target_latency, self.backlog_per_instance) {
            (None, None) => Goal::AtOnce,
            (Some(Duration::ZERO), None) => {
                return Err(Failure::usage(
                    "--target-latency 0s cannot be met: leave it out where messages are to start at once",
                ));
            }
            (Some(within), None) => Goal::Latency(within),
            (None, Some(each)) => Goal::Backlog(each),
            (Some(_), Some(_)) => {
                return Err(Failure::usage("--target-latency and --backlog-per-instance exclude each other"));
            }
        };
        let min = match self.instances.unwrap_or_default() {
            InstancesSetting::Fixed(number) if goal != Goal::AtOnce => {
                return Err(Failure::usage(format!(
                    "--instances {number} is fixed: write MIN..MAX or auto where it is to follow the queue's depth"
                )));
            }
            InstancesSetting::Fixed(_) => return Ok(None),
            InstancesSetting::Auto => 0,
            InstancesSetting::Between(min, _) => min,
        };
        Ok(Some(ScaleOptions { min, goal, scale_in_delay: self.scale_in_delay.unwrap_or(SCALE_IN_DELAY) }))
    }

    /// Returns whether nothing is set about the concurrency limit.
    pub(crate) fn is_unset(&self) -> bool {
        self.instances.is_none() && self.target_latency.is_none() && self.backlog_per_instance.is_none()
    }

    /// Returns whether the concurrency limit is `auto`.
    pub(crate) fn is_auto(&self) -> bool {
        self.instances.unwrap_or_default() == InstancesSetting::Auto
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    #[test]
    fn absurd_numbers_are_refused() {
        let number = InstancesSetting::Fixed(NonZeroUsize::MAX);
        let settings = WorkerSettings { instances: Some(number), ..WorkerSettings::default() };
        assert!(settings.instances().is_err());
    }

    #[test]
    fn instances_are_a_number_two_or_auto() {
        let number = |number| NonZeroUsize::new(number).expect("not zero");
        for (text, setting) in [
            ("auto", InstancesSetting::Auto),
            ("4", InstancesSetting::Fixed(number(4))),
            ("0..64", InstancesSetting::Between(0, number(64))),
            ("3..3", InstancesSetting::Between(3, number(3))),
        ] {
            assert_eq!(InstancesSetting::read(text), Ok(setting));
            let file: WorkerSettings = toml::from_str(&format!("instances = '{text}'")).expect("valid");
            assert_eq!(file.instances, Some(setting));
        }
        let file: WorkerSettings = toml::from_str("instances = 4").expect("valid");
        assert_eq!(file.instances, Some(InstancesSetting::Fixed(number(4))));
        for text in ["", "0", "-1", "..", "1..", "..4", "5..4", "0..0", "many", "1...4"] {
            assert!(InstancesSetting::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_fixed_number_has_no_goal() {
        let parse = |text: &str| toml::from_str::<WorkerSettings>(text).expect("valid").scale();
        assert_eq!(parse("instances = 4").expect("valid"), None);
        assert!(parse("instances = 4\ntarget-latency = '30s'").is_err());
        assert!(parse("target-latency = '30s'\nbacklog-per-instance = 5").is_err());
        let scale =
            parse("instances = '0..9'\ntarget-latency = '30s'\nscale-in-delay = '1m'").expect("valid");
        let goal = Goal::Latency(Duration::from_secs(30));
        assert_eq!(scale, Some(ScaleOptions { min: 0, goal, scale_in_delay: Duration::from_secs(60) }));
    }

    #[test]
    fn a_goal_or_a_fixed_number_of_a_flag_replaces_the_goal_of_the_file() {
        let parse = |text: &str| toml::from_str::<WorkerSettings>(text).expect("valid");
        let goal = |flags: &str| {
            let file = parse("instances = '0..9'\ntarget-latency = '30s'");
            parse(flags).over(file).scale().expect("valid").map(|scale| scale.goal)
        };
        assert_eq!(goal("backlog-per-instance = 5"), Some(Goal::Backlog(NonZeroU32::MIN.saturating_add(4))));
        assert_eq!(goal("target-latency = '1s'"), Some(Goal::Latency(Duration::from_secs(1))));
        assert_eq!(goal("instances = 4"), None);
        assert_eq!(goal("instances = '0..5'"), Some(Goal::Latency(Duration::from_secs(30))));
        assert_eq!(goal("scale-in-delay = '1m'"), Some(Goal::Latency(Duration::from_secs(30))));
    }
}
