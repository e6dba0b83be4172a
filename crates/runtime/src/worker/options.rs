//! The options of a worker, and the errors of its start.

use super::body::BodyStore;
use super::budgets::BudgetOptions;
use super::completion::GroupOptions;
use super::decision::{Backoff, Rules};
use super::keyed::KeyOptions;
use super::notify::NotifyOptions;
use super::once::OnceOptions;
use super::rate::Rate;
use super::scale::ScaleOptions;
use crate::model::message::MAX_VISIBILITY;
use crate::model::outcome::Policy;
use crate::model::usage::TaskObserver;
use crate::ports::queue::{Queue, QueueAttributes, QueueError};
use crate::ports::recipient::Recipient;
use crate::task::by_key::{mixed, overlap};
use crate::task::grant::StoreGrant;
use crate::task::routes::{Routes, of_route};
use async_trait::async_trait;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

/// The options of a worker: a field for each choice of the caller.
#[derive(Clone)]
pub struct WorkerOptions {
    /// Maximum number of concurrent tasks.
    pub instances: NonZeroUsize,
    /// How to move the number of concurrent tasks below `instances`; `None`: it is fixed.
    pub scale: Option<ScaleOptions>,
    /// The action for each outcome.
    pub policy: Policy,
    /// The delay before a failed message is retried.
    pub backoff: Backoff,
    /// Whether to end when the queue is empty: no message is left in any state.
    pub until_empty: bool,
    /// How long running tasks may go on once the worker stops.
    pub stop_timeout: Duration,
    /// Longest time that a message is kept from other consumers, counted from its receipt.
    pub max_visibility: Duration,
    /// Whether a task is cancelled when its lease expires.
    pub on_lease_expired: OnLeaseExpired,
    /// The store of bodies that were too large for a message; `None`: a pointer is delivered like any other body.
    pub bodies: Option<BodyStore>,
    /// Number of tasks that may fail in a row before the worker slows down to one message at a time. The number is
    /// lower until a task has completed. `None`: the worker never slows down.
    pub max_consecutive_failures: Option<NonZeroU32>,
    /// Whether the worker pauses receiving while a store or a queue fails that a task needed. Without that, the error is
    /// the message's own.
    pub waits_for_backends: bool,
    /// The rate at which tasks may start; `None`: no limit.
    pub rate: Option<Rate>,
    /// How messages are told apart by keys, for fair shares and caps; `None`: messages start in the queue's order.
    pub keys: Option<KeyOptions>,
    /// How much the tasks of a key may use in a period; `None`: any amount.
    pub budgets: Option<BudgetOptions>,
    /// Longest time between the sending of a message and its receive, after which it is not handled; `None`: no limit.
    pub max_age: Option<Duration>,
    /// Who is told how each message ended; `None`: nobody.
    pub notify: Option<NotifyOptions>,
    /// How the messages of completion groups are counted, whose notifications go to the recipient of `notify`; `None`: no
    /// messages are.
    pub groups: Option<GroupOptions>,
    /// The ledger of messages that have completed; `None`: a message that is delivered again runs again.
    pub once: Option<OnceOptions>,
    /// Called before tasks start.
    pub starting: Option<Arc<dyn TasksStart>>,
    /// Whether to ask the queue for its depth every few seconds, for metrics and status.
    pub watch_depth: bool,
    /// Called at the end of each task.
    pub observers: Vec<Arc<dyn TaskObserver>>,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            instances: NonZeroUsize::MIN,
            scale: None,
            policy: Policy::default(),
            backoff: Backoff::default(),
            until_empty: false,
            // ECS kills a container 30 seconds after SIGTERM: 5 seconds are left for the last settlements.
            stop_timeout: Duration::from_secs(25),
            max_visibility: MAX_VISIBILITY,
            on_lease_expired: OnLeaseExpired::default(),
            bodies: None,
            max_consecutive_failures: NonZeroU32::new(36),
            waits_for_backends: true,
            rate: None,
            keys: None,
            budgets: None,
            max_age: None,
            notify: None,
            groups: None,
            once: None,
            starting: None,
            watch_depth: false,
            observers: Vec::new(),
        }
    }
}

