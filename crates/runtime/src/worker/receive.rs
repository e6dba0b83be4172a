//! Receiving: asks the queue for messages as soon as their tasks can start, and never for more than can start.
//!
//! One poller always runs. If a receive returns all the messages that it asked for, the queue probably has more, and
//! another poller wakes, as long as there are permits. That poller sleeps again after the first receive that returns
//! fewer.

use super::breaker::{Admission, Cause, Probe};
use super::permits::Permit;
use super::rate::{BURST, Taken};
use super::settle::Operation;
use super::waiting::LeasedMessage;
use super::{InProgress, Worker};
use crate::model::message::MAX_BATCH;
use crate::model::trace;
use crate::ports::queue::{BatchPolicy, Delivery};
use futures_util::future::join_all;
use std::fmt::Display;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// How long a receive waits for a message. The queue may answer earlier.
const LONG_POLL: Duration = Duration::from_secs(20);
/// How long a receive waits with `until_empty`, in a helper, or while messages wait for a backend. SQS counts in
/// seconds, and rounds this up to one.
const SHORT_POLL: Duration = Duration::from_millis(200);
/// How long a failing backend may take to answer a check.
const LONGEST_CHECK: Duration = Duration::from_secs(10);
/// Maximum number of pollers. Each keeps a connection busy.
const MOST_POLLERS: usize = 16;

/// State that the pollers share.
struct Polling<'a> {
    tasks: &'a TaskTracker,
    in_progress: &'a Arc<InProgress>,
    stop: &'a CancellationToken,
    /// Wakes a helper when the queue may have more messages than the awake pollers ask for.
    more: Notify,
    /// Number of receives in a row that returned no message.
    empty: AtomicU32,
}

/// Everything that a poller acquires before it asks for messages.
struct Ready<'a> {
    /// One permit for each message to ask for.
    permits: Vec<Permit>,
    /// Starts under the rate limit, if the user set one.
    starts: Option<Taken<'a>>,
    /// Set if the next message probes. Then there is only one permit.
    probe: Option<Probe>,
}

/// The role of a poller.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Poller {
    /// Always runs. Only this poller checks failing backends and probes them.
    First,
    /// Wakes when the queue has more messages.
    Helper,
}

/// The result of a poll.
#[derive(PartialEq, Eq)]
enum Received {
    /// All the messages that were asked for.
    Full,
    /// Fewer messages, or none.
    Less,
    /// The worker stops, or the queue is empty.
    End,
}

impl Worker {
    /// Receives messages and starts their tasks until the worker stops or, with `until_empty`, until the queue is
    /// empty.
    pub(super) async fn receive(
        self: &Arc<Self>,
        tasks: &TaskTracker,
        in_progress: &Arc<InProgress>,
        stop: &CancellationToken,
    ) {
        let polling = Polling { tasks, in_progress, stop, more: Notify::new(), empty: AtomicU32::new(0) };
        let over = CancellationToken::new();
        let helpers = self
            .options
            .instances
            .get()
            .div_ceil(self.queue.batch_policy().receive_batch.max(1))
            .min(MOST_POLLERS)
            - 1;
        let helpers = join_all((0..helpers).map(|_| self.help(&polling, &over)));
        let first = async {
            let wait = if self.options.until_empty { SHORT_POLL } else { LONG_POLL };
            while self.poll(Poller::First, &polling, wait).await != Received::End {}
            over.cancel();
        };
        tokio::join!(first, helpers);
        self.release(self.waiting.close(), in_progress).await;
    }

