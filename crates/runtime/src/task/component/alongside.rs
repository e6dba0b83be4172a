//! Components that share a host: those of a worker's routes.

use super::Component;
use crate::engine::capacity::{Capacity, TooSmall, capacity};
use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;

impl Component {
    /// Returns the bytes that a task within its limits can make the process hold.
    pub fn task_bytes(&self) -> u64 {
        self.version().config.limits.task_bytes()
    }

    /// Returns how many of its tasks may run at once.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Returns the bytes of its code, as they count against the host's memory.
    pub(crate) fn code_bytes(&self) -> u64 {
        self.code_bytes
    }

    /// Returns whether any of its tasks has completed, so that the component and its grants are right.
    pub(crate) fn has_completed(&self) -> bool {
        self.has_completed.load(Ordering::Relaxed)
    }

    /// Returns the maximum number of bytes of a message's body.
    pub(crate) fn body_bytes(&self) -> usize {
        self.version().config.limits.body_bytes
    }

    /// Computes how many of its tasks fit while other components have this many bytes of code in the process. Its new
    /// versions have to fit in the same way.
    ///
    /// # Errors
    ///
    /// Not even one task fits.
    pub(crate) fn fit_alongside(&mut self, other_bytes: u64) -> Result<Capacity, TooSmall> {
        let version = self.version();
        let code_bytes = self.code_bytes.saturating_add(other_bytes);
        let fitting =
            capacity(self.capacity.instances, &version.config.limits, &self.common.options.host, code_bytes)?;
        // Each task keeps the file descriptors that it has: if fewer tasks run, the others' remain unused.
        if fitting.instances < self.capacity.instances {
            self.capacity = Capacity { files: self.capacity.files, ..fitting };
        }
        self.common.other_bytes = other_bytes;
        Ok(self.capacity)
    }

    /// Sets how many tasks may run at once, to a number that is no higher than before.
    pub(crate) fn set_instances(&mut self, instances: NonZeroUsize) {
        self.capacity.instances = instances;
    }
}
