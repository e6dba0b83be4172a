//! Servers that stand in for Amazon's, for the tests: packages of PyPI in a virtual environment of their own, in the
//! user's cache folder.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{
    command::{on_path, quiet},
    places::Places,
};

/// SQS, S3 and bucket notifications.
const PACKAGES: [&str; 1] = ["ministack==1.5.33"];
/// What the environment holds, once it's whole.
const LIST: &str = "packages";

/// The folder with the servers' programs; installs them the first time. `None`: this machine has no Python, and the
/// tests that need them are skipped.
///
/// # Errors
///
/// They can't be installed.
pub(crate) fn ready(places: &Places) -> Result<Option<PathBuf>> {
    let folder = places.cache.join("servers");
    let (list, wanted) = (folder.join(LIST), PACKAGES.join("\n"));
    if fs::read_to_string(&list).is_ok_and(|installed| installed == wanted) {
        return Ok(Some(folder.join("bin")));
    }
    let Some(python) = on_path("python3") else {
        eprintln!("There is no python3 here: tests against servers of SQS and S3 are skipped.");
        return Ok(None);
    };
    eprintln!("Installing {} into {} …", PACKAGES.join(", "), folder.display());
    let install = || -> Result<()> {
        quiet(Command::new(python).args(["-m", "venv", "--clear"]).arg(&folder))?;
        quiet(Command::new(folder.join("bin/pip")).args(["install", "--quiet"]).args(PACKAGES))?;
        Ok(fs::write(&list, wanted)?)
    };
    install()
        .context("cannot install the servers for tests (Debian's package python3-venv has what is needed)")?;
    Ok(Some(folder.join("bin")))
}
