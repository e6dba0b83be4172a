//! Fair shares: which of the messages that wait starts next, by their keys.
//!
//! Free permits go round the keys that wait, by deficit round robin (Shreedhar and Varghese, 1995). Each key has a
//! credit of time. The start of a message takes what the key's tasks need on average off the credit, and the end of its
//! task corrects that to what the task took. A key without credit waits until all keys that wait are given more, in
//! proportion to their weights.
//!
//! [`Shares`] is plain data: it has no clock, no queue and no engine. The worker puts its messages into it.

use crate::model::key::Key;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroU32;
use std::time::Duration;

/// Credit in microseconds that a key of weight 1 is given in a round. As short as a short task, so that the keys
/// alternate; longer tasks take the credit of several rounds.
const QUANTUM: i64 = 1000;
/// Largest weight of a key.
pub const MOST_WEIGHT: u32 = 1000;
/// Maximum number of keys whose debts are remembered while they have no message. The debts of others are forgiven, so
/// that a sender of many keys can't fill the memory.
const MOST_REMEMBERED: usize = 1024;
/// Part of the difference to the mean that a task's time changes the mean by.
const MEAN_OF: i64 = 8;
/// Longest time of a task in microseconds that counts: a day. No message is kept from others for longer than half of it.
const LONGEST: i64 = 24 * 60 * 60 * 1_000_000;

/// How permits are shared among keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShareOptions {
    /// Maximum number of tasks of one key at once; `None`: no limit.
    pub max_per_key: Option<NonZeroU32>,
    /// Weights of keys, from 1 to [`MOST_WEIGHT`].
    pub weights: BTreeMap<Key, NonZeroU32>,
    /// Weight of each other key; `None`: 1.
    pub others: Option<NonZeroU32>,
}

impl ShareOptions {
    fn weight(&self, key: &Key) -> u32 {
        let weight = self.weights.get(key).copied().or(self.others);
        weight.map_or(1, |weight| weight.get().min(MOST_WEIGHT))
    }
}

/// Messages that wait, by key, and the keys' shares.
#[derive(Debug)]
pub struct Shares<T> {
    options: ShareOptions,
    by_key: HashMap<Key, Share<T>>,
    /// The keys that wait, in the order of the round.
    round: VecDeque<Key>,
    /// Number of messages that wait.
    waiting: usize,
    /// Mean time of all tasks in microseconds, which is assumed for a key without a mean of its own.
    mean: i64,
}

/// What is known about one key.
#[derive(Debug)]
struct Share<T> {
    waiting: VecDeque<T>,
    running: usize,
    /// Credit in microseconds; a debt if it is negative.
    credit: i64,
    mean: Option<i64>,
    weight: i64,
}

/// A message that may start.
#[derive(Debug)]
pub struct Started<T> {
    /// The key of the message.
    pub key: Key,
    /// The message.
    pub item: T,
    /// Time that its task is assumed to take. It is already off the key's credit.
    pub estimate: Duration,
}

impl<T> Shares<T> {
    /// Creates shares without any message.
    pub fn new(options: ShareOptions) -> Self {
        Self { options, by_key: HashMap::new(), round: VecDeque::new(), waiting: 0, mean: QUANTUM }
    }

    /// Adds a message that waits.
    pub fn add(&mut self, key: &Key, item: T) {
        let share = match self.by_key.get_mut(key) {
            Some(share) => share,
            None => {
                let share = Share::new(self.options.weight(key));
                self.by_key.entry(key.clone()).or_insert(share)
            }
        };
        if share.waiting.is_empty() {
            self.round.push_back(key.clone());
        }
        share.waiting.push_back(item);
        self.waiting += 1;
    }

    /// Takes the message that starts next; `None` if no key that waits may run another task.
    pub fn start(&mut self) -> Option<Started<T>> {
        self.start_within(&|_| usize::MAX)
    }

