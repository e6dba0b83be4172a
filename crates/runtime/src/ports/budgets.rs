//! Trait of the stores in which workers share how much keys have used of their budgets.

use crate::model::budget::AccountId;
use crate::ports::queue::QueueError;
use async_trait::async_trait;
use std::time::Duration;

/// Maximum number of accounts that a store remembers, as senders choose keys. Beyond it, accounts of periods that are over
/// are dropped, then those with the least used: a key that begins anew had used little.
pub const MOST_ACCOUNTS: usize = 16_384;
/// How long an account outlasts its period: clocks of workers may differ by that.
pub const GRACE: Duration = Duration::from_secs(60);
/// Longest time for a call. Meanwhile, messages of keys that the worker hasn't seen wait.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// An amount that tasks of a key have used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The account of the key.
    pub account: AccountId,
    /// The amount to add; 0: the account is only read.
    pub amount: u64,
}

/// Adds up what tasks of keys have used. Several workers may use a store at once. An amount is durable when the answer is
/// `Ok`. After an error it may have been added or not.
#[async_trait]
pub trait BudgetStore: Send + Sync + 'static {
    /// Returns the name for logs: a URL, without secrets.
    fn url(&self) -> &str;

    /// Returns the interval at which a worker should write and read, so that the store's calls cost little.
    fn interval(&self) -> Duration;

    /// Adds amounts to accounts of different keys, at most [`MOST_ACCOUNTS`]. Returns the sum in each account, in the same
    /// order. Where some accounts may answer and others not, those that don't are errors before [`CALL_TIMEOUT`]: an
    /// amount whose answer isn't known is added again.
    async fn charge(&self, charges: Vec<Charge>) -> Vec<Result<u64, QueueError>>;
}
