//! Bounds on compiling a component, by its size and by the host's memory.
//!
//! Small components can be made to take hours and gigabytes: a function of 300 KB with 20,000 branches over 5,000
//! locals takes 6 GB. The output of language toolchains is far from that: a thumbnailer of 700 KB in Rust takes 64 MiB
//! and a second, a JavaScript engine of 10 MB takes 400 MiB and 16 seconds.

use crate::engine::capacity::HostMemory;
use std::time::Duration;

/// Memory for the compiler itself and for a large function: a megabyte of code in one function may take some hundred
/// megabytes.
const BASE_BYTES: u64 = 256 << 20;
/// Additional memory for each byte of the component.
const BYTES_PER_BYTE: u64 = 64;
/// Maximum memory, however large the component.
const MOST_BYTES: u64 = 4 << 30;
/// Divisor: at most half of the host's memory, as this process, which holds the component, then receives and loads the
/// code.
const HOST_SHARE: u64 = 2;
/// CPU time for the compiler itself and for a large function, on a slow core.
const BASE_TIME: Duration = Duration::from_secs(20);
/// Additional CPU time for each MiB of the component.
const TIME_PER_MIB: Duration = Duration::from_secs(5);
/// Wall-clock time as a multiple of the CPU time: cores are shared, and a container may have a fraction of one.
const PATIENCE: u32 = 10;
/// Divisor: at most a quarter of the memory may become code, which this process holds and loads twice. Code of Rust
/// components is three times as large as the component.
const CODE_SHARE: u64 = 4;

/// The user's bounds on compiling, which replace those by the component's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompileLimits {
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// CPU time, of all cores together.
    pub cpu_time: Option<Duration>,
}

/// Bounds on compiling one component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Private writable memory of the child, in bytes.
    pub(super) memory_bytes: u64,
    /// CPU time, of all cores together, in seconds.
    pub(super) cpu_seconds: u64,
}

impl Bounds {
    pub(super) fn of(component_bytes: u64, limits: CompileLimits, host: Option<HostMemory>) -> Self {
        let for_size =
            component_bytes.saturating_mul(BYTES_PER_BYTE).saturating_add(BASE_BYTES).min(MOST_BYTES);
        let share = host.map_or(u64::MAX, |host| host.bytes / HOST_SHARE);
        let mebibytes = u32::try_from(component_bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX);
        let time = BASE_TIME.saturating_add(TIME_PER_MIB.saturating_mul(mebibytes));
        Self {
            memory_bytes: limits.memory_bytes.unwrap_or(for_size.min(share)),
            // The system counts in whole seconds.
            cpu_seconds: limits.cpu_time.unwrap_or(time).as_millis().div_ceil(1000).clamp(1, 1 << 30) as u64,
        }
    }

    /// Returns how long this process waits for the child.
    pub(super) fn wall_time(self) -> Duration {
        Duration::from_secs(self.cpu_seconds).saturating_mul(PATIENCE)
    }

    /// Returns the largest acceptable size of the code.
    pub(super) fn code_bytes(self) -> u64 {
        self.memory_bytes / CODE_SHARE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::capacity::MemorySource;

    const MIB: u64 = 1 << 20;

    fn host(mib: u64) -> Option<HostMemory> {
        Some(HostMemory { bytes: mib * MIB, source: MemorySource::Cgroup })
    }

    #[test]
    fn a_larger_component_may_take_more_up_to_a_bound() {
        let of = |bytes| Bounds::of(bytes, CompileLimits::default(), host(64 << 10));
        assert_eq!(of(0), Bounds { memory_bytes: 256 * MIB, cpu_seconds: 20 });
        assert_eq!(of(10 * MIB), Bounds { memory_bytes: 896 * MIB, cpu_seconds: 70 });
        assert_eq!(of(super::super::MAX_COMPONENT_BYTES).memory_bytes, MOST_BYTES);
        assert!(of(u64::MAX).memory_bytes <= MOST_BYTES);
    }

    #[test]
    fn a_small_host_gives_half_of_its_memory() {
        let of = |bytes| Bounds::of(bytes, CompileLimits::default(), host(256));
        assert_eq!(of(10 * MIB).memory_bytes, 128 * MIB);
    }

    #[test]
    fn the_users_word_wins() {
        let limits = CompileLimits { memory_bytes: Some(MIB), cpu_time: Some(Duration::from_millis(1)) };
        let bounds = Bounds::of(10 * MIB, limits, host(256));
        assert_eq!(bounds, Bounds { memory_bytes: MIB, cpu_seconds: 1 });
        let limits = CompileLimits { memory_bytes: Some(u64::MAX), cpu_time: Some(Duration::MAX) };
        assert!(Bounds::of(0, limits, None).wall_time() > Duration::from_secs(1 << 30));
    }
}
