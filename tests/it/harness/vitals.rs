//! What a process occupies, as the system tells.

use super::Process;
use std::fs;

/// What a worker holds at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vitals {
    /// Memory that is resident, in bytes.
    pub(crate) resident: u64,
    /// The most that was resident since the process started or [`Process::forget_peak`].
    pub(crate) peak: u64,
    /// Open file descriptors.
    pub(crate) files: usize,
    pub(crate) threads: usize,
}

impl Process {
    /// What it occupies now.
    #[track_caller]
    pub(crate) fn vitals(&self) -> Vitals {
        let status = fs::read_to_string(self.proc().join("status")).expect("the process runs");
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            let kib = line.trim().strip_suffix(" kB").and_then(|kib| kib.parse::<u64>().ok());
            kib.expect("a size") << 10
        };
        let entries =
            |folder: &str| fs::read_dir(self.proc().join(folder)).expect("the process runs").count();
        Vitals {
            resident: bytes("VmRSS:"),
            peak: bytes("VmHWM:"),
            files: entries("fd"),
            threads: entries("task"),
        }
    }

    /// Its peak is from now on that of what follows.
    pub(crate) fn forget_peak(&self) {
        fs::write(self.proc().join("clear_refs"), "5").expect("the process runs");
    }
}
