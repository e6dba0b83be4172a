//! Inverse transforms. Source: RFC 6386, 14.

use crate::tokens::Block;

/// Turns the coefficients of a macroblock's means of luma into these means (14.3).
pub(crate) fn means(block: &Block) -> [i16; 16] {
    let mut columns = [0; 16];
    for x in 0..4 {
        let [a, b, c, d] = [0, 4, 8, 12].map(|y| i32::from(block[x + y]));
        let (outer, inner) = (a + d, b + c);
        let (outer_difference, inner_difference) = (a - d, b - c);
        columns[x] = outer + inner;
        columns[4 + x] = outer_difference + inner_difference;
        columns[8 + x] = outer - inner;
        columns[12 + x] = outer_difference - inner_difference;
    }
    let mut means = [0; 16];
    for (row, means) in columns.chunks_exact(4).zip(means.chunks_exact_mut(4)) {
        let (outer, inner) = (row[0] + row[3], row[1] + row[2]);
        let (outer_difference, inner_difference) = (row[0] - row[3], row[1] - row[2]);
        let sums = [
            outer + inner,
            outer_difference + inner_difference,
            outer - inner,
            outer_difference - inner_difference,
        ];
        means.copy_from_slice(&sums.map(|sum| ((sum + 3) >> 3) as i16));
    }
    means
}

/// Four numbers that are computed at once.
type Lanes = [i32; 4];

#[inline(always)]
fn each(a: Lanes, b: Lanes, of: impl Fn(i32, i32) -> i32) -> Lanes {
    [of(a[0], b[0]), of(a[1], b[1]), of(a[2], b[2]), of(a[3], b[3])]
}

/// One pass of the transform (14.4). No sum or product overflows with coefficients of a conforming file. With others, the
/// result is arbitrary.
#[inline(always)]
fn pass([a, b, c, d]: [Lanes; 4]) -> [Lanes; 4] {
    // The square root of two times the sine and the cosine of an eighth of pi, times 65,536.
    let sine = |x: i32| x.wrapping_mul(35_468) >> 16;
    let cosine = |x: i32| x + (x.wrapping_mul(20_091) >> 16);
    let (sum, difference) = (each(a, c, |a, c| a + c), each(a, c, |a, c| a - c));
    let inner = each(b, d, |b, d| sine(b) - cosine(d));
    let outer = each(b, d, |b, d| cosine(b) + sine(d));
    [
        each(sum, outer, |a, b| a + b),
        each(difference, inner, |a, b| a + b),
        each(difference, inner, |a, b| a - b),
        each(sum, outer, |a, b| a - b),
    ]
}

#[inline(always)]
fn transposed([a, b, c, d]: [Lanes; 4]) -> [Lanes; 4] {
    [[a[0], b[0], c[0], d[0]], [a[1], b[1], c[1], d[1]], [a[2], b[2], c[2], d[2]], [a[3], b[3], c[3], d[3]]]
}

/// Adds what a block's coefficients mean to its 4 x 4 predicted samples, the first of which is at `at` (14.4, 14.5).
#[inline]
pub(crate) fn add<const STRIDE: usize>(block: &Block, samples: &mut [u8], at: usize) {
    let row = |y: usize| [0, 1, 2, 3].map(|x| i32::from(block[4 * y + x]));
    let rows = [row(0), row(1), row(2), row(3)];
    let residue = transposed(pass(transposed(pass(rows))));
    for (y, residue) in residue.into_iter().enumerate() {
        let start = at + y * STRIDE;
        if let Some(samples) = samples[start..].first_chunk_mut::<4>() {
            *samples = [0, 1, 2, 3].map(|x| clamp(i32::from(samples[x]) + ((residue[x] + 4) >> 3)));
        }
    }
}

/// Adds to 4 x 4 predicted samples what the first coefficient means, if it is the only one.
#[inline]
pub(crate) fn add_first<const STRIDE: usize>(first: i16, samples: &mut [u8], at: usize) {
    let residue = (i32::from(first) + 4) >> 3;
    for y in 0..4 {
        let start = at + y * STRIDE;
        if let Some(samples) = samples[start..].first_chunk_mut::<4>() {
            *samples = samples.map(|sample| clamp(i32::from(sample) + residue));
        }
    }
}

#[inline(always)]
pub(crate) fn clamp(value: i32) -> u8 {
    value.clamp(0, 255) as u8
}
