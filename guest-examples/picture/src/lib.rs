//! Decodes, turns, resizes and encodes pictures of unknown origin within bounds. Everything is plain Rust, so the tests run
//! on any machine.

#![forbid(unsafe_code)]

mod attention;
mod background;
mod bmp;
mod boxes;
mod colour;
mod decode;
mod describe;
mod effects;
mod encode;
mod exif;
mod format;
mod frames;
mod gif;
mod ico;
mod ifd;
mod jpeg;
#[cfg(feature = "jxl")]
mod jxl;
mod light;
mod linear;
mod orientation;
mod picture;
mod png;
mod pnm;
mod qoi;
mod refusal;
mod render;
mod resize;
mod shape;
mod target;
mod thumbhash;
mod tiff;
mod turn;
mod webp;
mod xmp;

pub use decode::decode;
#[cfg(feature = "jxl")]
pub use decode::decode_with_jxl;
pub use describe::{Description, Metadata, metadata};
pub use effects::MAX_SIGMA;
#[cfg(feature = "avif")]
pub use encode::encode_avif;
pub use encode::{Chroma, Encoding, Format, Rights, encode, encode_jpeg, encode_png, encode_webp};
pub use orientation::Orientation;
pub use picture::{Layout, Picture, fit};
pub use refusal::{Excess, Refusal};
pub use shape::{Fit, Gravity, Shape};
pub use target::Target;

/// What a picture may cost at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Number of pixels, before any scaling.
    pub pixels: u64,
    /// Length of the longer side in pixels, before any scaling.
    pub side: u32,
    /// How many times the longer side may be as long as the shorter one.
    pub ratio: u32,
    /// Memory for the picture, in bytes: the file, its pixels, and the decoder's own memory.
    pub memory: u64,
    /// What to do with a file that is cut short.
    pub truncated: Truncated,
}

/// What to do with a file that ends before its last pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncated {
    /// Refuse it.
    Reject,
    /// Take the pixels that are there. The others are gray, or transparent where the file has transparency.
    /// Of an animated WebP nothing can be kept.
    Keep,
}

#[cfg(test)]
mod tests;
