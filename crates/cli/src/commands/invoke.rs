//! `wasmrun invoke`: runs one task without a queue.

use crate::output::failure::{EXIT_TASK_FAILED, Failure};
use crate::settings::file::ConfigFile;
use crate::settings::flags::InvokeArgs;
use crate::settings::message::{attributes_from, body_from};
use crate::settings::otlp::TracesPlan;
use crate::settings::task::TaskPlan;
use crate::wiring::backends::Backends;
use crate::wiring::compiler::open_cache;
use crate::wiring::component::{host, load, read, run_task};
use crate::wiring::logging;
use crate::wiring::watch::{service_name, start_traces};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use wasmrun_otlp::{Service, Trigger};
use wasmrun_runtime::model::message::{Message, OutgoingMessage};
use wasmrun_runtime::model::outcome::Outcome;
use wasmrun_runtime::model::usage::TaskObserver;

/// Longest time in which the task's spans are sent: a person waits.
const LAST_SPANS: Duration = Duration::from_secs(2);

pub(crate) async fn invoke(args: InvokeArgs) -> Result<ExitCode, Failure> {
    let mut file = ConfigFile::read(args.task.config.as_deref())?;
    let message = message(&args)?;
    let otlp = args.otlp.as_ref().map(|url| TracesPlan::asked(url, |name| std::env::var(name).ok()));
    let otlp = otlp.transpose()?.flatten();
    let plan = TaskPlan::new(args.component, args.task, &mut file, false)?;
    let plan = TaskPlan { sampling: otlp.as_ref().map(|traces| traces.sampling), ..plan };
    let backends = Backends::new(plan.aws.clone());
    let output = logging::start(&plan.log)?;

    let cache = open_cache(&plan.engine)?;
    let read = read(&plan.component, &plan.engine, &plan.registry, cache.as_ref(), &backends).await?;
    let component = load(&plan, &backends, read, cache, NonZeroUsize::MIN, host(None), Vec::new()).await?;
    let service = Service::new(None, service_name(&plan.component.name()));
    let traces = otlp.map(|plan| start_traces(&plan, &service, Trigger::Person)).transpose()?;
    let message = Arc::new(message);
    let report = run_task(Arc::new(component), message.clone(), |task| task).await?;
    output.report(&report, args.json);
    if let Some(traces) = traces {
        traces.ended(&report.record(&message));
        traces.close(LAST_SPANS).await;
    }
    Ok(match report.outcome {
        Outcome::Completed => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_TASK_FAILED),
    })
}

fn message(args: &InvokeArgs) -> Result<Message, Failure> {
    let outgoing = OutgoingMessage {
        body: body_from(&args.message)?,
        attributes: attributes_from(&args.attribute)?,
        ..OutgoingMessage::default()
    };
    outgoing.validate().map_err(|reason| Failure::usage(format!("the message cannot be sent: {reason}")))?;
    let message = Message::new(&args.message_id, outgoing.body);
    let sent_at = args.sent_at.unwrap_or(message.sent_at);
    Ok(Message { attributes: outgoing.attributes, sent_at, ..message })
}
