//! The inverse transform of a block's corner: `side` x `side` coefficients become as many samples. Source: ITU-T T.81,
//! A.3.3, with as many points as are kept.

/// Writes the samples of a block whose coefficients lie row by row, eight in each, as do their quantisers. `to` begins
/// at the block's first sample, and its rows are `stride` samples apart.
#[inline]
pub(crate) fn write(side: usize, block: &[i16; 64], quantisers: &[u16; 64], to: &mut [u8], stride: usize) {
    match side {
        1 => {
            if let Some(sample) = to.first_mut() {
                *sample = mean(block[0], quantisers[0]);
            }
        }
        2 => two(block, quantisers, to, stride),
        4 => transform(&BASIS_4, block, quantisers, to, stride),
        _ => transform(&BASIS_8, block, quantisers, to, stride),
    }
}

/// Writes the samples of a block that has one value throughout.
#[inline]
pub(crate) fn fill(side: usize, value: u8, to: &mut [u8], stride: usize) {
    for row in to.chunks_mut(stride).take(side) {
        row.iter_mut().take(side).for_each(|sample| *sample = value);
    }
}

/// A block's mean: its first coefficient over eight.
#[inline(always)]
pub(crate) fn mean(coefficient: i16, quantiser: u16) -> u8 {
    level((i32::from(coefficient) * i32::from(quantiser)) >> 1, 2)
}

/// Divides by a power of two, rounds, and shifts the level so that samples begin at zero (A.3.1).
#[inline(always)]
fn level(value: i32, shift: u32) -> u8 {
    (((value + (1 << (shift - 1))) >> shift) + 128).clamp(0, 255) as u8
}

/// Each basis function of two points is ±1/√8 in both directions.
fn two(block: &[i16; 64], quantisers: &[u16; 64], to: &mut [u8], stride: usize) {
    // Cut off far beyond what an encoder writes, so that four of them can't overflow.
    let at = |index: usize| {
        (i32::from(block[index]) * i32::from(quantisers[index])).clamp(-(1 << 28), (1 << 28) - 1)
    };
    let (a, b, c, d) = (at(0), at(1), at(8), at(9));
    let rows = [[a + b + c + d, a - b + c - d], [a + b - c - d, a - b - c + d]];
    for (row, to) in rows.iter().zip(to.chunks_mut(stride)) {
        for (value, sample) in row.iter().zip(to) {
            *sample = level(*value, 3);
        }
    }
}

/// Cosines of multiples of π/16, halved.
const C: [f32; 8] = [
    0.353_553_4,
    0.490_392_63,
    0.461_939_77,
    0.415_734_8,
    0.353_553_4,
    0.277_785_1,
    0.191_341_71,
    0.097_545_16,
];

/// For each coefficient its basis function, scaled so that the mean stays what it is at eight points: 1/√8 for the
/// first, and for others cos((2x + 1)uπ / 2N) / 2.
const BASIS_4: [[f32; 4]; 4] = [
    [C[0], C[0], C[0], C[0]],
    [C[2], C[6], -C[6], -C[2]],
    [C[4], -C[4], -C[4], C[4]],
    [C[6], -C[2], C[2], -C[6]],
];

const BASIS_8: [[f32; 8]; 8] = [
    [C[0], C[0], C[0], C[0], C[0], C[0], C[0], C[0]],
    [C[1], C[3], C[5], C[7], -C[7], -C[5], -C[3], -C[1]],
    [C[2], C[6], -C[6], -C[2], -C[2], -C[6], C[6], C[2]],
    [C[3], -C[7], -C[1], -C[5], C[5], C[1], C[7], -C[3]],
    [C[4], -C[4], -C[4], C[4], C[4], -C[4], -C[4], C[4]],
    [C[5], -C[1], C[7], C[3], -C[3], -C[7], C[1], -C[5]],
    [C[6], -C[2], C[2], -C[6], -C[6], C[2], -C[2], C[6]],
    [C[7], -C[5], C[3], -C[1], C[1], -C[3], C[5], -C[7]],
];

#[inline(always)]
fn transform<const N: usize>(
    basis: &[[f32; N]; N],
    block: &[i16; 64],
    quantisers: &[u16; 64],
    to: &mut [u8],
    stride: usize,
) {
    // Rows of coefficients become sums over the columns' functions, then these over the rows' functions.
    let mut lines = [[0f32; N]; N];
    for (v, line) in lines.iter_mut().enumerate() {
        for (u, function) in basis.iter().enumerate() {
            let at = v * 8 + u;
            let coefficient = f32::from(block[at]) * f32::from(quantisers[at]);
            for (sum, weight) in line.iter_mut().zip(function) {
                *sum += coefficient * weight;
            }
        }
    }
    for (y, to) in to.chunks_mut(stride).take(N).enumerate() {
        // Rounds; and what is below 0 or above 255 is cut off when it becomes a byte.
        let mut row = [128.5f32; N];
        for (line, function) in lines.iter().zip(basis) {
            for (sum, value) in row.iter_mut().zip(line) {
                *sum += value * function[y];
            }
        }
        for (sample, sum) in to.iter_mut().zip(row) {
            *sample = sum as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A.3.3 as it is written, with N points.
    fn expected(side: usize, block: &[i16; 64], quantisers: &[u16; 64]) -> Vec<f64> {
        let factor = |u: usize| if u == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
        let cosine = |x: usize, u: usize| {
            ((2 * x + 1) as f64 * u as f64 * std::f64::consts::PI / (2 * side) as f64).cos()
        };
        let mut samples = Vec::new();
        for (y, x) in (0..side * side).map(|at| (at / side, at % side)) {
            let mut sum = 0.0;
            for (v, u) in (0..side * side).map(|at| (at / side, at % side)) {
                let value = f64::from(block[v * 8 + u]) * f64::from(quantisers[v * 8 + u]);
                sum += factor(u) * factor(v) * value * cosine(x, u) * cosine(y, v) / 4.0;
            }
            samples.push((sum + 128.0).clamp(0.0, 255.0));
        }
        samples
    }

    #[test]
    fn each_side_follows_the_formula() {
        let mut state = 1u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        for _ in 0..500 {
            let block = std::array::from_fn(|_| random(41) as i16 - 20);
            let quantisers = std::array::from_fn(|_| 1 + random(12) as u16);
            for side in [1, 2, 4, 8] {
                let stride = side + 3;
                let mut samples = vec![7; stride * side];
                write(side, &block, &quantisers, &mut samples, stride);
                for (at, expected) in expected(side, &block, &quantisers).iter().enumerate() {
                    let sample = f64::from(samples[at / side * stride + at % side]);
                    assert!((sample - expected).abs() < 0.76, "{side}: {sample}, {expected}");
                }
                // Nothing else is touched.
                assert!(samples.chunks(stride).all(|row| row[side..] == [7, 7, 7]));
            }
        }
    }

    #[test]
    fn extreme_coefficients_are_cut_off() {
        for value in [i16::MIN, i16::MAX] {
            for side in [1, 2, 4, 8] {
                let mut samples = vec![7; side * side];
                write(side, &[value; 64], &[u16::MAX; 64], &mut samples, side);
                assert_eq!(samples[0], if value < 0 { 0 } else { 255 });
            }
        }
    }
}
