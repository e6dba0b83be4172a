//! podman with a storage of the benchmark's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wasmrun_benches::output;

/// A storage with the overlay driver, as most machines have one.
pub(crate) struct Storage {
    folder: PathBuf,
}

impl Storage {
    /// The storage in this folder.
    pub(crate) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Writes its settings.
    ///
    /// # Errors
    ///
    /// Fails if the folder can't be written.
    pub(crate) fn create(&self) -> Result<(), String> {
        let (root, run) = (self.folder.join("storage"), self.folder.join("run"));
        let text = format!("[storage]\ndriver = \"overlay\"\ngraphroot = {root:?}\nrunroot = {run:?}\n");
        let written = fs::create_dir_all(&self.folder).and_then(|()| fs::write(self.settings(), text));
        written.map_err(|error| error.to_string())
    }

    /// podman on this storage.
    pub(crate) fn podman(&self) -> Command {
        let mut command = Command::new("podman");
        command.env("CONTAINERS_STORAGE_CONF", self.settings()).stdin(Stdio::null());
        command
    }

    fn settings(&self) -> PathBuf {
        self.folder.join("storage.conf")
    }

    /// Unmounts the storage, which is mounted onto itself and can't be deleted before.
    pub(crate) fn unmount(&self) {
        // The storage may not be mounted.
        let _ = output(Command::new("umount").arg("--lazy").arg(self.folder.join("storage/overlay")));
    }
}
