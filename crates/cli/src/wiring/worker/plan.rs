//! Merges the settings of `run`, `serve` and `dev` into a plan.

use crate::output::failure::Failure;
use crate::settings::budgets::{BudgetPlan, budget_plan};
use crate::settings::file::ConfigFile;
use crate::settings::flags::{RunArgs, ServeArgs, TaskArgs};
use crate::settings::keys::key_options;
use crate::settings::named::no_variables_of_messages;
use crate::settings::needs::check_needs;
use crate::settings::otlp::OtlpPlan;
use crate::settings::outcome_actions::{OutcomeActions, outcome_actions};
use crate::settings::queues::{QueueSetting, listed, queues};
use crate::settings::serve::ServePlan;
use crate::settings::task::TaskPlan;
use crate::settings::usage_size::usage_bytes;
use crate::settings::watch::WatchSettings;
use crate::settings::worker::{Interval, WorkerSettings};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::message::MAX_MESSAGE_BYTES;
use wasmrun_runtime::model::outcome::{Action, Policy};
use wasmrun_runtime::worker::{
    Backoff, KeyOptions, MOST_ACCOUNTS_BYTES, MOST_HELD_BYTES, Sizing, WorkerOptions,
};

/// Returns the value of a variable, if it is set.
pub(crate) type Variable = fn(&str) -> Option<String>;

/// Returns the value of a variable of this process, if it is set and UTF-8.
pub(crate) fn own_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Arguments of a command whose worker works until it's stopped.
#[derive(Clone)]
pub(crate) enum WorkArgs {
    Run(Box<RunArgs>),
    Serve(Box<ServeArgs>),
}

impl WorkArgs {
    /// Returns the path of the configuration file.
    pub(crate) fn config(&self) -> Option<&Path> {
        match self {
            Self::Run(args) => args.task.config.as_deref(),
            Self::Serve(args) => args.task.config.as_deref(),
        }
    }

    /// Returns whether somebody waits for the result. If stopped early, a check has none and the queue may not be empty, so
    /// the exit code isn't 0.
    pub(crate) fn is_awaited(&self) -> bool {
        match self {
            Self::Run(args) => args.check || args.worker.delivery.until_empty == Some(true),
            Self::Serve(args) => args.check,
        }
    }

    /// Merges and validates settings.
    pub(crate) fn plan(self, file: ConfigFile) -> Result<RunPlan, Failure> {
        match self {
            Self::Run(args) => RunPlan::new(*args, file, own_variable),
            Self::Serve(args) => RunPlan::of_service(*args, file, own_variable),
        }
    }
}

/// Settings of a worker, merged and validated before anything is opened.
pub(crate) struct RunPlan {
    /// The queues, or the URL of the service.
    pub(crate) queues: Vec<QueueSetting>,
    /// The service, if tasks answer requests instead of handling messages.
    pub(crate) service: Option<ServePlan>,
    /// Path of the usage file, and the size in bytes at which it's rotated.
    pub(crate) usage: Option<(PathBuf, u64)>,
    pub(crate) worker: WorkerSettings,
    /// The concurrency limit, and how it scales.
    pub(crate) sizing: Sizing,
    pub(crate) watching: WatchSettings,
    /// Where traces and metrics are exported to.
    pub(crate) otlp: OtlpPlan,
    outcomes: OutcomeActions,
    keys: Option<KeyOptions>,
    pub(super) budgets: Option<BudgetPlan>,
    pub(crate) task: TaskPlan,
    /// Whether to open and check everything without running a task.
    pub(crate) is_check: bool,
}

