//! Where and when it is measured.

use crate::proc;
use serde::Serialize;
use std::fs;

/// The machine, and the day.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Processor, cores, memory, kernel.
    pub description: String,
    /// What this program may compute on.
    pub cores: usize,
    /// Such as 2026-01-31.
    pub date: String,
}

/// The machine that this runs on, today.
pub fn describe() -> Machine {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or(std::env::consts::ARCH, |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = cores();
    let gibibytes = memory_bytes() as f64 / f64::from(1 << 30);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let virtual_machine = if cpuinfo.contains(" hypervisor") { ", virtual machine" } else { "" };
    Machine {
        description: format!(
            "{model}, {cores} cores{virtual_machine}, {gibibytes:.0} GiB, Linux {}",
            // What distributions append says nothing of performance.
            kernel.trim().split('-').next().unwrap_or_default()
        ),
        cores,
        date: jiff::Timestamp::now().to_string().chars().take("2026-01-01".len()).collect(),
    }
}

/// What this program may compute on.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

/// The memory of the machine.
pub fn memory_bytes() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    proc::size(&meminfo, "MemTotal:").unwrap_or_default()
}
