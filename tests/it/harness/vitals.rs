//! Resources that a process occupies, as the kernel reports them.

use super::Process;
use std::fs;
use std::path::Path;

/// Resources of a process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vitals {
    /// Resident memory in bytes.
    pub(crate) resident: u64,
    /// Peak of resident memory in bytes since the process started or [`Process::forget_peak`].
    pub(crate) peak: u64,
    /// Open file descriptors.
    pub(crate) files: usize,
    pub(crate) threads: usize,
}

/// A field of a process's status, such as `State`. `None` if the process is gone.
pub(crate) fn process_status(proc: &Path, name: &str) -> Option<String> {
    let status = fs::read_to_string(proc.join("status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

impl Process {
    /// The resources that the process occupies now.
    #[track_caller]
    pub(crate) fn vitals(&self) -> Vitals {
        let bytes = |name: &str| {
            let size = process_status(&self.proc(), name).expect("the process runs");
            let kib = size.strip_suffix(" kB").and_then(|kib| kib.parse::<u64>().ok());
            kib.expect("a size") << 10
        };
        let entries =
            |folder: &str| fs::read_dir(self.proc().join(folder)).expect("the process runs").count();
        Vitals {
            resident: bytes("VmRSS"),
            peak: bytes("VmHWM"),
            files: entries("fd"),
            threads: entries("task"),
        }
    }

    /// Resets the peak of resident memory to the current value.
    pub(crate) fn forget_peak(&self) {
        fs::write(self.proc().join("clear_refs"), "5").expect("the process runs");
    }
}