impl RunPlan {
    /// Merges and validates settings. `variable` returns the value of a variable of OpenTelemetry.
    ///
    /// # Errors
    ///
    /// Names the first wrong setting, in the order of the checks below.
    pub(crate) fn new(args: RunArgs, mut file: ConfigFile, variable: Variable) -> Result<Self, Failure> {
        let queues = queues(args.queue, &mut file.queue)?;
        if queues.is_empty() {
            return Err(Failure::usage("no queue: add --queue URL, or set `queue` in the configuration"));
        }
        let usage = args.usage.usage.or_else(|| file.usage.take());
        let usage_size = args.usage.usage_size.or(file.usage_size);
        let usage_bytes = usage_bytes(usage_size)?;
        let worker = args.worker.over(std::mem::take(&mut file.worker));
        check_needs(&worker, usage.is_some(), usage_size.is_some())?;
        let sizing = Sizing { most: worker.instances()?, scale: worker.scale()? };
        let watching = args.watch.or(file.watch());
        let otlp = OtlpPlan::new(&watching, variable)?;
        let outcomes = outcome_actions(&args.on, std::mem::take(&mut file.on))?;
        let keys = key_options(&worker, &args.weight, std::mem::take(&mut file.weight))?;
        let budgets = budget_plan(&worker, &args.budget, std::mem::take(&mut file.budget))?;
        let task = TaskPlan::new(args.component, args.task, &mut file, &worker)?;
        // Both are computed where they are needed, which is after queues and stores are open.
        task.engine.threads()?;
        task.engine.compile.compile_limits()?;
        let task = task.with_each(|task| {
            task.refreshed = worker.component_refresh.is_some();
            task.records_outputs = worker.notify.notify.is_some();
            task.limits.outputs_bytes = if worker.once.once.is_some() { Limits::OUTPUTS_BYTES } else { 0 };
            task.sampling = otlp.traces.as_ref().map(|traces| traces.sampling);
        });
        Ok(Self {
            queues,
            service: None,
            usage: usage.map(|path| (path, usage_bytes)),
            worker,
            sizing,
            watching,
            otlp,
            outcomes,
            keys,
            budgets,
            task,
            is_check: args.check,
        })
    }

    /// Merges and validates the settings of a service. `variable` returns the value of a variable of OpenTelemetry.
    ///
    /// # Errors
    ///
    /// Names the first setting that has no meaning for a service, or the first wrong one. Settings of commands are refused
    /// with the component.
    pub(crate) fn of_service(
        args: ServeArgs,
        mut file: ConfigFile,
        variable: Variable,
    ) -> Result<Self, Failure> {
        let ServeArgs { component, serve, usage, check, task, worker, watch } = args;
        let service = serve.or(std::mem::take(&mut file.serve)).plan();
        let has_keys = !file.weight.is_empty() || !file.budget.is_empty();
        if !file.queue.is_empty() || !file.on.is_empty() || has_keys {
            return Err(Failure::usage(
                "a service has no queue: remove `queue`, `on`, `weight` and `budget` from the configuration",
            ));
        }
        no_variables_of_messages()?;
        if !file.route.is_empty() {
            return Err(Failure::usage(
                "a service has no routes, which tell messages of a queue apart: remove the tables [[route]] from the configuration",
            ));
        }
        let worker = worker.over(std::mem::take(&mut file.worker));
        let task = TaskArgs { raw_body: task.raw_body.or(file.raw_body), ..task };
        if let Some(flag) = worker.first_of_messages().or_else(|| task.raw_body?.then(|| "raw-body".into())) {
            return Err(Failure::usage(format!(
                "--{flag} has no meaning for a service, which has no queue: remove it"
            )));
        }
        let args = RunArgs {
            component,
            queue: vec![QueueSetting::of(format!("http://{}", service.listen))],
            on: Vec::new(),
            weight: Vec::new(),
            budget: Vec::new(),
            usage,
            check,
            task,
            worker,
            watch,
        };
        let plan = Self::new(args, file, variable)?;
        // A request doesn't wait for a scaler, unless the user asks for one.
        let scale = plan.sizing.scale.filter(|_| !plan.worker.is_unset());
        let sizing = Sizing { scale, ..plan.sizing };
        Ok(Self { service: Some(service), sizing, ..plan })
    }

    /// Returns whether the worker ends when the queue is empty.
    pub(crate) fn until_empty(&self) -> bool {
        self.worker.delivery.until_empty.unwrap_or(false)
    }

    /// Returns the names of the queues, or of the service, as one text for people.
    pub(crate) fn queue_names(&self) -> String {
        listed(&self.queues)
    }

    /// Returns the maximum number of bytes of messages that are held without a permit, and of what is known
    /// of their keys.
    pub(super) fn held_bytes(&self) -> usize {
        let of_keys = if self.keys.is_some() { MOST_HELD_BYTES } else { 0 };
        // Of several queues, one message each.
        let of_queues = if self.queues.len() > 1 { self.queues.len() * MAX_MESSAGE_BYTES } else { 0 };
        let of_budgets = if self.budgets.is_some() { MOST_ACCOUNTS_BYTES } else { 0 };
        of_keys + of_queues + of_budgets
    }

    /// Returns the maximum number of bytes of a body that is fetched from a store.
    pub(super) fn body_bytes(&self) -> usize {
        self.task.components().map(|(_, task)| task.limits.body_bytes).max().unwrap_or_default()
    }

