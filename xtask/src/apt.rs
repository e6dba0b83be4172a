//! Downloads and unpacks Debian packages without installing them. Works for any user and leaves the system unchanged.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::command::quiet;

/// rustc, cargo, the library's source and the C library for WASI, from the branch that Debian keeps current for its
/// browsers.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "wasi-libc"];
/// Prefix of rustc-web's own library packages, whose names contain its version.
const LIBRARY_PACKAGES: &str = "libstd-rust-web";

/// apt with its own lists and cache.
pub(crate) struct Apt {
    folder: PathBuf,
}

impl Apt {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        for part in ["state", "lists/partial", "cache/archives/partial"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).with_context(|| format!("cannot create {}", part.display()))?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let folder = self.folder.display();
        for option in [
            format!("Dir::State={folder}/state"),
            format!("Dir::State::Lists={folder}/lists"),
            format!("Dir::Cache={folder}/cache"),
            format!("Dir::Log={folder}"),
            // The list of installed packages is only read, to find out which libraries the system already has.
            "Dir::State::status=/var/lib/dpkg/status".into(),
            "Debug::NoLocking=1".into(),
            // apt run by root downloads as another user, who can't write here.
            "APT::Sandbox::User=root".into(),
            "Acquire::Languages=none".into(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
            "Acquire::Retries=3".into(),
        ] {
            command.args(["-o", &option]);
        }
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Downloads the packages and the dependencies that the system lacks, and unpacks all of them into `root`. Returns
    /// the packages' file names.
    pub(crate) fn unpack(&self, root: &Path) -> Result<Vec<String>> {
        // A third party's source that doesn't answer is no reason to fail: what counts is whether the packages are
        // found.
        let update = quiet(self.command("apt-get").args(["update", "-q"]));
        let wanted = match self.wanted() {
            Ok(wanted) => wanted,
            Err(reason) => {
                bail!("{reason}{}", update.err().map(|error| format!(" ({error})")).unwrap_or_default())
            }
        };
        eprintln!("  Downloading {} …", wanted.join(", "));
        quiet(
            self.command("apt-get")
                .args(["install", "-q", "-y", "--no-install-recommends"])
                // Also download packages that the system already has, so that an upgrade of the system can't break the
                // toolchain.
                .args(["--download-only", "--reinstall", "--allow-downgrades"])
                .args(&wanted),
        )
        .context("apt cannot download the packages")?;
        eprintln!("  Unpacking …");
        self.unpack_all(root)
    }

    /// Downloads one package without its dependencies and unpacks it into `root`.
    pub(crate) fn unpack_alone(&self, package: &str, root: &Path) -> Result<()> {
        // A failure is ignored for the same reason as in `unpack`.
        let _ = quiet(self.command("apt-get").args(["update", "-q"]));
        let mut download = self.command("apt-get");
        download.current_dir(self.archives()).args(["download", "-q", package]);
        quiet(&mut download).with_context(|| format!("apt cannot download {package}"))?;
        self.unpack_all(root).map(drop)
    }

    /// Downloads one package and the dependencies that the system lacks, and unpacks all of them into `root`.
    pub(crate) fn unpack_with_dependencies(&self, package: &str, root: &Path) -> Result<()> {
        // A failure is ignored for the same reason as in `unpack`.
        let _ = quiet(self.command("apt-get").args(["update", "-q"]));
        let mut install = self.command("apt-get");
        install.args(["install", "-q", "-y", "--no-install-recommends", "--download-only", package]);
        quiet(&mut install).with_context(|| format!("apt cannot download {package}"))?;
        self.unpack_all(root).map(drop)
    }

    fn archives(&self) -> PathBuf {
        self.folder.join("cache/archives")
    }

    /// Unpacks all downloaded packages.
    fn unpack_all(&self, root: &Path) -> Result<Vec<String>> {
        let mut packages = Vec::new();
        for entry in fs::read_dir(self.archives())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                quiet(Command::new("dpkg-deb").arg("-x").arg(&path).arg(root))?;
                packages.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
            }
        }
        packages.sort();
        Ok(packages)
    }

    /// Names of the packages to download. Some names contain a version, which is looked up here.
    fn wanted(&self) -> Result<Vec<String>> {
        let names = quiet(self.command("apt-cache").arg("pkgnames"))?;
        if let Some(missing) = PACKAGES.iter().find(|package| !names.lines().any(|name| name == **package)) {
            bail!("this system's package sources have no {missing}");
        }
        let linker = newest(&names, "lld-").context("this system's package sources have no lld")?;
        let depends = quiet(self.command("apt-cache").args([
            "depends",
            "--recurse",
            "--important",
            "--no-conflicts",
            "--no-breaks",
            "--no-replaces",
            "rustc-web",
        ]))?;
        let mut wanted: Vec<String> = PACKAGES.map(Into::into).into();
        wanted.push(linker);
        // Each package in the recursive list starts a line.
        wanted.extend(depends.lines().filter(|line| line.starts_with(LIBRARY_PACKAGES)).map(Into::into));
        wanted.dedup();
        Ok(wanted)
    }
}

/// The package with the highest number after `prefix`.
fn newest(names: &str, prefix: &str) -> Option<String> {
    names
        .lines()
        .filter_map(|name| Some((name.strip_prefix(prefix)?.parse::<u32>().ok()?, name)))
        .max()
        .map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn the_newest_linker_is_the_one_with_the_highest_number() {
        let names = "lld-9\nlld-22\nlld\nlld-22-dev\nclang-23\nlld-19\n";
        assert_eq!(newest(names, "lld-").as_deref(), Some("lld-22"));
        assert_eq!(newest(names, "mold-"), None);
    }
}
