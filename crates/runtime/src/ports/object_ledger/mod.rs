//! The ledger of `--once` in an object store: an object for each entry, which is changed only if nobody else has changed
//! it. Workers on several machines can share it.
//!
//! | key | object |
//! |---|---|
//! | `ledger.json` | the number that tells this ledger from all others |
//! | `entries/DIGEST` | an entry |
//! | `staged/NAME` | what runs have staged for stores without a staging area of their own |
//!
//! Times are those of the workers' clocks. A clock that is wrong makes a claim or a window longer or shorter, and never
//! lets two runs commit: that is decided by conditional writes.

mod entry;

use self::entry::{ENTRIES, Entry, State, entry_of, key_of};
use crate::model::text::hex;
use crate::ports::ledger::{
    Claim, Commit, CommitList, EntryId, Ledger, MOST_LIST_BYTES, MOST_UNFINISHED, MessageDigest, Swept,
};
use crate::ports::object_store::{ObjectPage, ObjectStore, ObjectSummary, StoreError};
use crate::ports::queue::QueueError;
use crate::ports::shared_objects::{SharedError, SharedObjects};
use crate::ports::staging::RunToken;
use crate::ports::staging_area::StagingArea;
use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::OnceCell;

/// Key of the object with the ledger's number.
const ID: &str = "ledger.json";
/// Prefix of the staged objects.
const STAGED: &str = "staged/";
/// Maximum size of the object of an entry in which no run is under way. All others are larger, so that a listing tells
/// them apart.
const MOST_SETTLED_BYTES: u64 = 100;
/// How long an entry that is about to be deleted can't be claimed. The deletion is sent within [`TO_DELETE`], so no clock
/// that is less wrong than this lets it remove a later claim.
const REMOVAL: Duration = Duration::from_secs(3600);
/// Time in which an entry is deleted once it is marked for that.
const TO_DELETE: Duration = Duration::from_secs(30);
/// Number of entries that a sweep reads and removes at once. It returns the commits of one such batch.
const AT_ONCE: usize = MOST_UNFINISHED;
/// Time after which a sweep begins no other batch, so that a slow store doesn't make it look like a failure.
const LONGEST_SWEEP: Duration = Duration::from_secs(4);

/// A ledger in an object store.
pub struct ObjectLedger {
    objects: SharedObjects,
    area: StagingArea,
    id: OnceCell<u64>,
    /// Entries that were completed less than this ago aren't read by a sweep.
    window: Duration,
    /// Key of the last entry that was swept.
    swept: Mutex<String>,
    now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    id: u64,
}

/// What a sweep did with an entry.
enum SweptEntry {
    Stays,
    Removed,
    Unfinished(Commit),
}

impl ObjectLedger {
    /// Creates a ledger in a store, which must give etags, keep conditions of writes, and be out of reach for tasks.
    /// `window` is how long completed entries are kept.
    pub fn new(store: Arc<dyn ObjectStore>, window: Duration) -> Self {
        Self::with_clock(store, window, Arc::new(SystemTime::now))
    }

    /// Creates a ledger like [`ObjectLedger::new`] with a clock of its own, for tests.
    pub fn with_clock(
        store: Arc<dyn ObjectStore>,
        window: Duration,
        now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    ) -> Self {
        let area = StagingArea::new(store.part(STAGED));
        let most_bytes = MOST_LIST_BYTES + (4 << 10);
        let objects = SharedObjects { store, noun: "an entry of a ledger", most_bytes };
        // Workers that live for a short time sweep different parts.
        let swept = key_of(EntryId(rand::random()));
        Self { objects, area, id: OnceCell::new(), window, swept: Mutex::new(swept), now }
    }

