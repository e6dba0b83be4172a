//! Encodes a picture as a file.

use image_webp::WebPEncoder;
use jpeg_encoder::Encoder;

use crate::picture::{Layout, Picture};
use crate::refusal::Refusal;

/// The format of a file to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JPEG without transparency.
    Jpeg,
    /// Lossless: there is no encoder for lossy WebP in Rust.
    WebP,
}

impl Format {
    /// Returns the end of a file name, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Jpeg => "jpg",
            Format::WebP => "webp",
        }
    }

    /// Returns the media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Jpeg => "image/jpeg",
            Format::WebP => "image/webp",
        }
    }
}

/// Says so of sizes that no setting should allow.
const TOO_LARGE: Refusal = Refusal::Damaged("picture", "it is empty, or too large for the format to write");

/// Encodes a picture as a file, in sRGB and without metadata. `quality`, 1 to 100, is that of a JPEG.
///
/// # Errors
///
/// When the picture is empty, or too large for the format.
pub fn encode(picture: Picture, format: Format, quality: u8) -> Result<Vec<u8>, Refusal> {
    let picture = picture.in_srgb();
    match format {
        Format::Jpeg => encode_jpeg(picture.on_white(), quality),
        Format::WebP => encode_webp(picture),
    }
}

fn encode_jpeg(picture: Picture, quality: u8) -> Result<Vec<u8>, Refusal> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, quality);
    // Two passes instead of one make the file a tenth smaller, and a thumbnail encodes quickly.
    encoder.set_optimized_huffman_tables(true);
    let color_type = match picture.layout {
        Layout::Gray | Layout::GrayAlpha => jpeg_encoder::ColorType::Luma,
        Layout::Rgb | Layout::Cmyk => jpeg_encoder::ColorType::Rgb,
        Layout::Rgba => jpeg_encoder::ColorType::Rgba,
    };
    let (Ok(width), Ok(height)) = (picture.width.try_into(), picture.height.try_into()) else {
        return Err(TOO_LARGE);
    };
    encoder.encode(&picture.pixels, width, height, color_type).map_err(|_| TOO_LARGE)?;
    Ok(file)
}

fn encode_webp(picture: Picture) -> Result<Vec<u8>, Refusal> {
    let mut file = Vec::new();
    let encoder = WebPEncoder::new(&mut file);
    let color_type = match picture.layout {
        Layout::Gray => image_webp::ColorType::L8,
        Layout::GrayAlpha => image_webp::ColorType::La8,
        Layout::Rgb | Layout::Cmyk => image_webp::ColorType::Rgb8,
        Layout::Rgba => image_webp::ColorType::Rgba8,
    };
    encoder.encode(&picture.pixels, picture.width, picture.height, color_type).map_err(|_| TOO_LARGE)?;
    Ok(file)
}
