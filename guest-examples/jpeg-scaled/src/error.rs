//! Why a file isn't decoded.

use std::fmt;

/// Shorthand for a result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why a file isn't decoded. [`Error::Unsupported`] and [`Error::Damaged`] suggest another try with a general decoder:
/// it may know the feature, or be more lenient.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The file doesn't begin with a JPEG's first marker, SOI (start of image).
    NotJpeg,
    /// The file may be in order, but uses a feature that this crate doesn't have.
    Unsupported(Unsupported),
    /// The file ends before the marker EOI (end of image), or holds fewer bits than its size needs.
    CutShort {
        /// Length of the file in bytes.
        length: usize,
    },
    /// The file breaks a rule of the standard.
    Damaged {
        /// Offset in bytes. In entropy-coded data it is where decoding failed, usually after the first wrong bit.
        at: usize,
        /// The rule that is broken.
        why: &'static str,
    },
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
    /// The file has more scans than [`Limits::scans`](crate::Limits::scans).
    TooManyScans {
        /// The limit.
        limit: u32,
    },
}

/// A feature that this crate doesn't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsupported {
    /// Lossless coding (SOF3, SOF7, SOF11, SOF15, and JPEG-LS).
    Lossless,
    /// Hierarchical coding (SOF5 to SOF7, SOF13 to SOF15, DHP, EXP).
    Hierarchical,
    /// Arithmetic coding (SOF9 to SOF11, SOF13 to SOF15, DAC).
    Arithmetic,
    /// Samples that don't have eight bits.
    Precision(u8),
    /// Neither one component nor three: four are CMYK or YCCK.
    Components(u8),
    /// A height that follows the first scan (DNL, B.2.5).
    HeightAfterScan,
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotJpeg => f.write_str("it is not a JPEG file"),
            Error::Unsupported(feature) => write!(f, "{feature} is not supported"),
            Error::CutShort { length } => {
                write!(f, "the JPEG file is cut short: it ends after {length} bytes")
            }
            Error::Damaged { at, why } => write!(f, "the JPEG file is damaged at byte {at}: {why}"),
            Error::TooManyPixels { pixels, limit } => {
                write!(f, "the JPEG picture has {pixels} pixels, more than the limit of {limit}")
            }
            Error::TooMuchMemory { needed, limit } => {
                write!(
                    f,
                    "decoding the JPEG picture needs {needed} bytes of memory, more than the limit of {limit}"
                )
            }
            Error::TooManyScans { limit } => {
                write!(f, "the JPEG file has more scans than the limit of {limit}")
            }
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsupported::Lossless => f.write_str("lossless JPEG"),
            Unsupported::Hierarchical => f.write_str("hierarchical JPEG"),
            Unsupported::Arithmetic => f.write_str("arithmetic-coded JPEG"),
            Unsupported::Precision(bits) => write!(f, "{bits}-bit JPEG"),
            Unsupported::Components(4) => f.write_str("CMYK JPEG"),
            Unsupported::Components(count) => write!(f, "JPEG of {count} components"),
            Unsupported::HeightAfterScan => f.write_str("JPEG whose height follows the first scan (DNL)"),
        }
    }
}
