//! `wasmrun --version`: prints the version and the build information.

use std::fmt::Write as _;

/// Build information, which is known only when the program is built.
pub struct Build {
    /// Commit from which the program was built, if the build knew it.
    pub revision: Option<&'static str>,
    /// Time of the commit (RFC 3339).
    pub committed: Option<&'static str>,
    /// Name and version of the Rust compiler, as it prints them.
    pub rustc: &'static str,
    /// Target triple of the program.
    pub target: &'static str,
}

impl Build {
    /// Formats the version as one line. With `verbose`, adds a line for each fact of the build.
    pub(crate) fn text(&self, verbose: bool) -> String {
        let mut text = format!("wasmrun {}\n", env!("CARGO_PKG_VERSION"));
        if verbose {
            let linked = if cfg!(target_feature = "crt-static") { ", linked statically" } else { "" };
            let compiler =
                if cfg!(feature = "compiler") { "included" } else { "none: runs precompiled code only" };
            for (name, value) in [
                ("commit", self.revision.unwrap_or("unknown to the build")),
                ("committed", self.committed.unwrap_or("unknown to the build")),
                ("rustc", self.rustc),
                ("target", &format!("{}{linked}", self.target)),
                ("wasmtime", wasmrun_runtime::engine::WASMTIME),
                ("compiler", compiler),
                ("licence", env!("CARGO_PKG_LICENSE")),
            ] {
                let _ = writeln!(text, "{name:<10} {value}");
            }
        }
        text
    }
}
