//! Inside a transaction: the entries of a ledger.

use super::super::clock::{from_ms, to_ms};
use super::super::file::Fault;
use super::super::transaction::Transaction;
use rusqlite::{OptionalExtension, Row, params};
use std::time::Duration;
use wasmrun_runtime::ports::ledger::{
    Claim, Commit, CommitList, EntryId, LONGEST_HELD, MOST_LIST_BYTES, MOST_UNFINISHED, MessageDigest, Swept,
};
use wasmrun_runtime::ports::queue::QueueError;
use wasmrun_runtime::ports::staging::RunToken;

const CLAIMED: i64 = 0;
const COMMITTING: i64 = 1;
const COMPLETED: i64 = 2;

/// The index has the runs under way only. SQLite would take the other one, and read all entries whose time is over.
pub(super) const LATE_COMMITS: &str = "SELECT id FROM entry INDEXED BY entry_run
     WHERE run IS NOT NULL AND state = ?2 AND (expires_ms <= ?1 OR expires_ms > ?4) ORDER BY expires_ms LIMIT ?3";

/// Claims of a clock that was ahead. The index has the runs under way only.
pub(super) const CLAIMS_FROM_AHEAD: &str = "DELETE FROM entry WHERE id IN
     (SELECT id FROM entry INDEXED BY entry_run
      WHERE run IS NOT NULL AND state = ?2 AND expires_ms > ?1 LIMIT ?3)";

/// An entry in which a run is under way, or that is completed.
struct EntryRow {
    state: i64,
    expires_ms: i64,
    message: Option<[u8; 16]>,
}

