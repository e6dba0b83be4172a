//! Paths of files that may not exist yet, and of files with several names.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Maximum number of links that are followed on the way to a missing file: as many as the kernel follows.
const MOST_LINKS: usize = 40;

/// Returns the path of a file with all links resolved. Before the file is created, it can thus be compared with other
/// paths: a link to a missing file resolves to the place at which the file would be created.
///
/// # Errors
///
/// The directory of the file can't be resolved, or links form a circle.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..=MOST_LINKS {
        let error = match path.canonicalize() {
            Ok(path) => return Ok(path),
            Err(error) => error,
        };
        let parent = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Err(error),
        };
        let name = path.file_name().ok_or(error)?;
        let directory = parent.canonicalize()?;
        match fs::read_link(directory.join(name)) {
            // Joining replaces the directory if the target is absolute.
            Ok(target) => path = directory.join(target),
            Err(_) => return Ok(directory.join(name)),
        }
    }
    // What the kernel says of a circle.
    path.canonicalize()
}

/// Returns the file's device and inode without opening the file: closing it again would drop SQLite's locks.
pub(crate) fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Returns whether two paths lead to the same file, or would once it's created. A file may have several names: hard
/// links, which no path shows.
pub fn is_same_file(one: &Path, other: &Path) -> bool {
    one == other
        || match (identity(one), identity(other)) {
            (Ok(one), Ok(other)) => one == other,
            _ => resolve(one).is_ok_and(|one| resolve(other).is_ok_and(|other| one == other)),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("there");
        (directory, root)
    }

    #[test]
    fn a_file_is_found_before_it_exists_with_all_links_resolved() {
        let (_directory, root) = directory();
        fs::create_dir(root.join("real")).expect("a directory");
        symlink(root.join("real"), root.join("link")).expect("a link");
        assert_eq!(resolve(&root.join("link/new")).expect("found"), root.join("real/new"));
        assert_eq!(resolve(Path::new("new")).expect("found").file_name(), Some("new".as_ref()));
        assert!(resolve(&root.join("missing/new")).is_err());
        assert!(resolve(Path::new("..")).is_ok_and(|path| path.is_dir()));
    }

    #[test]
    fn a_link_to_a_missing_file_is_that_file() {
        let (_directory, root) = directory();
        fs::create_dir(root.join("real")).expect("a directory");
        symlink("../real/new", root.join("real/relative")).expect("a link");
        symlink(root.join("real/relative"), root.join("absolute")).expect("a link");
        for link in ["real/relative", "absolute"] {
            assert_eq!(resolve(&root.join(link)).expect("found"), root.join("real/new"));
            assert!(is_same_file(&root.join(link), &root.join("real/new")), "{link}");
            assert!(!is_same_file(&root.join(link), &root.join("new")), "{link}");
        }
        symlink("no/such/file", root.join("nowhere")).expect("a link");
        symlink("circle", root.join("circle")).expect("a link");
        assert!(resolve(&root.join("nowhere")).is_err() && resolve(&root.join("circle")).is_err());
    }

    #[test]
    fn a_file_with_two_names_is_one_file() {
        let (_directory, root) = directory();
        fs::write(root.join("a"), "").expect("written");
        fs::hard_link(root.join("a"), root.join("b")).expect("a link");
        fs::write(root.join("c"), "").expect("written");
        assert!(is_same_file(&root.join("a"), &root.join("b")));
        assert!(!is_same_file(&root.join("a"), &root.join("c")));
        assert!(!is_same_file(&root.join("a"), &root.join("new")));
    }
}
