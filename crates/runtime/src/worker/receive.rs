//! Receiving: never more than can start, as soon as it can start, and from one place when there is little to do.
//!
//! One poller is always there. Where a receive brings all that was asked for there is probably more: another poller
//! wakes, as long as there are permits, and sleeps again with the first receive that brings less.

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

/// How long a receive waits for a message, unless the queue answers before.
const LONG_POLL: Duration = Duration::from_secs(20);
/// How long it waits where the worker ends with the queue, or where others wait already; SQS counts in seconds, and
/// makes one of it.
const SHORT_POLL: Duration = Duration::from_millis(200);
/// How long a failing backend may take to answer when it's checked.
const LONGEST_CHECK: Duration = Duration::from_secs(10);
/// The most pollers: each keeps a connection busy.
const MOST_POLLERS: usize = 16;

/// What the pollers share.
struct Polling<'a> {
    tasks: &'a TaskTracker,
    in_progress: &'a Arc<InProgress>,
    stop: &'a CancellationToken,
    /// There is more to receive than the pollers that are awake ask for.
    more: Notify,
    /// Of the receives that ended last, so many brought nothing.
    empty: AtomicU32,
}

/// What may be received now.
struct Ready<'a> {
    /// One for each message.
    permits: Vec<Permit>,
    /// Where the user bounds how fast tasks start.
    starts: Option<Taken<'a>>,
    /// There is one permit then.
    probe: Option<Probe>,
}

/// Who receives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Poller {
    /// The one that is always there, and that finds out when failing backends work again.
    First,
    /// One that wakes when there is more.
    Helper,
}

/// What a receive came to.
#[derive(PartialEq, Eq)]
enum Received {
    /// All that was asked for.
    Full,
    /// Less than that.
    Less,
    /// It's over: the worker stops, or the queue is empty.
    End,
}

impl Worker {
    /// Receives messages and starts their tasks until there is a reason to stop.
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

    /// Polls as long as there is more than others ask for, and sleeps in between.
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

    /// Receives once, and starts the tasks of what came.
    async fn poll(self: &Arc<Self>, poller: Poller, polling: &Polling<'_>, wait: Duration) -> Received {
        let (ready, messages) = match self.ready_and_received(poller, polling, wait).await {
            ControlFlow::Continue(received) => received,
            ControlFlow::Break(received) => return received,
        };
        let Ready { permits, mut starts, mut probe } = ready;
        // The receive may have taken long.
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

    /// Waits until messages may be received, and for messages.
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

    /// Waits until messages may be received.
    async fn ready(&self, poller: Poller, polling: &Polling<'_>) -> ControlFlow<Received, Ready<'_>> {
        // Permits and starts first, and then the breaker: what it says must be true when messages are received.
        let mut permits = self.take_permits(polling).await?;
        let starts = self.may_start(permits.len(), poller, polling.stop).await?;
        let probe = match poller {
            Poller::First => self.admitted(polling.stop).await?,
            // While the backends recover, one poller is enough.
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

    /// The messages whose tasks may start now: those that wait for a backend, or what the queue has.
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

    /// Asks the queue for so many messages, and notes how that went.
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
            // Not raced against anything else: what it has received must not get lost.
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

    /// Waits for a permit, and takes what else is free for a receive. Each request costs as much for one message as for
    /// ten: where tasks are short, it waits a moment for more of them to end.
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
        // As long as there are tasks that may end.
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

    /// At most so many tasks that may start now, where the user bounds how fast they do. The first poller waits for one,
    /// a helper only for a moment.
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

    /// Releases messages whose tasks don't start: the worker was told to stop, or a backend fails.
    /// Others may have them at once.
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

    /// Waits until messages may be received, or one that probes.
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

    /// Asks the queue and each granted store whether they are well again; says what isn't.
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

/// What a backend answers, if it answers soon.
async fn answer_to<T, E: Display>(check: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(LONGEST_CHECK, check).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("no answer in time".into()),
    }
}
