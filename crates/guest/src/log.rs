//! Log lines of the task: [`error!`](crate::error), [`warn!`](crate::warn), [`info!`](crate::info) and
//! [`debug!`](crate::debug) take what `println!` takes.
//!
//! A line goes to standard error with its level as the first word, by which the host knows it. The host bounds how much
//! one task may log.

use std::fmt::{Arguments, Write as _};
use std::io::Write as _;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Somebody has to act.
    Error,
    /// Something went wrong and was made good.
    Warn,
    /// What happened.
    Info,
    /// For those who look for a fault.
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

/// Writes one log line, or one for each line of the text. What the macros call.
pub fn write(level: Level, text: Arguments<'_>) {
    // In one piece: standard error isn't buffered, and every piece would be a call to the host.
    // A log that can't be written is no reason to fail.
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

/// Logs that somebody has to act.
#[macro_export]
macro_rules! error {
    ($($text:tt)+) => { $crate::log::write($crate::log::Level::Error, ::core::format_args!($($text)+)) };
}

/// Logs that something went wrong and was made good.
#[macro_export]
macro_rules! warn {
    ($($text:tt)+) => { $crate::log::write($crate::log::Level::Warn, ::core::format_args!($($text)+)) };
}

/// Logs what happened.
#[macro_export]
macro_rules! info {
    ($($text:tt)+) => { $crate::log::write($crate::log::Level::Info, ::core::format_args!($($text)+)) };
}

/// Logs what helps to find a fault.
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
