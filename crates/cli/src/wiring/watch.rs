//! Serves and exports metrics, status, health and traces of a worker, and finds a worker by its address.

use crate::output::Output;
use crate::output::failure::Failure;
use crate::settings::otlp::{MetricsPlan, OtlpPlan, TracesPlan};
use crate::settings::task::TaskPlan;
use crate::settings::watch::{EmfNamespace, Listen, WatchSettings, WorkerAddress};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;
use wasmrun_http::Client;
use wasmrun_otlp::{Service, Traces, Trigger};
use wasmrun_runtime::worker::Worker;
use wasmrun_watch::emf::{self, Emf};
use wasmrun_watch::metrics::Metrics;
use wasmrun_watch::server::Server;
use wasmrun_watch::{Watch, probe};

/// Observers that record the end of each task, for metrics, status and traces.
pub(crate) struct Observers {
    pub(crate) traces: Option<Arc<Traces>>,
    pub(crate) metrics: Option<Arc<Metrics>>,
    pub(crate) emf: Option<Arc<Emf>>,
    /// Sends the metrics to a collector.
    pub(crate) exporter: Option<MetricsExporter>,
}

/// Sends a worker's metrics to a collector at intervals.
#[derive(Clone)]
pub(crate) struct MetricsExporter {
    metrics: Arc<wasmrun_otlp::Metrics>,
    every: Duration,
}

/// Creates the observers that the settings ask for.
///
/// # Errors
///
/// Says why traces or metrics can't be exported.
pub(crate) fn observers(
    settings: &WatchSettings,
    otlp: &OtlpPlan,
    task: &TaskPlan,
    queues: &[&str],
    trigger: Trigger,
) -> Result<Observers, Failure> {
    let component = task.name().map_or_else(|| "wasmrun".to_owned(), |name| service_name(&name));
    let routes: Vec<&str> = task.components().filter_map(|(route, _)| route).collect();
    let service = Service::new(settings.service.clone(), component.clone());
    let traces = otlp.traces.as_ref().map(|plan| start_traces(plan, &service, trigger)).transpose()?;
    let exporter = otlp.metrics.as_ref().map(|plan| MetricsExporter::new(plan, &service)).transpose()?;
    let is_watched = settings.status.is_some() || exporter.is_some();
    let name = settings.service.clone().unwrap_or(component);
    Ok(Observers {
        traces,
        metrics: is_watched.then(|| Arc::new(Metrics::default().with_routes(&routes))),
        emf: settings.emf.clone().map(|EmfNamespace(namespace)| Arc::new(Emf::new(namespace, &name, queues))),
        exporter,
    })
}

/// Returns the name of the service of a component, if nobody names it.
pub(crate) fn service_name(component: &str) -> String {
    Path::new(component).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Starts to send the traces of tasks.
///
/// # Errors
///
/// Says why they can't be exported.
pub(crate) fn start_traces(
    plan: &TracesPlan,
    service: &Service,
    trigger: Trigger,
) -> Result<Arc<Traces>, Failure> {
    let collector = plan.collector.clone();
    let endpoint = collector.endpoint.clone();
    let started =
        Client::from_environment().and_then(|client| Traces::start(collector, service, trigger, client));
    started
        .map(Arc::new)
        .map_err(|error| Failure::usage(format!("cannot export traces to {endpoint}: {error}")))
}

impl MetricsExporter {
    fn new(plan: &MetricsPlan, service: &Service) -> Result<Self, Failure> {
        let MetricsPlan { collector, every } = plan.clone();
        let endpoint = collector.endpoint.clone();
        let metrics = Client::from_environment()
            .and_then(|client| wasmrun_otlp::Metrics::new(collector, service, SystemTime::now(), client));
        match metrics {
            Ok(metrics) => Ok(Self { metrics: Arc::new(metrics), every }),
            Err(error) => Err(Failure::usage(format!("cannot export metrics to {endpoint}: {error}"))),
        }
    }

    /// Sends the metrics at each interval until the returned handle is dropped.
    pub(crate) fn start(&self, watch: Arc<Watch>) -> AbortOnDropHandle<()> {
        let Self { metrics, every } = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move { metrics.report(every, || watch.gather()).await }))
    }

    /// Sends the last metrics, but not longer than `most`.
    pub(crate) async fn close(self, watch: &Watch, most: Duration) {
        self.metrics.close(&watch.gather(), most).await;
    }
}

/// Binds the address on which status is served, if the settings name one.
pub(crate) async fn bind(status: Option<Listen>) -> Result<Option<Server>, Failure> {
    let Some(Listen(address)) = status else { return Ok(None) };
    let server = Server::bind(address)
        .await
        .map_err(|error| Failure::backend(format!("cannot listen on {address}: {error}")))?;
    let address = server.address();
    tracing::info!(%address, "serving status");
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "serving status and metrics without authentication to anyone who can reach this address"
        );
    }
    Ok(Some(server))
}

/// Answers HTTP requests until the returned handle is dropped.
pub(crate) fn serve(server: Server, watch: Arc<Watch>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(server.serve(watch)))
}

/// Prints a line of metrics each minute until the returned handle is dropped.
pub(crate) fn print_metrics(emf: Arc<Emf>, worker: Arc<Worker>, output: Output) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        emf.report(emf::EVERY, || worker.status(), |line| output.print(line)).await;
    }))
}

/// Looks up the host name of a worker. Of several addresses, returns the first that accepts a connection, or the first
/// of all if none does.
///
/// # Errors
///
/// Returns one line that says why the host has no address.
pub(crate) async fn resolve(address: WorkerAddress) -> Result<SocketAddr, String> {
    let (host, port) = match address {
        WorkerAddress::Address(address) => return Ok(address),
        WorkerAddress::Named { host, port } => (host, port),
    };
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), port))
        .await
        .map_err(|error| format!("the host {host} is not found: {error}"))?
        .collect();
    for address in &found {
        if let Ok(Ok(_)) = tokio::time::timeout(probe::PATIENCE, TcpStream::connect(address)).await {
            return Ok(*address);
        }
    }
    found.first().copied().ok_or_else(|| format!("the host {host} has no address"))
}
