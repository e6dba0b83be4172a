//! Flags, `WASMRUN_*` variables and the configuration file, merged and validated.
//!
//! Flags win over variables (clap knows both), and these over the file. The groups of settings that have the same
//! shape in all three are one structure each, which clap and serde both read.

mod instances;

use self::instances::InstancesSetting;
use crate::args::Cli;
use crate::failure::Failure;
use crate::limits::{self, LimitSettings};
use crate::watch::Listen;
use bytesize::ByteSize;
use clap::{Args, CommandFactory, ValueEnum};
use serde::{Deserialize, Deserializer, de};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Display;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;
use wasmrun_aws::is_role;
use wasmrun_runtime::compile::CompileLimits;
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::grant::Mode;
use wasmrun_runtime::outcome::{Action, Policy};
use wasmrun_runtime::worker::{Backoff, OnLapse, Rate};

/// Tasks at once, and threads: more is a typing error.
const MAX_INSTANCES: usize = 100_000;
/// See [`MAX_INSTANCES`].
const MAX_THREADS: usize = 1_024;

/// The lines of some hundred thousand tasks.
const USAGE_BYTES: u64 = 64 << 20;
/// Some hundred: less would be lost before anybody has looked at it.
const MIN_USAGE_BYTES: u64 = 64 << 10;

/// How the worker works.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct WorkerSettings {
    /// Tasks at once: a number; MIN..MAX, between which it follows what there is to do; or auto, which is 0 to what the
    /// host's memory bears, at most 1000 [default: auto]
    #[arg(long, value_name = "N|MIN..MAX|auto", env = "WASMRUN_INSTANCES")]
    #[serde(deserialize_with = "from_number_or_text")]
    instances: Option<InstancesSetting>,
    /// More tasks at once are for messages to start within this time [default: at once]
    #[arg(long, value_name = "DURATION", env = "WASMRUN_TARGET_LATENCY", value_parser = humantime::parse_duration, conflicts_with = "backlog_per_instance")]
    #[serde(deserialize_with = "from_duration")]
    target_latency: Option<Duration>,
    /// More tasks at once are for so many messages each
    #[arg(long, value_name = "N", env = "WASMRUN_BACKLOG_PER_INSTANCE")]
    backlog_per_instance: Option<NonZeroU32>,
    /// Tasks at once that were needed may be needed again for so long [default: 5m]
    #[arg(long, value_name = "DURATION", env = "WASMRUN_KEEP_WARM", value_parser = humantime::parse_duration)]
    #[serde(deserialize_with = "from_duration")]
    keep_warm: Option<Duration>,
    /// On ECS, keep this worker from being ended by scale-in while it has tasks [default: true, where ECS_AGENT_URI is set]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", env = "WASMRUN_SCALE_IN_PROTECTION")]
    pub(crate) scale_in_protection: Option<bool>,
    /// End when the queue is empty
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", env = "WASMRUN_UNTIL_EMPTY")]
    pub(crate) until_empty: Option<bool>,
    /// Where rejected messages go [default: the queue that the queue's redrive policy names]
    #[arg(long, value_name = "URL", env = "WASMRUN_DEAD_LETTER")]
    pub(crate) dead_letter: Option<String>,
    /// How long a failed message waits for its next try: from the first time to the longest [default: 1s..15m]
    #[arg(long, value_name = "FIRST..LONGEST", env = "WASMRUN_BACKOFF", value_parser = parse_backoff)]
    #[serde(deserialize_with = "from_backoff")]
    pub(crate) backoff: Option<Backoff>,
    /// How long running tasks may take once the worker is told to stop [default: 25s]
    #[arg(long, value_name = "DURATION", env = "WASMRUN_STOP_TIMEOUT", value_parser = humantime::parse_duration)]
    #[serde(deserialize_with = "from_duration")]
    pub(crate) stop_timeout: Option<Duration>,
    /// A message isn't kept from others longer than this [default: 12h]
    #[arg(long, value_name = "DURATION", env = "WASMRUN_MAX_VISIBILITY", value_parser = humantime::parse_duration)]
    #[serde(deserialize_with = "from_duration")]
    pub(crate) max_visibility: Option<Duration>,
    /// What becomes of a task whose message may have gone to another worker, as its visibility couldn't be extended
    /// [default: cancel]
    #[arg(long, value_name = "ACTION", env = "WASMRUN_ON_LAPSE")]
    pub(crate) on_lapse: Option<OnLapseSetting>,
    /// Where bodies are that were too large for a message, as SQS's extended client library puts them: s3://BUCKET or
    /// s3://BUCKET/PREFIX [default: pointers to bodies are delivered as they are]
    #[arg(long, value_name = "URL", env = "WASMRUN_BODY_STORE")]
    pub(crate) body_store: Option<String>,
    /// How fast this worker's tasks may start, such as 50/s, 600/m or 1000/h; each worker has its own rate [default: as
    /// fast as they can]
    #[arg(long, value_name = "N/TIME", env = "WASMRUN_RATE")]
    #[serde(deserialize_with = "from_text")]
    pub(crate) rate: Option<Rate>,
}

