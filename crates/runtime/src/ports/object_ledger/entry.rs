//! The entries of a ledger in objects: their keys, and what their objects hold.

use crate::model::text::hex;
use crate::ports::ledger::{Commit, CommitList, EntryId, LONGEST_HELD};
use crate::ports::shared_objects::SharedError;
use crate::ports::staging::RunToken;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Prefix of the entries.
pub(super) const ENTRIES: &str = "entries/";

/// The content of an entry's object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) state: State,
    /// End of the claim, time for the commit, or end of the window or the removal: milliseconds since 1970.
    pub(super) expires_ms: u64,
    /// The run's random number, as 32 hexadecimal digits.
    pub(super) run: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Claimed {
        /// Digest of the message's ID.
        message: String,
    },
    Committing {
        /// Digest of the ID of the message that may complete it before its time is over. Older versions wrote none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        outputs: CommitList,
    },
    Completed,
    /// The claim was given up.
    Free,
    /// It is about to be deleted: nobody may claim it.
    Removed,
}

impl State {
    /// Returns the same state, but a commit is no message's.
    pub(super) fn without_message(self) -> Self {
        match self {
            Self::Committing { outputs, .. } => Self::Committing { message: None, outputs },
            other => other,
        }
    }
}

impl Entry {
    /// Returns whether this run holds the entry.
    pub(super) fn is_of(&self, run: RunToken) -> bool {
        let is_under_way = matches!(self.state, State::Claimed { .. } | State::Committing { .. });
        is_under_way && self.run == hex(&run.run.to_be_bytes())
    }

    /// Returns how long the entry stays as it is at most, unless its run goes on. A claim or commit that ends too far ahead
    /// is over.
    pub(super) fn left(&self, now_ms: u64) -> Duration {
        let left = Duration::from_millis(self.expires_ms.saturating_sub(now_ms));
        let may_be_long = matches!(self.state, State::Completed);
        if may_be_long || left <= LONGEST_HELD { left } else { Duration::ZERO }
    }

    /// Returns the digest of the message that holds the entry.
    pub(super) fn message(&self) -> Option<&str> {
        match &self.state {
            State::Claimed { message } => Some(message),
            State::Committing { message, .. } => message.as_deref(),
            State::Completed | State::Free | State::Removed => None,
        }
    }

    /// Returns the commit of the entry, if there is one. A list that can't be read is an error.
    pub(super) fn commit(&self, ledger: u64, entry: EntryId) -> Option<Result<Commit, SharedError>> {
        let State::Committing { outputs, .. } = &self.state else { return None };
        let run = u128::from_str_radix(&self.run, 16).ok().filter(|_| outputs.is_well_formed());
        Some(match run {
            Some(run) => Ok(Commit { entry, run: RunToken { ledger, run }, outputs: outputs.clone() }),
            None => Err(SharedError::Damaged(format!(
                "the object {} has a commit that cannot be read: another program changed it",
                key_of(entry)
            ))),
        })
    }
}

pub(super) fn key_of(entry: EntryId) -> String {
    format!("{ENTRIES}{}", hex(&entry.0))
}

/// Returns the entry whose object has this key.
pub(super) fn entry_of(key: &str) -> Option<EntryId> {
    let digits = key.strip_prefix(ENTRIES)?;
    let mut entry = EntryId([0; 32]);
    for (index, byte) in entry.0.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    (key_of(entry) == key).then_some(entry)
}
