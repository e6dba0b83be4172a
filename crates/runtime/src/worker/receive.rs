//! Receiving: never more than can start, as soon as it can start, and from one place when there is little to do.
//!
//! One poller is always there. Where a receive brings all that was asked for there is probably more: another poller
//! wakes, as long as there are slots, and sleeps again with the first receive that brings less.

use super::breaker::Admission;
use super::rate::{BURST, Taken};
use super::scale::{Instance, Instances};
use super::settle::Operation;
use super::waiting::LeasedMessage;
use super::{InProgress, Worker};
use crate::message::MAX_BATCH;
use crate::queue::{Delivery, Pace};
use crate::trace;
use futures_util::future::join_all;
use std::fmt::Display;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// How long a receive waits for a message, unless the queue answers before.
const LONG_POLL: Duration = Duration::from_secs(20);
/// How long it waits where the worker ends with the queue, or where others wait already; SQS counts in seconds, and
/// makes one of it.
const SHORT_POLL: Duration = Duration::from_millis(200);
/// How long a failing backend may take to answer a probe.
const LONGEST_PROBE: Duration = Duration::from_secs(10);
/// The most pollers: each keeps a connection busy.
const MOST_POLLERS: usize = 16;

/// What a message occupies while it's in the worker's hands.
pub(super) struct Slot {
    /// Given back when the task has ended.
    pub(super) instance: Instance,
    /// Given back when the message is settled.
    pub(super) in_hand: OwnedSemaphorePermit,
}

