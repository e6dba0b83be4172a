//! Planes of samples, and pixels made of them.

use crate::Scale;

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

/// A decoded picture, in the color space of ITU-R BT.601: luma from 16 to 235, color differences around 128.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planes {
    /// Luma, of the picture's size.
    pub luma: Plane,
    /// The two color differences, U and V. At full scale they have half the picture's size, rounded up; at the others they
    /// have the picture's size.
    pub chroma: [Plane; 2],
}

/// Pixels that are converted at once, so that compilers make use of SIMD.
const LANES: usize = 16;

impl Planes {
    /// Converts the picture to RGB: row by row without gaps, three bytes for each pixel.
    ///
    /// Color differences of half the size are interpolated as libwebp does it ("fancy upsampling"), and the result is the
    /// same as that of the crate `image-webp`.
    ///
    /// # Panics
    ///
    /// If a plane was changed and has fewer samples than its width and height say. [`decode`](crate::decode) returns no
    /// such planes.
    #[must_use]
    pub fn to_rgb(&self) -> Vec<u8> {
        let (width, height) = (self.luma.width as usize, self.luma.height as usize);
        let mut pixels = vec![0; width * height * 3];
        let mut rows = [(); 2].map(|()| vec![0; width]);
        let mut sums = Vec::new();
        for (y, (line, luma)) in
            pixels.chunks_exact_mut(width * 3).zip(self.luma.samples.chunks_exact(width)).enumerate()
        {
            for (row, plane) in rows.iter_mut().zip(&self.chroma) {
                plane.enlarged((width, height), y, row, &mut sums);
            }
            let [u, v] = &rows;
            convert(line, luma, u, v);
        }
        pixels
    }
}

impl Plane {
    /// Fills a row of a picture of this size with the samples that lie there. `sums` is for its own use.
    fn enlarged(&self, (width, height): (usize, usize), y: usize, row: &mut [u8], sums: &mut Vec<u16>) {
        let (own_width, own_height) = (self.width as usize, self.height as usize);
        let line = |y: usize| &self.samples[y * own_width..][..own_width];
        if (own_width, own_height) == (width, height) {
            return row.copy_from_slice(line(y));
        }
        // Of the rows and columns of samples around a pixel, the nearer counts three times.
        let far =
            if y.is_multiple_of(2) { (y / 2).saturating_sub(1) } else { (y / 2 + 1).min(own_height - 1) };
        let (near, far) = (line(y / 2), line(far));
        let sum = |(&near, &far): (&u8, &u8)| 3 * u16::from(near) + u16::from(far);
        sums.clear();
        // The first and the last are their own neighbours.
        sums.extend(near.iter().zip(far).take(1).map(sum));
        sums.extend(near.iter().zip(far).map(sum));
        sums.extend(near.iter().zip(far).next_back().map(sum));
        let pair =
            |near: &[u16]| [near[0], near[2]].map(|neighbour| ((3 * near[1] + neighbour + 8) >> 4) as u8);
        for (to, near) in row.chunks_mut(2).zip(sums.windows(3)) {
            to.copy_from_slice(&pair(near)[..to.len()]);
        }
    }
}

impl Plane {
    /// Replaces each sample by the mean of the 2 x 2 pixels that [`Planes::to_rgb`] would interpolate at full size: the
    /// neighbours of a row and of a column count an eighth each.
    fn smooth(&mut self) {
        let width = self.width as usize;
        let mut above = self.samples[..width].to_vec();
        let mut sums = vec![0; width + 2];
        for y in 0..self.height as usize {
            let (line, below) = self.samples[y * width..].split_at_mut(width);
            // The first and the last are their own neighbours.
            let below = below.get(..width).unwrap_or(line);
            for (((sum, &own), above), &below) in sums[1..].iter_mut().zip(&*line).zip(&mut above).zip(below)
            {
                *sum = 6 * u16::from(own) + u16::from(*above) + u16::from(below);
                *above = own;
            }
            (sums[0], sums[width + 1]) = (sums[1], sums[width]);
            for (to, sums) in line.iter_mut().zip(sums.windows(3)) {
                *to = ((sums[0] + 6 * sums[1] + sums[2] + 32) >> 6) as u8;
            }
        }
    }
}

