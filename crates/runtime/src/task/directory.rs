//! Granted directories: a part of a granted store that a guest sees as a directory with files.
//! `task::host::files` has the host functions of these files.

use super::grant::{Grants, Mode, check_prefix};
use super::host::files::MESSAGE_FILE;
use std::fmt;

/// Maximum number of granted directories.
const MAX_DIRECTORIES: usize = 64;
/// Maximum number of bytes of a directory's path.
const MAX_PATH_BYTES: usize = 256;

/// A grant of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Path in the guest, without the first slash. Empty: the root.
    pub(crate) path: String,
    /// Alias of the granted store.
    pub(crate) store: String,
    /// What the keys of the files begin with: empty, or ends with a slash.
    pub(crate) prefix: String,
    /// The allowed operations.
    pub(crate) mode: Mode,
}

impl Directory {
    /// Parses a path such as `/in` and what is granted there, `STORE[:PREFIX][:MODE]`.
    ///
    /// # Errors
    ///
    /// Says what is wrong.
    pub fn parse(path: &str, granted: &str) -> Result<Self, String> {
        let inner =
            path.strip_prefix('/').ok_or_else(|| format!("the path {path:?} does not begin with a slash"))?;
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let is_segment =
            |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains(char::is_control);
        if !inner.is_empty() && !inner.split('/').all(is_segment) {
            return Err(format!("the path {path:?} has an empty segment, `.`, `..` or a control character"));
        }
        if inner == MESSAGE_FILE {
            return Err(format!("{path} is the description of the message: use another path"));
        }
        if inner.len() > MAX_PATH_BYTES {
            return Err(format!("the path {path:?} has more than {MAX_PATH_BYTES} bytes"));
        }
        let (granted, mode) = match granted.rsplit_once(':').map(|(before, mode)| (before, mode.parse())) {
            Some((before, Ok(mode))) => (before, mode),
            _ => (granted, Mode::ReadOnly),
        };
        let (store, prefix) = granted.split_once(':').unwrap_or((granted, ""));
        check_prefix(prefix).map_err(|bad| format!("the prefix {prefix:?} cannot be used: {bad}"))?;
        if store.is_empty() {
            return Err("no store is named: write --dir PATH=STORE[:PREFIX][:MODE]".into());
        }
        if !prefix.is_empty() && !prefix.ends_with('/') {
            return Err(format!(
                "{prefix:?} is no mode, which is ro, wo or rw, and no prefix, which ends with a slash"
            ));
        }
        Ok(Self { path: inner.to_owned(), store: store.to_owned(), prefix: prefix.to_owned(), mode })
    }

    /// Returns the path relative to this directory, if it lies in it.
    pub(crate) fn relative<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.path.is_empty() {
            return Some(path);
        }
        let rest = path.strip_prefix(&self.path)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.path)
    }
}

/// Checks that the stores of the directories are granted, and that no directory lies in another one.
///
/// # Errors
///
/// Names the directory.
pub(crate) fn check(grants: &Grants) -> Result<(), String> {
    let directories = &grants.directories;
    if directories.len() > MAX_DIRECTORIES {
        return Err(format!("more than {MAX_DIRECTORIES} directories are granted"));
    }
    for (index, directory) in directories.iter().enumerate() {
        let Directory { store, mode, .. } = &**directory;
        let Some(grant) = grants.stores.get(store) else {
            return Err(format!(
                "the directory {directory} is of the store {store:?}, which is not granted: add --store {store}=URL:{mode}"
            ));
        };
        if (mode.reads() && !grant.mode.reads()) || (mode.writes() && !grant.mode.writes()) {
            let granted = grant.mode;
            return Err(format!(
                "the directory {directory} is granted as {mode}, and its store {store:?} as {granted}: grant the store as rw, or the directory as {granted}"
            ));
        }
        let others = directories[..index].iter().chain(&directories[index + 1..]);
        if let Some(outer) = others.clone().find(|outer| outer.relative(&directory.path).is_some()) {
            return Err(format!(
                "the directory {directory} lies in the directory {outer}: give it another path"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str, granted: &str) -> Result<(String, String, String, Mode), String> {
        Directory::parse(path, granted)
            .map(|Directory { path, store, prefix, mode }| (path, store, prefix, mode))
    }

    #[test]
    fn a_directory_is_a_path_a_store_a_prefix_and_a_mode() {
        let of = |path: &str, store: &str, prefix: &str, mode| {
            Ok((path.into(), store.into(), prefix.into(), mode))
        };
        assert_eq!(parsed("/in", "input"), of("in", "input", "", Mode::ReadOnly));
        assert_eq!(parsed("/in/", "input:rw"), of("in", "input", "", Mode::ReadWrite));
        assert_eq!(parsed("/", "input:a/b/:wo"), of("", "input", "a/b/", Mode::WriteOnly));
        assert_eq!(parsed("/a/b", "input:a:b/"), of("a/b", "input", "a:b/", Mode::ReadOnly));
        for (path, granted, said) in [
            ("in", "input", "does not begin with a slash"),
            ("/a//b", "input", "an empty segment"),
            ("/a/../b", "input", "`..`"),
            ("/a\n", "input", "a control character"),
            ("/a", "input:../x/", "`..` segment"),
            ("/a", "input:rx", "is no mode"),
            ("/a", ":ro", "no store is named"),
            ("/message.json", "input", "the description of the message"),
        ] {
            let error = parsed(path, granted).expect_err(said);
            assert!(error.contains(said), "{error}");
        }
        assert!(parsed(&format!("/{}", "x".repeat(1 << 20)), "input").is_err());
    }

    #[test]
    fn a_path_lies_in_a_directory_by_whole_segments() {
        let directory = Directory::parse("/a/b", "s").expect("valid");
        for (path, relative) in
            [("a/b", Some("")), ("a/b/c/d", Some("c/d")), ("a/bc", None), ("a", None), ("", None)]
        {
            assert_eq!(directory.relative(path), relative, "{path}");
        }
        assert_eq!(Directory::parse("/", "s").expect("valid").relative("x"), Some("x"));
    }
}
