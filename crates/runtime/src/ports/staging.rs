//! The staging area of an object store: objects that are durable, and that nobody sees before they are placed.
//!
//! With `--once`, a task's objects are staged while it runs, and placed together once the ledger has its commit.

use super::object_store::{ObjectWriter, PutOptions, StoreError};
use crate::model::once::EntryId;
use async_trait::async_trait;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A staging area. Its methods may be called concurrently, also by several processes.
#[async_trait]
pub trait Staging: Send + Sync {
    /// Returns whether an object's key can't be the directory of another object, as in a file system.
    fn has_directories(&self) -> bool;

    /// Begins to write an object for this key. [`ObjectWriter::finish`] makes it durable under the name, and returns it
    /// without an etag. The options must have no condition.
    ///
    /// # Errors
    ///
    /// What would make [`Staging::place`] fail, as far as it's known now.
    async fn stage(
        &self,
        name: StagedName,
        key: &str,
        options: PutOptions,
    ) -> Result<Box<dyn ObjectWriter>, StoreError>;

    /// Makes a staged object visible under its key, durably and in one step. Succeeds if it was placed before, and then
    /// changes nothing.
    async fn place(&self, name: StagedName, key: &str) -> Result<(), StoreError>;

    /// Removes a staged object; succeeds if there is none.
    async fn discard(&self, name: StagedName) -> Result<(), StoreError>;

    /// Returns names after `after` of what is staged for a ledger, at most `limit` of the first. It may leave out what was
    /// staged less than `age` ago.
    async fn staged(
        &self,
        ledger: u64,
        after: Option<StagedName>,
        limit: usize,
        age: Duration,
    ) -> Result<StagedNames, StoreError>;
}

/// A part of the names of what is staged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StagedNames {
    /// The names, in order.
    pub names: Vec<StagedName>,
    /// The name after which there may be more; `None`: there are no more.
    pub goes_on_after: Option<StagedName>,
}

impl StagedNames {
    /// Returns names in order, of which at most `limit` were asked for.
    pub fn of_at_most(limit: usize, names: impl IntoIterator<Item = StagedName>) -> Self {
        let names: Vec<_> = names.into_iter().collect();
        let goes_on_after = names.last().filter(|_| names.len() >= limit).copied();
        Self { names, goes_on_after }
    }
}

/// One run of a task whose outputs are staged. No two runs have the same token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunToken {
    /// The ledger that knows the run.
    pub ledger: u64,
    /// The first eight bytes of the run's entry, by which the entry is found, and a random number.
    pub run: u128,
}

impl RunToken {
    /// Returns the token of a new run of an entry.
    pub fn new(ledger: u64, entry: EntryId) -> Self {
        let mut run = [0; 16];
        run[..8].copy_from_slice(&entry.0[..8]);
        run[8..].copy_from_slice(&rand::random::<[u8; 8]>());
        Self { ledger, run: u128::from_be_bytes(run) }
    }
}

/// Name of a staged object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StagedName {
    /// The run that wrote it.
    pub run: RunToken,
    /// Its number among the run's objects.
    pub number: u32,
}

impl StagedName {
    /// Returns what the names of a ledger's staged objects begin with.
    pub fn prefix(ledger: u64) -> String {
        format!("{ledger:016x}-")
    }
}

/// Formats the name in the same number of characters each time, so that names and texts have the same order.
impl fmt::Display for StagedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run: RunToken { ledger, run }, number } = self;
        write!(f, "{ledger:016x}-{run:032x}-{number:08x}")
    }
}

/// Error: a text is no staged object's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoStagedName;

impl FromStr for StagedName {
    type Err = NoStagedName;

    fn from_str(text: &str) -> Result<Self, NoStagedName> {
        let mut parts = text.splitn(3, '-');
        let mut part = || parts.next().ok_or(NoStagedName);
        let (ledger, run, number) = (part()?, part()?, part()?);
        let ledger = u64::from_str_radix(ledger, 16).map_err(|_| NoStagedName)?;
        let run = u128::from_str_radix(run, 16).map_err(|_| NoStagedName)?;
        let number = u32::from_str_radix(number, 16).map_err(|_| NoStagedName)?;
        let name = Self { run: RunToken { ledger, run }, number };
        // No other way of writing it.
        if name.to_string() == text { Ok(name) } else { Err(NoStagedName) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_name_is_read_as_it_was_written_and_in_no_other_way(
            ledger: u64, run: u128, number: u32, text in "\\PC{0,64}",
        ) {
            let name = StagedName { run: RunToken { ledger, run }, number };
            let written = name.to_string();
            prop_assert_eq!(written.parse(), Ok(name));
            prop_assert!(written.starts_with(&StagedName::prefix(ledger)));
            prop_assert_eq!(written.to_uppercase().parse::<StagedName>().is_ok(), written.to_uppercase() == written);
            prop_assert!(text.parse::<StagedName>().is_err_and(|error| error == NoStagedName));
        }
    }
}