/// How components are compiled and run.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct EngineSettings {
    /// The directory for compiled components, or off [default: wasmrun in the user's cache directory]
    #[arg(long, value_name = "DIRECTORY", env = "WASMRUN_CACHE")]
    pub(crate) cache: Option<PathBuf>,
    /// Memory that compiling the component may take [default: 256MiB and 64 bytes for each of the component, at most
    /// 4GiB and half of what this host has]
    #[arg(long, value_name = "SIZE", env = "WASMRUN_COMPILE_MEMORY")]
    #[serde(deserialize_with = "from_text")]
    compile_memory: Option<ByteSize>,
    /// CPU time that it may take [default: 20s and 5s for each MiB of the component]
    #[arg(long, value_name = "DURATION", env = "WASMRUN_COMPILE_TIME", value_parser = humantime::parse_duration)]
    #[serde(deserialize_with = "from_duration")]
    compile_time: Option<Duration>,
    /// The component is code that `wasmrun compile` wrote: it's run without looking at what it does
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", env = "WASMRUN_PRECOMPILED")]
    precompiled: Option<bool>,
    /// Threads that guests compute on [default: the number of cores]
    #[arg(long, value_name = "N", env = "WASMRUN_THREADS")]
    threads: Option<NonZeroUsize>,
    /// Where instances' memory comes from: a pool, or the system each time [default: auto]
    #[arg(long, env = "WASMRUN_ALLOCATOR")]
    pub(crate) allocator: Option<AllocatorSetting>,
}

/// Where Amazon's services are.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct AwsSettings {
    /// Where SQS and S3 are, instead of Amazon's own endpoints [default: what AWS_ENDPOINT_URL and its like say]
    #[arg(long, global = true, value_name = "URL", env = "WASMRUN_ENDPOINT_URL")]
    pub(crate) endpoint_url: Option<String>,
}

/// What is logged, and how.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct LogSettings {
    /// error, warn, info, debug or trace; or a filter such as `info,guest=debug` [default: info]
    #[arg(long = "log", value_name = "LEVEL", env = "WASMRUN_LOG")]
    pub(crate) level: Option<String>,
    /// Readable lines, or JSON [default: text on a terminal, else json]
    #[arg(long = "log-format", value_name = "FORMAT", env = "WASMRUN_LOG_FORMAT")]
    pub(crate) format: Option<LogFormat>,
}

/// What becomes of a task whose message lapsed.
#[derive(Clone, Copy, Debug, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnLapseSetting {
    /// Cancel it: what it does would be done twice
    Cancel,
    /// Let it finish, and delete its message if that is still possible (not on a FIFO queue)
    Finish,
}

/// Where instances' memory comes from.
#[derive(Clone, Copy, Debug, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AllocatorSetting {
    Auto,
    Pooling,
    OnDemand,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct File {
    pub(crate) component: Option<PathBuf>,
    pub(crate) queue: Option<String>,
    pub(crate) raw_body: Option<bool>,
    pub(crate) deterministic: Option<bool>,
    pub(crate) usage: Option<PathBuf>,
    #[serde(deserialize_with = "from_text")]
    pub(crate) usage_size: Option<ByteSize>,
    pub(crate) listen: Option<Listen>,
    pub(crate) emf: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) store: BTreeMap<String, String>,
    pub(crate) send: BTreeMap<String, String>,
    pub(crate) assume_role: BTreeMap<String, String>,
    pub(crate) env: BTreeMap<String, EnvValue>,
    pub(crate) on: BTreeMap<String, String>,
    pub(crate) limits: LimitSettings,
    pub(crate) worker: WorkerSettings,
    pub(crate) engine: EngineSettings,
    pub(crate) aws: AwsSettings,
    pub(crate) log: LogSettings,
}

