//! The last words of a guest that failed: the lines of its standard error that say why, without stack traces and what a
//! runtime always adds.
//!
//! The shapes are those of Rust's standard library, of Python (componentize-py 0.25.1), of JavaScript (componentize-js
//! 0.23.0, on StarlingMonkey), of Go 1.27, and of .NET. Text of an unknown shape is kept as it is.

use std::collections::VecDeque;

/// Number of kept lines. A failed assertion in Rust takes three, and one for its place.
const MAX_LINES: usize = 4;
/// Maximum number of characters that are kept of each line.
const MAX_LINE_CHARS: usize = 300;

/// Lines that say nothing about this failure.
const BOILERPLATE: [&str; 5] = [
    "note: run with `RUST_BACKTRACE=",
    "note: Some details are omitted, run with `RUST_BACKTRACE=",
    "Redirecting call to abort() to mozalloc_abort",
    "Python function threw an unexpected exception",
    "During handling of the above exception, another exception occurred:",
];

/// First lines of stack traces whose other lines are indented.
const TRACES: [&str; 3] = ["Traceback (most recent call last):", "Stack:", "stack backtrace:"];

/// The last lines of standard error that say why a guest failed.
#[derive(Debug, Default)]
pub(crate) struct LastWords {
    lines: VecDeque<String>,
    trace: Trace,
}

/// The stack trace that the current line is part of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trace {
    #[default]
    None,
    /// It ends with the next line that isn't indented.
    Indented,
    /// Go's traces name each function on a line that isn't indented. Nothing of interest follows one.
    Goroutine,
}

impl LastWords {
    /// Adds a line, without its end.
    pub(crate) fn add(&mut self, line: &str) {
        let text = line.trim();
        if text.is_empty() || self.is_of_trace(line, text) || is_boilerplate(text) {
            return;
        }
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(text.chars().take(MAX_LINE_CHARS).collect());
    }

    /// Returns the lines, joined into one.
    pub(crate) fn text(&self) -> Option<String> {
        let mut text = String::new();
        for line in &self.lines {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(line);
        }
        (!text.is_empty()).then_some(text)
    }

    fn is_of_trace(&mut self, line: &str, text: &str) -> bool {
        if TRACES.contains(&text) {
            self.trace = Trace::Indented;
            return true;
        }
        if text.starts_with("goroutine ") && text.ends_with("]:") {
            self.trace = Trace::Goroutine;
            return true;
        }
        let is_indented = line.starts_with([' ', '\t']);
        let is_part = match self.trace {
            Trace::None => false,
            Trace::Indented => is_indented,
            Trace::Goroutine => !(text.starts_with("panic: ") || text.starts_with("fatal error: ")),
        };
        if !is_part {
            self.trace = Trace::None;
        }
        // .NET's traces have no first line.
        is_part || is_indented && text.starts_with("at ")
    }
}

fn is_boilerplate(text: &str) -> bool {
    // The Rust program around Python says for each exception that it panicked.
    let is_of_python = text.starts_with("thread '") && text.contains("panicked at runtime/src/lib.rs:");
    is_of_python || BOILERPLATE.iter().any(|start| text.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_words(stderr: &str) -> Option<String> {
        let mut words = LastWords::default();
        stderr.lines().for_each(|line| words.add(line));
        words.text()
    }

    #[test]
    fn the_reason_of_each_language_is_kept_and_its_trace_is_not() {
        let cases = [
            (
                "INFO ready\nTraceback (most recent call last):\n  File \"/0/app.py\", line 5, in handle\n    \
                 table['the missing key']\n    ~~~~~^^^^^^^^^^^^^^^^^^^\nKeyError: 'the missing key'\n\
                 thread '<unnamed>' (1) panicked at runtime/src/lib.rs:1293:29:\n\
                 Python function threw an unexpected exception\n\
                 note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
                "INFO ready KeyError: 'the missing key'",
            ),
            (
                "Traceback (most recent call last):\n  File \"/0/app.py\", line 5, in handle\nKeyError: 'a'\n\n\
                 During handling of the above exception, another exception occurred:\n\n\
                 Traceback (most recent call last):\n  File \"/0/app.py\", line 7, in handle\nValueError: b\n",
                "KeyError: 'a' ValueError: b",
            ),
            (
                "invalid variant tag value `undefined` (received `TypeError: the reason`) specified for `Failure`\n\
                 Stack:\n  export_handler_0_1_0$handle@/tmp/63f1/sources/initializer.js:2588:17\n\
                 Redirecting call to abort() to mozalloc_abort\n",
                "invalid variant tag value `undefined` (received `TypeError: the reason`) specified for `Failure`",
            ),
            (
                "panic: a Go panic\n\ngoroutine 1 [running]:\nmain.handle({0x5a, 0x3})\n\t/guest/main.go:12 +0x3\n\
                 main.exported()\n\t/guest/wit_exports.go:27 +0x3\n",
                "panic: a Go panic",
            ),
            (
                "\nthread '<unnamed>' (1) panicked at src/lib.rs:7:9:\nassertion `left == right` failed: sizes\n  \
                 left: 1\n right: 2\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
                "thread '<unnamed>' (1) panicked at src/lib.rs:7:9: assertion `left == right` failed: sizes left: 1 \
                 right: 2",
            ),
            (
                "thread 'main' panicked at src/lib.rs:7:9:\nno\nstack backtrace:\n   0: rust_begin_unwind\n",
                "thread 'main' panicked at src/lib.rs:7:9: no",
            ),
            (
                "Unhandled exception. System.InvalidOperationException: no\n   at Guest.Handle() in Guest.cs:line 3\n",
                "Unhandled exception. System.InvalidOperationException: no",
            ),
            (
                "Assertion failed: size > 0 (guest.c: handle: 12)\n",
                "Assertion failed: size > 0 (guest.c: handle: 12)",
            ),
        ];
        for (stderr, expected) in cases {
            assert_eq!(last_words(stderr).as_deref(), Some(expected));
        }
    }

    #[test]
    fn traces_without_a_reason_are_no_words() {
        assert_eq!(last_words("Stack:\n  handle@guest.js:1:1\n\n"), None);
        assert_eq!(last_words("goroutine 1 [running]:\nmain.main()\n"), None);
        assert_eq!(last_words(""), None);
    }

    #[test]
    fn what_is_kept_of_endless_output_is_bounded() {
        let words = last_words(&format!("{}\n", "é".repeat(10_000)).repeat(100)).expect("words");
        assert_eq!(words.chars().count(), MAX_LINES * (MAX_LINE_CHARS + 1) - 1);
        let traces = last_words(&"panic: a\ngoroutine 1 [running]:\n".repeat(100)).expect("words");
        assert_eq!(traces, ["panic: a"; MAX_LINES].join(" "));
    }
}
