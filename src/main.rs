//! The `wasmrun` binary: everything is in `wasmrun-cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    wasmrun_cli::main()
}
