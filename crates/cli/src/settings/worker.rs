//! Settings of the worker.

use super::SettingsGroup;
use super::instances::InstancesSetting;
use super::notify::NotifySetting;
use super::text::{Written, expected, typed, written};
use super::words::one_of;
use clap::Args;
use serde::Deserialize;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;
use wasmrun_runtime::model::completion::GroupSource;
use wasmrun_runtime::model::key::KeySource;
use wasmrun_runtime::model::once::OnceKey;
use wasmrun_runtime::task::component::Share;
use wasmrun_runtime::worker::{Backoff, OnLeaseExpired, OverBudget, Rate, WorkerOptions};

settings! {
    /// How the worker works: its fields, and those of its groups, are the keys of the table `worker`.
    pub(crate) struct WorkerSettings {
        /// Concurrency limit: a number; MIN..MAX, scaled with the work; or auto: 0 to what the host's memory
        /// allows, at most 1000 [default: auto; of a service, as many as the memory allows, at most 1000]
        #[arg(long, value_name = "N|MIN..MAX|auto", env = "WASMRUN_INSTANCES", value_parser = typed::<InstancesSetting>)]
        #[serde(deserialize_with = "written")]
        pub(super) instances: Option<InstancesSetting>,
        /// Scale out so that messages start within this time [default: at once]
        #[arg(long, value_name = "DURATION", env = "WASMRUN_TARGET_LATENCY", conflicts_with = "backlog_per_instance", value_parser = typed::<Duration>)]
        #[serde(deserialize_with = "written")]
        pub(super) target_latency: Option<Duration>,
        /// Scale out to one task for each N messages that wait
        #[arg(long, value_name = "N", env = "WASMRUN_BACKLOG_PER_INSTANCE", value_parser = typed::<NonZeroU32>)]
        #[serde(deserialize_with = "written")]
        pub(super) backlog_per_instance: Option<NonZeroU32>,
        /// Time before unneeded concurrency is scaled in [default: 5m]
        #[arg(long, value_name = "DURATION", env = "WASMRUN_SCALE_IN_DELAY", value_parser = typed::<Duration>)]
        #[serde(deserialize_with = "written")]
        pub(super) scale_in_delay: Option<Duration>,
        /// Protect this worker's ECS task from scale-in while it runs tasks [default: true where
        /// ECS_AGENT_URI is set]
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", env = "WASMRUN_SCALE_IN_PROTECTION")]
        pub(crate) scale_in_protection: Option<bool>,
        /// Time that running tasks have to finish when the worker stops [default: 25s]
        #[arg(long, value_name = "DURATION", env = "WASMRUN_STOP_TIMEOUT", value_parser = typed::<Duration>)]
        #[serde(deserialize_with = "written")]
        pub(crate) stop_timeout: Option<Duration>,
        /// Maximum rate at which this worker starts tasks, such as 50/s, 600/m or 1000/h [default: unlimited]
        #[arg(long, value_name = "N/TIME", env = "WASMRUN_RATE", value_parser = typed::<Rate>)]
        #[serde(deserialize_with = "written")]
        pub(crate) rate: Option<Rate>,
        /// Accept the requests of `pause`, `resume` and `cancel` at this Unix socket, only from this user and root
        /// [default: off]
        #[arg(long, value_name = "FILE", env = "WASMRUN_CONTROL")]
        #[serde(deserialize_with = "written")]
        pub(crate) control: Option<PathBuf>,
        /// Look for a new version of the component at this interval, and start new tasks on it: at least 1s
        /// [default: the version at the start]
        #[arg(long, value_name = "DURATION", env = "WASMRUN_COMPONENT_REFRESH", value_parser = typed::<Interval>)]
        #[serde(deserialize_with = "written")]
        pub(crate) component_refresh: Option<Interval>,
        /// Share of the new tasks that a new version runs until it's known to fail no more often than the one before:
        /// 0.1% to 50% [default: all tasks run it at once]
        #[arg(long, value_name = "PERCENT", env = "WASMRUN_ROLLOUT", value_parser = typed::<Share>)]
        #[serde(deserialize_with = "written")]
        pub(crate) rollout: Option<Share>,
    }
    /// How messages are received and settled.
    delivery: struct DeliverySettings {
        /// Exit when the queue is empty
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", env = "WASMRUN_UNTIL_EMPTY")]
        pub(crate) until_empty: Option<bool>,
        /// Queue for rejected messages [default: the dead-letter queue of the queue's redrive policy]
        #[arg(long, value_name = "URL", env = "WASMRUN_DEAD_LETTER")]
        #[serde(deserialize_with = "written")]
        pub(crate) dead_letter: Option<String>,
        /// Delay before a failed message is retried: the first and the longest; it doubles in between
        /// [default: 1s..15m]
        #[arg(long, value_name = "FIRST..LONGEST", env = "WASMRUN_BACKOFF", value_parser = typed::<Backoff>)]
        #[serde(deserialize_with = "written")]
        pub(crate) backoff: Option<Backoff>,
        /// Longest time that a message is kept from other workers, from its receipt [default: 12h]
        #[arg(long, value_name = "DURATION", env = "WASMRUN_MAX_VISIBILITY", value_parser = typed::<Duration>)]
        #[serde(deserialize_with = "written")]
        pub(crate) max_visibility: Option<Duration>,
        /// Longest time between the sending of a message and its receive. An older message ends as expired without a
        /// task, and is dead-lettered unless --on expired=drop [default: unlimited]
        #[arg(long, value_name = "DURATION", env = "WASMRUN_MAX_AGE", value_parser = typed::<Interval>)]
        #[serde(deserialize_with = "written")]
        pub(crate) max_age: Option<Interval>,
        /// Action for a task whose lease expired: another worker may have its message [default: cancel]
        #[arg(long, value_name = "ACTION", env = "WASMRUN_ON_LEASE_EXPIRED", value_parser = one_of::<OnLeaseExpired>())]
        #[serde(deserialize_with = "written")]
        pub(crate) on_lease_expired: Option<OnLeaseExpired>,
        /// Bucket of message bodies that the extended client libraries of SQS and SNS stored in S3:
        /// s3://BUCKET or s3://BUCKET/PREFIX [default: pointers to bodies are delivered as they are]
        #[arg(long, value_name = "URL", env = "WASMRUN_BODY_STORE")]
        #[serde(deserialize_with = "written")]
        pub(crate) body_store: Option<String>,
        /// Number of tasks that may fail in a row before the worker slows down to one message at a time until a task completes;
        /// at most 8 as long as none has completed. off: never slow down [default: 36]
        #[arg(long, value_name = "N|off", env = "WASMRUN_MAX_CONSECUTIVE_FAILURES", value_parser = typed::<MaxConsecutiveFailures>)]
        #[serde(deserialize_with = "written")]
        pub(super) max_consecutive_failures: Option<MaxConsecutiveFailures>,
    }
    /// How messages are told apart by keys.
    keys: struct KeySettings {
        /// Share the concurrency limit fairly among the keys of messages: group (the message group),
        /// attribute:NAME, object-prefix:N (the first N segments of the announced object's key) or
        /// body:/json/pointer (a value of a JSON body) [default: messages start in the queue's order]
        #[arg(long, value_name = "SOURCE", env = "WASMRUN_KEY", value_parser = typed::<KeySource>)]
        #[serde(deserialize_with = "written")]
        pub(crate) key: Option<KeySource>,
        /// Maximum number of tasks of one key at once in this worker [default: unlimited]
        #[arg(long, value_name = "N", env = "WASMRUN_MAX_PER_KEY", value_parser = typed::<NonZeroU32>)]
        #[serde(deserialize_with = "written")]
        pub(crate) max_per_key: Option<NonZeroU32>,
    }
    /// Where the use of budgets is counted, and what follows from it.
    budgets: struct BudgetSettings {
        /// Where the use of budgets is counted: sqlite:FILE, a file of its own, or s3://BUCKET/PREFIX. All workers on the
        /// queue share it
        #[arg(long, value_name = "URL", env = "WASMRUN_BUDGET_STORE")]
        #[serde(deserialize_with = "written")]
        pub(crate) budget_store: Option<String>,
        /// What happens to messages of a key that is over its budget: park (they wait until the period ends) or trickle
        /// (one task of the key at a time in each worker) [default: park]
        #[arg(long, value_name = "ACTION", env = "WASMRUN_OVER_BUDGET", value_parser = typed::<OverBudget>)]
        #[serde(deserialize_with = "written")]
        pub(crate) over_budget: Option<OverBudget>,
        /// Use this price table (TOML) for budgets of cost [default: the built-in one]
        #[arg(long, value_name = "FILE", env = "WASMRUN_PRICES")]
        #[serde(deserialize_with = "written")]
        pub(crate) prices: Option<PathBuf>,
    }
    /// Notifications of how messages and groups end.
    notify: struct NotifySettings {
        /// Send a notification to this queue when a message has ended: completed, dead-lettered or dropped. Also post:URL,
        /// which sends an HTTP request [default: none]
        #[arg(long, value_name = "URL", env = "WASMRUN_NOTIFY", value_parser = typed::<NotifySetting>)]
        #[serde(deserialize_with = "written")]
        pub(crate) notify: Option<NotifySetting>,
        /// Count the messages of groups, and notify when all messages of a group have ended: a message names its group in
        /// this attribute, and the number of its messages in ATTRIBUTE.count. Needs --notify [default: no groups]
        #[arg(long, value_name = "ATTRIBUTE", env = "WASMRUN_COMPLETE_GROUP", value_parser = typed::<GroupSource>)]
        #[serde(deserialize_with = "written")]
        pub(crate) complete_group: Option<GroupSource>,
        /// Where the messages of groups are counted: sqlite:FILE, a file of its own, or s3://BUCKET/PREFIX. All workers on
        /// the queue share it
        #[arg(long, value_name = "URL", env = "WASMRUN_GROUP_STORE")]
        #[serde(deserialize_with = "written")]
        pub(crate) group_store: Option<String>,
    }
    /// How messages that come again are recognised.
    once: struct OnceSettings {
        /// Settle a message without a task if its ID has completed before, and let the outputs of a task appear together
        /// or not at all: the ledger of IDs, sqlite:FILE or s3://BUCKET/PREFIX [default: a message that is delivered
        /// again runs again]
        #[arg(long, value_name = "LEDGER", env = "WASMRUN_ONCE")]
        #[serde(deserialize_with = "written")]
        pub(crate) once: Option<String>,
        /// What tells messages apart for --once: id (the message ID), group, attribute:NAME or body:/json/pointer. A
        /// message without it is told apart by its ID [default: id]
        #[arg(long, value_name = "SOURCE", env = "WASMRUN_ONCE_BY", value_parser = typed::<OnceKey>)]
        #[serde(deserialize_with = "written")]
        pub(crate) once_by: Option<OnceKey>,
        /// How long --once remembers what has completed: 1m to 90d [default: 7d]
        #[arg(long, value_name = "DURATION", env = "WASMRUN_ONCE_WINDOW", value_parser = typed::<OnceWindow>)]
        #[serde(deserialize_with = "written")]
        pub(crate) once_window: Option<OnceWindow>,
    }
}

