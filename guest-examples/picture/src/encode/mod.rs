//! Encodes a picture as a file, in sRGB and without metadata but what is asked for. A guest that writes one format calls its function, so that
//! the other encoders aren't part of its component.

#[cfg(feature = "avif")]
mod avif;
mod jpeg;
mod png;
mod rights;
mod webp;

#[cfg(feature = "avif")]
pub use avif::encode_avif;
pub use jpeg::encode_jpeg;
pub use png::encode_png;
pub use webp::encode_webp;

use crate::picture::Picture;
use crate::refusal::Refusal;

/// The format of a file to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JPEG without transparency.
    Jpeg,
    /// PNG, lossless.
    Png,
    /// WebP, lossless: no encoder for lossy WebP in Rust holds up.
    WebP,
    /// AVIF, lossy.
    #[cfg(feature = "avif")]
    Avif,
}

impl Format {
    /// Returns the end of a file name, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Jpeg => "jpg",
            Format::Png => "png",
            Format::WebP => "webp",
            #[cfg(feature = "avif")]
            Format::Avif => "avif",
        }
    }

    /// Returns the media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Jpeg => "image/jpeg",
            Format::Png => "image/png",
            Format::WebP => "image/webp",
            #[cfg(feature = "avif")]
            Format::Avif => "image/avif",
        }
    }

    /// Returns the longest side that the format can hold, in pixels.
    pub fn max_side(self) -> u32 {
        match self {
            Format::Jpeg => 65_535,
            Format::Png => i32::MAX as u32,
            Format::WebP => 16_384,
            #[cfg(feature = "avif")]
            Format::Avif => 65_535,
        }
    }

    /// Returns the memory for a pixel of a result, in bytes: resized, turned, converted, and in the encoder's own copies.
    pub(crate) fn bytes_per_pixel(self) -> u64 {
        match self {
            Format::Jpeg | Format::Png | Format::WebP => 16,
            // Measured with rav1e 0.8: 28 with a picture in colour, and another plane for alpha.
            #[cfg(feature = "avif")]
            Format::Avif => 48,
        }
    }
}

/// At which resolution a JPEG stores colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chroma {
    /// At that of brightness (4:4:4).
    Full,
    /// At half of it, across and down (4:2:0).
    Half,
}

/// Who made a picture, and who owns it: the only metadata that a result can have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    pub copyright: Option<String>,
    pub creator: Option<String>,
}

/// How to write a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    pub format: Format,
    /// The quality of a JPEG or AVIF, 1 to 100. The other formats are lossless.
    pub quality: u8,
    /// Whether a JPEG is progressive.
    pub progressive: bool,
    /// At which resolution a JPEG stores colour.
    pub chroma: Chroma,
    /// What to write about the picture's rights.
    pub rights: Option<Rights>,
}

/// Says so of sizes that no setting should allow.
const TOO_LARGE: Refusal = Refusal::Damaged("picture", "it is empty, or too large for the format to write");

/// Encodes a picture as a file of any format.
///
/// # Errors
///
/// When the picture is empty, or too large for the format.
pub fn encode(picture: Picture, encoding: &Encoding) -> Result<Vec<u8>, Refusal> {
    match encoding.format {
        Format::Jpeg => encode_jpeg(picture, encoding),
        Format::Png => encode_png(picture, encoding),
        Format::WebP => encode_webp(picture, encoding),
        #[cfg(feature = "avif")]
        Format::Avif => encode_avif(picture, encoding),
    }
}
