//! Reads the records of usage files.
//!
//! The files may be huge, torn or hostile. Each is read once, line by line, in memory that doesn't grow with it. Lines
//! that aren't records are counted and skipped.
//!
//! | module | owns |
//! |---|---|
//! | `lines` | reads the lines of a file, however long |
//! | [`record`] | parses a line |

mod lines;
pub(crate) mod record;

use self::lines::{Line, Lines, MAX_LINE_BYTES};
use self::record::Record;
use crate::output::failure::Failure;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Maximum length of a text that is kept. Longer texts are cut.
const MAX_TEXT_BYTES: usize = 200;

/// Lines that aren't records: their number, and the first.
#[derive(Debug, Default, Serialize)]
pub(crate) struct BadLines {
    pub(crate) count: u64,
    pub(crate) first: Option<BadLine>,
}

/// A line that isn't a record. `error` may quote the line.
#[derive(Debug, Serialize)]
pub(crate) struct BadLine {
    pub(crate) file: String,
    pub(crate) line: u64,
    pub(crate) error: String,
}

/// Returns the name of a file in errors.
pub(crate) fn shown(path: &Path) -> String {
    if path.as_os_str() == "-" { "standard input".into() } else { path.display().to_string() }
}

/// Reads a file of records, or standard input with `-`, and shows each to `count`. Counts other lines in `bad`.
///
/// # Errors
///
/// Fails if the file can't be read.
pub(crate) fn read(path: &Path, bad: &mut BadLines, count: impl FnMut(&Record<'_>)) -> Result<(), Failure> {
    let shown = shown(path);
    if path.as_os_str() == "-" {
        return read_lines(io::stdin().lock(), &shown, bad, count);
    }
    let file = File::open(path)
        .map_err(|error| Failure::usage(format!("cannot read the usage file {shown}: {error}")))?;
    read_lines(file, &shown, bad, count)
}

pub(crate) fn read_lines(
    input: impl Read,
    shown: &str,
    bad: &mut BadLines,
    mut count: impl FnMut(&Record<'_>),
) -> Result<(), Failure> {
    let mut lines = Lines::new(input);
    let mut number = 0;
    loop {
        let line = lines.next().map_err(|error| Failure::backend(format!("cannot read {shown}: {error}")))?;
        number += 1;
        let error = match line {
            None => return Ok(()),
            Some(Line::Whole(line)) if line.trim_ascii().is_empty() => continue,
            Some(Line::Whole(line)) => match Record::read(line) {
                Ok(record) => {
                    count(&record);
                    continue;
                }
                Err(error) => error,
            },
            Some(Line::TooLong) => format!("it is longer than {MAX_LINE_BYTES} bytes"),
        };
        bad.count += 1;
        bad.first.get_or_insert_with(|| BadLine { file: shown.to_owned(), line: number, error: cut(&error) });
    }
}

/// Returns the error of files without a record.
pub(crate) fn no_record(files: &[PathBuf], bad: &BadLines) -> Failure {
    Failure::usage(match &bad.first {
        Some(BadLine { file, line, error }) => {
            format!("there is no record of a task: line {line} of {file}: {error}")
        }
        None => {
            let files: Vec<_> = files.iter().map(|file| shown(file)).collect();
            format!("there is no record of a task: {} is empty", files.join(" and "))
        }
    })
}

/// Cuts a text to `MAX_TEXT_BYTES`, at a character boundary.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > MAX_TEXT_BYTES) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
