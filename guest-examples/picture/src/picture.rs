//! A decoded picture, and the steps that change it.

use fast_image_resize::images::TypedImage;
use fast_image_resize::pixels::{U8, U8x2, U8x3, U8x4};
use fast_image_resize::{MulDiv, PixelTrait, ResizeOptions, Resizer};

use crate::colour::Colour;
use crate::orientation::Orientation;
use crate::refusal::Refusal;

/// Can't be said of a picture that was decoded.
const UNFILLED: Refusal = Refusal::Damaged("picture", "its pixels don't fill it");

/// The channels of a pixel, eight bits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Gray,
    GrayAlpha,
    Rgb,
    Rgba,
    /// Amounts of ink.
    Cmyk,
}

impl Layout {
    pub fn channels(self) -> usize {
        match self {
            Layout::Gray => 1,
            Layout::GrayAlpha => 2,
            Layout::Rgb => 3,
            Layout::Rgba | Layout::Cmyk => 4,
        }
    }

    pub fn has_alpha(self) -> bool {
        matches!(self, Layout::GrayAlpha | Layout::Rgba)
    }

    /// What a file that is cut short lacks is transparent, or gray.
    pub(crate) fn missing(self) -> u8 {
        if self.has_alpha() { 0 } else { 128 }
    }
}

/// Turns RGBA into RGB, in place.
pub(crate) fn drop_alpha(pixels: &mut Vec<u8>) {
    let count = pixels.len() / 4;
    for pixel in 0..count {
        pixels.copy_within(pixel * 4..pixel * 4 + 3, pixel * 3);
    }
    pixels.truncate(count * 3);
}

/// A picture in memory. Its pixels are in the file's order: `orientation` says how to turn them.
#[derive(Debug)]
pub struct Picture {
    /// Width and height that the file's header states. The pixels may be fewer, where the decoder has scaled them.
    pub full: (u32, u32),
    pub width: u32,
    pub height: u32,
    pub layout: Layout,
    /// Row by row, without gaps.
    pub pixels: Vec<u8>,
    pub orientation: Orientation,
    pub(crate) colour: Colour,
}

/// Returns the largest size of the same proportions with no side longer than `max_side`. It is never larger than the
/// picture.
pub fn fit(width: u32, height: u32, max_side: u32) -> (u32, u32) {
    let longest = width.max(height);
    if longest <= max_side {
        return (width, height);
    }
    let scaled = |side: u32| {
        let (side, longest, max_side) = (u64::from(side), u64::from(longest), u64::from(max_side));
        ((side * max_side + longest / 2) / longest).max(1) as u32
    };
    (scaled(width), scaled(height))
}

impl Picture {
    /// Returns the picture at the largest size that has its proportions and no side longer than `max_side`. It never
    /// grows. The size follows from the header's, so that it is the same for each format and each decoder's scale.
    ///
    /// # Errors
    ///
    /// When the pixels don't fill the picture.
    pub fn fitted(self, max_side: u32) -> Result<Self, Refusal> {
        let (width, height) = fit(self.full.0, self.full.1, max_side);
        self.resized(width, height)
    }

    /// Returns the part of the pixels that the picture covers, in pixels. A decoder that scales by eight makes 107 rows of
    /// 853: the last of them is covered by five eighths, and repeats for the rest what it covers.
    fn covered(&self) -> (f64, f64) {
        let side = |full: u32, pixels: u32| {
            let scale = if full > pixels { full.div_ceil(pixels).next_power_of_two() } else { 1 };
            (f64::from(full) / f64::from(scale)).min(f64::from(pixels))
        };
        (side(self.full.0, self.width), side(self.full.1, self.height))
    }

    /// Returns the picture at another size.
    ///
    /// # Errors
    ///
    /// When the pixels don't fill the picture, or the size is zero.
    pub fn resized(self, width: u32, height: u32) -> Result<Self, Refusal> {
        let whole = (f64::from(self.width), f64::from(self.height));
        if (width, height) == (self.width, self.height) && self.covered() == whole {
            return Ok(self);
        }
        match self.layout {
            Layout::Gray => self.resized_as::<U8>(width, height),
            Layout::GrayAlpha => self.resized_as::<U8x2>(width, height),
            Layout::Rgb => self.resized_as::<U8x3>(width, height),
            Layout::Rgba | Layout::Cmyk => self.resized_as::<U8x4>(width, height),
        }
    }

    /// Resizes the pixels as `P`, which is compiled once for each layout. If the resizer chose the pixel type at run
    /// time, it would bring in all thirteen types that it knows, and double the size of the component.
    fn resized_as<P: PixelTrait>(mut self, width: u32, height: u32) -> Result<Self, Refusal> {
        let (covered_width, covered_height) = self.covered();
        let mut pixels = vec![0; width as usize * height as usize * self.layout.channels()];
        let mut from =
            TypedImage::<P>::from_buffer(self.width, self.height, &mut self.pixels).map_err(|_| UNFILLED)?;
        let mut to = TypedImage::<P>::from_buffer(width, height, &mut pixels).map_err(|_| UNFILLED)?;
        // Transparent pixels must not bleed their colour into their neighbours. Alpha is multiplied in place, as the
        // resizer itself would copy the picture for that.
        let alpha = MulDiv::new();
        if self.layout.has_alpha() {
            alpha.multiply_alpha_inplace_typed(&mut from).map_err(|_| UNFILLED)?;
        }
        let options = ResizeOptions::new().use_alpha(false).crop(0.0, 0.0, covered_width, covered_height);
        Resizer::new().resize_typed(&from, &mut to, &options).map_err(|_| UNFILLED)?;
        if self.layout.has_alpha() {
            alpha.divide_alpha_inplace_typed(&mut to).map_err(|_| UNFILLED)?;
        }
        Ok(Picture { full: (width, height), width, height, pixels, ..self })
    }

