//! A decoded picture, and the steps that change it.

use crate::colour::Colour;
use crate::orientation::Orientation;
use crate::refusal::{Excess, Refusal};

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

    /// Returns the layout that also has transparency.
    pub(crate) fn with_alpha(self) -> Self {
        match self {
            Layout::Gray | Layout::GrayAlpha => Layout::GrayAlpha,
            Layout::Rgb | Layout::Rgba | Layout::Cmyk => Layout::Rgba,
        }
    }

    /// Returns the number of bytes of a picture of this size.
    ///
    /// # Errors
    ///
    /// When they can't be in memory.
    pub(crate) fn bytes(self, (width, height): (u32, u32)) -> Result<usize, Refusal> {
        let pixels = u64::from(width) * u64::from(height);
        let bytes = pixels.saturating_mul(self.channels() as u64);
        isize::try_from(bytes)
            .map(isize::unsigned_abs)
            .map_err(|_| Refusal::TooLarge(Excess::Memory { needed: bytes, bound: isize::MAX as u64 }))
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
#[derive(Clone, Debug)]
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
    /// Returns a picture of red, green, blue and alpha in sRGB, which isn't multiplied. Returns nothing if the pixels don't
    /// fill it.
    pub fn from_rgba(width: u32, height: u32, mut pixels: Vec<u8>) -> Option<Self> {
        let count = (width as usize).checked_mul(height as usize)?.checked_mul(4)?;
        if count == 0 || pixels.len() != count {
            return None;
        }
        let mut layout = Layout::Rgba;
        if pixels.chunks_exact(4).all(|pixel| pixel[3] == 255) {
            layout = Layout::Rgb;
            drop_alpha(&mut pixels);
        }
        let (orientation, colour) = (Orientation::UPRIGHT, Colour::Standard);
        Some(Picture { full: (width, height), width, height, layout, pixels, orientation, colour })
    }

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

    /// Lays the picture on white, for a format without transparency.
    pub fn on_white(self) -> Self {
        self.on([255; 4])
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
