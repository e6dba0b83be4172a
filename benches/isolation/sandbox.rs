//! The native program in sandboxes and containers, as far as this machine has them.

use serde_json::{Value, json};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::memory;
use crate::program::{NAME, Processes, Program, succeed};
use crate::ways::{Cycles, Task, Way, names, timed};

/// Something that runs a program apart from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bubblewrap,
    Runc,
    Podman,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Bubblewrap, Self::Runc, Self::Podman];

    fn program(self) -> &'static str {
        match self {
            Self::Bubblewrap => "bwrap",
            Self::Runc => "runc",
            Self::Podman => "podman",
        }
    }
}

/// A sandbox that works here.
pub(crate) struct Sandbox {
    pub(crate) kind: Kind,
    root: PathBuf,
    /// Bundles, images and what a runtime keeps of its containers.
    folder: PathBuf,
    /// Where both are there, podman uses the same runtime as we do.
    runc: bool,
    next: Cell<u32>,
}

/// Prepares what is there and works; says what isn't or doesn't, and why.
pub(crate) fn available(program: &Program, scratch: &Path) -> (Vec<Sandbox>, Vec<String>) {
    let (mut found, mut skipped) = (Vec::new(), Vec::new());
    for kind in Kind::ALL {
        let sandbox = Sandbox::at(kind, program, scratch);
        match sandbox.prepare().and_then(|()| sandbox.try_out()) {
            Ok(()) => found.push(sandbox),
            Err(why) => skipped.push(format!("{}: {why}", kind.program())),
        }
    }
    skipped.push(format!("microVM: {}, so that its figures are the published ones", why_no_microvm()));
    (found, skipped)
}

/// What is missing here to measure a microVM.
fn why_no_microvm() -> String {
    let firecracker = said(Command::new("firecracker").arg("--version"));
    match firecracker {
        _ if !Path::new("/dev/kvm").exists() => "there is no /dev/kvm".into(),
        Err(why) => format!("firecracker: {why}"),
        Ok(_) => "this doesn't start any".into(),
    }
}

/// Removes what they keep on the disk.
pub(crate) fn remove(sandboxes: Vec<Sandbox>) {
    for sandbox in sandboxes {
        if sandbox.kind == Kind::Podman {
            let mounted = sandbox.folder.join("storage/overlay");
            // Where it isn't mounted there is nothing to do.
            let _ = Command::new("umount").arg("-l").arg(mounted).stderr(Stdio::null()).status();
        }
    }
}

impl Sandbox {
    /// The one that was prepared with the same folder.
    pub(crate) fn at(kind: Kind, program: &Program, scratch: &Path) -> Self {
        let folder = scratch.join(kind.program());
        let runc = kind == Kind::Podman && said(Command::new("runc").arg("--version")).is_ok();
        Self { kind, root: program.root.clone(), folder, runc, next: Cell::new(0) }
    }

