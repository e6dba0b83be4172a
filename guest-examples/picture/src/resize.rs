//! Resizes a part of a picture.

use std::borrow::Cow;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x2, U8x3, U8x4};
use fast_image_resize::{MulDiv, PixelTrait, ResizeOptions, Resizer};

use crate::picture::{Layout, Picture};
use crate::refusal::Refusal;

/// Can't be said of a picture that was decoded.
pub(crate) const UNFILLED: Refusal = Refusal::Damaged("picture", "its pixels don't fill it");

/// A rectangle of a picture, in its pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Part {
    fn whole((width, height): (f64, f64)) -> Self {
        Part { left: 0.0, top: 0.0, width, height }
    }
}

/// Returns by how much a decoder has scaled a side: a power of two.
pub(crate) fn scale(full: u32, pixels: u32) -> u32 {
    if full > pixels { full.div_ceil(pixels).next_power_of_two() } else { 1 }
}

impl Picture {
    /// Returns the part of the pixels that the picture covers, in pixels. A decoder that scales by eight makes 107 rows of
    /// 853: the last of them is covered by five eighths, and repeats for the rest what it covers.
    pub(crate) fn covered(&self) -> (f64, f64) {
        let side = |full: u32, pixels: u32| {
            (f64::from(full) / f64::from(scale(full, pixels))).min(f64::from(pixels))
        };
        (side(self.full.0, self.width), side(self.full.1, self.height))
    }

    /// Returns the picture at another size.
    ///
    /// # Errors
    ///
    /// When the pixels don't fill the picture, or the size is zero.
    pub fn resized(mut self, width: u32, height: u32) -> Result<Self, Refusal> {
        let part = Part::whole(self.covered());
        if self.is_part((width, height), part) {
            return Ok(self);
        }
        // Multiplied in place, so that there is no copy of the picture.
        multiply_by_alpha(self.layout, (self.width, self.height), &mut self.pixels)?;
        let size = (self.width, self.height);
        let pixels = resampled(self.layout, size, &self.pixels, part, (width, height))?;
        Ok(Picture { full: (width, height), width, height, pixels, ..self })
    }

    /// Returns a part of the picture at a size, both in the file's order.
    ///
    /// # Errors
    ///
    /// When the pixels don't fill the picture, or the size is zero.
    pub(crate) fn part_resized(&self, part: Part, (width, height): (u32, u32)) -> Result<Self, Refusal> {
        let size = (self.width, self.height);
        let pixels = if self.is_part((width, height), part) {
            self.rows(part.left as usize, part.top as usize, width as usize, height as usize)?
        } else {
            let mut pixels = Cow::Borrowed(self.pixels.as_slice());
            if self.layout.has_alpha() {
                multiply_by_alpha(self.layout, size, pixels.to_mut())?;
            }
            resampled(self.layout, size, &pixels, part, (width, height))?
        };
        let (orientation, colour) = (self.orientation, self.colour.clone());
        Ok(Picture { full: (width, height), width, height, layout: self.layout, pixels, orientation, colour })
    }

    /// Whether a part at a size consists of pixels as they are.
    fn is_part(&self, (width, height): (u32, u32), part: Part) -> bool {
        let starts = [part.left, part.top];
        (f64::from(width), f64::from(height)) == (part.width, part.height)
            && starts.iter().all(|start| start.fract() == 0.0)
    }

    /// Copies a rectangle of pixels.
    fn rows(&self, left: usize, top: usize, width: usize, height: usize) -> Result<Vec<u8>, Refusal> {
        let channels = self.layout.channels();
        let mut pixels = Vec::with_capacity(width * height * channels);
        for y in top..top + height {
            let start = (y * self.width as usize + left) * channels;
            pixels.extend_from_slice(self.pixels.get(start..start + width * channels).ok_or(UNFILLED)?);
        }
        Ok(pixels)
    }
}

/// Multiplies colours by alpha, so that transparent pixels don't bleed their colour into their neighbours.
fn multiply_by_alpha(layout: Layout, size: (u32, u32), pixels: &mut [u8]) -> Result<(), Refusal> {
    fn multiply<P: PixelTrait>((width, height): (u32, u32), pixels: &mut [u8]) -> Result<(), Refusal> {
        let mut image = TypedImage::<P>::from_buffer(width, height, pixels).map_err(|_| UNFILLED)?;
        MulDiv::new().multiply_alpha_inplace_typed(&mut image).map_err(|_| UNFILLED)
    }
    match layout {
        Layout::GrayAlpha => multiply::<U8x2>(size, pixels),
        Layout::Rgba => multiply::<U8x4>(size, pixels),
        Layout::Gray | Layout::Rgb | Layout::Cmyk => Ok(()),
    }
}

/// Resizes a part of pixels that are multiplied by alpha, and returns them without.
fn resampled(
    layout: Layout,
    size: (u32, u32),
    pixels: &[u8],
    part: Part,
    to: (u32, u32),
) -> Result<Vec<u8>, Refusal> {
    match layout {
        Layout::Gray => resampled_as::<U8>(layout, size, pixels, part, to),
        Layout::GrayAlpha => resampled_as::<U8x2>(layout, size, pixels, part, to),
        Layout::Rgb => resampled_as::<U8x3>(layout, size, pixels, part, to),
        Layout::Rgba | Layout::Cmyk => resampled_as::<U8x4>(layout, size, pixels, part, to),
    }
}

/// Resizes pixels as `P`, which is compiled once for each layout. If the resizer chose the pixel type at run time, it
/// would bring in all thirteen types that it knows, and double the size of the component.
fn resampled_as<P: PixelTrait>(
    layout: Layout,
    (width, height): (u32, u32),
    pixels: &[u8],
    part: Part,
    to: (u32, u32),
) -> Result<Vec<u8>, Refusal> {
    let from = TypedImageRef::<P>::from_buffer(width, height, pixels).map_err(|_| UNFILLED)?;
    let bytes = layout.bytes(to)?;
    let mut result = vec![0; bytes];
    let mut image = TypedImage::<P>::from_buffer(to.0, to.1, &mut result).map_err(|_| UNFILLED)?;
    resample(&from, &mut image, part, layout.has_alpha())?;
    Ok(result)
}

/// Resizes a part of `from`, which is multiplied by alpha, to all of `to`, and divides that by alpha.
pub(crate) fn resample<P: PixelTrait>(
    from: &TypedImageRef<'_, P>,
    to: &mut TypedImage<'_, P>,
    part: Part,
    has_alpha: bool,
) -> Result<(), Refusal> {
    let options = ResizeOptions::new().use_alpha(false).crop(part.left, part.top, part.width, part.height);
    Resizer::new().resize_typed(from, to, &options).map_err(|_| UNFILLED)?;
    if has_alpha {
        MulDiv::new().divide_alpha_inplace_typed(to).map_err(|_| UNFILLED)?;
    }
    Ok(())
}
