//! The locations of the repository, the target folder, and the user's cache folder.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf, absolute},
};

use anyhow::{Context, Result};

/// The folders that every command uses, as absolute paths.
pub(crate) struct Places {
    /// The root of the repository.
    pub(crate) root: PathBuf,
    /// Cargo's target folder of the main workspace.
    pub(crate) target: PathBuf,
    /// Folder for programs that are installed once for this user: the guest toolchain and tools.
    pub(crate) cache: PathBuf,
}

impl Places {
    /// Reads the places from the environment.
    ///
    /// # Errors
    ///
    /// Fails if neither `XDG_CACHE_HOME` nor `HOME` is set, or if there is no current folder.
    pub(crate) fn find() -> Result<Self> {
        // Cargo sets the package's folder at run time; the compiled-in folder may be that of another clone.
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

    /// Folder in which the built components are collected.
    pub(crate) fn guests(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// Folder of the programs that this tool installs.
    pub(crate) fn tools(&self) -> PathBuf {
        self.cache.join("tools")
    }

    /// The path relative to the repository's root, as a user would type it.
    pub(crate) fn typed<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}

/// Locks a folder of the cache until the returned file is dropped, so that two runs don't install into it at once. What
/// was missing before may be there after.
///
/// # Errors
///
/// Fails if the file next to the folder can't be created or locked.
pub(crate) fn lock(folder: &Path) -> Result<File> {
    let mut name = folder.as_os_str().to_owned();
    name.push(".lock");
    let file = PathBuf::from(name);
    let create = || {
        fs::create_dir_all(file.parent().unwrap_or(folder))?;
        let lock = File::create(&file)?;
        lock.lock()?;
        Ok::<_, std::io::Error>(lock)
    };
    create().with_context(|| format!("cannot lock {}", file.display()))
}

/// Removes a folder if it exists.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// An environment variable that is set and not empty.
fn filled(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Finds the user's cache folder. The XDG specification requires that a relative `XDG_CACHE_HOME` is ignored.
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
