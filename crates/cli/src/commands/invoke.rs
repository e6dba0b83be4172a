//! `wasmrun invoke`: runs one task without a queue.

use crate::output::failure::{EXIT_TASK_FAILED, Failure};
use crate::settings::file::ConfigFile;
use crate::settings::flags::InvokeArgs;
use crate::settings::message::{attributes_from, body_from};
use crate::settings::task::TaskPlan;
use crate::wiring::backends::Backends;
use crate::wiring::compiler::open_cache;
use crate::wiring::component::{Placement, load, read, run_task};
use crate::wiring::logging;
use std::process::ExitCode;
use std::sync::Arc;
use wasmrun_runtime::model::message::{Message, OutgoingMessage};
use wasmrun_runtime::model::outcome::Outcome;

pub(crate) async fn invoke(args: InvokeArgs) -> Result<ExitCode, Failure> {
    let mut file = ConfigFile::read(args.task.config.as_deref())?;
    let message = message(&args)?;
    let plan = TaskPlan::new(args.component, args.task, &mut file, false)?;
    let backends = Backends::new(plan.aws.clone());
    let output = logging::start(&plan.log)?;

    let cache = open_cache(&plan.engine)?;
    let read = read(&plan.component, &plan.engine, &plan.registry, cache.as_ref(), &backends).await?;
    let component = load(&plan, &backends, read, cache, Placement::of_one(None)).await?;
    let component = Arc::new(component);
    let report = run_task(component, Arc::new(message), |task| task).await?;
    output.report(&report, args.json);
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
