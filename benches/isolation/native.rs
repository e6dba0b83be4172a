//! The native program, linked statically so that it runs in an empty root; processes of it, and calls within it.

use super::ways::Task;
use crate::shared::{Killed, guests};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wasmrun_benches::output;

/// Its name in the root.
pub(crate) const NAME: &str = "native";

/// The native program.
#[derive(Clone)]
pub(crate) struct Program {
    /// A folder with nothing but the program, to be the root of a sandbox.
    pub(crate) root: PathBuf,
}

impl Program {
    /// Builds it into a root in the scratch folder.
    pub(crate) fn build(scratch: &Path) -> Self {
        let (mut cargo, release) = guests::native_build("benches/native/Cargo.toml");
        cargo.env("RUSTFLAGS", "-C target-feature=+crt-static").env_remove("CARGO_ENCODED_RUSTFLAGS");
        output(&mut cargo).expect("the native program");
        let program = Self::at(scratch);
        // Folders that sandboxes mount to must exist in a root that can't be written.
        for folder in ["dev", "proc", "sys", "tmp"] {
            fs::create_dir_all(program.root.join(folder)).expect("a directory");
        }
        fs::copy(release.join(NAME), program.root.join(NAME)).expect("the native program");
        program
    }

    /// The program that was built into this scratch folder.
    pub(crate) fn at(scratch: &Path) -> Self {
        Self { root: scratch.join("root") }
    }

    pub(crate) fn command(&self, argument: &str) -> Command {
        let mut command = Command::new(self.root.join(NAME));
        command.arg(argument);
        command
    }

    /// Calls of a function in the program: the task without any isolation.
    pub(crate) fn calls(&self, task: Task, count: usize) -> Value {
        let mut command = self.command("calls");
        let lines = output(command.args([task.command(), &count.to_string()])).expect("the native program");
        let micros: Vec<f64> =
            lines.lines().map(|line| line.parse::<f64>().expect("nanoseconds") / 1e3).collect();
        // It does nothing but compute.
        let cpu = micros.iter().sum::<f64>() / micros.len() as f64;
        json!({"each_us": micros, "cpu_us": cpu})
    }
}

/// Runs a command to its end, without its output.
pub(crate) fn succeed(command: &mut Command) {
    let status = quiet(command).status();
    assert!(status.as_ref().is_ok_and(|status| status.success()), "{command:?}: {status:?}");
}

/// Without input and output.
pub(crate) fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// Processes that are killed when this is dropped.
#[derive(Default)]
pub(crate) struct Processes(Vec<Killed>);

// Before any of them is waited for: those that spin would delay the end of each other.
impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
        }
    }
}

impl Processes {
    pub(crate) fn start(&mut self, command: &mut Command) -> Result<(), String> {
        self.0.push(Killed::try_start(quiet(command))?);
        Ok(())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// # Errors
    ///
    /// A process has ended.
    pub(crate) fn all_run(&mut self) -> Result<(), String> {
        self.0.iter_mut().try_for_each(|child| match child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("a process ended: {status}")),
            Err(error) => Err(error.to_string()),
        })
    }
}