/// Fills a row of pixels.
fn convert(line: &mut [u8], luma: &[u8], u: &[u8], v: &[u8]) {
    let (groups, rest) = line.as_chunks_mut::<{ 3 * LANES }>();
    let ((luma, rest_luma), (u, rest_u)) = (luma.as_chunks::<LANES>(), u.as_chunks::<LANES>());
    let (v, rest_v) = v.as_chunks::<LANES>();
    for (((group, luma), u), v) in groups.iter_mut().zip(luma).zip(u).zip(v) {
        let mut channels = [[0; LANES]; 3];
        for at in 0..LANES {
            let pixel = rgb(luma[at], u[at], v[at]);
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
    for (((pixel, &luma), &u), &v) in rest.chunks_exact_mut(3).zip(rest_luma).zip(rest_u).zip(rest_v) {
        pixel.copy_from_slice(&rgb(luma, u, v));
    }
}

/// Converts a pixel as libwebp does it: with the factors of BT.601 times 16,384, of which eight bits are cut off.
#[inline(always)]
fn rgb(luma: u8, u: u8, v: u8) -> [u8; 3] {
    let times = |sample: u8, factor: i32| (i32::from(sample) * factor) >> 8;
    let luma = times(luma, 19_077);
    [
        luma + times(v, 26_149) - 14_234,
        luma - times(u, 6_419) - times(v, 13_320) + 8_708,
        luma + times(u, 33_050) - 17_685,
    ]
    .map(|value| (value >> 6).clamp(0, 255) as u8)
}

/// A plane while it is decoded. Macroblocks become cells, each of which is the mean of some samples.
pub(crate) struct Canvas<const SIDE: usize> {
    /// Side of a cell in samples: 1, 2, 4 or 8.
    cell: usize,
    /// Width and height in samples, as far as they belong to the picture.
    full: (usize, usize),
    plane: Plane,
}

impl<const SIDE: usize> Canvas<SIDE> {
    pub(crate) fn new(full: (u32, u32), cell: u32) -> Self {
        let (width, height) = (full.0.div_ceil(cell), full.1.div_ceil(cell));
        let plane = Plane { width, height, samples: vec![0; width as usize * height as usize] };
        Canvas { cell: cell as usize, full: (full.0 as usize, full.1 as usize), plane }
    }

    /// Takes a macroblock, the column and row of which are given.
    pub(crate) fn put(&mut self, (x, y): (usize, usize), samples: &[u8], stride: usize) {
        let (x, y) = (x * SIDE, y * SIDE);
        if x + SIDE > self.full.0 || y + SIDE > self.full.1 {
            return self.put_edge((x, y), samples, stride);
        }
        match self.cell {
            1 => self.put_cells::<1>((x, y), samples, stride),
            2 => self.put_cells::<2>((x, y), samples, stride),
            4 => self.put_cells::<4>((x, y), samples, stride),
            _ => self.put_cells::<8>((x, y), samples, stride),
        }
    }

    #[inline(always)]
    fn put_cells<const CELL: usize>(&mut self, (x, y): (usize, usize), samples: &[u8], stride: usize) {
        let width = self.plane.width as usize;
        for row in 0..SIDE / CELL {
            let start = (y / CELL + row) * width + x / CELL;
            let cells = &mut self.plane.samples[start..start + SIDE / CELL];
            let mut sums = [0_u16; SIDE];
            for line in 0..CELL {
                let start = (row * CELL + line) * stride;
                for (sum, &sample) in sums.iter_mut().zip(&samples[start..start + SIDE]) {
                    *sum += u16::from(sample);
                }
            }
            let area = (CELL * CELL) as u16;
            for (cell, sums) in cells.iter_mut().zip(sums.chunks_exact(CELL)) {
                *cell = ((sums.iter().sum::<u16>() + area / 2) / area) as u8;
            }
        }
    }

    /// Takes a macroblock that isn't wholly in the picture. Cells at its edge are the means of fewer samples.
    fn put_edge(&mut self, (x, y): (usize, usize), samples: &[u8], stride: usize) {
        let (columns, rows) = (SIDE.min(self.full.0 - x), SIDE.min(self.full.1 - y));
        let (cell, width) = (self.cell, self.plane.width as usize);
        for top in (0..rows).step_by(cell) {
            for left in (0..columns).step_by(cell) {
                let (right, bottom) = ((left + cell).min(columns), (top + cell).min(rows));
                let sum: usize = (top..bottom)
                    .flat_map(|line| &samples[line * stride..][left..right])
                    .map(|&sample| usize::from(sample))
                    .sum();
                let count = (right - left) * (bottom - top);
                let at = ((y + top) / cell) * width + (x + left) / cell;
                self.plane.samples[at] = ((sum + count / 2) / count) as u8;
            }
        }
    }

    pub(crate) fn into_plane(self) -> Plane {
        self.plane
    }
}

/// All planes while they are decoded.
pub(crate) struct Canvases {
    pub(crate) luma: Canvas<16>,
    pub(crate) chroma: [Canvas<8>; 2],
    scale: Scale,
}

impl Canvases {
    pub(crate) fn new((width, height): (u32, u32), scale: Scale) -> Self {
        let cell = scale.divisor();
        let chroma = (width.div_ceil(2), height.div_ceil(2));
        Canvases {
            luma: Canvas::new((width, height), cell),
            chroma: [(); 2].map(|()| Canvas::new(chroma, (cell / 2).max(1))),
            scale,
        }
    }

    pub(crate) fn into_planes(self) -> Planes {
        let mut chroma = self.chroma.map(Canvas::into_plane);
        if self.scale == Scale::Half {
            chroma.iter_mut().for_each(Plane::smooth);
        }
        Planes { luma: self.luma.into_plane(), chroma }
    }
}