/// A time of at least a second: between two looks at the component, or the maximum age of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval(pub(crate) Duration);

impl Written for Interval {
    const FORM: &'static str = "a duration of at least 1s, such as 5m";

    fn read(text: &str) -> Result<Self, String> {
        let interval = Duration::read(text)?;
        if interval < Duration::from_secs(1) { Err(expected::<Self>()) } else { Ok(Self(interval)) }
    }
}

/// How long the ledger of `--once` remembers what has completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OnceWindow(Duration);

impl Written for OnceWindow {
    const FORM: &'static str = "a duration from 1m to 90d, such as 7d";

    fn read(text: &str) -> Result<Self, String> {
        let window = Duration::read(text)?;
        let (minute, day) = (Duration::from_secs(60), Duration::from_secs(86_400));
        if (minute..=90 * day).contains(&window) { Ok(Self(window)) } else { Err(expected::<Self>()) }
    }
}

impl Written for OnceKey {
    const FORM: &'static str = "id, group, attribute:NAME or body:/json/pointer";

    fn read(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

/// Maximum number of tasks that may fail in a row. `None` means `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MaxConsecutiveFailures(Option<NonZeroU32>);

impl Written for MaxConsecutiveFailures {
    const FORM: &'static str = "a whole number above zero, or off";
    const MAY_BE_NUMBER: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            number => number.parse().map(|number| Self(Some(number))).map_err(|_| expected::<Self>()),
        }
    }
}