/// The value of an environment key in the file: a text, or `true` for the worker's own value.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum EnvValue {
    Text(String),
    Inherited(bool),
}

impl File {
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("cannot read the configuration {shown}: {error}")))?;
        Self::parse(&text, &shown)
    }

    /// `shown` names the file in errors.
    pub(crate) fn parse(text: &str, shown: &dyn Display) -> Result<Self, Failure> {
        toml_from(text, &format!("the configuration {shown}"))
    }
}

/// Reads TOML; what is wrong is said with its place.
pub(crate) fn toml_from<T: de::DeserializeOwned>(text: &str, shown: &str) -> Result<T, Failure> {
    toml::from_str(text).map_err(|error| {
        // The line, and what in it is meant.
        let place = error.span().map_or_else(String::new, |span| {
            let before = text.get(..span.start).unwrap_or_default();
            let part = text.get(span).and_then(|part| part.lines().next()).unwrap_or_default();
            format!(", line {}, at {part:.60}", 1 + before.matches('\n').count())
        });
        let what = error.message().trim_end().replace('\n', ": ");
        Failure::usage(format!("in {shown}{place}: {what}"))
    })
}

impl WorkerSettings {
    pub(crate) fn on_lapse(&self) -> OnLapse {
        match self.on_lapse {
            Some(OnLapseSetting::Finish) => OnLapse::Finish,
            Some(OnLapseSetting::Cancel) | None => OnLapse::Cancel,
        }
    }

    pub(crate) fn or(self, file: Self) -> Self {
        // A goal wins over another one, and a fixed number has none.
        let is_fixed = matches!(self.instances, Some(InstancesSetting::Fixed(_)));
        let no_goal = self.target_latency.is_none() && self.backlog_per_instance.is_none() && !is_fixed;
        Self {
            instances: self.instances.or(file.instances),
            target_latency: self.target_latency.or(file.target_latency.filter(|_| no_goal)),
            backlog_per_instance: self.backlog_per_instance.or(file.backlog_per_instance.filter(|_| no_goal)),
            keep_warm: self.keep_warm.or(file.keep_warm),
            scale_in_protection: self.scale_in_protection.or(file.scale_in_protection),
            until_empty: self.until_empty.or(file.until_empty),
            dead_letter: self.dead_letter.or(file.dead_letter),
            backoff: self.backoff.or(file.backoff),
            stop_timeout: self.stop_timeout.or(file.stop_timeout),
            max_visibility: self.max_visibility.or(file.max_visibility),
            on_lapse: self.on_lapse.or(file.on_lapse),
            body_store: self.body_store.or(file.body_store),
            rate: self.rate.or(file.rate),
        }
    }
}

impl EngineSettings {
    pub(crate) fn or(self, file: Self) -> Self {
        Self {
            cache: self.cache.or(file.cache),
            compile_memory: self.compile_memory.or(file.compile_memory),
            compile_time: self.compile_time.or(file.compile_time),
            precompiled: self.precompiled.or(file.precompiled),
            threads: self.threads.or(file.threads),
            allocator: self.allocator.or(file.allocator),
        }
    }

    pub(crate) fn is_precompiled(&self) -> bool {
        self.precompiled.unwrap_or(false)
    }

    pub(crate) fn compile_limits(&self) -> CompileLimits {
        CompileLimits { memory_bytes: self.compile_memory.map(|size| size.0), cpu_time: self.compile_time }
    }

    pub(crate) fn allocator(&self) -> Allocator {
        match self.allocator.unwrap_or(AllocatorSetting::Auto) {
            AllocatorSetting::Auto => Allocator::Auto,
            AllocatorSetting::Pooling => Allocator::Pooling,
            AllocatorSetting::OnDemand => Allocator::OnDemand,
        }
    }

    pub(crate) fn threads(&self) -> Result<NonZeroUsize, Failure> {
        at_most(self.threads.unwrap_or_else(cores), MAX_THREADS, "threads")
    }
}

