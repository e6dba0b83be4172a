//! Opens the queues or the address of a service, the component and everything else that a worker needs.

use super::budgets::OpenBudgets;
use super::notify::Notified;
use super::plan::RunPlan;
use super::queues::{WorkQueue, create_planned, work_queues};
use super::service::Service;
use crate::output::failure::Failure;
use crate::settings::by_key::refuse_key;
use crate::settings::otlp::OtlpPlan;
use crate::wiring::backends::{Backends, OpenLedger};
use crate::wiring::compiler::open_cache;
use crate::wiring::component::{self, Placement};
use crate::wiring::control::{self, Control};
use crate::wiring::protected::FileUse::{Alone, Queue};
use crate::wiring::protected::Protected;
use crate::wiring::routes;
use crate::wiring::usage_log::{UsageLog, cannot_use};
use crate::wiring::watch::{self, Observers};
use std::path::PathBuf;
use std::sync::Arc;
use wasmrun_aws::ecs::{EcsTask, Protection};
use wasmrun_local::resolve;
use wasmrun_otlp::trigger::{self, Trigger};
use wasmrun_runtime::engine::capacity::BoundedBy;
use wasmrun_runtime::model::usage::TaskObserver;
use wasmrun_runtime::ports::requests::Requests;
use wasmrun_runtime::task::routes::Routes;
use wasmrun_runtime::worker::{BodyStore, OnceOptions, TasksStart, Worker, WorkerOptions};
use wasmrun_watch::server::Server;

/// A worker, and everything that is opened for it.
pub(crate) struct Opened {
    pub(super) routes: Routes,
    pub(crate) worker: Arc<Worker>,
    pub(super) usage: Option<Arc<UsageLog>>,
    pub(super) observers: Observers,
    /// Scale-in protection of this ECS task.
    pub(super) protection: Option<Protection>,
    pub(super) ecs: EcsTask,
    /// Answers HTTP requests for metrics, status and health, once this listens.
    pub(super) server: Option<Server>,
    /// Takes the requests of an operator, once this listens.
    pub(super) control: Option<Control>,
    paths: Paths,
    /// Where requests come from, if this is a service.
    pub(super) service: Option<Service>,
    /// The queues that don't exist yet.
    pub(super) planned: Option<Planned>,
    /// The queues in which rejected messages stay.
    pub(super) keep_rejected: Vec<String>,
}

/// Queues of which some don't exist yet, and what their worker is created with once they do.
pub(super) struct Planned {
    backends: Backends,
    work: Vec<WorkQueue>,
    options: WorkerOptions,
}

/// Paths with all links resolved, so that no link hides that a guest may write to a file.
struct Paths {
    /// The usage file, and the size in bytes at which it's rotated.
    usage: Option<(PathBuf, u64)>,
    /// The control socket.
    control: Option<PathBuf>,
}

/// Opens everything that another worker may use at the same time, and returns the first error. Reports the end of each
/// task to `shown`, too.
pub(crate) async fn open(plan: &RunPlan, shown: Option<Arc<dyn TaskObserver>>) -> Result<Opened, Failure> {
    let paths = Paths::resolve(plan)?;
    let backends = Backends::new(plan.task.aws.clone());
    let is_traced = plan.otlp.traces.is_some();
    let planned = |service| Service::new(service, &plan.task.limits, &plan.queue_names(), is_traced);
    let service = plan.service.as_ref().map(planned);
    let work = match &service {
        Some(service) => vec![service.work()],
        None => work_queues(&backends, &plan.queues, plan.worker.delivery.dead_letter.as_deref()).await?,
    };
    let ecs = EcsTask::find().await.unwrap_or_default();
    let requests = service.as_ref().map(|service| service.requests.clone());
    let answering = requests.clone().map(|requests| requests as Arc<dyn Requests>);
    let (routes, options) = load(plan, &paths, &backends, &work, ecs.memory_bytes, answering).await?;
    // Opened after the check that no guest may write to the file.
    let usage = match &paths.usage {
        // A check by root would leave a file that the worker's user can't open.
        Some((path, _)) if plan.is_check => UsageLog::check(path).map(|()| None)?,
        Some((path, most_bytes)) => Some(Arc::new(UsageLog::start(path, *most_bytes)?)),
        None => None,
    };
    let is_protected = plan.worker.scale_in_protection.unwrap_or(true);
    let protection = is_protected.then(Protection::from_environment).flatten();
    // A check runs no task.
    let otlp = if plan.is_check { &OtlpPlan::default() } else { &plan.otlp };
    let urls: Vec<&str> = work.iter().map(|work| work.queue.url()).collect();
    let of_queues = || Trigger::Queue(trigger::Queue::of(urls.first().copied().unwrap_or_default()));
    let trigger = if service.is_some() { Trigger::Requests } else { of_queues() };
    let observers = watch::observers(&plan.watching, otlp, &plan.task, &urls, trigger)?;
    // The requests learn how their tasks ended.
    let answered = requests.map(|requests| requests as Arc<dyn TaskObserver>);
    let options = WorkerOptions {
        starting: protection.clone().map(|protection| Arc::new(protection) as Arc<dyn TasksStart>),
        observers: all_observers(usage.as_ref(), &observers, [shown, answered]),
        ..options
    };
    if let Some(path) = paths.control.as_ref().filter(|_| plan.is_check) {
        control::check(path)?;
    }
    let keep_rejected = without_dead_letters(&work).filter(|_| plan.keeps_rejected());
    let keep_rejected = keep_rejected.map(|work| work.queue.url().to_owned()).collect();
    let worker = worker(&work, &routes, options.clone()).await?;
    let is_planned = work.iter().any(|work| work.is_planned);
    let planned = is_planned.then(|| Planned { backends, work, options });
    Ok(Opened {
        routes,
        worker: Arc::new(worker),
        usage,
        observers,
        protection,
        ecs,
        server: None,
        control: None,
        paths,
        service,
        planned,
        keep_rejected,
    })
}

