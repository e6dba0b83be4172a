//! The `wasmrun` binary: everything is in `wasmrun-cli`.
fn main() {}
