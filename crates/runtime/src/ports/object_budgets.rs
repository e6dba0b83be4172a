//! Accounts of budgets in an object store: a few objects with many accounts each, so that the number of calls and of
//! objects doesn't grow with the number of keys. Each is changed only if nobody else has changed it.

use crate::model::budget::AccountId;
use crate::model::key::Key;
use crate::ports::budgets::{BudgetStore, CALL_TIMEOUT, Charge, GRACE, MOST_ACCOUNTS};
use crate::ports::object_store::ObjectStore;
use crate::ports::queue::QueueError;
use crate::ports::shared_objects::SharedObjects;
use async_trait::async_trait;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::timeout;

/// Maximum size of an object: twice that of the largest accounts.
const MAX_BYTES: usize = 4 << 20;
/// Number of objects. With more, workers meet less often at one; with fewer, a worker makes fewer calls.
const OBJECTS: usize = 16;
/// Maximum number of accounts in an object. In JSON, an account takes at most 2 KiB: six bytes for each of a key.
const MOST_IN_OBJECT: usize = MOST_ACCOUNTS / OBJECTS;
/// Interval at which a worker writes and reads. Each costs two calls for each object whose keys have messages.
const INTERVAL: Duration = Duration::from_secs(5);
/// Longest time to change one object. The call ends in time with the answers of the others.
const OBJECT_TIMEOUT: Duration = Duration::from_secs(4);
const _: () = assert!(OBJECT_TIMEOUT.as_secs() < CALL_TIMEOUT.as_secs());

/// Adds up what keys have used in the objects of a store.
pub struct ObjectBudgets {
    objects: SharedObjects,
}

/// The content of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Accounts {
    /// Tells the changes apart: two workers may add the same amount to the same sum.
    change: u64,
    accounts: Vec<Account>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    key: String,
    unit: String,
    /// Seconds since 1970.
    began: u64,
    /// Length of the period in seconds.
    lasts: u64,
    used: u64,
}

impl Account {
    fn is_of(&self, AccountId { key, unit, began, lasts }: &AccountId) -> bool {
        self.key == key.as_str() && self.unit == unit.as_str() && (self.began, self.lasts) == (*began, *lasts)
    }

    fn ends(&self) -> u64 {
        self.began.saturating_add(self.lasts)
    }
}

impl Accounts {
    /// Adds an amount to an account, and returns the sum.
    fn charge(&mut self, Charge { account: id, amount }: &Charge) -> u64 {
        if let Some(account) = self.accounts.iter_mut().find(|account| account.is_of(id)) {
            account.used = account.used.saturating_add(*amount);
            return account.used;
        }
        if *amount > 0 {
            let AccountId { key, unit, began, lasts } = id;
            let (key, unit) = (key.as_str().to_owned(), unit.as_str().to_owned());
            self.accounts.push(Account { key, unit, began: *began, lasts: *lasts, used: *amount });
        }
        *amount
    }

    /// Drops accounts of periods that are over and, if there are too many, half of them: those with the least used.
    fn drop_old(&mut self, now: u64) {
        self.accounts.retain(|account| account.ends().saturating_add(GRACE.as_secs()) > now);
        if self.accounts.len() > MOST_IN_OBJECT {
            self.accounts.sort_by_key(|account| std::cmp::Reverse(account.used));
            self.accounts.truncate(MOST_IN_OBJECT / 2);
        }
    }
}

/// Returns the key of the object that has a key's accounts.
fn object_key(key: &Key) -> String {
    let digest = Sha256::digest(key.as_str());
    format!("{:x}.json", usize::from(digest[0]) % OBJECTS)
}

impl ObjectBudgets {
    /// Creates the accounts in a store, which must give etags.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { objects: SharedObjects { store, noun: "a list of accounts", most_bytes: MAX_BYTES } }
    }

    /// Adds amounts to accounts of one object in one change.
    async fn charge_in(&self, object: &str, charges: &[Charge]) -> Result<Vec<u64>, QueueError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let writes = charges.iter().any(|charge| charge.amount > 0);
        let change = |before: Option<Accounts>| {
            let mut accounts = before.unwrap_or_default();
            let sums: Vec<u64> = charges.iter().map(|charge| accounts.charge(charge)).collect();
            accounts.drop_old(now);
            accounts.change = fastrand::u64(..);
            (writes.then_some(accounts), sums)
        };
        match timeout(OBJECT_TIMEOUT, self.objects.update(object, change)).await {
            Ok(sums) => Ok(sums?),
            Err(_) => Err(QueueError::Unavailable(format!("the object {object}: no answer in time"))),
        }
    }
}

