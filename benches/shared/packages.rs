//! Packages of npm and PyPI that `cargo xtask bench` installs for a benchmark.

use std::path::PathBuf;
use std::process::Command;
use wasmrun_benches::repository;

/// The environment variable with the folder of the packages.
const PACKAGES: &str = "WASMRUN_BENCH_SERVERS";

/// The packages of one benchmark.
pub(crate) struct Packages(PathBuf);

impl Packages {
    /// The packages of the benchmark of this name. Says so and returns `None` if they aren't installed.
    pub(crate) fn find(benchmark: &str) -> Option<Self> {
        let folder = std::env::var_os(PACKAGES);
        if folder.is_none() {
            println!(
                "Some is skipped: the packages of this benchmark aren't installed (cargo xtask bench {benchmark} installs them)."
            );
        }
        Some(Self(folder?.into()))
    }

    /// Node with a script of the benchmarks, which is copied to the packages, where it finds them.
    pub(crate) fn node(&self, script: &str) -> Command {
        let source = repository().join("benches").join(script);
        let copy = self.0.join("node").join(source.file_name().unwrap_or_default());
        std::fs::copy(source, &copy).expect("a script");
        let mut command = Command::new("node");
        command.arg(copy);
        command
    }

    /// Node with the text of a script.
    pub(crate) fn node_text(&self, text: &str) -> Command {
        let mut command = Command::new("node");
        command.current_dir(self.0.join("node")).args(["--input-type=module", "--eval", text]);
        command
    }

    /// Python with a script of the benchmarks.
    pub(crate) fn python(&self, script: &str) -> Command {
        let mut command = Command::new(self.0.join("python/bin/python"));
        command.arg(repository().join("benches").join(script));
        command
    }

    /// Python with the text of a script.
    pub(crate) fn python_text(&self, text: &str) -> Command {
        let mut command = Command::new(self.0.join("python/bin/python"));
        command.args(["-c", text]);
        command
    }
}
