//! Decodes JPEG files at an eighth, a quarter or half of their size, without decoding what that size doesn't need.
//!
//! A JPEG picture consists of blocks of 8 x 8 samples. For a picture at an eighth, each block's mean is enough; at a
//! quarter or half, a corner of 2 x 2 or 4 x 4 of its 64 coefficients. Most of a file is the other coefficients. This
//! crate passes over several of them with one look into a table, and in progressive files leaves out whole scans.
//!
//! ```
//! use jpeg_scaled::{Error, Header, Options, Scale, decode};
//!
//! # fn thumbnail(file: &[u8]) -> Result<(), Error> {
//! let header = Header::read(file)?;
//! // The smallest scale that is large enough.
//! let scale = Scale::ALL.into_iter().find(|&scale| header.size(scale).0 >= 320);
//! if let Some(scale) = scale {
//!     let picture = decode(file, &Options { scale, ..Options::default() })?;
//!     let pixels = picture.to_pixels();
//! }
//! # Ok(())
//! # }
//! # assert_eq!(thumbnail(b"no picture"), Err(Error::NotJpeg));
//! ```
//!
//! # What it decodes
//!
//! Files of ITU-T T.81 (ISO/IEC 10918-1) with Huffman coding and eight bits: baseline, extended sequential and
//! progressive, gray or of three components (YCbCr or RGB), with any sampling factors and restart intervals. Without
//! Huffman tables, sequential files have those of the standard (K.3).
//!
//! [`Error::Unsupported`] names what else there is: lossless, arithmetic and hierarchical coding, twelve bits, CMYK. Try
//! a general decoder on these, and on [`Error::Damaged`] as well: this crate is strict, and takes no file for whole that
//! a general decoder would repair.
//!
//! # How far a file is checked
//!
//! What is decoded is checked as far as coding allows: codes that don't exist, blocks that are too long, restart
//! intervals that are too short, too long or out of order, and the end (EOI). That is all data of a sequential file,
//! although the values of what is passed over are not looked at.
//!
//! Of a progressive file, scans that the scale doesn't need aren't decoded. Checked are: their headers and that they
//! follow each other as the standard says (G.1.1.1); that their data is followed by a marker; that they have as many
//! restart intervals as they should, in order; and that the file has its end. Wrong bits *within* such a scan pass
//! unnoticed, and don't change the result. A file that was cut short has no end, and is refused.
//!
//! # Limits
//!
//! [`Limits`] bounds pixels, memory and scans. They are checked before memory is allocated, and so is that the file
//! isn't too short for the size that its header claims. There is no `unsafe` code.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod bits;
mod decode;
mod error;
mod frame;
mod header;
mod huffman;
mod idct;
mod markers;
mod plane;
mod progressive;
mod scan;
mod sequential;
mod standard;
mod survey;
mod tables;

pub use decode::decode;
pub use error::{Error, Result, Unsupported};
pub use header::Header;
pub use plane::{Plane, Planes};

/// How a picture is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// Baseline sequential (SOF0).
    Baseline,
    /// Extended sequential (SOF1).
    Extended,
    /// Progressive (SOF2).
    Progressive,
}

/// What the components of a picture mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// One component.
    Gray,
    /// Luma and two color differences, as JFIF defines them.
    YCbCr,
    /// Red, green and blue.
    Rgb,
}

/// The size of the result, relative to the file's picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scale {
    /// An eighth: of each block its mean.
    Eighth,
    /// A quarter: of each block 2 x 2 samples.
    Quarter,
    /// Half: of each block 4 x 4 samples.
    Half,
}

impl Scale {
    /// All scales, the smallest first.
    pub const ALL: [Scale; 3] = [Scale::Eighth, Scale::Quarter, Scale::Half];

    /// The side of what a block becomes.
    pub(crate) fn side(self) -> u32 {
        match self {
            Scale::Eighth => 1,
            Scale::Quarter => 2,
            Scale::Half => 4,
        }
    }
}

/// The resolution of planes that the file has at a lower resolution, as color mostly is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chroma {
    /// Their own, scaled as the others are. The fastest, and right for a result that is to be stored with such planes
    /// again.
    Subsampled,
    /// The picture's, where more of their coefficients can give it, as in files with 4:2:0 sampling. This is what
    /// libjpeg-turbo does.
    Full,
}

/// What to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The size of the result. An eighth by default.
    pub scale: Scale,
    /// The resolution of color. [`Chroma::Subsampled`] by default.
    pub chroma: Chroma,
    /// Bounds.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Options { scale: Scale::Eighth, chroma: Chroma::Subsampled, limits: Limits::default() }
    }
}

/// Bounds on what a file may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pixels at full size. 500 million by default.
    pub pixels: u64,
    /// Memory for decoding in bytes: the result counts, the file doesn't. 256 MiB by default.
    pub memory_bytes: u64,
    /// Scans of a progressive file, most of which have about ten. 100 by default.
    pub scans: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { pixels: 500_000_000, memory_bytes: 256 << 20, scans: 100 }
    }
}
