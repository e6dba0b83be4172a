//! Processing: one message's task, from its body to its settlement.

use super::attribution::Attribution;
use super::body::{self, Failed, body_store};
use super::breaker::{Cause, Evidence, Probe};
use super::permits::{Permit, Unsettled};
use super::settle::{Decision, Operation, Settlement, decide};
use super::waiting::{LeasedMessage, MOST_WAITING};
use super::{InProgress, OnLeaseExpired, Worker};
use crate::model::message::Message;
use crate::model::outcome::{Cancel, Outcome, OutcomeKind};
use crate::model::usage::{TaskRecord, Usage};
use crate::task::component::Report;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

impl Worker {
    /// Runs one message's task and settles the message. The guest computes on the thread that polls this.
    pub(super) async fn process(
        self: Arc<Self>,
        leased: LeasedMessage,
        permit: Permit,
        probe: Option<Probe>,
        in_progress: Arc<InProgress>,
    ) {
        // It may have waited for a backend.
        if !leased.lease.lasts(Duration::ZERO) {
            self.tally.counters.leases_expired.add(1);
            return;
        }
        let message = leased.message.clone();
        let on_lease_expired = self.options.on_lease_expired;
        let cancelled = async {
            tokio::select! {
                () = leased.lease.expired(), if on_lease_expired == OnLeaseExpired::Cancel => Cancel::LeaseExpired,
                () = in_progress.abandon.cancelled() => Cancel::Drain,
            }
        };
        let report = self.run_task(&message, cancelled).await;
        let (report, attribution) = self.attribute(&message, report).await;
        // The breaker learns of it before the permit is free for the next message.
        self.note(&message, &report, attribution);
        if probe.is_some() {
            self.end_if_hopeless(&report, &in_progress.stop);
        }
        let unsettled = self.permits.unsettled();

        let decision =
            decide(&report.outcome, attribution, message.receive_count, &self.rules, fastrand::f64());
        let first = self.options.backoff.first;
        let mut decision = self.breaker.hold_back(decision, &report.outcome, probe.is_some(), first);
        let called = report.usage.calls > 0;
        let mut evidence = Evidence::of(&report.outcome, attribution, report.ran, called);
        let mut waits = attribution == Attribution::Host;
        // Held until the settlement is sent: one event wakes the worker for both. To send a dead letter may take long.
        let mut permit = Some(permit);
        if decision == Decision::DeadLetter {
            permit = None;
            // The lease is still renewed meanwhile. A crash after this duplicates, and never loses.
            decision = self.dead_letter(&message, &report.outcome, &in_progress.abandon).await;
            if decision != Decision::DeadLetter {
                (evidence, waits) = (Evidence::None, true);
            }
        }
        let mut leased = leased;
        if let Decision::Release(_) = decision
            && waits
            && self.breaker.cause() == Some(Cause::Backend)
        {
            match self.wait_for_backend(leased) {
                None => return,
                // It's another one that waited, or this one itself.
                Some(other) => leased = other,
            }
        }
        let operation = match decision {
            Decision::Delete | Decision::DeadLetter => Operation::Delete,
            Decision::Retry(delay) => Operation::Retry(self.possible(delay, leased.received_at)),
            Decision::Release(delay) => Operation::Release(self.possible(delay, leased.received_at)),
            Decision::Leave => {
                self.tally.counters.leases_expired.add(1);
                return;
            }
        };
        if let Some(settlement) = self.settlement(leased, operation, unsettled).await {
            // The receiver lives until all senders are gone.
            let _ = in_progress.settlements.send(Settlement { evidence, probe, ..settlement });
        }
        drop(permit);
    }

    /// Lets a message wait for a backend. Returns the one that must be released for it, if any.
    pub(super) fn wait_for_backend(&self, leased: LeasedMessage) -> Option<LeasedMessage> {
        let message_id = leased.message.id.clone();
        // Until each message that waits has probed.
        let next_try = self.breaker.pause() * MOST_WAITING + self.component.limits().timeout;
        let released = self.waiting.add(leased, next_try);
        tracing::debug!(
            message_id,
            released = released.as_ref().map(|leased| &*leased.message.id),
            "holding a message until a store or a queue works again"
        );
        released
    }

