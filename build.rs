//! Tells the program what it's built with. The commit it's told by `cargo xtask image`, so that an ordinary build doesn't
//! start anew with each.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version =
        Command::new(rustc).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    println!("cargo::rustc-env=WASMRUN_RUSTC={}", String::from_utf8_lossy(&version).trim());
    println!("cargo::rustc-env=WASMRUN_TARGET={}", env::var("TARGET").unwrap_or_default());
}
