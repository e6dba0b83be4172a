//! The image that ships, and podman to run it with everything forbidden that it doesn't need.

use crate::shared::Storage;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use wasmrun_benches::output;

/// Where `cargo xtask bench container` has put the image: its name, …
const IMAGE: &str = "WASMRUN_IMAGE";
/// … the storage in which it was built, with the settings for podman, …
const STORAGE: &str = "WASMRUN_IMAGE_STORAGE";
/// … and the archive, as a registry would have it.
const ARCHIVE: &str = "WASMRUN_IMAGE_ARCHIVE";

/// What SECURITY.md advises, without a network: the queue is a file. Without the file systems in memory that podman would
/// mount and others don't.
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
/// The image's folder for compiled code.
const CACHE: &str = "/var/cache/wasmrun";

/// podman with the image.
pub(crate) struct Podman {
    image: String,
    archive: PathBuf,
    built_in: PathBuf,
    /// A storage as most machines have one, if it works here. The storage in which the image was built copies the image for
    /// each container.
    own: Option<Storage>,
    /// What the names of volumes begin with.
    name: String,
}

impl Podman {
    /// Finds the image, and runs it once.
    ///
    /// # Errors
    ///
    /// There is no image, or it doesn't run here.
    pub(crate) fn find(scratch: &Path) -> Result<Self, String> {
        let path = |name| std::env::var_os(name).map(PathBuf::from);
        let found = (std::env::var(IMAGE).ok(), path(STORAGE), path(ARCHIVE));
        let (Some(image), Some(built_in), Some(archive)) = found else {
            return Err("there is no container image: cargo xtask bench container builds it".into());
        };
        let name = scratch.file_name().unwrap_or_default().to_string_lossy().replace('.', "");
        let own = Storage::at(&scratch.join("podman"));
        own.create()?;
        let mut podman = Self { image, archive, built_in, own: Some(own), name };
        let loaded = output(podman.podman().args(["load", "--quiet", "--input"]).arg(&podman.archive));
        let runs = |podman: &Self| output(podman.run(&[]).arg("--version"));
        if loaded.and_then(|_| runs(&podman)).is_err() {
            podman.own.take().iter().for_each(Storage::unmount);
            runs(&podman).map_err(|why| format!("containers can't be run here: {why}"))?;
        }
        Ok(podman)
    }

    fn podman(&self) -> Command {
        let mut command = match &self.own {
            Some(storage) => storage.podman(),
            None => Storage::at(&self.built_in).podman(),
        };
        command.env("CONTAINERS_CONF", self.built_in.join("containers.conf"));
        command
    }

    /// A confined container. Arguments that are added go to the program.
    pub(crate) fn run(&self, options: &[String]) -> Command {
        let mut command = self.podman();
        command.arg("run").args(CONFINED).args(options).arg(&self.image);
        command
    }

    /// Makes an empty volume for compiled code: podman would make it during the start.
    pub(crate) fn create_cache(&self, name: &str) {
        output(self.podman().args(["volume", "create", &self.volume(name)])).expect("a volume");
    }

    /// The option that mounts it.
    pub(crate) fn mount_cache(&self, name: &str) -> String {
        format!("--volume={}:{CACHE}", self.volume(name))
    }

    pub(crate) fn remove_cache(&self, name: &str) {
        output(self.podman().args(["volume", "rm", &self.volume(name)])).expect("the volume is there");
    }

    fn volume(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// Copies the program out of the image.
    pub(crate) fn copy_program(&self, to: &Path) {
        let container =
            output(self.podman().args(["create", &self.image, "--version"])).expect("a container");
        let container = container.trim();
        output(self.podman().args(["cp", &format!("{container}:/wasmrun")]).arg(to)).expect("the program");
        output(self.podman().args(["rm", "--volumes", container])).expect("the container is there");
    }

    /// The size of the compressed archive, which is fetched before a container can start.
    pub(crate) fn image_bytes(&self) -> u64 {
        fs::metadata(&self.archive).expect("the archive").len()
    }

    /// The versions of podman, runtime and storage.
    pub(crate) fn version(&self) -> String {
        let format =
            "podman {{.Version.Version}}, {{.Host.OCIRuntime.Name}}, storage {{.Store.GraphDriverName}}";
        let version = output(self.podman().args(["info", "--format", format]));
        version.expect("podman's information").trim().to_owned()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let listed = output(self.podman().args(["volume", "ls", "--quiet"])).unwrap_or_default();
        for volume in listed.lines().filter(|volume| volume.starts_with(&self.name)) {
            // With a container that still uses it.
            let _ = output(self.podman().args(["volume", "rm", "--force", volume]));
        }
        self.own.iter().for_each(Storage::unmount);
    }
}
