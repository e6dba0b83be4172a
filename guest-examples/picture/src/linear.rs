//! Resizes amounts of light instead of sRGB's numbers.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{InnerPixel, U16, U16x2, U16x3, U16x4};
use fast_image_resize::{MulDiv, PixelTrait};

use crate::light::Light;
use crate::picture::{Layout, Picture};
use crate::refusal::Refusal;
use crate::resize::{Part, UNFILLED, resample};

impl Picture {
    /// Returns a part of the picture at a size, both in the file's order, in sRGB.
    ///
    /// # Errors
    ///
    /// When the pixels don't fill the picture, or the size is zero.
    pub(crate) fn part_resized_in_light(&self, part: Part, to: (u32, u32)) -> Result<Self, Refusal> {
        let picture = self.clone().in_srgb();
        let pixels = match picture.layout {
            Layout::Gray => resampled_as::<U16>(&picture, part, to),
            Layout::GrayAlpha => resampled_as::<U16x2>(&picture, part, to),
            Layout::Rgb | Layout::Cmyk => resampled_as::<U16x3>(&picture, part, to),
            Layout::Rgba => resampled_as::<U16x4>(&picture, part, to),
        }?;
        Ok(Picture { full: to, width: to.0, height: to.1, pixels, ..picture })
    }
}

fn resampled_as<P: PixelTrait + InnerPixel<Component = u16>>(
    picture: &Picture,
    part: Part,
    to: (u32, u32),
) -> Result<Vec<u8>, Refusal> {
    let light = Light::new();
    let channels = picture.layout.channels();
    let has_alpha = picture.layout.has_alpha();
    let is_alpha = |at: usize| has_alpha && at % channels == channels - 1;

    let mut from = vec![P::default(); picture.pixels.len() / channels];
    for (at, (value, &number)) in P::components_mut(&mut from).iter_mut().zip(&picture.pixels).enumerate() {
        *value = if is_alpha(at) { u16::from(number) * 257 } else { light.of(number) };
    }
    if has_alpha {
        let mut image =
            TypedImage::from_pixels_slice(picture.width, picture.height, &mut from).map_err(|_| UNFILLED)?;
        MulDiv::new().multiply_alpha_inplace_typed(&mut image).map_err(|_| UNFILLED)?;
    }
    let from = TypedImageRef::new(picture.width, picture.height, &from).map_err(|_| UNFILLED)?;

    let bytes = picture.layout.bytes(to)?;
    let mut result = vec![P::default(); bytes / channels];
    let mut image = TypedImage::from_pixels_slice(to.0, to.1, &mut result).map_err(|_| UNFILLED)?;
    resample(&from, &mut image, part, has_alpha)?;
    let number = |(at, &value): (usize, &u16)| {
        if is_alpha(at) { ((u32::from(value) + 128) / 257) as u8 } else { light.number(value) }
    };
    Ok(P::components(&result).iter().enumerate().map(number).collect())
}