    fn now_ms(&self) -> u64 {
        to_ms((self.now)().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// Refuses a run of another ledger.
    async fn must_be_of(&self, run: RunToken) -> Result<(), QueueError> {
        if self.id().await? == run.ledger {
            return Ok(());
        }
        let url = self.objects.store.url();
        Err(QueueError::Unusable(format!("a run is not of the ledger {url}")))
    }

    /// Changes the entry if the run holds it. Returns whether it does.
    async fn advance(
        &self,
        entry: EntryId,
        run: RunToken,
        after: impl Fn(&Entry) -> Entry,
    ) -> Result<bool, QueueError> {
        let change = |before: Option<Entry>| {
            let after = before.filter(|before| before.is_of(run)).map(|before| after(&before));
            let is_held = after.is_some();
            (after, is_held)
        };
        Ok(self.objects.update(&key_of(entry), change).await?)
    }

    fn entry(&self, state: State, lasts: Duration, run: RunToken) -> Entry {
        let expires_ms = self.now_ms().saturating_add(to_ms(lasts));
        Entry { state, expires_ms, run: hex(&run.run.to_be_bytes()) }
    }

    async fn is_live(&self, run: RunToken) -> Result<bool, QueueError> {
        self.must_be_of(run).await?;
        let prefix = format!("{ENTRIES}{}", hex(&run.run.to_be_bytes()[..8]));
        // As a rule it is the only one.
        let page = self.list(&prefix, None, usize::MAX).await?;
        for object in page.objects {
            match self.objects.read::<Entry>(&object.key).await {
                Ok((found, _)) if found.as_ref().is_none_or(|found| !found.is_of(run)) => {}
                // A damaged entry may be that of the run.
                Ok(_) | Err(SharedError::Damaged(_)) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<ObjectPage, QueueError> {
        let page = self.objects.store.list(prefix, after, limit).await;
        page.map_err(|error| self.objects.error_of(prefix, error).into())
    }

    /// Lists the next entries after those that were swept last. Begins anew after the last one.
    async fn next_entries(&self, limit: usize) -> Result<Vec<ObjectSummary>, QueueError> {
        let after = self.swept.lock().clone();
        let page = self.list(ENTRIES, Some(&after), limit).await?;
        let mut objects = page.objects;
        if page.continuation.is_none() && objects.len() < limit {
            let first = self.list(ENTRIES, None, limit - objects.len()).await?;
            objects.extend(first.objects.into_iter().filter(|object| object.key <= after));
        }
        Ok(objects)
    }

    /// Returns whether an entry's time may be over, by its size and its last change.
    fn may_be_over(&self, object: &ObjectSummary, lasts: Duration) -> bool {
        let age = object.modified_at.and_then(|at| (self.now)().duration_since(at).ok());
        let least = if object.size > MOST_SETTLED_BYTES { lasts } else { self.window };
        object.modified_at.is_none() || age.is_some_and(|age| age >= least)
    }

    /// Marks an entry for removal if its time is over, and deletes it. Gives the caller `lasts` to complete a late commit.
    async fn sweep_one(&self, key: &str, lasts: Duration) -> Result<SweptEntry, QueueError> {
        let Some(id) = entry_of(key) else { return Ok(SweptEntry::Stays) };
        let (ledger, now_ms, began_at) = (self.id().await?, self.now_ms(), Instant::now());
        let change = |before: Option<Entry>| {
            let Some(before) = before.filter(|before| before.left(now_ms).is_zero()) else {
                return (None, Ok(SweptEntry::Stays));
            };
            match before.commit(ledger, id) {
                None => {
                    let expires_ms = now_ms.saturating_add(to_ms(REMOVAL));
                    (Some(Entry { state: State::Removed, expires_ms, ..before }), Ok(SweptEntry::Removed))
                }
                Some(commit) => {
                    let placing =
                        commit.as_ref().map_or(Duration::ZERO, |commit| commit.outputs.placing_time());
                    let expires_ms = now_ms.saturating_add(to_ms(lasts.saturating_add(placing)));
                    // Until this time is over, no message gets the commit.
                    let state = before.state.without_message();
                    (Some(Entry { state, expires_ms, ..before }), commit.map(SweptEntry::Unfinished))
                }
            }
        };
        let swept = match self.objects.update(key, change).await.flatten() {
            Ok(swept) => swept,
            // It must not keep others from being swept.
            Err(SharedError::Damaged(error)) => {
                tracing::error!(error, "cannot sweep an entry of the ledger");
                return Ok(SweptEntry::Stays);
            }
            Err(error) => return Err(error.into()),
        };
        if matches!(swept, SweptEntry::Removed) && began_at.elapsed() < TO_DELETE {
            let deleted = tokio::time::timeout(TO_DELETE, self.objects.store.delete(key)).await;
            let deleted = deleted.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer".to_owned())));
            deleted.map_err(|error| self.objects.error_of(key, error))?;
        }
        Ok(swept)
    }
}

#[async_trait]
impl Ledger for ObjectLedger {
    fn url(&self) -> &str {
        self.objects.store.url()
    }

    fn area(&self) -> Option<&StagingArea> {
        Some(&self.area)
    }

    async fn id(&self) -> Result<u64, QueueError> {
        let find = || async {
            let new = Identity { id: rand::random() };
            let change = |before: Option<Identity>| match before {
                Some(Identity { id }) => (None, id),
                None => (Some(new.clone()), new.id),
            };
            Ok(self.objects.update(ID, change).await?)
        };
        self.id.get_or_try_init(find).await.copied()
    }

    async fn claim(
        &self,
        entry: EntryId,
        message: MessageDigest,
        run: RunToken,
        lasts: Duration,
    ) -> Result<Claim, QueueError> {
        self.must_be_of(run).await?;
        let now_ms = self.now_ms();
        let message = hex(&message.0);
        let claimed = self.entry(State::Claimed { message: message.clone() }, lasts, run);
        let change = |before: Option<Entry>| {
            let Some(before) = before else { return (Some(claimed.clone()), Ok(Claim::Ours)) };
            // A clock may have been set back since.
            let left = before.left(now_ms).min(lasts);
            let is_over = left.is_zero();
            match &before.state {
                State::Completed if !is_over => return (None, Ok(Claim::Completed)),
                State::Removed if !is_over => return (None, Ok(Claim::Taken { left })),
                State::Claimed { .. } | State::Committing { .. }
                    if !is_over && before.message() != Some(&message) =>
                {
                    return (None, Ok(Claim::Taken { left }));
                }
                _ => {}
            }
            let Some(commit) = before.commit(run.ledger, entry) else {
                return (Some(claimed.clone()), Ok(Claim::Ours));
            };
            let handed_over = commit.as_ref().ok().map(|commit| {
                let (message, outputs) = (Some(message.clone()), commit.outputs.clone());
                let expires_ms = now_ms.saturating_add(to_ms(lasts.saturating_add(outputs.placing_time())));
                Entry { state: State::Committing { message, outputs }, expires_ms, ..before }
            });
            (handed_over, commit.map(Claim::Committing))
        };
        Ok(self.objects.update(&key_of(entry), change).await??)
    }

    async fn commit(
        &self,
        entry: EntryId,
        run: RunToken,
        outputs: &CommitList,
        lasts: Duration,
    ) -> Result<bool, QueueError> {
        let after = |before: &Entry| {
            let (message, outputs) = (before.message().map(str::to_owned), outputs.clone());
            self.entry(State::Committing { message, outputs }, lasts, run)
        };
        self.advance(entry, run, after).await
    }

    async fn complete(&self, entry: EntryId, run: RunToken, window: Duration) -> Result<bool, QueueError> {
        let completed = self.entry(State::Completed, window, run);
        self.advance(entry, run, |_| completed.clone()).await
    }

    async fn give_up(&self, entry: EntryId, run: RunToken) -> Result<(), QueueError> {
        let free = self.entry(State::Free, Duration::ZERO, run);
        let change = |before: Option<Entry>| {
            let is_claim = |entry: &Entry| matches!(entry.state, State::Claimed { .. }) && entry.is_of(run);
            (before.filter(is_claim).map(|_| free.clone()), ())
        };
        Ok(self.objects.update(&key_of(entry), change).await?)
    }

    async fn live(&self, runs: Vec<RunToken>) -> Result<Vec<RunToken>, QueueError> {
        let are_live = try_join_all(runs.iter().map(|&run| self.is_live(run))).await?;
        Ok(runs.into_iter().zip(are_live).filter_map(|(run, is_live)| is_live.then_some(run)).collect())
    }

    /// Looks at the next entries in the order of their digests: at most `limit`, of which it reads those whose time may be
    /// over, as many as it can in its time.
    async fn sweep(&self, limit: usize, lasts: Duration) -> Result<Swept, QueueError> {
        let began_at = Instant::now();
        let objects = self.next_entries(limit).await?;
        let (last, number) = (objects.last().map(|object| object.key.clone()), objects.len());
        let over: Vec<_> = objects.into_iter().filter(|object| self.may_be_over(object, lasts)).collect();
        let mut swept = Swept::default();
        for batch in over.chunks(AT_ONCE) {
            // An error, or a call that is abandoned, goes on with the next batch.
            if let Some(object) = batch.last() {
                self.swept.lock().clone_from(&object.key);
            }
            for result in join_all(batch.iter().map(|object| self.sweep_one(&object.key, lasts))).await {
                match result? {
                    SweptEntry::Stays => {}
                    SweptEntry::Removed => swept.removed += 1,
                    SweptEntry::Unfinished(commit) => swept.unfinished.push(commit),
                }
            }
            if !swept.unfinished.is_empty() || began_at.elapsed() >= LONGEST_SWEEP {
                swept.goes_on = true;
                return Ok(swept);
            }
        }
        if let Some(last) = last {
            *self.swept.lock() = last;
        }
        // Otherwise the ledger would grow where a worker completes more than a sweep removes in its time.
        swept.goes_on = number == limit && 10 * swept.removed > limit;
        Ok(swept)
    }
}

fn to_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
