//! Inside a transaction: adding up what keys have used of their budgets.

use crate::sqlite::file::Fault;
use crate::sqlite::transaction::Transaction;
use rusqlite::{OptionalExtension, params};
use wasmrun_runtime::model::budget::{AccountId, MOST_AMOUNT};
use wasmrun_runtime::ports::budgets::{Charge, GRACE};

impl Transaction<'_> {
    /// Adds amounts to accounts, and returns the sums. At most `most` accounts are remembered.
    pub(super) fn charge_accounts(&self, charges: &[Charge], most: usize) -> Result<Vec<u64>, Fault> {
        let sums: Result<Vec<u64>, Fault> =
            charges.iter().map(|charge| self.charge_account(charge)).collect();
        let sums = sums?;
        if charges.iter().any(|charge| charge.amount > 0) {
            self.drop_old_accounts(most)?;
        }
        Ok(sums)
    }

    /// Reads accounts.
    pub(super) fn account_sums(&self, charges: &[Charge]) -> Result<Vec<u64>, Fault> {
        charges.iter().map(|charge| self.account_sum(&charge.account)).collect()
    }

    fn charge_account(&self, Charge { account, amount }: &Charge) -> Result<u64, Fault> {
        if *amount == 0 {
            return self.account_sum(account);
        }
        let AccountId { key, unit, began, lasts } = account;
        let mut upsert = self.sql.prepare_cached(
            "INSERT INTO account (key, unit, began, lasts, used) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET used = min(used + excluded.used, ?6) RETURNING used",
        )?;
        let (amount, most) = (number(*amount), number(MOST_AMOUNT));
        let row = params![key.as_str(), unit.as_str(), number(*began), number(*lasts), amount, most];
        let sum: i64 = upsert.query_row(row, |row| row.get(0))?;
        Ok(sum.unsigned_abs())
    }

    fn account_sum(&self, AccountId { key, unit, began, lasts }: &AccountId) -> Result<u64, Fault> {
        let mut query = self.sql.prepare_cached(
            "SELECT used FROM account WHERE key = ?1 AND unit = ?2 AND began = ?3 AND lasts = ?4",
        )?;
        let row = params![key.as_str(), unit.as_str(), number(*began), number(*lasts)];
        let sum: Option<i64> = query.query_row(row, |row| row.get(0)).optional()?;
        Ok(sum.unwrap_or_default().unsigned_abs())
    }

    /// Drops accounts of periods that are over and, if there are too many, half of them: those with the least used.
    fn drop_old_accounts(&self, most: usize) -> Result<(), Fault> {
        if self.number_of_accounts()? <= most {
            return Ok(());
        }
        let over = self.now_ms / 1000 - number(GRACE.as_secs());
        self.sql.prepare_cached("DELETE FROM account WHERE began + lasts <= ?1")?.execute([over])?;
        let number_left = self.number_of_accounts()?;
        if number_left > most {
            let mut least = self.sql.prepare_cached(
                "DELETE FROM account WHERE (key, unit, began, lasts) IN (
                    SELECT key, unit, began, lasts FROM account ORDER BY used LIMIT ?1)",
            )?;
            least.execute([i64::try_from(number_left - most / 2).unwrap_or(i64::MAX)])?;
        }
        Ok(())
    }

    fn number_of_accounts(&self) -> Result<usize, Fault> {
        let mut query = self.sql.prepare_cached("SELECT count(*) FROM account")?;
        let count: i64 = query.query_row([], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or_default())
    }
}

/// Converts a number to SQLite's.
fn number(number: u64) -> i64 {
    i64::try_from(number.min(MOST_AMOUNT)).unwrap_or(i64::MAX)
}
