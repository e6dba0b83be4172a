//! Finds programs that may be missing, or installs them into the user's cache folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    apt::Apt,
    command::{self, on_path, quiet},
    debian::write_program,
    places::{Places, lock, remove},
};

/// A program from crates.io.
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
    /// Time that the installation takes on two cores, in minutes.
    minutes: u32,
}

/// The last version of cargo-component; its project ended in favour of plain cargo.
pub(crate) const CARGO_COMPONENT: Tool = Tool { name: "cargo-component", version: "0.21.1", minutes: 4 };
/// Checks dependencies against `deny.toml`.
pub(crate) const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", minutes: 1 };
/// A client of registries.
pub(crate) const WKG: Tool = Tool { name: "wkg", version: "0.16.1", minutes: 2 };
/// Builds the book.
pub(crate) const MDBOOK: Tool = Tool { name: "mdbook", version: "0.5.4", minutes: 1 };

/// A program from crates.io that a benchmark compares with: exactly this version, built as its authors build it.
pub(crate) struct Compared {
    tool: Tool,
    package: &'static str,
    features: &'static str,
}

/// The engine's own server. Built with the features that `wasmtime serve` needs, of the defaults those that make it fast.
pub(crate) const WASMTIME: Compared = Compared {
    tool: Tool { name: "wasmtime", version: "48.0.8", minutes: 8 },
    package: "wasmtime-cli",
    features: "run,serve,component-model-async,cranelift,parallel-compilation,pooling-allocator",
};

impl Tool {
    /// Finds the program, or installs it.
    ///
    /// # Errors
    ///
    /// Fails if the program is missing and can't be installed.
    pub(crate) fn ready(&self, places: &Places) -> Result<PathBuf> {
        let installed = places.tools().join("bin").join(self.name);
        if installed.is_file() {
            return Ok(installed);
        }
        if let Some(found) = on_path(self.name) {
            return Ok(found);
        }
        // A build without optimization takes a third of the time, and the program is no slower for such small work.
        self.install(places, &places.tools(), self.name, &["--debug"])?;
        Ok(installed)
    }

    /// Builds the program of a package and installs it below `root`.
    fn install(&self, places: &Places, root: &Path, package: &str, arguments: &[&str]) -> Result<()> {
        let Self { name, version, minutes } = self;
        let took = if *minutes == 1 { "a minute".into() } else { format!("some {minutes} minutes") };
        eprintln!("Installing {name} {version} into {} ({took} on two cores, once) …", root.display());
        let build = places.cache.join(format!("build-{name}"));
        quiet(
            command::cargo(places)
                .args(["install", package, "--locked", "--version", version])
                .args(arguments)
                .arg("--root")
                .arg(root)
                .env("CARGO_PROFILE_DEV_DEBUG", "0")
                // Kept after an interruption, so that the next run continues from there.
                .env("CARGO_TARGET_DIR", &build),
        )
        .with_context(|| format!("cannot install {name}"))?;
        remove(&build)
    }
}

impl Compared {
    /// Finds the program of this version, or installs it. Another version may be elsewhere, which isn't used.
    ///
    /// # Errors
    ///
    /// Fails if the program is missing and can't be installed.
    pub(crate) fn ready(&self, places: &Places) -> Result<PathBuf> {
        let Self { tool, package, features } = self;
        let root = places.cache.join(format!("compared-{}-{}", tool.name, tool.version));
        let installed = root.join("bin").join(tool.name);
        if !installed.is_file() {
            tool.install(places, &root, package, &["--no-default-features", "--features", features])?;
        }
        Ok(installed)
    }
}

/// A program of a Debian package.
pub(crate) struct DebianTool {
    name: &'static str,
    package: &'static str,
    /// Path in the package of a program that needs other files of its package and other packages. `None` if the program
    /// needs neither.
    needs_others: Option<&'static str>,
}

/// Prometheus' own tool, which checks a worker's metrics.
pub(crate) const PROMTOOL: DebianTool =
    DebianTool { name: "promtool", package: "prometheus", needs_others: None };
/// Prometheus itself, which the tests let scrape a worker.
pub(crate) const PROMETHEUS: DebianTool =
    DebianTool { name: "prometheus", package: "prometheus", needs_others: None };
/// A registry.
pub(crate) const DOCKER_REGISTRY: DebianTool =
    DebianTool { name: "docker-registry", package: "docker-registry", needs_others: None };
/// A client that measures servers of HTTP.
pub(crate) const H2LOAD: DebianTool =
    DebianTool { name: "h2load", package: "nghttp2-client", needs_others: Some("usr/bin/h2load") };
/// A browser without a screen, which shows a worker's page. It takes 97 MB to download and 293 MB on the disk.
pub(crate) const CHROMIUM: DebianTool = DebianTool {
    name: "chromium-headless-shell",
    package: "chromium-headless-shell",
    needs_others: Some("usr/lib/chromium/chromium-headless-shell"),
};

impl DebianTool {
    /// Finds the program, or takes it from its package. Returns `None` if it is missing and can't be installed, so that
    /// what needs it is skipped.
    pub(crate) fn ready(&self, places: &Places) -> Option<PathBuf> {
        let name = self.name;
        let program = places.tools().join("bin").join(name);
        if program.is_file() {
            return Some(program);
        }
        if let Some(found) = on_path(name) {
            return Some(found);
        }
        match self.install_once(places, &program) {
            Ok(()) => Some(program),
            Err(error) => {
                eprintln!("There is no {name} here ({error:#}): what needs it is skipped.");
                None
            }
        }
    }

    /// Installs the program, unless another run did while this one waited for it.
    fn install_once(&self, places: &Places, program: &Path) -> Result<()> {
        let folder = places.cache.join(self.name);
        let _lock = lock(&folder)?;
        if program.is_file() {
            return Ok(());
        }
        let (package, tools) = (self.package, places.tools());
        eprintln!("Taking {} from Debian's package {package} into {} …", self.name, tools.display());
        self.install(places, &folder, program)
    }

    fn install(&self, places: &Places, folder: &Path, program: &Path) -> Result<()> {
        let Self { name, package, needs_others } = self;
        remove(folder)?;
        let root = folder.join("root");
        fs::create_dir_all(&root)?;
        fs::create_dir_all(places.tools().join("bin"))?;
        let apt = Apt::new(&folder.join("apt"))?;
        match needs_others {
            None => {
                apt.unpack_alone(package, &root)?;
                let unpacked = root.join("usr/bin").join(name);
                fs::rename(unpacked, program).with_context(|| format!("the package has no {name}"))?;
                remove(folder)
            }
            Some(unpacked) => {
                apt.unpack_with_dependencies(package, &root)?;
                let unpacked = root.join(unpacked);
                if !unpacked.is_file() {
                    bail!("the package has no {}", unpacked.display());
                }
                remove(&folder.join("apt"))?;
                // Written last, so that an interrupted installation begins again.
                write_program(program, &script(&root, &unpacked))
            }
        }
    }
}

/// Returns a script that starts an unpacked program with the libraries that were unpacked next to it.
fn script(root: &Path, program: &Path) -> String {
    let (root, program) = (root.display(), program.display());
    format!(
        r#"#!/bin/sh
for folder in "{root}"/usr/lib/*-linux-* "{root}"/usr/lib/*-linux-*/pulseaudio; do
    LD_LIBRARY_PATH="$folder${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
done
export LD_LIBRARY_PATH
exec "{program}" "$@"
"#
    )
}
