//! Planes of samples, and pixels made of them.

use crate::Color;

/// The samples of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plane {
    /// Width in samples.
    pub width: u32,
    /// Height in samples.
    pub height: u32,
    /// Row by row, without gaps.
    pub samples: Vec<u8>,
}

/// A decoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planes {
    /// Width of the picture in pixels: the header's, scaled and rounded up.
    pub width: u32,
    /// Height of the picture in pixels: the header's, scaled and rounded up.
    pub height: u32,
    /// What the planes mean.
    pub color: Color,
    /// One plane, or three. The first component of a YCbCr picture has the picture's size; the others may be smaller
    /// by the file's sampling.
    pub planes: Vec<Plane>,
}

impl Planes {
    /// Converts the picture to pixels, row by row without gaps: RGB of three bytes each, or gray of one byte each.
    ///
    /// YCbCr is converted as JFIF defines it (ITU-T T.871, 7). Planes that are smaller than the picture are enlarged by
    /// repeating their samples.
    #[must_use]
    pub fn to_pixels(&self) -> Vec<u8> {
        let [first, second, third] = self.planes.as_slice() else {
            return self.planes.first().map_or_else(Vec::new, |plane| plane.samples.clone());
        };
        let mut pixels = vec![0; self.width as usize * self.height as usize * 3];
        let mut rows = [(); 3].map(|()| vec![0; self.width as usize]);
        for (y, line) in pixels.chunks_exact_mut(self.width as usize * 3).enumerate() {
            for (row, plane) in rows.iter_mut().zip([first, second, third]) {
                enlarge(plane, (self.width, self.height), y as u32, row);
            }
            let [a, b, c] = &rows;
            for (((pixel, &a), &b), &c) in line.chunks_exact_mut(3).zip(a).zip(b).zip(c) {
                pixel.copy_from_slice(&match self.color {
                    Color::Rgb => [a, b, c],
                    _ => rgb(a, b, c),
                });
            }
        }
        pixels
    }
}

/// Fills a row of the picture's width with the samples of a plane that lie there.
fn enlarge(plane: &Plane, (width, height): (u32, u32), y: u32, row: &mut [u8]) {
    let from_y = u64::from(y) * u64::from(plane.height) / u64::from(height);
    let start = from_y as usize * plane.width as usize;
    let from = &plane.samples[start..start + plane.width as usize];
    if plane.width == width {
        row.copy_from_slice(from);
    } else if plane.width == width.div_ceil(2) {
        for (pair, &sample) in row.chunks_mut(2).zip(from) {
            pair.fill(sample);
        }
    } else {
        for (x, to) in row.iter_mut().enumerate() {
            *to = from[(x as u64 * u64::from(plane.width) / u64::from(width)) as usize];
        }
    }
}

/// The converter's constants, times 65,536.
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let y = i32::from(y) << 16 | 0x8000;
    let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
    [y + 91_881 * cr, y - 22_554 * cb - 46_802 * cr, y + 116_130 * cb]
        .map(|value| (value >> 16).clamp(0, 255) as u8)
}

/// A plane while it is decoded: of whole MCUs, so that each block has its place.
pub(crate) struct Canvas {
    /// A block becomes `side` x `side` samples.
    pub(crate) side: usize,
    pub(crate) stride: usize,
    pub(crate) samples: Vec<u8>,
}

impl Canvas {
    /// With places for so many blocks, across and down.
    pub(crate) fn new(side: u32, (across, down): (u32, u32)) -> Self {
        let side = side as usize;
        let stride = across as usize * side;
        Canvas { side, stride, samples: vec![0; stride * down as usize * side] }
    }

    /// Cuts off what lies beyond the picture, in place.
    pub(crate) fn into_plane(mut self, (width, height): (u32, u32)) -> Plane {
        let (columns, rows) = (width as usize, height as usize);
        for row in 1..rows {
            let start = row * self.stride;
            self.samples.copy_within(start..start + columns, row * columns);
        }
        self.samples.truncate(columns * rows);
        Plane { width, height, samples: self.samples }
    }
}

/// The last coefficient in zigzag order that a block's corner of `side` x `side` has.
#[inline(always)]
pub(crate) fn last_kept(side: usize) -> u32 {
    match side {
        1 => 0,
        2 => 4,
        4 => 24,
        _ => 63,
    }
}
