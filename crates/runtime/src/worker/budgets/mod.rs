//! Budgets: a key that has used up its budget is parked until the period ends, or runs one task at a time.
//!
//! The end of a task adds what it has used to the [`Accounts`] of its worker. Once in an interval, the worker adds that
//! to the accounts in the store, which all workers share, and learns what the others have added. So no task waits for the
//! store, except for the first message of a key that the worker hasn't seen: the store is asked before its task starts.
//! If the store fails, each worker goes on with what it knows.
//!
//! A message of a parked key is released until the period ends. On SQS a released message keeps its receive. There, one
//! that was received more than half as often as the queue allows isn't released for this: it runs, one task of its key at
//! a time, so that a parked message is never dead-lettered.

mod accounts;
mod parking;

pub(super) use self::parking::Parking;

use self::accounts::Spent;
use super::Worker;
use super::keyed::KeyedMessages;
use super::receive::Polling;
use crate::model::budget::Budgets;
use crate::model::key::MOST_BYTES as MOST_KEY_BYTES;
use crate::model::usage::Usage;
use crate::ports::budgets::{BudgetStore, CALL_TIMEOUT, MOST_ACCOUNTS};
use crate::ports::queue::QueueError;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Interval at which a worker looks whether a period has ended, and logs keys that are over their budgets.
const TICK: Duration = Duration::from_secs(1);
/// Maximum number of keys that are logged in one interval.
const MOST_LOGGED: usize = 20;

/// Maximum number of bytes that a worker remembers about keys with budgets: accounts with the longest keys.
pub const MOST_ACCOUNTS_BYTES: usize = MOST_ACCOUNTS * (2 * MOST_KEY_BYTES);

/// What happens to the messages of a key that has used up its budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverBudget {
    /// They wait until the period ends: a budget says how much may be spent.
    #[default]
    Park,
    /// One task of the key runs at a time in each worker.
    Trickle,
}

/// The budgets of keys, and where workers share what is used of them.
#[derive(Clone)]
pub struct BudgetOptions {
    /// Which keys have which budgets.
    pub budgets: Budgets,
    /// What happens to the messages of a key that has used up its budget.
    pub over: OverBudget,
    /// The accounts of keys.
    pub store: Arc<dyn BudgetStore>,
    /// Returns the cost of a task, in [`PARTS_OF_CURRENCY`](crate::model::budget::PARTS_OF_CURRENCY).
    pub cost: Arc<dyn Fn(&Usage) -> u64 + Send + Sync>,
}

/// The keys that have used up their budgets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverBudgetStatus {
    /// Number of keys.
    pub keys: usize,
    /// The first of them by name: at most [`NAMED`](super::NAMED). Senders choose keys: never write one as a raw line.
    pub named: Vec<String>,
}

impl Worker {
    /// Applies the budgets until receiving is over. A store that doesn't answer keeps no message from its release, and
    /// the other way round.
    pub(super) async fn apply_budgets(&self, keyed: &Arc<KeyedMessages>, polling: &Polling<'_>) {
        let Some(budgets) = &self.options.budgets else { return };
        tokio::join!(
            self.release_parked(budgets.over, keyed, polling),
            self.charge_store(&*budgets.store, keyed, &polling.over)
        );
    }

    /// Releases the messages of parked keys, logs such keys, and begins the current periods.
    async fn release_parked(&self, over_budget: OverBudget, keyed: &KeyedMessages, polling: &Polling<'_>) {
        let mut ticks = ticks();
        loop {
            tokio::select! {
                biased;
                () = polling.over.cancelled() => break,
                _ = ticks.tick() => {
                    keyed.begin_periods();
                    log_over(&keyed.newly_over(), over_budget);
                }
                () = keyed.has_parked() => {}
            }
            let parked = keyed.parked();
            if parked.is_empty() {
                continue;
            }
            self.tally.counters.parked_messages.add(parked.len());
            tracing::debug!(messages = parked.len(), "released messages of keys that are over their budgets");
            for (left, leased) in parked {
                self.release_after(left, [leased], polling.in_progress).await;
            }
        }
        log_over(&keyed.newly_over(), over_budget);
    }

