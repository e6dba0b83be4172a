//! Why an SVG is refused.

use std::fmt;

/// Why an SVG is refused. Another try would fail for the same reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is, or contains, something that isn't drawn: its name with the article.
    NotSupported(String),
    /// It contradicts the format.
    Damaged(String),
    /// It exceeds a bound: of what, how much it has, and which setting allows how much.
    TooLarge { what: &'static str, found: u64, setting: &'static str, bound: u64 },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotSupported(what) => write!(f, "it is {what}, which is not supported"),
            Refusal::Damaged(what) => write!(f, "it is a damaged SVG: {what}"),
            Refusal::TooLarge { what, found, setting, bound } => {
                write!(f, "it has {found} {what}, and {bound} are allowed by {setting}")
            }
        }
    }
}
