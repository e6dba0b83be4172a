//! `wasmrun run`: the worker.

use crate::output::failure::{EXIT_INTERRUPTED, Failure};
use crate::output::progress::progress;
use crate::settings::file::File;
use crate::settings::flags::RunArgs;
use crate::settings::policy::{PolicySetting, policy};
use crate::settings::task::TaskPlan;
use crate::settings::usage_size::usage_bytes;
use crate::wiring::backends::{Backends, OpenQueue};
use crate::wiring::component::{self, Protected};
use crate::wiring::logging;
use crate::wiring::reload::Reload;
use crate::wiring::signals;
use crate::wiring::usage::{self, UsageLog};
use crate::wiring::watch::{self, Observers};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;
use wasmrun_aws::ecs::{EcsTask, Protection};
use wasmrun_runtime::engine::capacity::{BoundedBy, Capacity};
use wasmrun_runtime::model::outcome::Action;
use wasmrun_runtime::model::usage::TaskObserver;
use wasmrun_runtime::ports::memory::MemoryQueue;
use wasmrun_runtime::ports::queue::Queue;
use wasmrun_runtime::worker::{BodyStore, TasksStart, Worker, WorkerOptions};
use wasmrun_watch::{About, Watch};

pub(crate) async fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    // From the first moment on: the first process of a container doesn't hear what it doesn't listen for, and compiling or a
    // service that doesn't answer may take a while.
    let signals = Signals { stop: CancellationToken::new(), abandon: CancellationToken::new() };
    signals::stop_on_signals(signals.stop.clone(), signals.abandon.clone())?;
    // Who waits for an answer or for the queue to be empty hasn't got it.
    let is_awaited = args.check || args.worker.until_empty == Some(true);
    let ready = CancellationToken::new();
    let stopped = async {
        signals.stop.cancelled().await;
        if ready.is_cancelled() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = stopped => {
            tracing::info!("stopped before the worker was ready");
            Ok(if is_awaited { ExitCode::from(EXIT_INTERRUPTED) } else { ExitCode::SUCCESS })
        }
        ended = work(args, signals.clone(), ready.clone()) => ended,
    }
}

/// What signals ask for: to drain, and to end at once.
#[derive(Clone)]
struct Signals {
    stop: CancellationToken,
    abandon: CancellationToken,
}

