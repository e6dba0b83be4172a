//! Decodes the pictures of lossy WebP files, which are VP8 key frames, also at a half, a quarter or an eighth of their size.
//!
//! Two thirds of a general decoder's time go to a filter that smooths the edges between blocks. A picture is predicted from
//! samples before that filter, so that a small picture can do without: this crate leaves it out from a quarter down.
//! Pixels are averaged as soon as a macroblock of 16 x 16 is decoded, and only a row of macroblocks is in memory.
//!
//! ```
//! use vp8_scaled::{Error, Header, Options, Scale, decode};
//!
//! # fn thumbnail(chunk: &[u8]) -> Result<(), Error> {
//! // `chunk` is the content of the file's chunk `VP8 `.
//! let header = Header::read(chunk)?;
//! // The smallest scale that is large enough, with a quarter more for sharpness.
//! let scale = Scale::ALL.into_iter().find(|&scale| header.size(scale).0 >= 400);
//! let picture = decode(chunk, &Options { scale: scale.unwrap_or(Scale::Full), ..Options::default() })?;
//! let pixels = picture.to_rgb();
//! # Ok(())
//! # }
//! # assert_eq!(thumbnail(b"no picture"), Err(Error::NotKeyFrame));
//! ```
//!
//! # What it decodes
//!
//! Every key frame of RFC 6386, with any partitions, segments and filters. At full size and at a half, the samples are the
//! ones that the RFC defines, with the loop filter. Frames that need others aren't part of WebP, and neither are chunks of a
//! WebP file: this crate doesn't read the container, lossless pictures, animations or transparency.
//!
//! Where the RFC and libwebp differ, it decodes as libwebp does: a block that consists of coded zeros counts as one with
//! coefficients. Products that don't fit into 16 bits, which no encoder writes, give arbitrary samples.
//!
//! # How far a frame is checked
//!
//! Its code has no redundancy: almost any bytes are a picture. What is checked is that each partition is as long as the
//! header says, and that none ends before its last macroblock. Like libwebp, it allows one byte more to be read than
//! there is.
//!
//! # Limits
//!
//! [`Limits`] bounds pixels and memory. Both are checked before memory is allocated. There is no `unsafe` code.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod bools;
mod decode;
mod error;
mod filter;
mod header;
mod modes;
mod plane;
mod predict;
mod tables;
mod tokens;
mod transform;

pub use decode::{Header, decode};
pub use error::{Error, Result};
pub use plane::{Plane, Planes};

/// The size of the result, relative to the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scale {
    /// An eighth: each pixel is the mean of 8 x 8, without the loop filter.
    Eighth,
    /// A quarter: each pixel is the mean of 4 x 4, without the loop filter.
    Quarter,
    /// Half: each pixel is the mean of 2 x 2, after the loop filter. Color is interpolated before, as at full size.
    Half,
    /// Full size, after the loop filter.
    Full,
}

impl Scale {
    /// All scales, the smallest first.
    pub const ALL: [Scale; 4] = [Scale::Eighth, Scale::Quarter, Scale::Half, Scale::Full];

    pub(crate) fn divisor(self) -> u32 {
        match self {
            Scale::Eighth => 8,
            Scale::Quarter => 4,
            Scale::Half => 2,
            Scale::Full => 1,
        }
    }

    /// Whether the loop filter is applied. At a half, leaving it out cost structural similarity: down to 0.979, compared
    /// with 0.998, for photographs of the lowest qualities. At a quarter it cost 0.003.
    pub(crate) fn is_filtered(self) -> bool {
        self >= Scale::Half
    }
}

/// What to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The size of the result. Full size by default.
    pub scale: Scale,
    /// Bounds.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Options { scale: Scale::Full, limits: Limits::default() }
    }
}

/// Bounds on what a frame may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pixels at full size. No frame has more than 268 million, which is the default.
    pub pixels: u64,
    /// Memory for decoding in bytes: the result counts, the data doesn't. 256 MiB by default.
    pub memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { pixels: 1 << 28, memory_bytes: 256 << 20 }
    }
}
