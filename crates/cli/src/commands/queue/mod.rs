//! `wasmrun queue …`: creates, inspects and purges queues, and walks over their messages.

mod found;
mod walk;

use crate::output::Output;
use crate::output::failure::Failure;
use crate::settings::flags::{QueueArgs, QueueCommand};
use crate::settings::log::LogSettings;
use crate::wiring::backends::{Backends, create_queue};
use crate::wiring::logging;
use crate::wiring::walking::Walking;
use serde_json::json;
use std::process::ExitCode;
use wasmrun_local::{DeadLetter, QueueSettings};

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
            output.line(format_args!("{verb} {}", opened.backend.url()));
        }
        QueueCommand::Stats { url, json } => stats(&backends, &output, &url, json).await?,
        QueueCommand::Peek { url, max } => {
            let queue = backends.open_queue(&url).await?.backend;
            let messages = queue.peek(max).await.map_err(|error| Failure::queue(&url, &error))?;
            for message in messages {
                output.print(&found::message(&message).to_string());
            }
        }
        QueueCommand::List { url, select, limit, json, walk } => {
            let walk = Walking { url: &url, filter: &select.filter(), limit: Some(limit), args: &walk };
            return walk.list(&backends, &output, json).await;
        }
        QueueCommand::Show { url, id, json, walk: args } => {
            return walk::show(&backends, &output, (&url, &id), &args, json).await;
        }
        QueueCommand::Redrive { url, select, to, limit, json, walk } => {
            let walk = Walking { url: &url, filter: &select.filter(), limit, args: &walk };
            return walk.redrive(&backends, &output, to.as_deref(), json).await;
        }
        QueueCommand::Drop { url, select, limit, json, walk } => {
            let walk = Walking { url: &url, filter: &select.filter(), limit, args: &walk };
            return walk.drop(&backends, &output, json).await;
        }
        QueueCommand::Purge { url } => {
            let queue = backends.open_queue(&url).await?.backend;
            let deleted = queue.purge().await.map_err(|error| Failure::queue(&url, &error))?;
            output.line(format_args!("deleted {deleted}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn stats(backends: &Backends, output: &Output, url: &str, as_json: bool) -> Result<(), Failure> {
    let queue = backends.open_queue(url).await?.backend;
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
