//! Log lines of the task. [`error!`](crate::error), [`warn!`](crate::warn), [`info!`](crate::info) and
//! [`debug!`](crate::debug) take the same arguments as `println!`.
//!
//! A line goes to standard error. Its first word is the level, from which the host knows the level. The host bounds how
//! much one task may log.

use std::fmt::{Arguments, Write as _};
use std::io::Write as _;

/// The severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A problem that somebody has to act on.
    Error,
    /// A problem that the guest recovered from.
    Warn,
    /// An ordinary event.
    Info,
    /// Details that help to find a fault.
    Debug,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Error => "ERROR",
            Level::Warn => "WARN",
            Level::Info => "INFO",
            Level::Debug => "DEBUG",
        }
    }
}

/// Writes one log line for each line of the text. The macros call this function.
pub fn write(level: Level, text: Arguments<'_>) {
    // All lines in one write: standard error isn't buffered, so every write is a call to the host. A log line that
    // can't be written is no reason to fail.
    let _ = std::io::stderr().write_all(lines(level, &text.to_string()).as_bytes());
}

fn lines(level: Level, text: &str) -> String {
    let mut lines = String::with_capacity(text.len() + 8);
    for line in text.split('\n') {
        // Writing to a `String` can't fail.
        let _ = writeln!(lines, "{} {line}", level.word());
    }
    lines
}

/// Logs a problem that somebody has to act on.
#[macro_export]
macro_rules! error {
    ($($text:tt)+) => { $crate::log::write($crate::log::Level::Error, ::core::format_args!($($text)+)) };
}

/// Logs a problem that the guest recovered from.
#[macro_export]
macro_rules! warn {
    ($($text:tt)+) => { $crate::log::write($crate::log::Level::Warn, ::core::format_args!($($text)+)) };
}

/// Logs an ordinary event.
#[macro_export]
macro_rules! info {
    ($($text:tt)+) => { $crate::log::write($crate::log::Level::Info, ::core::format_args!($($text)+)) };
}

/// Logs details that help to find a fault.
#[macro_export]
macro_rules! debug {
    ($($text:tt)+) => { $crate::log::write($crate::log::Level::Debug, ::core::format_args!($($text)+)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_a_text_carries_the_level() {
        assert_eq!(lines(Level::Info, "one"), "INFO one\n");
        assert_eq!(lines(Level::Warn, "one\ntwo"), "WARN one\nWARN two\n");
        assert_eq!(lines(Level::Debug, ""), "DEBUG \n");
    }
}