impl WorkerOptions {
    /// Returns what decides over messages of a queue with these attributes.
    pub(super) fn rules(&self, attributes: &QueueAttributes, has_dead_letter_queue: bool) -> Rules {
        Rules {
            // Without a dead-letter queue, a message that would be dead-lettered is retried, never deleted.
            policy: if has_dead_letter_queue { self.policy } else { self.policy.without_dead_letters() },
            backoff: self.backoff,
            max_receives: attributes.redrive.as_ref().map(|redrive| redrive.max_receives),
            dead_letter: has_dead_letter_queue,
        }
    }
}

/// Treatment of a task whose lease has expired, as another consumer may have its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLeaseExpired {
    /// Cancel the task: its work would be done twice.
    #[default]
    Cancel,
    /// Let the task finish, and delete its message if that is still possible.
    Finish,
}

/// A hook that runs before tasks start.
#[async_trait]
pub trait TasksStart: Send + Sync {
    /// Called whenever messages were received. Their tasks start when it returns, so it must be quick.
    async fn before_tasks(&self);
}

/// Why a worker can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings don't fit the queue.
    #[error("{0}")]
    Settings(String),
    /// The queue doesn't answer, or can't be used.
    #[error("cannot use the queue {url}: {error}")]
    Queue {
        /// URL of the queue.
        url: String,
        /// The queue's error.
        error: QueueError,
    },
}

/// Refuses stores by key without keys, as every message would be rejected, and a store that overlaps with the parts of
/// keys of another route.
pub(super) fn check_keys(routes: &Routes, has_keys: bool) -> Result<(), StartError> {
    let by_key = || routes.grants().filter(|(_, grants)| grants.are_by_key());
    if let Some((_, grants)) = by_key().next().filter(|_| !has_keys) {
        return Err(StartError::Settings(format!(
            "tasks reach only their keys' parts of stores, and messages have no keys: set where keys are found (granted: {grants})"
        )));
    }
    for ((route, grants), (other_route, other)) in
        by_key().flat_map(|one| routes.grants().map(move |other| (one, other)))
    {
        if let Some((by_key, other)) = grants.mixed_with(other) {
            let name = of_route(route, &by_key.alias);
            let other_name = of_route(other_route, &other.alias);
            return Err(StartError::Settings(mixed((&name, by_key), (&other_name, other))));
        }
    }
    Ok(())
}

/// Refuses a timeout that outlasts the longest visibility. A message with a key may wait as long as it may run.
pub(super) fn check_timeout(timeout: Duration, longest: Duration, has_keys: bool) -> Result<(), StartError> {
    let needed = if has_keys { timeout.saturating_mul(2) } else { timeout };
    if needed <= longest {
        return Ok(());
    }
    let (timeout, longest) = (timeout.as_secs_f64(), longest.as_secs_f64());
    let why = if has_keys { ", half of it for waiting, because of --key" } else { "" };
    Err(StartError::Settings(format!(
        "a task may take {timeout} s, and its message is kept from others for {longest} s (at most 12 hours){why}: shorten --timeout, or lengthen --max-visibility"
    )))
}

/// Refuses a queue that doesn't fit the settings.
pub(super) fn check_queue(
    queue: &dyn Queue,
    attributes: &QueueAttributes,
    dead_letter: Option<&dyn Queue>,
    on_lease_expired: OnLeaseExpired,
) -> Result<(), StartError> {
    if attributes.visibility_timeout < Duration::from_secs(1) {
        return Err(StartError::Settings(format!(
            "the visibility timeout of the queue {} is less than a second: each message would be delivered many times; set it to a few times what a task takes",
            queue.url()
        )));
    }
    if attributes.visibility_timeout > MAX_VISIBILITY {
        return Err(StartError::Settings(format!(
            "the queue {} says that its visibility timeout is {} s, and at most 12 hours are possible: set it to a few times what a task takes",
            queue.url(),
            attributes.visibility_timeout.as_secs()
        )));
    }
    if attributes.fifo && on_lease_expired == OnLeaseExpired::Finish {
        return Err(StartError::Settings(format!(
            "the queue {} is FIFO, and a task that goes on though its lease expired breaks the order of its group: leave --on-lease-expired at cancel",
            queue.url()
        )));
    }
    if dead_letter.is_some_and(|dead_letter| dead_letter.url() == queue.url()) {
        return Err(StartError::Settings(format!(
            "the queue {} cannot be its own dead-letter queue",
            queue.url()
        )));
    }
    Ok(())
}