    /// Runs a helper: polls while each receive returns all that it asked for, and sleeps in between.
    async fn help(self: &Arc<Self>, polling: &Polling<'_>, over: &CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = over.cancelled() => return,
                () = polling.more.notified() => {}
            }
            while self.poll(Poller::Helper, polling, SHORT_POLL).await == Received::Full {}
        }
    }

    /// Receives a batch of messages and spawns a task for each. The result says whether the queue probably has more.
    async fn poll(self: &Arc<Self>, poller: Poller, polling: &Polling<'_>, wait: Duration) -> Received {
        let (ready, messages) = match self.ready_and_received(poller, polling, wait).await {
            ControlFlow::Continue(received) => received,
            ControlFlow::Break(received) => return received,
        };
        let Ready { permits, mut starts, mut probe } = ready;
        // The receive may have taken long. If the worker stops or the circuit opened meanwhile, no task starts.
        let stops = polling.stop.is_cancelled();
        if stops || probe.is_none() && self.breaker.admission() != Admission::All {
            let waits = !stops && self.breaker.cause() == Some(Cause::Backend);
            let released = messages
                .into_iter()
                .filter_map(|leased| if waits { self.wait_for_backend(leased) } else { Some(leased) });
            self.release(released.collect(), polling.in_progress).await;
            return Received::Less;
        }
        let is_full = messages.len() >= permits.len() && probe.is_none();
        if let Some(starts) = &mut starts {
            starts.start(messages.len(), Instant::now());
        }
        if let Some(starting) = &self.options.starting {
            starting.before_tasks().await;
        }
        for (leased, permit) in messages.into_iter().zip(permits) {
            let span = trace::task_span(&leased.message);
            let task = self.clone().process(leased, permit, probe.take(), polling.in_progress.clone());
            self.component.threads().spawn(polling.tasks, task.instrument(span));
        }
        if is_full {
            polling.more.notify_one();
        }
        if is_full { Received::Full } else { Received::Less }
    }

    /// Acquires what a receive needs, then waits for messages. Breaks if there is no message to start a task for.
    async fn ready_and_received(
        &self,
        poller: Poller,
        polling: &Polling<'_>,
        wait: Duration,
    ) -> ControlFlow<Received, (Ready<'_>, Vec<LeasedMessage>)> {
        let ready = self.ready(poller, polling).await?;
        let messages = self.next_messages(&ready, poller, polling, wait).await?;
        if !messages.is_empty() {
            polling.empty.store(0, Ordering::Relaxed);
            return ControlFlow::Continue((ready, messages));
        }
        drop(ready);
        let empty = polling.empty.fetch_add(1, Ordering::Relaxed) + 1;
        let is_over = self.options.until_empty
            && empty >= self.queue.batch_policy().empty_receives
            && polling.tasks.is_empty()
            && self.waiting.is_empty()
            && self.is_empty().await;
        ControlFlow::Break(if is_over { Received::End } else { Received::Less })
    }

    /// Acquires permits, starts and the breaker's admission for one receive.
    async fn ready(&self, poller: Poller, polling: &Polling<'_>) -> ControlFlow<Received, Ready<'_>> {
        // Permits and starts may take long to acquire. The breaker comes last: its answer must hold when messages are
        // received.
        let mut permits = self.take_permits(polling).await?;
        let starts = self.may_start(permits.len(), poller, polling.stop).await?;
        let probe = match poller {
            Poller::First => self.admitted(polling.stop).await?,
            // While backends recover, only the first poller receives.
            Poller::Helper if self.breaker.admission() == Admission::All => None,
            Poller::Helper => return ControlFlow::Break(Received::Less),
        };
        if polling.stop.is_cancelled() {
            return ControlFlow::Break(Received::End);
        }
        let most = if probe.is_some() { 1 } else { MAX_BATCH };
        permits.truncate(starts.as_ref().map_or(most, |starts| most.min(starts.count())));
        ControlFlow::Continue(Ready { permits, starts, probe })
    }

    /// Returns the messages whose tasks may start now: those that wait for a backend, or else those that the queue
    /// delivers.
    async fn next_messages(
        &self,
        ready: &Ready<'_>,
        poller: Poller,
        polling: &Polling<'_>,
        wait: Duration,
    ) -> ControlFlow<Received, Vec<LeasedMessage>> {
        let (most, probes) = (ready.permits.len(), ready.probe.is_some());
        if !probes || self.waiting.probe_is_due() {
            let waiting = self.waiting.take(most);
            if !waiting.is_empty() {
                return ControlFlow::Continue(waiting);
            }
        }
        let wait = if self.waiting.is_empty() { wait } else { SHORT_POLL };
        let deliveries = self.ask(most, poller, polling, wait).await?;
        if deliveries.is_empty() && probes {
            return ControlFlow::Continue(self.waiting.take(most));
        }
        let lease = |delivery: Delivery| {
            let lease = self.leases.hold(&delivery);
            let Delivery { message, receipt, .. } = delivery;
            LeasedMessage { message: message.into(), receipt, lease, received_at: Instant::now() }
        };
        ControlFlow::Continue(deliveries.into_iter().map(lease).collect())
    }

    /// Asks the queue for `asked` messages and records the result.
    async fn ask(
        &self,
        asked: usize,
        poller: Poller,
        polling: &Polling<'_>,
        wait: Duration,
    ) -> ControlFlow<Received, Vec<Delivery>> {
        let began = Instant::now();
        if poller == Poller::First {
            self.watched.receive_begins();
        }
        let received = tokio::select! {
            biased;
            // Only `abandon` may drop this call: the messages that it has received would be lost until their visibility
            // timeout ends.
            received = self.queue.receive(asked, wait, polling.stop) => received,
            () = polling.in_progress.abandon.cancelled() => return ControlFlow::Break(Received::End),
        };
        if poller == Poller::First {
            self.watched.receive_ends();
        }
        let counters = &self.tally.counters;
        match received {
            Ok(deliveries) => {
                counters.received.add(deliveries.len());
                counters.empty_receives.add(usize::from(deliveries.is_empty()));
                self.window.received(deliveries.len(), asked, began.elapsed());
                self.watched.receive_succeeded(&deliveries);
                ControlFlow::Continue(deliveries)
            }
            Err(error) => {
                counters.failed_receives.add(1);
                let why = format!("the queue can't be received from: {error}");
                let pause = self.breaker.receive_failed(&why);
                tracing::warn!(queue = self.queue.url(), %error, again_in_ms = pause.as_millis() as u64, "cannot receive from the queue");
                self.watched.receive_failed(why);
                ControlFlow::Break(Received::Less)
            }
        }
    }

    /// Waits for a permit, then takes other free permits for the same receive. A request costs the same for one message
    /// as for ten. So if tasks are short, it waits up to [`BatchPolicy::receiving_wait`] for more of them to end.
    async fn take_permits(&self, polling: &Polling<'_>) -> ControlFlow<Received, Vec<Permit>> {
        let first = tokio::select! {
            biased;
            () = polling.stop.cancelled() => return ControlFlow::Break(Received::End),
            first = self.permits.acquire() => first,
        };
        let BatchPolicy { receive_batch, receiving_wait, .. } = self.queue.batch_policy();
        let batch = receive_batch.clamp(1, MAX_BATCH);
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
                () = polling.stop.cancelled() => break,
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

    /// Releases messages whose tasks don't start, as the worker stops or a backend fails. Other workers may receive
    /// them at once.
    async fn release(&self, messages: Vec<LeasedMessage>, in_progress: &InProgress) {
        for leased in messages {
            let unsettled = self.permits.unsettled();
            if let Some(settlement) =
                self.settlement(leased, Operation::Release(Duration::ZERO), unsettled).await
            {
                let _ = in_progress.settlements.send(settlement);
            }
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
                            self.watched.all_answer();
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

    /// Checks the queues, the body store and each granted store. Returns the first failure.
    async fn check_backends(&self) -> Option<String> {
        let dead_letter = self.dead_letter.iter().map(|dead_letter| &dead_letter.queue);
        for queue in std::iter::once(&self.queue).chain(dead_letter) {
            if let Err(why) = answer_to(queue.depth()).await {
                return Some(format!("queue {}: {why}", queue.url()));
            }
        }
        if let Some(bodies) = &self.options.bodies
            && let Err(why) = answer_to(bodies.store.probe(false)).await
        {
            return Some(format!("body store: {why}"));
        }
        for grant in self.component.grants().stores.values() {
            if let Err(why) = answer_to(grant.store.probe(grant.mode.writes())).await {
                return Some(format!("store {}: {why}", grant.alias));
            }
        }
        None
    }

    async fn is_empty(&self) -> bool {
        match self.queue.depth().await {
            Ok(depth) => depth.is_empty(),
            Err(error) => {
                tracing::warn!(queue = self.queue.url(), %error, "cannot read the queue depth");
                false
            }
        }
    }
}

/// Returns the answer of a backend, or an error if there is none within [`LONGEST_CHECK`].
async fn answer_to<T, E: Display>(check: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(LONGEST_CHECK, check).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("no answer in time".into()),
    }
}