impl AwsSettings {
    pub(crate) fn or(self, file: Self) -> Self {
        Self { endpoint_url: self.endpoint_url.or(file.endpoint_url) }
    }
}

impl LogSettings {
    pub(crate) fn or(self, file: Self) -> Self {
        Self { level: self.level.or(file.level), format: self.format.or(file.format) }
    }
}

fn at_most(number: NonZeroUsize, most: usize, flag: &str) -> Result<NonZeroUsize, Failure> {
    if number.get() > most {
        return Err(Failure::usage(format!("--{flag} {number} is too many: at most {most}")));
    }
    Ok(number)
}

/// The cores that this process may use.
fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// The size at which a usage file is rotated.
pub(crate) fn usage_bytes(size: Option<ByteSize>) -> Result<u64, Failure> {
    Ok(limits::size(size, "usage-size", MIN_USAGE_BYTES..=u64::MAX)?
        .map_or(USAGE_BYTES, |bytes| bytes as u64))
}

/// A grant of a store, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreSetting {
    pub(crate) alias: String,
    pub(crate) url: String,
    pub(crate) mode: Mode,
}

/// Merges the grants of stores: by alias, flags win over variables, and these over the file.
pub(crate) fn stores(flags: &[String], file: BTreeMap<String, String>) -> Result<Vec<StoreSetting>, Failure> {
    named("--store", "ALIAS=URL:MODE", flags, "WASMRUN_STORE_", file)?
        .into_iter()
        .map(|(alias, value)| {
            let (url, mode) = value.rsplit_once(':').filter(|(_, mode)| !mode.starts_with("//")).ok_or_else(|| {
                Failure::usage(format!(
                    "the store {alias}={value} has no mode: write ALIAS=URL:MODE with the mode ro, wo or rw"
                ))
            })?;
            let mode = mode
                .parse()
                .map_err(|error| Failure::usage(format!("the store {alias}={value} has an {error}")))?;
            Ok(StoreSetting { alias, url: url.to_owned(), mode })
        })
        .collect()
}

/// Merges the queues to send to: alias and URL.
pub(crate) fn sends(
    flags: &[String],
    file: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Failure> {
    named("--send", "ALIAS=URL", flags, "WASMRUN_SEND_", file)
}

/// Merges the roles that are assumed for grants: the ARN of each, by the grant's alias.
pub(crate) fn roles(
    flags: &[String],
    file: BTreeMap<String, String>,
    is_granted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, String>, Failure> {
    let roles = named("--assume-role", "ALIAS=ARN", flags, "WASMRUN_ASSUME_ROLE_", file)?;
    for (alias, role) in &roles {
        if role.is_empty() {
            return Err(Failure::usage(format!(
                "--assume-role {alias}= is incomplete: write --assume-role ALIAS=ARN"
            )));
        }
        if !is_granted(alias) {
            return Err(Failure::usage(format!(
                "the role {role} is for {alias}, and neither a --store nor a --send has that alias"
            )));
        }
        if !is_role(role) {
            return Err(Failure::usage(format!(
                "{role:?} is no role: write its ARN, such as arn:aws:iam::123456789012:role/thumbs"
            )));
        }
    }
    Ok(roles)
}

/// Merges settings that are named by an alias.
fn named(
    flag: &str,
    form: &str,
    flags: &[String],
    variables: &str,
    file: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut merged = file;
    for (name, value) in variables_with(variables) {
        merged.insert(name.to_ascii_lowercase().replace('_', "-"), value);
    }
    let mut typed = BTreeMap::new();
    for text in flags {
        let (alias, value) = text
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("{flag} {text} is incomplete: write {flag} {form}")))?;
        if typed.insert(alias.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::usage(format!("{flag} names {alias} twice")));
        }
    }
    merged.extend(typed);
    for alias in merged.keys() {
        check_alias(alias)?;
    }
    Ok(merged)
}

/// Aliases are words that fit everywhere: in WIT, in variables, in metrics.
pub(crate) fn check_alias(alias: &str) -> Result<(), Failure> {
    let well_formed = (1..=64).contains(&alias.len())
        && alias.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if well_formed {
        Ok(())
    } else {
        Err(Failure::usage(format!("the alias {alias:?} isn't allowed: 1 to 64 of a-z, 0-9 and '-'")))
    }
}

