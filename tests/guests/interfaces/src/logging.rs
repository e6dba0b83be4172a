//! `wasi:logging`.

use crate::bindings::wasi::logging::logging::{self, Level};
use wasmrun_guest::Failure;

pub(crate) fn log(level: &str, context: &str, text: &str) -> Result<(), Failure> {
    let level = match level {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" => Level::Warn,
        "error" => Level::Error,
        _ => Level::Critical,
    };
    // Queues accept no escape characters, and arguments have no line ends.
    let hostile = |text: &str| text.replace("\\n", "\n").replace("\\e", "\u{1b}");
    logging::log(level, &hostile(context), &hostile(text));
    Ok(())
}

/// Logs this many empty lines and one character in one message.
pub(crate) fn lines(number: usize) -> Result<(), Failure> {
    logging::log(Level::Info, "", &("\n".repeat(number) + "x"));
    Ok(())
}

/// Logs a context and a message of these sizes.
pub(crate) fn bytes(context: usize, message: usize) -> Result<(), Failure> {
    logging::log(Level::Info, &"c".repeat(context), &"m".repeat(message));
    Ok(())
}

/// Logs messages of this many line ends without end.
pub(crate) fn endless(bytes: usize) -> Result<(), Failure> {
    let (context, text) = ("c".repeat(1000), "\n".repeat(bytes));
    loop {
        logging::log(Level::Error, &context, &text);
    }
}
