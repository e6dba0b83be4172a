//! Why a picture is refused.

use std::fmt;

/// Why a picture is refused. Another try would fail for the same reason.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The file is of a format, or of a kind of it, that can't be read: its name with the article.
    NotSupported(String),
    /// The file ends before its last pixel: the name of its format.
    CutShort(&'static str),
    /// The file contradicts its format: the format's name, and what is wrong.
    Damaged(&'static str, &'static str),
    /// The picture exceeds a bound.
    TooLarge(Excess),
}

/// By what a picture exceeds its [`Bounds`](crate::Bounds).
#[derive(Debug, PartialEq, Eq)]
pub enum Excess {
    /// The number of pixels.
    Pixels { width: u32, height: u32, bound: u64 },
    /// The longer side.
    Side { width: u32, height: u32, bound: u32 },
    /// How many times the longer side is as long as the shorter one.
    Ratio { width: u32, height: u32, bound: u32 },
    /// The memory that decoding would take, in bytes.
    Memory { needed: u64, bound: u64 },
}

impl Refusal {
    /// A profile is too large to be read. Without it, the colours would be wrong.
    pub(crate) fn large_profile() -> Self {
        Refusal::NotSupported("a picture with a colour profile of more than 4 MiB".to_owned())
    }
}

fn article(format: &str) -> &'static str {
    if format.starts_with(['A', 'E', 'I', 'O']) { "an" } else { "a" }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotSupported(what) => write!(f, "it is {what}, which is not supported"),
            Refusal::CutShort(format) => write!(f, "it is {} {format} that is cut short", article(format)),
            Refusal::Damaged(format, what) => write!(f, "it is a damaged {format}: {what}"),
            Refusal::TooLarge(excess) => excess.fmt(f),
        }
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Excess::Pixels { width, height, bound } => {
                write!(f, "it has {width} x {height} pixels, and {bound} are allowed")
            }
            Excess::Side { width, height, bound } => {
                write!(f, "it has {width} x {height} pixels, and a side of {bound} is allowed")
            }
            Excess::Ratio { width, height, bound } => {
                write!(f, "it has {width} x {height} pixels, and a ratio of {bound} is allowed")
            }
            Excess::Memory { needed, bound } => {
                let (needed, bound) = (needed.div_ceil(1 << 20), bound >> 20);
                write!(f, "it needs {needed} MiB of memory, and {bound} are allowed")
            }
        }
    }
}
