//! `wasmrun --version`: what this program is, and what it was built from and with.

use std::fmt::Write as _;

/// What only the build knows.
pub struct Build {
    /// The commit, if it was told.
    pub revision: Option<&'static str>,
    /// When that was made (RFC 3339).
    pub committed: Option<&'static str>,
    /// The compiler of this program, as it names itself.
    pub rustc: &'static str,
    /// What it was built for, as the compiler calls it.
    pub target: &'static str,
}

impl Build {
    /// A line, or one for each fact.
    pub(crate) fn text(&self, verbose: bool) -> String {
        let mut text = format!("wasmrun {}\n", env!("CARGO_PKG_VERSION"));
        if verbose {
            let linked = if cfg!(target_feature = "crt-static") { ", linked statically" } else { "" };
            let compiler =
                if cfg!(feature = "compiler") { "included" } else { "none: runs precompiled code only" };
            for (name, value) in [
                ("commit", self.revision.unwrap_or("not told to the build")),
                ("committed", self.committed.unwrap_or("not told to the build")),
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