/// Merges the environment that a task sees.
pub(crate) fn environment(
    flags: &[String],
    file: BTreeMap<String, EnvValue>,
) -> Result<Vec<(String, String)>, Failure> {
    let mut merged: BTreeMap<String, Option<String>> = BTreeMap::new();
    for (key, value) in file {
        match value {
            EnvValue::Text(text) => merged.insert(key, Some(text)),
            EnvValue::Inherited(true) => merged.insert(key, None),
            EnvValue::Inherited(false) => merged.remove(&key),
        };
    }
    for (key, value) in variables_with("WASMRUN_ENV_") {
        merged.insert(key, Some(value));
    }
    for text in flags {
        match text.split_once('=') {
            Some((key, value)) => merged.insert(key.to_owned(), Some(value.to_owned())),
            None => merged.insert(text.clone(), None),
        };
    }
    merged
        .into_iter()
        .map(|(key, value)| {
            if key.is_empty() || key.contains(['=', '\0']) {
                return Err(Failure::usage(format!("the environment key {key:?} isn't allowed")));
            }
            match value {
                Some(value) if value.contains('\0') => {
                    Err(Failure::usage(format!("the value of the environment key {key} holds a NUL")))
                }
                Some(value) => Ok((key, value)),
                None => inherited(&key).map(|value| (key, value)),
            }
        })
        .collect()
}

/// The worker's own value of an environment key.
fn inherited(key: &str) -> Result<String, Failure> {
    if key.starts_with("AWS_") || key.starts_with("ECS_") {
        return Err(Failure::usage(format!(
            "the environment key {key} may hold the worker's credentials or lead to them: give it a value of its own (--env {key}=VALUE) or leave it out"
        )));
    }
    std::env::var(key).map_err(|_| {
        Failure::usage(format!("the environment key {key} isn't set (or isn't UTF-8): set it, or give a value with --env {key}=VALUE"))
    })
}

/// The variables whose names start so; what follows is the name. Those of other settings, such as `WASMRUN_ON_LAPSE`
/// beside `WASMRUN_ON_RETRY`, are none.
fn variables_with(prefix: &str) -> impl Iterator<Item = (String, String)> {
    static OF_FLAGS: LazyLock<BTreeSet<OsString>> = LazyLock::new(|| variables_of(&Cli::command()));
    std::env::vars_os().filter_map(move |(variable, value)| {
        let name = variable.to_str()?.strip_prefix(prefix)?.to_owned();
        let is_name = !name.is_empty() && !OF_FLAGS.contains(&variable);
        is_name.then_some((name, value.to_str()?.to_owned()))
    })
}

/// The variables of all flags.
fn variables_of(command: &clap::Command) -> BTreeSet<OsString> {
    let own = command.get_arguments().filter_map(|argument| argument.get_env().map(OsString::from));
    own.chain(command.get_subcommands().flat_map(variables_of)).collect()
}

/// Merges what follows from each outcome.
pub(crate) fn policy(flags: &[String], file: BTreeMap<String, String>) -> Result<Policy, Failure> {
    let mut policy = Policy::default();
    for (outcome, action) in named("--on", "OUTCOME=ACTION", flags, "WASMRUN_ON_", file)? {
        let place = match outcome.as_str() {
            "retry" => &mut policy.retry,
            "rejected" => &mut policy.rejected,
            "limit-exceeded" => &mut policy.limit_exceeded,
            "timed-out" => &mut policy.timed_out,
            "trapped" => &mut policy.trapped,
            _ => {
                return Err(Failure::usage(format!(
                    "unknown outcome {outcome:?}: one of retry, rejected, limit-exceeded, timed-out, trapped"
                )));
            }
        };
        *place = match action.as_str() {
            "retry" => Action::Retry,
            "dead-letter" => Action::DeadLetter,
            "drop" => Action::Drop,
            _ => {
                return Err(Failure::usage(format!(
                    "unknown action {action:?} for {outcome}: one of retry, dead-letter, drop"
                )));
            }
        };
    }
    Ok(policy)
}

fn parse_backoff(text: &str) -> Result<Backoff, String> {
    let (first, longest) = text.split_once("..").ok_or("write FIRST..LONGEST, such as 1s..15m")?;
    let parse =
        |text: &str| humantime::parse_duration(text.trim()).map_err(|error| format!("{text:?}: {error}"));
    let backoff = Backoff { first: parse(first)?, longest: parse(longest)? };
    if backoff.first > backoff.longest {
        return Err("the first time is longer than the longest".into());
    }
    Ok(backoff)
}

