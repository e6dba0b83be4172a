//! Runs a worker.

use super::open::{Opened, Planned};
use super::plan::RunPlan;
use crate::output::Output;
use crate::output::failure::Failure;
use crate::output::progress::progress;
use crate::settings::words;
use crate::settings::worker::Interval;
use crate::wiring::refresh::Refresh;
use crate::wiring::signals::Stop;
use crate::wiring::watch::{self, MetricsExporter, Observers};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::JoinHandle;
use wasmrun_aws::ecs::Protection;
use wasmrun_otlp::Traces;
use wasmrun_runtime::worker::{Summary, Worker, WorkerOptions};
use wasmrun_watch::{About, Watch};

/// Longest time in which the last spans and metrics are sent, before the process is killed.
const LAST_SENT: Duration = Duration::from_secs(2);

impl Opened {
    /// Warns of rejected messages that stay in the queue.
    pub(crate) fn warn_of_rejected(&self, plan: &RunPlan) {
        if self.keep_rejected.is_empty() {
            return;
        }
        let queue = self.keep_rejected.join(", ");
        if plan.until_empty() {
            tracing::warn!(
                queue,
                "no dead-letter queue: --until-empty does not end while a rejected message is left"
            );
        }
        tracing::warn!(
            queue,
            longest_backoff = %humantime::format_duration(plan.backoff().longest),
            "no dead-letter queue: rejected messages are tried again until the queue's retention ends; name a dead-letter queue with --dead-letter URL, or set --on rejected=drop"
        );
    }

    /// Prints the result of a check.
    pub(crate) fn say_checked(&self, plan: &RunPlan, output: &Output) {
        let queues = plan.queue_names();
        if plan.service.is_some() {
            return output.line(format_args!("ok: the component is ready to answer requests at {queues}"));
        }
        match self.routes.routes().len() {
            0 => output.line(format_args!("ok: {queues} and the component are ready")),
            routes => {
                output.line(format_args!("ok: {queues} and the components of {routes} routes are ready"))
            }
        }
        for queue in self.planned.iter().flat_map(Planned::urls) {
            output.line(format_args!("the queue {queue} does not exist yet: `wasmrun run` creates it"));
        }
        if !self.keep_rejected.is_empty() {
            let of = if plan.queues.len() > 1 {
                format!(" of {}", self.keep_rejected.join(", "))
            } else {
                String::new()
            };
            output.line(format_args!(
                "there is no dead-letter queue{of}: rejected messages are tried again until the queue's retention ends"
            ));
        }
    }

    /// Logs that the worker is ready, with its queue, limits and grants.
    pub(crate) fn log_ready(&self, plan: &RunPlan) {
        let stores: Vec<String> = (self.routes.components())
            .flat_map(|component| &component.grants().stores)
            .map(|(alias, grant)| format!("{alias}={}{}:{}", grant.store.url(), grant.scope, grant.mode))
            .collect();
        let routes = self.routes.to_string();
        tracing::info!(
            queue = self.worker.queues().join(", "),
            instances = self.routes.capacity().instances,
            bounded_by = self.bounded_by(plan),
            task_bytes = self.routes.task_bytes(),
            allocator = words::word_of(self.routes.allocator()),
            stores = stores.join(" "),
            routes = (!routes.is_empty()).then_some(&*routes),
            ecs_task = (!self.ecs.arn.is_empty()).then_some(&*self.ecs.arn),
            ecs_definition = (!self.ecs.definition.is_empty()).then_some(&*self.ecs.definition),
            "ready"
        );
    }
}

/// Runs the worker, its HTTP server and its metrics until the worker ends.
pub(crate) async fn serve(
    plan: &RunPlan,
    opened: Opened,
    output: &Output,
    stop: Stop,
    started_at: SystemTime,
) -> Result<Summary, Failure> {
    let progress = draw_progress(plan, &opened, output).await?;
    let Opened { routes, worker, usage, observers, protection, server, control, service, .. } = opened;
    let Observers { traces, metrics, emf, exporter } = observers;
    let refreshing: Vec<_> = (plan.worker.component_refresh.iter())
        .flat_map(|Interval(every)| {
            let components = plan.task.components().zip(routes.components());
            components.map(|((_, task), component)| {
                Refresh::new(task.clone(), component.clone(), plan.worker.rollout).keep(*every)
            })
        })
        .collect();
    let watch = metrics.clone().map(|metrics| {
        let about = About { version: env!("CARGO_PKG_VERSION"), queues: worker.queues(), started_at };
        Arc::new(Watch { about, metrics, worker: worker.clone(), routes })
    });
    let serving = server.zip(watch.clone()).map(|(server, watch)| watch::serve(server, watch));
    let controlled = control.map(|control| control.serve(worker.clone()));
    let exported = exporter.zip(watch);
    let exporting = exported.as_ref().map(|(exporter, watch)| exporter.start(watch.clone()));
    let reporting = emf.clone().map(|emf| watch::print_metrics(emf, worker.clone(), output.clone()));
    // A service's worker stops once the requests that have arrived are answered.
    let stop_timeout = plan.worker.stop_timeout.unwrap_or(WorkerOptions::default().stop_timeout);
    let started = service.map(|service| service.start(worker.clone(), metrics, &stop, stop_timeout));
    let (stop, answering) = match started {
        Some((stop, answering)) => (stop, Some(answering)),
        None => (stop, None),
    };
    let summary = tokio::select! {
        summary = worker.clone().run(stop.drain, stop.abandon) => summary,
        () = keep_protected(protection.as_ref(), &worker) => unreachable!("it goes on until it's dropped"),
    };
    if let Some(answering) = answering {
        let _ = answering.await;
    }
    drop((refreshing, serving, controlled, exporting, reporting));
    if let Some(protection) = &protection {
        protection.end().await;
    }
    if let Some(emf) = emf {
        output.print(&emf.line(&worker.status(), SystemTime::now(), true));
    }
    send_last(traces, exported).await;
    if let Some(progress) = progress {
        progress.abort();
        output.end_progress();
    }
    if let Some(usage) = usage {
        usage.close();
    }
    Ok(summary)
}

/// Sends the spans that wait and the last metrics, at the same time.
async fn send_last(traces: Option<Arc<Traces>>, exported: Option<(MetricsExporter, Arc<Watch>)>) {
    let spans = async {
        if let Some(traces) = traces {
            traces.close(LAST_SENT).await;
        }
    };
    let metrics = async {
        if let Some((exporter, watch)) = exported {
            exporter.close(&watch, LAST_SENT).await;
        }
    };
    tokio::join!(spans, metrics);
}

/// Starts to draw the progress of a worker that ends when the queue is empty.
async fn draw_progress(
    plan: &RunPlan,
    opened: &Opened,
    output: &Output,
) -> Result<Option<JoinHandle<()>>, Failure> {
    if !plan.until_empty() {
        return Ok(None);
    }
    let depth = opened.worker.depth().await.map_err(|(queue, error)| Failure::queue(&queue, &error))?;
    Ok(Some(tokio::spawn(progress(output.clone(), opened.worker.tally(), depth.total()))))
}

/// Protects this ECS task from scale-in while the worker is busy. Never returns.
async fn keep_protected(protection: Option<&Protection>, worker: &Worker) {
    match protection {
        Some(protection) => protection.keep(|| worker.is_busy()).await,
        None => std::future::pending().await,
    }
}
