//! Prediction from the samples above and to the left. Source: RFC 6386, 12.

use crate::modes::{Mode, SubblockMode};
use crate::transform::clamp;

/// Samples in a row of an [`Area`].
pub(crate) const STRIDE: usize = 32;

/// Where the samples of luma and of both chroma planes begin.
pub(crate) const LUMA: usize = STRIDE + 8;
pub(crate) const CHROMA: [usize; 2] = [18 * STRIDE + 8, 18 * STRIDE + 24];

/// A macroblock, with a row of samples above and a column to the left of each plane. Above luma, four more samples follow
/// on the right, which subblocks are predicted from.
pub(crate) type Area = [u8; 26 * STRIDE];

/// Outside of the picture, samples above are 127, and those to the left 129 (12.2, 12.3).
pub(crate) const ABOVE: u8 = 127;
pub(crate) const LEFT: u8 = 129;

/// Where a macroblock lies in the picture.
#[derive(Clone, Copy)]
pub(crate) struct Neighbours {
    pub(crate) above: bool,
    pub(crate) left: bool,
}

/// Predicts a plane's `SIDE` x `SIDE` samples, the first of which is at `at`.
#[inline(always)]
pub(crate) fn whole<const SIDE: usize>(area: &mut Area, at: usize, mode: Mode, neighbours: Neighbours) {
    let mut above = [0; SIDE];
    above.copy_from_slice(&area[at - STRIDE..at - STRIDE + SIDE]);
    match mode {
        Mode::Mean => {
            let value = mean::<SIDE>(area, at, &above, neighbours);
            (0..SIDE).for_each(|y| fill(area, at, y, [value; SIDE]));
        }
        Mode::Vertical => (0..SIDE).for_each(|y| fill(area, at, y, above)),
        Mode::Horizontal => {
            for y in 0..SIDE {
                let left = area[at + y * STRIDE - 1];
                fill(area, at, y, [left; SIDE]);
            }
        }
        Mode::Motion => {
            let corner = i16::from(area[at - STRIDE - 1]);
            for y in 0..SIDE {
                let slope = i16::from(area[at + y * STRIDE - 1]) - corner;
                fill(area, at, y, above.map(|above| (i16::from(above) + slope).clamp(0, 255) as u8));
            }
        }
    }
}

#[inline(always)]
fn fill<const SIDE: usize>(area: &mut Area, at: usize, y: usize, row: [u8; SIDE]) {
    let start = at + y * STRIDE;
    area[start..start + SIDE].copy_from_slice(&row);
}

/// Returns the mean of the samples that lie in the picture.
#[inline(always)]
fn mean<const SIDE: usize>(area: &Area, at: usize, above: &[u8; SIDE], neighbours: Neighbours) -> u8 {
    let sum_above = || above.iter().map(|&sample| u32::from(sample)).sum::<u32>();
    let sum_left = || (0..SIDE).map(|y| u32::from(area[at + y * STRIDE - 1])).sum::<u32>();
    let side = SIDE as u32;
    let mean = match (neighbours.above, neighbours.left) {
        (true, true) => (sum_above() + sum_left() + side) / (2 * side),
        (true, false) => (sum_above() + side / 2) / side,
        (false, true) => (sum_left() + side / 2) / side,
        (false, false) => 128,
    };
    mean as u8
}

/// Predicts 4 x 4 samples of luma, the first of which is at `at`. It is a long function because it is a table: the ten modes
/// of the format side by side, as the standard lists them.
#[inline(always)]
pub(crate) fn subblock(area: &mut Area, at: usize, mode: SubblockMode) {
    let left = [0, 1, 2, 3].map(|y| area[at + y * STRIDE - 1]);
    let mut above = [0; 9];
    above.copy_from_slice(&area[at - STRIDE - 1..at - STRIDE + 8]);
    let [corner, a, b, c, d, e, f, g, h] = above;
    let [i, j, k, l] = left;
    let two = |x: u8, y: u8| ((u16::from(x) + u16::from(y) + 1) >> 1) as u8;
    let three = |x: u8, y: u8, z: u8| ((u16::from(x) + 2 * u16::from(y) + u16::from(z) + 2) >> 2) as u8;
    let rows = match mode {
        SubblockMode::Mean => {
            let sum: u32 = [a, b, c, d, i, j, k, l].into_iter().map(u32::from).sum();
            [[((sum + 4) >> 3) as u8; 4]; 4]
        }
        SubblockMode::Motion => left.map(|left| {
            let slope = i32::from(left) - i32::from(corner);
            [a, b, c, d].map(|above| clamp(i32::from(above) + slope))
        }),
        SubblockMode::Vertical => [[three(corner, a, b), three(a, b, c), three(b, c, d), three(c, d, e)]; 4],
        SubblockMode::Horizontal => {
            [three(corner, i, j), three(i, j, k), three(j, k, l), three(k, l, l)].map(|value| [value; 4])
        }
        // The diagonals, named by where they point to. Each row is a part of a sequence.
        SubblockMode::LeftDown => {
            let line = [
                three(a, b, c),
                three(b, c, d),
                three(c, d, e),
                three(d, e, f),
                three(e, f, g),
                three(f, g, h),
                three(g, h, h),
            ];
            [part(&line, 0), part(&line, 1), part(&line, 2), part(&line, 3)]
        }
        SubblockMode::RightDown => {
            let line = [
                three(l, k, j),
                three(k, j, i),
                three(j, i, corner),
                three(i, corner, a),
                three(corner, a, b),
                three(a, b, c),
                three(b, c, d),
            ];
            [part(&line, 3), part(&line, 2), part(&line, 1), part(&line, 0)]
        }
        SubblockMode::VerticalRight => {
            let (halves, whole) = (
                [two(corner, a), two(a, b), two(b, c), two(c, d)],
                [three(i, corner, a), three(corner, a, b), three(a, b, c), three(b, c, d)],
            );
            [
                halves,
                whole,
                [three(corner, i, j), halves[0], halves[1], halves[2]],
                [three(i, j, k), whole[0], whole[1], whole[2]],
            ]
        }
        SubblockMode::VerticalLeft => {
            let (halves, whole) = (
                [two(a, b), two(b, c), two(c, d), two(d, e)],
                [three(a, b, c), three(b, c, d), three(c, d, e), three(d, e, f)],
            );
            [
                halves,
                whole,
                [halves[1], halves[2], halves[3], three(e, f, g)],
                [whole[1], whole[2], whole[3], three(f, g, h)],
            ]
        }
        SubblockMode::HorizontalDown => {
            let line = [
                two(l, k),
                three(l, k, j),
                two(k, j),
                three(k, j, i),
                two(j, i),
                three(j, i, corner),
                two(i, corner),
                three(i, corner, a),
                three(corner, a, b),
                three(a, b, c),
            ];
            [part(&line, 6), part(&line, 4), part(&line, 2), part(&line, 0)]
        }
        SubblockMode::HorizontalUp => {
            let line =
                [two(i, j), three(i, j, k), two(j, k), three(j, k, l), two(k, l), three(k, l, l), l, l, l, l];
            [part(&line, 0), part(&line, 2), part(&line, 4), part(&line, 6)]
        }
    };
    for (y, row) in rows.into_iter().enumerate() {
        fill(area, at, y, row);
    }
}

#[inline(always)]
fn part(line: &[u8], start: usize) -> [u8; 4] {
    [line[start], line[start + 1], line[start + 2], line[start + 3]]
}
