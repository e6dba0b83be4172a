//! Receiving: asks the queues for messages as soon as their tasks can start, and for no more than can start. With keys
//! and with several queues, some messages are received ahead of that: see `keyed` and `sources::watch`.
//!
//! One poller always runs. If a receive returns all the messages that it asked for, the queue probably has more:
//! another poller wakes and waits for a permit. It sleeps again after a receive that returns fewer.

use super::admission::ReadyToReceive;
use super::breaker::{Admission, Cause};
use super::settle::Operation;
use super::sources::Source;
use super::waiting::LeasedMessage;
use super::{InProgress, Worker};
use crate::ports::queue::{Delivery, Groups, QueueError};
use futures_util::future::join_all;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Longest wait that a receive asks for. A queue may wait for less: SQS's waits for 2 s.
pub const LONG_POLL: Duration = Duration::from_secs(20);
/// How long a receive waits with `until_empty`, in a helper, or while messages wait for a backend. SQS counts in
/// seconds, and rounds this up to one.
pub const SHORT_POLL: Duration = Duration::from_millis(200);
/// Maximum number of pollers. Each keeps a connection busy.
pub const MOST_POLLERS: usize = 16;

/// State that the pollers share.
pub(super) struct Polling<'a> {
    pub(super) tasks: &'a TaskTracker,
    pub(super) in_progress: &'a Arc<InProgress>,
    /// Ends receiving when it is cancelled: the worker stops, or the queue is empty.
    pub(super) over: CancellationToken,
    /// Wakes a helper when the queue may have more messages than the awake pollers ask for.
    more: Notify,
}

/// A request for messages.
pub(super) struct Ask<'a> {
    /// Maximum number of messages.
    pub(super) most: usize,
    /// How long the queue may wait for the first message.
    pub(super) wait: Duration,
    /// Ends the wait when it is cancelled.
    pub(super) stop: &'a CancellationToken,
    /// The choice of groups, if the receive is to go round them.
    pub(super) groups: Option<&'a Groups>,
}

/// The role of a poller.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Poller {
    /// Always runs. Only this poller checks failing backends and probes them.
    First,
    /// Wakes when the queue has more messages.
    Helper,
}

/// The result of a poll.
#[derive(PartialEq, Eq)]
pub(super) enum Received {
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
    pub(super) async fn receive(self: &Arc<Self>, tasks: &TaskTracker, in_progress: &Arc<InProgress>) {
        let polling =
            Polling { tasks, in_progress, over: in_progress.stop.child_token(), more: Notify::new() };
        let helpers =
            self.options.instances.get().div_ceil(self.sources.smallest_batch()).min(MOST_POLLERS) - 1;
        let helpers = join_all((0..helpers).map(|_| self.help(&polling)));
        let first = async {
            let wait = if self.options.until_empty { SHORT_POLL } else { LONG_POLL };
            while self.poll(Poller::First, &polling, wait).await != Received::End {}
            polling.over.cancel();
        };
        let fill = async {
            if let Some(keyed) = &self.keyed {
                tokio::join!(self.fill(keyed, &polling), self.apply_budgets(keyed, &polling));
            }
        };
        let watches = async {
            // A receive of the only queue itself waits for messages.
            if self.sources.only().is_none() {
                join_all(self.sources.all().iter().map(|source| self.watch(source, &polling))).await;
            }
        };
        tokio::join!(first, helpers, fill, watches);
        self.release(self.waiting.close(), in_progress).await;
        self.release(self.sources.close(), in_progress).await;
        if let Some(keyed) = &self.keyed {
            self.release(keyed.close(), in_progress).await;
        }
    }

    /// Runs a helper: polls while each receive returns all that it asked for, and sleeps in between.
    async fn help(self: &Arc<Self>, polling: &Polling<'_>) {
        loop {
            tokio::select! {
                biased;
                () = polling.over.cancelled() => return,
                () = polling.more.notified() => {}
            }
            while self.poll(Poller::Helper, polling, SHORT_POLL).await == Received::Full {}
        }
    }

