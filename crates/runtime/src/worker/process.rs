//! Processing: runs the task of one message, from fetching its body to sending its settlement.

use super::body::{self, Failed, body_store};
use super::breaker::{Cause, Evidence, Probe};
use super::control::cancelled;
use super::decision::{Attribution, Decision, decide};
use super::permits::{Permit, Unsettled};
use super::settle::{Operation, Settlement};
use super::waiting::{LeasedMessage, MOST_WAITING};
use super::{InProgress, OnLeaseExpired, Worker};
use crate::model::key::Key;
use crate::model::message::Message;
use crate::model::outcome::{Cancel, Outcome, OutcomeKind};
use crate::model::usage::{TaskRecord, Usage};
use crate::task::calls::CallResult;
use crate::task::component::Report;
use crate::task::routes::Routed;
use crate::task::staged::StagedOutputs;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The result of a task for its message and for the circuit breaker.
pub(super) struct Verdict {
    pub(super) decision: Decision,
    evidence: Evidence,
    /// The host is to blame: if the message is released, it may wait in the worker for the backend.
    of_host: bool,
}

impl Verdict {
    /// Returns the verdict of a message whose end a failing backend prevents.
    pub(super) fn of_host(decision: Decision) -> Self {
        Self { decision, evidence: Evidence::None, of_host: true }
    }
}

impl Worker {
    /// Runs the task of one message and settles the message. The guest computes on the thread that polls this future.
    ///
    /// The steps: run the task, attribute its error, record the result, decide what to do, send a dead letter and a
    /// notification if so decided, and then either let the message wait for a backend or settle it.
    pub(super) async fn process(
        self: Arc<Self>,
        mut leased: LeasedMessage,
        permit: Permit,
        mut probe: Option<Probe>,
        in_progress: Arc<InProgress>,
    ) {
        // The lease may have expired while the message waited for a backend.
        if !leased.lease.lasts(Duration::ZERO) {
            self.tally.counters.leases_expired.add(1);
            return;
        }
        let routed = self.routes.of(&leased.message);
        let report = self.report(&leased, routed, &in_progress.abandon).await;
        if let Some(key_permit) = &mut leased.key_permit {
            // The time for which the task alone held its permit: others are to blame for its waiting for a thread.
            key_permit.used(report.usage.wall.saturating_sub(report.usage.ready));
            if self.options.budgets.is_some() {
                key_permit.charge(&report.usage);
            }
        }
        let (report, attribution) = self.attribute(&leased.message, routed, report).await;
        // The breaker must know the result before the permit is free for the next message.
        self.record(&leased, &report, attribution);
        if probe.is_some() {
            self.end_if_misconfigured(&report, &in_progress.stop);
        }
        let unsettled = self.permits.unsettled();
        let mut verdict = self.verdict(&leased, routed, &report, attribution, probe.is_some());
        // The permit is freed after the settlement is sent, so that one event wakes the worker for both. Sending a dead
        // letter or a notification may take long: the permit is then freed before.
        let mut permit = Some(permit);
        if verdict.decision == Decision::DeadLetter || self.notifier.is_some() {
            permit = None;
            // The lease is still renewed. A crash after this duplicates the message, but never loses it.
            if verdict.decision == Decision::DeadLetter
                && let Err(later) = self.send_dead_letter(&leased, &report, &in_progress.abandon).await
            {
                verdict = Verdict::of_host(later);
            }
            verdict = self.notify(&leased, &report, verdict, &mut probe, &in_progress.abandon).await;
        }
        let message = leased.message.clone();
        let Some(leased) = self.wait_or_settle(leased, &verdict) else { return };
        // Another message may be settled instead.
        let is_same = Arc::ptr_eq(&message, &leased.message);
        let Some(operation) = self.operation(verdict.decision, &leased) else {
            self.tally.counters.leases_expired.add(1);
            return;
        };
        if !leased.source.queue.settles() {
            self.breaker.settled(verdict.evidence, probe);
        } else if let Some(settlement) = self.settlement(leased, operation, unsettled).await {
            let trace = report.exported_trace().filter(|_| is_same).cloned().map(Box::new);
            let settlement = Settlement { evidence: verdict.evidence, probe, trace, ..settlement };
            in_progress.settle(settlement);
        }
        drop(permit);
    }

    /// Runs the task of a message, unless the message has expired, is cancelled or has completed before.
    async fn report(
        &self,
        leased: &LeasedMessage,
        routed: Routed<'_>,
        abandon: &CancellationToken,
    ) -> Report {
        // The ledger is asked first: what has completed must not become a dead letter, which would run when moved back.
        if let Some(once) = &self.once {
            return self.run_once(once, leased, routed, abandon).await;
        }
        match self.ended_before(leased, routed) {
            Some(report) => report,
            None => self.run_task(leased, routed, None, abandon).await,
        }
    }