/// Refuses a recipient of notifications and a group store that can't be used, or that guests can reach. `queues` are
/// those of the worker.
pub(super) async fn check_notified<'a>(
    options: &WorkerOptions,
    routes: &'a Routes,
    queues: impl Iterator<Item = &'a Arc<dyn Queue>>,
) -> Result<(), StartError> {
    if let Some(groups) = &options.groups {
        check_own("group store", groups.store.url(), options, routes)?;
    }
    let sends = routes.grants().flat_map(|(_, grants)| grants.queues.values());
    match &options.notify {
        Some(notify) => check_recipient(&*notify.recipient, queues.chain(sends)).await,
        None => Ok(()),
    }
}

/// Refuses budgets without keys, and a budget store that guests can reach.
pub(super) fn check_budgets(options: &WorkerOptions, routes: &Routes) -> Result<(), StartError> {
    match &options.budgets {
        None => Ok(()),
        Some(_) if options.keys.is_none() => Err(StartError::Settings(
            "keys have budgets, and messages have no keys: set where keys are found".into(),
        )),
        Some(budgets) => check_own("budget store", budgets.store.url(), options, routes),
    }
}

/// Refuses a store of the worker's own of which a guest or a message could name objects: they tell what other tasks have
/// done, and a guest could forge them.
pub(super) fn check_own(
    what: &str,
    url: &str,
    options: &WorkerOptions,
    routes: &Routes,
) -> Result<(), StartError> {
    let granted = routes.grants().flat_map(|(route, grants)| {
        let name = move |grant: &StoreGrant| format!("store {}", of_route(route, &grant.alias));
        grants.stores.values().map(move |grant| (name(grant), grant.store.url()))
    });
    let bodies = options.bodies.iter().map(|bodies| ("body store", bodies.store.url()));
    let groups = options.groups.iter().map(|groups| ("group store", groups.store.url()));
    let budgets = options.budgets.iter().map(|budgets| ("budget store", budgets.store.url()));
    let named = bodies.chain(groups).chain(budgets).filter(|(name, _)| *name != what);
    let mut others = granted.chain(named.map(|(name, url)| (name.to_owned(), url)));
    match others.find(|(_, other)| overlap(url, other)) {
        None => Ok(()),
        Some((name, other)) => Err(StartError::Settings(format!(
            "the {what} {url} and the {name} ({other}) overlap: give the {what} a prefix of its own"
        ))),
    }
}

/// Refuses a recipient of notifications that can't be used, and one that others write to or that the worker receives
/// from: a guest could forge notifications, and the worker would handle its own.
async fn check_recipient<'a>(
    recipient: &dyn Recipient,
    mut others: impl Iterator<Item = &'a Arc<dyn Queue>>,
) -> Result<(), StartError> {
    let url = recipient.url();
    if others.any(|queue| queue.url() == url) {
        return Err(StartError::Settings(format!(
            "the queue {url} cannot take notifications: the worker uses it as its queue, its dead-letter queue or a queue of --send; name another with --notify"
        )));
    }
    recipient.check().await.map_err(|error| StartError::Queue { url: url.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::memory::MemoryQueue;

    #[test]
    fn a_queue_with_an_impossible_visibility_timeout_is_refused() {
        let second = Duration::from_secs(1);
        let check = |visibility_timeout| {
            let attributes = QueueAttributes { visibility_timeout, ..QueueAttributes::default() };
            let queue = MemoryQueue::new("q", visibility_timeout);
            let checked = check_queue(&queue, &attributes, None, OnLeaseExpired::Cancel);
            checked.map_err(|error| error.to_string())
        };
        assert_eq!((check(second), check(MAX_VISIBILITY)), (Ok(()), Ok(())));
        for (impossible, why) in [
            (second / 2, "less than a second"),
            (MAX_VISIBILITY + second, "at most 12 hours"),
            (Duration::from_secs(u64::MAX), "at most 12 hours"),
        ] {
            let refused = check(impossible).expect_err("refused");
            assert!(refused.contains("memory:q") && refused.contains(why), "{refused}");
        }
    }
}
