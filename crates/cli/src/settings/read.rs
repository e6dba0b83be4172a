//! Reads files that a user names, up to a maximum size: a path may lead to a device or a pipe that never ends.

use super::text::in_users_words;
use crate::output::failure::Failure;
use bytesize::ByteSize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

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
