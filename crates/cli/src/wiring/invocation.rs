//! One task that a command runs without a worker, and its report.

use super::backends::Backends;
use super::compiler::open_cache;
use super::component::{Placement, run_task};
use super::one_request::OneRequest;
use super::routes;
use super::watch::{service_name, start_traces};
use crate::output::Output;
use crate::output::failure::{EXIT_TASK_FAILED, Failure};
use crate::settings::otlp::TracesPlan;
use crate::settings::task::TaskPlan;
use http::Response;
use http_body_util::BodyExt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use wasmrun_otlp::{Service, Trigger};
use wasmrun_runtime::model::message::Message;
use wasmrun_runtime::model::outcome::Outcome;
use wasmrun_runtime::model::usage::TaskObserver;
use wasmrun_runtime::ports::http::Body;
use wasmrun_runtime::ports::requests::Requests;
use wasmrun_runtime::task::component::Report;

/// Longest time in which the task's spans are sent: a person waits.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// One task to run without a worker.
pub(crate) struct Invocation {
    pub(crate) plan: TaskPlan,
    /// Where the task's trace is exported to.
    pub(crate) traces: Option<TracesPlan>,
    pub(crate) message: Message,
    /// The request that the task answers, and its response.
    pub(crate) request: Option<(OneRequest, oneshot::Receiver<Response<Body>>)>,
    /// Whether to print the report as JSON.
    pub(crate) as_json: bool,
}

impl Invocation {
    /// Runs the task and prints its report.
    pub(crate) async fn run(self, backends: &Backends, output: &Output) -> Result<Report, Failure> {
        let Self { plan, traces, message, request, as_json } = self;
        let cache = open_cache(&plan.engine.compile)?;
        let read = routes::read(&plan, cache.as_ref(), backends).await?;
        let (requests, response) = request.unzip();
        let requests = requests.map(|request| Arc::new(request) as Arc<dyn Requests>);
        let routes = routes::load(&plan, backends, read, cache, Placement::of_one(requests)).await?;
        let service = Service::new(None, service_name(&plan.component.name()));
        let traces = traces.map(|plan| start_traces(&plan, &service, Trigger::Person)).transpose()?;
        let message = Arc::new(message);
        let running = run_task(routes, message.clone(), plan.key.as_ref(), |task| task);
        let report = match response {
            None => {
                let report = running.await?;
                output.report(&report, as_json);
                report
            }
            Some(response) => {
                let (report, ()) = tokio::join!(running, show(response, output));
                let report = report?;
                output.report_aside(&report, as_json);
                report
            }
        };
        if let Some(traces) = traces {
            traces.ended(&report.record(&message));
            traces.close(LAST_SPANS).await;
        }
        Ok(report)
    }
}

/// Returns the exit code of a command that ran one task.
pub(crate) fn exit_code(report: &Report) -> ExitCode {
    match report.outcome {
        Outcome::Completed => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_TASK_FAILED),
    }
}

/// Prints a response as it arrives: its head to standard error, and its body to standard output.
async fn show(response: oneshot::Receiver<Response<Body>>, output: &Output) {
    let Ok(response) = response.await else { return };
    output.note(format_args!("status       {}", response.status()));
    for (name, value) in response.headers() {
        output.note(format_args!("header       {name}: {}", String::from_utf8_lossy(value.as_bytes())));
    }
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => output.bytes(&data),
            Ok(Err(_)) => {}
            Err(_) => return output.note("the response was cut off"),
        }
    }
}