    /// Receives a batch of messages and spawns a task for each. The result says whether the queue probably has more.
    async fn poll(self: &Arc<Self>, poller: Poller, polling: &Polling<'_>, wait: Duration) -> Received {
        let (ready, mut messages) = match self.ready_and_received(poller, polling, wait).await {
            ControlFlow::Continue(received) => received,
            ControlFlow::Break(received) => return received,
        };
        let ReadyToReceive { permits, mut starts, mut probe } = ready;
        // The receive may have taken long. If the worker stops or is paused, or the circuit opened meanwhile, no task starts.
        let stops = polling.in_progress.stop.is_cancelled();
        if stops || self.pause.is_on() || probe.is_none() && self.breaker.admission() != Admission::All {
            let messages = match &self.keyed {
                Some(keyed) => keyed.hold_again(messages),
                None => messages,
            };
            let waits = !stops && self.breaker.cause() == Some(Cause::Backend);
            let released = messages
                .into_iter()
                .filter_map(|leased| if waits { self.wait_for_backend(leased) } else { Some(leased) });
            self.release(released.collect(), polling.in_progress).await;
            return Received::Less;
        }
        let is_full = messages.len() >= permits.len() && probe.is_none();
        // A faulty server may return more messages than it was asked for.
        let surplus = messages.split_off(permits.len().min(messages.len()));
        if let Some(starts) = &mut starts {
            starts.start(messages.len(), Instant::now());
        }
        if let Some(starting) = &self.options.starting {
            starting.before_tasks().await;
        }
        for (leased, permit) in messages.into_iter().zip(permits) {
            let span = self.routes.task_span(&leased.message);
            let task = self.clone().process(leased, permit, probe.take(), polling.in_progress.clone());
            self.routes.threads().spawn(polling.tasks, task.instrument(span));
        }
        self.release(surplus, polling.in_progress).await;
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
    ) -> ControlFlow<Received, (ReadyToReceive<'_>, Vec<LeasedMessage>)> {
        let ready = self.ready(poller, polling).await?;
        let messages = self.next_messages(&ready, poller, polling, wait).await?;
        if !messages.is_empty() {
            return ControlFlow::Continue((ready, messages));
        }
        drop(ready);
        let is_over = self.options.until_empty
            && self.sources.held() == 0
            && self.sources.are_empty()
            && polling.tasks.is_empty()
            && self.waiting.is_empty()
            && self.keyed.as_ref().is_none_or(|keyed| keyed.is_empty())
            && self.is_empty().await;
        ControlFlow::Break(if is_over { Received::End } else { Received::Less })
    }

    /// Returns the messages whose tasks may start now: those that wait for a backend, or else those that the queue
    /// delivers.
    async fn next_messages(
        &self,
        ready: &ReadyToReceive<'_>,
        poller: Poller,
        polling: &Polling<'_>,
        wait: Duration,
    ) -> ControlFlow<Received, Vec<LeasedMessage>> {
        let (most, probes) = (ready.permits.len(), ready.probe.is_some());
        // Messages that don't need the failing backend go on, one after the other: those that wait for it would pause them.
        if !probes || !self.breaker.waiting_may_not_probe() && self.waiting.probe_is_due() {
            let waiting = self.waiting.take(most);
            if !waiting.is_empty() {
                return ControlFlow::Continue(waiting);
            }
        }
        let wait = if self.waiting.is_empty() { wait } else { SHORT_POLL };
        let began = Instant::now();
        let messages = match &self.keyed {
            Some(keyed) => keyed.next(most, probes, wait, &polling.over).await,
            None => {
                let ask = Ask { most, wait, stop: &polling.over, groups: None };
                self.ask(ask, poller, polling).await?
            }
        };
        self.window.received(messages.len(), most, began.elapsed());
        if messages.is_empty() && probes {
            return ControlFlow::Continue(self.waiting.take(most));
        }
        ControlFlow::Continue(messages)
    }

