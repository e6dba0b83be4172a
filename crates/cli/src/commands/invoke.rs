//! `wasmrun invoke`: runs one task without a queue, for a message or for an HTTP request.

use crate::output::Output;
use crate::output::failure::{EXIT_TASK_FAILED, Failure};
use crate::settings::file::ConfigFile;
use crate::settings::flags::InvokeArgs;
use crate::settings::message::{attributes_from, body_from};
use crate::settings::otlp::TracesPlan;
use crate::settings::task::{TaskPlan, of_one_task};
use crate::wiring::backends::Backends;
use crate::wiring::compiler::open_cache;
use crate::wiring::component::{Placement, run_task};
use crate::wiring::logging;
use crate::wiring::one_request::{OneRequest, request_from};
use crate::wiring::routes;
use crate::wiring::watch::{service_name, start_traces};
use http::Response;
use http_body_util::BodyExt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use wasmrun_otlp::{Service, Trigger};
use wasmrun_runtime::model::message::{Message, OutgoingMessage};
use wasmrun_runtime::model::outcome::Outcome;
use wasmrun_runtime::model::usage::TaskObserver;
use wasmrun_runtime::ports::http::Body;
use wasmrun_runtime::ports::requests::Requests;
use wasmrun_runtime::task::component::Report;

/// Longest time in which the task's spans are sent: a person waits.
const LAST_SPANS: Duration = Duration::from_secs(2);

pub(crate) async fn invoke(args: InvokeArgs) -> Result<ExitCode, Failure> {
    let mut file = ConfigFile::read(args.task.config.as_deref())?;
    let (message, request) = match &args.http {
        None => (message(&args)?, None),
        Some(line) => {
            let body = args.message.as_deref().map(body_from).transpose()?.unwrap_or_default();
            (of_request(&args), Some(OneRequest::new(request_from(line, &args.header, body)?)))
        }
    };
    let otlp = args.otlp.as_ref().map(|url| TracesPlan::asked(url, |name| std::env::var(name).ok()));
    let otlp = otlp.transpose()?.flatten();
    let worker = of_one_task(args.key, &mut file);
    let plan = TaskPlan::new(args.component, args.task, &mut file, &worker)?;
    if request.is_some() && !plan.routes.routes.is_empty() {
        return Err(Failure::usage(
            "--http is for a service, which has no routes: leave out --config, or send a message with --message",
        ));
    }
    let plan = plan.with_each(|task| task.sampling = otlp.as_ref().map(|traces| traces.sampling));
    let backends = Backends::new(plan.aws.clone());
    let output = logging::start(&plan.log)?;
    let invocation = Invocation { plan, traces: otlp, message, request, as_json: args.json };
    Ok(exit_code(&invocation.run(&backends, &output).await?))
}

/// One task to run without a worker.
pub(super) struct Invocation {
    pub(super) plan: TaskPlan,
    /// Where the task's trace is exported to.
    pub(super) traces: Option<TracesPlan>,
    pub(super) message: Message,
    /// The request that the task answers, and its response.
    pub(super) request: Option<(OneRequest, oneshot::Receiver<Response<Body>>)>,
    /// Whether to print the report as JSON.
    pub(super) as_json: bool,
}

impl Invocation {
    /// Runs the task and prints its report.
    pub(super) async fn run(self, backends: &Backends, output: &Output) -> Result<Report, Failure> {
        let Self { plan, traces, message, request, as_json } = self;
        let cache = open_cache(&plan.engine)?;
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
pub(super) fn exit_code(report: &Report) -> ExitCode {
    match report.outcome {
        Outcome::Completed => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_TASK_FAILED),
    }
}

fn message(args: &InvokeArgs) -> Result<Message, Failure> {
    let outgoing = OutgoingMessage {
        body: args.message.as_deref().map(body_from).transpose()?.unwrap_or_default(),
        attributes: attributes_from(&args.attribute)?,
        group: args.group.clone(),
        ..OutgoingMessage::default()
    };
    outgoing.validate().map_err(|reason| Failure::usage(format!("the message cannot be sent: {reason}")))?;
    let message = Message::new(&args.message_id, outgoing.body);
    let sent_at = args.sent_at.unwrap_or(message.sent_at);
    Ok(Message { attributes: outgoing.attributes, group: outgoing.group, sent_at, ..message })
}

/// Returns the message that stands for a request.
fn of_request(args: &InvokeArgs) -> Message {
    let message = Message::new(&args.message_id, "");
    Message { sent_at: args.sent_at.unwrap_or(message.sent_at), ..message }
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
