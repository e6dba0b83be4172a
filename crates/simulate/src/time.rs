//! Simulated times are whole nanoseconds since the start; this converts them. All round to the nearest.

use std::time::Duration;

/// Returns a time in nanoseconds.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// Returns a time in seconds in nanoseconds.
pub(crate) fn nanos_of(seconds: f64) -> u64 {
    // A float that doesn't fit becomes the nearest number that does.
    (seconds * 1e9).round() as u64
}

/// Returns a time in nanoseconds in seconds.
pub(crate) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