/// Opens what tasks use, and loads their components. Returns the options of their worker, without observers and
/// protection.
async fn load(
    plan: &RunPlan,
    paths: &Paths,
    backends: &Backends,
    work: &[WorkQueue],
    memory_bytes: Option<u64>,
    requests: Option<Arc<dyn Requests>>,
) -> Result<(Routes, WorkerOptions), Failure> {
    let cache = open_cache(&plan.task.engine.compile)?;
    let read = routes::read(&plan.task, cache.as_ref(), backends).await?;
    without_dead_letters(work).try_for_each(|work| plan.check_dead_letters(&work.setting.url))?;
    let bodies = match &plan.worker.delivery.body_store {
        Some(url) => Some(body_store(backends, url, plan.body_bytes()).await?),
        None => None,
    };
    let notified = Notified::open(backends, &plan.worker).await?;
    let budgets = OpenBudgets::open(backends, plan.budgets.as_ref()).await?;
    let ledger = open_ledger(plan, backends).await?;
    let placement = Placement {
        instances: plan.sizing.most,
        host: component::host(memory_bytes).without(plan.held_bytes()),
        protected: protected(plan, paths, work, &notified, budgets.as_ref(), ledger.as_ref()),
        requests,
    };
    let (notify, groups) = notified.options(routes::digests(&plan.task, &read));
    let routes = routes::load(&plan.task, backends, read, cache, placement).await?;
    if let Some(bodies) = &bodies {
        refuse_overlap(bodies, &routes)?;
    }
    let once = ledger.map(|ledger| once(plan, ledger));
    let budgets = budgets.map(|open| open.options);
    let options = plan.options(routes.capacity().instances);
    Ok((routes, WorkerOptions { bodies, notify, groups, budgets, once, ..options }))
}

async fn open_ledger(plan: &RunPlan, backends: &Backends) -> Result<Option<OpenLedger>, Failure> {
    let Some(url) = &plan.worker.once.once else { return Ok(None) };
    refuse_key("the ledger of --once", url)?;
    backends.open_ledger(url, plan.worker.once.once_window()).await.map(Some)
}

/// Returns the queues without a dead-letter queue.
fn without_dead_letters(work: &[WorkQueue]) -> impl Iterator<Item = &WorkQueue> {
    work.iter().filter(|work| work.dead_letter.is_none())
}

/// Returns what the worker needs of `--once`.
fn once(plan: &RunPlan, open: OpenLedger) -> OnceOptions {
    OnceOptions {
        ledger: open.backend,
        key: plan.worker.once.once_by.clone().unwrap_or_default(),
        window: plan.worker.once.once_window(),
    }
}

/// Files that no guest may write to.
fn protected(
    plan: &RunPlan,
    paths: &Paths,
    work: &[WorkQueue],
    notified: &Notified,
    budgets: Option<&OpenBudgets>,
    ledger: Option<&OpenLedger>,
) -> Vec<Protected> {
    let ledger = ledger.and_then(|ledger| ledger.file.as_ref());
    let dead_letters = work.iter().filter_map(|work| work.dead_letter.as_ref());
    [
        (Alone("the ledger of --once"), ledger),
        (Alone("the budget store"), budgets.and_then(|open| open.file.as_ref())),
        (Alone("the price table"), plan.budgets.as_ref().and_then(|budgets| budgets.prices.as_ref())),
        (Alone("the usage file"), paths.usage.as_ref().map(|(path, _)| path)),
        (Alone("the control socket"), paths.control.as_ref()),
    ]
    .into_iter()
    .chain(work.iter().map(|work| (Queue("the queue"), work.file.as_ref())))
    .chain(dead_letters.map(|open| (Queue("the dead-letter queue"), open.file.as_ref())))
    .chain(notified.files())
    .filter_map(|(used_for, path)| Some(Protected { used_for, path: path?.clone() }))
    .collect()
}

