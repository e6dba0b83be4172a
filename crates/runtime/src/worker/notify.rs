//! Notifications: tells a recipient how each message ended.
//!
//! A notification is sent when the outputs of the task are durable and the dead letter is sent, and before the message is
//! deleted. So a crash may repeat a notification, but never loses one: a message whose notification wasn't taken is
//! delivered again. Notifications that are due at the same time share a call.
//!
//! While the recipient fails, the message waits with its verdict and its lease, and only the notification is sent again:
//! running the task again would repeat what it did, and its dead letter.

use super::Worker;
use super::breaker::Probe;
use super::decision::Decision;
use super::process::Verdict;
use super::settle::observe_call;
use super::waiting::LeasedMessage;
use crate::model::key::Key;
use crate::model::message::{MAX_BATCH, OutgoingMessage};
use crate::model::notification::{End, Notification};
use crate::model::outcome::Outcome;
use crate::model::trace::Trace;
use crate::model::usage::Settled;
use crate::ports::queue::QueueError;
use crate::ports::recipient::Recipient;
use crate::task::component::Report;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Shortest pause before a notification is sent again, however short the backoff.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// Longest pause before a notification is sent again. The pause doubles with each failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Who is told how messages end, and what they are told of the component.
#[derive(Clone)]
pub struct NotifyOptions {
    /// Where notifications go.
    pub recipient: Arc<dyn Recipient>,
    /// Digest of each component, for names of versions that have none: by the name of its route, and of the default
    /// component by `None`.
    pub digests: BTreeMap<Option<String>, String>,
}

/// Sends notifications.
pub(super) struct Notifier {
    options: NotifyOptions,
    /// Sends notifications to `send_all`. The number of unsettled messages bounds the channel.
    sender: mpsc::UnboundedSender<Waiting>,
    _sending: AbortOnDropHandle<()>,
}

/// A notification that waits for its answer.
struct Waiting {
    message: OutgoingMessage,
    answer: oneshot::Sender<Result<(), QueueError>>,
}

impl NotifyOptions {
    /// Returns the name of the component of a task, with the digest. A message that no component handles has none.
    fn component(&self, Report { component, route, .. }: &Report) -> String {
        match self.digests.get(&route.as_deref().map(str::to_owned)) {
            Some(digest) if !component.contains("@sha256:") => format!("{component}@{digest}"),
            _ => component.to_string(),
        }
    }
}

impl Notifier {
    /// Creates a notifier that sends on this runtime.
    pub(super) fn start(options: NotifyOptions, io: &Handle) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let sending = AbortOnDropHandle::new(io.spawn(send_all(options.recipient.clone(), receiver)));
        Self { options, sender, _sending: sending }
    }

    pub(super) fn recipient(&self) -> &dyn Recipient {
        &*self.options.recipient
    }

    /// Sends a notification. One that the recipient refuses is sent again without its longer parts.
    async fn send(&self, notification: Notification<'_>, trace: Option<&Trace>) -> Result<(), QueueError> {
        let fifo = self.recipient().fifo();
        match self.send_once(notification.to_message(fifo, trace)).await {
            Err(QueueError::InvalidMessage(why)) => {
                let message_id = notification.message_id;
                tracing::warn!(
                    message_id,
                    why,
                    "the notification was refused: sending it without outputs, key and reason"
                );
                self.send_once(notification.shortened().to_message(fifo, trace)).await
            }
            answer => answer,
        }
    }

    pub(super) async fn send_once(&self, message: OutgoingMessage) -> Result<(), QueueError> {
        let (answer, answered) = oneshot::channel();
        // Can't fail while the notifier lives; if it did, there would be no answer.
        let _ = self.sender.send(Waiting { message, answer });
        answered.await.unwrap_or_else(|_| Err(QueueError::unanswered()))
    }
}

/// Sends notifications until the notifier is dropped. Those that arrive while all calls are in flight fill the next.
async fn send_all(recipient: Arc<dyn Recipient>, mut receiver: mpsc::UnboundedReceiver<Waiting>) {
    let calls = Arc::new(Semaphore::new(recipient.calls()));
    let mut in_flight = JoinSet::new();
    // The semaphore is never closed.
    while let Ok(call) = calls.clone().acquire_owned().await {
        let Some(first) = receiver.recv().await else { return };
        let mut batch = vec![first];
        batch.extend(std::iter::from_fn(|| receiver.try_recv().ok()).take(MAX_BATCH - 1));
        while in_flight.try_join_next().is_some() {}
        let recipient = recipient.clone();
        in_flight.spawn(async move {
            let (messages, answers): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|waiting| (waiting.message, waiting.answer)).unzip();
            let mut results = recipient.send(&messages).await.into_iter();
            drop(call);
            for answer in answers {
                // The task may have been abandoned meanwhile.
                let _ = answer.send(results.next().unwrap_or_else(|| Err(QueueError::unanswered())));
            }
        });
    }
}