    /// Turns the pixels as `orientation` says.
    pub fn upright(self) -> Self {
        let Orientation(orientation) = self.orientation;
        if self.orientation == Orientation::UPRIGHT {
            return self;
        }
        let (width, height) = (self.width as usize, self.height as usize);
        let (turned_width, turned_height) = if orientation >= 5 { (height, width) } else { (width, height) };
        let channels = self.layout.channels();
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for y in 0..turned_height {
            for x in 0..turned_width {
                // The place in the file of the pixel that belongs here.
                let (from_x, from_y) = match orientation {
                    2 => (width - 1 - x, y),
                    3 => (width - 1 - x, height - 1 - y),
                    4 => (x, height - 1 - y),
                    5 => (y, x),
                    6 => (y, height - 1 - x),
                    7 => (width - 1 - y, height - 1 - x),
                    _ => (width - 1 - y, x),
                };
                let start = (from_y * width + from_x) * channels;
                pixels.extend_from_slice(&self.pixels[start..start + channels]);
            }
        }
        let (full_width, full_height) = self.full;
        Picture {
            full: if orientation >= 5 { (full_height, full_width) } else { self.full },
            width: turned_width as u32,
            height: turned_height as u32,
            pixels,
            orientation: Orientation::UPRIGHT,
            ..self
        }
    }

    /// Lays the picture on white, for a format without transparency.
    pub fn on_white(self) -> Self {
        let layout = match self.layout {
            Layout::Gray | Layout::Rgb | Layout::Cmyk => return self,
            Layout::GrayAlpha => Layout::Gray,
            Layout::Rgba => Layout::Rgb,
        };
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for pixel in self.pixels.chunks_exact(self.layout.channels()) {
            if let Some((&alpha, colours)) = pixel.split_last() {
                let alpha = u32::from(alpha);
                let blend =
                    |colour: &u8| ((u32::from(*colour) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
                pixels.extend(colours.iter().map(blend));
            }
        }
        Picture { layout, pixels, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(width: u32, height: u32, pixels: &[u8], orientation: u8) -> Picture {
        Picture {
            full: (width, height),
            width,
            height,
            layout: Layout::Gray,
            pixels: pixels.to_vec(),
            orientation: Orientation(orientation),
            colour: Colour::Standard,
        }
    }

    #[test]
    fn a_thumbnail_keeps_the_proportions_and_never_grows() {
        assert_eq!(fit(4000, 3000, 320), (320, 240));
        assert_eq!(fit(3000, 4000, 320), (240, 320));
        assert_eq!(fit(100, 50, 320), (100, 50));
        assert_eq!(fit(320, 320, 320), (320, 320));
        assert_eq!(fit(65_535, 1, 320), (320, 1));
        assert_eq!(fit(u32::MAX, u32::MAX, 1), (1, 1));
    }

    #[test]
    fn all_eight_orientations_show_the_same_picture() {
        // The picture is
        //   1 2 3
        //   4 5 6
        // and this is how a camera stores it, held in each of the eight ways.
        let stored: [(u32, u32, [u8; 6]); 8] = [
            (3, 2, [1, 2, 3, 4, 5, 6]),
            (3, 2, [3, 2, 1, 6, 5, 4]),
            (3, 2, [6, 5, 4, 3, 2, 1]),
            (3, 2, [4, 5, 6, 1, 2, 3]),
            (2, 3, [1, 4, 2, 5, 3, 6]),
            (2, 3, [3, 6, 2, 5, 1, 4]),
            (2, 3, [6, 3, 5, 2, 4, 1]),
            (2, 3, [4, 1, 5, 2, 6, 3]),
        ];
        for (orientation, (width, height, pixels)) in (1..).zip(stored) {
            let upright = gray(width, height, &pixels, orientation).upright();
            assert_eq!((upright.width, upright.height), (3, 2), "orientation {orientation}");
            assert_eq!(upright.pixels, [1, 2, 3, 4, 5, 6], "orientation {orientation}");
        }
    }

    #[test]
    fn transparency_becomes_white() {
        let picture = Picture { layout: Layout::Rgba, ..gray(2, 1, &[10, 20, 30, 0, 10, 20, 30, 255], 1) };
        let flat = picture.on_white();
        assert_eq!(
            (flat.layout, flat.pixels.as_slice()),
            (Layout::Rgb, [255, 255, 255, 10, 20, 30].as_slice())
        );
    }

    #[test]
    fn a_transparent_pixel_does_not_bleed_its_colour() {
        // Half opaque white, half transparent black: every visible trace of the result is white.
        let row = [255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0];
        let picture = Picture { layout: Layout::Rgba, ..gray(4, 4, &row.repeat(4), 1) };
        let resized = picture.resized(2, 2).expect("the sizes are valid");
        for pixel in resized.pixels.chunks_exact(4) {
            assert!(pixel[3] < 16 || pixel[..3].iter().all(|&colour| colour > 250), "{pixel:?}");
        }
    }
}