    /// Takes the message that starts next, if at most `most` tasks of each key may run; `None` if no key that waits may run
    /// another task.
    pub fn start_within(&mut self, most: &dyn Fn(&Key) -> usize) -> Option<Started<T>> {
        let most = self.most_running(most);
        let at = self.with_credit(&most).or_else(|| {
            self.new_round(&most);
            self.with_credit(&most)
        })?;
        let started = self.start_at(at)?;
        // Its key stays in front for as long as its credit lasts.
        let goes_on = |share: &Share<T>| share.may_start(most(&started.key)) && share.credit > 0;
        if self.by_key.get(&started.key).is_some_and(goes_on) {
            self.round.rotate_right(1);
        }
        Some(started)
    }

    /// Takes the first message of the key whose turn it is, whatever its credit: each key that waits has one message before
    /// any has a second. Otherwise like [`Shares::start_within`].
    pub fn start_in_turn(&mut self, most: &dyn Fn(&Key) -> usize) -> Option<Started<T>> {
        let most = self.most_running(most);
        let may_start = |key| self.by_key.get(key).is_some_and(|share| share.may_start(most(key)));
        let at = self.round.iter().position(may_start)?;
        self.start_at(at)
    }

    /// Takes the first message of the key at this place of the round. The key is last in the round then.
    fn start_at(&mut self, at: usize) -> Option<Started<T>> {
        // Those that are passed over have no task to spare, or no credit.
        self.round.rotate_left(at);
        let key = self.round.pop_front()?;
        let mean = self.mean;
        let share = self.by_key.get_mut(&key)?;
        let item = share.waiting.pop_front()?;
        let estimate = share.mean.unwrap_or(mean);
        share.running += 1;
        share.credit = share.credit.saturating_sub(estimate);
        self.waiting -= 1;
        if !share.waiting.is_empty() {
            self.round.push_back(key.clone());
        }
        Some(Started { key, item, estimate: Duration::from_micros(estimate.unsigned_abs()) })
    }

    /// Records the end of a started message: its task took `time`, and `estimate` was assumed. A message that ended
    /// without a task took no time.
    pub fn ended(&mut self, key: &Key, estimate: Duration, time: Duration) {
        let Some(share) = self.by_key.get_mut(key) else { return };
        share.running = share.running.saturating_sub(1);
        share.credit = share.credit.saturating_add(micros(estimate)).saturating_sub(micros(time));
        if !time.is_zero() {
            share.mean = Some(nearer(share.mean.unwrap_or(micros(time)), micros(time)));
            self.mean = nearer(self.mean, micros(time));
        }
        let is_idle = share.waiting.is_empty() && share.running == 0;
        if is_idle && (share.credit >= 0 || self.by_key.len() > MOST_REMEMBERED) {
            self.by_key.remove(key);
        }
    }

    /// Returns the number of messages that wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns whether the next call to [`Shares::start`] returns a message.
    pub fn can_start(&self) -> bool {
        self.can_start_within(&|_| usize::MAX)
    }

    /// Returns whether the next call to [`Shares::start_within`] returns a message.
    pub fn can_start_within(&self, most: &dyn Fn(&Key) -> usize) -> bool {
        let most = self.most_running(most);
        self.by_key.iter().any(|(key, share)| share.may_start(most(key)))
    }

    /// Returns the keys that have messages that wait, or tasks that run.
    pub fn active(&self) -> impl Iterator<Item = &Key> {
        let active = |share: &Share<T>| !share.waiting.is_empty() || share.running > 0;
        self.by_key.iter().filter(move |(_, share)| active(share)).map(|(key, _)| key)
    }

    /// Returns the keys with at least `count` messages that wait.
    pub fn crowded(&self, count: usize) -> impl Iterator<Item = &Key> {
        let shares = self.by_key.iter();
        shares.filter(move |(_, share)| share.waiting.len() >= count.max(1)).map(|(key, _)| key)
    }

    /// Takes all messages that wait and for which `leaves` holds. It is called with each message, the number of messages
    /// of its key that wait before it, and the number of all messages of its key that wait. The keys are in the order of
    /// the round, so that the same calls always take the same messages.
    pub fn take_out(&mut self, leaves: impl FnMut(&T, usize, usize) -> bool) -> Vec<T> {
        self.take_out_of(|_| true, leaves)
    }

