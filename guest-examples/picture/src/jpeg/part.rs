//! Decodes a JPEG that is a part of another file, at its full size.

use jpeg_decoder::{ColorTransform, Decoder};

use super::FORMAT;
use super::file::File;
use crate::refusal::Refusal;

/// What is in a part.
pub(crate) struct Part {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) channels: usize,
    /// Gray, RGB, or four inks.
    pub(crate) pixels: Vec<u8>,
}

/// Returns the memory that decoding a part takes at most, in bytes: for planes in whole groups of blocks, each of up to
/// 32 x 32 pixels, and for the pixels, or before them for the coefficients of a row of groups, one component's twice.
pub(crate) fn memory(largest: (u32, u32), channels: usize) -> u64 {
    const GROUP: u64 = 32;
    let [width, height] = [largest.0, largest.1].map(|side| u64::from(side).next_multiple_of(GROUP));
    let row = width * GROUP * 2 * (channels as u64 + 1);
    let planes = width.saturating_mul(height).saturating_mul(channels as u64);
    planes.saturating_add(planes.max(row))
}

/// Decodes a JPEG whose components mean what the file says that contains it: with `is_ycbcr` three of them are brightness
/// and two differences, else red, green and blue.
///
/// # Errors
///
/// When it can't be read, or is larger than `largest`, which is what its memory was counted for.
pub(crate) fn decode(content: &[u8], is_ycbcr: bool, largest: (u32, u32)) -> Result<Part, Refusal> {
    const INVALID: Refusal = Refusal::Damaged(FORMAT, "its compressed pixels are invalid");
    let file = File::of(content)?;
    let frame = file.frame.as_ref().ok_or(INVALID)?;
    frame.check()?;
    if frame.is_progressive() {
        return Err(Refusal::NotSupported("a progressive JPEG".to_owned()));
    }
    let channels = frame.layout()?.channels();
    let (width, height) = (u32::from(frame.width), u32::from(frame.height));
    if width > largest.0 || height > largest.1 {
        return Err(INVALID);
    }
    if !file.is_complete() {
        return Err(Refusal::CutShort(FORMAT));
    }
    let (mended, _) = file.mend(content);
    let mut decoder = Decoder::new(mended.as_slice());
    match channels {
        3 if is_ycbcr => decoder.set_color_transform(ColorTransform::YCbCr),
        3 => decoder.set_color_transform(ColorTransform::RGB),
        4 => decoder.set_color_transform(ColorTransform::CMYK),
        _ => {}
    }
    let mut pixels = decoder.decode().map_err(|error| super::refusal(&error))?;
    if pixels.len() != width as usize * height as usize * channels {
        return Err(INVALID);
    }
    if channels == 4 {
        // The decoder turns inks around, as Adobe's programs store them in a file of their own.
        pixels.iter_mut().for_each(|ink| *ink = 255 - *ink);
    }
    Ok(Part { width, height, channels, pixels })
}