pub(crate) fn from_text<'de, D: Deserializer<'de>, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr,
    T::Err: Display,
{
    String::deserialize(deserializer)?.parse().map(Some).map_err(de::Error::custom)
}

/// A number may be written as one.
pub(crate) fn from_number_or_text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
) -> Result<Option<T>, D::Error>
where
    T: FromStr,
    T::Err: Display,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
    }
    let text = match Written::deserialize(deserializer)? {
        Written::Number(number) => number.to_string(),
        Written::Text(text) => text,
    };
    text.parse().map(Some).map_err(de::Error::custom)
}

pub(crate) fn from_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    humantime::parse_duration(&String::deserialize(deserializer)?).map(Some).map_err(de::Error::custom)
}

fn from_backoff<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Backoff>, D::Error> {
    parse_backoff(&String::deserialize(deserializer)?).map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(failure: Failure) -> String {
        failure.to_string()
    }

    #[test]
    fn a_store_is_an_alias_a_url_and_a_mode() {
        let stores = stores(&["in=dir:a=b:c:ro".into()], BTreeMap::new()).expect("valid");
        let expected = StoreSetting { alias: "in".into(), url: "dir:a=b:c".into(), mode: Mode::ReadOnly };
        assert_eq!(stores, [expected]);
    }

    #[test]
    fn what_is_wrong_with_a_grant_is_said() {
        let error = |flag: &str| text(stores(&[flag.into()], BTreeMap::new()).expect_err("invalid"));
        assert!(error("in").contains("ALIAS=URL:MODE"));
        assert!(error("in=dir").contains("no mode"));
        assert!(error("in=dir:x").contains("unknown mode \"x\""));
        assert!(error("In=dir:x:ro").contains("alias"));
        let twice = ["a=dir:x:ro".to_owned(), "a=dir:y:ro".to_owned()];
        assert!(text(stores(&twice, BTreeMap::new()).expect_err("invalid")).contains("twice"));
    }

    #[test]
    fn flags_win_over_the_file() {
        let file: File = toml::from_str("[store]\nin = 'dir:x:ro'\nout = 'dir:y:rw'").expect("valid");
        let stores = stores(&["in=dir:z:rw".into()], file.store).expect("valid");
        assert_eq!(stores.iter().map(|s| s.url.as_str()).collect::<Vec<_>>(), ["dir:z", "dir:y"]);
    }

    #[test]
    fn a_typo_in_the_file_is_named_with_its_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("wasmrun.toml");
        std::fs::write(&path, "queue = 'sqlite:x'\n\n[limits]\nfule = 5\n").expect("written");
        let error = text(File::read(Some(&path)).expect_err("invalid"));
        assert!(error.contains("line 4") && error.contains("fule"), "{error}");
    }

    #[test]
    fn credentials_of_the_worker_are_not_passed_on_by_name() {
        let error =
            text(environment(&["AWS_SECRET_ACCESS_KEY".into()], BTreeMap::new()).expect_err("refused"));
        assert!(error.contains("credentials"), "{error}");
        let given = environment(&["AWS_REGION=x".into()], BTreeMap::new()).expect("explicit");
        assert_eq!(given, [("AWS_REGION".to_owned(), "x".to_owned())]);
    }

    #[test]
    fn a_policy_names_outcomes_and_actions() {
        let set =
            policy(&["rejected=drop".into()], BTreeMap::from([("trapped".into(), "dead-letter".into())]));
        let set = set.expect("valid");
        assert_eq!((set.rejected, set.trapped, set.retry), (Action::Drop, Action::DeadLetter, Action::Retry));
        assert!(policy(&["completed=drop".into()], BTreeMap::new()).is_err());
        assert!(policy(&["rejected=delete".into()], BTreeMap::new()).is_err());
    }

    #[test]
    fn a_backoff_is_two_times() {
        let backoff = parse_backoff("500ms..1h").expect("valid");
        assert_eq!((backoff.first.as_millis(), backoff.longest.as_secs()), (500, 3600));
        assert!(parse_backoff("1s").is_err());
        assert!(parse_backoff("2s..1s").is_err());
    }
}
