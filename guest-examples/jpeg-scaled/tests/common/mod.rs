//! A JPEG encoder for tests. It writes given coefficients in any scans: interleaved or not, sequential or progressive,
//! with successive approximation and restart intervals. And what they should look like, by the formula.

#![allow(dead_code, reason = "each test file uses a part")]

pub mod writer;

/// Random numbers, the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u32) -> u32 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % u64::from(limit)) as u32
    }
}

/// The place in a block, row by row, of each coefficient in zigzag order, walked along the diagonals of figure A.6.
pub fn zigzag() -> [usize; 64] {
    let mut places = [0; 64];
    let mut next = 0;
    for diagonal in 0..15usize {
        for step in 0..=diagonal {
            let (row, column) =
                if diagonal % 2 == 0 { (diagonal - step, step) } else { (step, diagonal - step) };
            if row < 8 && column < 8 {
                places[next] = row * 8 + column;
                next += 1;
            }
        }
    }
    places
}

fn cosine(points: usize, x: usize, u: usize) -> f64 {
    let factor = if u == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
    factor * ((2 * x + 1) as f64 * u as f64 * std::f64::consts::PI / (2 * points) as f64).cos()
}

/// Samples of a block's corner of coefficients (row by row, eight in each, dequantised), by the formula of A.3.3 with
/// `side` points instead of eight.
pub fn corner_samples(side: usize, block: &[f64; 64]) -> Vec<f64> {
    let mut samples = Vec::new();
    for (y, x) in (0..side * side).map(|at| (at / side, at % side)) {
        let mut sum = 0.0;
        for (v, u) in (0..side * side).map(|at| (at / side, at % side)) {
            sum += block[v * 8 + u] * cosine(side, x, u) * cosine(side, y, v) / 4.0;
        }
        samples.push((sum + 128.0).clamp(0.0, 255.0));
    }
    samples
}

/// The coefficients of a block of samples: the forward transform of A.3.3.
pub fn coefficients_of(samples: &[f64; 64]) -> [f64; 64] {
    std::array::from_fn(|at| {
        let (v, u) = (at / 8, at % 8);
        let sum: f64 = samples
            .iter()
            .enumerate()
            .map(|(at, sample)| (sample - 128.0) * cosine(8, at % 8, u) * cosine(8, at / 8, v))
            .sum();
        sum / 4.0
    })
}
