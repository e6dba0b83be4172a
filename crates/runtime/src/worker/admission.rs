//! Admission: whether and how many messages may be received now.
//!
//! A poller takes a permit and, if `--rate` is set, a start for each message that it asks for. If an operator has paused
//! the worker, it waits. Then it asks the circuit breaker. While a backend fails, the first poller checks the backends.

use super::Worker;
use super::breaker::{Admission, Probe};
use super::notify::Notifier;
use super::permits::Permit;
use super::rate::{BURST, Taken};
use super::receive::{Poller, Polling, Received};
use super::sources::Source;
use crate::model::message::MAX_BATCH;
use crate::task::grant::Grants;
use std::fmt::Display;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long a failing backend may take to answer a check.
const LONGEST_CHECK: Duration = Duration::from_secs(10);

/// Everything that a poller acquires before it asks for messages.
pub(super) struct ReadyToReceive<'a> {
    /// One permit for each message to ask for.
    pub(super) permits: Vec<Permit>,
    /// Starts under the rate limit, if the user set one.
    pub(super) starts: Option<Taken<'a>>,
    /// Set if the next message probes. Then there is only one permit.
    pub(super) probe: Option<Probe>,
}

impl Worker {
    /// Acquires permits, starts and the breaker's admission for one receive.
    pub(super) async fn ready(
        &self,
        poller: Poller,
        polling: &Polling<'_>,
    ) -> ControlFlow<Received, ReadyToReceive<'_>> {
        // Permits and starts may take long to acquire. The breaker comes last: its answer must hold when messages are
        // received.
        let mut permits = self.take_permits(polling).await?;
        let starts = self.may_start(permits.len(), poller, &polling.over).await?;
        self.not_paused(poller, &polling.over).await?;
        let probe = match poller {
            Poller::First => self.admitted(&polling.over).await?,
            // While backends recover, only the first poller receives.
            Poller::Helper if self.breaker.admission() == Admission::All => None,
            Poller::Helper => return ControlFlow::Break(Received::Less),
        };
        if polling.over.is_cancelled() {
            return ControlFlow::Break(Received::End);
        }
        let most = if probe.is_some() { 1 } else { MAX_BATCH };
        permits.truncate(starts.as_ref().map_or(most, |starts| most.min(starts.count())));
        ControlFlow::Continue(ReadyToReceive { permits, starts, probe })
    }

    /// Waits for a permit, then takes other free permits for the same receive. A request costs the same for one message
    /// as for ten. So if tasks are short, it waits for more of them to end, as long as the batch policy says.
    async fn take_permits(&self, polling: &Polling<'_>) -> ControlFlow<Received, Vec<Permit>> {
        let first = tokio::select! {
            biased;
            () = polling.over.cancelled() => return ControlFlow::Break(Received::End),
            first = self.permits.acquire() => first,
        };
        let policy = self.sources.policy;
        let (batch, receiving_wait) = (policy.batch(), policy.receiving_wait);
        let mut permits = vec![first];
        permits.extend(std::iter::from_fn(|| self.permits.try_acquire()).take(batch - 1));
        if self.mean_wall.get() >= receiving_wait {
            return ControlFlow::Continue(permits);
        }
        let until = tokio::time::Instant::now() + receiving_wait;
        // Only tasks that still run can free more permits.
        while permits.len() < batch && !polling.tasks.is_empty() {
            tokio::select! {
                biased;
                () = polling.over.cancelled() => break,
                permit = tokio::time::timeout_at(until, self.permits.acquire()) => match permit {
                    Ok(permit) => permits.push(permit),
                    Err(_) => break,
                },
            }
        }
        ControlFlow::Continue(permits)
    }

    /// Takes up to `most` starts under the rate limit; `None` if there is no limit. The first poller waits for a start.
    /// A helper gives up if the next start is more than [`BURST`] away.
    async fn may_start(
        &self,
        most: usize,
        poller: Poller,
        stop: &CancellationToken,
    ) -> ControlFlow<Received, Option<Taken<'_>>> {
        let Some(starts) = &self.starts else { return ControlFlow::Continue(None) };
        loop {
            let now = Instant::now();
            let at = match starts.take(most, now) {
                Ok(taken) => return ControlFlow::Continue(Some(taken)),
                Err(at) => at,
            };
            if poller == Poller::Helper && at > now + BURST {
                return ControlFlow::Break(Received::Less);
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return ControlFlow::Break(Received::End),
                () = tokio::time::sleep_until(at.into()) => {}
            }
        }
    }

    /// Waits until no operator has paused the worker. A helper gives up.
    async fn not_paused(&self, poller: Poller, stop: &CancellationToken) -> ControlFlow<Received> {
        if !self.pause.is_on() {
            return ControlFlow::Continue(());
        }
        if poller == Poller::Helper {
            return ControlFlow::Break(Received::Less);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => ControlFlow::Break(Received::End),
            () = self.pause.ended() => ControlFlow::Continue(()),
        }
    }

    /// Waits until the breaker admits messages, and checks the backends when the breaker asks for it. Returns the probe
    /// if only one message is admitted.
    async fn admitted(&self, stop: &CancellationToken) -> ControlFlow<Received, Option<Probe>> {
        let admitted = async {
            loop {
                match self.breaker.admission() {
                    Admission::All => return None,
                    Admission::Probe => {
                        if let Some(probe) = self.breaker.begin_probe() {
                            return Some(probe);
                        }
                    }
                    Admission::Wait => self.breaker.changed().await,
                    Admission::Check(at) => {
                        tokio::select! {
                            () = tokio::time::sleep_until(at.into()) => {}
                            // A task that completes may close the circuit.
                            () = self.breaker.changed() => continue,
                        }
                        let failure = self.check_backends().await;
                        if failure.is_none() {
                            self.records.all_answer();
                        }
                        self.breaker.checked(failure.as_deref());
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => ControlFlow::Break(Received::End),
            probe = admitted => ControlFlow::Continue(probe),
        }
    }

    /// Checks the queues. It is enough that one of several works. Returns the first failure.
    async fn check_queues(&self) -> Option<String> {
        let mut failure = None;
        for source in self.sources.all() {
            match check_queue(source).await {
                None => return None,
                failed => failure = failure.or(failed),
            }
        }
        failure
    }

    /// Checks the queues, the recipient of notifications, the group store, the body store and each granted store. Returns
    /// the first failure. With routes, it is enough that the stores of one component work: the store of one tenant must not
    /// stop the tasks of all others.
    async fn check_backends(&self) -> Option<String> {
        if let Some(failure) = self.check_queues().await {
            return Some(failure);
        }
        if let Some(recipient) = self.notifier.as_ref().map(Notifier::recipient)
            && let Err(why) = answer_to(recipient.check()).await
        {
            return Some(format!("recipient of notifications {}: {why}", recipient.url()));
        }
        if let Some(groups) = &self.options.groups
            && let Err(why) = answer_to(groups.store.check()).await
        {
            return Some(format!("group store {}: {why}", groups.store.url()));
        }
        if let Some(bodies) = &self.options.bodies
            && let Err(why) = answer_to(bodies.store.probe(false)).await
        {
            return Some(format!("body store: {why}"));
        }
        let mut failure = None;
        for component in self.routes.components() {
            match check_stores(component.grants()).await {
                None => return None,
                failed => failure = failure.or(failed),
            }
        }
        failure
    }
}

/// Checks a queue and its dead-letter queue. Returns the first failure.
async fn check_queue(source: &Source) -> Option<String> {
    let dead_letter = source.dead_letter.iter().map(|dead_letter| &dead_letter.queue);
    for queue in std::iter::once(&source.queue).chain(dead_letter) {
        if let Err(why) = answer_to(queue.depth()).await {
            return Some(format!("queue {}: {why}", queue.url()));
        }
    }
    None
}

/// Checks the granted stores of a component. Returns the first failure.
async fn check_stores(grants: &Grants) -> Option<String> {
    for grant in grants.stores.values() {
        if let Err(why) = answer_to(grant.store.probe(grant.mode.writes())).await {
            return Some(format!("store {}: {why}", grant.alias));
        }
    }
    None
}

/// Returns the answer of a backend, or an error if there is none within [`LONGEST_CHECK`].
async fn answer_to<T, E: Display>(check: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(LONGEST_CHECK, check).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("no answer in time".into()),
    }
}
