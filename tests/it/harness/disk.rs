//! A disk that a test can fill.

use super::{Process, World, guest, skip_unless_root, wasmrun};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A tmpfs in the worker's own mount namespace, which disappears with the worker.
pub(crate) struct Disk {
    /// The mount point.
    place: PathBuf,
}

impl Disk {
    /// Mounts a disk of `bytes` bytes on a directory of the world and copies the directory's content to it. Then starts
    /// a worker on it with these arguments, two instances and the usual grants. Returns `None` if this system allows no
    /// mounts.
    pub(crate) fn start_on(
        world: &World,
        place: &str,
        bytes: usize,
        arguments: &[&str],
    ) -> Option<(Self, Process)> {
        const SCRIPT: &str = r#"
            set -e; place=$1; bytes=$2; shift 2
            cp -a "$place" "$place.copy"
            mount -t tmpfs -o "size=$bytes,mode=700" tmpfs "$place"
            cp -a "$place.copy/." "$place"
            test "$#" -eq 0 || exec "$@""#;
        let disk = Self { place: world.path(place) };
        let in_namespace = || {
            world
                .program(Path::new("unshare"))
                .args(["--mount", "--map-root-user", "sh", "-c", SCRIPT, "sh"])
                .arg(&disk.place)
                .arg(bytes.to_string())
        };
        if !in_namespace().ends().status.success() {
            skip_unless_root("this system lets nobody mount a file system, so no disk can be filled");
            return None;
        }
        fs::remove_dir_all(disk.place.with_extension("copy")).expect("removed");
        let worker = in_namespace()
            .arg(wasmrun())
            .arg("run")
            .arg(guest("misbehave"))
            .args(World::grants())
            .args(["--instances", "2", "--backoff", "100ms..1s"])
            .logging_tasks()
            .args(arguments)
            .start_ready();
        Some((disk, worker))
    }

    /// Path of the disk in the worker's mount namespace.
    pub(crate) fn path(&self, worker: &Process) -> PathBuf {
        let place = self.place.strip_prefix("/").expect("absolute");
        worker.proc().join("root").join(place)
    }

    /// Remounts the disk with other options, such as `ro`.
    pub(crate) fn remount(&self, worker: &Process, how: &str) {
        let id = worker.proc().file_name().expect("its id").to_owned();
        let remount = || {
            let mut nsenter = std::process::Command::new("nsenter");
            nsenter.arg("--target").arg(&id).args(["--user", "--mount", "--preserve-credentials", "mount"]);
            let status = nsenter.args(["-o", &format!("remount,{how}")]).arg(&self.place).status();
            status.is_ok_and(|status| status.success())
        };
        // Remounting fails while a file is open for writing.
        super::wait_until("the disk is mounted anew", remount);
    }

    /// Writes to the disk until it is full. Returns the file; removing it frees the disk.
    pub(crate) fn fill(&self, worker: &Process) -> PathBuf {
        let path = self.path(worker).join("filler");
        let mut file = File::create(&path).expect("a file");
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
        path
    }
}
