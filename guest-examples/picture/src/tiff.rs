//! Decodes the first picture of a TIFF. Source: TIFF 6.0.

use std::io::Cursor;

use tiff::decoder::{Decoder, Limits};
use tiff::tags::{SampleFormat, Tag};
use tiff::{ColorType, TiffError, TiffUnsupportedError};

use crate::colour::{Colour, MAX_PROFILE_BYTES};
use crate::decode::{Cost, packed};
use crate::orientation::Orientation;
use crate::picture::{Layout, Picture};
use crate::refusal::Refusal;
use crate::target::Target;
use crate::{Bounds, Truncated};

const FORMAT: &str = "TIFF";

pub(crate) fn decode(content: &[u8], target: Target<'_>, bounds: &Bounds) -> Result<Picture, Refusal> {
    let memory = usize::try_from(bounds.memory).unwrap_or(usize::MAX);
    let mut limits = Limits::default();
    limits.decoding_buffer_size = memory;
    limits.intermediate_buffer_size = memory;
    limits.ifd_value_size = MAX_PROFILE_BYTES;
    let mut decoder =
        Decoder::new(Cursor::new(content)).map_err(|error| refusal(&error))?.with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(|error| refusal(&error))?;
    let (layout, bits) = match decoder.colortype().map_err(|error| refusal(&error))? {
        ColorType::Gray(bits @ (1 | 2 | 4 | 8 | 16)) => (Layout::Gray, bits),
        ColorType::Multiband { bit_depth: bits @ (8 | 16), num_samples: 2 } => (Layout::GrayAlpha, bits),
        ColorType::RGB(bits @ (8 | 16)) => (Layout::Rgb, bits),
        ColorType::RGBA(bits @ (8 | 16)) => (Layout::Rgba, bits),
        ColorType::CMYK(bits @ (8 | 16)) => (Layout::Cmyk, bits),
        ColorType::YCbCr(_) => return Err(not_supported("a TIFF in YCbCr")),
        ColorType::Lab(_) => return Err(not_supported("a TIFF in Lab")),
        _ => return Err(not_supported("a TIFF with an unusual number of bits or channels")),
    };
    let channels = layout.channels();
    // Samples as they are in the file, one strip or tile of them, and the result.
    let each = u64::from(bits).div_ceil(8) * 2 + 1;
    let samples = (u64::from(width) * u64::from(height)).saturating_mul(channels as u64);
    Cost::unscaled(FORMAT, (width, height), layout, channels as u64 * each, content).check(target, bounds)?;

    let colour = match decoder.find_tag(Tag::IccProfile) {
        Err(TiffError::LimitsExceeded) => return Err(Refusal::large_profile()),
        Ok(Some(value)) => Colour::of_profile(value.into_u8_vec().ok())?,
        _ => Colour::Standard,
    };
    let mut number = |tag| {
        decoder.find_tag_unsigned_vec::<u32>(tag).ok().flatten().and_then(|values| values.first().copied())
    };
    let orientation = number(Tag::Orientation).and_then(Orientation::of).unwrap_or(Orientation::UPRIGHT);
    let is_multiplied = number(Tag::ExtraSamples) == Some(1);

    let buffer = decoder.image_buffer_layout().map_err(|error| refusal(&error))?;
    if buffer.sample_format != SampleFormat::Uint {
        return Err(not_supported("a TIFF with signed samples or fractions"));
    }
    let missing = layout.missing();
    let mut bytes = vec![missing; buffer.complete_len];
    if let Err(error) = decoder.read_image_bytes(&mut bytes) {
        let refusal = refusal(&error);
        let is_kept = refusal == Refusal::CutShort(FORMAT) && bounds.truncated == Truncated::Keep;
        if !is_kept || bytes.iter().all(|&byte| byte == missing) {
            return Err(refusal);
        }
    }
    let mut pixels = eight_bits(bytes, bits, width as usize, buffer.row_stride.map_or(1, usize::from));
    if buffer.planes > 1 {
        pixels = interleaved(&pixels, buffer.planes);
    }
    if pixels.len() as u64 != samples {
        return Err(Refusal::Damaged(FORMAT, "it holds fewer pixels than its header says"));
    }
    if is_multiplied && layout.has_alpha() {
        divide_by_alpha(&mut pixels, channels);
    }
    Ok(Picture { full: (width, height), width, height, layout, pixels, orientation, colour })
}

/// Converts samples to eight bits. Those of fewer bits are packed, and each row begins a byte.
fn eight_bits(bytes: Vec<u8>, bits: u8, width: usize, row_bytes: usize) -> Vec<u8> {
    match bits {
        8 => bytes,
        16 => bytes.chunks_exact(2).map(|pair| (u16::from_ne_bytes([pair[0], pair[1]]) >> 8) as u8).collect(),
        _ => {
            let largest = (1_u16 << bits) - 1;
            let sample = |row: &[u8], x| (u16::from(packed(row, bits.into(), x)) * 255 / largest) as u8;
            let rows = bytes.chunks_exact(row_bytes);
            let mut samples = Vec::with_capacity(rows.len() * width);
            rows.for_each(|row| samples.extend((0..width).map(|x| sample(row, x))));
            samples
        }
    }
}

/// Puts the samples of each pixel together, which come as a plane for each channel.
fn interleaved(planes: &[u8], count: usize) -> Vec<u8> {
    let plane = planes.len() / count;
    let mut pixels = Vec::with_capacity(planes.len());
    for at in 0..plane {
        pixels.extend((0..count).map(|channel| planes[channel * plane + at]));
    }
    pixels
}

fn divide_by_alpha(pixels: &mut [u8], channels: usize) {
    for pixel in pixels.chunks_exact_mut(channels) {
        if let Some((&mut alpha, colours)) = pixel.split_last_mut() {
            for colour in colours {
                let divided = (u32::from(*colour) * 255 + u32::from(alpha) / 2).checked_div(u32::from(alpha));
                *colour = divided.unwrap_or(0).min(255) as u8;
            }
        }
    }
}

fn not_supported(what: &str) -> Refusal {
    Refusal::NotSupported(what.to_owned())
}

fn refusal(error: &TiffError) -> Refusal {
    match error {
        TiffError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Refusal::CutShort(FORMAT)
        }
        TiffError::IoError(_) => Refusal::Damaged(FORMAT, "its compressed pixels are invalid"),
        TiffError::UnsupportedError(
            TiffUnsupportedError::UnsupportedCompressionMethod(_)
            | TiffUnsupportedError::UnknownCompressionMethod,
        ) => not_supported("a TIFF with an unusual compression"),
        TiffError::UnsupportedError(TiffUnsupportedError::InterpretationWithBits(..)) => {
            not_supported("a TIFF with a palette or unusual colours")
        }
        TiffError::UnsupportedError(_) => not_supported("a TIFF of an unusual kind"),
        _ => Refusal::Damaged(FORMAT, "its directory is invalid"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_become_pixels() {
        assert_eq!(interleaved(&[1, 2, 3, 4, 5, 6], 3), [1, 3, 5, 2, 4, 6]);
    }

    #[test]
    fn samples_of_few_bits_are_spread_and_rows_begin_a_byte() {
        assert_eq!(eight_bits(vec![0b0001_1011, 0b1100_0000, 0, 0], 2, 5, 2)[..6], [0, 85, 170, 255, 255, 0]);
        assert_eq!(eight_bits(vec![0x0f, 0xa0], 4, 1, 1), [0, 170]);
    }
}
