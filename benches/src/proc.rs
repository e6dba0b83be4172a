//! Reading what the system says of a process: `/proc/PID/stat` and its like.

use std::fs;
use std::time::Duration;

/// A unit of `/proc/*/stat`, on every Linux.
const TICKS_PER_SECOND: u64 = 100;

/// What a process has computed so far, in user space and in the kernel, if it's still there.
pub fn cpu_of(pid: u32) -> Duration {
    // Fields 14 and 15 of proc_pid_stat(5); the state, after the name, is the third.
    computed(&format!("/proc/{pid}/stat"), 14 - 3)
}

/// What the children of this process that have ended computed, and theirs.
pub fn children_cpu() -> Duration {
    // Fields 16 and 17.
    computed("/proc/self/stat", 16 - 3)
}

/// Two fields of a process's figures, in user space and in the kernel.
fn computed(path: &str, first: usize) -> Duration {
    let stat = fs::read_to_string(path).unwrap_or_default();
    let fields = after_name(&stat);
    let ticks: u64 = fields.iter().skip(first).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// The fields of a process's `stat` from its state on: its name, before, may hold anything.
pub fn after_name(stat: &str) -> Vec<&str> {
    stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default()
}

/// A size in bytes from a line `NAME  123 kB`, of `status`, `smaps_rollup` or `meminfo`; `name` ends with its colon.
pub fn size(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}
