//! The source of a service's work: the address that it listens on, and the requests that wait for an instance.

use super::queues::WorkQueue;
use crate::output::failure::Failure;
use crate::settings::queues::QueueSetting;
use crate::settings::serve::ServePlan;
use crate::wiring::signals::Stop;
use rustix::process::{Resource, getrlimit};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::ports::queue::Queue;
use wasmrun_runtime::worker::Worker;
use wasmrun_serve::{OnError, RequestQueue, ServeOptions, Server};
use wasmrun_watch::metrics::Metrics;

/// Time for the last responses, once the stop timeout has ended the tasks.
const LAST_RESPONSES: Duration = Duration::from_secs(2);

/// A service: its requests, and the server that they come from.
pub(super) struct Service {
    pub(super) requests: Arc<RequestQueue>,
    address: SocketAddr,
    /// `None`: it doesn't listen yet.
    server: Option<Server>,
    options: ServeOptions,
}

impl Service {
    /// Creates a service at this URL. `is_traced`: traces of its tasks are exported.
    pub(super) fn new(plan: &ServePlan, limits: &Limits, url: &str, is_traced: bool) -> Self {
        let options = ServeOptions {
            // The soft limit was raised to the hard limit at the start.
            connections: plan.connections(getrlimit(Resource::Nofile).maximum),
            queue_time: plan.queue_time,
            timeout: limits.timeout,
            request_bytes: limits.http_received_bytes,
            is_traced,
        };
        let requests = Arc::new(RequestQueue::new(url.to_owned(), plan.queue_length.get()));
        Self { requests, address: plan.listen, server: None, options }
    }

    /// Returns the requests as the queue of a worker.
    pub(super) fn work(&self) -> WorkQueue {
        let setting = QueueSetting::of(self.requests.url());
        WorkQueue { setting, queue: self.requests.clone(), file: None, dead_letter: None, is_planned: false }
    }

    /// Listens. The system accepts connections from now on, which are answered once the service has started.
    pub(super) fn listen(&mut self) -> Result<(), Failure> {
        let refused = |error| Failure::backend(format!("cannot listen on {}: {error}", self.address));
        let server = Server::bind(self.address).map_err(refused)?;
        tracing::info!(address = %server.address(), "listening for requests");
        self.server = Some(server);
        Ok(())
    }

    /// Starts to answer requests. When `stop` drains, the requests that have arrived are answered, for at most
    /// `stop_timeout`. Returns what then stops the worker, and the server's end.
    pub(super) fn start(
        self,
        running: Arc<Worker>,
        metrics: Option<Arc<Metrics>>,
        stop: &Stop,
        stop_timeout: Duration,
    ) -> (Stop, JoinHandle<()>) {
        let Self { requests, server, options, .. } = self;
        let worker = Stop { drain: CancellationToken::new(), abandon: stop.abandon.child_token() };
        let (ended, stop) = (worker.clone(), stop.clone());
        let on_error: OnError = Box::new(move |status| {
            if let Some(metrics) = &metrics {
                metrics.error_response(status);
            }
        });
        let serving = tokio::spawn(async move {
            let Some(server) = server else { return };
            let mut serving = std::pin::pin!(server.serve(requests, options, on_error, stop.drain.clone()));
            let overdue = async {
                stop.drain.cancelled().await;
                running.will_stop();
                let _ = tokio::time::timeout(stop_timeout, stop.abandon.cancelled()).await;
            };
            tokio::select! {
                () = &mut serving => {}
                () = overdue => {
                    tracing::warn!("stop timeout expired: ending the tasks of requests");
                    ended.abandon.cancel();
                    let _ = tokio::time::timeout(LAST_RESPONSES, serving).await;
                }
            }
            ended.drain.cancel();
        });
        (worker, serving)
    }
}