/// Returns how a message ends by this decision; `None`: it doesn't end.
fn end(decision: Decision, outcome: &Outcome) -> Option<End> {
    match decision {
        // A message that completed before may have completed in the run whose notification failed.
        Decision::Delete if matches!(outcome, Outcome::Completed | Outcome::Repeated) => Some(End::Completed),
        Decision::Delete => Some(End::Dropped),
        Decision::DeadLetter => Some(End::DeadLettered),
        Decision::Retry(_) | Decision::Release(_) | Decision::Leave => None,
    }
}

impl Worker {
    /// Notifies of the end of a message, if it ends and there is a recipient, and tries again while that fails. Returns the
    /// verdict of a message that met a failing backend if the recipient isn't told while the message is ours, or when
    /// `abandon` is cancelled.
    ///
    /// The message counts as unsettled meanwhile and holds no permit. So at most as many messages wait as
    /// [`BatchPolicy::unsettled`](crate::ports::queue::BatchPolicy::unsettled) allows, and those whose tasks ran then.
    pub(super) async fn notify(
        &self,
        leased: &LeasedMessage,
        report: &Report,
        verdict: Verdict,
        probe: &mut Option<Probe>,
        abandon: &CancellationToken,
    ) -> Verdict {
        let (Some(notifier), Some(end)) = (&self.notifier, end(verdict.decision, &report.outcome)) else {
            return verdict;
        };
        tokio::select! {
            is_told = self.until_told(notifier, leased, (report, end), probe) => match is_told {
                true => verdict,
                false => Verdict::of_host(Decision::Release(self.options.backoff.first)),
            },
            () = abandon.cancelled() => Verdict::of_host(Decision::Release(Duration::ZERO)),
        }
    }

    /// Sends the notification of a message that ends and counts it in its group, each until it succeeds. Returns `false`
    /// if the lease can't last until the next try.
    async fn until_told(
        &self,
        notifier: &Notifier,
        leased: &LeasedMessage,
        (report, end): (&Report, End),
        probe: &mut Option<Probe>,
    ) -> bool {
        let mut pause = self.options.backoff.first.clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let mut is_sent = false;
        loop {
            let told = async {
                if !is_sent {
                    let sent = self.send_notification(notifier, leased, report, end).await;
                    sent.map_err(|error| ("cannot send the notification of a message", error))?;
                    is_sent = true;
                }
                let counted = self.count_in_group(notifier, leased, (end, report.outcome.kind())).await;
                counted
                    .map_err(|error| ("cannot count a message in its group, or notify of the group", error))
            };
            let Err((what, error)) = told.await else { return true };
            self.tally.counters.failed_notifications.add(1);
            let is_ours = leased.lease.lasts(pause);
            let again_in_ms = is_ours.then_some(pause.as_millis() as u64);
            let error = error.to_string();
            tracing::warn!(message_id = leased.message.id, error, again_in_ms, "{what}");
            self.breaker.queue_failed(what);
            // The circuit is open. When the backends pass their check, a new message probes: were this one still the
            // probe, it would end that one's turn.
            drop(probe.take());
            if !is_ours {
                return false;
            }
            leased.lease.waits(true);
            tokio::time::sleep(pause).await;
            // Another worker may have the message.
            if !leased.lease.lasts(Duration::ZERO) {
                return false;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Sends the notification of a message that ends. A recipient that refuses the shortest one refuses all.
    async fn send_notification(
        &self,
        notifier: &Notifier,
        leased: &LeasedMessage,
        report: &Report,
        end: End,
    ) -> Result<(), QueueError> {
        let Report { outcome, usage, outputs, .. } = report;
        let message = &*leased.message;
        let trace = report.trace.as_ref().map(|task| task.trace.clone()).or_else(|| Trace::of(message));
        let component = notifier.options.component(report);
        let notification = Notification {
            key: leased.key().map(Key::as_str),
            component: &component,
            route: report.route.as_deref(),
            traceparent: trace.as_ref().map(Trace::traceparent),
            ..Notification::new(message, leased.source.url(), end, (outcome, usage), outputs.as_deref())
        };
        let began = Instant::now();
        let answer = notifier.send(notification, trace.as_ref()).await;
        if let Some(trace) = report.exported_trace() {
            let (message_id, queue, took) = (&message.id, notifier.recipient().url(), began.elapsed());
            let call = Settled { trace, message_id, queue, operation: "notify", took, error: None };
            observe_call(&self.options.observers, call, &answer);
        }
        if answer.is_ok() {
            self.tally.counters.notified.add(1);
        }
        answer
    }
}