/// From the settings to the summary. `ready` is cancelled once it heeds the signals itself.
async fn work(args: RunArgs, signals: Signals, ready: CancellationToken) -> Result<ExitCode, Failure> {
    let started_at = SystemTime::now();
    let (typed, is_configured) = (args.clone(), args.task.config.is_some());
    let (mut file, text) = File::read_aside(args.task.config.clone()).await?;
    let log = args.task.log.clone().or(std::mem::take(&mut file.log));
    let queue_url = args
        .queue
        .or_else(|| file.queue.take())
        .ok_or_else(|| Failure::usage("no queue: add --queue URL, or set `queue` in the configuration"))?;
    let usage_file =
        args.usage.or_else(|| file.usage.take()).map(|path| usage::resolve(&path)).transpose()?;
    let usage_bytes = usage_bytes(args.usage_size.or(file.usage_size))?;
    let worker = args.worker.over(std::mem::take(&mut file.worker));
    let watching = args.watch.or(file.watch());
    let PolicySetting { policy, dead_lettered } = policy(&args.on, std::mem::take(&mut file.on))?;
    let backends = Backends::new(args.task.aws.clone().or(std::mem::take(&mut file.aws)));
    let plan = TaskPlan::new(args.component, args.task, &mut file, worker.body_store.is_some())?;
    let output = logging::start(&log)?;

    let WorkQueue { queue, file: queue_file, dead_letter, is_planned } =
        work_queue(&backends, &queue_url, worker.dead_letter.as_deref()).await?;
    let mut protected: Vec<_> =
        queue_file.into_iter().map(|path| Protected { what: "the queue", path }).collect();
    let ecs = EcsTask::find().await.unwrap_or_default();
    let bytes = component::read(&plan, &backends).await?;
    let (wanted, host) = (worker.instances()?, component::host(ecs.memory_bytes));
    let component_name = plan.component_name();
    protected.extend(dead_letter.file.map(|path| Protected { what: "the dead-letter queue", path }));
    protected.extend(usage_file.iter().map(|path| Protected { what: "the usage file", path: path.clone() }));
    let (dead_letter, dead_letter_url) = (dead_letter.queue, worker.dead_letter.clone());
    if let (None, Some(outcome)) = (&dead_letter, dead_lettered.first()) {
        return Err(Failure::usage(format!(
            "--on {outcome}=dead-letter needs a dead-letter queue, and the queue {queue_url} names none: add --dead-letter URL"
        )));
    }
    let keeps_rejected = dead_letter.is_none() && policy.rejected == Action::DeadLetter;
    let bodies = match &worker.body_store {
        Some(url) => Some(body_store(&backends, url, plan.limits.body_bytes).await?),
        None => None,
    };
    let component = Arc::new(component::load(plan, &backends, bytes, wanted, host, protected).await?);
    let Capacity { instances, bounded_by, .. } = component.capacity();
    let bounded_by = match bounded_by {
        BoundedBy::User if worker.is_auto() => "auto".to_owned(),
        bounded_by => bounded_by.to_string(),
    };
    // After it's known that no guest may write there.
    let usage = usage_file.map(|path| UsageLog::start(&path, usage_bytes)).transpose()?.map(Arc::new);

    let is_protected = worker.scale_in_protection.unwrap_or(true);
    let protection = is_protected.then(Protection::from_environment).flatten();
    let Observers { metrics, emf } = watch::observers(&watching, &component_name, queue.url());
    let about = About {
        version: env!("CARGO_PKG_VERSION"),
        component: component_name.clone(),
        queue: queue.url().to_owned(),
        started_at,
    };
    let defaults = WorkerOptions::default();
    let backoff = worker.backoff.unwrap_or(defaults.backoff);
    let options = WorkerOptions {
        component_name,
        instances,
        scale: worker.scale()?,
        policy,
        backoff,
        until_empty: worker.until_empty.unwrap_or(false),
        stop_timeout: worker.stop_timeout.unwrap_or(defaults.stop_timeout),
        max_visibility: worker.max_visibility.unwrap_or(defaults.max_visibility),
        on_lease_expired: worker.on_lease_expired(),
        bodies,
        max_consecutive_failures: worker.max_consecutive_failures(),
        rate: worker.rate,
        starting: protection.clone().map(|protection| Arc::new(protection) as Arc<dyn TasksStart>),
        watch_depth: metrics.is_some(),
        observers: [
            usage.clone().map(|usage| usage as Arc<dyn TaskObserver>),
            metrics.clone().map(|metrics| metrics as Arc<dyn TaskObserver>),
            emf.clone().map(|emf| emf as Arc<dyn TaskObserver>),
        ]
        .into_iter()
        .flatten()
        .collect(),
    };
    let until_empty = options.until_empty;
    // Not while another worker may listen there, which a check leaves alone.
    let server = if args.check { None } else { watch::bind(watching.listen).await? };
    let mut worker = Worker::new(queue.clone(), dead_letter, component.clone(), options.clone()).await?;
    let mut queue = queue;
    if is_planned && !args.check {
        // Nothing else can refuse: a start that is refused leaves no queue behind.
        let created = create_planned(&backends, &queue_url, dead_letter_url.as_deref()).await?;
        queue = created.queue;
        worker = Worker::new(queue.clone(), created.dead_letter.queue, component.clone(), options).await?;
    }
    let worker = Arc::new(worker);
    if keeps_rejected && until_empty {
        tracing::warn!(
            queue = queue.url(),
            "no dead-letter queue: --until-empty does not end while a rejected message is left"
        );
    }
    if keeps_rejected {
        tracing::warn!(
            queue = queue.url(),
            longest_backoff = %humantime::format_duration(backoff.longest),
            "no dead-letter queue: rejected messages are tried again until the queue's retention ends; name a dead-letter queue with --dead-letter URL, or set --on rejected=drop"
        );
    }
    if args.check {
        output.line(format_args!("ok: {queue_url} and the component are ready"));
        if is_planned {
            output.line(format_args!("the queue {queue_url} doesn't exist yet: `wasmrun run` creates it"));
        }
        if keeps_rejected {
            output.line(format_args!(
                "there is no dead-letter queue: rejected messages are tried again until the queue's retention ends"
            ));
        }
        return Ok(ExitCode::SUCCESS);
    }

    let reload =
        is_configured.then(|| Reload { args: typed, output: output.clone(), worker: worker.clone(), text });
    let stores: Vec<String> = component
        .grants()
        .stores
        .iter()
        .map(|(alias, grant)| format!("{alias}={}:{}", grant.store.url(), grant.mode))
        .collect();
    let stores = stores.join(" ");
    let Signals { stop, abandon } = signals;
    let told_to_stop = stop.clone();
    // Before it says that it's ready: who reads that may send one.
    signals::reload_on_hangup(reload, stop.clone())?;
    signals::log_status_on_usr1(worker.clone())?;
    ready.cancel();
    tracing::info!(
        queue = queue.url(),
        instances,
        bounded_by,
        task_bytes = component.limits().task_bytes(),
        allocator = ?component.allocator(),
        stores,
        ecs_task = (!ecs.arn.is_empty()).then_some(ecs.arn),
        ecs_definition = (!ecs.definition.is_empty()).then_some(ecs.definition),
        "ready"
    );
    let progress = if until_empty {
        let total = queue.depth().await.map_err(|error| Failure::queue(&queue_url, &error))?.total();
        Some(tokio::spawn(progress(output.clone(), worker.tally(), total)))
    } else {
        None
    };
    let serving = server.zip(metrics).map(|(server, metrics)| {
        let watch = Watch { about, metrics, worker: worker.clone(), component: component.clone() };
        watch::serve(server, Arc::new(watch))
    });
    let reporting = emf.clone().map(|emf| watch::report(emf, worker.clone(), output.clone()));
    let keep_protected = async {
        match &protection {
            Some(protection) => protection.keep(|| worker.is_busy()).await,
            None => std::future::pending().await,
        }
    };
    let summary = tokio::select! {
        summary = worker.clone().run(stop, abandon) => summary,
        () = keep_protected => unreachable!("it goes on until it's dropped"),
    };
    drop((serving, reporting));
    if let Some(protection) = &protection {
        protection.end().await;
    }
    if let Some(emf) = emf {
        output.print(&emf.line(&worker.status(), SystemTime::now(), true));
    }
    if let Some(progress) = progress {
        progress.abort();
    }
    if let Some(usage) = usage {
        usage.close();
    }
    output.summary(&summary);
    match &summary.stalled {
        Some(why) if until_empty && !told_to_stop.is_cancelled() => Err(Failure::Stalled(format!(
            "{why}; unsettled messages stay in the queue: fix the cause and run again"
        ))),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Where bodies lie, if it can be read.
async fn body_store(backends: &Backends, url: &str, most_bytes: usize) -> Result<BodyStore, Failure> {
    if !url.starts_with("s3://") {
        return Err(Failure::usage(format!(
            "the body store {url:?} isn't in S3, where SQS's extended client library puts bodies: write s3://BUCKET or s3://BUCKET/PREFIX"
        )));
    }
    let store = backends.open_store(url).await?.store;
    store.probe(false).await.map_err(|error| Failure::store(url, &error))?;
    Ok(BodyStore { store, most_bytes })
}

/// The queue that is worked on, and where its rejected messages go.
struct WorkQueue {
    queue: Arc<dyn Queue>,
    file: Option<PathBuf>,
    dead_letter: DeadLetters,
    /// It doesn't exist, and an empty one in memory stands in for it.
    is_planned: bool,
}

/// Where rejected messages go, if anywhere.
#[derive(Default)]
struct DeadLetters {
    queue: Option<Arc<dyn Queue>>,
    file: Option<PathBuf>,
}

impl From<OpenQueue> for DeadLetters {
    fn from(opened: OpenQueue) -> Self {
        Self { file: opened.file.clone(), queue: Some(opened.into_queue()) }
    }
}

/// Opens the queue and its dead-letter queue. For a queue in a file that doesn't exist, what stands in for it: it's created
/// when nothing can refuse any more.
async fn work_queue(backends: &Backends, url: &str, dead_letter: Option<&str>) -> Result<WorkQueue, Failure> {
    let Some(plan) = backends.planned_queue(url)? else {
        let opened = backends.open_queue(url).await?;
        return with_dead_letters(backends, opened, dead_letter).await;
    };
    let stand_in = |name: &str| Arc::new(MemoryQueue::new(name, plan.visibility_timeout)) as Arc<dyn Queue>;
    let dead_letter = match dead_letter {
        Some(url) => backends.open_queue(url).await?.into(),
        None => DeadLetters { queue: plan.dead_letter.as_deref().map(stand_in), file: None },
    };
    Ok(WorkQueue { queue: stand_in(&plan.url), file: Some(plan.path), dead_letter, is_planned: true })
}

/// Creates a queue that was planned, unless somebody else did meanwhile.
async fn create_planned(
    backends: &Backends,
    url: &str,
    dead_letter: Option<&str>,
) -> Result<WorkQueue, Failure> {
    let (opened, created) = backends.open_or_create_queue(url).await?;
    let work = with_dead_letters(backends, opened, dead_letter).await?;
    if created {
        tracing::info!(queue = work.queue.url(), "created the queue");
    }
    Ok(work)
}

async fn with_dead_letters(
    backends: &Backends,
    opened: OpenQueue,
    dead_letter: Option<&str>,
) -> Result<WorkQueue, Failure> {
    let (file, queue) = (opened.file.clone(), opened.into_queue());
    let dead_letter = dead_letter_queue(backends, &*queue, dead_letter).await?;
    let dead_letter = dead_letter.map(DeadLetters::from).unwrap_or_default();
    Ok(WorkQueue { queue, file, dead_letter, is_planned: false })
}

/// The queue that the user names, or the one that the queue's redrive policy names.
async fn dead_letter_queue(
    backends: &Backends,
    queue: &dyn Queue,
    url: Option<&str>,
) -> Result<Option<OpenQueue>, Failure> {
    let named = match url {
        Some(url) => Some(url.to_owned()),
        None => {
            let attributes = queue.attributes().await.map_err(|error| Failure::queue(queue.url(), &error))?;
            attributes.redrive.map(|redrive| redrive.dead_letter)
        }
    };
    match named {
        Some(url) => backends.open_queue(&url).await.map(Some),
        None => Ok(None),
    }
}