#[async_trait]
impl BudgetStore for ObjectBudgets {
    fn url(&self) -> &str {
        self.objects.store.url()
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    async fn charge(&self, charges: Vec<Charge>) -> Vec<Result<u64, QueueError>> {
        let mut by_object: BTreeMap<String, Vec<(usize, Charge)>> = BTreeMap::new();
        let mut answers = vec![Err(QueueError::unanswered()); charges.len()];
        for (index, charge) in charges.into_iter().enumerate() {
            by_object.entry(object_key(&charge.account.key)).or_default().push((index, charge));
        }
        let mut calls = Vec::new();
        for (object, charges) in by_object {
            calls.push(async move {
                let (indexes, charges): (Vec<_>, Vec<_>) = charges.into_iter().unzip();
                (indexes, self.charge_in(&object, &charges).await)
            });
        }
        for (indexes, sums) in join_all(calls).await {
            for (place, index) in indexes.into_iter().enumerate() {
                answers[index] = match &sums {
                    Ok(sums) => Ok(sums[place]),
                    Err(error) => Err(error.clone()),
                };
            }
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::budget::{Budget, BudgetUnit};
    use crate::ports::memory::{FaultyStore, MemoryStore};
    use std::num::NonZeroU64;

    fn charge(key: &str, began: u64, amount: u64) -> Charge {
        let (key, unit) = (Key::new(key), BudgetUnit::Fuel);
        Charge { account: AccountId { key, unit, began, lasts: 3600 }, amount }
    }

    /// The beginning of the current hour.
    fn hour() -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let number = |number| NonZeroU64::new(number).expect("above zero");
        let budget = Budget { unit: BudgetUnit::Fuel, amount: number(1), period: number(3600) };
        budget.account(&Key::none(), now).began
    }

    async fn sums(budgets: &ObjectBudgets, charges: Vec<Charge>) -> Vec<u64> {
        budgets.charge(charges).await.into_iter().map(|sum| sum.expect("a sum")).collect()
    }

    #[tokio::test]
    async fn workers_that_charge_at_the_same_time_lose_nothing() {
        let store = MemoryStore::new("budgets");
        let workers: Vec<_> = (0..3).map(|_| ObjectBudgets::new(Arc::new(store.clone()))).collect();
        let hour = hour();
        let charging = (0..30).map(|index| {
            let charges =
                vec![charge("a", hour, 1), charge("b\u{1b}\"", hour, index), charge("a", hour - 3600, 0)];
            workers[index as usize % 3].charge(charges)
        });
        let answers = join_all(charging).await;
        assert!(answers.iter().flatten().all(Result::is_ok));
        let read = vec![charge("b\u{1b}\"", hour, 0), charge("a", hour, 0), charge("c", hour, 0)];
        assert_eq!(sums(&workers[0], read).await, [(0..30).sum::<u64>(), 30, 0]);
    }

    #[tokio::test]
    async fn however_many_keys_there_are_the_objects_are_bounded_and_the_largest_accounts_stay() {
        let store = MemoryStore::new("budgets");
        let budgets = ObjectBudgets::new(Arc::new(store.clone()));
        let hour = hour();
        assert_eq!(sums(&budgets, vec![charge("large", hour, 1_000_000)]).await, [1_000_000]);
        for round in 0..20 {
            let key = |index: usize| format!("{}-{round}-{index}", "\u{1}".repeat(230));
            sums(&budgets, (0..1000).map(|index| charge(&key(index), hour, 1)).collect()).await;
        }
        assert_eq!(sums(&budgets, vec![charge("large", hour, 1)]).await, [1_000_001]);
        for object in 0..OBJECTS {
            let content = store.content(&format!("{object:x}.json")).expect("an object");
            assert!(content.len() <= MAX_BYTES / 2, "{}", content.len());
        }
    }

    #[test]
    fn accounts_of_periods_that_are_over_are_dropped_after_a_grace() {
        let mut accounts = Accounts::default();
        assert_eq!(accounts.charge(&charge("a", 3600, 5)), 5);
        accounts.drop_old(7200 + GRACE.as_secs() - 1);
        assert_eq!(accounts.charge(&charge("a", 3600, 5)), 10);
        accounts.drop_old(7200 + GRACE.as_secs());
        assert_eq!(accounts, Accounts::default());
    }

    #[tokio::test]
    async fn an_object_of_others_is_an_error_that_names_it_and_spoils_no_other() {
        let store = MemoryStore::new("budgets");
        let budgets = ObjectBudgets::new(Arc::new(store.clone()));
        let (own, hour) = (object_key(&Key::new("a")), hour());
        let other = (0..).map(|index| format!("k{index}")).find(|key| object_key(&Key::new(key)) != own);
        store.insert(&own, "{".to_owned());
        let answers = budgets.charge(vec![charge("a", hour, 1), charge(&other.expect("one"), hour, 2)]).await;
        let error = answers[0].as_ref().expect_err("refused").to_string();
        assert!(error.contains(&own) && error.contains("delete it"), "{error}");
        assert_eq!(answers[1].as_ref().ok(), Some(&2));
    }

    #[tokio::test]
    async fn an_object_that_hangs_keeps_no_answer_of_the_others_from_the_worker() {
        let (hangs, hour) = ("a", hour());
        let object = object_key(&Key::new(hangs));
        let mut store = FaultyStore::new(MemoryStore::new("budgets"));
        store.hangs = Some(object.clone());
        let budgets = ObjectBudgets::new(Arc::new(store));
        let keys: Vec<String> = (0..100).map(|number| format!("k{number}")).collect();
        let charges =
            keys.iter().map(String::as_str).chain([hangs]).map(|key| charge(key, hour, 1)).collect();
        let answers = budgets.charge(charges).await;
        for (key, answer) in keys.iter().map(String::as_str).chain([hangs]).zip(answers) {
            assert_eq!(answer.is_err(), object_key(&Key::new(key)) == object, "{key}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn equal_charges_of_two_workers_that_read_the_same_object_are_both_counted() {
        let store = Arc::new(FaultyStore::new(MemoryStore::new("budgets")));
        let workers = [(); 2].map(|()| ObjectBudgets::new(store.clone()));
        let hour = hour();
        let charging = workers.each_ref().map(|worker| worker.charge(vec![charge("a", hour, 7)]));
        join_all(charging).await;
        assert_eq!(sums(&workers[0], vec![charge("a", hour, 0)]).await, [14]);
    }
}