    /// Ends a message's lease, to settle the message; `None`: the lease expired.
    pub(super) async fn settlement(
        &self,
        leased: LeasedMessage,
        operation: Operation,
        unsettled: Unsettled,
    ) -> Option<Settlement> {
        let LeasedMessage { message, receipt, lease, .. } = leased;
        let ours_until = match lease.release().await {
            Some(ours_until) => ours_until,
            // Nobody may have received it since: one try.
            None if self.options.on_lease_expired == OnLeaseExpired::Finish
                && operation == Operation::Delete =>
            {
                Instant::now()
            }
            None => {
                self.tally.counters.leases_expired.add(1);
                tracing::warn!(
                    message_id = message.id,
                    "lease expired before the message was settled: it is delivered again"
                );
                return None;
            }
        };
        if operation != Operation::Delete {
            self.tally.counters.released.add(1);
        }
        Some(Settlement {
            message_id: message.id.clone(),
            receipt,
            operation,
            ours_until,
            evidence: Evidence::None,
            probe: None,
            _unsettled: unsettled,
        })
    }

    /// Runs the task of a message, once it has its body.
    async fn run_task(&self, message: &Arc<Message>, cancelled: impl Future<Output = Cancel>) -> Report {
        let began = Instant::now();
        let Some(bodies) = &self.options.bodies else {
            if body::is_elsewhere(message) {
                self.pointers_warned.call_once(|| {
                    tracing::warn!(
                        message_id = message.id,
                        "delivered a pointer to a body in S3: --body-store fetches such bodies"
                    );
                });
            }
            return self.component.run(message.clone(), cancelled).await;
        };
        let mut cancelled = pin!(cancelled);
        let fetched = tokio::select! {
            fetched = bodies.fetch(message, &self.io) => fetched,
            why = &mut cancelled => Err(Failed { outcome: Outcome::Cancelled { why }, host_error: None }),
            () = tokio::time::sleep(self.component.limits().timeout) => {
                let what = "body store: it gives no answer".into();
                Err(Failed { outcome: Outcome::HostFailed { what }, host_error: None })
            }
        };
        match fetched {
            Ok(fetched) => {
                if !Arc::ptr_eq(&fetched, message) {
                    self.attributions.succeeded(&[body_store()]);
                }
                self.component.run(fetched, cancelled).await
            }
            Err(Failed { outcome, host_error }) => {
                let queued = SystemTime::now().duration_since(message.sent_at).unwrap_or_default();
                let wall = began.elapsed();
                let usage = Usage { queued, blocked: wall, wall, ..Usage::default() };
                Report::of_no_instance(outcome, usage, host_error)
            }
        }
    }

    /// A delay that the queue takes: SQS refuses one that reaches beyond the longest time from receipt.
    fn possible(&self, delay: Duration, received_at: Instant) -> Duration {
        let left = self.max_visibility.map(|longest| longest.saturating_sub(received_at.elapsed()));
        left.map_or(delay, |left| delay.min(left))
    }

    /// Counts, logs and learns from a task's end.
    fn note(&self, message: &Message, report: &Report, attribution: Attribution) {
        self.tally.count(report);
        self.mean_wall.add(report.usage.wall);
        self.window.ended(report);
        let Report { outcome, usage, .. } = report;
        if !self.options.observers.is_empty() {
            let component = &self.options.component_name;
            let record = TaskRecord::new(&message.id, message.receive_count, component, outcome, usage);
            self.options.observers.iter().for_each(|observer| observer.ended(&record));
        }
        let (message_id, receive_count) = (&message.id, message.receive_count);
        let (fuel, cpu_us, wall_us) =
            (usage.fuel, usage.cpu.as_micros() as u64, usage.wall.as_micros() as u64);
        match outcome.kind() {
            OutcomeKind::Completed => {
                tracing::debug!(message_id, receive_count, fuel, cpu_us, wall_us, "task completed");
            }
            kind => {
                self.watched.task_failed(message, outcome);
                let (outcome, reason) = (kind.as_str(), report.outcome.reason());
                tracing::warn!(
                    message_id,
                    receive_count,
                    outcome,
                    reason,
                    fuel,
                    cpu_us,
                    wall_us,
                    "task did not complete"
                );
            }
        }
        self.breaker.task_ended(outcome, attribution, report.host_error.as_ref(), report.ran);
    }
}