impl Transaction<'_> {
    pub(super) fn ledger_id(&self) -> Result<u64, Fault> {
        let id = self.sql.prepare_cached("SELECT id FROM ledger")?.query_row([], |row| row.get::<_, i64>(0));
        Ok(id?.cast_unsigned())
    }

    /// Refuses a run of another ledger: the file was replaced while the worker ran.
    fn must_be_of(&self, run: RunToken) -> Result<(), Fault> {
        if self.ledger_id()? == run.ledger {
            return Ok(());
        }
        let path = self.address.path.display();
        Err(QueueError::Unusable(format!(
            "{path} is not the ledger that it was when the worker started: restart the worker"
        ))
        .into())
    }

    pub(super) fn claim(
        &self,
        entry: EntryId,
        message: MessageDigest,
        run: RunToken,
        lasts: Duration,
    ) -> Result<Claim, Fault> {
        self.must_be_of(run)?;
        let lasts_ms = to_ms(lasts);
        let mut query =
            self.sql.prepare_cached("SELECT state, expires_ms, message FROM entry WHERE id = ?1")?;
        let found = query.query_row([entry.0], |row| {
            Ok(EntryRow { state: row.get(0)?, expires_ms: row.get(1)?, message: row.get(2)? })
        });
        if let Some(EntryRow { state, expires_ms, message: claimant }) = found.optional()? {
            let is_over = expires_ms <= self.now_ms || state != COMPLETED && expires_ms > self.latest_end();
            match state {
                COMPLETED if !is_over => return Ok(Claim::Completed),
                CLAIMED | COMMITTING if !is_over && claimant != Some(message.0) => {
                    // The clock may have been set back since.
                    let left_ms = (expires_ms - self.now_ms).min(lasts_ms);
                    return Ok(Claim::Taken { left: from_ms(left_ms) });
                }
                COMMITTING => {
                    let commit = self.commit_of(entry)?;
                    self.hand_over(&commit, Some(message), lasts)?;
                    return Ok(Claim::Committing(commit));
                }
                _ => {}
            }
        }
        let mut insert = self.sql.prepare_cached(
            "INSERT OR REPLACE INTO entry (id, state, expires_ms, run, message) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        insert.execute(params![entry.0, CLAIMED, self.now_ms + lasts_ms, to_blob(run), message.0])?;
        Ok(Claim::Ours)
    }

    /// Returns the latest end that a claim or a commit can have, in milliseconds since 1970.
    fn latest_end(&self) -> i64 {
        self.now_ms + to_ms(LONGEST_HELD)
    }

    pub(super) fn commit_run(
        &self,
        entry: EntryId,
        run: RunToken,
        list: &[u8],
        lasts: Duration,
    ) -> Result<bool, Fault> {
        let mut update = self.sql.prepare_cached(
            "UPDATE entry SET state = ?3, expires_ms = ?4, outputs = ?5 WHERE id = ?1 AND run = ?2",
        )?;
        let expires_ms = self.now_ms + to_ms(lasts);
        Ok(update.execute(params![entry.0, to_blob(run), COMMITTING, expires_ms, list])? > 0)
    }

    pub(super) fn complete_run(
        &self,
        entry: EntryId,
        run: RunToken,
        window: Duration,
    ) -> Result<bool, Fault> {
        let mut update = self.sql.prepare_cached(
            "UPDATE entry SET state = ?3, expires_ms = ?4, run = NULL, message = NULL, outputs = NULL
             WHERE id = ?1 AND run = ?2",
        )?;
        let expires_ms = self.now_ms + to_ms(window);
        Ok(update.execute(params![entry.0, to_blob(run), COMPLETED, expires_ms])? > 0)
    }

    pub(super) fn give_up(&self, entry: EntryId, run: RunToken) -> Result<(), Fault> {
        let mut delete =
            self.sql.prepare_cached("DELETE FROM entry WHERE id = ?1 AND run = ?2 AND state = ?3")?;
        delete.execute(params![entry.0, to_blob(run), CLAIMED])?;
        Ok(())
    }

    pub(super) fn live(&self, runs: &[RunToken]) -> Result<Vec<RunToken>, Fault> {
        let mut query = self.sql.prepare_cached("SELECT 1 FROM entry WHERE run = ?1")?;
        let mut live = Vec::new();
        for &run in runs {
            self.must_be_of(run)?;
            if query.exists([to_blob(run)])? {
                live.push(run);
            }
        }
        Ok(live)
    }

    pub(super) fn sweep(&self, limit: usize, lasts: Duration) -> Result<Swept, Fault> {
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut delete = self.sql.prepare_cached(
            "DELETE FROM entry WHERE id IN
             (SELECT id FROM entry WHERE expires_ms <= ?1 AND state <> ?2 ORDER BY expires_ms LIMIT ?3)",
        )?;
        let removed = delete.execute(params![self.now_ms, COMMITTING, most])?;
        let mut delete = self.sql.prepare_cached(CLAIMS_FROM_AHEAD)?;
        let left = most - i64::try_from(removed).unwrap_or(most);
        let removed = removed + delete.execute(params![self.latest_end(), CLAIMED, left])?;
        let mut query = self.sql.prepare_cached(LATE_COMMITS)?;
        let most = i64::try_from(MOST_UNFINISHED).unwrap_or(i64::MAX);
        let late = params![self.now_ms, COMMITTING, most, self.latest_end()];
        let late = query.query_map(late, |row| row.get(0).map(EntryId))?;
        let late = late.collect::<Result<Vec<_>, _>>()?;
        let mut unfinished = Vec::with_capacity(late.len());
        for entry in late {
            match self.commit_of(entry) {
                Ok(commit) => {
                    self.hand_over(&commit, None, lasts)?;
                    unfinished.push(commit);
                }
                // It must not keep others from being swept.
                Err(Fault::Queue(error)) => {
                    self.put_off(entry, None, lasts)?;
                    tracing::error!(%error, "cannot complete a commit of the ledger");
                }
                Err(error) => return Err(error),
            }
        }
        let goes_on = removed == limit || unfinished.len() == MOST_UNFINISHED;
        Ok(Swept { removed, unfinished, goes_on })
    }

    /// Gives the caller time to complete a commit. `message` claims it; `None`: a sweep found it late, and until its time is
    /// over, no message gets it.
    fn hand_over(
        &self,
        commit: &Commit,
        message: Option<MessageDigest>,
        lasts: Duration,
    ) -> Result<(), Fault> {
        self.put_off(commit.entry, message, lasts.saturating_add(commit.outputs.placing_time()))
    }

    fn put_off(&self, entry: EntryId, message: Option<MessageDigest>, time: Duration) -> Result<(), Fault> {
        let mut update =
            self.sql.prepare_cached("UPDATE entry SET expires_ms = ?2, message = ?3 WHERE id = ?1")?;
        let message = message.map(|message| message.0);
        update.execute(params![entry.0, self.now_ms + to_ms(time), message])?;
        Ok(())
    }

    /// Reads the commit of an entry.
    fn commit_of(&self, entry: EntryId) -> Result<Commit, Fault> {
        let mut query = self.sql.prepare_cached(
            "SELECT run, CASE WHEN length(outputs) <= ?2 THEN outputs END FROM entry WHERE id = ?1",
        )?;
        let most = i64::try_from(MOST_LIST_BYTES).unwrap_or(i64::MAX);
        let read = |row: &Row<'_>| Ok((row.get::<_, [u8; 24]>(0)?, row.get::<_, Option<Vec<u8>>>(1)?));
        let (run, list) = query.query_row(params![entry.0, most], read)?;
        let outputs = list.and_then(|list| CommitList::from_bytes(&list)).ok_or_else(|| {
            let path = self.address.path.display();
            QueueError::Unusable(format!(
                "{path} has a commit that cannot be read: another program changed it"
            ))
        })?;
        Ok(Commit { entry, run: from_blob(run), outputs })
    }
}

fn to_blob(run: RunToken) -> [u8; 24] {
    let mut blob = [0; 24];
    blob[..8].copy_from_slice(&run.ledger.to_be_bytes());
    blob[8..].copy_from_slice(&run.run.to_be_bytes());
    blob
}

fn from_blob(blob: [u8; 24]) -> RunToken {
    let (ledger, run) = blob.split_at(8);
    RunToken {
        ledger: u64::from_be_bytes(ledger.try_into().unwrap_or_default()),
        run: u128::from_be_bytes(run.try_into().unwrap_or_default()),
    }
}
