//! Reads files that a user names, up to a maximum size: a path may lead to a device or a pipe that never ends.
//!
//! A file must be a regular one, so that no setting can keep the program from starting or from handling signals. The
//! exception is the configuration, which may come out of a pipe: `--config <(envsubst < wasmrun.toml)`.

use super::text::in_users_words;
use crate::output::failure::Failure;
use bytesize::ByteSize;
use rustix::fs::OFlags;
use serde::de::DeserializeOwned;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Maximum size of a configuration and of a price table.
pub(crate) const MAX_TOML_BYTES: u64 = 1 << 20;

/// Returns the metadata of a regular file without opening it: opening a pipe waits for its other end. `what` names the
/// file in errors: "the component x.wasm".
///
/// # Errors
///
/// The file isn't there, or isn't a regular one.
pub(crate) fn regular(path: &Path, what: &str) -> Result<Metadata, Failure> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(what, &error))?;
    let kind = match metadata.file_type() {
        kind if kind.is_file() => return Ok(metadata),
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(Failure::usage(format!("cannot read {what}: it is {kind}, not a regular file")))
}

/// Reads a regular file of at most `most` bytes. `what` names it in errors.
pub(crate) fn read_file(path: &Path, what: &str, most: u64) -> Result<Vec<u8>, Failure> {
    if regular(path, what)?.len() > most {
        return Err(too_large(what, most));
    }
    // A pipe that has replaced the file meanwhile makes nobody wait.
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path);
    content(file, what, most)
}

/// Reads a regular file of at most `most` bytes as UTF-8 text. `what` names it in errors.
pub(crate) fn read_text(path: &Path, what: &str, most: u64) -> Result<String, Failure> {
    utf8(read_file(path, what, most)?, what)
}

/// Reads at most `most` bytes of UTF-8 text from a file, or from a pipe, for which it may wait forever. `what` names it in
/// errors.
pub(crate) fn read_stream(path: &Path, what: &str, most: u64) -> Result<String, Failure> {
    utf8(content(File::open(path), what, most)?, what)
}

fn content(file: io::Result<File>, what: &str, most: u64) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    let read = file.and_then(|file| file.take(most + 1).read_to_end(&mut content));
    read.map_err(|error| unreadable(what, &error))?;
    // A file may have grown since its size was read.
    if content.len() as u64 > most {
        return Err(too_large(what, most));
    }
    Ok(content)
}

fn utf8(content: Vec<u8>, what: &str) -> Result<String, Failure> {
    String::from_utf8(content)
        .map_err(|_| Failure::usage(format!("cannot read {what}: it is not UTF-8 text")))
}

fn too_large(what: &str, most: u64) -> Failure {
    Failure::usage(format!("cannot use {what}: it is larger than {}", ByteSize(most).display().iec()))
}

fn unreadable(what: &str, error: &io::Error) -> Failure {
    Failure::usage(format!("cannot read {what}: {error}"))
}

/// Parses TOML. An error names `shown`, the line and the wrong part of it.
pub(crate) fn toml_from<T: DeserializeOwned>(text: &str, shown: &str) -> Result<T, Failure> {
    toml::from_str(text).map_err(|error| {
        // The line number, and the wrong part of the line.
        let place = error.span().map_or_else(String::new, |span| {
            let before = text.get(..span.start).unwrap_or_default();
            let part = text.get(span).and_then(|part| part.lines().next()).unwrap_or_default();
            let at = if part.is_empty() { String::new() } else { format!(", at {part:.60}") };
            format!(", line {}{at}", 1 + before.matches('\n').count())
        });
        let what = in_users_words(error.message());
        Failure::usage(format!("in {shown}{place}: {what}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_a_regular_file_is_read_and_nothing_else_is_opened() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        let read = |path: &Path| read_file(path, "the keys", 3).map_err(|failure| failure.to_string());
        fs::write(path("keys"), "abc").expect("written");
        std::os::unix::fs::symlink("keys", path("link")).expect("a link");
        assert_eq!(read(&path("keys")), Ok(b"abc".to_vec()));
        assert_eq!(read(&path("link")), Ok(b"abc".to_vec()));
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
        let _socket = UnixListener::bind(path("socket")).expect("a socket");
        for (path, kind) in [
            (path("pipe"), "a pipe"),
            (path("socket"), "a socket"),
            (path("."), "a directory"),
            ("/dev/zero".into(), "a device"),
        ] {
            assert_eq!(read(&path), Err(format!("cannot read the keys: it is {kind}, not a regular file")));
        }
        assert!(
            read(&path("missing")).is_err_and(|error| error.starts_with("cannot read the keys: No such"))
        );
        fs::write(path("keys"), "abcd").expect("written");
        assert_eq!(read(&path("keys")), Err("cannot use the keys: it is larger than 3 B".to_owned()));
    }
}
