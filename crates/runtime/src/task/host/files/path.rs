//! What a path names. A path is resolved without looking at stores: there are no links, and `..` leads no further than to
//! the directory that the path starts from.

use super::types::ErrorCode;
use crate::task::directory::Directory;
use std::sync::Arc;

/// Name of the file that describes a command's message.
pub(crate) const MESSAGE_FILE: &str = "message.json";
/// Maximum number of bytes of a path. A key has fewer.
const MAX_PATH_BYTES: usize = 4 << 10;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A directory that leads to granted ones.
    Above,
    /// The file that describes the message.
    Message,
    /// A path in a granted directory, relative to it.
    In(Arc<Directory>, String),
}

/// Joins a path that a guest gives to that of the directory that it starts from. Neither begins nor ends with a slash
/// afterwards. The second value says whether the path must be a directory.
pub(super) fn join(base: &str, path: &str) -> Result<(String, bool), ErrorCode> {
    if path.len() > MAX_PATH_BYTES {
        return Err(ErrorCode::NameTooLong);
    }
    if path.contains('\0') {
        return Err(ErrorCode::Invalid);
    }
    if path.is_empty() {
        return Err(ErrorCode::NoEntry);
    }
    // As WASI wants it: an absolute path is outside of each directory.
    if path.starts_with('/') {
        return Err(ErrorCode::NotPermitted);
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop().ok_or(ErrorCode::NotPermitted)?;
            }
            segment => segments.push(segment),
        }
    }
    let all = std::iter::once(base).filter(|base| !base.is_empty()).chain(segments);
    let is_directory = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..") || path == ".";
    Ok((all.collect::<Vec<_>>().join("/"), is_directory))
}

/// Returns what a joined path names. `has_message` says whether there is a description of the message.
pub(super) fn place(directories: &[Arc<Directory>], has_message: bool, path: &str) -> Option<Place> {
    if has_message && path == MESSAGE_FILE {
        return Some(Place::Message);
    }
    let inside = directories.iter().find_map(|directory| Some((directory, directory.relative(path)?)));
    if let Some((directory, rest)) = inside {
        return Some(Place::In(directory.clone(), rest.to_owned()));
    }
    let leads = path.is_empty() || names_above(directories, path).next().is_some();
    leads.then_some(Place::Above)
}

/// Returns the names in a directory that leads to granted ones. A name may come several times.
pub(super) fn names_above<'a>(
    directories: &'a [Arc<Directory>],
    path: &str,
) -> impl Iterator<Item = &'a str> {
    directories.iter().filter_map(move |directory| {
        let rest = match path {
            "" => &*directory.path,
            path => directory.path.strip_prefix(path)?.strip_prefix('/')?,
        };
        rest.split('/').next().filter(|name| !name.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directories() -> Vec<Arc<Directory>> {
        let granted = [("/in", "input:ro"), ("/data/a", "input:a/:ro"), ("/data/b", "output:rw")];
        granted.map(|(path, granted)| Arc::new(Directory::parse(path, granted).expect("valid"))).to_vec()
    }

    #[test]
    fn a_path_stays_in_the_directory_that_it_starts_from() {
        for (base, path, joined) in [
            ("", "in/x", "in/x"),
            ("in", "x//./y/", "in/x/y"),
            ("in", "a/../b", "in/b"),
            ("in", ".", "in"),
            ("", "./", ""),
        ] {
            assert_eq!(join(base, path).map(|(path, _)| path), Ok(joined.to_owned()), "{path}");
        }
        for (path, error) in [
            ("..", ErrorCode::NotPermitted),
            ("a/../../b", ErrorCode::NotPermitted),
            ("/in/x", ErrorCode::NotPermitted),
            ("", ErrorCode::NoEntry),
            ("a\0b", ErrorCode::Invalid),
            (&"x/".repeat(1 << 20), ErrorCode::NameTooLong),
        ] {
            assert_eq!(join("in", path).map(|(path, _)| path), Err(error), "{path}");
        }
        assert!(join("", "a/").expect("a path").1 && !join("", "a").expect("a path").1);
    }

    #[test]
    fn a_path_names_a_place_or_nothing() {
        let all = directories();
        let of = |path: &str| place(&all, true, path);
        assert_eq!(of(""), Some(Place::Above));
        assert_eq!(of("data"), Some(Place::Above));
        assert_eq!(of("message.json"), Some(Place::Message));
        assert_eq!(of("data/a/x/y"), Some(Place::In(all[1].clone(), "x/y".into())));
        assert_eq!(of("in"), Some(Place::In(all[0].clone(), String::new())));
        for path in ["x", "dat", "data/c", "inn", "message.json/x"] {
            assert_eq!(of(path), None, "{path}");
        }
        assert_eq!(place(&all, false, "message.json"), None);
        assert_eq!(place(&[], false, ""), Some(Place::Above));
        assert_eq!(names_above(&all, "data").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(names_above(&all, "").collect::<Vec<_>>(), ["in", "data", "data"]);
    }
}
