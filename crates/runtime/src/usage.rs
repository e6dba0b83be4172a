//! What a task consumed.

use serde::Serialize;
use std::time::Duration;

/// What one task consumed. Durations are serialized as microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Units of computing.
    pub fuel: u64,
    /// Of the thread while it ran the guest.
    #[serde(rename = "cpu_us", serialize_with = "as_micros")]
    pub cpu: Duration,
    /// From the first moment of computing to the end.
    #[serde(rename = "wall_us", serialize_with = "as_micros")]
    pub wall: Duration,
    /// Of that, waiting for stores and queues.
    #[serde(rename = "host_us", serialize_with = "as_micros")]
    pub host: Duration,
    /// All linear memories together.
    pub peak_memory_bytes: u64,
    /// From object stores.
    pub bytes_read: u64,
    /// To object stores and queues.
    pub bytes_written: u64,
    /// To object stores and queues.
    pub calls: u64,
}

fn as_micros<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

impl Usage {
    /// Adds another task's usage; of the peaks the higher one stays.
    pub(crate) fn add(&mut self, other: &Self) {
        self.fuel = self.fuel.saturating_add(other.fuel);
        self.cpu += other.cpu;
        self.wall += other.wall;
        self.host += other.host;
        self.peak_memory_bytes = self.peak_memory_bytes.max(other.peak_memory_bytes);
        self.bytes_read = self.bytes_read.saturating_add(other.bytes_read);
        self.bytes_written = self.bytes_written.saturating_add(other.bytes_written);
        self.calls = self.calls.saturating_add(other.calls);
    }
}