    /// Asks the store of keys that the worker hasn't seen before, and charges once in an interval what tasks have used.
    async fn charge_store(&self, store: &dyn BudgetStore, keyed: &KeyedMessages, over: &CancellationToken) {
        let mut ticks = ticks();
        let mut writes_at = Instant::now();
        let mut fails = false;
        loop {
            tokio::select! {
                biased;
                () = over.cancelled() => return,
                () = keyed.has_due() => {}
                _ = ticks.tick() => {}
            }
            let writes = Instant::now() >= writes_at;
            if writes {
                writes_at = Instant::now() + store.interval();
            }
            let answer = self.charge_due(store, keyed, writes).await;
            self.record_answer(store, answer, &mut fails);
        }
    }

    /// Charges what tasks have used since the last time, as the worker ends.
    pub(super) async fn charge_last(&self) {
        let (Some(budgets), Some(keyed)) = (&self.options.budgets, &self.keyed) else { return };
        let answer = self.charge_due(&*budgets.store, keyed, true).await;
        self.record_answer(&*budgets.store, answer, &mut false);
    }

    /// Asks the store of keys that the worker hasn't seen before; if `writes`, charges what is used, too. Returns `None` if
    /// there was nothing to ask, and otherwise the first failure, if there is one.
    async fn charge_due(
        &self,
        store: &dyn BudgetStore,
        keyed: &KeyedMessages,
        writes: bool,
    ) -> Option<Result<(), QueueError>> {
        let due = keyed.due(writes);
        if due.is_empty() {
            return None;
        }
        let asked = tokio::time::timeout(CALL_TIMEOUT, store.charge(due.clone())).await;
        let answers = asked
            .unwrap_or_else(|_| vec![Err(QueueError::Unavailable("no answer in time".into())); due.len()]);
        let answers = answers.into_iter().chain(std::iter::repeat_with(|| Err(QueueError::unanswered())));
        let (mut failure, mut answered) = (None, Vec::with_capacity(due.len()));
        for (charge, answer) in due.iter().zip(answers) {
            answered.push((charge, answer.as_ref().ok().copied()));
            failure = failure.or(answer.err());
        }
        keyed.answered(answered);
        Some(failure.map_or(Ok(()), Err))
    }

    /// Logs when the store begins to fail, and when it answers again.
    fn record_answer(
        &self,
        store: &dyn BudgetStore,
        answer: Option<Result<(), QueueError>>,
        fails: &mut bool,
    ) {
        match answer {
            Some(Err(error)) => {
                self.tally.counters.failed_budget_calls.add(1);
                if !std::mem::replace(fails, true) {
                    tracing::warn!(store = store.url(), %error, "the budget store fails: until it answers, this worker counts what its own tasks use");
                }
            }
            Some(Ok(())) if std::mem::replace(fails, false) => {
                tracing::info!(store = store.url(), "the budget store answers again");
            }
            Some(Ok(())) | None => {}
        }
    }
}

fn ticks() -> Interval {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Logs the keys that have used up their budgets, each once in a period.
fn log_over(spent: &[Spent], over: OverBudget) {
    let what = match over {
        OverBudget::Park => "a key is over its budget: its messages wait until the period ends",
        OverBudget::Trickle => "a key is over its budget: it runs one task at a time until the period ends",
    };
    for Spent { key, budget, used } in spent.iter().take(MOST_LOGGED) {
        let (unit, period_s) = (budget.unit.as_str(), budget.period.get());
        let (used, amount) = (budget.unit.shown(*used), budget.unit.shown(budget.amount.get()));
        // Shown escaped.
        tracing::info!(%key, unit, used, budget = amount, period_s, "{what}");
    }
    if let Some(others) = spent.len().checked_sub(MOST_LOGGED).filter(|others| *others > 0) {
        tracing::info!(keys = others, "more keys are over their budgets");
    }
}
