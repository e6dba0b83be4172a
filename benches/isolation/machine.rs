//! Where and with what it was measured.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use wasmrun_benches::guests;

use crate::memory;
use crate::sandbox::Sandbox;

/// The machine, and the day.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) description: String,
    pub(crate) cores: usize,
    pub(crate) date: String,
}

pub(crate) fn describe() -> Machine {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or(std::env::consts::ARCH, |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = cores();
    let gibibytes = memory::total_bytes() as f64 / f64::from(1 << 30);
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
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

/// The versions of what was compared.
pub(crate) fn versions(sandboxes: &[Sandbox]) -> BTreeMap<String, String> {
    let lock = fs::read_to_string(guests::repository().join("Cargo.lock")).unwrap_or_default();
    let mut versions = BTreeMap::from([
        ("wasmrun".into(), env!("CARGO_PKG_VERSION").to_owned()),
        ("wasmtime".into(), locked(&lock, "wasmtime").unwrap_or_default()),
        ("rustc".into(), first_line(&mut Command::new("rustc")).replace("rustc ", "")),
    ]);
    for sandbox in sandboxes {
        let name = sandbox.program();
        let version = first_line(&mut Command::new(name));
        let version = version.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        versions.insert(name.into(), version.unwrap_or_default().into());
    }
    versions
}

fn first_line(command: &mut Command) -> String {
    let output = command.arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned()
}

/// The version of a package in `Cargo.lock`.
fn locked(lock: &str, name: &str) -> Option<String> {
    let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    rest.split('"').next().map(Into::into)
}
