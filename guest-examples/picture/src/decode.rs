//! Decodes a file to a picture. The header shows how much memory decoding takes, before anything is allocated.

use crate::format::Format;
use crate::picture::{Layout, Picture};
use crate::refusal::{Excess, Refusal};
use crate::target::Target;
use crate::{Bounds, Truncated, bmp, gif, ico, jpeg, png, pnm, qoi, tiff, webp};

/// Decodes a file to a picture. Where the format allows, it is scaled down while decoding, to not less than the target needs.
///
/// # Errors
///
/// When the file is no picture that can be read, or exceeds the bounds.
pub fn decode<'a>(
    content: Vec<u8>,
    target: impl Into<Target<'a>>,
    bounds: &Bounds,
) -> Result<Picture, Refusal> {
    let target = target.into();
    match Format::of(&content) {
        Format::Jpeg => jpeg::decode(content, target, bounds),
        Format::Png => png::decode(content, target, bounds),
        Format::WebP => webp::decode(&content, target, bounds),
        Format::Gif => gif::decode(&content, target, bounds),
        Format::Bmp => bmp::decode(&content, target, bounds),
        Format::Pnm => pnm::decode(&content, target, bounds),
        Format::Qoi => qoi::decode(&content, target, bounds),
        Format::Tiff => tiff::decode(&content, target, bounds),
        Format::Ico => ico::decode(&content, target, bounds),
        Format::JpegXl => Err(Refusal::NotSupported("a JPEG XL picture".to_owned())),
        Format::Other(name) => Err(Refusal::NotSupported(name.to_owned())),
    }
}

/// Decodes a file to a picture as [`decode`] does, and JPEG XL too. It is a function of its own because cargo unites the
/// features of all guests that are built together: a guest that doesn't call it doesn't contain that decoder.
///
/// # Errors
///
/// When the file is no picture that can be read, or exceeds the bounds.
#[cfg(feature = "jxl")]
pub fn decode_with_jxl<'a>(
    content: Vec<u8>,
    target: impl Into<Target<'a>>,
    bounds: &Bounds,
) -> Result<Picture, Refusal> {
    match Format::of(&content) {
        Format::JpegXl => crate::jxl::decode(&content, target.into(), bounds),
        _ => decode(content, target, bounds),
    }
}

/// The size of a picture, and the memory for decoding it.
pub(crate) struct Cost {
    /// The picture's format, for messages.
    pub(crate) format: &'static str,
    /// The picture's width and height before any scaling.
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// The number of rows of the decoder's result.
    pub(crate) decoded_rows: u32,
    pub(crate) channels: usize,
    /// Memory for decoding, with the file and the result, in bytes.
    pub(crate) decoding: u64,
}

impl Cost {
    /// The cost of a picture whose decoder doesn't scale, and takes `bytes_per_pixel` in memory.
    pub(crate) fn unscaled(
        format: &'static str,
        (width, height): (u32, u32),
        layout: Layout,
        bytes_per_pixel: u64,
        content: &[u8],
    ) -> Self {
        let pixels = (u64::from(width) * u64::from(height)).saturating_mul(bytes_per_pixel);
        let decoding = pixels.saturating_add(content.len() as u64);
        Cost { format, width, height, decoded_rows: height, channels: layout.channels(), decoding }
    }

    /// Refuses a picture that has more pixels than the bounds allow, or none.
    pub(crate) fn check_size(&self, bounds: &Bounds) -> Result<(), Refusal> {
        let &Cost { format, width, height, .. } = self;
        if width == 0 || height == 0 {
            return Err(Refusal::Damaged(format, "its header says that it has no pixels"));
        }
        if u64::from(width) * u64::from(height) > bounds.pixels {
            return Err(Refusal::TooLarge(Excess::Pixels { width, height, bound: bounds.pixels }));
        }
        if width.max(height) > bounds.side {
            return Err(Refusal::TooLarge(Excess::Side { width, height, bound: bounds.side }));
        }
        if u64::from(width.max(height)) > u64::from(width.min(height)) * u64::from(bounds.ratio) {
            return Err(Refusal::TooLarge(Excess::Ratio { width, height, bound: bounds.ratio }));
        }
        Ok(())
    }

    /// Refuses a picture that exceeds the bounds.
    pub(crate) fn check(&self, target: Target<'_>, bounds: &Bounds) -> Result<(), Refusal> {
        self.check_size(bounds)?;
        let &Cost { width, height, decoded_rows, channels, decoding, .. } = self;
        // A decoder that scales does so in both directions.
        let decoded_columns = (u64::from(width) * u64::from(decoded_rows)).div_ceil(u64::from(height)) as u32;
        let results = target.memory((width, height), (decoded_columns.min(width), decoded_rows), channels);
        let needed = decoding.saturating_add(results);
        if needed > bounds.memory {
            return Err(Refusal::TooLarge(Excess::Memory { needed, bound: bounds.memory }));
        }
        Ok(())
    }
}

/// Fills up the samples of a file that holds fewer than `count`, or refuses it, as the bounds say.
pub(crate) fn filled(
    mut samples: Vec<u8>,
    count: usize,
    layout: Layout,
    format: &'static str,
    bounds: &Bounds,
) -> Result<Vec<u8>, Refusal> {
    if samples.len() < count {
        if bounds.truncated == Truncated::Reject || samples.is_empty() {
            return Err(Refusal::CutShort(format));
        }
        samples.resize(count, layout.missing());
    }
    Ok(samples)
}

/// Returns the sample at `x` of a row in which samples of `bits` bits, at most eight, are packed, the first one highest.
pub(crate) fn packed(row: &[u8], bits: usize, x: usize) -> u8 {
    let each = 8 / bits;
    let shift = 8 - bits * (x % each + 1);
    row[x / each] >> shift & (u8::MAX >> (8 - bits))
}
