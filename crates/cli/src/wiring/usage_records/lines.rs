//! Reads the lines of a file in bounded memory, however large the file and its lines are.

use std::io::{self, BufRead, BufReader, Read};

/// Maximum length of a line. A record takes a few hundred bytes, or some thousand with the longest reason.
pub(crate) const MAX_LINE_BYTES: usize = 64 << 10;
/// Length of a line from which the file is no usage file, such as `/dev/zero`, which has no end.
const MAX_SKIPPED_BYTES: usize = 64 << 20;

/// Reads one line at a time.
pub(crate) struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
}

/// A line of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// The line without its line break.
    Whole(&'a [u8]),
    /// The line is longer than [`MAX_LINE_BYTES`].
    TooLong,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(256 << 10, input), line: Vec::new() }
    }

    /// Reads the next line. Returns `None` at the end of the file.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let most = MAX_LINE_BYTES as u64 + 1;
        let read = self.input.by_ref().take(most).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        if self.line.pop_if(|last| *last == b'\n').is_none() && self.line.len() > MAX_LINE_BYTES {
            self.skip_line()?;
            return Ok(Some(Line::TooLong));
        }
        Ok(Some(Line::Whole(&self.line)))
    }

    fn skip_line(&mut self) -> io::Result<()> {
        let mut length = 0usize;
        while length < MAX_SKIPPED_BYTES {
            let some = self.input.fill_buf()?;
            let (skipped, ended) = match some.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (some.len(), some.is_empty()),
            };
            self.input.consume(skipped);
            if ended {
                return Ok(());
            }
            length += skipped;
        }
        let mebibytes = MAX_SKIPPED_BYTES >> 20;
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a line is longer than {mebibytes} MiB: this is no usage file"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(input: &[u8]) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::new(input);
        let mut all = Vec::new();
        while let Some(line) = lines.next().expect("read") {
            all.push(match line {
                Line::Whole(line) => Some(line.to_vec()),
                Line::TooLong => None,
            });
        }
        all
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_nothing_else() {
        let longest = "x".repeat(MAX_LINE_BYTES);
        let too_long = "x".repeat(MAX_LINE_BYTES + 1);
        let huge = "x".repeat(1 << 20);
        let input = format!("{longest}\n{too_long}\na\n{huge}\nb\n{huge}");
        let expected =
            [Some(longest.into_bytes()), None, Some(b"a".to_vec()), None, Some(b"b".to_vec()), None];
        assert_eq!(all(input.as_bytes()), expected);
    }

    #[test]
    fn a_line_without_an_end_is_an_error() {
        let error = Lines::new(io::repeat(0)).next().expect_err("no end");
        assert!(error.to_string().contains("no usage file"), "{error}");
    }

    proptest! {
        #[test]
        fn short_lines_are_those_between_line_breaks(input in "[a\n]{0,40}") {
            let expected: Vec<_> = input.split_terminator('\n').map(|line| Some(line.as_bytes().to_vec())).collect();
            prop_assert_eq!(all(input.as_bytes()), expected);
        }
    }
}
