//! `wasmrun queue list | show | redrive | drop`: walks over the messages of a queue.

use super::found;
use crate::output::Output;
use crate::output::failure::{EXIT_INTERRUPTED, Failure};
use crate::settings::flags::WalkArgs;
use crate::wiring::backends::Backends;
use crate::wiring::signals::StopSignals;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;
use wasmrun_runtime::ports::queue::QueueAdmin;
use wasmrun_runtime::ports::walk::{Filter, Found, Walk, WalkAction, WalkEnd, Walked};

/// A walk over a queue, as the user asks for it.
pub(super) struct Walking<'a> {
    pub(super) url: &'a str,
    pub(super) filter: &'a Filter,
    pub(super) limit: Option<u64>,
    pub(super) args: &'a WalkArgs,
}

impl<'a> Walking<'a> {
    /// A walk to the one message that the filter names by its ID.
    pub(super) fn to_one(url: &'a str, filter: &'a Filter, args: &'a WalkArgs) -> Self {
        Self { url, filter, limit: Some(1), args }
    }

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

    /// Prints one message in full.
    pub(super) async fn show(
        &self,
        backends: &Backends,
        output: &Output,
        as_json: bool,
    ) -> Result<ExitCode, Failure> {
        let Some(found) = self.find(backends, output).await? else {
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        };
        match as_json {
            true => output.print(&found::as_json(&found).to_string()),
            false => found::print(&found, output),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Returns the one message that the filter selects, or `None` if a signal stopped the walk before.
    pub(super) async fn find(&self, backends: &Backends, output: &Output) -> Result<Option<Found>, Failure> {
        let queue = self.open(backends).await?;
        let place = Mutex::new(None);
        let show = |found: &Found| *place.lock() = Some(found.clone());
        let mut walked = self.run(&*queue, WalkAction::Look(&show), output).await?;
        let found = place.into_inner();
        if found.is_some() {
            walked.end = WalkEnd::Complete;
        }
        let is_stopped = walked.end == WalkEnd::Stopped;
        self.end(walked, output)?;
        if found.is_none() && !is_stopped {
            let id = self.filter.ids.first().map_or("", String::as_str);
            return Err(Failure::usage(format!(
                "the queue {} has no visible message with the ID {id}",
                self.url
            )));
        }
        Ok(found)
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
            Some(to) => Some(backends.open_queue(to).await?.queue.url().to_owned()),
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

    /// Opens the queue. Refuses a queue whose redrive policy would count the receives of a walk.
    async fn open(&self, backends: &Backends) -> Result<Arc<dyn QueueAdmin>, Failure> {
        let queue = backends.open_queue(self.url).await?.queue;
        if !queue.walk_receives() {
            return Ok(queue);
        }
        let attributes = queue.attributes().await.map_err(|error| Failure::queue(self.url, &error))?;
        match attributes.redrive {
            Some(redrive) if !self.args.allow_receives => Err(Failure::usage(format!(
                "the queue {} moves a message to {} after {} receives, and looking at a message is a receive: name the dead-letter queue instead, or add --allow-receives",
                self.url, redrive.dead_letter, redrive.max_receives
            ))),
            _ => Ok(queue),
        }
    }

    /// Walks until the end or a signal. A second signal ends the command at once.
    async fn run(
        &self,
        queue: &dyn QueueAdmin,
        action: WalkAction<'_>,
        output: &Output,
    ) -> Result<Walked, Failure> {
        let mut signals = StopSignals::new()?;
        let (stop, is_over) = (CancellationToken::new(), AtomicBool::new(false));
        let (filter, bounds) = (self.filter, self.args.bounds());
        let walk = Walk { filter, action, limit: self.limit, bounds, stop: &stop };
        let stopped_at_once = async {
            signals.next().await;
            output.note("stopping: a second signal ends at once");
            stop.cancel();
            signals.next().await;
            is_over.store(true, Ordering::Relaxed);
        };
        let walked = tokio::select! {
            biased;
            walked = queue.walk(&walk) => walked,
            () = stopped_at_once => Ok(Walked { end: WalkEnd::Stopped, ..Walked::default() }),
        };
        if is_over.load(Ordering::Relaxed) && queue.walk_receives() {
            let longest = humantime::format_duration(bounds.time);
            output.note(format_args!(
                "messages that were looked at may be invisible until about {longest} after the start"
            ));
        }
        walked.map_err(|error| Failure::queue(self.url, &error))
    }

    /// Says what the user must know about the end of a walk, and returns the exit code.
    fn end(&self, walked: Walked, output: &Output) -> Result<ExitCode, Failure> {
        let Walked { looked_at, doubled, hidden, end, .. } = walked;
        if doubled > 0 {
            output.note(format_args!(
                "{doubled} messages were moved and could not be deleted from {}: both queues have them",
                self.url
            ));
        }
        if hidden > 0 {
            let longest = humantime::format_duration(self.args.bounds().time);
            output.note(format_args!(
                "{hidden} messages could not be made visible again: they are invisible until about {longest} after the start"
            ));
        }
        match end {
            WalkEnd::Complete => {}
            WalkEnd::Limit => output.note("stopped at --limit: there may be more messages"),
            WalkEnd::Messages => output
                .note(format_args!("stopped after {looked_at} messages (--max-messages): there may be more")),
            WalkEnd::Time => output
                .note(format_args!("stopped after {looked_at} messages (--max-time): there may be more")),
            WalkEnd::Stopped => return Ok(ExitCode::from(EXIT_INTERRUPTED)),
            WalkEnd::Failed(error) => return Err(Failure::queue(self.url, &error)),
        }
        Ok(ExitCode::SUCCESS)
    }
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
    let dead = backends.open_queue(&url).await?.queue;
    let held = dead.depth().await.map_err(|error| Failure::queue(&url, &error))?.total();
    Ok((held > 0)
        .then(|| format!("it is empty, and its dead-letter queue {url} holds {held}: name that one")))
}
