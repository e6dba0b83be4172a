//! Trait of the ledger of `--once`: which messages have completed, which runs are under way, and what committed runs
//! have yet to put in place.
//!
//! An entry is claimed by a run, then committing, then completed until its window is over. Each step is conditional on
//! the run that made the step before, so a run whose claim was taken over changes nothing.

pub use crate::model::once::{EntryId, MessageDigest};

use super::queue::QueueError;
use super::staging::RunToken;
use super::staging_area::StagingArea;
use crate::model::limits::Limits;
use crate::model::message::MAX_VISIBILITY;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Maximum number of outputs of a run.
pub const MOST_OUTPUTS: usize = 1_000;
/// Maximum number of bytes of the keys of a run's outputs, all together.
pub const MOST_OUTPUT_KEY_BYTES: usize = 256 << 10;
/// Maximum number of bytes of a list of outputs. JSON may escape each byte of a key with six.
pub const MOST_LIST_BYTES: usize = 6 * MOST_OUTPUT_KEY_BYTES + (256 << 10);
const _: () = assert!(Limits::OUTPUTS_BYTES >= 2 * MOST_LIST_BYTES + MOST_OUTPUT_KEY_BYTES);

/// Maximum number of commits that a sweep returns: their lists may be large.
pub const MOST_UNFINISHED: usize = 8;

/// Longest time for committing a run and putting its outputs in place, without the time for copying them. A claim lasts
/// for as much longer than its task.
pub const COMMIT_TIMEOUT: Duration = Duration::from_secs(60);
/// Slowest expected rate at which staged objects are copied, in bytes per second. A store that renames them needs no time.
const PLACING_RATE: u64 = 16 << 20;
/// Longest time for placing, whatever the ledger says of the sizes.
const MOST_PLACING: Duration = Duration::from_secs(86_400);
/// How far ahead the end of a claim or commit can be: a claim holds for twice the longest visibility and a minute, and a
/// commit for the time for placing longer. The rest is for clocks that differ. One that ends later was made while a clock
/// was ahead, and is over: otherwise it would hold for as long as the clock was ahead. It isn't compared with the caller's
/// own time for claims, as workers with longer timeouts may share the ledger.
pub const LONGEST_HELD: Duration = Duration::from_secs(3 * 86_400);
const _: () = assert!(
    LONGEST_HELD.as_secs()
        > 2 * MAX_VISIBILITY.as_secs() + MOST_PLACING.as_secs() + 2 * COMMIT_TIMEOUT.as_secs()
);

/// A ledger. All methods may be called concurrently, also by several processes.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Returns the ledger's URL. It contains no secret.
    fn url(&self) -> &str;

    /// Returns the area in which stores without a staging area of their own stage, if the ledger has one.
    fn area(&self) -> Option<&StagingArea> {
        None
    }

    /// Returns the number that tells this ledger from all others. Creates the ledger if there is none.
    async fn id(&self) -> Result<u64, QueueError>;

    /// Claims an entry for a run, for at most `lasts`. A claim of the same message is taken over, as the queue delivers
    /// a message again only after the run before has lost it. So is its commit. Another message gets a commit only once
    /// its time is over, and then has `lasts` and the time for placing to complete it: while the run's worker may be
    /// placing, deletions of a second one could come after what a later run has written.
    async fn claim(
        &self,
        entry: EntryId,
        message: MessageDigest,
        run: RunToken,
        lasts: Duration,
    ) -> Result<Claim, QueueError>;

    /// Records what the run has staged, from when on it is certain to be put in place: by this worker, or after `lasts`
    /// by another. Returns `false` if the run no longer holds the claim.
    async fn commit(
        &self,
        entry: EntryId,
        run: RunToken,
        outputs: &CommitList,
        lasts: Duration,
    ) -> Result<bool, QueueError>;

    /// Records that the run's outputs are in place. The entry is kept for `window`. Returns `false` if the run no longer
    /// holds the entry.
    async fn complete(&self, entry: EntryId, run: RunToken, window: Duration) -> Result<bool, QueueError>;

    /// Gives up a claim, if the run still holds it.
    async fn give_up(&self, entry: EntryId, run: RunToken) -> Result<(), QueueError>;

    /// Returns which of these runs of the ledger hold an entry.
    async fn live(&self, runs: Vec<RunToken>) -> Result<Vec<RunToken>, QueueError>;

    /// Removes at most `limit` entries whose time is over: all of them, or those in a part of the ledger, and the next call
    /// goes on in the next part. Returns at most [`MOST_UNFINISHED`] commits that weren't completed in time, and gives the
    /// caller `lasts` and the time for placing to complete them.
    async fn sweep(&self, limit: usize, lasts: Duration) -> Result<Swept, QueueError>;
}

