//! Writes PNG.

use png::{BitDepth, ColorType, Compression, Encoder, Filter, Info};

use super::rights::blocks;
use super::{Encoding, TOO_LARGE};
use crate::picture::{Layout, Picture};
use crate::refusal::Refusal;

/// Encodes a picture as PNG.
///
/// # Errors
///
/// When the picture is empty, or too large for the format.
pub fn encode_png(picture: Picture, encoding: &Encoding) -> Result<Vec<u8>, Refusal> {
    let picture = picture.in_srgb();
    let mut file = Vec::new();
    let blocks = blocks(encoding.rights.as_ref());
    let mut info = Info::with_size(picture.width, picture.height);
    info.exif_metadata = blocks.as_ref().map(|blocks| blocks.exif.clone().into());
    let mut encoder = Encoder::with_info(&mut file, info).map_err(|_| TOO_LARGE)?;
    if let Some(blocks) = blocks {
        encoder.add_itxt_chunk("XML:com.adobe.xmp".to_owned(), blocks.xmp).map_err(|_| TOO_LARGE)?;
    }
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
