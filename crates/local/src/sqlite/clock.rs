//! The wall clock. Several processes share a file, so times in it are milliseconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the time. Tests set their clock by hand.
#[derive(Clone, Debug)]
pub(super) enum Clock {
    System,
    #[cfg(test)]
    Manual(std::sync::Arc<std::sync::atomic::AtomicI64>),
}

impl Clock {
    pub(super) fn now_ms(&self) -> i64 {
        match self {
            Self::System => {
                let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                to_ms(since_1970)
            }
            #[cfg(test)]
            Self::Manual(now) => now.load(std::sync::atomic::Ordering::SeqCst),
        }
    }
}

/// Converts to milliseconds. Saturates, so that the sum of two times never overflows.
pub(super) fn to_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

pub(super) fn from_ms(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

pub(super) fn to_time(ms: i64) -> SystemTime {
    UNIX_EPOCH.checked_add(from_ms(ms)).unwrap_or(UNIX_EPOCH)
}