    /// Takes messages like [`Shares::take_out`], of the keys for which `of` holds.
    pub fn take_out_of(
        &mut self,
        of: impl Fn(&Key) -> bool,
        mut leaves: impl FnMut(&T, usize, usize) -> bool,
    ) -> Vec<T> {
        let mut taken = Vec::new();
        for key in self.round.iter().filter(|key| of(key)) {
            let Some(share) = self.by_key.get_mut(key) else { continue };
            let count = share.waiting.len();
            let all = std::mem::take(&mut share.waiting).into_iter().enumerate();
            for (index, item) in all {
                if leaves(&item, index, count) {
                    taken.push(item);
                } else {
                    share.waiting.push_back(item);
                }
            }
        }
        self.waiting -= taken.len();
        self.round.retain(|key| self.by_key.get(key).is_some_and(|share| !share.waiting.is_empty()));
        self.by_key.retain(|_, share| !share.is_forgotten());
        taken
    }

    /// Returns the place in the round of the first key that may start a task and has credit.
    fn with_credit(&self, most: &dyn Fn(&Key) -> usize) -> Option<usize> {
        self.round.iter().position(|key| {
            self.by_key.get(key).is_some_and(|share| share.credit > 0 && share.may_start(most(key)))
        })
    }

    /// Gives all keys the credit of as many rounds as one of them needs to start a task.
    fn new_round(&mut self, most: &dyn Fn(&Key) -> usize) {
        let needs = self.by_key.iter().filter(|(key, share)| share.may_start(most(key)));
        let Some(rounds) = needs.map(|(_, share)| share.rounds_to_credit()).min() else { return };
        for share in self.by_key.values_mut() {
            // A key that has no message saves nothing up, and one that may start none at most one round.
            let most = if share.waiting.is_empty() { 0 } else { share.quantum() };
            let given = share.credit.saturating_add(share.quantum().saturating_mul(rounds));
            share.credit = given.min(most).max(share.credit);
        }
        self.by_key.retain(|_, share| !share.is_forgotten());
    }

    /// Returns how many tasks of each key may run: `most` of the key, and at most the number for all keys.
    fn most_running<'a>(&self, most: &'a dyn Fn(&Key) -> usize) -> impl Fn(&Key) -> usize + use<'a, T> {
        let of_all = self.options.max_per_key.map_or(usize::MAX, |most| most.get() as usize);
        move |key| most(key).min(of_all)
    }
}

impl<T> Share<T> {
    fn new(weight: u32) -> Self {
        Self { waiting: VecDeque::new(), running: 0, credit: 0, mean: None, weight: weight.into() }
    }

    fn may_start(&self, most_running: usize) -> bool {
        !self.waiting.is_empty() && self.running < most_running
    }

    fn quantum(&self) -> i64 {
        QUANTUM * self.weight
    }

    /// Returns the number of rounds after which the share has credit.
    fn rounds_to_credit(&self) -> i64 {
        // The credit isn't positive here, and no less than the smallest number.
        let missing = 1_i64.saturating_sub(self.credit).max(1);
        (missing - 1) / self.quantum() + 1
    }

    /// Returns whether nothing is lost if the share is dropped.
    fn is_forgotten(&self) -> bool {
        self.waiting.is_empty() && self.running == 0 && self.credit >= 0
    }
}

/// Returns the time in microseconds, at least one, so that no task is free; zero for no time.
fn micros(time: Duration) -> i64 {
    if time.is_zero() { 0 } else { i64::try_from(time.as_micros()).unwrap_or(i64::MAX).clamp(1, LONGEST) }
}

fn nearer(mean: i64, time: i64) -> i64 {
    mean.saturating_add(time.saturating_sub(mean) / MEAN_OF).max(1)
}

#[cfg(test)]
#[path = "shares_tests.rs"]
mod tests;