    /// Returns the delays before a failed message is retried.
    pub(super) fn backoff(&self) -> Backoff {
        self.worker.delivery.backoff.unwrap_or(WorkerOptions::default().backoff)
    }

    /// Refuses outcomes that the user sends to a dead-letter queue if this queue has none.
    pub(super) fn check_dead_letters(&self, queue: &str) -> Result<(), Failure> {
        if self.worker.delivery.max_age.is_some() && self.outcomes.policy.expired == Action::DeadLetter {
            return Err(Failure::usage(format!(
                "--max-age needs a dead-letter queue, and the queue {queue} names none: add --dead-letter URL, or --on expired=drop"
            )));
        }
        match self.outcomes.dead_lettered.first() {
            Some(outcome) => Err(Failure::usage(format!(
                "--on {outcome}=dead-letter needs a dead-letter queue, and the queue {queue} names none: add --dead-letter URL"
            ))),
            None => Ok(()),
        }
    }

    /// Returns whether rejected messages stay in a queue that has no dead-letter queue, as they should go there.
    pub(super) fn keeps_rejected(&self) -> bool {
        self.service.is_none() && self.outcomes.policy.rejected == Action::DeadLetter
    }

    /// Returns whether anybody is told the depths of queues.
    fn watches_depth(&self) -> bool {
        self.watching.status.is_some() || self.otlp.metrics.is_some()
    }

    /// Returns the worker's options, without those that have to be opened: bodies, ledger, protection and observers.
    pub(super) fn options(&self, instances: NonZeroUsize) -> WorkerOptions {
        let (worker, defaults) = (&self.worker, WorkerOptions::default());
        if self.service.is_some() {
            return self.service_options(instances);
        }
        WorkerOptions {
            instances,
            scale: self.sizing.scale,
            policy: self.outcomes.policy,
            backoff: self.backoff(),
            until_empty: self.until_empty(),
            stop_timeout: worker.stop_timeout.unwrap_or(defaults.stop_timeout),
            max_visibility: worker.delivery.max_visibility.unwrap_or(defaults.max_visibility),
            on_lease_expired: worker.delivery.on_lease_expired.unwrap_or_default(),
            max_consecutive_failures: worker.delivery.max_consecutive_failures(),
            rate: worker.rate,
            keys: self.keys.clone(),
            max_age: worker.delivery.max_age.map(|Interval(age)| age),
            watch_depth: self.watches_depth(),
            ..defaults
        }
    }