/// The result of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The run may begin.
    Ours,
    /// The entry was completed within its window.
    Completed,
    /// Another run holds the entry.
    Taken {
        /// Time after which its claim is over at the latest.
        left: Duration,
    },
    /// A run has committed, its outputs aren't known to be in place, and the caller is to complete it.
    Committing(Commit),
}

/// A committed run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its entry.
    pub entry: EntryId,
    /// The run.
    pub run: RunToken,
    /// What it has staged.
    pub outputs: CommitList,
}

/// What a sweep did and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Number of entries that were removed.
    pub removed: usize,
    /// Commits to complete.
    pub unfinished: Vec<Commit>,
    /// Whether another sweep would probably find more than a few.
    pub goes_on: bool,
}

/// What a run has staged: at most one output for each key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitList {
    /// Name of the route that the message took; `None`: none, so that its task was the default component's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// URLs of stores.
    pub stores: Vec<String>,
    /// The outputs, in no particular order.
    pub outputs: Vec<StagedOutput>,
}

/// A staged object to place, or an object to delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedOutput {
    /// Index of its store's URL.
    pub store: usize,
    /// Its key.
    pub key: String,
    /// Number of the staged object; `None`: the object is deleted.
    pub staged: Option<u32>,
    /// Size of the staged object.
    #[serde(default)]
    pub bytes: u64,
}

impl CommitList {
    /// Returns the number of bytes of all staged objects.
    pub fn bytes(&self) -> u64 {
        self.outputs.iter().fold(0, |sum, output| sum.saturating_add(output.bytes))
    }

    /// Returns the longest time for committing a run and putting these outputs in place.
    pub fn placing_time(&self) -> Duration {
        COMMIT_TIMEOUT + Duration::from_secs(self.bytes() / PLACING_RATE).min(MOST_PLACING)
    }

    /// Returns the list as a ledger keeps it.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a list that [`CommitList::to_bytes`] wrote. Returns `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let outputs: Self = serde_json::from_slice(bytes).ok().filter(|_| bytes.len() <= MOST_LIST_BYTES)?;
        outputs.is_well_formed().then_some(outputs)
    }

    /// Returns whether it has no more outputs than a list may have, and each is in one of its stores.
    pub(super) fn is_well_formed(&self) -> bool {
        self.outputs.len() <= MOST_OUTPUTS
            && self.outputs.iter().all(|output| output.store < self.stores.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_largest_list_of_outputs_is_read_again() {
        let outputs = (0..MOST_OUTPUTS as u32).map(|number| StagedOutput {
            store: 0,
            key: "\u{1}".repeat(MOST_OUTPUT_KEY_BYTES / MOST_OUTPUTS),
            staged: Some(u32::MAX - number),
            bytes: u64::MAX,
        });
        let list = CommitList {
            route: Some("\u{1}".repeat(1 << 10)),
            stores: vec!["dir:/x/".into()],
            outputs: outputs.collect(),
        };
        let bytes = list.to_bytes();
        assert!(bytes.len() <= MOST_LIST_BYTES, "{}", bytes.len());
        assert_eq!(CommitList::from_bytes(&bytes), Some(list));
    }

    proptest! {
        #[test]
        fn a_damaged_list_is_none(bytes in prop::collection::vec(any::<u8>(), 0..64), store in 1..9usize) {
            prop_assert_eq!(CommitList::from_bytes(&bytes), None);
            let output = StagedOutput { store, key: "x".into(), staged: None, bytes: 0 };
            let beyond = CommitList { route: None, stores: vec!["dir:/x/".into()], outputs: vec![output] };
            prop_assert_eq!(CommitList::from_bytes(&beyond.to_bytes()), None);
        }
    }
}
