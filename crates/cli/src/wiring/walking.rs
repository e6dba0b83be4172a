//! A walk over the messages of a queue, from its start to a signal or its end.

use super::backends::Backends;
use super::signals::StopSignals;
use crate::output::Output;
use crate::output::failure::{EXIT_INTERRUPTED, Failure};
use crate::settings::flags::WalkArgs;
use parking_lot::Mutex;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;
use wasmrun_runtime::ports::queue::QueueAdmin;
use wasmrun_runtime::ports::walk::{Filter, Found, Walk, WalkAction, WalkEnd, Walked};

/// A walk over a queue, as the user asks for it.
pub(crate) struct Walking<'a> {
    pub(crate) url: &'a str,
    pub(crate) filter: &'a Filter,
    pub(crate) limit: Option<u64>,
    pub(crate) args: &'a WalkArgs,
}

impl Walking<'_> {
    /// Opens the queue. Refuses a queue whose redrive policy would count the receives of a walk.
    pub(crate) async fn open(&self, backends: &Backends) -> Result<Arc<dyn QueueAdmin>, Failure> {
        let queue = backends.open_queue(self.url).await?.backend;
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
    pub(crate) async fn run(
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
    pub(crate) fn end(&self, walked: Walked, output: &Output) -> Result<ExitCode, Failure> {
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

/// Returns the message with this ID in the queue with this URL, or `None` if a signal stopped the search before.
pub(crate) async fn find(
    backends: &Backends,
    output: &Output,
    (url, id): (&str, &str),
    args: &WalkArgs,
) -> Result<Option<Found>, Failure> {
    let filter = Filter { ids: vec![id.to_owned()], ..Filter::default() };
    let walking = Walking { url, filter: &filter, limit: Some(1), args };
    let queue = walking.open(backends).await?;
    let place = Mutex::new(None);
    let show = |found: &Found| *place.lock() = Some(found.clone());
    let mut walked = walking.run(&*queue, WalkAction::Look(&show), output).await?;
    let found = place.into_inner();
    if found.is_some() {
        walked.end = WalkEnd::Complete;
    }
    let is_stopped = walked.end == WalkEnd::Stopped;
    walking.end(walked, output)?;
    if found.is_none() && !is_stopped {
        return Err(Failure::usage(format!("the queue {url} has no visible message with the ID {id}")));
    }
    Ok(found)
}
