//! Reads files that a user names, up to a maximum size: a path may lead to a device or a pipe that never ends. Resolves
//! the paths of files that this program creates.

use super::text::in_users_words;
use crate::output::failure::Failure;
use bytesize::ByteSize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Maximum size of a configuration and of a price table.
pub(crate) const MAX_TOML_BYTES: u64 = 1 << 20;

/// Reads a file of at most `most` bytes. `what` names it in errors: "the component x.wasm".
pub(crate) fn read_file(path: &Path, what: &str, most: u64) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| Failure::usage(format!("cannot read {what}: {error}"));
    let mut content = Vec::new();
    File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut content)).map_err(failed)?;
    if content.len() as u64 > most {
        let most = ByteSize(most).display().iec();
        return Err(Failure::usage(format!("cannot use {what}: it is larger than {most}")));
    }
    Ok(content)
}

/// Reads a file of at most `most` bytes as UTF-8 text. `what` names it in errors.
pub(crate) fn read_text(path: &Path, what: &str, most: u64) -> Result<String, Failure> {
    String::from_utf8(read_file(path, what, most)?)
        .map_err(|_| Failure::usage(format!("cannot read {what}: it is not UTF-8 text")))
}

/// Returns the path of a file with all links resolved. Before the file is created, it can thus be compared with the
/// directories that guests may write to.
pub(crate) fn resolve(path: &Path) -> io::Result<PathBuf> {
    path.canonicalize().or_else(|error| {
        let parent = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Err(error),
        };
        let name = path.file_name().ok_or(error)?;
        Ok(parent.canonicalize()?.join(name))
    })
}

/// Parses TOML. An error names `shown`, the line and the wrong part of it.
pub(crate) fn toml_from<T: DeserializeOwned>(text: &str, shown: &str) -> Result<T, Failure> {
    toml::from_str(text).map_err(|error| {
        // The line number, and the wrong part of the line.
        let place = error.span().map_or_else(String::new, |span| {
            let before = text.get(..span.start).unwrap_or_default();
            let part = text.get(span).and_then(|part| part.lines().next()).unwrap_or_default();
            format!(", line {}, at {part:.60}", 1 + before.matches('\n').count())
        });
        let what = in_users_words(error.message());
        Failure::usage(format!("in {shown}{place}: {what}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_before_it_exists_with_all_links_resolved() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("there");
        std::fs::create_dir(root.join("real")).expect("a directory");
        std::os::unix::fs::symlink(root.join("real"), root.join("link")).expect("a link");
        assert_eq!(resolve(&root.join("link/new")).expect("found"), root.join("real/new"));
        assert_eq!(resolve(Path::new("new")).expect("found").file_name(), Some("new".as_ref()));
        assert!(resolve(&root.join("missing/new")).is_err());
        assert!(resolve(Path::new("..")).is_ok_and(|path| path.is_dir()));
    }
}