    /// Returns the report of a message that has expired or was cancelled, or `None` if its task may run.
    pub(super) fn ended_before(&self, leased: &LeasedMessage, routed: Routed<'_>) -> Option<Report> {
        self.expired(leased, routed).or_else(|| cancelled(leased, routed))
    }

    /// Decides what to do with a message whose task has ended.
    fn verdict(
        &self,
        LeasedMessage { message, source, .. }: &LeasedMessage,
        routed: Routed<'_>,
        report: &Report,
        attribution: Attribution,
        probes: bool,
    ) -> Verdict {
        let Report { outcome, usage, well, ran, .. } = report;
        let tests = probes && self.breaker.is_tested_by(well, |used| routed.may_use(used));
        let decision = decide(outcome, attribution, message.receive_count, &source.rules, fastrand::f64());
        Verdict {
            decision: self.breaker.hold_back(decision, outcome, probes, self.options.backoff.first),
            evidence: Evidence::of(outcome, attribution, *ran, usage.calls > 0, tests),
            of_host: attribution == Attribution::Host,
        }
    }

    /// Keeps a message in the worker while a backend that its task needs fails. Returns the message to settle, if any:
    /// this message, or a waiting message that makes room for it.
    fn wait_or_settle(&self, leased: LeasedMessage, verdict: &Verdict) -> Option<LeasedMessage> {
        let is_released = matches!(verdict.decision, Decision::Release(_));
        if is_released && verdict.of_host && self.breaker.cause() == Some(Cause::Backend) {
            self.wait_for_backend(leased)
        } else {
            Some(leased)
        }
    }

    /// Returns the queue operation that carries out a decision, or `None` if the message is no longer ours.
    fn operation(&self, decision: Decision, leased: &LeasedMessage) -> Option<Operation> {
        let possible = |delay| leased.source.possible(delay, leased.received_at);
        match decision {
            Decision::Delete | Decision::DeadLetter => Some(Operation::Delete),
            Decision::Retry(delay) => Some(Operation::Retry(possible(delay))),
            Decision::Release(delay) => Some(Operation::Release(possible(delay))),
            Decision::Leave => None,
        }
    }

    /// Lets a message wait for a backend. Returns the message that must be released, if any: this message if it may not
    /// wait, or a waiting message that makes room for it.
    pub(super) fn wait_for_backend(&self, leased: LeasedMessage) -> Option<LeasedMessage> {
        let message_id = leased.message.id.clone();
        // Time in which each waiting message probes once.
        let next_try = self.breaker.pause() * MOST_WAITING + self.routes.timeout();
        let released = self.waiting.add(leased, next_try);
        tracing::debug!(
            message_id,
            released = released.as_ref().map(|leased| &*leased.message.id),
            "holding a message until a store or a queue works again"
        );
        released
    }

    /// Ends the lease of a message and returns its settlement. Returns `None` if the lease has expired.
    pub(super) async fn settlement(
        &self,
        leased: LeasedMessage,
        operation: Operation,
        unsettled: Unsettled,
    ) -> Option<Settlement> {
        let LeasedMessage { message, receipt, lease, source, .. } = leased;
        let ours_until = match lease.release().await {
            Some(ours_until) => ours_until,
            // The lease has expired, but perhaps nobody has received the message since: deleting it gets one attempt.
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
            source.reset_empty();
        }
        Some(Settlement {
            message_id: message.id.clone(),
            source,
            receipt,
            operation,
            ours_until,
            evidence: Evidence::None,
            probe: None,
            trace: None,
            _unsettled: unsettled,
        })
    }

