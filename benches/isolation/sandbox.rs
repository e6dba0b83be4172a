//! The native program in the sandboxes and containers that this machine has.

use super::memory;
use super::native::{NAME, Program, quiet, succeed};
use super::ways::{Task, Way};
use crate::shared::Storage;
use serde_json::{Value, json};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use wasmrun_benches::output;

const IMAGE: &str = "localhost/wasmrun-bench:1";
/// Options that work everywhere, and spare podman what a task doesn't need.
const PODMAN_OPTIONS: [&str; 5] = [
    "--network=none",
    "--log-driver=none",
    "--read-only",
    "--ulimit=nofile=4096:4096",
    "--ulimit=nproc=4096:4096",
];

/// Something that isolates a program from others.
pub(crate) struct Sandbox {
    pub(crate) way: Way,
    /// Its program.
    pub(crate) name: &'static str,
    root: PathBuf,
    /// Bundles, images, and what a runtime keeps about its containers.
    folder: PathBuf,
    /// podman uses runc where it is installed, as we do.
    has_runc: bool,
    started: Cell<u32>,
}

/// Prepares the sandboxes that work here. Also returns why others don't.
pub(crate) fn available(program: &Program, scratch: &Path) -> (Vec<Sandbox>, Vec<String>) {
    let (mut found, mut skipped) = (Vec::new(), Vec::new());
    for sandbox in Way::all().filter_map(|way| Sandbox::at(way, program, scratch)) {
        let run_once =
            || Task::ALL.iter().try_for_each(|task| output(&mut sandbox.run(task.command())).map(drop));
        match sandbox.prepare().and_then(|()| run_once()) {
            Ok(()) => found.push(sandbox),
            Err(why) => skipped.push(format!("{} ({why})", sandbox.name)),
        }
    }
    (found, skipped)
}

impl Sandbox {
    /// The sandbox that was prepared in this scratch folder. `None`: this way has none.
    pub(crate) fn at(way: Way, program: &Program, scratch: &Path) -> Option<Self> {
        let name = way.sandbox()?;
        let has_runc = output(Command::new("runc").arg("--version")).is_ok();
        let (root, folder) = (program.root.clone(), scratch.join(name));
        Some(Self { way, name, root, folder, has_runc, started: Cell::new(0) })
    }

    /// Its version, for the report.
    pub(crate) fn version(&self) -> String {
        let text = output(Command::new(self.name).arg("--version")).unwrap_or_default();
        let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        format!("{} {}", self.name, version.unwrap_or_default())
    }

    fn prepare(&self) -> Result<(), String> {
        fs::create_dir_all(&self.folder).map_err(|error| error.to_string())?;
        match self.way {
            Way::Runc => {
                let commands = Task::ALL.into_iter().flat_map(|task| [task.command(), task.held()]);
                commands.into_iter().try_for_each(|command| self.write_bundle(command))
            }
            Way::Podman => self.import_image(),
            _ => Ok(()),
        }
    }

    /// A bundle as runc itself writes it, for this program and without a terminal.
    fn write_bundle(&self, argument: &str) -> Result<(), String> {
        let bundle = self.folder.join(argument);
        fs::create_dir_all(&bundle).map_err(|error| error.to_string())?;
        let mut spec = Command::new("runc");
        spec.arg("spec").current_dir(&bundle);
        if !rustix::process::geteuid().is_root() {
            spec.arg("--rootless");
        }
        output(&mut spec)?;
        let path = bundle.join("config.json");
        let config = fs::read(&path).map_err(|error| error.to_string())?;
        let mut config: Value = serde_json::from_slice(&config).map_err(|error| error.to_string())?;
        config["root"] = json!({ "path": self.root, "readonly": true });
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!([format!("/{NAME}"), argument]);
        // Raising limits needs privileges that the parent of a container may lack.
        if let Some(process) = config["process"].as_object_mut() {
            process.remove("rlimits");
        }
        fs::write(&path, config.to_string()).map_err(|error| error.to_string())
    }

    /// Makes an image of the program's root.
    fn import_image(&self) -> Result<(), String> {
        self.storage().create()?;
        let archive = self.folder.join("root.tar");
        output(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&self.root).arg("."))?;
        output(self.podman().arg("import").arg(archive).arg(IMAGE)).map(drop)
    }

    fn storage(&self) -> Storage {
        Storage::at(&self.folder)
    }

    fn podman(&self) -> Command {
        let mut podman = self.storage().podman();
        if self.has_runc {
            podman.args(["--runtime", "runc"]);
        }
        podman
    }

    fn runc(&self) -> Command {
        let mut runc = Command::new(self.name);
        runc.arg("--root").arg(self.folder.join("state"));
        runc
    }

    /// The command that runs the program with this argument to its end.
    pub(crate) fn run(&self, argument: &str) -> Command {
        self.command(argument, &[], "--rm")
    }

    /// Starts a task that waits without end, with nothing around it that it doesn't need. bubblewrap stays around its
    /// program: it is started as any process.
    pub(crate) fn hold(&self, task: Task) -> Result<(), String> {
        let status = quiet(&mut self.command(task.held(), &["--detach"], "--detach")).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(status.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn command(&self, argument: &str, for_runc: &[&str], for_podman: &str) -> Command {
        let program = format!("/{NAME}");
        let mut command;
        match self.way {
            Way::Runc => {
                command = self.runc();
                command.arg("run").args(for_runc).arg("--bundle").arg(self.folder.join(argument));
                // cgroups are named after it: it must be unique on this machine.
                self.started.set(self.started.get() + 1);
                command.arg(format!("wasmrun-bench-{}-{}", std::process::id(), self.started.get()));
            }
            Way::Podman => {
                command = self.podman();
                command.args(["run", for_podman]).args(PODMAN_OPTIONS).args([IMAGE, &program, argument]);
            }
            _ => {
                command = Command::new(self.name);
                command.args(["--unshare-all", "--die-with-parent", "--new-session", "--ro-bind"]);
                command.arg(&self.root).args(["/", "--dev", "/dev", "--proc", "/proc", &program, argument]);
            }
        }
        command
    }

    /// Ends the containers that hold tasks.
    pub(crate) fn release(&self) {
        match self.way {
            Way::Runc => {
                for entry in fs::read_dir(self.folder.join("state")).into_iter().flatten().flatten() {
                    succeed(self.runc().args(["delete", "--force"]).arg(entry.file_name()));
                }
            }
            Way::Podman => succeed(self.podman().args(["rm", "--all", "--force", "--time", "0"])),
            _ => {}
        }
        memory::reap_orphans();
    }

    /// Removes what it leaves mounted.
    pub(crate) fn remove(&self) {
        if self.way == Way::Podman {
            self.storage().unmount();
        }
    }
}
