//! What the system says of processes: their memory, their children, and what these computed.

use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, wait};
use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// A unit of `/proc/*/stat`, on every Linux.
const TICKS_PER_SECOND: u64 = 100;

/// Makes what our descendants leave behind our own children.
pub(crate) fn adopt_orphans() {
    // Without it some memory and time of containers isn't seen, that is all.
    let _ = set_child_subreaper(Some(getpid()));
}

/// Takes leave of adopted children that have ended. Not while a child of our own is yet to be waited for.
pub(crate) fn reap_orphans() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

/// What the children that have ended computed, and theirs.
pub(crate) fn children_cpu() -> Duration {
    // Fields 16 and 17 of proc_pid_stat(5); the state, after the name, is the third.
    computed("/proc/self/stat", 16 - 3)
}

/// What all descendants of this process have computed, as far as they are still there.
pub(crate) fn descendants_cpu() -> Duration {
    // Fields 14 and 15.
    descendants()
        .into_iter()
        .map(|pid| computed(&format!("/proc/{}/stat", pid.as_raw_nonzero()), 14 - 3))
        .sum()
}

/// Two fields of a process's figures, in user space and in the kernel.
fn computed(path: &str, first: usize) -> Duration {
    let stat = fs::read_to_string(path).unwrap_or_default();
    let fields = after_name(&stat);
    let ticks: u64 = fields.iter().skip(first).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// A process's name may hold anything.
fn after_name(stat: &str) -> Vec<&str> {
    stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default()
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
        if let Some(Ok(parent)) = after_name(&stat).get(1).map(|parent| parent.parse()) {
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

/// Proportional set size, in bytes.
fn proportional_bytes(pid: Pid) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.as_raw_nonzero())).ok()?;
    kibibytes(&rollup, "Pss:")
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

/// The machine's memory, in bytes.
pub(crate) fn total_bytes() -> u64 {
    meminfo("MemTotal:")
}

fn meminfo(name: &str) -> u64 {
    kibibytes(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), name).unwrap_or_default()
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}
