//! What the system says of processes: their memory, their children, and what these computed.

use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, wait};
use std::collections::HashMap;
use std::fs;
use std::time::Duration;
use wasmrun_benches::proc;

/// Makes what our descendants leave behind our own children.
pub(crate) fn adopt_orphans() {
    // Without it some memory and time of containers isn't seen, that is all.
    let _ = set_child_subreaper(Some(getpid()));
}

/// Takes leave of adopted children that have ended. Not while a child of our own is yet to be waited for.
pub(crate) fn reap_orphans() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

/// What all descendants of this process have computed, as far as they are still there.
pub(crate) fn descendants_cpu() -> Duration {
    descendants().into_iter().map(|pid| proc::cpu_of(pid.as_raw_nonzero().get().unsigned_abs())).sum()
}

/// What this process holds in memory: pages that others hold too are divided among them.
pub(crate) fn own_bytes() -> u64 {
    proportional_bytes(getpid()).unwrap_or_default()
}

/// What all descendants of this process hold.
pub(crate) fn descendants_bytes() -> u64 {
    descendants().into_iter().filter_map(proportional_bytes).sum()
}

/// All descendants of this process.
pub(crate) fn descendants() -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(Ok(parent)) = proc::after_name(&stat).get(1).map(|parent| parent.parse()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![getpid().as_raw_nonzero().get()];
    while let Some(parent) = open.pop() {
        let of_parent = children.remove(&parent).unwrap_or_default();
        found.extend(of_parent.iter().filter_map(|pid| Pid::from_raw(*pid)));
        open.extend(of_parent);
    }
    found
}

/// How many descendants of this process have done their work and hold what they have: such a one, the native program,
/// has taken a name for it.
pub(crate) fn holding() -> usize {
    let is_holding = |pid: &Pid| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        let has_ended = matches!(proc::after_name(&stat).first(), Some(&("Z" | "X")));
        stat.contains("(holding)") && !has_ended
    };
    descendants().iter().filter(|pid| is_holding(pid)).count()
}

/// Proportional set size, in bytes.
fn proportional_bytes(pid: Pid) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.as_raw_nonzero())).ok()?;
    proc::size(&rollup, "Pss:")
}

/// How many mappings of memory this process has.
pub(crate) fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps").unwrap_or_default().lines().count()
}

/// How many it may have.
pub(crate) fn most_mappings() -> usize {
    let most = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
    most.trim().parse().unwrap_or(usize::MAX)
}

/// What the system could still give, in bytes.
pub(crate) fn available_bytes() -> u64 {
    meminfo("MemAvailable:")
}

fn meminfo(name: &str) -> u64 {
    proc::size(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), name).unwrap_or_default()
}
