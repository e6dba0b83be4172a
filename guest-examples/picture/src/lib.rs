//! Decodes, turns, resizes and encodes pictures of unknown origin within bounds. Everything is plain Rust, so the tests run
//! on any machine.

#![forbid(unsafe_code)]

mod decode;
mod encode;
mod jpeg;
mod picture;

pub use decode::decode;
pub use encode::{Format, encode};
pub use picture::{Layout, Orientation, Picture, Refusal, fit};

/// What a picture may cost at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Number of pixels, before any scaling.
    pub pixels: u64,
    /// Memory for the picture, in bytes: the file, its pixels, and the decoder's own memory.
    pub memory: u64,
}

#[cfg(test)]
mod tests;
