//! `wasmrun queue …`: creates, inspects, redrives and purges queues.

use crate::output::Output;
use crate::output::failure::Failure;
use crate::settings::flags::{QueueArgs, QueueCommand};
use crate::settings::log::LogSettings;
use crate::wiring::backends::{Backends, create_queue};
use crate::wiring::logging;
use serde_json::{Value, json};
use std::process::ExitCode;
use wasmrun_local::{DeadLetter, QueueSettings};
use wasmrun_runtime::model::message::{AttributeValue, Message};
use wasmrun_runtime::ports::queue::QueueAdmin;

pub(crate) async fn queue(args: QueueArgs) -> Result<ExitCode, Failure> {
    let output = logging::start(&LogSettings::default())?;
    let backends = Backends::new(args.aws);
    match args.command {
        QueueCommand::Create { url, visibility_timeout, max_receives, dead_letter, fifo } => {
            let dead_letter = dead_letter.map(|dead_letter| match dead_letter.as_str() {
                "none" => DeadLetter::None,
                _ => DeadLetter::Queue(dead_letter),
            });
            let settings =
                QueueSettings { visibility_timeout, dead_letter, max_receives, fifo: fifo.then_some(true) };
            settings
                .check()
                .map_err(|wrong| Failure::usage(format!("cannot create the queue {url}: {wrong}")))?;
            let (opened, created) = create_queue(&url, &settings)?;
            let verb = if created { "created" } else { "already there:" };
            output.line(format_args!("{verb} {}", opened.queue.url()));
        }
        QueueCommand::Stats { url, json } => stats(&backends, &output, &url, json).await?,
        QueueCommand::Peek { url, max } => {
            let queue = backends.open_queue(&url).await?.queue;
            let messages = queue.peek(max).await.map_err(|error| Failure::queue(&url, &error))?;
            for message in messages {
                output.print(&shown(&message).to_string());
            }
        }
        QueueCommand::Redrive { url, to } => redrive(&backends, &output, &url, to.as_deref()).await?,
        QueueCommand::Purge { url } => {
            let queue = backends.open_queue(&url).await?.queue;
            let deleted = queue.purge().await.map_err(|error| Failure::queue(&url, &error))?;
            output.line(format_args!("deleted {deleted}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn redrive(backends: &Backends, output: &Output, url: &str, to: Option<&str>) -> Result<(), Failure> {
    let queue = backends.open_queue(url).await?.queue;
    // Opened here so that an error names this queue.
    let to = match to {
        Some(to) => Some(backends.open_queue(to).await?.queue.url().to_owned()),
        None => None,
    };
    let redriven = queue.redrive(to.as_deref()).await.map_err(|error| Failure::queue(url, &error))?;
    let moved = redriven.moved;
    if moved == 0 && to.is_none() {
        let reason = match &redriven.reason {
            Some(reason) => Some(format!("{reason}; name a queue with --to URL")),
            None => dead_letters_elsewhere(backends, &*queue).await?,
        };
        if let Some(reason) = reason {
            return Err(Failure::usage(format!("nothing was moved from the queue {url}: {reason}")));
        }
    }
    let (line, which) = match &to {
        Some(to) => (format!("moved {moved} to {to}"), "another"),
        None => (format!("moved {moved} back"), "a"),
    };
    output.line(&line);
    if let Some(reason) = redriven.reason {
        output.line(format_args!("left {}: {reason}; name {which} queue with --to URL", redriven.left));
    }
    Ok(())
}

/// Returns the reason why nothing was moved, if this queue's own dead-letter queue holds the messages.
async fn dead_letters_elsewhere(
    backends: &Backends,
    queue: &dyn QueueAdmin,
) -> Result<Option<String>, Failure> {
    let failed = |error| Failure::queue(queue.url(), &error);
    let Some(redrive) = queue.attributes().await.map_err(failed)?.redrive else { return Ok(None) };
    let url = redrive.dead_letter;
    let dead = backends.open_queue(&url).await?.queue;
    let held = dead.depth().await.map_err(|error| Failure::queue(&url, &error))?.total();
    Ok((held > 0)
        .then(|| format!("it is empty, and its dead-letter queue {url} holds {held}: name that one")))
}

async fn stats(backends: &Backends, output: &Output, url: &str, as_json: bool) -> Result<(), Failure> {
    let queue = backends.open_queue(url).await?.queue;
    let failed = |error| Failure::queue(url, &error);
    let depth = queue.depth().await.map_err(failed)?;
    let attributes = queue.attributes().await.map_err(failed)?;
    let redrive = attributes.redrive.as_ref();
    if as_json {
        let value = json!({
            "queue": queue.url(),
            "visible": depth.visible,
            "in_flight": depth.in_flight,
            "delayed": depth.delayed,
            "visibility_timeout_seconds": attributes.visibility_timeout.as_secs_f64(),
            "dead_letter": redrive.map(|redrive| &redrive.dead_letter),
            "max_receives": redrive.map(|redrive| redrive.max_receives),
            "fifo": attributes.fifo,
        });
        output.print(&value.to_string());
        return Ok(());
    }
    let dead_letter = match redrive {
        Some(redrive) => format!("{} after {} receives", redrive.dead_letter, redrive.max_receives),
        None => "none".into(),
    };
    output.line(format_args!("queue               {}", queue.url()));
    output.print(&format!(
        "visible             {}\nin flight           {}\ndelayed             {}\nvisibility timeout  {}",
        depth.visible,
        depth.in_flight,
        depth.delayed,
        humantime::format_duration(attributes.visibility_timeout),
    ));
    output.line(format_args!("dead-letter queue   {dead_letter}"));
    let order = if attributes.fifo { "by group (FIFO)" } else { "none (standard)" };
    output.line(format_args!("order               {order}"));
    Ok(())
}

/// Formats a message as JSON, which is always one line.
fn shown(message: &Message) -> Value {
    let attributes: serde_json::Map<String, Value> = message
        .attributes
        .iter()
        .map(|attribute| {
            let value = match &attribute.value {
                AttributeValue::Text(text) | AttributeValue::Number(text) => json!(text),
                AttributeValue::Binary(bytes) => json!({"binary_bytes": bytes.len()}),
            };
            (attribute.name.clone(), value)
        })
        .collect();
    let sent_at = jiff::Timestamp::try_from(message.sent_at).map(|time| time.to_string()).unwrap_or_default();
    json!({
        "id": message.id,
        "sent_at": sent_at,
        "receive_count": message.receive_count,
        "group": message.group,
        "attributes": attributes,
        "body": message.body,
    })
}
