//! Programs that `cargo xtask test` installs where it can. It names their places by variables.

use super::skip;
use std::path::PathBuf;

/// The path that a variable holds. Prints that the test is skipped and returns `None` if nothing is there.
pub(crate) fn installed(name: &str, variable: &str) -> Option<PathBuf> {
    or_skip(name, place(variable))
}

/// A path below the folder that a variable holds. Prints that the test is skipped and returns `None` if nothing is there.
pub(crate) fn installed_below(name: &str, variable: &str, path: &str) -> Option<PathBuf> {
    or_skip(name, place(variable).map(|folder| folder.join(path)))
}

/// A server or another program for tests of AWS.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    installed_below(name, "WASMRUN_SERVERS", name)
}

fn place(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}

fn or_skip(name: &str, path: Option<PathBuf>) -> Option<PathBuf> {
    let path = path.filter(|path| path.is_file());
    if path.is_none() {
        skip(&format!("{name} is not installed (cargo xtask test does that, where it can)"));
    }
    path
}
