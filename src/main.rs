//! The `wasmrun` binary: everything is in `wasmrun-cli`.

use std::process::ExitCode;
use wasmrun_cli::Build;

fn main() -> ExitCode {
    wasmrun_cli::main(&Build {
        revision: option_env!("WASMRUN_REVISION"),
        committed: option_env!("WASMRUN_COMMITTED"),
        rustc: env!("WASMRUN_RUSTC"),
        target: env!("WASMRUN_TARGET"),
    })
}
