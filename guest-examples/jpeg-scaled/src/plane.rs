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
    /// YCbCr is converted as JFIF defines it (ITU-T T.871, 7). Planes of half the picture's width or height are
    /// interpolated as libjpeg-turbo does it ("fancy upsampling"), others are enlarged by repeating their samples.
    ///
    /// # Panics
    ///
    /// If a plane was changed and has fewer samples than its width and height say. [`decode`](crate::decode) returns no
    /// such planes.
    #[must_use]
    pub fn to_pixels(&self) -> Vec<u8> {
        let [first, second, third] = self.planes.as_slice() else {
            return self.planes.first().map_or_else(Vec::new, |plane| plane.samples.clone());
        };
        let mut pixels = vec![0; self.width as usize * self.height as usize * 3];
        let mut rows = [(); 3].map(|()| vec![0; self.width as usize]);
        let mut sums = Vec::new();
        for (y, line) in pixels.chunks_exact_mut(self.width as usize * 3).enumerate() {
            for (row, plane) in rows.iter_mut().zip([first, second, third]) {
                enlarge(plane, (self.width, self.height), y as u32, (row, &mut sums));
            }
            let [a, b, c] = &rows;
            match self.color {
                Color::Rgb => convert(line, [a, b, c], |a, b, c| [a, b, c]),
                _ => convert(line, [a, b, c], rgb),
            }
        }
        pixels
    }
}

/// Pixels that are converted at once, so that compilers make use of SIMD.
const LANES: usize = 16;

/// Fills a row of pixels with what `convert` makes of the samples of three planes.
#[inline(always)]
fn convert(line: &mut [u8], [a, b, c]: [&[u8]; 3], convert: impl Fn(u8, u8, u8) -> [u8; 3]) {
    let (groups, rest) = line.as_chunks_mut::<{ 3 * LANES }>();
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let (c, rest_c) = c.as_chunks::<LANES>();
    for (((group, a), b), c) in groups.iter_mut().zip(a).zip(b).zip(c) {
        let mut channels = [[0; LANES]; 3];
        for at in 0..LANES {
            let pixel = convert(a[at], b[at], c[at]);
            for (channel, value) in channels.iter_mut().zip(pixel) {
                channel[at] = value;
            }
        }
        for at in 0..LANES {
            for (channel, values) in channels.iter().enumerate() {
                group[3 * at + channel] = values[at];
            }
        }
    }
    for (((pixel, &a), &b), &c) in rest.chunks_exact_mut(3).zip(rest_a).zip(rest_b).zip(rest_c) {
        pixel.copy_from_slice(&convert(a, b, c));
    }
}

/// Fills a row of the picture's width with the samples of a plane that lie there. `sums` is for its own use.
fn enlarge(plane: &Plane, (width, height): (u32, u32), y: u32, (row, sums): (&mut [u8], &mut Vec<u16>)) {
    let halved = |side: u32, whole: u32| side < whole && side == whole.div_ceil(2);
    let line = |y: u32| {
        let start = y.min(plane.height - 1) as usize * plane.width as usize;
        &plane.samples[start..start + plane.width as usize]
    };
    // The rows of samples that are nearest and second nearest to the pixels.
    let (near, far) = if halved(plane.height, height) {
        let far = if y.is_multiple_of(2) { (y / 2).saturating_sub(1) } else { y / 2 + 1 };
        (line(y / 2), line(far))
    } else {
        let near = line((u64::from(y) * u64::from(plane.height) / u64::from(height)) as u32);
        (near, near)
    };
    if plane.width == width && near == far {
        return row.copy_from_slice(near);
    }
    let sum = |(&near, &far): (&u8, &u8)| 3 * u16::from(near) + u16::from(far);
    sums.clear();
    if halved(plane.width, width) {
        // The first and the last are their own neighbours.
        sums.extend(near.iter().zip(far).take(1).map(sum));
        sums.extend(near.iter().zip(far).map(sum));
        sums.extend(near.iter().zip(far).next_back().map(sum));
        let pair = |near: &[u16]| {
            let (left, sum, right) = (near[0], near[1], near[2]);
            [((3 * sum + left + 8) >> 4) as u8, ((3 * sum + right + 7) >> 4) as u8]
        };
        let (pairs, odd) = row.as_chunks_mut::<2>();
        for (to, near) in pairs.iter_mut().zip(sums.windows(3)) {
            *to = pair(near);
        }
        if let ([to], [.., left, sum, right]) = (odd, sums.as_slice()) {
            *to = pair(&[*left, *sum, *right])[0];
        }
    } else {
        sums.extend(near.iter().zip(far).map(sum));
        for (x, to) in row.iter_mut().enumerate() {
            *to = ((sums[(x as u64 * u64::from(plane.width) / u64::from(width)) as usize] + 2) >> 2) as u8;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_of_half_the_size_are_interpolated() {
        let gray = |width, height| Plane { width, height, samples: vec![128; (width * height) as usize] };
        for (width, height) in [(9, 7), (8, 8), (2, 1), (1, 2), (3, 1)] {
            let (columns, rows) = (u32::div_ceil(width, 2), u32::div_ceil(height, 2));
            // A slope: each sample lies between two pixels each way.
            let slope = |x: u32, y: u32| (16 + 8 * x + 16 * y) as u8;
            let samples = (0..columns * rows).map(|at| slope(at % columns, at / columns)).collect();
            let red = Plane { width: columns, height: rows, samples };
            let planes = vec![red, gray(width, height), gray(width, height)];
            let pixels = Planes { width, height, color: Color::Rgb, planes }.to_pixels();
            for (at, pixel) in pixels.chunks(3).enumerate() {
                let (x, y) = (at as u32 % width, at as u32 / width);
                // Beyond the outermost samples, nothing is known but them.
                let clamp = |at: u32, side: u32| {
                    (f64::from(at) / 2.0 - 0.25).clamp(0.0, f64::from(u32::div_ceil(side, 2) - 1))
                };
                let expected = 16.0 + 8.0 * clamp(x, width) + 16.0 * clamp(y, height);
                assert!(
                    (f64::from(pixel[0]) - expected).abs() < 0.6,
                    "{x}, {y}: {} for {expected}",
                    pixel[0]
                );
                assert_eq!(pixel[1..], [128, 128]);
            }
        }
    }
}
