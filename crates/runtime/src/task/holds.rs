//! What the open handles of a task hold of the host together.

use super::host::LimitHit;
use crate::model::limits::{Footprint, Limit};
use parking_lot::Mutex;
use std::sync::Arc;

/// The sum of a task's [`Hold`]s, and its bound.
#[derive(Clone)]
pub(crate) struct Holdings {
    held: Arc<Mutex<Footprint>>,
    most: Footprint,
}

/// A part of a task's holdings, returned when it's dropped.
pub(crate) struct Hold {
    of: Holdings,
    part: Footprint,
}

impl Holdings {
    pub(crate) fn new(most: Footprint) -> Self {
        Self { held: Arc::default(), most }
    }

    /// Takes a part.
    ///
    /// # Errors
    ///
    /// Ends a task that would hold more than its limits allow.
    pub(crate) fn take(&self, part: Footprint) -> wasmtime::Result<Hold> {
        let mut held = self.held.lock();
        let sum = Footprint {
            bytes: held.bytes.saturating_add(part.bytes),
            files: held.files.saturating_add(part.files),
        };
        if sum.bytes > self.most.bytes || sum.files > self.most.files {
            return Err(LimitHit(Limit::Handles).into());
        }
        *held = sum;
        drop(held);
        Ok(Hold { of: self.clone(), part })
    }

    /// Takes a number of bytes.
    ///
    /// # Errors
    ///
    /// As [`Holdings::take`].
    pub(crate) fn take_bytes(&self, bytes: usize) -> wasmtime::Result<Hold> {
        self.take(Footprint { bytes, files: 0 })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.of.held.lock();
        held.bytes = held.bytes.saturating_sub(self.part.bytes);
        held.files = held.files.saturating_sub(self.part.files);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_can_be_taken_again_and_no_sum_overflows() {
        let holdings = Holdings::new(Footprint { bytes: 10, files: 1 });
        let first = holdings.take_bytes(10).expect("fits");
        for bytes in [1, usize::MAX] {
            assert!(holdings.take_bytes(bytes).is_err(), "{bytes}");
        }
        drop(first);
        let _all = holdings.take(Footprint { bytes: 10, files: 1 }).expect("fits");
        assert!(holdings.take(Footprint { bytes: 0, files: 1 }).is_err());
    }
}
