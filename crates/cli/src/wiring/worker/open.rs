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
use crate::wiring::usage_log::UsageLog;
use crate::wiring::watch::{self, Observers};
use std::sync::Arc;
use wasmrun_aws::ecs::{EcsTask, Protection};
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
    /// Answers HTTP requests for metrics, status and health.
    pub(super) server: Option<Server>,
    /// Takes the requests of an operator.
    pub(super) control: Option<Control>,
    /// Where requests come from, if this is a service.
    pub(super) service: Option<Service>,
    /// The queues that didn't exist at the start, as the user named them.
    pub(super) planned: Vec<String>,
    /// The queues in which rejected messages stay.
    pub(super) keep_rejected: Vec<String>,
}

/// Opens everything, and returns the first error. A planned queue is created last, so that a failed start leaves no
/// queue behind. Reports the end of each task to `shown`, too.
pub(crate) async fn open(plan: &RunPlan, shown: Option<Arc<dyn TaskObserver>>) -> Result<Opened, Failure> {
    let backends = Backends::new(plan.task.aws.clone());
    let is_traced = plan.otlp.traces.is_some();
    let planned = |service| Service::new(service, &plan.task.limits, &plan.queue_names(), is_traced);
    let mut service = plan.service.as_ref().map(planned);
    let work = match &service {
        Some(service) => vec![service.work()],
        None => work_queues(&backends, &plan.queues, plan.worker.delivery.dead_letter.as_deref()).await?,
    };
    let ecs = EcsTask::find().await.unwrap_or_default();
    let requests = service.as_ref().map(|service| service.requests.clone());
    let answering = requests.clone().map(|requests| requests as Arc<dyn Requests>);
    let (routes, options) = load(plan, &backends, &work, ecs.memory_bytes, answering).await?;
    // Opened after the check that no guest may write to the file.
    let usage = match &plan.usage {
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
    // A check doesn't listen, as another worker may use the address.
    let server = if plan.is_check { None } else { watch::bind(plan.watching.listen).await? };
    let control = open_control(plan)?;
    let planned = work.iter().filter(|work| work.is_planned).map(|work| work.setting.url.clone()).collect();
    let keep_rejected = without_dead_letters(&work).filter(|_| plan.keeps_rejected());
    let keep_rejected = keep_rejected.map(|work| work.queue.url().to_owned()).collect();
    let worker = start(plan, &backends, work, &routes, options).await?;
    // Nor does a check listen here.
    if let Some(service) = service.as_mut().filter(|_| !plan.is_check) {
        service.listen()?;
    }
    Ok(Opened {
        routes,
        worker: Arc::new(worker),
        usage,
        observers,
        protection,
        ecs,
        server,
        control,
        service,
        planned,
        keep_rejected,
    })
}

/// Opens what tasks use, and loads their components. Returns the options of their worker, without observers and
/// protection.
async fn load(
    plan: &RunPlan,
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
        instances: plan.worker.instances()?,
        host: component::host(memory_bytes).without(plan.held_bytes()),
        protected: protected(plan, work, &notified, budgets.as_ref(), ledger.as_ref()),
        requests,
    };
    let (notify, groups) = notified.options(routes::digests(&plan.task, &read));
    let routes = routes::load(&plan.task, backends, read, cache, placement).await?;
    if let Some(bodies) = &bodies {
        refuse_overlap(bodies, &routes)?;
    }
    let once = ledger.map(|ledger| once(plan, ledger));
    let budgets = budgets.map(|open| open.options);
    let options = plan.options(routes.capacity().instances)?;
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
        ledger: open.it,
        key: plan.worker.once.once_by.clone().unwrap_or_default(),
        window: plan.worker.once.once_window(),
    }
}

/// Creates the control socket, or checks that it can be created.
fn open_control(plan: &RunPlan) -> Result<Option<Control>, Failure> {
    match &plan.control {
        Some(path) if plan.is_check => control::check(path).map(|_| None),
        Some(path) => Control::bind(path).map(Some),
        None => Ok(None),
    }
}

/// Files that no guest may write to.
fn protected(
    plan: &RunPlan,
    work: &[WorkQueue],
    notified: &Notified,
    budgets: Option<&OpenBudgets>,
    ledger: Option<&OpenLedger>,
) -> Vec<Protected> {
    let usage = plan.usage.as_ref().map(|(path, _)| path);
    let ledger = ledger.and_then(|ledger| ledger.file.as_ref());
    let dead_letters = work.iter().filter_map(|work| work.dead_letter.as_ref());
    [
        (Alone("the ledger of --once"), ledger),
        (Alone("the budget store"), budgets.and_then(|open| open.file.as_ref())),
        (Alone("the price table"), plan.budgets.as_ref().and_then(|budgets| budgets.prices.as_ref())),
        (Alone("the usage file"), usage),
        (Alone("the control socket"), plan.control.as_ref()),
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
    let store = backends.open_store(url).await?.it;
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

/// Creates the worker, which checks that its settings fit the queues. Then creates the planned queues, unless this is
/// only a check.
async fn start(
    plan: &RunPlan,
    backends: &Backends,
    mut work: Vec<WorkQueue>,
    routes: &Routes,
    options: WorkerOptions,
) -> Result<Worker, Failure> {
    let of_worker = |work: &[WorkQueue]| work.iter().map(WorkQueue::of_worker).collect();
    let worker = Worker::of_queues(of_worker(&work), routes.clone(), options.clone()).await?;
    if plan.is_check || work.iter().all(|work| !work.is_planned) {
        return Ok(worker);
    }
    for work in work.iter_mut().filter(|work| work.is_planned) {
        *work = create_planned(backends, &work.setting, plan.worker.delivery.dead_letter.as_deref()).await?;
    }
    Ok(Worker::of_queues(of_worker(&work), routes.clone(), options).await?)
}

impl Opened {
    /// Names the bound that determines the concurrency limit.
    pub(super) fn bounded_by(&self, plan: &RunPlan) -> String {
        match self.routes.capacity().bounded_by {
            BoundedBy::User if plan.worker.is_auto() => "auto".to_owned(),
            bounded_by => bounded_by.to_string(),
        }
    }
}
