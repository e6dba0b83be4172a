//! `wasmrun invoke`: one task, once, without a queue.

use crate::output::Output;
use crate::output::failure::{EXIT_TASK_FAILED, Failure};
use crate::settings::File;
use crate::settings::flags::InvokeArgs;
use crate::wiring::backends::Backends;
use crate::wiring::task::{TaskPlan, host};
use std::future::pending;
use std::io::Read;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use tracing::Instrument;
use wasmrun_runtime::model::message::{
    Attribute, AttributeValue, MAX_MESSAGE_BYTES, Message, OutgoingMessage,
};
use wasmrun_runtime::model::outcome::Outcome;
use wasmrun_runtime::model::trace;

pub(crate) async fn invoke(args: InvokeArgs) -> Result<ExitCode, Failure> {
    let mut file = File::read(args.task.config.as_deref())?;
    let log = args.task.log.clone().or(std::mem::take(&mut file.log));
    let message = message(&args)?;
    let backends = Backends::new(args.task.aws.clone().or(std::mem::take(&mut file.aws)));
    let plan = TaskPlan::new(args.component, args.task, &mut file, false)?;
    let output = Output::start(&log)?;

    let bytes = plan.read(&backends).await?;
    let span = trace::task_span(&message);
    let component = Arc::new(plan.load(&backends, bytes, NonZeroUsize::MIN, host(None), Vec::new()).await?);
    let task = {
        let component = component.clone();
        async move { component.run(Arc::new(message), pending()).instrument(span).await }
    };
    let report = component
        .threads()
        .handle()
        .spawn(task)
        .await
        .map_err(|error| Failure::backend(format!("the task was lost: {error}")))?;
    component.clear_away().await;
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
    outgoing.validate().map_err(|reason| Failure::usage(format!("the message can't be sent: {reason}")))?;
    let message = Message::new(&args.message_id, outgoing.body);
    let sent_at = args.sent_at.unwrap_or(message.sent_at);
    Ok(Message { attributes: outgoing.attributes, sent_at, ..message })
}

/// A text, the content of a file, or standard input.
pub(crate) fn body_from(text: &str) -> Result<String, Failure> {
    let (what, mut source): (String, Box<dyn Read>) = match text.strip_prefix('@') {
        Some(path) => {
            let file = std::fs::File::open(path)
                .map_err(|error| Failure::usage(format!("cannot read the message {path}: {error}")))?;
            (path.to_owned(), Box::new(file))
        }
        None if text == "-" => ("standard input".into(), Box::new(std::io::stdin())),
        None => return Ok(text.to_owned()),
    };
    let mut body = String::new();
    source
        .by_ref()
        .take(MAX_MESSAGE_BYTES as u64 + 1)
        .read_to_string(&mut body)
        .map_err(|error| Failure::usage(format!("cannot read the message from {what}: {error}")))?;
    Ok(body)
}

/// `NAME=VALUE` each.
pub(crate) fn attributes_from(texts: &[String]) -> Result<Vec<Attribute>, Failure> {
    texts
        .iter()
        .map(|text| {
            let (name, value) = text.split_once('=').ok_or_else(|| {
                Failure::usage(format!("--attribute {text} is incomplete: write NAME=VALUE"))
            })?;
            Ok(Attribute { name: name.to_owned(), value: AttributeValue::Text(value.to_owned()) })
        })
        .collect()
}
