//! Flags of `simulate`.

use super::workers::{FargateSize, parse_fargate_size};
use crate::settings::instances::InstancesSetting;
use crate::settings::simulate::{
    ArrivalsSetting, AutoscalingSetting, Fraction, KeyOrOff, PerHour, QueueKind, ServiceSetting, Sweep,
    TenantSetting, TimeRange, WorkersSetting,
};
use crate::settings::text::typed;
use clap::error::ErrorKind;
use clap::{Args, FromArgMatches};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;
use wasmrun_runtime::worker::Backoff;

/// Simulate a worker or a fleet: latency, backlog, concurrency and cost before anything runs
#[derive(Debug, Args)]
#[command(after_help = "\
Time is virtual, and the same seed gives the same result. Workers scale, receive, retry and settle by the \
rules of `run`; platforms start and stop workers with their own intervals, delays and cooldowns.

Examples:
  wasmrun simulate --arrivals poisson:20/s --service exponential:200ms
  wasmrun simulate --usage usage.jsonl --sweep instances=4,16,64
  wasmrun simulate --arrivals burst:100000@1m --arrivals wave:5/s,1h \\
      --service fixed:2s --cpu 0.2 --workers 0..50 \\
      --autoscaling target-tracking --sweep acceptable-latency=30s,2m,10m
  wasmrun simulate --arrivals poisson:50/s --service fixed:300ms \\
      --workers 0..20 --autoscaling keda --json --svg keda.svg
  wasmrun simulate --queue sqlite --tenant big=burst:10000 \\
      --tenant small:20=burst:20@1s --service fixed:10ms --cpu 0 \\
      --instances 8 --sweep key=off,group

Exit codes: 0 success, 2 wrong usage, no record in the files, or a fleet that can't keep up within the memory \
of a simulation, 3 a file can't be read to its end or written.")]
pub(crate) struct SimulateArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Compare the values of a flag, one simulation each: KEY is the flag's name. Values are separated by
    /// commas, or by semicolons where they have commas; several sweeps are combined
    #[arg(long, value_name = "KEY=A,B,C", value_parser = typed::<Sweep>)]
    pub(crate) sweep: Vec<Sweep>,
    /// Draw backlog, concurrency and workers over time to this file (SVG)
    #[arg(long, value_name = "FILE", conflicts_with = "sweep")]
    pub(crate) svg: Option<PathBuf>,
    /// Price table (TOML) to use instead of the built-in one
    #[arg(long, value_name = "FILE")]
    pub(crate) prices: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is simulated. All are optional, so that a sweep can change one and leave the others.