/// What the pollers share.
struct Polling<'a> {
    instances: &'a Arc<Instances>,
    in_hand: Arc<Semaphore>,
    tasks: &'a TaskTracker,
    in_progress: &'a Arc<InProgress>,
    stop: &'a CancellationToken,
    /// There is more to receive than the pollers that are awake ask for.
    more: Notify,
    /// Of the receives that ended last, so many brought nothing.
    empty: AtomicU32,
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
        let instances = self.options.instances.get();
        let unsettled = self.queue.pace().unsettled();
        let polling = Polling {
            instances: &self.instances,
            in_hand: Arc::new(Semaphore::new(instances.saturating_add(unsettled))),
            tasks,
            in_progress,
            stop,
            more: Notify::new(),
            empty: AtomicU32::new(0),
        };
        let over = CancellationToken::new();
        let helpers = instances.div_ceil(self.queue.pace().receive_batch.max(1)).min(MOST_POLLERS) - 1;
        let helpers = join_all((0..helpers).map(|_| self.help(&polling, &over)));
        let first = async {
            let wait = if self.options.until_empty { SHORT_POLL } else { LONG_POLL };
            while self.poll_as(Poller::First, &polling, wait).await != Received::End {}
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
            while self.poll_as(Poller::Helper, polling, SHORT_POLL).await == Received::Full {}
        }
    }

    /// Receives once, and starts the tasks of what came.
    async fn poll_as(self: &Arc<Self>, poller: Poller, polling: &Polling<'_>, wait: Duration) -> Received {
        let mut sizings = self.sizing.subscribe();
        let ready = tokio::select! {
            biased;
            // It may be long until it's ready, and what it has by now may be more than there are slots.
            _ = sizings.changed() => return Received::Less,
            ready = self.ready(poller, polling) => ready,
        };
        let (mut slots, mut starts, most) = match ready {
            ControlFlow::Continue(ready) => ready,
            ControlFlow::Break(received) => return received,
        };
        let is_trial = most == 1;
        slots.truncate(starts.as_ref().map_or(most, |starts| most.min(starts.count())));
        let (mut instances, in_hand): (Vec<_>, Vec<_>) =
            slots.into_iter().map(|slot| (slot.instance, slot.in_hand)).unzip();
        let asked = instances.len();
        let mut leased = match self.next_messages(is_trial, in_hand, poller, polling, wait).await {
            ControlFlow::Continue(leased) => leased,
            ControlFlow::Break(received) => return received,
        };
        if leased.is_empty() {
            drop(instances);
            let empty = polling.empty.fetch_add(1, Ordering::Relaxed) + 1;
            let is_over = self.options.until_empty
                && empty >= self.queue.pace().empty_receives
                && polling.tasks.is_empty()
                && self.waiting.is_empty()
                && self.is_empty().await;
            return if is_over { Received::End } else { Received::Less };
        }
        polling.empty.store(0, Ordering::Relaxed);
        // It may have waited for them for long.
        let unwanted = polling.stop.is_cancelled() || !is_trial && self.breaker.admission() != Admission::All;
        // Meanwhile fewer may have become allowed at once.
        let beyond = self.instances.beyond(self.sizing.borrow().most.get()).min(leased.len());
        let started = if unwanted { 0 } else { leased.len() - beyond };
        let released = leased.split_off(started);
        instances.truncate(leased.len());
        self.release(released, polling.in_progress).await;
        if leased.is_empty() {
            return Received::Less;
        }
        if is_trial {
            self.breaker.trial_begins();
        }
        if let Some(starts) = &mut starts {
            starts.start(leased.len(), Instant::now());
        }
        if let Some(starting) = &self.options.starting {
            starting.before_tasks().await;
        }
        let is_full = leased.len() >= asked && !is_trial;
        for (leased, instance) in leased.into_iter().zip(instances) {
            let span = trace::task_span(&leased.message);
            let task = self.clone().process(leased, instance, is_trial, polling.in_progress.clone());
            let task = task.instrument(span);
            self.component.threads().spawn(polling.tasks, task);
        }
        if is_full {
            polling.more.notify_one();
        }
        if is_full { Received::Full } else { Received::Less }
    }

    /// The messages whose tasks may start now: those that wait for a backend, or what the queue has. `in_hand`: the permits
    /// for so many.
    async fn next_messages(
        &self,
        is_trial: bool,
        in_hand: Vec<OwnedSemaphorePermit>,
        poller: Poller,
        polling: &Polling<'_>,
        wait: Duration,
    ) -> ControlFlow<Received, Vec<LeasedMessage>> {
        let asked = in_hand.len();
        if !is_trial || self.waiting.probe_is_due() {
            let waiting = self.waiting.take(asked);
            if !waiting.is_empty() {
                return ControlFlow::Continue(waiting);
            }
        }
        let wait = if self.waiting.is_empty() { wait } else { SHORT_POLL };
        let deliveries = self.ask(asked, poller, polling, wait).await?;
        if deliveries.is_empty() && is_trial {
            return ControlFlow::Continue(self.waiting.take(asked));
        }
        let lease = |(delivery, in_hand): (Delivery, _)| {
            let lease = self.leases.hold(&delivery);
            let Delivery { message, receipt, .. } = delivery;
            LeasedMessage { message: message.into(), receipt, lease, received_at: Instant::now(), in_hand }
        };
        ControlFlow::Continue(deliveries.into_iter().zip(in_hand).map(lease).collect())
    }

    /// Waits until messages may be received: into these slots, so many as may start now where the user bounds that, and at
    /// most so many as the breaker admits.
    async fn ready(
        &self,
        poller: Poller,
        polling: &Polling<'_>,
    ) -> ControlFlow<Received, (Vec<Slot>, Option<Taken<'_>>, usize)> {
        // Free slots and starts first, and then the breaker: what it says must be true when messages are received.
        let Some(first) = polling.slot().await else { return ControlFlow::Break(Received::End) };
        let mut slots = vec![first];
        self.fill(&mut slots, polling).await;
        let starts = self.may_start(slots.len(), poller, polling.stop).await?;
        let most = match poller {
            Poller::First => self.admitted(polling.stop).await,
            // While the backends recover, one poller is enough.
            Poller::Helper if self.breaker.admission() == Admission::All => Some(MAX_BATCH),
            Poller::Helper => return ControlFlow::Break(Received::Less),
        };
        match most.filter(|_| !polling.stop.is_cancelled()) {
            Some(most) => ControlFlow::Continue((slots, starts, most)),
            None => ControlFlow::Break(Received::End),
        }
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
                self.pulse.received(deliveries.len(), asked, began.elapsed());
                self.watched.receive_succeeded(&deliveries);
                ControlFlow::Continue(deliveries)
            }
            Err(error) => {
                counters.failed_receives.add(1);
                let pause = self.breaker.receive_failed();
                tracing::warn!(queue = self.queue.url(), %error, again_in_ms = pause.as_millis() as u64, "The queue can't be received from.");
                self.watched.receive_failed(format!("the queue can't be received from: {error}"));
                ControlFlow::Break(Received::Less)
            }
        }
    }

    /// Takes what else is free for a receive. Each request costs as much for one message as for ten: where tasks are short,
    /// it waits a moment for more of them to end.
    async fn fill(&self, slots: &mut Vec<Slot>, polling: &Polling<'_>) {
        let Pace { receive_batch, receiving_wait, .. } = self.queue.pace();
        let batch = receive_batch.clamp(1, MAX_BATCH);
        polling.in_progress.gathering.all();
        slots.extend(std::iter::from_fn(|| polling.free_slot()).take(batch - 1));
        if self.mean_wall.get() >= receiving_wait {
            return;
        }
        let until = tokio::time::Instant::now() + receiving_wait;
        // As long as there are tasks that may end.
        while slots.len() < batch && !polling.tasks.is_empty() {
            match tokio::time::timeout_at(until, polling.slot()).await {
                Ok(Some(slot)) => slots.push(slot),
                Ok(None) | Err(_) => return,
            }
        }
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

    /// Releases messages whose tasks don't start: the worker was told to stop or to run fewer tasks, or a backend fails.
    /// Others may have them at once.
    async fn release(&self, messages: Vec<LeasedMessage>, in_progress: &InProgress) {
        for leased in messages {
            if let Some(settlement) = self.settlement(leased, Operation::Uncount(Duration::ZERO)).await {
                in_progress.gathering.settle(settlement, Duration::MAX);
            }
        }
    }

    /// Waits until messages may be received, and says how many at most; `None`: the worker stops.
    async fn admitted(&self, stop: &CancellationToken) -> Option<usize> {
        loop {
            let wait = async {
                match self.breaker.admission() {
                    Admission::All => return Some(MAX_BATCH),
                    Admission::One => return Some(1),
                    Admission::Wait => self.breaker.changed().await,
                    Admission::Probe(at) => {
                        tokio::time::sleep_until(at.into()).await;
                        let failure = self.probe().await;
                        if failure.is_none() {
                            self.watched.all_answer();
                        }
                        if let Some(pause) = self.breaker.probed(failure.is_none()) {
                            let error = failure.unwrap_or_default();
                            self.watched.fails(error.clone());
                            tracing::warn!(
                                error,
                                again_in_ms = pause.as_millis() as u64,
                                "Still failing; nothing is received."
                            );
                        }
                    }
                }
                None
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                most = wait => if most.is_some() {
                    return most;
                },
            }
        }
    }

    /// Asks the queue and each granted store whether they are well again; says what isn't.
    async fn probe(&self) -> Option<String> {
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
                tracing::warn!(queue = self.queue.url(), %error, "The queue's depth isn't known.");
                false
            }
        }
    }
}

/// What a probe says, if it says something soon.
async fn answer_to<T, E: Display>(probe: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(LONGEST_PROBE, probe).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("it gives no answer".into()),
    }
}

impl Polling<'_> {
    /// Waits for a free slot; `None`: the worker stops.
    async fn slot(&self) -> Option<Slot> {
        let slot = async {
            // The semaphores are never closed.
            let instance = self.instances.acquire().await?;
            let in_hand = self.in_hand.clone().acquire_owned().await.ok()?;
            Some(Slot { instance, in_hand })
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            slot = slot => slot,
        }
    }

    /// A slot that is free now.
    fn free_slot(&self) -> Option<Slot> {
        let instance = self.instances.try_acquire()?;
        let in_hand = self.in_hand.clone().try_acquire_owned().ok()?;
        Some(Slot { instance, in_hand })
    }
}
