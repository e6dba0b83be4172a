//! Why a frame isn't decoded.

use std::fmt;

/// Shorthand for a result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why a frame isn't decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The data isn't a VP8 key frame: its start code is missing, or it needs other frames.
    NotKeyFrame,
    /// The frame may be in order, but uses a reserved feature.
    Unsupported(&'static str),
    /// The data ends before a partition that its header announces.
    CutShort,
    /// The frame breaks a rule of RFC 6386.
    Damaged(&'static str),
    /// The picture has more pixels than [`Limits::pixels`](crate::Limits::pixels).
    TooManyPixels {
        /// Number of pixels at full size.
        pixels: u64,
        /// The limit.
        limit: u64,
    },
    /// Decoding needs more memory than [`Limits::memory_bytes`](crate::Limits::memory_bytes).
    TooMuchMemory {
        /// Memory for decoding in bytes.
        needed: u64,
        /// The limit.
        limit: u64,
    },
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotKeyFrame => f.write_str("it is not a VP8 key frame"),
            Error::Unsupported(feature) => write!(f, "{feature} is not supported"),
            Error::CutShort => f.write_str("the VP8 frame is cut short"),
            Error::Damaged(why) => write!(f, "the VP8 frame is damaged: {why}"),
            Error::TooManyPixels { pixels, limit } => {
                write!(f, "the VP8 frame has {pixels} pixels, more than the limit of {limit}")
            }
            Error::TooMuchMemory { needed, limit } => {
                write!(
                    f,
                    "decoding the VP8 frame needs {needed} bytes of memory, more than the limit of {limit}"
                )
            }
        }
    }
}
