//! Decides which keys a directory can hold.

use wasmrun_runtime::ports::object_store::{MAX_KEY_BYTES, StoreError};

/// The store's own folder. It holds temporary files and the lock, but no objects.
pub(super) const HIDDEN: &str = ".wasmrun";
/// A name in a directory has at most 255 bytes (Linux's `NAME_MAX`).
const MAX_SEGMENT_BYTES: usize = 255;

/// A key that names a place below the store's directory: segments separated by single slashes, none of them `.` or
/// `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Path of the object below the directory.
    path: String,
    /// Number of bytes of the path that come before the key: the prefix of a part of the store.
    before: usize,
}

impl Key {
    /// Parses a key of the part of the store that has this prefix: empty, or ending with a slash.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`], whose text says why the key is refused.
    pub(super) fn parse(prefix: &str, key: &str) -> Result<Self, StoreError> {
        let refuse = |why: &str| {
            let shown: String = key.chars().take(64).collect();
            Err(StoreError::Invalid(format!("the key {shown:?} cannot be used in a directory: {why}")))
        };
        if key.is_empty() {
            return refuse("it is empty");
        }
        if prefix.len() + key.len() > MAX_KEY_BYTES {
            return refuse("it is longer than 1,024 bytes");
        }
        for segment in key.split('/') {
            if let Err(why) = check_segment(segment) {
                return refuse(why);
            }
        }
        if is_hidden(key) {
            return refuse("`.wasmrun` is the store's own");
        }
        Ok(Self { path: format!("{prefix}{key}"), before: prefix.len() })
    }

    /// Returns the key without the prefix of its part of the store, as callers know it.
    pub(super) fn as_str(&self) -> &str {
        &self.path[self.before..]
    }

    /// Returns the directories that lead to the object, and the object's name in the last of them.
    pub(super) fn split(&self) -> (Vec<&str>, &str) {
        let mut segments: Vec<_> = self.path.split('/').collect();
        let name = segments.pop().unwrap_or_default();
        (segments, name)
    }
}

/// Reports whether a directory can hold objects. The directory is given as the beginning of a key: empty, or ending
/// with a slash.
pub(super) fn may_hold_objects(directory: &str) -> bool {
    let Some(path) = directory.strip_suffix('/') else { return directory.is_empty() };
    path.len() < MAX_KEY_BYTES
        && path.split('/').all(|segment| check_segment(segment).is_ok())
        && !is_hidden(path)
}

/// Reports whether the first segment is the store's own folder. Ignores case, as some file systems do.
pub(super) fn is_hidden(path: &str) -> bool {
    path.split('/').next().is_some_and(|first| first.eq_ignore_ascii_case(HIDDEN))
}

fn check_segment(segment: &str) -> Result<(), &'static str> {
    match segment {
        "" => Err("it begins or ends with a slash or has two in a row"),
        "." | ".." => Err("it has `.` or `..` between its slashes"),
        _ if segment.contains('\0') => Err("it has a NUL character"),
        _ if segment.len() > MAX_SEGMENT_BYTES => Err("it has more than 255 bytes between two slashes"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_leave_the_directory_or_have_no_place_in_it_are_refused() {
        let long = "x".repeat(256);
        let many = "x/".repeat(512) + "x";
        for key in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "../a",
            "a/../b",
            "a/./b",
            "a/..",
            "a\0b",
            ".wasmrun",
            ".wasmrun/tmp/x",
            ".WASMRUN/lock",
            &long,
            &format!("a/{long}"),
            &many,
        ] {
            assert!(matches!(Key::parse("", key), Err(StoreError::Invalid(_))), "{key:?}");
        }
    }

    #[test]
    fn ordinary_and_odd_keys_are_accepted() {
        for key in [
            "a",
            "a/b.c",
            "...",
            "a/.wasmrun",
            ".wasmrunner",
            "a\\..\\b",
            "größe 😀",
            "a\nb",
            "-",
            &"x".repeat(255),
        ] {
            assert!(Key::parse("", key).is_ok(), "{key:?}");
        }
        assert_eq!(Key::parse("", "a/b/c").expect("a key").split(), (vec!["a", "b"], "c"));
        let in_part = Key::parse("a/b/", "c/d").expect("a key");
        assert_eq!((in_part.split(), in_part.as_str()), ((vec!["a", "b", "c"], "d"), "c/d"));
    }
}
