//! With what it was measured, and where.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use wasmrun_benches::guests;
pub(crate) use wasmrun_benches::machine::{Machine, cores, describe};

use crate::sandbox::Sandbox;

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