    pub(crate) fn program(&self) -> &'static str {
        self.kind.program()
    }

    fn prepare(&self) -> Result<(), String> {
        fs::create_dir_all(&self.folder).map_err(|error| error.to_string())?;
        match self.kind {
            Kind::Bubblewrap => Ok(()),
            Kind::Runc => Task::ALL
                .iter()
                .flat_map(|task| [task.command(), task.held()])
                .try_for_each(|command| self.write_bundle(command)),
            Kind::Podman => self.import_image(),
        }
    }

    /// Runs each task once.
    fn try_out(&self) -> Result<(), String> {
        Task::ALL.iter().try_for_each(|task| said(&mut self.run(task.command())).map(drop))
    }

    /// The command that runs the program with this argument to its end.
    fn run(&self, argument: &str) -> Command {
        let mut command = Command::new(self.program());
        match self.kind {
            Kind::Bubblewrap => {
                command.args(["--unshare-all", "--die-with-parent", "--new-session", "--ro-bind"]);
                command.arg(&self.root).args(["/", "--dev", "/dev", "--proc", "/proc"]);
                command.args([&format!("/{NAME}"), argument]);
            }
            Kind::Runc => {
                command.arg("--root").arg(self.folder.join("state")).args(["run", "--bundle"]);
                command.arg(self.folder.join(argument)).arg(self.new_name());
            }
            Kind::Podman => {
                self.podman(&mut command);
                command.args(["run", "--rm"]).args(PODMAN_OPTIONS).args([
                    IMAGE,
                    &format!("/{NAME}"),
                    argument,
                ]);
            }
        }
        command
    }

    /// Starts a task that waits for ever, with no more around it than it needs.
    pub(crate) fn hold(&self, task: Task, processes: &mut Processes) -> Result<(), String> {
        let argument = task.held();
        let mut command = Command::new(self.program());
        match self.kind {
            Kind::Bubblewrap => return processes.start(&mut self.run(argument)),
            Kind::Runc => {
                command.arg("--root").arg(self.folder.join("state")).args(["run", "--detach", "--bundle"]);
                command.arg(self.folder.join(argument)).arg(self.new_name());
            }
            Kind::Podman => {
                self.podman(&mut command);
                command.args(["run", "--detach"]).args(PODMAN_OPTIONS);
                command.args([IMAGE, &format!("/{NAME}"), argument]);
            }
        }
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(status.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Ends what was started to wait, beyond the processes themselves.
    pub(crate) fn release(&self) {
        match self.kind {
            Kind::Bubblewrap => {}
            Kind::Runc => {
                let state = self.folder.join("state");
                for entry in fs::read_dir(&state).into_iter().flatten().flatten() {
                    let mut delete = Command::new("runc");
                    succeed(
                        delete.arg("--root").arg(&state).args(["delete", "--force"]).arg(entry.file_name()),
                    );
                }
            }
            Kind::Podman => {
                let mut podman = Command::new("podman");
                self.podman(&mut podman);
                succeed(podman.args(["rm", "--all", "--force", "--time", "0"]));
            }
        }
        memory::reap_orphans();
    }

    /// Unique on this machine: cgroups are named by it.
    fn new_name(&self) -> String {
        self.next.set(self.next.get() + 1);
        format!("wasmrun-bench-{}-{}", std::process::id(), self.next.get())
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
        said(&mut spec)?;
        let path = bundle.join("config.json");
        let config = fs::read(&path).map_err(|error| error.to_string())?;
        let mut config: Value = serde_json::from_slice(&config).map_err(|error| error.to_string())?;
        config["root"] = json!({ "path": self.root, "readonly": true });
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!([format!("/{NAME}"), argument]);
        // Raising limits needs privileges that a container's parent may lack.
        if let Some(process) = config["process"].as_object_mut() {
            process.remove("rlimits");
        }
        fs::write(&path, config.to_string()).map_err(|error| error.to_string())
    }

    /// Makes an image of the program's root, in a storage of its own.
    fn import_image(&self) -> Result<(), String> {
        let (storage, run) = (self.folder.join("storage"), self.folder.join("run"));
        let settings =
            format!("[storage]\ndriver = \"overlay\"\ngraphroot = {storage:?}\nrunroot = {run:?}\n");
        fs::write(self.folder.join("storage.conf"), settings).map_err(|error| error.to_string())?;
        let archive = self.folder.join("root.tar");
        said(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&self.root).arg("."))?;
        let mut podman = Command::new("podman");
        self.podman(&mut podman);
        said(podman.arg("import").arg(archive).arg(IMAGE)).map(drop)
    }

    fn podman(&self, command: &mut Command) {
        command.env("CONTAINERS_STORAGE_CONF", self.folder.join("storage.conf"));
        if self.runc {
            command.args(["--runtime", "runc"]);
        }
    }
}

const IMAGE: &str = "localhost/wasmrun-bench:1";
/// What works everywhere, and spares podman what a task doesn't need.
const PODMAN_OPTIONS: [&str; 5] = [
    "--network=none",
    "--log-driver=none",
    "--read-only",
    "--ulimit=nofile=4096:4096",
    "--ulimit=nproc=4096:4096",
];

/// Runs a command quietly; its complaint, if it has one, is one line.
fn said(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "not installed".into(),
        _ => error.to_string(),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(complaint.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it fails").trim().to_owned())
}

impl Way for &Sandbox {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Bubblewrap => names::BUBBLEWRAP,
            Kind::Runc => names::RUNC,
            Kind::Podman => names::PODMAN,
        }
    }

    fn weight(&self) -> usize {
        match self.kind {
            Kind::Bubblewrap => 2,
            Kind::Runc | Kind::Podman => 3,
        }
    }

    fn cycles(&mut self, task: Task, count: usize) -> Cycles {
        timed(count, || {
            succeed(&mut self.run(task.command()));
            memory::reap_orphans();
        })
    }
}