    /// Begins the lease of a received message.
    pub(super) fn lease(&self, source: &Arc<Source>, delivery: Delivery) -> LeasedMessage {
        let lease = self.leases.hold(source, &delivery);
        let Delivery { message, receipt, .. } = delivery;
        LeasedMessage {
            message: message.into(),
            receipt,
            lease,
            source: source.clone(),
            received_at: Instant::now(),
            key_permit: None,
        }
    }

    /// Asks the queues for messages and records the result.
    pub(super) async fn ask(
        &self,
        ask: Ask<'_>,
        poller: Poller,
        polling: &Polling<'_>,
    ) -> ControlFlow<Received, Vec<LeasedMessage>> {
        let stop = ask.stop.child_token();
        let mut receive = pin!(self.receive_leased(Ask { stop: &stop, ..ask }));
        if poller == Poller::First {
            self.records.receive_begins();
        }
        let received = loop {
            tokio::select! {
                biased;
                // Only `abandon` may drop this call: the messages that it has received would be lost until their
                // visibility timeout ends.
                received = &mut receive => break received,
                () = polling.in_progress.abandon.cancelled() => return ControlFlow::Break(Received::End),
                () = self.pause.began(), if !stop.is_cancelled() => stop.cancel(),
            }
        };
        if poller == Poller::First {
            self.records.receive_ends();
        }
        match received {
            Ok(messages) => {
                self.records.receive_succeeded(messages.iter().map(|leased| &*leased.message));
                ControlFlow::Continue(messages)
            }
            Err(error) => {
                self.tally.counters.failed_receives.add(1);
                let why = format!("the queue cannot be received from: {error}");
                let pause = self.breaker.receive_failed(&why);
                tracing::warn!(queue = self.sources.urls(), %error, again_in_ms = pause.as_millis() as u64, "cannot receive from the queue");
                self.records.receive_failed(why);
                ControlFlow::Break(Received::Less)
            }
        }
    }

    /// Receives messages of the only queue, or of several in their turns, and begins their leases.
    async fn receive_leased(&self, ask: Ask<'_>) -> Result<Vec<LeasedMessage>, QueueError> {
        let Some(source) = self.sources.only() else { return Ok(self.in_turn(ask).await) };
        let deliveries = source.receive(ask.most, ask.wait, ask.stop, ask.groups).await?;
        self.count_received(deliveries.len());
        source.waited(deliveries.len());
        Ok(deliveries.into_iter().map(|delivery| self.lease(source, delivery)).collect())
    }

    /// Counts the messages of a receive that was answered.
    pub(super) fn count_received(&self, messages: usize) {
        self.tally.counters.received.add(messages);
        self.tally.counters.empty_receives.add(usize::from(messages == 0));
    }

    /// Releases messages whose tasks don't start, as the worker stops or a backend fails. Other workers may receive
    /// them at once.
    pub(super) async fn release(&self, messages: Vec<LeasedMessage>, in_progress: &InProgress) {
        self.release_after(Duration::ZERO, messages, in_progress).await;
    }

    /// Releases messages after a delay.
    pub(super) async fn release_after(
        &self,
        delay: Duration,
        messages: impl IntoIterator<Item = LeasedMessage>,
        in_progress: &InProgress,
    ) {
        for leased in messages {
            let unsettled = self.permits.unsettled();
            let operation = Operation::Release(leased.source.possible(delay, leased.received_at));
            if let Some(settlement) = self.settlement(leased, operation, unsettled).await {
                in_progress.settle(settlement);
            }
        }
    }

    async fn is_empty(&self) -> bool {
        match self.sources.depth().await {
            Ok(depth) => depth.is_empty(),
            Err((queue, error)) => {
                tracing::warn!(queue, %error, "cannot read the queue depth");
                false
            }
        }
    }
}
