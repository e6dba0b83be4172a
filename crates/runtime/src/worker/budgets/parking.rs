//! The messages that fair shares hold, and the budgets of their keys.

use super::accounts::{Accounts, Spent};
use super::{BudgetOptions, OverBudget, OverBudgetStatus};
use crate::model::key::Key;
use crate::model::usage::Usage;
use crate::ports::budgets::Charge;
use crate::worker::keyed::{KeyedMessages, State, bytes};
use crate::worker::shares::Shares;
use crate::worker::status::NAMED;
use crate::worker::waiting::LeasedMessage;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Maximum number of parked keys that a receive leaves out, as the queue compares each group with them. Messages of others
/// are received and released.
const MOST_LEFT_OUT: usize = 1000;
/// Added to the time until a period ends, so that a released message never comes back before the end.
const MARGIN: Duration = Duration::from_secs(2);

/// The accounts of a worker, and the messages of parked keys that must be released.
pub(in crate::worker) struct Parking {
    options: BudgetOptions,
    accounts: Accounts,
    leaving: Vec<(Key, LeasedMessage)>,
    /// Whether a period has ended since the last look.
    has_new_period: bool,
}

/// Returns the time since 1970. Periods are the same for all workers, so it isn't the monotonic clock.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Parking {
    pub(in crate::worker) fn new(options: BudgetOptions) -> Self {
        Self {
            accounts: Accounts::new(options.budgets.clone()),
            options,
            leaving: Vec::new(),
            has_new_period: false,
        }
    }

    /// Adds a received message to those that wait, or to those that are released if its key is parked and it may be.
    /// Returns whether the store must be asked, or a message must be released.
    pub(in crate::worker) fn hold(
        &mut self,
        key: &Key,
        leased: LeasedMessage,
        shares: &mut Shares<LeasedMessage>,
    ) -> bool {
        let now = self.begin_periods();
        let must_ask = self.accounts.received(key, now);
        if self.is_parked(key) && leased.may_release() {
            self.leaving.push((key.clone(), leased));
            return true;
        }
        shares.add(key, leased);
        must_ask
    }

    /// Begins the current periods. Returns the time.
    pub(in crate::worker) fn begin_periods(&mut self) -> Duration {
        let now = now();
        self.has_new_period |= self.accounts.begin_periods(now);
        now
    }

    /// Returns the number of tasks of a key that may run at once.
    pub(in crate::worker) fn most_running(&self, key: &Key) -> usize {
        self.accounts.most_running(key)
    }

    /// Returns the parked keys, of which no message should be received.
    pub(in crate::worker) fn keys(&self) -> impl Iterator<Item = &Key> {
        let parks = self.options.over == OverBudget::Park;
        self.accounts.over().iter().filter(move |_| parks).take(MOST_LEFT_OUT)
    }

    /// Returns the number of messages that must be released.
    pub(in crate::worker) fn len(&self) -> usize {
        self.leaving.len()
    }

    /// Takes the messages that must be released.
    pub(in crate::worker) fn take(&mut self) -> Vec<(Key, LeasedMessage)> {
        std::mem::take(&mut self.leaving)
    }

    fn is_parked(&self, key: &Key) -> bool {
        self.options.over == OverBudget::Park && self.accounts.is_over(key)
    }
}

impl State {
    /// Takes the messages of a key that is over its budget from those that wait.
    fn park(&mut self, key: &Key) {
        let Some(parking) = self.parking.as_mut().filter(|parking| parking.is_parked(key)) else { return };
        let leaving = self.shares.take_out_of(|of| of == key, |leased, _, _| leased.may_release());
        parking.leaving.extend(leaving.into_iter().map(|leased| (key.clone(), leased)));
    }
}

impl KeyedMessages {
    /// Adds what a task has used to the account of its key, if the key has a budget.
    pub(in crate::worker) fn charge(&self, key: &Key, usage: &Usage) {
        let mut state = self.lock();
        let Some(parking) = &mut state.parking else { return };
        let now = parking.begin_periods();
        let cost = &parking.options.cost;
        if parking.accounts.add(key, |budget| budget.unit.of(usage, |usage| cost(usage)), now) {
            state.park(key);
            drop(state);
            self.parks.notify_one();
        }
    }

    /// Waits until the store must be asked.
    pub(in crate::worker) async fn has_due(&self) {
        self.due.notified().await;
    }

    /// Waits until messages of parked keys must be released.
    pub(in crate::worker) async fn has_parked(&self) {
        self.parks.notified().await;
    }

    /// Begins the current periods, in which no key is parked.
    pub(in crate::worker) fn begin_periods(&self) {
        let mut state = self.lock();
        let Some(parking) = &mut state.parking else { return };
        parking.begin_periods();
        let has_new_period = std::mem::take(&mut parking.has_new_period);
        drop(state);
        if has_new_period {
            self.startable.notify_waiters();
            // A receive that leaves parked keys out begins anew.
            self.room.notify_one();
        }
    }

    /// Takes the messages of parked keys that must be released, each with the delay of its release.
    pub(in crate::worker) fn parked(&self) -> Vec<(Duration, LeasedMessage)> {
        let now = now();
        let mut state = self.lock();
        let Some(parking) = &mut state.parking else { return Vec::new() };
        let leaving = parking.take().into_iter();
        let parked: Vec<_> =
            leaving.map(|(key, leased)| (parking.accounts.left(&key, now) + MARGIN, leased)).collect();
        state.bytes -= bytes(parked.iter().map(|(_, leased)| leased));
        drop(state);
        if !parked.is_empty() {
            self.room.notify_one();
        }
        parked
    }

    /// Returns the accounts that the store has to be asked for and, if `writes`, those that have to be charged.
    pub(in crate::worker) fn due(&self, writes: bool) -> Vec<Charge> {
        let state = self.lock();
        let Some(parking) = &state.parking else { return Vec::new() };
        let active = writes.then(|| state.shares.active().cloned().collect());
        parking.accounts.due(active.as_ref())
    }

    /// Records the answers of the store; `None`: it has failed.
    pub(in crate::worker) fn answered(&self, answers: Vec<(&Charge, Option<u64>)>) {
        let mut state = self.lock();
        for (charge, answer) in answers {
            let Some(parking) = &mut state.parking else { return };
            if parking.accounts.answered(charge, answer) {
                state.park(&charge.account.key);
                self.parks.notify_one();
            }
        }
        drop(state);
        self.startable.notify_waiters();
    }

    /// Takes the keys that have used up their budgets since the last call.
    pub(in crate::worker) fn newly_over(&self) -> Vec<Spent> {
        self.lock().parking.as_mut().map(|parking| parking.accounts.newly_over()).unwrap_or_default()
    }

    /// Returns the keys that have used up their budgets.
    pub(in crate::worker) fn over_budget(&self) -> OverBudgetStatus {
        let state = self.lock();
        let over = state.parking.as_ref().map(|parking| parking.accounts.over());
        let named = over.into_iter().flatten().take(NAMED).map(|key| key.as_str().to_owned());
        OverBudgetStatus { keys: over.map_or(0, |over| over.len()), named: named.collect() }
    }
}

#[cfg(test)]
#[path = "parking_tests.rs"]
mod tests;
