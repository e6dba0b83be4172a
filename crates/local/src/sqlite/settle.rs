//! Inside a transaction: settling messages by their receipts.
//!
//! The inner result is that of one message.

use super::clock::to_ms;
use super::file::Fault;
use super::rows::QueueRow;
use super::transaction::Transaction;
use rusqlite::params;
use std::time::Duration;
use wasmrun_runtime::model::message::MAX_VISIBILITY;
use wasmrun_runtime::ports::queue::{QueueError, Receipt};

impl Transaction<'_> {
    pub(super) fn delete(
        &self,
        queue: &QueueRow,
        receipt: &Receipt,
    ) -> Result<Result<(), QueueError>, Fault> {
        let Some((sequence, nonce)) = parse(receipt) else { return Ok(Err(QueueError::ReceiptExpired)) };
        let mut delete = self
            .sql
            .prepare_cached("DELETE FROM message WHERE sequence = ?1 AND queue = ?2 AND receipt = ?3")?;
        if delete.execute(params![sequence, queue.id, nonce])? == 1 {
            return Ok(Ok(()));
        }
        let mut query =
            self.sql.prepare_cached("SELECT 1 FROM message WHERE sequence = ?1 AND queue = ?2")?;
        let held_by_another = query.exists(params![sequence, queue.id])?;
        Ok(if held_by_another { Err(QueueError::ReceiptExpired) } else { Ok(()) })
    }

    pub(super) fn set_visibility(
        &self,
        queue: &QueueRow,
        receipt: &Receipt,
        visibility: Duration,
    ) -> Result<Result<(), QueueError>, Fault> {
        self.update_visibility(
            "UPDATE message SET visible_ms = ?1 WHERE sequence = ?2 AND queue = ?3 AND receipt = ?4",
            queue,
            receipt,
            visibility,
        )
    }

    /// Releases a message. This uses up the receipt, so that a second call doesn't take another delivery off the count.
    pub(super) fn release(
        &self,
        queue: &QueueRow,
        receipt: &Receipt,
        visibility: Duration,
    ) -> Result<Result<(), QueueError>, Fault> {
        self.update_visibility(
            "UPDATE message SET visible_ms = ?1, receipt = NULL, receive_count = max(receive_count - 1, 0)
             WHERE sequence = ?2 AND queue = ?3 AND receipt = ?4",
            queue,
            receipt,
            visibility,
        )
    }

    fn update_visibility(
        &self,
        sql: &str,
        queue: &QueueRow,
        receipt: &Receipt,
        visibility: Duration,
    ) -> Result<Result<(), QueueError>, Fault> {
        let Some((sequence, nonce)) = parse(receipt) else { return Ok(Err(QueueError::ReceiptExpired)) };
        let visible_ms = self.now_ms + to_ms(visibility.min(MAX_VISIBILITY));
        let changed =
            self.sql.prepare_cached(sql)?.execute(params![visible_ms, sequence, queue.id, nonce])?;
        Ok(if changed == 1 { Ok(()) } else { Err(QueueError::ReceiptExpired) })
    }
}

/// A receipt is `SEQUENCE-NONCE`.
fn parse(receipt: &Receipt) -> Option<(i64, &str)> {
    let (sequence, nonce) = receipt.0.split_once('-')?;
    Some((sequence.parse().ok()?, nonce))
}
