//! Lays pictures on a background. The pixels are in sRGB.

use crate::picture::{Layout, Picture};
use crate::refusal::Refusal;

impl Picture {
    /// Lays the picture on a colour: red, green, blue and alpha in sRGB. The picture is in sRGB afterwards, and has
    /// transparency only if the colour has.
    pub fn on(self, background: [u8; 4]) -> Self {
        let picture = self.in_srgb();
        if !picture.layout.has_alpha() {
            return picture;
        }
        let layout = layout_on(picture.layout, background);
        let pixels = picture.pixels.chunks_exact(picture.layout.channels());
        let mut laid = Vec::with_capacity(pixels.len() * layout.channels());
        for pixel in pixels {
            push(&mut laid, layout, over(rgba(picture.layout, pixel), background));
        }
        Picture { layout, pixels: laid, ..picture }
    }

    /// Puts the picture on a larger canvas of a colour, which isn't seen through the picture.
    pub(crate) fn framed(
        self,
        (width, height): (u32, u32),
        (left, top): (u32, u32),
        background: [u8; 4],
    ) -> Result<Self, Refusal> {
        let picture = self.in_srgb();
        let mut layout = layout_on(picture.layout, background);
        if picture.layout.has_alpha() {
            layout = layout.with_alpha();
        }
        let channels = layout.channels();
        let mut colour = Vec::with_capacity(channels);
        push(&mut colour, layout, background);
        let mut pixels = Vec::with_capacity(layout.bytes((width, height))?);
        let blank = |pixels: &mut Vec<u8>, count: usize| {
            for _ in 0..count {
                pixels.extend_from_slice(&colour);
            }
        };
        blank(&mut pixels, width as usize * top as usize);
        let row_bytes = (picture.width as usize * picture.layout.channels()).max(1);
        for row in picture.pixels.chunks_exact(row_bytes) {
            blank(&mut pixels, left as usize);
            for pixel in row.chunks_exact(picture.layout.channels()) {
                push(&mut pixels, layout, rgba(picture.layout, pixel));
            }
            blank(&mut pixels, (width - left - picture.width) as usize);
        }
        blank(&mut pixels, width as usize * (height - top - picture.height) as usize);
        Ok(Picture { full: (width, height), width, height, layout, pixels, ..picture })
    }
}

/// Returns the layout for a picture on a background: in colour if either is, and with transparency if the background has.
fn layout_on(layout: Layout, [red, green, blue, alpha]: [u8; 4]) -> Layout {
    let is_gray = matches!(layout, Layout::Gray | Layout::GrayAlpha) && red == green && green == blue;
    match (is_gray, alpha) {
        (true, 255) => Layout::Gray,
        (true, _) => Layout::GrayAlpha,
        (false, 255) => Layout::Rgb,
        (false, _) => Layout::Rgba,
    }
}

/// Returns a pixel's red, green, blue and alpha.
pub(crate) fn rgba(layout: Layout, pixel: &[u8]) -> [u8; 4] {
    match (layout, pixel) {
        (Layout::Gray, &[gray]) => [gray, gray, gray, 255],
        (Layout::GrayAlpha, &[gray, alpha]) => [gray, gray, gray, alpha],
        (Layout::Rgba, &[red, green, blue, alpha]) => [red, green, blue, alpha],
        (_, &[red, green, blue, ..]) => [red, green, blue, 255],
        _ => [0; 4],
    }
}

fn push(pixels: &mut Vec<u8>, layout: Layout, [red, green, blue, alpha]: [u8; 4]) {
    match layout {
        Layout::Gray => pixels.push(green),
        Layout::GrayAlpha => pixels.extend([green, alpha]),
        Layout::Rgb | Layout::Cmyk => pixels.extend([red, green, blue]),
        Layout::Rgba => pixels.extend([red, green, blue, alpha]),
    }
}

/// Lays a pixel over another. Source: Porter and Duff, "Compositing Digital Images", 1984, "over".
fn over(above: [u8; 4], below: [u8; 4]) -> [u8; 4] {
    let (alpha, below_alpha) = (u32::from(above[3]), u32::from(below[3]));
    // Both weights, and their sum, in 255ths of 255ths.
    let (weight, below_weight) = (alpha * 255, below_alpha * (255 - alpha));
    let sum = weight + below_weight;
    let mix = |channel: usize| {
        let light = u32::from(above[channel]) * weight + u32::from(below[channel]) * below_weight;
        (light + sum / 2).checked_div(sum).unwrap_or(0) as u8
    };
    [mix(0), mix(1), mix(2), ((sum + 127) / 255) as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_lies_over_another() {
        assert_eq!(over([10, 20, 30, 255], [1, 2, 3, 4]), [10, 20, 30, 255]);
        assert_eq!(over([10, 20, 30, 0], [200, 150, 100, 255]), [200, 150, 100, 255]);
        assert_eq!(over([0, 0, 0, 128], [255, 255, 255, 255]), [127, 127, 127, 255]);
        // Half of a half: three quarters of alpha, of which the upper has two thirds.
        assert_eq!(over([255, 0, 0, 128], [0, 0, 255, 128]), [170, 0, 85, 192]);
        assert_eq!(over([9; 4].map(|_| 0), [9, 9, 9, 0]), [0; 4]);
    }
}