    /// Fetches the body of a message, if it is in a store, and runs the task.
    ///
    /// Ends the task when `abandon` is cancelled, when an operator cancels the message and, if so configured, when the
    /// lease expires. With `outputs`, what the task writes and deletes is staged there.
    pub(super) async fn run_task(
        &self,
        leased: &LeasedMessage,
        routed: Routed<'_>,
        outputs: Option<&Arc<StagedOutputs>>,
        abandon: &CancellationToken,
    ) -> Report {
        let (message, began) = (&leased.message, Instant::now());
        let key = leased.key();
        let cancels = self.options.on_lease_expired == OnLeaseExpired::Cancel;
        let cancelled = async {
            tokio::select! {
                () = leased.lease.expired(), if cancels => Cancel::LeaseExpired,
                () = abandon.cancelled() => Cancel::Drain,
                then = leased.lease.cancelled() => Cancel::Operator { then },
            }
        };
        let Some(bodies) = &self.options.bodies else {
            self.warn_of_pointer(message);
            return routed.run_with(message.clone(), key, outputs, cancelled).await;
        };
        let Some(component) = routed.component() else {
            return routed.run_with(message.clone(), key, outputs, cancelled).await;
        };
        let bodies = bodies.at_most(component.body_bytes());
        let mut cancelled = pin!(cancelled);
        let fetched = tokio::select! {
            fetched = bodies.fetch(message, &self.io) => fetched,
            why = &mut cancelled => Err(Failed::of(Outcome::Cancelled { why })),
            () = tokio::time::sleep(component.timeout()) => {
                let what = "body store: no answer in time".into();
                let read = Some(CallResult::Unavailable);
                Err(Failed { read, ..Failed::of(Outcome::HostFailed { what }) })
            }
        };
        let took = began.elapsed();
        match fetched {
            Ok(fetched) => {
                let was_elsewhere = !Arc::ptr_eq(&fetched, message);
                if was_elsewhere {
                    self.attributions.succeeded(&[body_store()]);
                }
                let mut report = routed.run_with(fetched, key, outputs, cancelled).await;
                if let Some(trace) = report.trace.as_mut().filter(|_| was_elsewhere) {
                    trace.add_fetch(body::fetch_call(took, CallResult::Ok));
                }
                report
            }
            Err(Failed { outcome, host_error, read }) => {
                let mut report = routed.without_task(message, outcome, host_error);
                report.usage = Usage { blocked: took, wall: took, ..report.usage };
                if let (Some(trace), Some(result)) = (&mut report.trace, read) {
                    trace.calls.push(body::fetch_call(took, result));
                }
                report
            }
        }
    }

    /// Warns once of a message whose body is in a store, although none is configured.
    fn warn_of_pointer(&self, message: &Message) {
        if body::is_elsewhere(message) {
            self.pointers_warned.call_once(|| {
                tracing::warn!(
                    message_id = message.id,
                    "delivered a pointer to a body in S3: --body-store fetches such bodies"
                );
            });
        }
    }

    /// Counts and logs the end of a task, and reports it to the observers and the breaker.
    fn record(&self, leased: &LeasedMessage, report: &Report, attribution: Attribution) {
        let message = &leased.message;
        let key = leased.key();
        self.tally.count(report);
        self.mean_wall.add(report.usage.wall);
        self.window.ended(report);
        if !self.options.observers.is_empty() {
            // With one queue, all tasks are of the same one.
            let queue = self.sources.only().is_none().then(|| leased.source.url());
            let record = TaskRecord { key: key.map(Key::as_str), queue, ..report.record(message) };
            self.options.observers.iter().for_each(|observer| observer.ended(&record));
        }
        self.log(message, key, report);
        self.breaker.task_ended(&report.outcome, attribution, report.host_error.as_ref(), report.ran);
    }

    /// Logs the end of a task.
    fn log(&self, message: &Message, key: Option<&Key>, report: &Report) {
        let Report { outcome, usage, .. } = report;
        let (message_id, receive_count) = (&message.id, message.receive_count);
        let (fuel, cpu_us, wall_us) =
            (usage.fuel, usage.cpu.as_micros() as u64, usage.wall.as_micros() as u64);
        // Shown escaped, and left out if there is none.
        let key = key.map(tracing::field::display);
        let route = report.route.as_deref();
        // Without routes, all tasks are of the same one.
        let component = route.map(|_| &*report.component);
        match outcome.kind() {
            OutcomeKind::Completed => {
                tracing::debug!(
                    message_id,
                    receive_count,
                    key,
                    route,
                    component,
                    fuel,
                    cpu_us,
                    wall_us,
                    "task completed"
                );
            }
            // Clients come and go.
            _ if *outcome == (Outcome::Cancelled { why: Cancel::ClientGone }) => {
                tracing::debug!(message_id, fuel, cpu_us, wall_us, "the client has gone");
            }
            kind if matches!(outcome, Outcome::Repeated | Outcome::Claimed { .. }) => {
                let (outcome, reason) = (kind.as_str(), outcome.reason());
                tracing::debug!(message_id, receive_count, key, outcome, reason, "no task ran");
            }
            kind => {
                self.records.task_failed(message, outcome);
                let (outcome, reason) = (kind.as_str(), report.outcome.reason());
                tracing::warn!(
                    message_id,
                    receive_count,
                    key,
                    route,
                    component,
                    outcome,
                    reason,
                    fuel,
                    cpu_us,
                    wall_us,
                    "task did not complete"
                );
            }
        }
    }
}
