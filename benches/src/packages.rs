//! Packages of npm and PyPI that `cargo xtask bench` installs for a benchmark.

use crate::guests;
use std::path::PathBuf;
use std::process::Command;

/// The environment variable with the folder of the packages.
const PACKAGES: &str = "WASMRUN_BENCH_SERVERS";

/// The packages of one benchmark.
pub struct Packages(PathBuf);

impl Packages {
    /// Returns `None` if the packages aren't installed.
    pub fn find() -> Option<Self> {
        Some(Self(std::env::var_os(PACKAGES)?.into()))
    }

    /// Node with a script of the benchmarks, which is copied to the packages, where it finds them.
    pub fn node(&self, script: &str) -> Command {
        let source = guests::repository().join("benches").join(script);
        let copy = self.0.join("node").join(source.file_name().unwrap_or_default());
        std::fs::copy(source, &copy).expect("a script");
        let mut command = Command::new("node");
        command.arg(copy);
        command
    }

    /// Node with the text of a script.
    pub fn node_text(&self, text: &str) -> Command {
        let mut command = Command::new("node");
        command.current_dir(self.0.join("node")).args(["--input-type=module", "--eval", text]);
        command
    }

    /// Python with a script of the benchmarks.
    pub fn python(&self, script: &str) -> Command {
        let mut command = self.interpreter();
        command.arg(guests::repository().join("benches").join(script));
        command
    }

    /// Python with the text of a script.
    pub fn python_text(&self, text: &str) -> Command {
        let mut command = self.interpreter();
        command.args(["-c", text]);
        command
    }

    fn interpreter(&self) -> Command {
        Command::new(self.0.join("python/bin/python"))
    }
}
