//! Attribution: decides whether every message would meet the error of a task, or whether one message causes it.
//!
//! An error that every message would meet is never counted against one: the message is released, and the circuit
//! breaker records a failure. An error that one message causes must not stop the worker: that message is released with
//! a longer backoff, and in the end its receives count. Other tasks show which error it is: if they use the same
//! backend successfully, the backend works.

use super::decision::Attribution;
use super::{Worker, on_io};
use crate::model::host_error::{Access, HostError, HostErrorKind, Used};
use crate::model::limits::Limit;
use crate::model::message::Message;
use crate::model::outcome::Outcome;
use crate::task::component::Report;
use crate::task::routes::Routed;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Number of failures after which a message is to blame, if the backend worked for other messages each time.
const ITS_OWN_AFTER: u32 = 3;
/// How long a store may take to return again what it returned before. The task keeps its permit meanwhile.
const CONTROL_READ: Duration = Duration::from_secs(2);
/// Number of suspects that are remembered. Beyond it the oldest is forgotten, and starts from zero.
const MAX_SUSPECTS: usize = 1000;

/// Results of the tasks so far, from which the state of the backends follows.
#[derive(Debug)]
pub(super) struct Attributions {
    /// Number of tasks that used a backend successfully, by backend and access.
    successes: BTreeMap<Used, AtomicU64>,
    suspects: Mutex<Suspects>,
}

#[derive(Debug, Default)]
struct Suspects {
    by_message: HashMap<String, Suspect>,
    /// Message ids, the oldest suspect first.
    order: VecDeque<String>,
}

/// A message whose task failed because of a backend.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    /// Number of failures while the backend was known to work.
    times: u32,
    /// Number of tasks that had used the backend successfully at the last failure.
    seen: u64,
}

impl Attributions {
    pub(super) fn of(backends: impl Iterator<Item = String>) -> Self {
        let uses =
            backends.flat_map(|backend| Access::ALL.map(|access| Used { backend: backend.clone(), access }));
        let successes = uses.map(|used| (used, AtomicU64::new(0))).collect();
        Self { successes, suspects: Mutex::default() }
    }

    /// Records that a task used these backends successfully.
    pub(super) fn succeeded(&self, well: &[Used]) {
        for successes in well.iter().filter_map(|used| self.successes.get(used)) {
            successes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Attributes the error of a failed task. `well`: the store still returns another object. `proven`: a task has
    /// completed since the worker began, so that the component and its grants are right.
    pub(super) fn attribute(
        &self,
        message_id: &str,
        error: &HostError,
        well: bool,
        proven: bool,
    ) -> Attribution {
        match error.kind {
            HostErrorKind::Invalid => return Attribution::Message,
            HostErrorKind::NotGranted if proven => return Attribution::Message,
            HostErrorKind::NotGranted => return Attribution::Host,
            // A refusal isn't transient: the next try would meet it again.
            HostErrorKind::Refused { .. } if well => return Attribution::Message,
            HostErrorKind::Refused { .. } | HostErrorKind::Unavailable { .. } => {}
        }
        let successes = self.successes.get(&error.used).map_or(0, |count| count.load(Ordering::Relaxed));
        let mut suspects = self.suspects.lock();
        let suspect = suspects.get(message_id, successes);
        let others_succeed = successes > suspect.seen;
        suspect.seen = successes;
        if !well && !others_succeed {
            return Attribution::Host;
        }
        suspect.times = suspect.times.saturating_add(1);
        if suspect.times >= ITS_OWN_AFTER {
            Attribution::Message
        } else {
            Attribution::Suspect { times: suspect.times }
        }
    }
}

/// Returns whether a task may have ended like this because of its host error.
fn may_follow_from(outcome: &Outcome, error: &HostError) -> bool {
    match outcome {
        Outcome::HostFailed { .. }
        | Outcome::Rejected { .. }
        | Outcome::Retry { .. }
        | Outcome::Trapped { .. } => true,
        // A guest that waits for a backend, and tries again and again, uses these up. One that computes doesn't.
        Outcome::TimedOut
        | Outcome::LimitExceeded {
            limit: Limit::BlockedTime | Limit::StoreCalls | Limit::SentMessages | Limit::WriteSize,
        } => matches!(error.kind, HostErrorKind::Unavailable { .. }),
        _ => false,
    }
}

impl Suspects {
    /// Returns what is known of a message. A new suspect starts with the current number of successes.
    fn get(&mut self, message_id: &str, successes: u64) -> &mut Suspect {
        if !self.by_message.contains_key(message_id) {
            if self.order.len() == MAX_SUSPECTS
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_message.remove(&oldest);
            }
            self.order.push_back(message_id.to_owned());
        }
        self.by_message.entry(message_id.to_owned()).or_insert(Suspect { times: 0, seen: successes })
    }
}

impl Worker {
    /// Decides who is to blame for a failed task. Unless it is the message, the outcome becomes
    /// [`Outcome::HostFailed`], whatever the guest made of the error. Where messages don't wait for backends, it always is.
    pub(super) async fn attribute(
        &self,
        message: &Message,
        routed: Routed<'_>,
        mut report: Report,
    ) -> (Report, Attribution) {
        if !self.options.waits_for_backends {
            return (report, Attribution::Message);
        }
        let Some(error) = &report.host_error else {
            let attribution = match report.outcome {
                Outcome::HostFailed { .. } => Attribution::Host,
                Outcome::Cancelled { .. } | Outcome::TimedOut => Attribution::Message,
                _ => {
                    self.attributions.succeeded(&report.well);
                    self.breaker.used(&report.well);
                    Attribution::Message
                }
            };
            return (report, attribution);
        };
        if !may_follow_from(&report.outcome, error) {
            return (report, Attribution::Message);
        }
        let well = self.reads_something_else(routed, error).await;
        let proven = routed.component().is_some_and(|component| component.has_completed());
        let attribution = self.attributions.attribute(&message.id, error, well, proven);
        if attribution != Attribution::Message {
            if error.kind == HostErrorKind::NotGranted {
                self.misconfiguration.log_missing_grant(&message.id, &error.text);
            }
            report.outcome = Outcome::HostFailed { what: error.text.clone() };
        }
        (report, attribution)
    }

    /// Returns whether a store that didn't return an object still returns the one that was read last. If so, the error
    /// concerns that object alone.
    async fn reads_something_else(&self, routed: Routed<'_>, error: &HostError) -> bool {
        let Some(key) = error.kind.reading() else { return false };
        let (Some(component), alias) = (routed.component(), routed.alias(&error.used)) else { return false };
        let Some(last) = component.calls().last_read(alias) else { return false };
        let Some(grant) = component.grants().stores.get(alias) else { return false };
        if last == key {
            return false;
        }
        // With another key's rights, if the store is used by key.
        let (store, last) = grant.place_of(last);
        let reading = on_io(&self.io, async move { store.read(&last, None, Some(0..1)).await.is_ok() });
        matches!(tokio::time::timeout(CONTROL_READ, reading).await, Ok(Ok(true)))
    }
}

#[cfg(test)]
#[path = "attribution_tests.rs"]
mod tests;
