//! Filling: receives messages ahead of free permits, so that fair shares have a choice, and releases what can't start.
//!
//! With `--key`, only this receives from the queue. The pollers, which have the permits, take what fair shares choose.

use super::breaker::{Admission, Cause};
use super::holding::{RELEASED_FOR, most_ahead};
use super::keyed::KeyedMessages;
use super::receive::{Ask, LONG_POLL, Poller, Polling, Received, SHORT_POLL};
use super::{InProgress, Worker};
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

impl Worker {
    /// Keeps messages of all keys at hand until receiving is over.
    pub(super) async fn fill(&self, keyed: &Arc<KeyedMessages>, polling: &Polling<'_>) {
        let mut checks_at = Instant::now();
        while !polling.over.is_cancelled() {
            if Instant::now() >= checks_at {
                checks_at = Instant::now() + SHORT_POLL;
                self.release_surplus(keyed, polling.in_progress).await;
            }
            let most = self.may_hold(keyed);
            if most == 0 {
                tokio::select! {
                    () = polling.over.cancelled() => {}
                    // The watches of empty queues may leave out a key that has room again.
                    () = keyed.started() => self.sources.watch_anew(),
                    () = tokio::time::sleep(SHORT_POLL) => {}
                }
            } else if self.receive_ahead(most, keyed, polling).await == Received::End {
                return;
            }
        }
    }

    /// Receives up to `most` messages and holds them.
    async fn receive_ahead(
        &self,
        most: usize,
        keyed: &Arc<KeyedMessages>,
        polling: &Polling<'_>,
    ) -> Received {
        let wait = if self.options.until_empty { SHORT_POLL } else { LONG_POLL };
        let groups = keyed.groups(self.permits.limit());
        let leaves_out = groups.as_ref().is_some_and(|groups| !groups.except.is_empty());
        // A receive must not be dropped. It returns early when this is cancelled.
        let enough = polling.over.child_token();
        let ask = Ask { most, wait, stop: &enough, groups: groups.as_ref() };
        let mut asking = pin!(self.ask(ask, Poller::First, polling));
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut asking => break answer,
                // A key that was left out may have room again.
                () = keyed.started(), if leaves_out && !enough.is_cancelled() => enough.cancel(),
            }
        };
        match answer {
            ControlFlow::Continue(messages) => {
                if enough.is_cancelled() {
                    self.sources.watch_anew();
                }
                let refused = keyed.add(messages, |message, url| self.routes.object_key(message, url));
                self.release(refused, polling.in_progress).await;
                Received::Less
            }
            ControlFlow::Break(received) => received,
        }
    }

    /// Returns the number of messages that may be received ahead now.
    fn may_hold(&self, keyed: &KeyedMessages) -> usize {
        if self.pause.is_on() {
            return 0;
        }
        let room = keyed.room(self.permits.limit());
        let fails = self.breaker.cause() == Some(Cause::Backend);
        match self.breaker.admission() {
            Admission::Check(_) => 0,
            // While a backend fails, one message probes it, and no other is kept from workers that it may not fail.
            Admission::Probe | Admission::Wait if fails => room.min(usize::from(keyed.is_empty())),
            // While tasks fail, fair shares choose the probes: one key's failures must not keep held messages waiting.
            Admission::All | Admission::Probe | Admission::Wait => {
                most_ahead(room, keyed.chooses_groups(), self.sources.policy.batch())
            }
        }
    }

    /// Releases the messages that are held for too long, or in the way of others.
    async fn release_surplus(&self, keyed: &KeyedMessages, in_progress: &InProgress) {
        let limit = self.permits.limit();
        let has_permits = self.leases.count_running() < limit;
        let surplus = keyed.surplus(limit, has_permits, self.routes.timeout());
        if surplus.is_empty() {
            return;
        }
        tracing::debug!(messages = surplus.len(), "released held messages: they could not start in time");
        self.release_after(RELEASED_FOR, surplus, in_progress).await;
    }
}
