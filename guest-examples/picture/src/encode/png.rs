//! Writes PNG.

use png::{BitDepth, ColorType, Compression, Encoder, Filter};

use super::{Encoding, TOO_LARGE};
use crate::picture::{Layout, Picture};
use crate::refusal::Refusal;

/// Encodes a picture as PNG.
///
/// # Errors
///
/// When the picture is empty, or too large for the format.
pub fn encode_png(picture: Picture, _encoding: &Encoding) -> Result<Vec<u8>, Refusal> {
    let picture = picture.in_srgb();
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, picture.width, picture.height);
    encoder.set_color(match picture.layout {
        Layout::Gray => ColorType::Grayscale,
        Layout::GrayAlpha => ColorType::GrayscaleAlpha,
        Layout::Rgb | Layout::Cmyk => ColorType::Rgb,
        Layout::Rgba => ColorType::Rgba,
    });
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Balanced);
    encoder.set_filter(Filter::Adaptive);
    let mut writer = encoder.write_header().map_err(|_| TOO_LARGE)?;
    writer.write_image_data(&picture.pixels).map_err(|_| TOO_LARGE)?;
    writer.finish().map_err(|_| TOO_LARGE)?;
    Ok(file)
}
