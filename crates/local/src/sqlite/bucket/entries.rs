//! Inside a transaction: the entries of a bucket.

use super::super::file::Fault;
use super::super::transaction::Transaction;
use bytes::Bytes;
use rusqlite::{OptionalExtension, params};
use wasmrun_runtime::ports::keyvalue::{Entry, KeyPage, KeyValueError, sum};

/// Longest decimal number of 64 bits, with its sign.
const MAX_NUMBER_BYTES: u64 = 20;

impl Transaction<'_> {
    /// Returns the entries of keys, or `None` if their values have more than `max_bytes` together. Never reads more than
    /// that: another program may have written larger values.
    pub(super) fn entries(
        &self,
        keys: &[String],
        max_bytes: usize,
    ) -> Result<Option<Vec<Option<Entry>>>, Fault> {
        // The lengths cost nothing to read, and don't change within a transaction.
        let mut sum = 0_u64;
        for key in keys {
            sum = sum.saturating_add(self.length(key)?);
        }
        if sum > max_bytes as u64 {
            return Ok(None);
        }
        keys.iter().map(|key| self.entry(key)).collect::<Result<_, _>>().map(Some)
    }

    /// Returns the number of bytes of a key's value; 0 if there is none.
    fn length(&self, key: &str) -> Result<u64, Fault> {
        let mut query = self.sql.prepare_cached("SELECT length(value) FROM entry WHERE key = ?1")?;
        let length = query.query_row(params![key], |row| row.get::<_, Option<i64>>(0)).optional()?;
        Ok(length.flatten().unwrap_or_default().cast_unsigned())
    }

    fn entry(&self, key: &str) -> Result<Option<Entry>, Fault> {
        let mut query = self.sql.prepare_cached("SELECT version, value FROM entry WHERE key = ?1")?;
        let entry = query.query_row([key], |row| {
            let version = row.get::<_, i64>(0)?.cast_unsigned();
            Ok(Entry { value: row.get::<_, Vec<u8>>(1)?.into(), version })
        });
        Ok(entry.optional()?)
    }

    pub(super) fn version(&self, key: &str) -> Result<Option<u64>, Fault> {
        let mut query = self.sql.prepare_cached("SELECT version FROM entry WHERE key = ?1")?;
        let version = query.query_row([key], |row| row.get::<_, i64>(0)).optional()?;
        Ok(version.map(i64::cast_unsigned))
    }

    pub(super) fn set_entry(&self, key: &str, value: &Bytes) -> Result<(), Fault> {
        self.sql.prepare_cached("UPDATE counter SET version = version + 1")?.execute([])?;
        let mut upsert = self.sql.prepare_cached(
            "INSERT INTO entry (key, version, value) VALUES (?1, (SELECT version FROM counter), ?2)
             ON CONFLICT (key) DO UPDATE SET version = excluded.version, value = excluded.value",
        )?;
        upsert.execute(params![key, &value[..]])?;
        Ok(())
    }

    pub(super) fn delete_entry(&self, key: &str) -> Result<(), Fault> {
        self.sql.prepare_cached("DELETE FROM entry WHERE key = ?1")?.execute([key])?;
        Ok(())
    }

    /// Returns the keys after a place in the listing.
    pub(super) fn keys_after(&self, after: u64, limit: usize) -> Result<KeyPage, Fault> {
        // No key has a place beyond.
        let Ok(after) = i64::try_from(after) else { return Ok(KeyPage::default()) };
        let mut query =
            self.sql.prepare_cached("SELECT id, key FROM entry WHERE id > ?1 ORDER BY id LIMIT ?2")?;
        let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let mut rows = query.query(params![after, one_more])?;
        let mut page = KeyPage::default();
        let mut last = after;
        while let Some(row) = rows.next()? {
            if page.keys.len() == limit {
                page.next = Some(last.cast_unsigned());
                break;
            }
            last = row.get(0)?;
            page.keys.push(row.get(1)?);
        }
        Ok(page)
    }

    /// Adds to a number. The inner error is an error of the value.
    pub(super) fn increment(&self, key: &str, delta: i64) -> Result<Result<i64, KeyValueError>, Fault> {
        let value = if self.length(key)? > MAX_NUMBER_BYTES {
            Some(Bytes::from_static(b"no number"))
        } else {
            self.entry(key)?.map(|entry| entry.value)
        };
        let sum = match sum(value.as_deref(), delta) {
            Ok(sum) => sum,
            Err(error) => return Ok(Err(error)),
        };
        self.set_entry(key, &sum.to_string().into())?;
        Ok(Ok(sum))
    }
}