    /// Returns the options of a service's worker. A request is answered once, whatever its outcome, and a failing backend
    /// is for the guest to handle: other requests may not need it.
    fn service_options(&self, instances: NonZeroUsize) -> WorkerOptions {
        let (worker, defaults) = (&self.worker, WorkerOptions::default());
        WorkerOptions {
            instances,
            scale: self.sizing.scale,
            policy: Policy::DROP,
            stop_timeout: worker.stop_timeout.unwrap_or(defaults.stop_timeout),
            max_consecutive_failures: None,
            waits_for_backends: false,
            rate: worker.rate,
            watch_depth: self.watches_depth(),
            ..defaults
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::flags::{Cli, Command};
    use clap::Parser;
    use std::time::Duration;

    fn plan(arguments: &str, file: &str) -> Result<RunPlan, String> {
        let words = ["wasmrun", "run"].into_iter().chain(arguments.split_whitespace());
        let Some(Command::Run(args)) = Cli::try_parse_from(words).expect("arguments").command else {
            panic!("another command")
        };
        let file = ConfigFile::parse(file, &"wasmrun.toml").map_err(|failure| failure.to_string())?;
        RunPlan::new(*args, file, |_| None).map_err(|failure| failure.to_string())
    }

    #[test]
    fn flags_win_over_the_file_and_nothing_is_opened() {
        let file = "component = 'no.wasm'\nqueue = 'sqlite:no/q.db'\nusage = 'old.jsonl'\nusage-size = '1MiB'\n[worker]\nuntil-empty = true";
        let from_file = plan("", file).expect("a plan");
        assert_eq!(from_file.queue_names(), "sqlite:no/q.db");
        assert!(from_file.until_empty() && !from_file.is_check);
        let typed = plan("x.wasm --queue uploads --until-empty=false --check --usage new.jsonl", file);
        let typed = typed.expect("a plan");
        assert_eq!(
            (typed.queue_names().as_str(), typed.task.component.name().as_str()),
            ("uploads", "x.wasm")
        );
        assert!(!typed.until_empty() && typed.is_check);
        assert_eq!(typed.usage, Some(("new.jsonl".into(), 1 << 20)));
    }

    #[test]
    fn of_several_wrong_settings_the_same_one_is_always_told_first() {
        let steps = [
            ("", "--queue uploads", "no queue"),
            ("--usage-size 1B", "--usage-size 1MiB --usage u.jsonl", "--usage-size 1 bytes is too small"),
            ("--instances 1000000", "--instances 0..4", "--instances 1000000 is too many"),
            ("--target-latency 0s", "--target-latency 1s", "--target-latency 0s cannot be met"),
            ("--on rejected=explode", "--on rejected=drop", "unknown action"),
            ("", "x.wasm", "no component"),
            ("--fuel 0", "--fuel 1", "--fuel 0 is too small"),
            ("--threads 100000", "--threads 1", "--threads 100000 is too many"),
            ("--compile-time 0s", "--compile-time 1s", "--compile-time 0s is too short"),
        ];
        let mended = |number: usize| -> String {
            let flags = steps.iter().enumerate();
            let flags = flags.map(|(at, (wrong, right, _))| if at < number { *right } else { *wrong });
            flags.collect::<Vec<_>>().join(" ")
        };
        for (number, (_, _, said)) in steps.iter().enumerate() {
            let error = plan(&mended(number), "").err().expect("refused");
            assert!(error.contains(said), "{error} for {}", mended(number));
        }
        assert!(plan(&mended(steps.len()), "").is_ok());
    }

    #[test]
    fn a_setting_without_the_one_that_it_belongs_to_is_refused() {
        for (flags, says) in [
            ("--usage-size 1MiB", "--usage-size has no effect without a usage file"),
            ("--rollout 10%", "--rollout has no effect without new versions"),
            (
                "--complete-group batch --group-store s3://b",
                "--complete-group has no effect without a recipient",
            ),
            ("--notify done --group-store s3://b", "--group-store has no effect without groups"),
            ("--notify done --complete-group batch", "--complete-group needs a place"),
            ("--once-window 1h", "--once-window has no effect without a ledger"),
        ] {
            let error = plan(&format!("x.wasm --queue q {flags}"), "").err().expect("refused");
            assert!(error.starts_with(says), "{error}");
        }
    }

    #[test]
    fn what_is_not_set_is_as_the_worker_has_it() {
        let instances = NonZeroUsize::MIN;
        let options = plan("x.wasm --queue q", "").expect("a plan").options(instances);
        let defaults = WorkerOptions::default();
        assert_eq!(options.stop_timeout, defaults.stop_timeout);
        assert_eq!(options.max_visibility, defaults.max_visibility);
        assert_eq!(options.max_consecutive_failures, defaults.max_consecutive_failures);
        assert!(!options.until_empty && !options.watch_depth && options.bodies.is_none());
        let set =
            "x.wasm --queue q --stop-timeout 1s --max-consecutive-failures off --status 0 --until-empty";
        let options = plan(set, "").expect("a plan").options(instances);
        assert_eq!((options.stop_timeout, options.max_consecutive_failures), (Duration::from_secs(1), None));
        assert!(options.until_empty && options.watch_depth);
    }

    #[test]
    fn a_dead_letter_queue_is_needed_where_an_outcome_goes_there_by_name() {
        let named = plan("x.wasm --queue q --on trapped=dead-letter", "").expect("a plan");
        let error = named.check_dead_letters("q").expect_err("refused").to_string();
        assert!(error.starts_with("--on trapped=dead-letter needs a dead-letter queue"), "{error}");
        // By default, rejected messages go to the dead-letter queue, and stay in the queue if there is none.
        let default = plan("x.wasm --queue q", "").expect("a plan");
        assert!(default.check_dead_letters("q").is_ok() && default.keeps_rejected());
        // A message that is too old would be received again and again.
        let aged = plan("x.wasm --queue q --max-age 1h", "").expect("a plan");
        assert!(aged.check_dead_letters("q").is_err());
        let dropped = plan("x.wasm --queue q --max-age 1h --on expired=drop", "").expect("a plan");
        assert!(dropped.check_dead_letters("q").is_ok());
        let dropped = plan("x.wasm --queue q --on rejected=drop", "").expect("a plan");
        assert!(!dropped.keeps_rejected());
    }
}