impl Written for Rate {
    const FORM: &'static str = "a rate such as 50/s, 600/m or 1000/h";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| expected::<Self>())
    }
}

impl Written for KeySource {
    const FORM: &'static str = "group, attribute:NAME, object-prefix:N or body:/json/pointer";

    fn read(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

impl Written for GroupSource {
    const FORM: &'static str = "the name of an attribute, such as batch";

    fn read(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

impl Written for Share {
    const FORM: &'static str = "a percentage from 0.1% to 50%";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| expected::<Self>())
    }
}

impl Written for Backoff {
    const FORM: &'static str = "FIRST..LONGEST, such as 1s..15m";

    fn read(text: &str) -> Result<Self, String> {
        let (first, longest) = text.split_once("..").ok_or_else(expected::<Self>)?;
        let backoff = Self { first: Duration::read(first.trim())?, longest: Duration::read(longest.trim())? };
        if backoff.first > backoff.longest {
            return Err("the first time is longer than the longest".into());
        }
        Ok(backoff)
    }
}

impl DeliverySettings {
    pub(crate) fn max_consecutive_failures(&self) -> Option<NonZeroU32> {
        let default = WorkerOptions::default().max_consecutive_failures;
        self.max_consecutive_failures.map_or(default, |MaxConsecutiveFailures(most)| most)
    }
}

impl OnceSettings {
    /// Returns how long the ledger of `--once` remembers what has completed.
    pub(crate) fn once_window(&self) -> Duration {
        self.once_window.map_or(Duration::from_secs(7 * 86_400), |OnceWindow(window)| window)
    }
}

impl WorkerSettings {
    /// Names of the flags that only the messages of a queue have, with underscores.
    pub(crate) const OF_MESSAGES: [&[&str]; 5] = [
        DeliverySettings::FLAGS,
        KeySettings::FLAGS,
        BudgetSettings::FLAGS,
        NotifySettings::FLAGS,
        OnceSettings::FLAGS,
    ];

    /// Returns the first flag that is set of those.
    pub(crate) fn first_of_messages(&self) -> Option<String> {
        let Self { delivery, keys, budgets, notify, once, .. } = self;
        delivery
            .first_set()
            .or_else(|| keys.first_set())
            .or_else(|| budgets.first_set())
            .or_else(|| notify.first_set())
            .or_else(|| once.first_set())
    }

    /// Takes each setting that flags and variables don't set from the file.
    pub(crate) fn over(self, mut file: Self) -> Self {
        // A goal replaces any goal of the file, and a fixed concurrency limit has no goal.
        let is_fixed = matches!(self.instances, Some(InstancesSetting::Fixed(_)));
        if is_fixed || self.target_latency.is_some() || self.backlog_per_instance.is_some() {
            (file.target_latency, file.backlog_per_instance) = (None, None);
        }
        self.or(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backoff_is_two_times() {
        let backoff = Backoff::read("500ms..1h").expect("valid");
        assert_eq!((backoff.first.as_millis(), backoff.longest.as_secs()), (500, 3600));
        assert!(Backoff::read("1s").is_err());
        assert!(Backoff::read("2s..1s").is_err());
    }
}
