//! Memory and CPU time of this process and its descendants.

use rustix::process::{WaitOptions, getpid, set_child_subreaper, wait};
use std::collections::HashMap;
use std::fs;
use std::time::Duration;
use wasmrun_benches::{cpu_of, system::after_name, system::memory_of, system::read, system::size};

/// Makes the orphans of descendants children of this process, so that they are counted and ended.
pub(crate) fn adopt_orphans() {
    // Without it the benchmark misses some memory and time of containers.
    let _ = set_child_subreaper(Some(getpid()));
}

/// Waits for adopted children that have ended. Not to be called while a child of our own is yet to be waited for.
pub(crate) fn reap_orphans() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

/// The process ids of all descendants of this process.
fn descendants() -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(Ok(parent)) = after_name(&stat(pid)).get(1).map(|parent| parent.parse()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![std::process::id()];
    while let Some(parent) = open.pop() {
        let of_parent = children.remove(&parent).unwrap_or_default();
        found.extend(&of_parent);
        open.extend(of_parent);
    }
    found
}

fn stat(pid: u32) -> String {
    read(&format!("/proc/{pid}/stat"))
}

/// CPU time of all descendants that still run.
pub(crate) fn descendants_cpu() -> Duration {
    descendants().into_iter().map(cpu_of).sum()
}

/// Memory of this process in bytes. Pages that others map as well are divided among them.
pub(crate) fn own_bytes() -> u64 {
    memory_of(std::process::id(), "Pss:").unwrap_or_default()
}

/// The same of all descendants.
pub(crate) fn descendants_bytes() -> u64 {
    descendants().into_iter().filter_map(|pid| memory_of(pid, "Pss:")).sum()
}

/// The number of descendants that have done their work and hold what they have: the native program takes another name
/// for it.
pub(crate) fn holding() -> usize {
    let is_holding = |pid: &u32| {
        let stat = stat(*pid);
        stat.contains("(holding)") && !matches!(after_name(&stat).first(), Some(&("Z" | "X")))
    };
    descendants().iter().filter(|pid| is_holding(pid)).count()
}

/// The number of memory mappings of this process.
pub(crate) fn mappings() -> usize {
    read("/proc/self/maps").lines().count()
}

/// The most mappings that it may have.
pub(crate) fn max_mappings() -> usize {
    read("/proc/sys/vm/max_map_count").trim().parse().unwrap_or(usize::MAX)
}

/// The memory that the system has left, in bytes.
pub(crate) fn available_bytes() -> u64 {
    size(&read("/proc/meminfo"), "MemAvailable:").unwrap_or_default()
}