/// Opens the store of message bodies, and checks that it can be read.
async fn body_store(backends: &Backends, url: &str, most_bytes: usize) -> Result<BodyStore, Failure> {
    if !url.starts_with("s3://") {
        return Err(Failure::usage(format!(
            "the body store {url:?} is not in S3, where SQS's extended client library puts bodies: write s3://BUCKET or s3://BUCKET/PREFIX"
        )));
    }
    refuse_key("the body store", url)?;
    let store = backends.open_store(url).await?.backend;
    store.probe(false).await.map_err(|error| Failure::store(url, &error))?;
    Ok(BodyStore { store, most_bytes })
}

/// Refuses a body store in which a message could name another key's object as its body.
fn refuse_overlap(bodies: &BodyStore, routes: &Routes) -> Result<(), Failure> {
    let url = bodies.store.url();
    match routes.components().find_map(|component| component.grants().parts_overlap(url)) {
        None => Ok(()),
        Some(alias) => Err(Failure::usage(format!(
            "the body store {url} overlaps with the store {alias}, and a message could name another key's object as its body: give them separate prefixes"
        ))),
    }
}

fn all_observers(
    usage: Option<&Arc<UsageLog>>,
    observers: &Observers,
    others: [Option<Arc<dyn TaskObserver>>; 2],
) -> Vec<Arc<dyn TaskObserver>> {
    let Observers { traces, metrics, emf, .. } = observers;
    [
        usage.cloned().map(|usage| usage as Arc<dyn TaskObserver>),
        traces.clone().map(|traces| traces as Arc<dyn TaskObserver>),
        metrics.clone().map(|metrics| metrics as Arc<dyn TaskObserver>),
        emf.clone().map(|emf| emf as Arc<dyn TaskObserver>),
    ]
    .into_iter()
    .chain(others)
    .flatten()
    .collect()
}

/// Creates the worker, which checks that its settings fit the queues.
async fn worker(work: &[WorkQueue], routes: &Routes, options: WorkerOptions) -> Result<Worker, Failure> {
    let queues = work.iter().map(WorkQueue::of_worker).collect();
    Ok(Worker::of_queues(queues, routes.clone(), options).await?)
}

impl Paths {
    fn resolve(plan: &RunPlan) -> Result<Self, Failure> {
        let usage = plan.usage.as_ref().map(|(path, most_bytes)| {
            let resolved = resolve(path).map_err(|error| cannot_use(path, &error));
            resolved.map(|path| (path, *most_bytes))
        });
        let control = plan.worker.control.as_ref();
        let control = control.map(|path| resolve(path).map_err(|error| control::cannot_create(path, &error)));
        Ok(Self { usage: usage.transpose()?, control: control.transpose()? })
    }
}

impl Planned {
    /// Returns the queues that don't exist yet, as the user named them.
    pub(super) fn urls(&self) -> impl Iterator<Item = &str> {
        self.work.iter().filter(|work| work.is_planned).map(|work| work.setting.url.as_str())
    }

    /// Creates the queues, and returns their worker.
    async fn create(self, plan: &RunPlan, routes: &Routes) -> Result<Worker, Failure> {
        let Self { backends, mut work, options } = self;
        for work in work.iter_mut().filter(|work| work.is_planned) {
            *work =
                create_planned(&backends, &work.setting, plan.worker.delivery.dead_letter.as_deref()).await?;
        }
        worker(&work, routes, options).await
    }
}

impl Opened {
    /// Listens where the settings say, which only one worker can. Then creates the queues that don't exist yet: last, so
    /// that a failed start leaves no queue behind.
    pub(crate) async fn listen(&mut self, plan: &RunPlan) -> Result<(), Failure> {
        self.server = watch::bind(plan.watching.status).await?;
        self.control = self.paths.control.as_deref().map(Control::bind).transpose()?;
        if let Some(service) = &mut self.service {
            service.listen()?;
        }
        if let Some(planned) = self.planned.take() {
            self.worker = Arc::new(planned.create(plan, &self.routes).await?);
        }
        Ok(())
    }

    /// Names the bound that determines the concurrency limit.
    pub(super) fn bounded_by(&self, plan: &RunPlan) -> String {
        match self.routes.capacity().bounded_by {
            BoundedBy::User if plan.worker.is_auto() => "auto".to_owned(),
            bounded_by => bounded_by.to_string(),
        }
    }
}
