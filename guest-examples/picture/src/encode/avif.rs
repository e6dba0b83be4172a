//! Writes AVIF, at the encoder's highest speed: at its other speeds a picture of 1,280 pixels takes two seconds and more.

use imgref::Img;
use ravif::{BitDepth, EncodedImage, Encoder};
use rgb::{RGB8, RGBA8};

use super::rights::blocks;
use super::{Encoding, TOO_LARGE};
use crate::background::rgba;
use crate::picture::Picture;
use crate::refusal::Refusal;

/// From 1, slowest, to 10.
const SPEED: u8 = 10;

/// Encodes a picture as AVIF. Of the rights it writes EXIF only.
///
/// # Errors
///
/// When the picture is empty, or too large for the format.
pub fn encode_avif(picture: Picture, encoding: &Encoding) -> Result<Vec<u8>, Refusal> {
    let picture = picture.in_srgb();
    let quality = f32::from(encoding.quality.clamp(1, 100));
    let mut encoder = Encoder::new()
        .with_quality(quality)
        .with_alpha_quality(quality)
        .with_speed(SPEED)
        // Ten bits take as long and half as much memory again, for files of the same size.
        .with_bit_depth(BitDepth::Eight)
        .with_num_threads(Some(1));
    if let Some(exif) = blocks(encoding.rights.as_ref()).map(|blocks| blocks.exif) {
        encoder = encoder.with_exif(exif);
    }
    let (width, height, layout) = (picture.width as usize, picture.height as usize, picture.layout);
    if picture.pixels.is_empty() || picture.width.max(picture.height) > super::Format::Avif.max_side() {
        return Err(TOO_LARGE);
    }
    let pixels = picture.pixels.chunks_exact(layout.channels()).map(|pixel| rgba(layout, pixel));
    let encoded = if layout.has_alpha() {
        let pixels: Vec<RGBA8> = pixels.map(RGBA8::from).collect();
        encoder.encode_rgba(Img::new(pixels.as_slice(), width, height))
    } else {
        let pixels: Vec<RGB8> = pixels.map(|[red, green, blue, _]| RGB8::new(red, green, blue)).collect();
        encoder.encode_rgb(Img::new(pixels.as_slice(), width, height))
    };
    let EncodedImage { avif_file, .. } = encoded.map_err(|_| TOO_LARGE)?;
    Ok(avif_file)
}
