//! Limits the memories and tables of one task in sum, and remembers refused growths.
//!
//! Wasmtime's own `StoreLimits` limits each memory separately, so that a component with ten memories gets ten times the
//! limit. This limiter sums over the store.

use crate::model::limits::{Limit, Limits};
use wasmtime::ResourceLimiter;

/// The memory and table budget of one store.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory: Budget,
    table_elements: Budget,
    /// Maximum number of core instances, memories and tables.
    counts: [usize; 3],
}

/// A sum with an upper bound.
#[derive(Debug)]
struct Budget {
    ceiling: usize,
    used: usize,
    /// The last granted growth, which is subtracted again if it fails.
    pending: usize,
    /// The largest sum that was refused.
    refused: Option<usize>,
}

impl Budget {
    fn new(ceiling: usize) -> Self {
        Self { ceiling, used: 0, pending: 0, refused: None }
    }

    /// Decides on the growth of one memory or table from `current` to `desired`, and returns whether it's granted.
    ///
    /// Wasmtime asks even for a growth beyond the memory's or table's own maximum, which fails anyway. It counts as
    /// refused by this budget only if it's also beyond the ceiling: for a pooled table, Wasmtime passes the size of its
    /// slot as the maximum, which equals the ceiling.
    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        let growth = desired.saturating_sub(current);
        let sum = self.used.saturating_add(growth);
        if sum > self.ceiling {
            self.pending = 0;
            self.refused = Some(self.refused.unwrap_or(0).max(sum));
            return false;
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            self.pending = 0;
            return false;
        }
        self.used = sum;
        self.pending = growth;
        true
    }

    /// Undoes the last granted growth, which failed.
    fn failed(&mut self) {
        self.used -= std::mem::take(&mut self.pending);
    }
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory: Budget::new(limits.memory_bytes),
            table_elements: Budget::new(limits.table_elements),
            counts: [limits.core_instances, limits.memories, limits.tables],
        }
    }

    /// Returns the limit that a growth exceeded, if one did. The guest may have handled the refusal.
    pub(crate) fn refused(&self) -> Option<Limit> {
        if self.memory.refused.is_some() {
            Some(Limit::Memory)
        } else if self.table_elements.refused.is_some() {
            Some(Limit::TableElements)
        } else {
            None
        }
    }

    /// Returns the bytes of memory that the largest refused growth would have required.
    pub(crate) fn refused_memory(&self) -> Option<usize> {
        self.memory.refused
    }

    /// Returns the bytes of all memories together. Wasm memories never shrink, so this is also the peak.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory.used
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.memory.grow(current, desired, maximum))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.failed();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.table_elements.grow(current, desired, maximum))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.table_elements.failed();
        Ok(())
    }

    fn instances(&self) -> usize {
        self.counts[0]
    }

    fn memories(&self) -> usize {
        self.counts[1]
    }

    fn tables(&self) -> usize {
        self.counts[2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limiter(memory_bytes: usize) -> Limiter {
        Limiter::new(&Limits { memory_bytes, table_elements: 10, ..Limits::default() })
    }

    #[test]
    fn several_memories_share_one_limit() {
        let mut limiter = limiter(100);
        assert!(limiter.memory_growing(0, 60, None).expect("never fails"));
        assert!(limiter.memory_growing(0, 40, None).expect("never fails"));
        assert_eq!(limiter.refused(), None);
        assert!(!limiter.memory_growing(40, 41, None).expect("never fails"));
        assert_eq!(limiter.refused(), Some(Limit::Memory));
        assert_eq!(limiter.refused_memory(), Some(101));
        assert_eq!(limiter.memory_bytes(), 100);
    }

    #[test]
    fn table_elements_are_named_apart_from_memory() {
        let mut limiter = limiter(100);
        assert!(!limiter.table_growing(0, 11, None).expect("never fails"));
        assert_eq!(limiter.refused(), Some(Limit::TableElements));
    }

    #[test]
    fn a_growth_beyond_the_memorys_own_maximum_is_not_our_refusal() {
        let mut limiter = limiter(100);
        assert!(!limiter.memory_growing(0, 60, Some(50)).expect("never fails"));
        assert_eq!(limiter.refused(), None);
        assert_eq!(limiter.memory_bytes(), 0);
    }

    #[test]
    fn a_growth_beyond_both_is_our_refusal() {
        let mut limiter = limiter(100);
        assert!(!limiter.table_growing(0, 11, Some(10)).expect("never fails"));
        assert_eq!(limiter.refused(), Some(Limit::TableElements));
    }

    #[test]
    fn a_growth_that_fails_after_it_was_granted_is_given_back_once() {
        let mut limiter = limiter(100);
        assert!(limiter.memory_growing(0, 60, None).expect("never fails"));
        limiter.memory_grow_failed(wasmtime::Error::msg("no memory")).expect("never fails");
        limiter.memory_grow_failed(wasmtime::Error::msg("no memory")).expect("never fails");
        assert_eq!(limiter.memory_bytes(), 0);
    }

    proptest! {
        #[test]
        fn the_sum_never_exceeds_the_limit(growths in prop::collection::vec((0usize..200, any::<bool>()), 0..50)) {
            let mut limiter = limiter(1000);
            for (growth, fails) in growths {
                let granted = limiter.memory_growing(0, growth, None).expect("never fails");
                if granted && fails {
                    limiter.memory_grow_failed(wasmtime::Error::msg("x")).expect("never fails");
                }
                prop_assert!(limiter.memory_bytes() <= 1000);
            }
        }
    }
}
