//! `wasmrun invoke`: runs one task without a queue, for a message or for an HTTP request.

use crate::output::failure::Failure;
use crate::settings::file::ConfigFile;
use crate::settings::flags::InvokeArgs;
use crate::settings::message::{attributes_from, body_from, bytes_from};
use crate::settings::otlp::TracesPlan;
use crate::settings::task::{TaskPlan, of_one_task};
use crate::wiring::backends::Backends;
use crate::wiring::invocation::{Invocation, exit_code};
use crate::wiring::logging;
use crate::wiring::one_request::{OneRequest, request_from};
use crate::wiring::worker::own_variable;
use std::process::ExitCode;
use wasmrun_runtime::model::message::{Message, OutgoingMessage};

pub(crate) async fn invoke(args: InvokeArgs) -> Result<ExitCode, Failure> {
    let mut file = ConfigFile::read(args.task.config.as_deref())?;
    let message = if args.http.is_some() { of_request(&args) } else { message(&args)? };
    let otlp = args.otlp.as_ref().map(|url| TracesPlan::asked(url, own_variable));
    let otlp = otlp.transpose()?.flatten();
    let worker = of_one_task(args.key, &mut file);
    let plan = TaskPlan::new(args.component, args.task, &mut file, &worker)?;
    let most = plan.limits.http_received_bytes;
    let body = |text: &str| bytes_from(text, most, "--http-received-size");
    let request = match &args.http {
        None => None,
        Some(line) => {
            let body = args.message.as_deref().map(body).transpose()?.unwrap_or_default();
            Some(OneRequest::new(request_from(line, &args.header, body.into())?))
        }
    };
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
