//! Where things are: the repository, the target folder, and the user's cache folder.

use std::{
    env,
    ffi::OsString,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf, absolute},
};

use anyhow::{Context, Result};

/// The folders that every command works with; all of them absolute.
pub(crate) struct Places {
    /// The root of the repository.
    pub(crate) root: PathBuf,
    /// Cargo's target folder of the main workspace.
    pub(crate) target: PathBuf,
    /// What is installed once for this user: the guest toolchain and tools.
    pub(crate) cache: PathBuf,
}

impl Places {
    /// Reads the places from the environment.
    ///
    /// # Errors
    ///
    /// When there is neither `XDG_CACHE_HOME` nor `HOME`, or no current folder.
    pub(crate) fn find() -> Result<Self> {
        // Cargo says at run time where the package is; the compiled-in folder may be that of another clone.
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.parent().context("the xtask package has no parent folder")?.to_owned();
        let target = match filled("CARGO_TARGET_DIR") {
            Some(folder) => absolute(folder).context("cannot resolve CARGO_TARGET_DIR")?,
            None => root.join("target"),
        };
        let cache = cache_home(filled("XDG_CACHE_HOME"), filled("HOME"))
            .context("set HOME or XDG_CACHE_HOME: the guest toolchain is kept in the cache folder")?
            .join("wasmrun-xtask");
        Ok(Self { root, target, cache })
    }

    /// Where the built components are collected.
    pub(crate) fn guests(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// Where programs installed by this tool are kept.
    pub(crate) fn tools(&self) -> PathBuf {
        self.cache.join("tools")
    }

    /// The path as one would type it from the repository's root.
    pub(crate) fn typed<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}

/// Removes a folder that need not be there.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// An environment variable that is set to something.
fn filled(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// The XDG rule: a relative `XDG_CACHE_HOME` is to be ignored.
/// <https://specifications.freedesktop.org/basedir-spec/latest/>
fn cache_home(xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    xdg.map(PathBuf::from)
        .filter(|folder| folder.is_absolute())
        .or_else(|| Some(PathBuf::from(home?).join(".cache")))
}

#[cfg(test)]
mod tests {
    use super::cache_home;
    use std::path::PathBuf;

    #[test]
    fn the_cache_folder_follows_the_xdg_rule() {
        let home = || Some("/home/a".into());
        assert_eq!(cache_home(Some("/c".into()), home()), Some(PathBuf::from("/c")));
        let default = Some(PathBuf::from("/home/a/.cache"));
        assert_eq!(cache_home(Some("relative".into()), home()), default);
        assert_eq!(cache_home(None, home()), default);
        assert_eq!(cache_home(None, None), None);
    }
}
