//! Announces the objects of a store, as S3 would.

use super::seen::Seen;
use super::{Sender, count, messages};
use crate::output::Output;
use crate::output::failure::Failure;
use crate::wiring::signals::StopSignals;
use std::collections::HashSet;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use wasmrun_runtime::model::event::notification;
use wasmrun_runtime::model::message::MAX_BATCH;
use wasmrun_runtime::ports::object_store::{MAX_PAGE, ObjectStore, ObjectSummary};

/// Announces the objects of a store whose keys start with a prefix.
pub(super) struct Announcer<'a> {
    pub(super) sender: Sender<'a>,
    pub(super) store: &'a dyn ObjectStore,
    pub(super) prefix: &'a str,
    pub(super) seen: Seen,
}

impl Announcer<'_> {
    /// Announces objects that arrive or change, until a signal stops the command.
    pub(super) async fn watch(&mut self, every: Duration, output: &Output) -> Result<ExitCode, Failure> {
        // Handled before the first listing, as a signal that arrives during it must not get lost.
        let mut signals = StopSignals::new()?;
        let watch = async {
            let sent = self.announce_and_say(output).await?;
            if sent > 0 && !self.seen.lasts() {
                tracing::info!("a restart announces all objects again: --seen FILE remembers them");
            }
            let mut rounds = tokio::time::interval(every.max(Duration::from_millis(10)));
            rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                rounds.tick().await;
                match self.announce().await {
                    Ok(0) => {}
                    Ok(sent) => output.line(format_args!("announced {}", count(sent, "object"))),
                    // Objects that weren't announced aren't remembered, so the next round announces them.
                    Err(failure) => tracing::warn!("{failure}"),
                }
            }
        };
        tokio::select! {
            ended = watch => ended,
            () = signals.next() => Ok(ExitCode::SUCCESS),
        }
    }

    /// Announces objects, and prints their number and the queue.
    pub(super) async fn announce_and_say(&mut self, output: &Output) -> Result<usize, Failure> {
        let sent = self.announce().await?;
        output.line(format_args!("announced {} to {}", count(sent, "object"), self.sender.queue.url()));
        Ok(sent)
    }

    /// Sends an event for each object that is new or has changed. Returns the number of events.
    async fn announce(&mut self) -> Result<usize, Failure> {
        let mut sent = 0;
        let mut continuation: Option<String> = None;
        let mut present = HashSet::new();
        loop {
            let page = self
                .store
                .list(self.prefix, continuation.as_deref(), MAX_PAGE)
                .await
                .map_err(|error| Failure::store(self.store.url(), &error))?;
            let new: Vec<ObjectSummary> =
                page.objects.iter().filter(|object| !self.seen.holds(object)).cloned().collect();
            for batch in new.chunks(MAX_BATCH) {
                let event = |object: &ObjectSummary| {
                    let at = object.modified_at.unwrap_or_else(SystemTime::now);
                    notification(self.store.url(), &object.key, object.size, object.etag.as_deref(), at)
                };
                let events = messages(&self.sender.template, batch.iter().map(event).collect())?;
                self.sender.send(&events).await?;
                self.seen.add(batch)?;
                sent += batch.len();
            }
            present.extend(page.objects.into_iter().map(|object| object.key));
            continuation = page.continuation;
            if continuation.is_none() {
                // The listing contains only keys with the prefix, so all other keys are kept.
                let prefix = self.prefix;
                self.seen.forget_all_but(|key| !key.starts_with(prefix) || present.contains(key))?;
                return Ok(sent);
            }
        }
    }
}