//
// A field for each flag.
#[derive(Clone, Debug, Args)]
pub(crate) struct ModelArgs {
    /// When messages arrive: steady:RATE, poisson:RATE, wave:RATE[,PERIOD] (a day, from zero to twice the rate)
    /// or burst:N[@TIME]; a rate is such as 20/s, 5/m or 1e9/d. May be given several times: all
    /// arrive [default: those of --usage]
    #[arg(long, value_name = "WHEN", value_parser = typed::<ArrivalsSetting>, help_heading = "Work")]
    pub(crate) arrivals: Vec<ArrivalsSetting>,
    /// Tenant whose messages have a key, in addition to --arrivals: its name, when they arrive and, if they differ
    /// from --service, the times of its tasks. NAME:N stands for N such tenants [default: with --key, the keys of --usage]
    #[arg(long, value_name = "NAME[:N]=WHEN[,TIMES]", value_parser = typed::<TenantSetting>, help_heading = "Work")]
    pub(crate) tenant: Vec<TenantSetting>,
    /// How long tasks take without waiting for a thread: fixed:TIME or exponential:TIME [default: those of --usage]
    #[arg(long, value_name = "TIMES", value_parser = typed::<ServiceSetting>, help_heading = "Work")]
    pub(crate) service: Option<ServiceSetting>,
    /// Share of a task's time on a thread, from 0 to 1; the rest waits for stores and other services [default: 1]
    #[arg(long, value_name = "SHARE", value_parser = typed::<Fraction>, help_heading = "Work")]
    pub(crate) cpu: Option<Fraction>,
    /// Share of the tasks that fail and are retried [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = typed::<Fraction>, help_heading = "Work")]
    pub(crate) failures: Option<Fraction>,
    /// Take arrivals and times of tasks from usage files that `run --usage` wrote
    #[arg(long, value_name = "FILE", help_heading = "Work")]
    pub(crate) usage: Vec<PathBuf>,
    /// How long messages arrive [default: 1h, or until the last one in the usage files]
    #[arg(long, value_name = "DURATION", value_parser = typed::<Duration>, help_heading = "Work")]
    pub(crate) duration: Option<Duration>,
    /// Kind of the queue, on which batches and waits depend [default: sqs]
    #[arg(long, value_name = "KIND", value_enum, help_heading = "Queue")]
    pub(crate) queue: Option<QueueKind>,
    /// Time of a call to the queue [default: 10ms, with sqlite 2ms]
    #[arg(long, value_name = "DURATION", value_parser = typed::<Duration>, help_heading = "Queue")]
    pub(crate) queue_latency: Option<Duration>,
    /// Number of receives after which a message is dead-lettered [default: 5]
    #[arg(long, value_name = "N", value_parser = typed::<NonZeroU32>, help_heading = "Queue")]
    pub(crate) max_receives: Option<NonZeroU32>,
    /// Concurrency limit of a worker: a number; MIN..MAX, scaled with the work; or auto: 0..1000 [default: auto]
    #[arg(long, value_name = "N|MIN..MAX|auto", value_parser = typed::<InstancesSetting>, help_heading = "Worker")]
    pub(in crate::settings) instances: Option<InstancesSetting>,
    /// Scale a worker out so that messages start within this time [default: at once]
    #[arg(long, value_name = "DURATION", value_parser = typed::<Duration>, help_heading = "Worker")]
    pub(crate) target_latency: Option<Duration>,
    /// Scale a worker out to one task for each N messages that wait
    #[arg(long, value_name = "N", value_parser = typed::<NonZeroU32>, help_heading = "Worker")]
    pub(crate) backlog_per_instance: Option<NonZeroU32>,
    /// Time before unneeded concurrency is scaled in [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = typed::<Duration>, help_heading = "Worker")]
    pub(crate) scale_in_delay: Option<Duration>,
    /// Share a worker's concurrency limit fairly among tenants, as `run --key` does. With group, a queue of sqlite goes
    /// round the tenants; sqs delivers in its order. off: messages start in the queue's order [default: off]
    #[arg(long, value_name = "SOURCE|off", value_parser = typed::<KeyOrOff>, help_heading = "Worker")]
    pub(crate) key: Option<KeyOrOff>,
    /// Maximum number of tasks of one tenant at once in a worker [default: unlimited]
    #[arg(long, value_name = "N", value_parser = typed::<NonZeroU32>, help_heading = "Worker")]
    pub(crate) max_per_key: Option<NonZeroU32>,
    /// Weight of a tenant, from 1 to 1000: its share of the concurrency limit, compared with others'; the name * stands
    /// for each tenant without a weight of its own [default: 1]
    #[arg(long, value_name = "NAME=N", help_heading = "Worker")]
    pub(crate) weight: Vec<String>,
    /// Delay before a failed message is retried: the first and the longest [default: 1s..15m]
    #[arg(long, value_name = "FIRST..LONGEST", value_parser = typed::<Backoff>, help_heading = "Worker")]
    pub(crate) backoff: Option<Backoff>,
    /// Time that running tasks have to finish when a worker stops [default: 25s]
    #[arg(long, value_name = "DURATION", value_parser = typed::<Duration>, help_heading = "Worker")]
    pub(crate) stop_timeout: Option<Duration>,
    /// Size of a worker as a Fargate task, which says its threads and its price [default: 1,2]
    #[arg(long, value_name = "VCPU,GB", value_parser = parse_fargate_size, help_heading = "Fleet")]
    pub(crate) size: Option<FargateSize>,
    /// Number of workers, or MIN..MAX with --autoscaling [default: 1]
    #[arg(long, value_name = "N|MIN..MAX", value_parser = typed::<WorkersSetting>, help_heading = "Fleet")]
    pub(crate) workers: Option<WorkersSetting>,
    /// What starts and stops workers [default: none]
    #[arg(long, value_name = "WHAT", value_enum, help_heading = "Fleet")]
    pub(crate) autoscaling: Option<AutoscalingSetting>,
    /// Time that messages may wait before more workers are started [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = typed::<Duration>, help_heading = "Fleet")]
    pub(crate) acceptable_latency: Option<Duration>,
    /// Time that a worker takes for a message, as the autoscaler is told [default: what the other flags give]
    #[arg(long, value_name = "DURATION", value_parser = typed::<Duration>, help_heading = "Fleet")]
    pub(crate) time_per_message: Option<Duration>,
    /// Messages, waiting or in flight, for each pod that KEDA starts [default: what a worker can handle in that latency]
    #[arg(long, value_name = "N", value_parser = typed::<NonZeroU32>, help_heading = "Fleet")]
    pub(crate) messages_per_worker: Option<NonZeroU32>,
    /// Time until a worker that is started receives, or SHORTEST..LONGEST [default: 53s..62s, with keda 10s..30s]
    #[arg(long, value_name = "DURATION", value_parser = typed::<TimeRange>, help_heading = "Fleet")]
    pub(crate) start_up: Option<TimeRange>,
    /// Spot interruptions of each worker in an hour [default: 0]
    #[arg(long, value_name = "N", value_parser = typed::<PerHour>, help_heading = "Fleet")]
    pub(crate) interruptions: Option<PerHour>,
    /// Deploy a new version at this interval [default: never]
    #[arg(long, value_name = "DURATION", value_parser = typed::<Duration>, help_heading = "Fleet")]
    pub(crate) deploy_every: Option<Duration>,
    /// Number of times in an hour that a worker is started for nothing while none runs, as queue depths are approximate
    /// [default: 0]
    #[arg(long, value_name = "N", value_parser = typed::<PerHour>, help_heading = "Fleet")]
    pub(crate) stray_starts: Option<PerHour>,
    /// Seed of all that is random [default: 1]
    #[arg(long, value_name = "N", value_parser = typed::<u64>, help_heading = "Work")]
    pub(crate) seed: Option<u64>,
}

impl ModelArgs {
    /// Returns the same with another value of a flag.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the flag or its value.
    pub(crate) fn with(&self, key: &str, value: &str) -> Result<Self, String> {
        let command = clap::Command::new("simulate").no_binary_name(true).disable_help_flag(true);
        let command = Self::augment_args_for_update(command);
        let mut changed = self.clone();
        command
            .try_get_matches_from([format!("--{key}={value}")])
            .and_then(|mut matches| changed.update_from_arg_matches_mut(&mut matches))
            .map_err(|error| match error.kind() {
                ErrorKind::UnknownArgument => {
                    format!("there is no --{key} to sweep: name a flag of `wasmrun simulate --help`")
                }
                _ => {
                    let text = error.to_string();
                    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
                }
            })?;
        Ok(changed)
    }
}
