//! The image that ships, and podman to run it: with everything forbidden that it doesn't need.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where `cargo xtask bench container` has put the image: its name, …
const IMAGE: &str = "WASMRUN_IMAGE";
/// … the storage that it was built in, with the settings for podman, …
const STORAGE: &str = "WASMRUN_IMAGE_STORAGE";
/// … and the archive, as a registry would have it.
const ARCHIVE: &str = "WASMRUN_IMAGE_ARCHIVE";

/// What SECURITY.md advises, and no network: the queue is a file. Without the file systems in memory that podman would
/// mount: others don't.
const CONFINED: [&str; 9] = [
    "--rm",
    "--network=none",
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--user=65532",
    "--memory=512m",
    "--pids-limit=64",
];
/// The image's folder for code that was compiled once.
const CACHE: &str = "/var/cache/wasmrun";

/// podman with the image.
pub(crate) struct Podman {
    image: String,
    archive: PathBuf,
    /// `containers.conf`: which runtime, and limits that every user may set.
    settings: PathBuf,
    /// Images and containers are kept as this says.
    storage: PathBuf,
    /// The folder of a storage of this benchmark's own.
    own: Option<PathBuf>,
    /// What the names of volumes begin with.
    name: String,
}

impl Podman {
    /// Looks for the image, and runs it once.
    ///
    /// # Errors
    ///
    /// There is no image, or it doesn't run here.
    pub(crate) fn find(scratch: &Path) -> Result<Self, String> {
        let known = |name| std::env::var_os(name).map(PathBuf::from);
        let found = (std::env::var(IMAGE).ok(), known(STORAGE), known(ARCHIVE));
        let (Some(image), Some(built_in), Some(archive)) = found else {
            return Err("there is no container image: cargo xtask bench container builds it".into());
        };
        let name = scratch.file_name().unwrap_or_default().to_string_lossy().replace('.', "");
        let (settings, storage) = (built_in.join("containers.conf"), built_in.join("storage.conf"));
        let mut podman = Self { image, archive, settings, storage, own: None, name };
        podman.use_overlay(&scratch.join("storage"));
        said(podman.run(&[]).arg("--version"))
            .map_err(|why| format!("containers can't be run here: {why}"))?;
        Ok(podman)
    }

    /// Loads the image into a storage as those of most machines are, if one works here. The one that it was built in copies
    /// the image for each container.
    fn use_overlay(&mut self, folder: &Path) {
        let (root, run, file) = (folder.join("root"), folder.join("run"), folder.join("storage.conf"));
        let text = format!("[storage]\ndriver = \"overlay\"\ngraphroot = {root:?}\nrunroot = {run:?}\n");
        if fs::create_dir_all(folder).and_then(|()| fs::write(&file, text)).is_err() {
            return;
        }
        let built_in = std::mem::replace(&mut self.storage, file);
        self.own = Some(folder.to_owned());
        let archive = self.archive.clone();
        let loaded = said(self.podman().args(["load", "--quiet", "--input"]).arg(archive));
        if loaded.and_then(|_| said(self.run(&[]).arg("--version"))).is_err() {
            self.storage = built_in;
        }
    }

    fn podman(&self) -> Command {
        let mut command = Command::new("podman");
        command
            .env("CONTAINERS_STORAGE_CONF", &self.storage)
            .env("CONTAINERS_CONF", &self.settings)
            .stdin(Stdio::null());
        command
    }

    /// A confined container: what is added are the program's arguments.
    pub(crate) fn run(&self, options: &[String]) -> Command {
        let mut command = self.podman();
        command.arg("run").args(CONFINED).args(options).arg(&self.image);
        command
    }

    /// Makes an empty volume for compiled code.
    pub(crate) fn create_cache(&self, name: &str) {
        said(self.podman().args(["volume", "create", &self.volume(name)])).expect("a volume");
    }

    /// The option that mounts it. Each container has one that was there before: podman would make one during the start.
    pub(crate) fn mount_cache(&self, name: &str) -> String {
        format!("--volume={}:{CACHE}", self.volume(name))
    }

    pub(crate) fn remove_cache(&self, name: &str) {
        said(self.podman().args(["volume", "rm", &self.volume(name)])).expect("the volume is there");
    }

    fn volume(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// Copies the image's program out of it.
    pub(crate) fn copy_program(&self, to: &Path) {
        let container = said(self.podman().args(["create", &self.image, "--version"])).expect("a container");
        let container = container.trim();
        said(self.podman().args(["cp", &format!("{container}:/wasmrun")]).arg(to)).expect("the program");
        said(self.podman().args(["rm", "--volumes", container])).expect("the container is there");
    }

    /// What has to be fetched before a container can start.
    pub(crate) fn image_bytes(&self) -> u64 {
        fs::metadata(&self.archive).expect("the archive").len()
    }

    /// Which podman, runtime and storage, for the report.
    pub(crate) fn described(&self) -> String {
        let format =
            "podman {{.Version.Version}}, {{.Host.OCIRuntime.Name}}, storage {{.Store.GraphDriverName}}";
        said(self.podman().args(["info", "--format", format]))
            .expect("podman's information")
            .trim()
            .to_owned()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let listed = said(self.podman().args(["volume", "ls", "--quiet"])).unwrap_or_default();
        for volume in listed.lines().filter(|volume| volume.starts_with(&self.name)) {
            // With the container that uses it, if that was left behind.
            let _ = said(self.podman().args(["volume", "rm", "--force", volume]));
        }
        if let Some(folder) = &self.own {
            // It's mounted onto itself, and can't be deleted before.
            let _ = said(Command::new("umount").arg("--lazy").arg(folder.join("root/overlay")));
        }
    }
}

/// Runs a command that must succeed, and returns what it prints, or else what it complained of.
pub(crate) fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
