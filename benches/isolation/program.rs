//! The native program: built from the repository, linked statically, so that it runs in an empty root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use wasmrun_benches::guests;

use crate::ways::{Cycles, Task, Way, names, timed};

/// Where it is.
pub(crate) struct Program {
    /// A folder that can be the root of a sandbox.
    pub(crate) root: PathBuf,
    pub(crate) path: PathBuf,
}

/// Its name in that root.
pub(crate) const NAME: &str = "native";

impl Program {
    /// Builds it, and makes a root with nothing else in it.
    pub(crate) fn build(scratch: &Path) -> Self {
        let target = guests::target().join("native");
        let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--quiet", "--release", "--locked", "--manifest-path"])
            .arg(guests::repository().join("benches/native/Cargo.toml"))
            .env("CARGO_TARGET_DIR", &target)
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .status()
            .expect("cargo");
        assert!(status.success(), "the native program doesn't build");
        let root = scratch.join("root");
        // What sandboxes mount there has to be there if the root can't be written.
        for folder in ["dev", "proc", "sys", "tmp"] {
            fs::create_dir_all(root.join(folder)).expect("a directory");
        }
        fs::copy(target.join("release").join(NAME), root.join(NAME)).expect("the native program");
        Self::at(scratch)
    }

    /// The one that was built with the same folder.
    pub(crate) fn at(scratch: &Path) -> Self {
        let root = scratch.join("root");
        Self { path: root.join(NAME), root }
    }

    pub(crate) fn command(&self, argument: &str) -> Command {
        let mut command = Command::new(&self.path);
        command.arg(argument);
        command
    }
}

/// Runs a command to its end.
pub(crate) fn succeed(command: &mut Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.as_ref().is_ok_and(|status| status.success()), "{command:?}: {status:?}");
}

/// Processes that are ended with this.
#[derive(Default)]
pub(crate) struct Processes(Vec<Child>);

impl Processes {
    pub(crate) fn start(&mut self, command: &mut Command) -> Result<(), String> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.0.push(child.map_err(|error| error.to_string())?);
        Ok(())
    }

    /// # Errors
    ///
    /// One has ended.
    pub(crate) fn all_run(&mut self) -> Result<(), String> {
        self.0.iter_mut().try_for_each(|child| match child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("one ended: {status}")),
            Err(error) => Err(error.to_string()),
        })
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended by itself.
            let _ = child.kill();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}

/// A call of a function in that program: what the task costs without any isolation.
pub(crate) struct FunctionCall<'a>(pub(crate) &'a Program);

impl Way for FunctionCall<'_> {
    fn name(&self) -> &'static str {
        names::FUNCTION
    }

    fn weight(&self) -> usize {
        0
    }

    fn cycles(&mut self, task: Task, count: usize) -> Cycles {
        let output = self
            .0
            .command("calls")
            .args([task.command(), &count.to_string()])
            .output()
            .expect("the native program");
        assert!(output.status.success(), "the native program");
        let lines = String::from_utf8_lossy(&output.stdout);
        let micros: Vec<f64> =
            lines.lines().map(|line| line.parse::<f64>().expect("nanoseconds") / 1e3).collect();
        // It does nothing but compute.
        let cpu_us = micros.iter().sum::<f64>() / micros.len() as f64;
        Cycles { micros, cpu_us }
    }
}

/// That program as a process.
pub(crate) struct Process<'a>(pub(crate) &'a Program);

impl Way for Process<'_> {
    fn name(&self) -> &'static str {
        names::PROCESS
    }

    fn weight(&self) -> usize {
        1
    }

    fn cycles(&mut self, task: Task, count: usize) -> Cycles {
        timed(count, || succeed(&mut self.0.command(task.command())))
    }
}
