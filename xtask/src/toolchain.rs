//! Finds or installs the Rust toolchain that builds the guests.
//!
//! Takes the first that works of: the user's own toolchain if it has the Wasm targets; the toolchain that this tool
//! built earlier; the user's own after `rustup target add`; a new toolchain built from Debian packages.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    command::{on_path, quiet, quiet_within},
    debian,
    places::Places,
    targets::{COMPONENT_TARGET, MODULE_TARGET, has_std},
};

/// The rustup name of the toolchain that this tool built.
const LINK_NAME: &str = "wasmrun-guests";

/// Time limit for rustup. Two standard libraries of about 30 MB each take a minute on a slow connection; a blocked
/// connection may never answer.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

/// Variables with flags for the host's compiler, such as `-Ctarget-cpu=native`.
const HOST_ONLY: [&str; 4] =
    ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET"];

/// A Rust toolchain that can build guests.
pub(crate) enum Toolchain {
    /// The toolchain that runs this program.
    Installed,
    /// A toolchain laid out by this tool, with this sysroot.
    Built(PathBuf),
}

impl Toolchain {
    /// Finds a toolchain that has the standard library for all `targets`, or builds one.
    ///
    /// # Errors
    ///
    /// Fails if there is no toolchain and none can be made; the message says what was tried and what to do.
    pub(crate) fn ready(places: &Places, targets: &[&str]) -> Result<Self> {
        if installed_has(targets) {
            return Ok(Self::Installed);
        }
        let sysroot = places.cache.join("toolchain");
        if !debian::is_complete(&sysroot) {
            if rustup_adds_targets() && installed_has(targets) {
                return Ok(Self::Installed);
            }
            debian::build(&places.cache, &sysroot).context(
                "cannot set up the Wasm targets; where rustup can download, `rustup target add wasm32-wasip2 wasm32-wasip1` \
                 is all that is needed",
            )?;
        }
        link(&sysroot);
        Ok(Self::Built(sysroot))
    }

    /// Identifies the toolchain's standard library, which cargo can't tell from the compiler's version.
    pub(crate) fn identity(&self) -> Result<String> {
        match self {
            Self::Installed => Ok("the user's own".into()),
            Self::Built(sysroot) => debian::identity(sysroot),
        }
    }

    /// This toolchain's cargo.
    pub(crate) fn cargo(&self) -> Command {
        match self {
            Self::Installed => self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()).as_ref()),
            Self::Built(sysroot) => self.command(&sysroot.join("bin/cargo")),
        }
    }

    /// A program for which `cargo` and `rustc` are this toolchain's, without the variables that the user set for the
    /// host's compiler.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Self::Built(sysroot) = self {
            let bin = sysroot.join("bin");
            command
                .env("PATH", first_in_path(&bin))
                .env("CARGO", bin.join("cargo"))
                .env("RUSTC", bin.join("rustc"))
                .env("RUSTDOC", bin.join("rustdoc"))
                // Set by rustup's proxy; it would make `cargo` and `rustc` the user's again.
                .env_remove("RUSTUP_TOOLCHAIN");
        }
        for host_only in HOST_ONLY {
            command.env_remove(host_only);
        }
        command
    }
}

fn first_in_path(folder: &Path) -> OsString {
    let mut path = folder.as_os_str().to_owned();
    if let Some(rest) = env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    path
}

/// Whether the default toolchain has a standard library for each of these targets.
fn installed_has(targets: &[&str]) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    targets.iter().all(|target| {
        quiet(Command::new(&rustc).args(["--print", "target-libdir", "--target", target]))
            .is_ok_and(|folder| has_std(Path::new(folder.trim())))
    })
}

/// Asks rustup for the targets. A rustup that can't download is no error, because there is another way.
fn rustup_adds_targets() -> bool {
    if on_path("rustup").is_none() {
        return false;
    }
    eprintln!(
        "Installing the targets {COMPONENT_TARGET} and {MODULE_TARGET} with rustup, into the active toolchain …"
    );
    let mut command = Command::new("rustup");
    command.args(["target", "add", COMPONENT_TARGET, MODULE_TARGET]);
    // With a backtrace, rustup's error is hidden in a page of addresses.
    command.env_remove("RUST_BACKTRACE");
    match quiet_within(&mut command, RUSTUP_LIMIT) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("rustup could not: {error:#}");
            false
        }
    }
}

/// Lets users run `cargo +wasmrun-guests`. This tool doesn't depend on it, so a failure is only printed.
fn link(sysroot: &Path) {
    let Some(home) = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".rustup")))
    else {
        return;
    };
    let link = home.join("toolchains").join(LINK_NAME);
    if fs::read_link(&link).is_ok_and(|linked| linked == sysroot) || on_path("rustup").is_none() {
        return;
    }
    match quiet(Command::new("rustup").args(["toolchain", "link", LINK_NAME]).arg(sysroot)) {
        Ok(_) => eprintln!(
            "Linked it as rustup toolchain {LINK_NAME}: `cargo +{LINK_NAME} build --target {COMPONENT_TARGET}` works in any guest."
        ),
        Err(error) => eprintln!("Not linked as a rustup toolchain: {error:#}"),
    }
}
