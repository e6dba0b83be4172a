//! Serves metrics, status and health of a worker, and finds a worker by its address.

use crate::output::Output;
use crate::output::failure::Failure;
use crate::settings::traces::TracesPlan;
use crate::settings::watch::{Listen, Namespace, WatchSettings, WorkerAddress};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;
use wasmrun_http::Client;
use wasmrun_otlp::{Options, Traces};
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
}

/// Creates the observers that the settings ask for.
///
/// # Errors
///
/// Says why traces can't be exported.
pub(crate) fn observers(
    settings: &WatchSettings,
    traces: Option<&TracesPlan>,
    component: &str,
    queue: &str,
) -> Result<Observers, Failure> {
    let default_service = Path::new(component).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let service = settings.service.clone().unwrap_or_else(|| default_service.clone());
    let traces = match traces {
        None => None,
        Some(TracesPlan { endpoint, .. }) => {
            let wrong = |error| Failure::usage(format!("cannot export traces to {endpoint}: {error}"));
            let client = Client::from_environment().map_err(wrong)?;
            let options = Options {
                endpoint: endpoint.clone(),
                service: settings.service.clone(),
                default_service,
                queue: queue.to_owned(),
            };
            Some(Arc::new(Traces::start(options, client).map_err(wrong)?))
        }
    };
    Ok(Observers {
        traces,
        metrics: settings.listen.map(|_| Arc::new(Metrics::default())),
        emf: settings.emf.clone().map(|Namespace(name)| Arc::new(Emf::new(name, &service, queue))),
    })
}

/// Binds the address of the HTTP server, if the settings name one.
pub(crate) async fn bind(listen: Option<Listen>) -> Result<Option<Server>, Failure> {
    let Some(Listen(address)) = listen else { return Ok(None) };
    let server = Server::bind(address)
        .await
        .map_err(|error| Failure::backend(format!("cannot listen on {address}: {error}")))?;
    let address = server.address();
    tracing::info!(%address, "listening");
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
