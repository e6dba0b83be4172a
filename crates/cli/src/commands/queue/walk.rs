//! `wasmrun queue list | show | redrive | drop`: walks over the messages of a queue.

use super::found;
use crate::output::Output;
use crate::output::failure::{EXIT_INTERRUPTED, Failure};
use crate::settings::flags::WalkArgs;
use crate::wiring::backends::Backends;
use crate::wiring::walking::{Walking, find};
use serde_json::{Value, json};
use std::process::ExitCode;
use wasmrun_runtime::ports::queue::QueueAdmin;
use wasmrun_runtime::ports::walk::{Found, WalkAction, WalkEnd, Walked};

impl Walking<'_> {
    /// Prints the selected messages, each on a line.
    pub(super) async fn list(
        &self,
        backends: &Backends,
        output: &Output,
        as_json: bool,
    ) -> Result<ExitCode, Failure> {
        let queue = self.open(backends).await?;
        if !as_json {
            output.print(found::HEADER);
        }
        let show = |found: &Found| match as_json {
            true => output.print(&found::as_json(found).to_string()),
            false => output.line(found::line(found)),
        };
        let walked = self.run(&*queue, WalkAction::Look(&show), output).await?;
        let (selected, looked_at) = (walked.selected, walked.looked_at);
        let counts = if queue.walk_receives() { "; each was received, which counts" } else { "" };
        output.note(format_args!("selected {selected} of the {looked_at} messages looked at{counts}"));
        self.end(walked, output)
    }

    /// Moves the selected messages to their source queues, or to the queue `to`.
    pub(super) async fn redrive(
        &self,
        backends: &Backends,
        output: &Output,
        to: Option<&str>,
        as_json: bool,
    ) -> Result<ExitCode, Failure> {
        let queue = self.open(backends).await?;
        // Opened here so that an error names this queue.
        let to = match to {
            Some(to) => Some(backends.open_queue(to).await?.backend.url().to_owned()),
            None => None,
        };
        let walked = self.run(&*queue, WalkAction::Redrive { to: to.as_deref() }, output).await?;
        if as_json {
            output.print(&as_value("moved", &walked).to_string());
        }
        if walked.done == 0 && to.is_none() && walked.end == WalkEnd::Complete {
            let reason = match &walked.reason {
                Some(reason) => Some(format!("{reason}; name a queue with --to URL")),
                None if walked.looked_at == 0 => dead_letters_elsewhere(backends, &*queue).await?,
                None => None,
            };
            if let Some(reason) = reason {
                let url = self.url;
                return Err(Failure::usage(format!("nothing was moved from the queue {url}: {reason}")));
            }
        }
        if as_json {
            return self.end(walked, output);
        }
        let (line, which) = match &to {
            Some(to) => (format!("moved {} to {to}", walked.done), "another"),
            None => (format!("moved {} back", walked.done), "a"),
        };
        output.line(&line);
        if let Some(reason) = &walked.reason {
            output.line(format_args!("left {}: {reason}; name {which} queue with --to URL", walked.left));
        }
        self.end(walked, output)
    }

    /// Deletes the selected messages.
    pub(super) async fn drop(
        &self,
        backends: &Backends,
        output: &Output,
        as_json: bool,
    ) -> Result<ExitCode, Failure> {
        if self.filter.is_empty() {
            return Err(Failure::usage(
                "no filter selects the messages to drop: add --id, --outcome, --reason, --component, --key or --since, or delete all messages with `wasmrun queue purge`",
            ));
        }
        let queue = self.open(backends).await?;
        let walked = self.run(&*queue, WalkAction::Drop, output).await?;
        if as_json {
            output.print(&as_value("deleted", &walked).to_string());
            return self.end(walked, output);
        }
        output.line(format_args!("deleted {}", walked.done));
        if let Some(reason) = &walked.reason {
            output.line(format_args!("left {}: {reason}", walked.left));
        }
        self.end(walked, output)
    }
}

/// Prints one message in full.
pub(super) async fn show(
    backends: &Backends,
    output: &Output,
    (url, id): (&str, &str),
    args: &WalkArgs,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let Some(found) = find(backends, output, (url, id), args).await? else {
        return Ok(ExitCode::from(EXIT_INTERRUPTED));
    };
    match as_json {
        true => output.print(&found::as_json(&found).to_string()),
        false => found::print(&found, output),
    }
    Ok(ExitCode::SUCCESS)
}

/// Formats the numbers of a walk as JSON.
fn as_value(done: &str, walked: &Walked) -> Value {
    let end = match &walked.end {
        WalkEnd::Complete => "complete",
        WalkEnd::Limit => "limit",
        WalkEnd::Messages => "max-messages",
        WalkEnd::Time => "max-time",
        WalkEnd::Stopped => "stopped",
        WalkEnd::Failed(_) => "failed",
    };
    json!({
        done: walked.done,
        "left": walked.left,
        "reason": walked.reason,
        "selected": walked.selected,
        "looked_at": walked.looked_at,
        "doubled": walked.doubled,
        "hidden": walked.hidden,
        "end": end,
    })
}

/// Returns the reason why nothing was moved, if this queue's own dead-letter queue holds the messages.
async fn dead_letters_elsewhere(
    backends: &Backends,
    queue: &dyn QueueAdmin,
) -> Result<Option<String>, Failure> {
    let failed = |error| Failure::queue(queue.url(), &error);
    let Some(redrive) = queue.attributes().await.map_err(failed)?.redrive else { return Ok(None) };
    let url = redrive.dead_letter;
    let dead = backends.open_queue(&url).await?.backend;
    let held = dead.depth().await.map_err(|error| Failure::queue(&url, &error))?.total();
    Ok((held > 0)
        .then(|| format!("it is empty, and its dead-letter queue {url} holds {held}: name that one")))
}
