//! Writes lossless WebP.

use image_webp::{ColorType, WebPEncoder};

use super::rights::blocks;
use super::{Encoding, TOO_LARGE};
use crate::picture::{Layout, Picture};
use crate::refusal::Refusal;

/// Encodes a picture as WebP.
///
/// # Errors
///
/// When the picture is empty, or too large for the format.
pub fn encode_webp(picture: Picture, encoding: &Encoding) -> Result<Vec<u8>, Refusal> {
    let picture = picture.in_srgb();
    let mut file = Vec::new();
    let mut encoder = WebPEncoder::new(&mut file);
    if let Some(blocks) = blocks(encoding.rights.as_ref()) {
        encoder.set_exif_metadata(blocks.exif);
        encoder.set_xmp_metadata(blocks.xmp.into_bytes());
    }
    let color_type = match picture.layout {
        Layout::Gray => ColorType::L8,
        Layout::GrayAlpha => ColorType::La8,
        Layout::Rgb | Layout::Cmyk => ColorType::Rgb8,
        Layout::Rgba => ColorType::Rgba8,
    };
    if picture.pixels.is_empty() {
        return Err(TOO_LARGE);
    }
    encoder.encode(&picture.pixels, picture.width, picture.height, color_type).map_err(|_| TOO_LARGE)?;
    Ok(file)
}
