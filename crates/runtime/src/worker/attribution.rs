//! Attribution: whether an error that a task met in a backend would meet every message, or is its message's own.
//!
//! What every message would meet is never counted against one: the message is given back, and the circuit breaker hears of
//! it. What one message causes must not stop the worker: its task is tried again apart from the others, and counts in the
//! end. Other tasks tell which it is: where they use the same backend with success, that is well.

use super::Worker;
use crate::model::host_error::{Access, HostError, HostErrorKind, Used};
use crate::model::message::Message;
use crate::model::outcome::Outcome;
use crate::task::component::Report;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// A message that a backend failed so often while it was well for others is to blame itself.
const ITS_OWN_AFTER: u32 = 3;
/// How long a store may take to hand out what it handed out before. The task's permit waits meanwhile.
const CONTROL_READ: Duration = Duration::from_secs(2);
/// Messages that are remembered; beyond that the oldest is forgotten, and begins anew.
const MAX_SUSPECTS: usize = 1000;

/// Whose error it is that a task failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribution {
    /// The message's, or its component's: the policy for its outcome decides, and its receive counts.
    Message,
    /// Probably the message's: its receive doesn't count yet, and the breaker doesn't hear of it.
    Suspect {
        /// How often this has happened to it.
        times: u32,
    },
    /// Everyone's.
    Host,
}

/// What the tasks that ended tell of the backends.
#[derive(Debug)]
pub(super) struct Attributions {
    /// Tasks that used a backend with success, for each backend and what it was used for.
    successes: BTreeMap<Used, AtomicU64>,
    suspects: Mutex<Suspects>,
}

#[derive(Debug, Default)]
struct Suspects {
    by_message: HashMap<String, Suspect>,
    /// Their ids, the oldest first.
    order: VecDeque<String>,
}

/// A message whose task failed for a backend's reasons.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    /// How often the backend was known to be well then.
    times: u32,
    /// How often others had succeeded when it failed last.
    seen: u64,
}

impl Attributions {
    pub(super) fn of(backends: impl Iterator<Item = String>) -> Self {
        let uses =
            backends.flat_map(|backend| Access::ALL.map(|access| Used { backend: backend.clone(), access }));
        let successes = uses.map(|used| (used, AtomicU64::new(0))).collect();
        Self { successes, suspects: Mutex::default() }
    }

    /// A task used this with success.
    pub(super) fn succeeded(&self, well: &[Used]) {
        for successes in well.iter().filter_map(|used| self.successes.get(used)) {
            successes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A task failed with this error. `well`: the backend was asked for something else since, and gave it. `proven`: a task
    /// has completed since the worker began, so that component and grants fit.
    pub(super) fn attribute(
        &self,
        message_id: &str,
        error: &HostError,
        well: bool,
        proven: bool,
    ) -> Attribution {
        match error.kind {
            HostErrorKind::NotGranted if proven => return Attribution::Message,
            HostErrorKind::NotGranted => return Attribution::Host,
            // A refusal is no accident: the next try would meet it again.
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

impl Suspects {
    /// What is known of a message; of one that fails for the first time, nothing but the successes until now.
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
    /// Finds out whose error it is that a task failed. What would meet every message is [`Outcome::HostFailed`] from then on,
    /// whatever the guest made of it.
    pub(super) async fn attribute(&self, message: &Message, mut report: Report) -> (Report, Attribution) {
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
        let may_be_of_host = matches!(
            report.outcome,
            Outcome::HostFailed { .. }
                | Outcome::Rejected { .. }
                | Outcome::Retry { .. }
                | Outcome::Trapped { .. }
        );
        if !may_be_of_host {
            return (report, Attribution::Message);
        }
        let well = self.reads_something_else(error).await;
        let proven = self.breaker.has_completed();
        let attribution = self.attributions.attribute(&message.id, error, well, proven);
        if attribution != Attribution::Message {
            if error.kind == HostErrorKind::NotGranted {
                self.misconfiguration.log_missing_grant(&message.id, &error.text);
            }
            report.outcome = Outcome::HostFailed { what: error.text.clone() };
        }
        (report, attribution)
    }

    /// Whether a store that didn't hand out an object still hands out the one that was read last: then it's the object's
    /// own matter.
    async fn reads_something_else(&self, error: &HostError) -> bool {
        let Some(key) = error.kind.reading() else { return false };
        let Some(last) = self.component.calls().last_read(&error.used.backend) else { return false };
        let Some(grant) = self.component.grants().stores.get(&error.used.backend) else { return false };
        if last == key {
            return false;
        }
        let store = grant.store.clone();
        // The guests' threads are not for backends.
        let reading = AbortOnDropHandle::new(
            self.io.spawn(async move { store.read(&last, None, Some(0..1)).await.is_ok() }),
        );
        matches!(tokio::time::timeout(CONTROL_READ, reading).await, Ok(Ok(true)))
    }
}

#[cfg(test)]
#[path = "attribution_tests.rs"]
mod tests;
